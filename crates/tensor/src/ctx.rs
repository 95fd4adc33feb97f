//! The context of a computation: all that changes while models run.

use std::ops::Deref;

use bedstone_kernels::{
    isa::Isa,
    mem::Buf,
    random::{Draw, Dropout},
};

use crate::{Backward, Cache, Dtype, Grads, ParamId, Params, Recording, Result, Tensor, TensorError, Var, tape::Tape};

/// How matrix products are computed; sums, norms, losses and the residual stream are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// In f32.
    #[default]
    F32,
    /// On numbers rounded to bf16, with sums in f32; activations between products are kept as bf16. Needs
    /// [`Isa::has_bf16`].
    Bf16,
    /// For inference: linear maps on numbers rounded to eight bits, weights by output and activations by token, with exact
    /// sums; all else, last results among it, as [`Precision::best`].
    Int8,
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
            Precision::Int8 => "int8",
        }
    }

    /// The precision of products that int8 leaves out.
    pub fn rest(self, isa: Isa) -> Precision {
        if self == Precision::Int8 { Precision::best(isa) } else { self }
    }

    /// The type of what only products read.
    pub fn operand(self, isa: Isa) -> Dtype {
        match self.rest(isa) {
            Precision::Bf16 => Dtype::Bf16,
            _ => Dtype::F32,
        }
    }
}

/// How long packed weights are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Until the weights change, or beyond if the optimizer writes them again ([`Params::renew`]): for inference, for several
    /// micro-batches a step, and where that is so.
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
    /// Of weights for products of bf16 and int8.
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
    tape: Option<Tape>,
    training: Option<Training>,
    place: u32,
    recompute: bool,
    /// The parameters used, where somebody asks.
    used: Option<Vec<ParamId>>,
    /// Keys and values of tokens seen before; a model that finds one here continues after them.
    pub cache: Option<Cache>,
    /// Lengths of sequences that stand one after another in `[1, N, ..]` instead of `[B, T, ..]`; for inference.
    pub packed: Option<Vec<usize>>,
    /// Collects the probabilities of each layer's attention, `[B, heads, T, T]`, if there is a place for them.
    pub attentions: Option<Vec<Tensor>>,
}

impl<'p> Ctx<'p> {
    /// For using a model: nothing is recorded, nothing is dropped.
    pub fn inference(env: Env<'p>) -> Self {
        Ctx {
            env,
            tape: None,
            training: None,
            place: 0,
            recompute: false,
            used: None,
            cache: None,
            packed: None,
            attentions: None,
        }
    }

    /// For gradients without dropout.
    pub fn gradients(env: Env<'p>) -> Self {
        Ctx { tape: Some(Tape::default()), ..Self::inference(env) }
    }

    /// For training: gradients and dropout.
    pub fn training(env: Env<'p>, training: Training) -> Self {
        Ctx { training: Some(training), ..Self::gradients(env) }
    }

    /// The same, but blocks keep their input only and are computed a second time in the backward pass: less memory for
    /// a third more time. The results have the same bits.
    ///
    /// Activation checkpointing, [Chen et al. 2016](https://arxiv.org/abs/1604.06174).
    pub fn recomputing(self) -> Self {
        Ctx { recompute: true, ..self }
    }

    /// Whether blocks are to be computed a second time in the backward pass.
    pub fn recomputes(&self) -> bool {
        self.recompute && self.records()
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

    /// The random numbers of the next place in the computation, of the batch's first sample: `None` outside of training.
    pub fn draw(&mut self) -> Option<Draw> {
        let training = self.training?;
        let place = self.place;
        self.place += 1;
        Some(Draw { key: training.key, sample: training.first_sample, place })
    }

    /// The dropout of the next place in the computation: `None` outside of training, or where `p` is 0.
    pub fn dropout(&mut self, p: f32) -> Option<Dropout> {
        let draw = self.draw()?;
        (p > 0.0).then_some(Dropout { draw, p })
    }

    /// Gives `out` a place on the tape, if there is one and any of `inputs` or `params` wants a gradient.
    ///
    /// `inputs` must name every tensor whose gradient the operation adds to: who else used a result decides where an activation's
    /// slopes come in.
    pub fn record<B: Backward + 'static>(
        &mut self,
        out: Tensor,
        inputs: &[&Tensor],
        params: &[ParamId],
        backward: impl FnOnce() -> B,
    ) -> Tensor {
        if let Some(used) = &mut self.used {
            used.extend(params);
        }
        let Some(tape) = &mut self.tape else { return out.with_var(None) };
        let wanted =
            inputs.iter().any(|x| x.var().is_some()) || params.iter().any(|&id| self.env.params.get(id).trainable);
        tape.used(inputs.iter().filter_map(|x| x.var()));
        let var = wanted.then(|| tape.push(Box::new(backward()), out.dtype(), params));
        out.with_var(var)
    }

