//! Fused attention.

use bedstone_kernels::{
    Isa,
    attention::{self as kernel, Attention, AttentionGrads, Heads, Layout},
    bf16,
    mem::Buf,
    number::Number,
    random::Dropout,
};

use crate::{Backward, Ctx, Dtype, Element, Env, Grads, Result, Shape, Tensor, TensorError};

/// Where queries, keys or values are: columns of a projection `[B, T, width]`, head after head from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The projection.
    pub x: &'a Tensor,
    /// Column of head 0.
    pub first: usize,
}

/// Shape and options of an attention; see [`bedstone_kernels::attention::Attention`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionArgs<'a> {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Keys that count, where `k` and `v` have room for more (a cache); all of them if `None`.
    pub keys: Option<usize>,
    /// Multiplies the scores.
    pub scale: f32,
    /// No query sees a later key.
    pub causal: bool,
    /// Keys a query sees, its own included.
    pub window: Option<usize>,
    /// Scores are `cap · tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// `[B, keys]` of u8: 0 for padding.
    pub mask: Option<&'a Tensor>,
    /// `[heads, Tq, keys]`, added to the scores.
    pub bias: Option<&'a Tensor>,
    /// Of the probabilities, from [`Ctx::dropout`].
    pub dropout: Option<Dropout>,
}

/// `softmax(scale · Q Kᵀ) V`: `[B, Tq, heads · head_dim]`.
///
/// Gradients need keys and values in one tensor, which may be that of the queries too.
pub fn attention(q: Part<'_>, k: Part<'_>, v: Part<'_>, args: AttentionArgs<'_>, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let [b, tq, _] = q.x.dims("attention: queries")?;
    let [kb, room, _] = k.x.dims("attention: keys")?;
    let tk = args.keys.unwrap_or(room);
    let fits = |what: &'static str, p: Part<'_>, t: usize, heads: usize| {
        let [pb, pt, width] = p.x.dims(what)?;
        if pb != b || pt < t || p.first + heads * args.head_dim > width {
            let wanted = format!("[{b}, {t}, {} or more]", p.first + heads * args.head_dim);
            return Err(TensorError::Shape { op: what, got: p.x.shape(), wanted });
        }
        Ok(())
    };
    fits("attention: queries", q, tq, args.heads)?;
    fits("attention: keys", k, tk, args.kv_heads)?;
    fits("attention: values", v, tk, args.kv_heads)?;
    if args.kv_heads == 0 || !args.heads.is_multiple_of(args.kv_heads) || (args.causal && tq > tk) {
        let what = format!("{} heads over {} heads of keys, {tq} queries over {tk} keys", args.heads, args.kv_heads);
        return Err(TensorError::Unsupported { op: "attention", what });
    }
    let sized = |what, x: Option<&Tensor>, wanted: Shape| match x {
        Some(x) if x.shape() != wanted => {
            Err(TensorError::Shape { op: what, got: x.shape(), wanted: wanted.to_string() })
        }
        _ => Ok(()),
    };
    sized("attention: mask", args.mask, [kb, tk].into())?;
    sized("attention: bias", args.bias, [args.heads, tq, tk].into())?;
    let saved = Saved {
        q: q.x.clone(),
        k: k.x.clone(),
        v: v.x.clone(),
        firsts: [q.first, k.first, v.first],
        mask: args.mask.cloned(),
        bias: args.bias.cloned(),
        args: AttentionArgs { mask: None, bias: None, ..args },
        tk,
    };
    let shape = Shape::from([b, tq, args.heads * args.head_dim]);
    let mut lse = Buf::for_overwrite(b * args.heads * tq);
    let out = if saved.is_half()? {
        let mut out = Buf::for_overwrite(shape.numel());
        kernel::attention_half(
            ctx.isa,
            &saved.kernel_args()?,
            &mut out,
            &mut lse,
            heads::<bf16>(q)?,
            heads(k)?,
            heads(v)?,
        );
        Tensor::from_buf(out, shape)
    } else {
        let mut out = Buf::for_overwrite(shape.numel());
        let full = saved.full(ctx.isa)?;
        let [q, k, v] = full.parts();
        let lse = ctx.records().then_some(&mut lse[..]);
        kernel::attention(ctx.isa, &saved.kernel_args()?, &mut out, lse, heads::<f32>(q)?, heads(k)?, heads(v)?);
        Tensor::from_buf(out, shape).to_dtype(ctx.precision.operand(ctx.isa), ctx.isa)?
    };
    if !ctx.records() {
        return Ok(out);
    }
    let bias = saved.bias.clone();
    let inputs = [q.x, k.x, v.x, bias.as_ref().unwrap_or(q.x)];
    let kept = out.clone();
    Ok(ctx.record(out, &inputs, &[], || AttentionBackward {
        saved,
        out: kept,
        lse: Tensor::from_buf(lse, [b, args.heads, tq]),
    }))
}

