//! Products of rows with rows.

use bedstone_kernels::{
    gemm::{Epilogue, Gemm, Mat, gemm},
    mem::Buf,
};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError, Var};

/// `y[i, j] = scale · a[i] · b[j]`: rows `[N, C]` and `[M, C]` of f32 to `[N, M]`, computed in f32.
pub fn similarity(a: &Tensor, b: &Tensor, scale: f32, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct SimilarityBackward {
        a: Tensor,
        b: Tensor,
        scale: f32,
    }
    impl SimilarityBackward {
        /// `scale · op(grad) · x` to the gradient of an operand.
        fn give(
            &self,
            to: Option<Var>,
            g: Mat<'_>,
            x: &Tensor,
            rows: usize,
            grads: &mut Grads,
            env: &Env<'_>,
        ) -> Result<()> {
            let [k, n] = x.dims("similarity")?;
            let mut d = Buf::for_overwrite(rows * n);
            gemm(env.isa, Gemm { m: rows, n, k }, g, Mat::new(x.f32s(), n), &mut d, n, Epilogue::default());
            bedstone_kernels::elementwise::scale(env.isa, &mut d, self.scale);
            grads.add(to, Tensor::from_buf(d, [rows, n]), env);
            Ok(())
        }
    }
    impl Backward for SimilarityBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            // The gradient may come from another shape of the same numbers.
            let (n, m) = (self.a.shape().rows(), self.b.shape().rows());
            self.give(self.a.var(), Mat::new(grad.f32s(), m), &self.b, n, grads, env)?;
            self.give(self.b.var(), Mat::t(grad.f32s(), m), &self.a, m, grads, env)
        }
    }
    let ([n, k], [m, kb]) = (a.dims("similarity")?, b.dims("similarity")?);
    if k != kb {
        return Err(TensorError::Shape { op: "similarity", got: b.shape(), wanted: format!("rows of {k}") });
    }
    let mut out = Buf::for_overwrite(n * m);
    let (x, y) = (Mat::new(a.data("similarity")?, k), Mat::t(b.data("similarity")?, k));
    gemm(ctx.isa, Gemm { m: n, n: m, k }, x, y, &mut out, m, Epilogue::default());
    bedstone_kernels::elementwise::scale(ctx.isa, &mut out, scale);
    let out = Tensor::from_buf(out, [n, m]);
    Ok(ctx.record(out, &[a, b], &[], || SimilarityBackward { a: a.clone(), b: b.clone(), scale }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for (n, m, k) in [(1, 1, 1), (3, 5, 7), (20, 9, 17)] {
            check("similarity", &[[n, k].into(), [m, k].into()], |p, ctx| {
                let (a, b) = (ctx.leaf(p[0]), ctx.leaf(p[1]));
                similarity(&a, &b, 0.5, ctx)
            });
            check("similarity in another shape", &[[n, k].into(), [m, k].into()], |p, ctx| {
                let (a, b) = (ctx.leaf(p[0]), ctx.leaf(p[1]));
                let column = similarity(&a, &b, 0.5, ctx)?.reshape([n * m, 1])?;
                crate::ops::rows(&column, &[(n * m - 1) as i32, 0], ctx)
            });
        }
    }
}
