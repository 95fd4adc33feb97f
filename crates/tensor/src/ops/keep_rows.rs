//! Rows without padding.

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError, Var};

/// `x: [B, T, C]` with zeros where `mask` (`[B, T]` of u8) is 0, as f32.
pub fn keep_rows(x: &Tensor, mask: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct KeepRowsBackward {
        x: Option<Var>,
        mask: Tensor,
    }
    impl Backward for KeepRowsBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            clear(&mut grad, &self.mask)?;
            grads.add(self.x, grad, env);
            Ok(())
        }
    }
    fn clear(x: &mut Tensor, mask: &Tensor) -> Result<()> {
        let (mask, width) = (mask.data::<u8>("keep_rows")?, x.shape().width().max(1));
        let rows = x.f32s_mut().chunks_exact_mut(width).zip(mask);
        rows.filter(|(_, keep)| **keep == 0).for_each(|(row, _)| row.fill(0.0));
        Ok(())
    }
    let [b, t, _] = x.dims("keep_rows")?;
    if mask.shape()[..] != [b, t] {
        return Err(TensorError::Shape { op: "keep_rows", got: mask.shape(), wanted: format!("[{b}, {t}]") });
    }
    let mut out = x.to_f32(ctx.isa)?;
    clear(&mut out, mask)?;
    Ok(ctx.record(out, &[x], &[], || KeepRowsBackward { x: x.var(), mask: mask.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let mask = Tensor::from_slice(&[1u8, 1, 0, 0, 1, 1], [2, 3]);
        check("keep_rows", &[[2, 3, 5].into()], |p, ctx| keep_rows(&ctx.leaf(p[0]), &mask, ctx));
    }
}
