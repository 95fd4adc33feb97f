//! Dropout.

use bedstone_kernels::random::{self, Dropout};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, Var};

/// Zeroes each number of `x: [B, .., C]` with probability `p` and scales the others by `1 / (1 - p)`; `x` itself outside
/// of training.
///
/// [Srivastava et al. 2014](https://jmlr.org/papers/v15/srivastava14a.html).
pub fn dropout(x: &Tensor, p: f32, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct DropoutBackward {
        x: Option<Var>,
        dropout: Dropout,
    }
    impl Backward for DropoutBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            apply(&mut grad, self.dropout, env);
            grads.add(self.x, grad, env);
            Ok(())
        }
    }
    fn apply(x: &mut Tensor, dropout: Dropout, env: &Env<'_>) {
        let (shape, batch) = (x.shape(), x.shape().first().copied().unwrap_or(1));
        random::dropout(env.isa, dropout, x.f32s_mut(), shape.rows() / batch.max(1), shape.width());
    }
    let Some(dropout) = ctx.dropout(p) else { return Ok(x.clone()) };
    let mut out = x.to_f32(ctx.isa)?;
    apply(&mut out, dropout, ctx);
    Ok(ctx.record(out, &[x], &[], || DropoutBackward { x: x.var(), dropout }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Params, Precision, Training};

    #[test]
    fn the_gradient_has_the_same_mask() {
        let mut params = Params::default();
        let id = params.add("x".into(), Tensor::from_slice(&[2.0f32; 2 * 3 * 40], [2, 3, 40])).unwrap();
        for isa in Isa::available() {
            let env = Env { isa, precision: Precision::F32, packing: Default::default(), params: &params };
            let mut ctx = Ctx::training(env, Training { key: 3, first_sample: 0 });
            let x = ctx.leaf(id);
            let y = dropout(&x, 0.4, &mut ctx).unwrap();
            let ones = Tensor::from_slice(&[1.0f32; 240], [2, 3, 40]);
            let grads = ctx.backward_from(&y, ones).unwrap();
            let g = grads.param(id).unwrap().f32s();
            assert!(y.f32s().iter().zip(g).all(|(y, g)| *y == 2.0 * g));
            assert!(g.contains(&0.0) && g.iter().any(|&g| g > 1.6));
        }
    }

    #[test]
    fn nothing_happens_outside_of_training() {
        let params = Params::default();
        let env = Env { isa: Isa::PORTABLE, precision: Precision::F32, packing: Default::default(), params: &params };
        let x = Tensor::from_slice(&[1.0f32; 8], [2, 4]);
        assert_eq!(dropout(&x, 0.9, &mut Ctx::inference(env)).unwrap().f32s(), x.f32s());
    }
}
