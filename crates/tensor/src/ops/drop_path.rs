//! Stochastic depth.

use bedstone_kernels::random::{self, Dropout};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, Var};

/// Drops the whole of a sample of `x: [B, ..]` with probability `p` and scales the others by `1 / (1 - p)`; `x` itself outside
/// of training. For the branches beside a residual stream.
///
/// Stochastic depth, [Huang et al. 2016](https://arxiv.org/abs/1603.09382). The draw belongs to the sample, whatever its batch.
pub fn drop_path(x: &Tensor, p: f32, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct DropPathBackward {
        x: Option<Var>,
        dropout: Dropout,
    }
    impl Backward for DropPathBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            apply(&mut grad, self.dropout, env);
            grads.add(self.x, grad, env);
            Ok(())
        }
    }
    fn apply(x: &mut Tensor, dropout: Dropout, env: &Env<'_>) {
        let batch = x.shape().first().copied().unwrap_or(1).max(1);
        let mut factors = vec![1.0; batch];
        random::dropout(env.isa, dropout, &mut factors, 1, 1);
        let sample = x.shape().numel() / batch;
        for (part, factor) in x.f32s_mut().chunks_exact_mut(sample.max(1)).zip(factors) {
            bedstone_kernels::elementwise::scale(env.isa, part, factor);
        }
    }
    let Some(dropout) = ctx.dropout(p) else { return Ok(x.clone()) };
    let mut out = x.to_f32(ctx.isa)?;
    apply(&mut out, dropout, ctx);
    Ok(ctx.record(out, &[x], &[], || DropPathBackward { x: x.var(), dropout }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Isa, Params, Precision, Training};

    #[test]
    fn samples_go_whole_and_alike_in_any_batch() {
        let (b, n) = (64, 15);
        let mut params = Params::default();
        let id = params.add("x".into(), Tensor::from_slice(&vec![2.0f32; b * n], [b, 3, 5])).unwrap();
        for isa in Isa::available() {
            let env = Env { isa, precision: Precision::F32, packing: Default::default(), params: &params };
            let mut ctx = Ctx::training(env, Training { key: 3, first_sample: 0 });
            let x = ctx.leaf(id);
            let y = drop_path(&x, 0.25, &mut ctx).unwrap();
            let rows: Vec<f32> = y.f32s().chunks(n).map(|row| row[0]).collect();
            assert!(y.f32s().chunks(n).all(|row| row.iter().all(|&y| y == row[0])));
            assert!(rows.iter().all(|&y| y == 0.0 || y == 2.0f32 * (1.0 / 0.75)));
            let dropped = rows.iter().filter(|&&y| y == 0.0).count();
            assert!((6..26).contains(&dropped), "{dropped} of {b}");
            let grads = ctx.backward_from(&y, Tensor::from_slice(&vec![1.0f32; b * n], [b, 3, 5])).unwrap();
            assert!(y.f32s().iter().zip(grads.param(id).unwrap().f32s()).all(|(y, g)| *y == 2.0 * g));
            let mut ctx = Ctx::training(env, Training { key: 3, first_sample: 60 });
            let last = drop_path(&Tensor::from_slice(&[2.0f32; 60], [4, 3, 5]), 0.25, &mut ctx).unwrap();
            assert_eq!(last.f32s(), &y.f32s()[60 * n..]);
            let x = Tensor::from_slice(&[2.0f32; 4], [4, 1]);
            assert_eq!(drop_path(&x, 0.9, &mut Ctx::inference(env)).unwrap().f32s(), x.f32s());
        }
    }
}
