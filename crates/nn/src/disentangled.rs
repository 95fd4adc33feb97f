//! Disentangled attention as a layer.

use bedstone_tensor::{
    Ctx, ParamId, Result as OpResult, Tensor,
    ops::{self, DisentangledArgs, LinearArgs, Positions},
};

use crate::{AttentionInput, Linear, Norm};

/// Self-attention to contents and relative positions, [He et al. 2020](https://arxiv.org/abs/2006.03654).
#[derive(Clone, Debug)]
pub struct DisentangledAttention {
    /// To queries, keys and values.
    pub projections: [Linear; 3],
    /// What is known of distances.
    pub distances: Distances,
    /// Behind the heads.
    pub out: Linear,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// Dropout of the probabilities.
    pub dropout: f32,
    /// Dropout of the output, before it joins the residual stream.
    pub out_dropout: f32,
}

/// Embeddings of distances, which all layers share, and what a layer makes of them.
#[derive(Clone, Debug)]
pub struct Distances {
    /// `[2 span, C]`.
    pub table: ParamId,
    /// Of the embeddings.
    pub norm: Option<Norm>,
    /// Dropout of the embeddings.
    pub dropout: f32,
    /// To keys, which queries look at (contents to positions).
    pub keys: Option<Linear>,
    /// To queries, which look at keys (positions to contents).
    pub queries: Option<Linear>,
    /// Which row a distance has.
    pub buckets: Buckets,
}

/// Rows of distances: exact for near ones, logarithmically wider for far ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Rows of each direction.
    pub span: usize,
    /// The distance from which all are one, where distances are bucketed.
    pub farthest: Option<usize>,
}

impl Buckets {
    /// The row of `distance`, query minus key.
    pub fn row(&self, distance: isize) -> usize {
        let (span, away) = (self.span as isize, distance.unsigned_abs());
        let bucket = match self.farthest {
            Some(farthest) if away > self.span / 2 => {
                let middle = (self.span / 2) as f32;
                // In single precision, as the model was trained.
                let share = (away as f32 / middle).ln() / ((farthest as f32 - 1.0) / middle).ln();
                ((share * (middle - 1.0)).ceil() + middle) as isize * distance.signum()
            }
            _ => distance,
        };
        (bucket + span).clamp(0, 2 * span - 1) as usize
    }

    /// The rows of all distances within `t` tokens, `[2t - 1]`.
    fn rows(&self, t: usize) -> Tensor {
        let t = t as isize;
        let rows: Vec<i32> = (1 - t..t).map(|distance| self.row(distance) as i32).collect();
        Tensor::from_slice(&rows, [rows.len()])
    }
}

impl DisentangledAttention {
    /// `residual + dropout(attention(x))`, `x: [B, T, C]`; of as many tokens as are wanted.
    pub fn forward_residual(
        &self,
        x: &Tensor,
        input: AttentionInput<'_>,
        residual: &Tensor,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let [_, t, _] = x.dims("disentangled attention")?;
        let maps = self.projections.map(|p| p.op);
        let qkv = ops::linear(x, &maps, LinearArgs::default(), ctx)?;
        let positions = self.distances.project(ctx)?;
        let width = self.heads * self.head_dim;
        let (keys, queries) = (self.distances.keys.is_some(), self.distances.queries.is_some());
        let positions = Positions {
            x: &positions,
            keys: keys.then_some(0),
            queries: queries.then_some(if keys { width } else { 0 }),
        };
        let args = DisentangledArgs {
            heads: self.heads,
            head_dim: self.head_dim,
            scale: self.scale,
            places: &self.distances.buckets.rows(t),
            mask: input.mask,
            dropout: ctx.dropout(self.dropout),
        };
        let y = ops::disentangled_attention(&qkv, positions, args, ctx)?;
        let y = input.kept(&y, ctx)?;
        self.out.forward_residual(&y, self.out_dropout, residual, ctx)
    }
}

impl Distances {
    /// Keys, then queries of all distances, side by side.
    ///
    /// Each layer starts from the table, not from a tensor that layers share: a layer that is computed again in the
    /// backward pass has gradients for its input and for parameters only.
    fn project(&self, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let mut x = ctx.leaf(self.table);
        if let Some(norm) = &self.norm {
            x = norm.forward(&x, ctx)?;
        }
        // One sample for dropout.
        let [rows, width] = x.dims("distances")?;
        let x = ops::dropout(&x.reshape([1, rows, width])?, self.dropout, ctx)?.reshape([rows, width])?;
        let maps: Vec<ops::Linear> = [self.keys, self.queries].into_iter().flatten().map(|map| map.op).collect();
        ops::linear(&x, &maps, LinearArgs::default(), ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(span: usize, farthest: Option<usize>, distance: isize, want: usize) {
        assert_eq!(Buckets { span, farthest }.row(distance), want, "{distance}");
    }

    #[test]
    fn distances_without_buckets_end_at_the_span() {
        check(4, None, 0, 4);
        check(4, None, -3, 1);
        check(4, None, 9, 7);
        check(4, None, -9, 0);
    }

    /// By the reference's function with 8 buckets and 64 positions.
    #[test]
    fn far_distances_share_buckets() {
        let want = [8, 9, 10, 11, 12, 13, 13, 13, 13, 13, 13, 14, 14, 14, 14, 14];
        for (distance, want) in want.into_iter().enumerate() {
            check(8, Some(64), distance as isize, want);
            check(8, Some(64), -(distance as isize), 16 - want);
        }
        check(8, Some(64), 63, 15);
        check(8, Some(64), 1000, 15);
        check(8, Some(64), -1000, 0);
    }

    /// Sums of rows times places for distances from `-n` to `n`, by the reference's function.
    #[test]
    fn rows_are_the_references() {
        let sums = [
            (256, 512, 2000, 3_057_135_217),
            (8, 64, 300, 2_050_305),
            (128, 1024, 2000, 1_521_125_773),
            (6, 24, 60, 61_791),
        ];
        for (span, farthest, n, want) in sums {
            let buckets = Buckets { span, farthest: Some(farthest) };
            let sum: usize = (-n..=n).zip(1..).map(|(distance, place)| buckets.row(distance) * place).sum();
            assert_eq!(sum, want, "{span} {farthest}");
        }
    }
}
