//! Some rows of a matrix.

use bedstone_kernels::{elementwise as kernel, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// `y[i] = x[which[i]]` for the rows of `x: [.., C]`: `[which.len(), C]`.
pub fn rows(x: &Tensor, which: &[i32], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct RowsBackward {
        x: Tensor,
        which: Vec<i32>,
    }
    impl Backward for RowsBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            grads.write(self.x.var(), self.x.shape(), |dx, accumulate| {
                if !accumulate {
                    dx.fill(0.0);
                }
                kernel::scatter_add(env.isa, dx, grad.f32s(), &self.which, grad.shape().width());
            });
            Ok(())
        }
    }
    let (count, width) = (x.shape().rows(), x.shape().width());
    if let Some(place) = which.iter().position(|&r| usize::try_from(r).map_or(true, |r| r >= count)) {
        return Err(TensorError::Id { op: "rows", id: which[place] as i64, place, limit: count });
    }
    let mut out = Buf::for_overwrite(which.len() * width);
    kernel::gather(ctx.isa, &mut out, x.data("rows")?, which, width, false);
    let out = Tensor::from_buf(out, [which.len(), width]);
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
