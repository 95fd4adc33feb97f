//! Attention that sees positions in queries and keys only.

use bedstone_tensor::{
    Ctx, Result as OpResult, Tensor,
    ops::{self, LinearArgs, Part},
};

use crate::{AttentionSpec, Linear, Result};

/// Multi-head attention whose queries and keys have positions added before their maps, and values none, as in DETR,
/// [Carion et al. 2020](https://arxiv.org/abs/2005.12872).
#[derive(Clone, Debug)]
pub struct PositionedAttention {
    /// To queries, keys and values.
    projections: [Linear; 3],
    out: Linear,
    spec: AttentionSpec,
}

/// What attends, or is attended to.
#[derive(Clone, Copy, Debug)]
pub struct Positioned<'a> {
    /// `[B, T, C]`.
    pub x: &'a Tensor,
    /// `x` with its positions added.
    pub placed: &'a Tensor,
}

impl PositionedAttention {
    /// From its maps.
    pub fn new(spec: AttentionSpec, projections: [Linear; 3], out: Linear) -> Result<Self> {
        spec.check()?;
        Ok(PositionedAttention { projections, out, spec })
    }

    /// `x + dropout(attention(x))`, each token of `of` seeing all of them: `[B, T, C]`.
    pub fn forward_residual(&self, of: Positioned<'_>, mask: Option<&Tensor>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let [q, k, v] = self.projections;
        let both = ops::linear(of.placed, &[q.op, k.op], LinearArgs::default(), ctx)?;
        let all = ops::concat_columns(&[&both, &v.forward(of.x, ctx)?], ctx)?;
        let width = self.spec.q_width();
        let part = |i: usize| Part { x: &all, first: i * width };
        self.finish([part(0), part(1), part(2)], of.x, mask, ctx)
    }

    /// `x + dropout(attention(x, to))`, each token of `of` seeing those of `to`, of which `mask: [B, tokens]` of u8 hides
    /// some: `[B, T, C]`.
    pub fn forward_across(
        &self,
        of: Positioned<'_>,
        to: Positioned<'_>,
        mask: Option<&Tensor>,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let [q, k, v] = self.projections;
        let queries = q.forward(of.placed, ctx)?;
        let seen = [&k.forward(to.placed, ctx)?, &v.forward(to.x, ctx)?];
        let seen = ops::concat_columns(&seen, ctx)?;
        let part = |i: usize| Part { x: &seen, first: i * self.spec.kv_width() };
        self.finish([Part { x: &queries, first: 0 }, part(0), part(1)], of.x, mask, ctx)
    }

    fn finish(
        &self,
        [q, k, v]: [Part<'_>; 3],
        residual: &Tensor,
        mask: Option<&Tensor>,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let s = &self.spec;
        let args = s.args(mask, ctx);
        let y = ops::attention(q, k, v, args, ctx)?;
        self.out.forward_residual(&y, s.out_dropout, residual, ctx)
    }
}
