//! Random numbers from counters: every draw is a pure function of its key, so that data sets do not depend on the
//! order in which rows are made, on the platform or on a crate's release.
//!
//! The mixing function is the finaliser of SplitMix64 ([Steele, Lea & Flood 2014](https://doi.org/10.1145/2660193.2660195)).
//! It is fast and well spread, and not meant to be secret.

/// 2⁶⁴ divided by the golden ratio, made odd: consecutive counters are spread over the whole range.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A place in a tree of keys: a seed, then words such as a purpose, a split and an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// The root of the tree of `seed`.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(GAMMA)))
    }

    /// The key of branch `word` below this one.
    pub(crate) const fn with(self, word: u64) -> Self {
        // Mixing before the sum keeps `with(a).with(b)` apart from `with(b).with(a)`.
        Self(mix(self.0.rotate_left(23) ^ mix(word.wrapping_add(GAMMA))))
    }

    /// The key of the branch with this name; the name's length takes part.
    pub(crate) fn named(self, name: &str) -> Self {
        name.bytes().fold(self.with(name.len() as u64), |key, byte| key.with(u64::from(byte)))
    }

    /// The sequence of draws that belongs to this key.
    pub(crate) const fn draws(self) -> Draws {
        Draws { key: self, counter: 0 }
    }

    /// The key as a number, uniform over all 64-bit values.
    pub(crate) const fn value(self) -> u64 {
        self.0
    }
}

/// The draws of one key: number `i` is `mix(key + i·GAMMA)`.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    key: Key,
    counter: u64,
}

impl Draws {
    /// The next 64 uniform bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mix(self.key.0.wrapping_add(self.counter.wrapping_mul(GAMMA)))
    }

    /// A number below `n`, or 0 if `n` is 0. The bias is at most `n / 2⁶⁴`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high + 1 - low)
    }

    /// True in `percent` of 100 draws.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_commute() {
        let key = Key::new(0);
        assert_ne!(key.with(1).with(2), key.with(2).with(1));
        assert_ne!(key.named("ab"), key.named("a").named("b"));
        assert_ne!(Key::new(1), Key::new(0).with(1));
    }

    #[test]
    fn draws_are_spread_evenly() {
        let mut draws = Key::new(7).draws();
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[draws.below(10)] += 1;
        }
        assert!(counts.iter().all(|n| (9_600..10_400).contains(n)), "{counts:?}");
        assert!((0..1000).all(|_| (3..=5).contains(&draws.between(3, 5))));
        assert_eq!(draws.below(0), 0);
    }

    /// SplitMix64 with seed 0 begins with this number; the bytes of every data set hang on it.
    #[test]
    fn the_finaliser_is_splitmix64() {
        assert_eq!(mix(GAMMA), 0xe220_a839_7b1d_cdaf);
    }
}
