//! A column of a matrix.

use bedstone_kernels::mem::Buf;

use crate::{Backward, Ctx, Env, Grads, Result, Shape, Tensor, TensorError};

/// `y[..] = x[.., column]`: `[.., n]` of f32 to `[..]`.
pub fn column(x: &Tensor, column: usize, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ColumnBackward {
        x: Tensor,
        column: usize,
    }
    impl Backward for ColumnBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let width = self.x.shape().width();
            let mut dx = Buf::zeroed(self.x.shape().numel());
            let to = dx.iter_mut().skip(self.column).step_by(width);
            to.zip(grad.f32s()).for_each(|(dx, g)| *dx = *g);
            grads.add(self.x.var(), Tensor::from_buf(dx, self.x.shape()), env);
            Ok(())
        }
    }
    let (shape, width) = (x.shape(), x.shape().width());
    if column >= width || shape.is_empty() {
        return Err(TensorError::Shape { op: "column", got: shape, wanted: format!("rows beyond column {column}") });
    }
    let y: Vec<f32> = x.data::<f32>("column")?.iter().skip(column).step_by(width).copied().collect();
    let out = Tensor::from_slice(&y, Shape::from(&shape[..shape.len() - 1]));
    Ok(ctx.record(out, &[x], &[], || ColumnBackward { x: x.clone(), column }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for i in [0, 2] {
            check("column", &[[2, 4, 3].into()], |p, ctx| column(&ctx.leaf(p[0]), i, ctx));
        }
    }

    #[test]
    fn takes_every_row() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]);
        let y = column(&x, 1, &mut Ctx::inference(env)).unwrap();
        assert_eq!((y.shape(), y.f32s()), ([3].into(), &[2.0, 4.0, 6.0][..]));
        assert!(column(&x, 2, &mut Ctx::inference(env)).is_err());
    }
}
