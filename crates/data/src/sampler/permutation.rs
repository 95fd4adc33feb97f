//! A shuffled order of `0..len`, computed by index.

use crate::random::mix;

const ROUNDS: usize = 8;

/// A keyed pseudo-random bijection of `0..len`, without a table.
///
/// A balanced Feistel network on the next larger power of four, walked until it leads back into the range: 1 to 4 steps
/// on average ([Black & Rogaway 2002](https://doi.org/10.1007/3-540-45760-7_9)).
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    len: u64,
    /// Bits of a half.
    bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// A bijection of `0..len`, `len` at most 2⁶²; another one for each key.
    pub fn new(len: u64, key: u64) -> Self {
        assert!(len <= 1 << 62, "a permutation of {len}");
        let needed = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self { len, bits: needed.div_ceil(2).max(1), keys: std::array::from_fn(|round| mix(key, round as u64)) }
    }

    /// Where `index` goes.
    ///
    /// # Panics
    /// If `index` is not below `len`.
    pub fn at(&self, index: u64) -> u64 {
        assert!(index < self.len, "index {index} of a permutation of {}", self.len);
        let mut value = self.step(index);
        while value >= self.len {
            value = self.step(value);
        }
        value
    }

    fn step(&self, value: u64) -> u64 {
        let mask = (1 << self.bits) - 1;
        let (mut left, mut right) = (value >> self.bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(key, right) & mask));
        }
        left << self.bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn is_a_bijection(len in 1u64..3000, key: u64) {
            let permutation = Permutation::new(len, key);
            let mut hit = vec![false; len as usize];
            (0..len).for_each(|index| hit[permutation.at(index) as usize] = true);
            prop_assert!(hit.into_iter().all(|hit| hit));
        }

        #[test]
        fn stays_in_range(len in 1u64..=1 << 62, key: u64, index: u64) {
            prop_assert!(Permutation::new(len, key).at(index % len) < len);
        }
    }

    #[test]
    fn every_order_of_three_comes_up_about_equally_often() {
        let mut counts = std::collections::BTreeMap::<[u64; 3], u32>::new();
        for key in 0..6000 {
            let permutation = Permutation::new(3, key);
            *counts.entry([0, 1, 2].map(|index| permutation.at(index))).or_default() += 1;
        }
        assert!(counts.len() == 6 && counts.values().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn looks_shuffled() {
        // Neighbours end up a third of the range apart on average, as for random places.
        let (len, permutation) = (10_000, Permutation::new(10_000, 5));
        let distances: u64 = (1..len).map(|i| permutation.at(i).abs_diff(permutation.at(i - 1))).sum();
        let mean = distances as f64 / (len - 1) as f64 / len as f64;
        assert!((mean - 1.0 / 3.0).abs() < 0.01, "{mean}");
    }
}