fn heads<'a, T: Element>(p: Part<'a>) -> Result<Heads<'a, T>> {
    let [_, t, width] = p.x.dims("attention")?;
    Ok(Heads { data: p.x.data("attention")?, batch: t * width, token: width, first: p.first })
}

struct Saved {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    firsts: [usize; 3],
    mask: Option<Tensor>,
    bias: Option<Tensor>,
    args: AttentionArgs<'static>,
    tk: usize,
}

impl Saved {
    fn kernel_args(&self) -> Result<Attention<'_>> {
        let [b, tq, _] = self.q.dims("attention")?;
        let a = &self.args;
        Ok(Attention {
            b,
            heads: a.heads,
            kv_heads: a.kv_heads,
            tq,
            tk: self.tk,
            d: a.head_dim,
            scale: a.scale,
            causal: a.causal,
            window: a.window,
            softcap: a.softcap,
            mask: self.mask.as_ref().map(|m| m.data("attention: mask")).transpose()?,
            bias: self.bias.as_ref().map(|x| x.data("attention: bias")).transpose()?,
            dropout: a.dropout,
        })
    }

    /// Whether the kernel for bf16 serves it.
    fn is_half(&self) -> Result<bool> {
        Ok([&self.q, &self.k, &self.v].iter().all(|x| x.dtype() == Dtype::Bf16) && self.kernel_args()?.has_half())
    }

    /// As they are.
    fn parts(&self) -> [Part<'_>; 3] {
        let [q, k, v] = self.firsts;
        [Part { x: &self.q, first: q }, Part { x: &self.k, first: k }, Part { x: &self.v, first: v }]
    }

    /// Queries, keys and values as f32.
    fn full(&self, isa: Isa) -> Result<Full> {
        let q = self.q.to_f32(isa)?;
        let k = if self.k.is_same(&self.q) { q.clone() } else { self.k.to_f32(isa)? };
        let v = if self.v.is_same(&self.k) { k.clone() } else { self.v.to_f32(isa)? };
        Ok(Full { q, k, v, firsts: self.firsts })
    }
}

/// What the kernel reads.
struct Full {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    firsts: [usize; 3],
}

impl Full {
    fn parts(&self) -> [Part<'_>; 3] {
        let [q, k, v] = self.firsts;
        [Part { x: &self.q, first: q }, Part { x: &self.k, first: k }, Part { x: &self.v, first: v }]
    }
}

struct AttentionBackward {
    saved: Saved,
    out: Tensor,
    lse: Tensor,
}

impl Backward for AttentionBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let saved = &self.saved;
        let (k_var, v_var) = (saved.k.var(), saved.v.var());
        if k_var != v_var || saved.tk != saved.k.dims::<3>("attention")?[1] {
            let what = "gradients need keys and values in one tensor without spare room".to_owned();
            return Err(TensorError::Unsupported { op: "attention", what });
        }
        if saved.is_half()? {
            return self.gradients::<bf16>(
                saved.parts(),
                grad.data("attention")?,
                self.out.data("attention")?,
                grads,
                env,
            );
        }
        let full = saved.full(env.isa)?;
        let (grad, out) = (grad.to_f32(env.isa)?, self.out.to_f32(env.isa)?);
        self.gradients::<f32>(full.parts(), grad.f32s(), out.f32s(), grads, env)
    }
}

