//! Frequencies of rotary position embeddings, with the ways to stretch them beyond the trained length.

use bedstone_tensor::{Ctx, Result as OpResult, Tensor, TensorError, ops};

/// Positions from the lowest to the highest of a batch, whose angles are computed at once.
const MOST_POSITIONS: usize = 1 << 24;

/// The rotary parameters of one type of layer, as `config.json` gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeParameters {
    /// The base of the frequencies, `theta^(-2i/d)`.
    pub theta: f64,
    /// How frequencies change for contexts longer than those trained on.
    pub kind: RopeKind,
    /// The part of each head that is rotated, in (0, 1].
    pub partial_rotary_factor: f64,
}

/// How the frequencies of rotary embeddings are scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeKind {
    /// Not at all. [Su et al. 2021](https://arxiv.org/abs/2104.09864).
    Default,
    /// All divided by `factor`. [Chen et al. 2023](https://arxiv.org/abs/2306.15595).
    #[allow(missing_docs)]
    Linear { factor: f64 },
    /// A base that grows with the sequence beyond the configuration's `max_position_embeddings`.
    #[allow(missing_docs)]
    Dynamic { factor: f64 },
    /// Low frequencies divided by `factor`, high ones kept, a ramp between. [Llama 3](https://arxiv.org/abs/2407.21783).
    #[allow(missing_docs)]
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_max_position_embeddings: usize },
    /// YaRN, [Peng et al. 2023](https://arxiv.org/abs/2309.00071).
    Yarn {
        /// How much longer the context is than the one trained on.
        factor: f64,
        /// The scale of cosines and sines; without it, it follows from `factor` and the two `mscale`s.
        attention_factor: Option<f64>,
        /// Rotations within the original context above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is divided by `factor`.
        beta_slow: f64,
        /// Counts only together with `mscale_all_dim`.
        mscale: Option<f64>,
        /// Counts only together with `mscale`.
        mscale_all_dim: Option<f64>,
        /// Whether the ends of the ramp are rounded to whole dimensions.
        truncate: bool,
        /// The context trained on.
        original_max_position_embeddings: usize,
    },
}

/// A rotary embedding for heads of one width, [Su et al. 2021](https://arxiv.org/abs/2104.09864).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    theta: f64,
    kind: RopeKind,
    /// Numbers of a head that are rotated.
    dim: usize,
    max_position_embeddings: usize,
}

impl Rope {
    /// For heads of `head_dim`; `max_position_embeddings` is where a dynamic base starts to grow.
    pub fn new(parameters: &RopeParameters, head_dim: usize, max_position_embeddings: usize) -> Self {
        let dim = (head_dim as f64 * parameters.partial_rotary_factor) as usize;
        Rope { theta: parameters.theta, kind: parameters.kind, dim, max_position_embeddings }
    }

    /// What cosines and sines are multiplied by.
    fn attention_scaling(&self) -> f64 {
        let RopeKind::Yarn { factor, attention_factor, mscale, mscale_all_dim, .. } = self.kind else { return 1.0 };
        let scale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
        attention_factor.unwrap_or_else(|| match (mscale, mscale_all_dim) {
            (Some(a), Some(b)) if a != 0.0 && b != 0.0 => scale(a) / scale(b),
            _ => scale(1.0),
        })
    }

    /// The frequencies, `dim / 2` of them, for a sequence of `length`.
    pub fn frequencies(&self, length: usize) -> Vec<f32> {
        let plain = |theta: f64| -> Vec<f64> {
            (0..self.dim / 2).map(|i| 1.0 / theta.powf(2.0 * i as f64 / self.dim as f64)).collect()
        };
        let frequencies: Vec<f64> = match self.kind {
            RopeKind::Default => plain(self.theta),
            RopeKind::Linear { factor } => plain(self.theta).iter().map(|f| f / factor).collect(),
            RopeKind::Dynamic { factor } => {
                let trained = self.max_position_embeddings;
                let ratio = length.max(trained) as f64 / trained as f64;
                let d = self.dim as f64;
                plain(self.theta * (factor * ratio - (factor - 1.0)).powf(d / (d - 2.0)))
            }
            RopeKind::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let original = original_max_position_embeddings as f64;
                let stretch = |f: f64| {
                    let wavelength = std::f64::consts::TAU / f;
                    if wavelength < original / high_freq_factor {
                        f
                    } else if wavelength > original / low_freq_factor {
                        f / factor
                    } else {
                        let keep = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - keep) * f / factor + keep * f
                    }
                };
                plain(self.theta).into_iter().map(stretch).collect()
            }
            RopeKind::Yarn { factor, beta_fast, beta_slow, truncate, original_max_position_embeddings, .. } => {
                // The frequency that turns `n` times within the trained length.
                let turning = |n: f64| {
                    let turns = original_max_position_embeddings as f64 / (n * std::f64::consts::TAU);
                    self.dim as f64 * turns.ln() / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (turning(beta_fast), turning(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(self.dim as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let blend = |(i, f): (usize, f64)| {
                    let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    f / factor * stretched + f * (1.0 - stretched)
                };
                plain(self.theta).into_iter().enumerate().map(blend).collect()
            }
        };
        frequencies.into_iter().map(|f| f as f32).collect()
    }

    /// Cosines and sines for `positions: [B, T]` of i32, from the lowest position to the highest.
    pub fn at(&self, positions: &Tensor) -> OpResult<Rotation> {
        let p = positions.data::<i32>("rotary: positions")?;
        let (low, high) = (p.iter().min().copied().unwrap_or(0), p.iter().max().copied().unwrap_or(0));
        if low < 0 {
            let place = p.iter().position(|&p| p < 0).unwrap_or(0);
            return Err(TensorError::Id { op: "rotary: positions", id: low as i64, place, limit: usize::MAX });
        }
        let frequencies = self.frequencies(high as usize + 1);
        let attention_scaling = self.attention_scaling() as f32;
        // Of caches and padded batches; anything wider is a mistake of the caller.
        let count = (high as i64 - low as i64 + 1) as usize;
        if count > MOST_POSITIONS {
            let what = format!("positions from {low} to {high} in one batch");
            return Err(TensorError::Unsupported { op: "rotary: positions", what });
        }
        let table = |f: fn(f64) -> f64| {
            let mut x = Tensor::zeros::<f32>([count, frequencies.len()]);
            let mut rest = x.f32s_mut();
            for p in low..=high {
                let row;
                (row, rest) = rest.split_at_mut(frequencies.len());
                for (x, &w) in row.iter_mut().zip(&frequencies) {
                    // The angle in single precision, as the reference has it; its sine without further error.
                    *x = f((p as f32 * w) as f64) as f32 * attention_scaling;
                }
            }
            x
        };
        let shifted: Vec<i32> = p.iter().map(|p| p - low).collect();
        Ok(Rotation {
            table: ops::RotaryTable { cos: table(f64::cos), sin: table(f64::sin) },
            rows: Tensor::from_slice(&shifted, positions.shape()),
        })
    }
}

/// The angles of one forward pass, shared by its layers.
#[derive(Clone, Debug)]
pub struct Rotation {
    table: ops::RotaryTable,
    rows: Tensor,
}

impl Rotation {
    /// Rotates the first `heads` heads of `x: [B, T, C]`.
    pub(crate) fn apply(&self, x: Tensor, heads: usize, head_dim: usize, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::rotary(x, heads, head_dim, &self.table, &self.rows, ctx)
    }
}
