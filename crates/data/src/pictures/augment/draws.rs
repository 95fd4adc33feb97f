//! Random numbers of one picture.

use crate::random::mix;

/// Numbers that are a function of a key and of how many were drawn before.
#[derive(Clone, Debug)]
pub struct Draws {
    key: u64,
    drawn: u64,
}

impl Draws {
    /// For record `record` in epoch `epoch` of a run with `seed`.
    pub fn new(seed: u64, epoch: u64, record: u64) -> Self {
        Self::of(mix(mix(mix(0x7069_6374, seed), epoch), record))
    }

    fn of(key: u64) -> Self {
        Self { key, drawn: 0 }
    }

    /// Numbers of their own for part `part`, however many are drawn here.
    pub fn fork(&self, part: u64) -> Self {
        Self::of(mix(self.key ^ 0x666f_726b, part))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.key, self.drawn)
    }

    /// Uniform in `0..1`.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..n`; 0 for none.
    pub fn below(&mut self, n: u64) -> u64 {
        // The bias is below n / 2⁶⁴.
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// In random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// A standard normal number, by the Box–Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (self.uniform() * std::f64::consts::TAU).cos()
    }

    /// From a gamma distribution of shape `alpha` ([Marsaglia & Tsang 2000](https://doi.org/10.1145/358407.358414)).
    fn gamma(&mut self, alpha: f64) -> f64 {
        if alpha < 1.0 {
            let power = (1.0 - self.uniform()).powf(1.0 / alpha);
            return self.gamma(alpha + 1.0) * power;
        }
        let d = alpha - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.uniform();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// From a beta distribution with both shapes `alpha`.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        // Both may vanish for a tiny shape, where one or the other end is as good.
        if a + b > 0.0 { a / (a + b) } else { f64::from(u8::from(self.uniform() < 0.5)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_apart() {
        let bits = |seed, epoch, record| Draws::new(seed, epoch, record).bits();
        let all = [bits(1, 2, 3), bits(1, 3, 2), bits(2, 1, 3), bits(1, 2, 4), Draws::new(1, 2, 3).fork(0).bits()];
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(bits(1, 2, 3), bits(1, 2, 3));
    }

    #[test]
    fn beta_has_its_mean_and_variance() {
        for alpha in [0.2, 1.0, 4.0] {
            let mut draws = Draws::new(5, 0, 0);
            let x: Vec<f64> = (0..20_000).map(|_| draws.beta(alpha)).collect();
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let want = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01 && (variance - want).abs() < 0.005, "{alpha}: {mean} {variance} {want}");
        }
    }
}