/// The two kernels behind one name.
trait Kernel: Element + Number {
    fn backward(
        env: &Env<'_>,
        a: &Attention<'_>,
        to: AttentionGrads<'_, Self>,
        dout: &[Self],
        out: &[Self],
        lse: &[f32],
        parts: [Heads<'_, Self>; 3],
    );
}

impl Kernel for f32 {
    fn backward(
        env: &Env<'_>,
        a: &Attention<'_>,
        to: AttentionGrads<'_>,
        dout: &[f32],
        out: &[f32],
        lse: &[f32],
        [q, k, v]: [Heads<'_>; 3],
    ) {
        kernel::attention_backward(env.isa, a, to, dout, out, lse, q, k, v);
    }
}

impl Kernel for bf16 {
    fn backward(
        env: &Env<'_>,
        a: &Attention<'_>,
        to: AttentionGrads<'_, bf16>,
        dout: &[bf16],
        out: &[bf16],
        lse: &[f32],
        [q, k, v]: [Heads<'_, bf16>; 3],
    ) {
        kernel::attention_half_backward(env.isa, a, to, dout, out, lse, q, k, v);
    }
}

impl AttentionBackward {
    /// Gradients of the type of the kernel's numbers.
    fn gradients<T: Kernel>(
        &self,
        parts: [Part<'_>; 3],
        dout: &[T],
        out: &[T],
        grads: &mut Grads,
        env: &Env<'_>,
    ) -> Result<()> {
        let saved = &self.saved;
        let [q, k, v] = parts;
        let (q, k, v) = (heads::<T>(q)?, heads::<T>(k)?, heads::<T>(v)?);
        let layout = |h: &Heads<'_, T>| Layout { batch: h.batch, token: h.token, first: h.first };
        let shared = saved.q.is_same(&saved.k);
        // Columns that no head covers get no gradient from here.
        let covered = if shared { saved.args.heads + 2 * saved.args.kv_heads } else { saved.args.heads };
        let buffer = |x: &Tensor, covered: usize| {
            let exact = covered * saved.args.head_dim == x.shape().width();
            if exact { Buf::<T>::for_overwrite(x.shape().numel()) } else { Buf::zeroed(x.shape().numel()) }
        };
        let mut dq = buffer(&saved.q, covered);
        let mut dkv = (!shared).then(|| buffer(&saved.k, 2 * saved.args.kv_heads));
        let bias_var = saved.bias.as_ref().and_then(Tensor::var);
        let mut dbias = bias_var.and(saved.bias.as_ref()).map(|x| Buf::zeroed(x.shape().numel()));
        let to = AttentionGrads {
            dq: &mut dq,
            q: layout(&q),
            dkv: dkv.as_deref_mut(),
            k: layout(&k),
            v: layout(&v),
            dbias: dbias.as_deref_mut(),
        };
        T::backward(env, &saved.kernel_args()?, to, dout, out, self.lse.f32s(), [q, k, v]);
        grads.add(saved.q.var(), Tensor::from_buf(dq, saved.q.shape()), env);
        if let Some(dkv) = dkv {
            grads.add(saved.k.var(), Tensor::from_buf(dkv, saved.k.shape()), env);
        }
        if let (Some(dbias), Some(bias)) = (dbias, &saved.bias) {
            grads.add(bias_var, Tensor::from_buf(dbias, bias.shape()), env);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    fn args() -> AttentionArgs<'static> {
        AttentionArgs {
            heads: 4,
            kv_heads: 2,
            head_dim: 5,
            keys: None,
            scale: 0.5,
            causal: true,
            window: None,
            softcap: None,
            mask: None,
            bias: None,
            dropout: None,
        }
    }

    #[test]
    fn gradients_in_one_projection() {
        for (b, t) in [(1, 1), (2, 7), (1, 70)] {
            for extra in [0, 3] {
                check(&format!("attention {b} {t} {extra}"), &[[b, t, 40 + extra].into()], |p, ctx| {
                    let x = ctx.leaf(p[0]);
                    let part = |first| Part { x: &x, first };
                    attention(part(0), part(20), part(30), AttentionArgs { window: Some(5), ..args() }, ctx)
                });
            }
        }
    }

    #[test]
    fn gradients_across_with_bias() {
        let mask = Tensor::from_slice(&[1u8, 1, 1, 1, 1, 0, 1, 1, 0, 0], [2, 5]);
        let shapes = [[2, 3, 20].into(), [2, 5, 20].into(), [4, 3, 5].into()];
        check("cross attention", &shapes, |p, ctx| {
            let (q, kv, bias) = (ctx.leaf(p[0]), ctx.leaf(p[1]), ctx.leaf(p[2]));
            let args = AttentionArgs { causal: false, mask: Some(&mask), bias: Some(&bias), ..args() };
            attention(Part { x: &q, first: 0 }, Part { x: &kv, first: 0 }, Part { x: &kv, first: 10 }, args, ctx)
        });
    }

    #[test]
    fn wrong_shapes_are_named() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x = Tensor::zeros::<f32>([1, 3, 39]);
        let part = |first| Part { x: &x, first };
        let error = attention(part(0), part(20), part(30), args(), &mut Ctx::inference(env)).unwrap_err();
        assert_eq!(error.to_string(), "attention: values: got shape [1, 3, 39], wanted [1, 3, 40 or more]");
    }
}
