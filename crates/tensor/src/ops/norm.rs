//! Normalisations.

use bedstone_kernels::{
    mem::Buf,
    norm::{Norm, NormGrads, Rows, norm as kernel, norm_backward},
    number::Number,
};

use crate::{Backward, Ctx, Dtype, Element, Env, Grads, ParamId, Result, Tensor, TensorError};

/// A normalisation with its weights.
#[derive(Clone, Copy, Debug)]
pub struct NormArgs {
    /// Layer or root-mean-square norm.
    pub kind: Norm,
    /// One number a column.
    pub weight: Option<ParamId>,
    /// One number a column.
    pub bias: Option<ParamId>,
}

/// Normalises the rows of `x: [.., C]`; the result is f32.
pub fn norm(x: &Tensor, args: NormArgs, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    whole(x, args, Dtype::F32, ctx)
}

/// The same for a result that only products read: bf16 where these are.
pub fn norm_operand(x: &Tensor, args: NormArgs, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    whole(x, args, ctx.precision.operand(ctx.isa), ctx)
}

fn whole(x: &Tensor, args: NormArgs, dtype: Dtype, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let rows = Rows::dense(x.shape().rows(), x.shape().width());
    with_number!(dtype, U => apply(x, Buf::<U>::for_overwrite(x.shape().numel()), &[(rows, args)], ctx))
}

/// Some heads of a projection and their norm.
#[derive(Clone, Copy, Debug)]
pub struct HeadNorm {
    /// Column of the first head.
    pub first: usize,
    /// How many heads.
    pub heads: usize,
    /// Applied to each head.
    pub args: NormArgs,
}

/// Normalises heads of width `head_dim` in `x: [.., C]` and leaves the other columns as they are, as Qwen 3 and Gemma 3
/// do with queries and keys.
pub fn norm_heads(x: &Tensor, head_dim: usize, norms: &[HeadNorm], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let (tokens, width) = (x.shape().rows(), x.shape().width());
    let parts: Vec<(Rows, NormArgs)> = norms
        .iter()
        .map(|n| {
            let rows = Rows { outer: tokens, ld: width, first: n.first, inner: n.heads, width: head_dim };
            if n.first + n.heads * head_dim > width {
                let wanted = format!("rows of at least {}", n.first + n.heads * head_dim);
                return Err(TensorError::Shape { op: "norm_heads", got: x.shape(), wanted });
            }
            Ok((rows, n.args))
        })
        .collect::<Result<_>>()?;
    with_number!(x.dtype(), T => apply(x, Buf::<T>::copy_of(x.data("norm_heads")?), &parts, ctx))
}

fn apply<U: Element + Number>(
    x: &Tensor,
    mut out: Buf<U>,
    parts: &[(Rows, NormArgs)],
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let (mut saved, mut params) = (Vec::new(), Vec::new());
    for &(rows, args) in parts {
        for id in [args.weight, args.bias].into_iter().flatten() {
            if ctx.param(id).shape().numel() != rows.width {
                let wanted = format!("rows of {} for `{}`", ctx.param(id).shape(), ctx.params.get(id).name);
                return Err(TensorError::Shape { op: "norm", got: x.shape(), wanted });
            }
            params.push(id);
        }
        let mut stats = Buf::for_overwrite(2 * rows.count());
        let slice = |id: Option<ParamId>| id.map(|id| ctx.param(id).f32s());
        let (w, b) = (slice(args.weight), slice(args.bias));
        with_number!(x.dtype(), T => {
            kernel(ctx.isa, args.kind, rows, &mut out, x.data::<T>("norm")?, w, b, &mut stats)
        });
        saved.push((rows, args, stats));
    }
    let out = Tensor::from_buf(out, x.shape());
    Ok(ctx.record(out, &[x], &params, || NormBackward { x: x.clone(), parts: saved }))
}

struct NormBackward {
    x: Tensor,
    parts: Vec<(Rows, NormArgs, Buf<f32>)>,
}

impl Backward for NormBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let x = &self.x;
        with_number!(x.dtype(), T => match &self.parts[..] {
            [whole] if whole.0.width == x.shape().width() => {
                let mut dx = grads.begin::<T>(x.var(), x.shape(), env.isa)?;
                self.part::<T>(whole, &grad, grads, dx.tensor.data_mut(), dx.accumulate, env)?;
                grads.finish(x.var(), dx);
            }
            parts => {
                // The columns that no part covers pass their gradient on as it is.
                let mut dx = grad.to_dtype(x.dtype(), env.isa)?;
                for p in parts {
                    self.part::<T>(p, &grad, grads, dx.data_mut(), false, env)?;
                }
                grads.add(x.var(), dx, env);
            }
        });
        Ok(())
    }
}

impl NormBackward {
    /// The gradients through one part; `dx` is that of all of `x`.
    fn part<T: Element + Number>(
        &self,
        (rows, args, stats): &(Rows, NormArgs, Buf<f32>),
        grad: &Tensor,
        grads: &mut Grads,
        dx: &mut [T],
        accumulate: bool,
        env: &Env<'_>,
    ) -> Result<()> {
        let (mut dw, mut db) = (Buf::zeroed(rows.width), Buf::zeroed(rows.width));
        let w = args.weight.map(|id| env.params.get(id).value.f32s());
        let x = self.x.data::<T>("norm")?;
        let to = NormGrads { dx, accumulate, dw: Some(&mut dw), db: Some(&mut db) };
        with_number!(grad.dtype(), U => {
            norm_backward(env.isa, args.kind, *rows, to, grad.data::<U>("norm")?, x, w, stats)
        });
        for (id, sum) in [(args.weight, &dw), (args.bias, &db)] {
            if let Some(id) = id {
                grads.add_param(id, env, |g| g.iter_mut().zip(sum.iter()).for_each(|(g, s)| *g += s));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for width in [2, 7, 33] {
            let shapes = [[3, width].into(), [width].into(), [width].into()];
            check("layer norm", &shapes, |p, ctx| {
                let x = ctx.leaf(p[0]);
                let kind = Norm::Layer { eps: 1e-3 };
                norm(&x, NormArgs { kind, weight: Some(p[1]), bias: Some(p[2]) }, ctx)
            });
            for offset in [0.0, 1.0] {
                check("rms norm", &shapes[..2], |p, ctx| {
                    let x = ctx.leaf(p[0]);
                    norm(&x, NormArgs { kind: Norm::Rms { eps: 1e-3, offset }, weight: Some(p[1]), bias: None }, ctx)
                });
            }
        }
    }

    #[test]
    fn gradients_of_heads() {
        for d in [3, 8, 17] {
            check("norm of heads", &[[2, 3, 5 * d].into(), [d].into(), [d].into()], |p, ctx| {
                let x = ctx.leaf(p[0]);
                let args = |w| NormArgs { kind: Norm::Rms { eps: 1e-3, offset: 0.0 }, weight: Some(w), bias: None };
                let norms = [
                    HeadNorm { first: 0, heads: 3, args: args(p[1]) },
                    HeadNorm { first: 3 * d, heads: 1, args: args(p[2]) },
                ];
                norm_heads(&x, d, &norms, ctx)
            });
        }
    }
}
