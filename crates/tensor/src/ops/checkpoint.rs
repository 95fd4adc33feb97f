//! Part of a network that keeps its input only.

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, Training};

/// `f(x)`, which is computed again in the backward pass, so that of all that `f` would keep only `x` is kept.
///
/// Activation checkpointing, [Chen et al. 2016](https://arxiv.org/abs/1604.06174). Random numbers are the same both times,
/// and so are all bits.
pub fn checkpoint<F>(x: &Tensor, f: F, ctx: &mut Ctx<'_>) -> Result<Tensor>
where
    F: Fn(&Tensor, &mut Ctx<'_>) -> Result<Tensor> + Send + 'static,
{
    let (out, place, params) = ctx.unrecorded(|ctx| f(x, ctx))?;
    let training = ctx.training_state();
    Ok(ctx.record(out, &[x], &params, || CheckpointBackward { x: x.clone(), f, training, place }))
}

struct CheckpointBackward<F> {
    x: Tensor,
    f: F,
    training: Option<Training>,
    /// Where the random numbers of `f` begin.
    place: u32,
}

impl<F> Backward for CheckpointBackward<F>
where
    F: Fn(&Tensor, &mut Ctx<'_>) -> Result<Tensor> + Send,
{
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let dx = Ctx::replay(*env, self.training, self.place, &self.x, self.f, grad, grads)?;
        if let Some(dx) = dx {
            grads.add(self.x.var(), dx, env);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Isa, ParamId, Params, Precision,
        ops::{Linear, LinearArgs, add, dropout, linear},
    };

    fn params() -> (Params, [ParamId; 3]) {
        let mut params = Params::default();
        let mut add = |name: &str, shape: [usize; 2]| {
            let x: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * 7 % 11) as f32 / 5.0 - 1.0).collect();
            params.add(name.into(), Tensor::from_slice(&x, shape)).unwrap()
        };
        let ids = [add("x", [6, 5]), add("a", [5, 5]), add("b", [5, 5])];
        (params, ids)
    }

    /// A branch with dropout and a shared weight, twice.
    fn network(ids: [ParamId; 3], checkpointed: bool, ctx: &mut Ctx<'_>) -> Result<Tensor> {
        let [x, a, b] = ids;
        let block = move |x: &Tensor, ctx: &mut Ctx<'_>| {
            let map = |id| [Linear { weight: id, bias: None, layout: Default::default() }];
            let h = dropout(&linear(x, &map(a), LinearArgs::default(), ctx)?, 0.3, ctx)?;
            add(x, &linear(&h, &map(b), LinearArgs::default(), ctx)?, ctx)
        };
        let mut x = ctx.leaf(x);
        for _ in 0..2 {
            x = if checkpointed { checkpoint(&x, block, ctx)? } else { block(&x, ctx)? };
        }
        Ok(x)
    }

    #[test]
    fn bits_are_those_without_it() {
        let (params, ids) = params();
        for isa in Isa::available() {
            let env = Env { isa, precision: Precision::F32, packing: Default::default(), params: &params };
            let run = |checkpointed| {
                let mut ctx = Ctx::training(env, Training { key: 3, first_sample: 0 });
                let y = network(ids, checkpointed, &mut ctx).unwrap();
                let grads = ctx.backward_from(&y, Tensor::from_slice(&[0.5f32; 30], [6, 5])).unwrap();
                let grads = ids.map(|id| grads.param(id).unwrap().f32s().to_vec());
                (y.f32s().to_vec(), grads)
            };
            assert!(run(true) == run(false), "{isa}");
        }
    }

    #[test]
    fn an_input_without_gradient() {
        let (params, [_, a, _]) = params();
        let env = Env { isa: Isa::PORTABLE, precision: Precision::F32, packing: Default::default(), params: &params };
        let mut ctx = Ctx::gradients(env);
        let x = Tensor::from_slice(&[1.0f32; 10], [2, 5]);
        let f = move |x: &Tensor, ctx: &mut Ctx<'_>| {
            linear(x, &[Linear { weight: a, bias: None, layout: Default::default() }], LinearArgs::default(), ctx)
        };
        let y = checkpoint(&x, f, &mut ctx).unwrap();
        let grads = ctx.backward_from(&y, Tensor::from_slice(&[1.0f32; 10], [2, 5])).unwrap();
        assert_eq!(grads.param(a).unwrap().f32s(), [2.0; 25]);
    }
}
