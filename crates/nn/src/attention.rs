//! The attention layer.

use bedstone_tensor::{
    Ctx, Result as OpResult, Tensor, TensorError,
    ops::{self, AttentionArgs, HeadNorm, LinearArgs, Part},
};

use crate::{Linear, NnError, Norm, Result, Rotation};

/// Multi-head attention, [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), with grouped keys, a window, norms of
/// queries and keys, and a cache.
#[derive(Clone, Debug)]
pub struct Attention {
    /// One map to queries, keys and values, or one for each.
    projections: Vec<Linear>,
    out: Linear,
    norms: Option<[Norm; 2]>,
    spec: AttentionSpec,
}

/// Sizes and options of an [`Attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Its place among the layers, which names its part of the cache.
    pub layer: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// No query sees a later key.
    pub causal: bool,
    /// Keys a query sees, its own included.
    pub window: Option<usize>,
    /// Scores are `cap · tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// Dropout of the probabilities.
    pub dropout: f32,
    /// Dropout of the output, before it joins the residual stream.
    pub out_dropout: f32,
}

impl AttentionSpec {
    /// Of `heads` that share `width` among them, where every query sees every key; without dropout.
    pub fn bidirectional(layer: usize, width: usize, heads: usize) -> Self {
        let head_dim = width / heads;
        AttentionSpec {
            layer,
            heads,
            kv_heads: heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: false,
            window: None,
            softcap: None,
            dropout: 0.0,
            out_dropout: 0.0,
        }
    }

    /// The same for the operation, without cache and bias.
    pub(crate) fn args<'a>(&self, mask: Option<&'a Tensor>, ctx: &mut Ctx<'_>) -> AttentionArgs<'a> {
        AttentionArgs {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            keys: None,
            scale: self.scale,
            causal: self.causal,
            window: self.window,
            softcap: self.softcap,
            mask,
            bias: None,
            dropout: ctx.dropout(self.dropout),
        }
    }

    /// An error unless the heads can be grouped.
    pub fn check(&self) -> Result<()> {
        for (what, size) in [
            ("num_attention_heads", Some(self.heads)),
            ("head_dim", Some(self.head_dim)),
            ("sliding_window", self.window),
        ] {
            if size == Some(0) {
                return Err(NnError::Config { what: what.into(), got: "0".into(), wanted: "1 or more".into() });
            }
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(NnError::Config {
                what: "num_attention_heads".into(),
                got: self.heads.to_string(),
                wanted: format!("a multiple of num_key_value_heads ({})", self.kv_heads),
            });
        }
        Ok(())
    }

    /// Columns of queries.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Columns of keys, and of values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// What an attention gets beside its input.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionInput<'a> {
    /// Angles of the positions.
    pub rotation: Option<&'a Rotation>,
    /// `[B, keys]` of u8, 0 for padding; with a cache, of all keys from its start.
    pub mask: Option<&'a Tensor>,
    /// The tokens whose states anybody reads, all if `None`: they see all tokens, and what else there is to
    /// compute for the others is left out where that can be.
    pub wanted: Option<Span>,
}

/// Some tokens of each sequence: `count` from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first of them.
    pub first: usize,
    /// How many.
    pub count: usize,
}

impl Span {
    /// The states of these tokens: `x: [B, T, C]` to `[B, count, C]`.
    pub fn of(self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let [b, t, c] = x.dims("span")?;
        let Span { first, count } = self;
        if first.checked_add(count).is_none_or(|end| end > t) {
            let wanted = format!("{count} tokens from {first} on");
            return Err(TensorError::Shape { op: "span", got: x.shape(), wanted });
        }
        let rows: Vec<i32> = (0..b).flat_map(|k| k * t + first..k * t + first + count).map(|row| row as i32).collect();
        ops::rows(x, &rows, ctx)?.reshape([b, count, c])
    }
}

impl AttentionInput<'_> {
    /// The states of `x: [B, T, C]` that go on: of the tokens that are wanted.
    pub fn kept(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        self.wanted.map_or_else(|| Ok(x.clone()), |span| span.of(x, ctx))
    }
}

impl Attention {
    /// From its maps; `norms` are those of queries and keys.
    pub fn new(spec: AttentionSpec, projections: Vec<Linear>, out: Linear, norms: Option<[Norm; 2]>) -> Result<Self> {
        spec.check()?;
        Ok(Attention { projections, out, norms, spec })
    }

