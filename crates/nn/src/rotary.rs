//! Frequencies of rotary position embeddings, with the ways to stretch them beyond the trained length.

use bedstone_tensor::{Ctx, Result as OpResult, Tensor, TensorError, ops};

/// A rotary embedding, [Su et al. 2021](https://arxiv.org/abs/2104.09864), and how it is stretched.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Numbers of a head that are rotated.
    pub dim: usize,
    /// How long sequences are served.
    pub scaling: RopeScaling,
}

/// Ways to serve sequences longer than those trained on.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// Positions divided by a factor, [Chen et al. 2023](https://arxiv.org/abs/2306.15595).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// The base grows with the sequence beyond the trained length ("dynamic NTK").
    Dynamic {
        /// The factor.
        factor: f64,
        /// The trained length.
        max_position_embeddings: usize,
    },
    /// Low frequencies divided by a factor, high ones kept, blended between, as in Llama 3.1.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are stretched in full.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The trained length.
        original_max_position_embeddings: usize,
    },
    /// Frequencies blended by how often they turn in the trained length, and warmer attention,
    /// [Peng et al. 2023](https://arxiv.org/abs/2309.00071).
    Yarn {
        /// The factor.
        factor: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
        /// Frequencies that turn more often than this are kept.
        beta_fast: f64,
        /// Frequencies that turn less often than this are divided by the factor.
        beta_slow: f64,
        /// Whether the ends of the blend are rounded to whole frequencies.
        truncate: bool,
        /// The trained length.
        original_max_position_embeddings: usize,
    },
}

impl Rope {
    /// The frequencies, `dim / 2` of them, for a sequence of `length`.
    pub fn frequencies(&self, length: usize) -> Vec<f32> {
        let plain = |theta: f64| -> Vec<f64> {
            (0..self.dim / 2).map(|i| 1.0 / theta.powf(2.0 * i as f64 / self.dim as f64)).collect()
        };
        let frequencies: Vec<f64> = match self.scaling {
            RopeScaling::Default => plain(self.theta),
            RopeScaling::Linear { factor } => plain(self.theta).iter().map(|f| f / factor).collect(),
            RopeScaling::Dynamic { factor, max_position_embeddings } => {
                let ratio = length.max(max_position_embeddings) as f64 / max_position_embeddings as f64;
                let d = self.dim as f64;
                plain(self.theta * (factor * ratio - (factor - 1.0)).powf(d / (d - 2.0)))
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
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
            RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, original_max_position_embeddings, .. } => {
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
        let warmth = match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        };
        let count = (high - low + 1) as usize;
        let table = |f: fn(f64) -> f64| {
            let mut x = Tensor::zeros::<f32>([count, frequencies.len()]);
            let mut rest = x.f32s_mut();
            for p in low..=high {
                let row;
                (row, rest) = rest.split_at_mut(frequencies.len());
                for (x, &w) in row.iter_mut().zip(&frequencies) {
                    // The angle in single precision, as the reference has it; its sine without further error.
                    *x = f((p as f32 * w) as f64) as f32 * warmth;
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
