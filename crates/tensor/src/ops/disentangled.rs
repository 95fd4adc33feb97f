//! Attention to contents and relative positions.

use bedstone_kernels::{
    Isa,
    attention::{
        Disentangled, DisentangledGrads, Heads, Tables, disentangled as forward, disentangled_backward as backward,
    },
    mem::Buf,
    random::Dropout,
};

use crate::{Backward, Ctx, Env, Grads, Result, Shape, Tensor, TensorError};

/// Options of a [`disentangled_attention`]; see [`bedstone_kernels::attention::Disentangled`].
#[derive(Clone, Copy, Debug)]
pub struct DisentangledArgs<'a> {
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// `[2T - 1]` of i32: the rows of the tables for the distances of query and key from `1 - T` to `T - 1`.
    pub places: &'a Tensor,
    /// `[B, T]` of u8: 0 for padding.
    pub mask: Option<&'a Tensor>,
    /// Of the probabilities, from [`Ctx::dropout`].
    pub dropout: Option<Dropout>,
}

/// Tables of relative positions: columns of `x: [rows, width]`, head after head from these on.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    /// The tables.
    pub x: &'a Tensor,
    /// Of keys, which queries look at.
    pub keys: Option<usize>,
    /// Of queries, which look at keys.
    pub queries: Option<usize>,
}

/// `softmax(scale · (Q Kᵀ + pick(Q Pkᵀ) + pick(K Pqᵀ))) V` of `qkv: [B, T, 3 · heads · head_dim]`, queries before keys before
/// values: `[B, T, heads · head_dim]`. Computed in f32 whatever the precision.
///
/// Where [`Ctx::attentions`] has a place for them, the probabilities before dropout go there, `[B, heads, T, T]`.
///
/// DeBERTa, [He et al. 2020](https://arxiv.org/abs/2006.03654).
pub fn disentangled_attention(
    qkv: &Tensor,
    positions: Positions<'_>,
    args: DisentangledArgs<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let op = "disentangled attention";
    let ([b, t, width], [rows, columns]) = (qkv.dims(op)?, positions.x.dims(op)?);
    let own = args.heads * args.head_dim;
    let wrong = |x: &Tensor, wanted: String| Err(TensorError::Shape { op, got: x.shape(), wanted });
    if width != 3 * own {
        return wrong(qkv, format!("[{b}, {t}, {}]", 3 * own));
    }
    let needed = [positions.keys, positions.queries].into_iter().flatten().map(|first| first + own).max();
    if needed.is_some_and(|needed| needed > columns) {
        return wrong(positions.x, format!("[{rows}, {} or more]", needed.unwrap_or(0)));
    }
    if let Some(mask) = args.mask.filter(|m| m.shape() != Shape::from([b, t])) {
        return wrong(mask, format!("[{b}, {t}]"));
    }
    let distances = args.places.data::<i32>(op)?;
    if distances.len() != (2 * t).saturating_sub(1) {
        return wrong(args.places, format!("[{}]", (2 * t).saturating_sub(1)));
    }
    let below = |&p: &i32| u32::try_from(p).ok().filter(|&p| (p as usize) < rows);
    let places: Option<Vec<u32>> = distances.iter().map(below).collect();
    let Some(places) = places else {
        let place = distances.iter().position(|p| below(p).is_none()).unwrap_or(0);
        return Err(TensorError::Id { op, id: distances[place] as i64, place, limit: rows });
    };
    let saved = Saved {
        qkv: qkv.clone(),
        tables: positions.x.clone(),
        firsts: [positions.keys, positions.queries],
        places,
        mask: args.mask.cloned(),
        heads: args.heads,
        head_dim: args.head_dim,
        scale: args.scale,
        dropout: args.dropout,
    };
    let full = saved.full(ctx.isa)?;
    let mut out = Buf::for_overwrite(b * t * own);
    let mut lse = Buf::for_overwrite(b * args.heads * t);
    let mut shown = ctx.attentions.is_some().then(|| Buf::for_overwrite(b * args.heads * t * t));
    let (parts, tables) = saved.operands(&full)?;
    forward(ctx.isa, &saved.kernel_args()?, &mut out, &mut lse, shown.as_deref_mut(), parts, tables);
    if let (Some(all), Some(shown)) = (&mut ctx.attentions, shown) {
        all.push(Tensor::from_buf(shown, [b, args.heads, t, t]));
    }
    let out = Tensor::from_buf(out, [b, t, own]);
    let kept = out.clone();
    let out = out.to_dtype(ctx.precision.operand(ctx.isa), ctx.isa)?;
    let lse = Tensor::from_buf(lse, [b, args.heads, t]);
    Ok(ctx.record(out, &[qkv, positions.x], &[], || DisentangledBackward { saved, out: kept, lse }))
}

