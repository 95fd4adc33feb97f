//! Tokens behind tokens, columns beside columns.

use std::ops::Range;

use bedstone_kernels::{elementwise, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// Tokens one after another: parts `[B, n, C]`, or `[1, n, C]` that every sample gets, to `[B, Σ n, C]` of f32.
pub fn concat_tokens(parts: &[&Tensor], batch: usize, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let op = "concat_tokens";
    let width = parts.first().map_or(0, |p| p.shape().width());
    let mut saved = ConcatTokens { parts: Vec::new(), batch, rows: 0, width };
    for part in parts {
        let [b, n, c] = part.dims(op)?;
        if (b != batch && b != 1) || c != width {
            return Err(TensorError::Shape { op, got: part.shape(), wanted: format!("[{batch} or 1, .., {width}]") });
        }
        saved.parts.push((part.to_f32(ctx.isa)?, saved.rows..saved.rows + n));
        saved.rows += n;
    }
    let mut out = Buf::for_overwrite(batch * saved.rows * width);
    for (b, sample) in out.chunks_exact_mut((saved.rows * width).max(1)).enumerate() {
        for (part, rows) in &saved.parts {
            let n = rows.len() * width;
            let from = if part.shape()[0] == 1 { 0 } else { b * n };
            sample[rows.start * width..][..n].copy_from_slice(&part.data::<f32>(op)?[from..from + n]);
        }
    }
    let out = Tensor::from_buf(out, [batch, saved.rows, width]);
    Ok(ctx.record(out, parts, &[], || saved))
}

struct ConcatTokens {
    /// With the rows of each sample that they are.
    parts: Vec<(Tensor, Range<usize>)>,
    batch: usize,
    rows: usize,
    width: usize,
}

impl Backward for ConcatTokens {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let (grad, sample) = (grad.f32s(), self.rows * self.width);
        for (part, rows) in self.parts.iter().filter(|(part, _)| part.var().is_some()) {
            let n = rows.len() * self.width;
            let mut dx = Buf::zeroed(part.shape().numel());
            let shared = part.shape()[0] == 1;
            if shared && n > 0 && self.batch > 0 {
                let from = &grad[rows.start * self.width..][..(self.batch - 1) * sample + n];
                elementwise::sum_rows(env.isa, &mut dx, from, sample);
            } else {
                for (to, from) in dx.chunks_exact_mut(n.max(1)).zip(grad.chunks_exact(sample.max(1))) {
                    to.copy_from_slice(&from[rows.start * self.width..][..n]);
                }
            }
            grads.add(part.var(), Tensor::from_buf(dx, part.shape()), env);
        }
        Ok(())
    }
}

/// Columns side by side: parts `[.., n]` with the same rows and type of numbers, to `[.., Σ n]`.
pub fn concat_columns(parts: &[&Tensor], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ConcatColumns(Vec<Tensor>);
    impl Backward for ConcatColumns {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let (mut first, width) = (0, grad.shape().width());
            for part in self.0 {
                let n = part.shape().width();
                let dx = with_number!(grad.dtype(), T => {
                    let mut dx = Buf::<T>::for_overwrite(part.shape().numel());
                    let rows = grad.data::<T>("concat_columns")?.chunks_exact(width.max(1));
                    for (to, from) in dx.chunks_exact_mut(n.max(1)).zip(rows) {
                        to.copy_from_slice(&from[first..first + n]);
                    }
                    Tensor::from_buf(dx, part.shape())
                });
                grads.add(part.var(), dx, env);
                first += n;
            }
            Ok(())
        }
    }
    let op = "concat_columns";
    let Some(first) = parts.first() else {
        return Err(TensorError::Unsupported { op, what: "no part".into() });
    };
    let mut width = 0;
    for part in parts {
        if part.shape().with_width(0) != first.shape().with_width(0) {
            return Err(TensorError::Shape { op, got: part.shape(), wanted: format!("the rows of {}", first.shape()) });
        }
        if part.dtype() != first.dtype() {
            return Err(TensorError::Dtype { op, got: part.dtype(), wanted: first.dtype() });
        }
        width += part.shape().width();
    }
    let shape = first.shape().with_width(width);
    let out = with_number!(first.dtype(), T => {
        let (mut out, mut column) = (Buf::<T>::for_overwrite(shape.numel()), 0);
        for part in parts {
            let n = part.shape().width();
            let rows = part.data::<T>(op)?.chunks_exact(n.max(1));
            for (to, from) in out.chunks_exact_mut(width.max(1)).zip(rows) {
                to[column..column + n].copy_from_slice(from);
            }
            column += n;
        }
        Tensor::from_buf(out, shape)
    });
    Ok(ctx.record(out, parts, &[], || ConcatColumns(parts.iter().map(|&p| p.clone()).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for width in [1, 5, 33] {
            let shapes = [[1, 1, width].into(), [3, 4, width].into(), [1, 2, width].into()];
            check("concat_tokens", &shapes, |p, ctx| {
                let parts = [ctx.leaf(p[0]), ctx.leaf(p[1]), ctx.leaf(p[2])];
                concat_tokens(&parts.each_ref(), 3, ctx)
            });
            let shapes = [[2, 3, width].into(), [2, 3, 4].into()];
            check("concat_columns", &shapes, |p, ctx| {
                let parts = [ctx.leaf(p[0]), ctx.leaf(p[1])];
                concat_columns(&parts.each_ref(), ctx)
            });
        }
    }

    #[test]
    fn parts_lie_in_order() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let mut ctx = Ctx::inference(env);
        let one = Tensor::from_slice(&[9.0f32], [1, 1, 1]);
        let all = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2, 1]);
        let y = concat_tokens(&[&one, &all], 2, &mut ctx).unwrap();
        assert_eq!((y.shape(), y.f32s()), ([2, 3, 1].into(), &[9.0, 1.0, 2.0, 9.0, 3.0, 4.0][..]));
        let y = concat_columns(&[&all, &all], &mut ctx).unwrap();
        assert_eq!((y.shape(), y.f32s()), ([2, 2, 2].into(), &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0][..]));
        let error = concat_tokens(&[&one, &all], 3, &mut ctx).unwrap_err().to_string();
        assert_eq!(error, "concat_tokens: got shape [2, 2, 1], wanted [3 or 1, .., 1]");
        let error = concat_columns(&[&one, &all], &mut ctx).unwrap_err().to_string();
        assert_eq!(error, "concat_columns: got shape [2, 2, 1], wanted the rows of [1, 1, 1]");
    }
}
