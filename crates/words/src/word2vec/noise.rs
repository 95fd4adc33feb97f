//! Drawing: which words are noise, which are left out.

/// Numbers that look random, in a row that begins with a key: wyrand, a counter and a 64 by 64 bit product a number.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(key: u64) -> Self {
        Self(key)
    }

    #[inline]
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// Below `n`, which is not 0.
    #[inline]
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(n)) >> 32) as u32
    }
}

/// Words by `count ^ exponent`, each draw in constant time: the alias method,
/// [Vose 1991](https://doi.org/10.1109/32.92917).
pub(crate) struct Noise {
    // Take the slot's own word below the threshold, else the other one.
    slots: Vec<(u32, u32)>,
}

impl Noise {
    pub(crate) fn new(counts: &[u64], exponent: f64) -> Self {
        let weights: Vec<f64> = counts.iter().map(|&c| (c.max(1) as f64).powf(exponent)).collect();
        let total: f64 = weights.iter().sum();
        let mut share: Vec<f64> = weights.iter().map(|w| w / total * counts.len() as f64).collect();
        let mut slots: Vec<(u32, u32)> = (0..counts.len() as u32).map(|i| (u32::MAX, i)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..share.len()).partition(|&i| share[i] < 1.0);
        while let (Some(&s), Some(&l)) = (small.last(), large.last()) {
            small.pop();
            slots[s] = ((share[s] * 4_294_967_296.0) as u32, l as u32);
            share[l] -= 1.0 - share[s];
            if share[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Self { slots }
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> u32 {
        let bits = rng.bits();
        let slot = (((bits >> 32) * self.slots.len() as u64) >> 32) as u32;
        let (threshold, other) = self.slots[slot as usize];
        if bits as u32 <= threshold { slot } else { other }
    }
}

/// For each word the chance to stay, in 2^32nds; `None` where all stay.
///
/// `p = sqrt(sample / share) + sample / share` of a word that is `share` of the text, as word2vec and gensim do.
pub(crate) fn keep(counts: &[u64], sample: f64) -> Option<Vec<u32>> {
    let total: u64 = counts.iter().sum();
    let limit = sample * total as f64;
    let chance = |&count: &u64| {
        let part = limit / count.max(1) as f64;
        ((part.sqrt() + part).min(1.0) * 4_294_967_295.0) as u32
    };
    (sample > 0.0).then(|| counts.iter().map(chance).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_follows_the_counts() {
        let counts = [1000, 300, 50, 7, 7, 1];
        for exponent in [0.75, 0.0, 1.0, -0.5] {
            let noise = Noise::new(&counts, exponent);
            let (mut rng, mut drawn, n) = (Rng::new(1), [0u32; 6], 400_000);
            for _ in 0..n {
                drawn[noise.draw(&mut rng) as usize] += 1;
            }
            let total: f64 = counts.iter().map(|&c| (c as f64).powf(exponent)).sum();
            for (&c, &d) in counts.iter().zip(&drawn) {
                let (got, want) = (f64::from(d) / f64::from(n), (c as f64).powf(exponent) / total);
                assert!((got - want).abs() < 0.003, "{c}^{exponent}: {got}, want {want}");
            }
        }
        assert_eq!(Noise::new(&[5], 0.75).draw(&mut Rng::new(3)), 0);
    }

    #[test]
    fn frequent_words_are_left_out() {
        let counts = [500_000, 499_000, 1000];
        let keep = keep(&counts, 1e-3).unwrap();
        let share = |i: usize| f64::from(keep[i]) / 4_294_967_296.0;
        assert!((share(0) - (0.002f64.sqrt() + 0.002)).abs() < 1e-6, "{}", share(0));
        assert!(share(2) > 0.999_999);
        assert!(super::keep(&counts, 0.0).is_none());
    }

    #[test]
    fn numbers_below_a_limit_are_even() {
        let (mut rng, mut seen) = (Rng::new(9), [0u32; 5]);
        (0..100_000).for_each(|_| seen[rng.below(5) as usize] += 1);
        assert!(seen.iter().all(|&n| (19_000..21_000).contains(&n)), "{seen:?}");
    }
}