struct Saved {
    qkv: Tensor,
    tables: Tensor,
    firsts: [Option<usize>; 2],
    places: Vec<u32>,
    mask: Option<Tensor>,
    heads: usize,
    head_dim: usize,
    scale: f32,
    dropout: Option<Dropout>,
}

impl Saved {
    fn kernel_args(&self) -> Result<Disentangled<'_>> {
        let [b, t, _] = self.qkv.dims("disentangled attention")?;
        Ok(Disentangled {
            b,
            heads: self.heads,
            t,
            d: self.head_dim,
            scale: self.scale,
            places: &self.places,
            mask: self.mask.as_ref().map(|m| m.data("disentangled attention: mask")).transpose()?,
            dropout: self.dropout,
        })
    }

    /// The projection and the tables as f32.
    fn full(&self, isa: Isa) -> Result<[Tensor; 2]> {
        Ok([self.qkv.to_f32(isa)?, self.tables.to_f32(isa)?])
    }

    fn operands<'a>(&self, [qkv, tables]: &'a [Tensor; 2]) -> Result<([Heads<'a>; 3], Tables<'a>)> {
        let [_, t, width] = qkv.dims("disentangled attention")?;
        let data = qkv.data("disentangled attention")?;
        let part = |i: usize| Heads { data, batch: t * width, token: width, first: i * self.heads * self.head_dim };
        let (data, token) = (tables.data("disentangled attention")?, tables.shape().width());
        let [keys, queries] = self.firsts.map(|first| first.map(|first| Heads { data, batch: 0, token, first }));
        Ok(([part(0), part(1), part(2)], Tables { keys, queries }))
    }
}

struct DisentangledBackward {
    saved: Saved,
    out: Tensor,
    lse: Tensor,
}

impl Backward for DisentangledBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let saved = &self.saved;
        let (full, grad) = (saved.full(env.isa)?, grad.to_f32(env.isa)?);
        let mut dqkv = Buf::for_overwrite(saved.qkv.shape().numel());
        // Rows that no distance has, and columns that no head covers, get no gradient from here.
        let mut dtables = Buf::zeroed(saved.tables.shape().numel());
        let (parts, tables) = saved.operands(&full)?;
        let to = DisentangledGrads { dqkv: &mut dqkv, dtables: &mut dtables };
        let results = [grad.f32s(), self.out.f32s()];
        backward(env.isa, &saved.kernel_args()?, to, results, self.lse.f32s(), parts, tables);
        grads.add(saved.qkv.var(), Tensor::from_buf(dqkv, saved.qkv.shape()), env);
        grads.add(saved.tables.var(), Tensor::from_buf(dtables, saved.tables.shape()), env);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    fn places(t: usize, span: i32) -> Tensor {
        let t = t as i32;
        let rows: Vec<i32> = (1 - t..t).map(|x| (x + span).clamp(0, 2 * span - 1)).collect();
        Tensor::from_slice(&rows, [rows.len()])
    }

    fn args<'a>(places: &'a Tensor, mask: Option<&'a Tensor>) -> DisentangledArgs<'a> {
        DisentangledArgs { heads: 2, head_dim: 5, scale: 0.3, places, mask, dropout: None }
    }

    #[test]
    fn gradients() {
        let mask = Tensor::from_slice(&[1u8, 1, 1, 1, 0, 1, 1, 1, 0, 0], [2, 5]);
        for (b, t, mask) in [(1, 1, None), (2, 5, Some(&mask)), (1, 70, None)] {
            for (keys, queries) in [(Some(0), Some(10)), (Some(10), None), (None, Some(0))] {
                let places = places(t, 6);
                check(&format!("disentangled {b} {t}"), &[[b, t, 30].into(), [12, 20].into()], |p, ctx| {
                    let (qkv, x) = (ctx.leaf(p[0]), ctx.leaf(p[1]));
                    disentangled_attention(&qkv, Positions { x: &x, keys, queries }, args(&places, mask), ctx)
                });
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let params = crate::Params::default();
        let env =
            Env { isa: Isa::PORTABLE, precision: Default::default(), packing: Default::default(), params: &params };
        let (qkv, x) = (Tensor::zeros::<f32>([1, 3, 30]), Tensor::zeros::<f32>([4, 10]));
        let run = |places: &Tensor, keys| {
            let positions = Positions { x: &x, keys: Some(keys), queries: None };
            let mut ctx = Ctx::inference(env);
            disentangled_attention(&qkv, positions, args(places, None), &mut ctx).unwrap_err().to_string()
        };
        let wide = places(3, 2);
        assert_eq!(run(&wide, 1), "disentangled attention: got shape [4, 10], wanted [4, 11 or more]");
        assert_eq!(run(&places(4, 2), 0), "disentangled attention: got shape [7], wanted [5]");
        assert_eq!(run(&places(3, 3), 0), "disentangled attention: id 4 at place 3, wanted below 4");
    }
}