    /// `x: [B, T, C]` to `[B, T, C]`, or to `[B, count, C]` of the tokens that are wanted.
    pub fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let y = self.heads(x, input, ctx)?;
        self.out.forward(&y, ctx)
    }

    /// `residual + dropout(attention(x))`, of as many tokens as are wanted.
    pub fn forward_residual(
        &self,
        x: &Tensor,
        input: AttentionInput<'_>,
        residual: &Tensor,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let y = self.heads(x, input, ctx)?;
        self.out.forward_residual(&y, self.spec.out_dropout, residual, ctx)
    }

    /// The heads' outputs, `[B, T, heads · head_dim]`.
    fn heads(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        if let Some(span) = input.wanted {
            return self.heads_of(span, x, input, ctx);
        }
        let s = &self.spec;
        let (k_first, v_first) = (s.q_width(), s.q_width() + s.kv_width());
        let maps: Vec<ops::Linear> = self.projections.iter().map(|p| p.op).collect();
        let mut qkv = ops::linear(x, &maps, LinearArgs::default(), ctx)?;
        if let Some([q, k]) = self.norms {
            let norms = [
                HeadNorm { first: 0, heads: s.heads, args: q.args },
                HeadNorm { first: k_first, heads: s.kv_heads, args: k.args },
            ];
            qkv = ops::norm_heads(&qkv, s.head_dim, &norms, ctx)?;
        }
        if let Some(rotation) = input.rotation {
            // Queries and keys lie side by side, and values after them.
            qkv = rotation.apply(qkv, s.heads + s.kv_heads, s.head_dim, ctx)?;
        }
        let [_, t, _] = qkv.dims("attention")?;
        let mut args = s.args(input.mask, ctx);
        let q = Part { x: &qkv, first: 0 };
        if ctx.records() && ctx.cache.is_some() {
            let what = "gradients do not reach into a cache: train without one".to_owned();
            return Err(TensorError::Unsupported { op: "attention", what });
        }
        let k = Part { x: &qkv, first: k_first };
        if ctx.attentions.is_some() {
            let shown = ops::attention_probabilities(q, k, args, ctx)?;
            ctx.attentions.get_or_insert_default().push(shown);
        }
        if let Some(lengths) = ctx.packed.clone() {
            return ops::attention_packed(q, k, Part { x: &qkv, first: v_first }, &lengths, args, ctx);
        }
        let isa = ctx.isa;
        if let Some(cache) = &mut ctx.cache {
            args.keys = Some(cache.len() + t);
            let (keys, values) = cache.store(s.layer, &qkv, k_first, v_first, s.kv_width(), isa)?;
            return ops::attention(q, Part { x: &keys, first: 0 }, Part { x: &values, first: 0 }, args, ctx);
        }
        ops::attention(q, k, Part { x: &qkv, first: v_first }, args, ctx)
    }

    /// The heads' outputs of some tokens, `[B, count, heads · head_dim]`.
    fn heads_of(&self, span: Span, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let s = &self.spec;
        let alike = !s.causal && s.window.is_none() && input.rotation.is_none() && self.norms.is_none();
        let [q, k, v] = &self.projections[..] else { return Err(not_for_spans()) };
        if !alike || ctx.packed.is_some() || ctx.cache.is_some() || ctx.attentions.is_some() {
            return Err(not_for_spans());
        }
        let seen = ops::linear(x, &[k.op, v.op], LinearArgs::default(), ctx)?;
        let queries = q.forward(&span.of(x, ctx)?, ctx)?;
        let args = s.args(input.mask, ctx);
        let [q, k, v] = [(&queries, 0), (&seen, 0), (&seen, s.kv_width())].map(|(x, first)| Part { x, first });
        ops::attention(q, k, v, args, ctx)
    }
}

/// Places of queries matter where a query does not see every key, so that those of a span would have to be told.
fn not_for_spans() -> TensorError {
    let what = "states of some tokens only need three maps and every query to see every key, without rotations and norms of these; and go \
                neither with a cache or packed sequences nor with probabilities that are shown"
        .to_owned();
    TensorError::Unsupported { op: "attention", what }
}