    /// [`Self::record`] for an operation that ends with an activation and goes back from what came before it: gradients are
    /// multiplied by `slopes`, the activation's derivatives, on their way, by what used the result if that can, and `out` is of their type.
    pub(crate) fn record_activated<B: Backward + 'static>(
        &mut self,
        out: Tensor,
        inputs: &[&Tensor],
        params: &[ParamId],
        slopes: Tensor,
        backward: impl FnOnce() -> B,
    ) -> Tensor {
        let out = self.record(out, inputs, params, backward);
        if let (Some(tape), Some(var)) = (&mut self.tape, out.var()) {
            tape.multiply(var, slopes);
        }
        out
    }

    /// The gradients of the parameters, from a loss of one number.
    pub fn backward(self, loss: &Tensor) -> Result<Grads> {
        loss.item()?;
        self.backward_from(loss, one(loss))
    }

    /// The gradients of the parameters, from any result and its gradient.
    pub fn backward_from(self, out: &Tensor, grad: Tensor) -> Result<Grads> {
        let mut grads = Grads::new(self.env.params);
        let (Some(tape), Some(var)) = (self.tape, out.var()) else {
            return Err(TensorError::not_recorded());
        };
        if grad.shape() != out.shape() {
            let wanted = out.shape().to_string();
            return Err(TensorError::Shape { op: "backward", got: grad.shape(), wanted });
        }
        tape.backward(var, grad, &mut grads, &self.env)?;
        Ok(grads)
    }

    /// What was recorded, without a hold on the parameters; `None` if nothing was.
    pub fn into_recording(self) -> Option<Recording> {
        let Env { isa, precision, packing, .. } = self.env;
        self.tape.map(|tape| Recording { tape, isa, precision, packing })
    }

    /// Computes without recording, but with this context's random numbers: what comes out, where those began, and the
    /// parameters that took part.
    pub(crate) fn unrecorded<R>(
        &mut self,
        compute: impl FnOnce(&mut Ctx<'p>) -> Result<R>,
    ) -> Result<(R, u32, Vec<ParamId>)> {
        let begin = self.place;
        let mut inner =
            Ctx { training: self.training, place: begin, used: Some(Vec::new()), ..Self::inference(self.env) };
        let out = compute(&mut inner)?;
        self.place = inner.place;
        Ok((out, begin, inner.used.unwrap_or_default()))
    }

    /// Computes `f(x)` again as it was computed from place `place` of the random numbers, and goes back through it from
    /// `grad`; the gradient of `x`, if it has one.
    pub(crate) fn replay(
        env: Env<'p>,
        training: Option<Training>,
        place: u32,
        x: &Tensor,
        f: impl FnOnce(&Tensor, &mut Ctx<'p>) -> Result<Tensor>,
        grad: Tensor,
        grads: &mut Grads,
    ) -> Result<Option<Tensor>> {
        /// Holds the place of `x`; its gradient is taken before anybody asks.
        struct Start;
        impl Backward for Start {
            fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
                grads.add(Some(Var(0)), grad, env);
                Ok(())
            }
        }
        let mut ctx = Ctx { training, place, ..Self::gradients(env) };
        let mut tape = Tape::default();
        let start = x.var().map(|_| tape.push(Box::new(Start), x.dtype(), &[]));
        ctx.tape = Some(tape);
        let out = f(&x.clone().with_var(start), &mut ctx)?;
        let (Some(tape), Some(var)) = (ctx.tape, out.var()) else { return Err(TensorError::not_recorded()) };
        let outer = grads.set_aside();
        tape.backward(var, grad, grads, &env)?;
        let dx = start.and_then(|start| grads.take(start));
        grads.restore(outer);
        Ok(dx)
    }

    pub(crate) fn training_state(&self) -> Option<Training> {
        self.training
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

/// The gradient of a loss for itself.
pub(crate) fn one(loss: &Tensor) -> Tensor {
    let mut seed = Buf::zeroed(1);
    seed[0] = 1.0;
    Tensor::from_buf(seed, loss.shape())
}
