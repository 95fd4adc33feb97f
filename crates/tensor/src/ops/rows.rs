//! Some rows of a matrix.

use bedstone_kernels::{elementwise as kernel, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// `y[i] = x[which[i]]` for the rows of `x: [.., C]`: `[which.len(), C]`, in the type of `x`.
pub fn rows(x: &Tensor, which: &[i32], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct RowsBackward {
        x: Tensor,
        which: Vec<i32>,
    }
    impl Backward for RowsBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            // Rows may be taken more than once: sums are f32.
            let mut dx = grads.begin::<f32>(self.x.var(), self.x.shape(), env.isa)?;
            let to = dx.tensor.f32s_mut();
            if !dx.accumulate {
                kernel::zero(to);
            }
            let width = grad.shape().width();
            with_number!(grad.dtype(), T => {
                kernel::scatter_add(env.isa, to, grad.data::<T>("rows")?, &self.which, width)
            });
            grads.finish(self.x.var(), dx);
            Ok(())
        }
    }
    let (count, width) = (x.shape().rows(), x.shape().width());
    if let Some(place) = which.iter().position(|&r| usize::try_from(r).map_or(true, |r| r >= count)) {
        return Err(TensorError::Id { op: "rows", id: which[place] as i64, place, limit: count });
    }
    let out = with_number!(x.dtype(), T => {
        let (mut out, from) = (Buf::<T>::for_overwrite(which.len() * width), x.data::<T>("rows")?);
        for (to, &r) in out.chunks_exact_mut(width.max(1)).zip(which) {
            to.copy_from_slice(&from[r as usize * width..][..width]);
        }
        Tensor::from_buf(out, [which.len(), width])
    });
    Ok(ctx.record(out, &[x], &[], || RowsBackward { x: x.clone(), which: which.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        check("rows", &[[2, 3, 5].into()], |p, ctx| rows(&ctx.leaf(p[0]), &[5, 0, 5], ctx));
    }
}
