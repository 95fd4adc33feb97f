//! One vector of a text's states.

use bedstone_tensor::{Ctx, Result as OpResult, Tensor, TensorError, ops};

/// How a text's states become one vector; the names are those of sentence-transformers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the first token.
    Cls,
    /// The largest of each column.
    Max,
    /// The mean.
    #[default]
    Mean,
    /// The sum divided by the square root of the count.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, … .
    WeightedMean,
    /// The state of the last token.
    LastToken,
}

impl Pooling {
    /// All of them, in the order in which older files put their results side by side.
    pub const ALL: [Pooling; 6] =
        [Pooling::Cls, Pooling::Max, Pooling::Mean, Pooling::MeanSqrtLen, Pooling::WeightedMean, Pooling::LastToken];

    /// Its name in `1_Pooling/config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::Max => "max",
            Pooling::Mean => "mean",
            Pooling::MeanSqrtLen => "mean_sqrt_len_tokens",
            Pooling::WeightedMean => "weightedmean",
            Pooling::LastToken => "lasttoken",
        }
    }

    /// The field that older files set to true for it.
    pub fn field(self) -> &'static str {
        match self {
            Pooling::Cls => "pooling_mode_cls_token",
            Pooling::Max => "pooling_mode_max_tokens",
            Pooling::Mean => "pooling_mode_mean_tokens",
            Pooling::MeanSqrtLen => "pooling_mode_mean_sqrt_len_tokens",
            Pooling::WeightedMean => "pooling_mode_weightedmean_tokens",
            Pooling::LastToken => "pooling_mode_lasttoken",
        }
    }

    /// By its name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Of `states: [T, c]` from token `from` on, into `out: [c]`. Where no token is left: zeros, but for the modes that
    /// take a single token, which then take it from the whole text.
    pub fn apply(self, states: &[f32], c: usize, from: usize, out: &mut [f32]) {
        let all = states.chunks_exact(c.max(1));
        let kept = all.clone().skip(from);
        let count = kept.len();
        out.fill(0.0);
        match self {
            Pooling::Cls | Pooling::LastToken => {
                let first = kept.clone().next().or(all.clone().next());
                let token = if self == Pooling::Cls { first } else { all.last() };
                token.into_iter().for_each(|x| out.copy_from_slice(x));
            }
            Pooling::Max if count > 0 => {
                out.fill(f32::NEG_INFINITY);
                kept.for_each(|x| out.iter_mut().zip(x).for_each(|(y, &x)| *y = y.max(x)));
            }
            Pooling::Max => {}
            Pooling::Mean | Pooling::MeanSqrtLen => {
                kept.for_each(|x| out.iter_mut().zip(x).for_each(|(y, x)| *y += x));
                let count = count.max(1) as f32;
                let divisor = if self == Pooling::Mean { count } else { count.sqrt() };
                out.iter_mut().for_each(|y| *y /= divisor);
            }
            Pooling::WeightedMean => {
                // Weights count from the text's first token, whether it is pooled or not.
                let mut sum = 0.0;
                for (i, x) in kept.enumerate() {
                    let weight = (from + i + 1) as f32;
                    out.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
                    sum += weight;
                }
                if sum > 0.0 {
                    out.iter_mut().for_each(|y| *y /= sum);
                }
            }
        }
    }

    /// The same with gradients for the modes that training serves, cls and mean: `x: [B, T, C]`, `mask: [B, T]` of u8, to
    /// `[B, C]`.
    pub fn forward(self, x: &Tensor, mask: Option<&Tensor>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        match self {
            Pooling::Mean => ops::mean_pool(x, mask, ctx),
            Pooling::Cls => {
                let [b, t, _] = x.dims("pooling")?;
                let first: Vec<i32> = (0..b).map(|i| (i * t) as i32).collect();
                ops::rows(x, &first, ctx)
            }
            other => {
                let what = format!("gradients through pooling `{}`, wanted cls or mean", other.name());
                Err(TensorError::Unsupported { op: "pooling", what })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 6] = [1.0, -2.0, 3.0, 4.0, -5.0, 12.0];

    #[track_caller]
    fn check(mode: Pooling, from: usize, want: [f32; 2]) {
        let mut out = [9.0; 2];
        mode.apply(&STATES, 2, from, &mut out);
        assert!(out.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{mode:?} from {from}: {out:?}, {want:?}");
    }

    #[test]
    fn by_hand() {
        check(Pooling::Cls, 0, [1.0, -2.0]);
        check(Pooling::Cls, 1, [3.0, 4.0]);
        check(Pooling::LastToken, 0, [-5.0, 12.0]);
        check(Pooling::Max, 0, [3.0, 12.0]);
        check(Pooling::Mean, 0, [-1.0 / 3.0, 14.0 / 3.0]);
        check(Pooling::Mean, 1, [-1.0, 8.0]);
        check(Pooling::MeanSqrtLen, 0, [-1.0 / 3f32.sqrt(), 14.0 / 3f32.sqrt()]);
        check(Pooling::WeightedMean, 0, [-8.0 / 6.0, 42.0 / 6.0]);
        check(Pooling::WeightedMean, 1, [-9.0 / 5.0, 44.0 / 5.0]);
    }

    #[test]
    fn nothing_left() {
        for mode in Pooling::ALL {
            let mut out = [9.0; 2];
            mode.apply(&STATES, 2, 3, &mut out);
            assert!(out.iter().all(|x| x.is_finite()), "{mode:?}");
            assert_eq!(Pooling::by_name(mode.name()), Some(mode));
        }
    }
}
