//! One vector of a sequence.

use bedstone_kernels::{elementwise as kernel, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// The mean over a sequence's tokens: `x: [B, T, C]` of f32 to `[B, C]`; those whose `mask: [B, T]` of u8 is 0 do not count.
///
/// A sequence without any token that counts gives zeros.
pub fn mean_pool(x: &Tensor, mask: Option<&Tensor>, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct MeanBackward {
        x: Tensor,
        mask: Option<Tensor>,
    }
    impl Backward for MeanBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let [b, t, c] = self.x.dims("mean_pool")?;
            let mut dx = Buf::zeroed(b * t * c);
            for (i, g) in grad.f32s().chunks_exact(c.max(1)).enumerate() {
                let kept = runs(self.mask.as_ref(), i, t)?;
                let factor = 1.0 / kept.iter().map(|r| r.len()).sum::<usize>().max(1) as f32;
                for row in kept.into_iter().flatten() {
                    let to = &mut dx[(i * t + row) * c..][..c];
                    to.iter_mut().zip(g).for_each(|(d, g)| *d = factor * g);
                }
            }
            grads.add(self.x.var(), Tensor::from_buf(dx, self.x.shape()), env);
            Ok(())
        }
    }
    let [b, t, c] = x.dims("mean_pool")?;
    if let Some(m) = mask.filter(|m| m.shape() != [b, t].into()) {
        return Err(TensorError::Shape { op: "mean_pool", got: m.shape(), wanted: format!("[{b}, {t}]") });
    }
    let (from, mut out) = (x.data::<f32>("mean_pool")?, Buf::zeroed(b * c));
    for (i, y) in out.chunks_exact_mut(c.max(1)).enumerate() {
        let kept = runs(mask, i, t)?;
        for run in &kept {
            kernel::sum_rows(ctx.isa, y, &from[(i * t + run.start) * c..(i * t + run.end) * c], c);
        }
        kernel::scale(ctx.isa, y, 1.0 / kept.iter().map(|r| r.len()).sum::<usize>().max(1) as f32);
    }
    let out = Tensor::from_buf(out, [b, c]);
    Ok(ctx.record(out, &[x], &[], || MeanBackward { x: x.clone(), mask: mask.cloned() }))
}

/// The tokens of sequence `i` that count, as runs.
fn runs(mask: Option<&Tensor>, i: usize, t: usize) -> Result<Vec<std::ops::Range<usize>>> {
    let Some(mask) = mask else { return Ok(vec![0..t; usize::from(t > 0)]) };
    let row = &mask.data::<u8>("mean_pool: mask")?[i * t..][..t];
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for j in (0..t).filter(|&j| row[j] != 0) {
        match runs.last_mut() {
            Some(run) if run.end == j => run.end += 1,
            _ => runs.push(j..j + 1),
        }
    }
    Ok(runs)
}

/// `y = x / max(|x|, 1e-12)` for the rows of `x: [.., C]` of f32.
pub fn normalize(x: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct NormalizeBackward {
        x: Tensor,
        y: Tensor,
    }
    impl Backward for NormalizeBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let c = self.x.shape().width().max(1);
            let rows = self.x.f32s().chunks_exact(c).zip(self.y.f32s().chunks_exact(c));
            for (d, (x, y)) in grad.f32s_mut().chunks_exact_mut(c).zip(rows) {
                let along = dot(d, y);
                let factor = 1.0 / length(x);
                d.iter_mut().zip(y).for_each(|(d, &y)| *d = ((*d as f64 - along * y as f64) * factor) as f32);
            }
            grads.add(self.x.var(), grad, env);
            Ok(())
        }
    }
    let c = x.shape().width().max(1);
    let mut out = Buf::copy_of(x.data::<f32>("normalize")?);
    for row in out.chunks_exact_mut(c) {
        let factor = 1.0 / length(row);
        row.iter_mut().for_each(|x| *x = (*x as f64 * factor) as f32);
    }
    let out = Tensor::from_buf(out, x.shape());
    let y = out.clone();
    Ok(ctx.record(out, &[x], &[], || NormalizeBackward { x: x.clone(), y }))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

fn length(x: &[f32]) -> f64 {
    dot(x, x).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let mask = Tensor::from_slice(&[1u8, 0, 1, 1, 1, 1, 0, 0], [2, 4]);
        for mask in [None, Some(&mask)] {
            check("mean pool", &[[2, 4, 5].into()], |p, ctx| mean_pool(&ctx.leaf(p[0]), mask, ctx));
        }
        check("normalize", &[[3, 7].into()], |p, ctx| normalize(&ctx.leaf(p[0]), ctx));
    }

    #[test]
    fn nothing_to_take_a_mean_of() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x = Tensor::from_slice(&[1.0f32; 6], [1, 2, 3]);
        let none = Tensor::from_slice(&[0u8, 0], [1, 2]);
        let mut ctx = Ctx::inference(env);
        assert_eq!(mean_pool(&x, Some(&none), &mut ctx).unwrap().f32s(), [0.0; 3]);
        assert_eq!(normalize(&Tensor::zeros::<f32>([1, 3]), &mut ctx).unwrap().f32s(), [0.0; 3]);
    }
}
