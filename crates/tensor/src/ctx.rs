//! The context of a computation: all that changes while models run.

use std::ops::Deref;

use bedstone_kernels::{
    isa::Isa,
    mem::Buf,
    random::{Draw, Dropout},
};

use crate::{Backward, Cache, Dtype, Grads, ParamId, Params, Result, Tensor, TensorError, tape::Tape};

/// How matrix products are computed; sums, norms, losses and the residual stream are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// In f32.
    #[default]
    F32,
    /// On numbers rounded to bf16, with sums in f32; activations between products are kept as bf16. Needs
    /// [`Isa::has_bf16`].
    Bf16,
}

impl Precision {
    /// bf16 where the processor has instructions for it, else f32.
    pub fn best(isa: Isa) -> Precision {
        if isa.has_bf16() { Precision::Bf16 } else { Precision::F32 }
    }

    /// The name that the command line and recipes take.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    /// The type of what only products read.
    pub fn operand(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::Bf16,
        }
    }
}

/// How long packed weights are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Until the weights change: for inference, and for several micro-batches a step.
    #[default]
    Kept,
    /// For one product: where each is needed once before the weights change.
    Passing,
}

/// What stays the same during a computation.
#[derive(Clone, Copy, Debug)]
pub struct Env<'p> {
    /// The instructions to use.
    pub isa: Isa,
    /// Of matrix products.
    pub precision: Precision,
    /// Of weights for products of bf16.
    pub packing: Packing,
    /// The parameters.
    pub params: &'p Params,
}

/// What makes a computation a part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// Random numbers of the step: [`bedstone_kernels::random::key`] of seed and step.
    pub key: u64,
    /// Number of the batch's first sample within the step, so that samples draw the same numbers in any batch.
    pub first_sample: u32,
}

/// Passed through every `forward`.
pub struct Ctx<'p> {
    env: Env<'p>,
    tape: Option<Tape<'p>>,
    training: Option<Training>,
    place: u32,
    /// Keys and values of tokens seen before; a model that finds one here continues after them.
    pub cache: Option<Cache>,
}

impl<'p> Ctx<'p> {
    /// For using a model: nothing is recorded, nothing is dropped.
    pub fn inference(env: Env<'p>) -> Self {
        Ctx { env, tape: None, training: None, place: 0, cache: None }
    }

    /// For gradients without dropout.
    pub fn gradients(env: Env<'p>) -> Self {
        Ctx { tape: Some(Tape::default()), ..Self::inference(env) }
    }

    /// For training: gradients and dropout.
    pub fn training(env: Env<'p>, training: Training) -> Self {
        Ctx { training: Some(training), ..Self::gradients(env) }
    }

    /// The weights of a parameter.
    pub fn param(&self, id: ParamId) -> &'p Tensor {
        &self.env.params.get(id).value
    }

    /// Whether operations are recorded.
    pub fn records(&self) -> bool {
        self.tape.is_some()
    }

    /// Whether dropout acts.
    pub fn is_training(&self) -> bool {
        self.training.is_some()
    }

    /// Operations recorded so far.
    pub fn recorded(&self) -> usize {
        self.tape.as_ref().map_or(0, Tape::len)
    }

    /// The dropout of the next place in the computation: `None` outside of training, or where `p` is 0.
    pub fn dropout(&mut self, p: f32) -> Option<Dropout> {
        let training = self.training?;
        let place = self.place;
        self.place += 1;
        (p > 0.0).then_some(Dropout { draw: Draw { key: training.key, sample: training.first_sample, place }, p })
    }

    /// Gives `out` a place on the tape, if there is one and any of `inputs` or `params` wants a gradient.
    pub fn record<B: Backward + 'p>(
        &mut self,
        out: Tensor,
        inputs: &[&Tensor],
        params: &[ParamId],
        backward: impl FnOnce() -> B,
    ) -> Tensor {
        let Some(tape) = &mut self.tape else { return out.with_var(None) };
        let wanted =
            inputs.iter().any(|x| x.var().is_some()) || params.iter().any(|&id| self.env.params.get(id).trainable);
        let var = wanted.then(|| tape.push(Box::new(backward()), out.dtype()));
        out.with_var(var)
    }

    /// The gradients of the parameters, from a loss of one number.
    pub fn backward(self, loss: &Tensor) -> Result<Grads> {
        loss.item()?;
        let mut seed = Buf::zeroed(1);
        seed[0] = 1.0;
        self.backward_from(loss, Tensor::from_buf(seed, loss.shape()))
    }

    /// The gradients of the parameters, from any result and its gradient.
    pub fn backward_from(self, out: &Tensor, grad: Tensor) -> Result<Grads> {
        let mut grads = Grads::new(self.env.params);
        let (Some(tape), Some(var)) = (self.tape, out.var()) else {
            let what = "the result was not recorded, or no trainable parameter takes part in it".to_owned();
            return Err(TensorError::Unsupported { op: "backward", what });
        };
        if grad.shape() != out.shape() {
            let wanted = out.shape().to_string();
            return Err(TensorError::Shape { op: "backward", got: grad.shape(), wanted });
        }
        tape.backward(var, grad, &mut grads, &self.env)?;
        Ok(grads)
    }

    /// A parameter as a tensor whose gradient goes to the parameter.
    pub fn leaf(&mut self, id: ParamId) -> Tensor {
        struct Leaf(ParamId);
        impl Backward for Leaf {
            fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
                grads.add_param(self.0, env, |g| bedstone_kernels::elementwise::add(env.isa, g, grad.f32s()));
                Ok(())
            }
        }
        let value = self.param(id).clone();
        self.record(value, &[], &[id], || Leaf(id))
    }
}

impl<'p> Deref for Ctx<'p> {
    type Target = Env<'p>;

    fn deref(&self) -> &Env<'p> {
        &self.env
    }
}
