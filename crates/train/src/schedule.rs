//! Learning rates by step.

use serde::Deserialize;

/// How the learning rate goes: up over the warm-up, then down to a share of its top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The shape after the warm-up.
    pub kind: Kind,
    /// The highest rate.
    pub lr: f64,
    /// The rate at the end, as a share of the highest.
    pub min_lr: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
    /// The share of the steps over which [`Kind::Wsd`] falls.
    pub decay: f64,
}

/// The shape of a schedule after its warm-up.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Half a cosine, [Loshchilov & Hutter 2016](https://arxiv.org/abs/1608.03983).
    Cosine,
    /// A straight line.
    Linear,
    /// Constant, then a straight line down ("warm-up, stable, decay"), [Hu et al. 2024](https://arxiv.org/abs/2404.06395).
    Wsd,
    /// Constant.
    Constant,
}

impl Schedule {
    /// The rate of step `step`, from 0 on.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.lr * (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        let after = self.steps.saturating_sub(self.warmup).max(1);
        let done = ((step - self.warmup) as f64 / after as f64).min(1.0);
        let falling = match self.kind {
            Kind::Constant => return self.lr,
            Kind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Kind::Linear => 1.0 - done,
            Kind::Wsd => {
                let length = (self.decay * self.steps as f64).max(1.0);
                (self.steps.saturating_sub(step) as f64 / length).min(1.0)
            }
        };
        self.lr * (self.min_lr + (1.0 - self.min_lr) * falling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, want: &[(u64, f64)]) {
        let schedule = Schedule { kind, lr: 1.0, min_lr: 0.1, warmup: 9, steps: 109, decay: 0.2 };
        for &(step, want) in want {
            let got = schedule.at(step);
            assert!((got - want).abs() < 1e-3, "{kind:?} at {step}: {got}, want {want}");
        }
    }

    #[test]
    fn shapes() {
        check(Kind::Cosine, &[(0, 0.1), (4, 0.5), (9, 1.0), (59, 0.55), (109, 0.1), (1000, 0.1)]);
        check(Kind::Linear, &[(0, 0.1), (9, 1.0), (59, 0.55), (109, 0.1)]);
        check(Kind::Wsd, &[(0, 0.1), (9, 1.0), (60, 1.0), (87, 1.0), (98, 0.554), (109, 0.1)]);
        check(Kind::Constant, &[(0, 0.1), (9, 1.0), (108, 1.0)]);
    }
}
