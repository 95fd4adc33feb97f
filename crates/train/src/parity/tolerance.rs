//! How far results may lie from the reference's, which are f32.

use bedstone_tensor::Precision;

use super::Error;

/// Differences that rounding explains, by the precision of products.
///
/// In f32 the largest difference counts. With products of bf16, whose numbers have 8 bits, single ones run far in the
/// tiny random models of fixtures (in PyTorch too), so root mean squares are compared; and what ten steps of training
/// make of them is chaos in single steps, so only the first step's gradients count beside the losses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance(Precision);

impl Tolerance {
    pub(super) fn of(precision: Precision) -> Self {
        Tolerance(precision)
    }

    /// Of numbers of a model's output.
    pub(super) fn output(self, pairs: impl Iterator<Item = (f32, f32)> + Clone, largest: f64) -> Error {
        match self.0 {
            Precision::F32 => Error { got: largest_difference(pairs), allowed: 2e-5 + 5e-5 * largest },
            Precision::Bf16 | Precision::Int8 => root_mean_square(pairs, 1e-1),
        }
    }

    /// Of numbers of a gradient; `norm` is that of all gradients.
    pub(super) fn gradient(self, pairs: impl Iterator<Item = (f32, f32)> + Clone, largest: f64, norm: f64) -> Error {
        match self.0 {
            Precision::F32 => Error { got: largest_difference(pairs), allowed: 1e-4 * largest + 1e-6 },
            Precision::Bf16 | Precision::Int8 => {
                // A bias of keys has a gradient of zero but for rounding, which is larger here and as large as the others are.
                let error = root_mean_square(pairs, 1.5e-1);
                Error { allowed: error.allowed + 6e-6 * norm.max(1.0), ..error }
            }
        }
    }

    /// Of a loss.
    pub(super) fn loss(self, got: f64, want: f64) -> Error {
        let allowed = match self.0 {
            Precision::F32 => 1e-4,
            Precision::Bf16 | Precision::Int8 => 1e-2 + 1e-2 * want.abs(),
        };
        Error { got: (got - want).abs(), allowed }
    }

    /// Of the norm of a step's gradients, as a share of it; `None` where it says nothing.
    pub(super) fn norm(self, step: usize, got: f64, want: f64) -> Option<Error> {
        let error = |allowed| Some(Error { got: (got - want).abs() / want, allowed });
        match (self.0, step) {
            (Precision::F32, _) => error(1e-3),
            (Precision::Bf16 | Precision::Int8, 0) => error(3e-2),
            (Precision::Bf16 | Precision::Int8, _) => None,
        }
    }

    /// Of weights after training; triples are got, wanted, and the first step's gradient, `moved` is the sum of learning
    /// rates.
    ///
    /// Where the gradient is zero but for rounding (the bias of keys, which the softmax cancels), AdamW divides rounding
    /// by rounding, and the recorded weight is that of one machine's order of sums: PyTorch itself differs from its own
    /// record there by 5e-4 to 6e-4 with other threads or in double precision.
    pub(super) fn weights(self, triples: impl Iterator<Item = (f32, f32, f32)> + Clone, moved: f64) -> Error {
        match self.0 {
            Precision::F32 => {
                let errors = triples.map(|(a, b, g)| Error {
                    got: (a as f64 - b as f64).abs(),
                    allowed: if (g as f64).abs() < 1e-6 { 2e-3 } else { 5e-4 },
                });
                errors.fold(Error { got: 0.0, allowed: 5e-4 }, Error::or)
            }
            Precision::Bf16 | Precision::Int8 => {
                // Weights whose gradient is rounding go anywhere within what AdamW moves them.
                let real = triples.filter(|(.., g)| g.abs() >= 1e-6).map(|(a, b, _)| (a, b));
                let (sum, n) = squares(real.map(|(a, b)| a as f64 - b as f64));
                Error { got: (sum / (n as f64).max(1.0)).sqrt(), allowed: 0.3 * moved }
            }
        }
    }

    /// Whether what was decided between near numbers has to be the same: generated ids, which prediction an object was given,
    /// and the losses that follow from that.
    pub(super) fn same_ids(self) -> bool {
        self.0 == Precision::F32
    }
}

fn largest_difference(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    pairs.fold(0.0, |m, (a, b)| super::worse(m, (a as f64 - b as f64).abs()))
}

fn root_mean_square(pairs: impl Iterator<Item = (f32, f32)> + Clone, share: f64) -> Error {
    let (errors, n) = squares(pairs.clone().map(|(a, b)| a as f64 - b as f64));
    let (wanted, _) = squares(pairs.map(|(_, b)| b as f64));
    let n = (n as f64).max(1.0);
    Error { got: (errors / n).sqrt(), allowed: 1e-6 + share * (wanted / n).sqrt() }
}

fn squares(x: impl Iterator<Item = f64>) -> (f64, usize) {
    x.fold((0.0, 0), |(sum, n), x| (sum + x * x, n + 1))
}
