//! Attention over sequences of different lengths that stand one after another, without padding.

use bedstone_kernels::{
    attention::{self as kernel, Attention, Heads},
    bf16,
    mem::Buf,
};

use super::{AttentionArgs, Part};
use crate::{Ctx, Dtype, Result, Tensor, TensorError};

/// `softmax(scale · Q Kᵀ) V` within each sequence: `q`, `k` and `v` are columns of `[1, N, width]`, whose `N` rows are
/// sequences of `lengths` one after another; gives `[1, N, heads · head_dim]`.
///
/// For inference: an error where gradients are recorded, and with options that need the places of tokens (causality,
/// windows, masks, biases, caps, caches).
pub fn attention_packed(
    q: Part<'_>,
    k: Part<'_>,
    v: Part<'_>,
    lengths: &[usize],
    args: AttentionArgs<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let plain = !args.causal && args.window.is_none() && args.softcap.is_none() && args.keys.is_none();
    if ctx.records() || !plain || args.mask.is_some() || args.bias.is_some() || args.dropout.is_some() {
        let what = "packed sequences are for inference, without masks and the like".to_owned();
        return Err(TensorError::Unsupported { op: "attention", what });
    }
    let [one, n, _] = q.x.dims("attention: queries")?;
    let total: usize = lengths.iter().sum();
    for p in [q, k, v] {
        if one != 1 || total != n || p.x.dims::<3>("attention")?[..2] != [1, n] {
            let wanted = format!("[1, {total}, ..]");
            return Err(TensorError::Shape { op: "attention", got: p.x.shape(), wanted });
        }
        let heads = if p.first == q.first { args.heads } else { args.kv_heads };
        if p.first + heads * args.head_dim > p.x.shape().width() {
            let wanted = format!("[1, {n}, {} or more]", p.first + heads * args.head_dim);
            return Err(TensorError::Shape { op: "attention", got: p.x.shape(), wanted });
        }
    }
    let width = args.heads * args.head_dim;
    let half = [q, k, v].iter().all(|p| p.x.dtype() == Dtype::Bf16) && problem(&args, 1, 1).has_half();
    if half {
        let mut out = Buf::<bf16>::for_overwrite(n * width);
        let mut lse = Buf::for_overwrite(n * args.heads);
        for (row, b, t) in groups(lengths) {
            let [q, k, v] = [heads::<bf16>(q, row, t)?, heads(k, row, t)?, heads(v, row, t)?];
            let out = &mut out[row * width..(row + b * t) * width];
            kernel::attention_half(ctx.isa, &problem(&args, b, t), out, &mut lse, q, k, v);
        }
        return Ok(Tensor::from_buf(out, [1, n, width]));
    }
    let full = [q.x.to_f32(ctx.isa)?, k.x.to_f32(ctx.isa)?, v.x.to_f32(ctx.isa)?];
    let part = |i: usize, p: Part<'_>| Part { x: &full[i], first: p.first };
    let (q, k, v) = (part(0, q), part(1, k), part(2, v));
    let mut out = Buf::<f32>::for_overwrite(n * width);
    for (row, b, t) in groups(lengths) {
        let [q, k, v] = [heads::<f32>(q, row, t)?, heads(k, row, t)?, heads(v, row, t)?];
        let out = &mut out[row * width..(row + b * t) * width];
        kernel::attention(ctx.isa, &problem(&args, b, t), out, None, q, k, v);
    }
    Tensor::from_buf(out, [1, n, width]).to_dtype(ctx.precision.operand(ctx.isa), ctx.isa)
}

/// Neighbours of one length: first row, sequences, length.
fn groups(lengths: &[usize]) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut row = 0;
    lengths.chunk_by(|a, b| a == b).map(move |same| {
        let (first, t) = (row, same[0]);
        row += same.len() * t;
        (first, same.len(), t)
    })
}

fn problem(args: &AttentionArgs<'_>, b: usize, t: usize) -> Attention<'static> {
    Attention {
        b,
        heads: args.heads,
        kv_heads: args.kv_heads,
        tq: t,
        tk: t,
        d: args.head_dim,
        scale: args.scale,
        ..Default::default()
    }
}

/// Heads of the sequences of length `t` from `row` on.
fn heads<T: crate::Element>(p: Part<'_>, row: usize, t: usize) -> Result<Heads<'_, T>> {
    let width = p.x.shape().width();
    Ok(Heads { data: &p.x.data("attention")?[row * width..], batch: t * width, token: width, first: p.first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, Isa, Params, Precision, ops::attention};

    #[test]
    fn the_same_as_one_after_the_other() {
        let params = Params::default();
        let lengths = [3, 1, 1, 70, 7, 7];
        let (n, width) = (lengths.iter().sum::<usize>(), 3 * 4 * 5);
        let numbers: Vec<f32> = (0..n * width).map(|i| (i as f32 * 0.37).sin()).collect();
        let args = AttentionArgs {
            heads: 4,
            kv_heads: 4,
            head_dim: 5,
            keys: None,
            scale: 0.4,
            causal: false,
            window: None,
            softcap: None,
            mask: None,
            bias: None,
            dropout: None,
        };
        for isa in Isa::available() {
            for precision in [Precision::F32, Precision::Bf16] {
                if precision == Precision::Bf16 && !isa.has_bf16() {
                    continue;
                }
                let env = Env { isa, precision, packing: Default::default(), params: &params };
                let ctx = &mut Ctx::inference(env);
                let run = |from: usize, t: usize, packed: Option<&[usize]>, ctx: &mut Ctx<'_>| {
                    let x = Tensor::from_slice(&numbers[from * width..(from + t) * width], [1, t, width]);
                    let x = x.to_dtype(precision.operand(isa), isa).unwrap();
                    let part = |i: usize| Part { x: &x, first: 20 * i };
                    let y = match packed {
                        Some(lengths) => attention_packed(part(0), part(1), part(2), lengths, args, ctx),
                        None => attention(part(0), part(1), part(2), args, ctx),
                    };
                    y.unwrap().to_f32(isa).unwrap()
                };
                let all = run(0, n, Some(&lengths), ctx);
                let mut from = 0;
                for t in lengths {
                    let one = run(from, t, None, ctx);
                    assert!(one.f32s() == &all.f32s()[from * 20..(from + t) * 20], "{isa} {precision:?} {t}");
                    from += t;
                }
                let x = Tensor::zeros::<f32>([1, 5, width]);
                let part = |i: usize| Part { x: &x, first: 20 * i };
                assert!(attention_packed(part(0), part(1), part(2), &[2, 2], args, ctx).is_err(), "5 rows of 4");
            }
        }
    }
}
