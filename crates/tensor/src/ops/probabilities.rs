//! What an attention attends to, for people to look at.

use bedstone_kernels::{
    gemm::{Epilogue, Gemm, Mat, gemm},
    mem::Buf,
};

use super::{AttentionArgs, Part};
use crate::{Ctx, Result, Tensor, TensorError};

/// The probabilities of an attention without cache, bias or dropout: `[B, heads, T, T]` of f32.
///
/// A query that sees no key has zeros. Records nothing: it shows what [`super::attention`] computes and never holds.
pub fn attention_probabilities(q: Part<'_>, k: Part<'_>, args: AttentionArgs<'_>, ctx: &Ctx<'_>) -> Result<Tensor> {
    let ([b, t, q_width], [_, tk, k_width]) =
        (q.x.dims("attention probabilities")?, k.x.dims("attention probabilities")?);
    if args.keys.is_some() || args.bias.is_some() || tk != t {
        let what = "a cache or a bias, of which the probabilities are not shown".to_owned();
        return Err(TensorError::Unsupported { op: "attention probabilities", what });
    }
    let (queries, keys) = (q.x.to_f32(ctx.isa)?, k.x.to_f32(ctx.isa)?);
    let (queries, keys) = (queries.f32s(), keys.f32s());
    let mask = args.mask.map(|m| m.data::<u8>("attention probabilities: mask")).transpose()?;
    let (d, group) = (args.head_dim, args.heads / args.kv_heads.max(1));
    let mut out = Buf::for_overwrite(b * args.heads * t * t);
    for (i, scores) in out.chunks_exact_mut((t * t).max(1)).enumerate() {
        let (sequence, h) = (i / args.heads, i % args.heads);
        let a = Mat::new(&queries[sequence * t * q_width + q.first + h * d..], q_width);
        let b = Mat::t(&keys[sequence * t * k_width + k.first + h / group.max(1) * d..], k_width);
        gemm(ctx.isa, Gemm { m: t, n: t, k: d }, a, b, scores, t, Epilogue::default());
        for (row, scores) in scores.chunks_exact_mut(t).enumerate() {
            let sees = |key: usize| {
                let far = args.window.is_some_and(|w| row.abs_diff(key) >= w);
                !(far || args.causal && key > row || mask.is_some_and(|m| m[sequence * t + key] == 0))
            };
            softmax(scores, &args, sees);
        }
    }
    Ok(Tensor::from_buf(out, [b, args.heads, t, t]))
}

/// Products to probabilities, zero where `sees` says no.
fn softmax(scores: &mut [f32], args: &AttentionArgs<'_>, sees: impl Fn(usize) -> bool) {
    for (key, x) in scores.iter_mut().enumerate() {
        let scaled = args.softcap.map_or(*x * args.scale, |cap| cap * (*x * args.scale / cap).tanh());
        *x = if sees(key) { scaled } else { f32::NEG_INFINITY };
    }
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    let sum: f64 = scores.iter().map(|&x| ((x - most) as f64).exp()).sum();
    scores.iter_mut().for_each(|x| *x = (((*x - most) as f64).exp() / sum) as f32);
}

#[cfg(test)]
mod tests {
    use super::{super::attention, *};

    #[test]
    fn probabilities_times_values_are_the_attention() {
        let (b, t, heads, kv, d) = (2, 5, 4, 2, 3);
        let width = (heads + 2 * kv) * d;
        let x: Vec<f32> = (0..b * t * width).map(|i| (i * 29 % 23) as f32 / 11.0 - 1.0).collect();
        let x = Tensor::from_slice(&x, [b, t, width]);
        let mask = Tensor::from_slice(&[1u8, 1, 1, 1, 0, 0, 1, 1, 1, 1], [b, t]);
        let params = crate::Params::default();
        for isa in crate::Isa::available() {
            let env = crate::Env { isa, precision: Default::default(), packing: Default::default(), params: &params };
            for (causal, window, softcap) in [(false, None, None), (true, Some(2), Some(2.0)), (true, None, None)] {
                let args = AttentionArgs {
                    heads,
                    kv_heads: kv,
                    head_dim: d,
                    keys: None,
                    scale: 0.7,
                    causal,
                    window,
                    softcap,
                    mask: Some(&mask),
                    bias: None,
                    dropout: None,
                };
                let part = |first| Part { x: &x, first };
                let mut ctx = Ctx::inference(env);
                let p = attention_probabilities(part(0), part(heads * d), args, &ctx).unwrap();
                let v_first = (heads + kv) * d;
                let y = attention(part(0), part(heads * d), part(v_first), args, &mut ctx).unwrap();
                for (i, &got) in y.f32s().iter().enumerate() {
                    let (row, h, c) = (i / (heads * d), i / d % heads, i % d);
                    let (s, q) = (row / t, row % t);
                    let value = |key: usize| x.f32s()[(s * t + key) * width + v_first + h / 2 * d + c];
                    let want: f32 = (0..t).map(|key| p.f32s()[((s * heads + h) * t + q) * t + key] * value(key)).sum();
                    assert!((got - want).abs() < 1e-5, "{isa} {causal} {i}: {got} and {want}");
                }
            }
        }
    }
}
