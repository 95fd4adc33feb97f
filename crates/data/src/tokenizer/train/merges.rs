//! Learning merges: again and again the most frequent pair of neighbouring symbols becomes one symbol.
//!
//! Byte-pair encoding, [Sennrich et al. 2016](https://arxiv.org/abs/1508.07909). Of pairs with equal counts the one with
//! the lower ids goes first, so that the result is a function of the words alone.

use super::Training;
use ahash::{AHashMap, AHashSet};
use std::{cmp::Reverse, collections::BinaryHeap};

/// When to stop, and how tokens inside a word are spelled.
pub(super) struct Limits<'a> {
    vocab_size: usize,
    min_frequency: u64,
    prefix: &'a str,
}

impl<'a> Limits<'a> {
    /// The limits of `training`; `prefix` stands before a token that does not begin a word.
    pub(super) fn of(training: &Training, prefix: &'a str) -> Self {
        Self { vocab_size: training.vocab_size, min_frequency: training.min_frequency.max(1), prefix }
    }
}

type Pair = (u32, u32);

/// Merges `words`, which are symbol ids with counts, and appends each new symbol to `tokens`; gives the merges in order.
pub(super) fn learn(words: Vec<(Vec<u32>, u64)>, tokens: &mut Vec<String>, limits: &Limits<'_>) -> Vec<Pair> {
    let mut ids: AHashMap<String, u32> = tokens.iter().zip(0..).map(|(token, id)| (token.clone(), id)).collect();
    let mut pairs = Pairs::new(words);
    let (mut merges, mut known) = (Vec::new(), AHashSet::new());
    while tokens.len() < limits.vocab_size {
        let Some((pair, count)) = pairs.most_frequent() else { break };
        if count < limits.min_frequency {
            break;
        }
        let right = &tokens[pair.1 as usize];
        let token = tokens[pair.0 as usize].clone() + right.strip_prefix(limits.prefix).unwrap_or(right);
        // Two routes may lead to one token: `ab c` and `a bc`.
        let id = *ids.entry(token).or_insert_with_key(|token| {
            tokens.push(token.clone());
            tokens.len() as u32 - 1
        });
        // A route that leads to an old token can bring back a pair that was merged before.
        if known.insert(pair) {
            merges.push(pair);
        }
        pairs.merge(pair, id);
    }
    merges
}

/// The words with, for every pair, its count and the words where it may stand.
struct Pairs {
    words: Vec<(Vec<u32>, u64)>,
    counts: AHashMap<Pair, i64>,
    places: AHashMap<Pair, Vec<u32>>,
    /// Candidates; a count that is no longer true is corrected when it comes up.
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Pairs {
    fn new(words: Vec<(Vec<u32>, u64)>) -> Self {
        let (mut counts, mut places) = (AHashMap::new(), AHashMap::<Pair, Vec<u32>>::new());
        for ((symbols, count), word) in words.iter().zip(0..) {
            for pair in symbols.windows(2).map(|pair| (pair[0], pair[1])) {
                *counts.entry(pair).or_default() += *count as i64;
                let places = places.entry(pair).or_default();
                if places.last() != Some(&word) {
                    places.push(word);
                }
            }
        }
        // The order of this map does not matter: the queue's order is total.
        let queue = counts.iter().map(|(&pair, &count)| (count, Reverse(pair))).collect();
        Self { words, counts, places, queue }
    }

    fn most_frequent(&mut self) -> Option<(Pair, u64)> {
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now == count {
                return Some((pair, now as u64));
            }
            if now > 0 {
                self.queue.push((now, Reverse(pair)));
            }
        }
        None
    }

    fn merge(&mut self, pair: Pair, id: u32) {
        let mut grown = Vec::new();
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        for word in places {
            let (symbols, count) = &mut self.words[word as usize];
            merge_word(symbols, pair, id, |changed, by| {
                *self.counts.entry(changed).or_default() += by * *count as i64;
                if by > 0 {
                    self.places.entry(changed).or_default().push(word);
                    grown.push(changed);
                }
            });
        }
        self.counts.remove(&pair);
        grown.sort_unstable();
        grown.dedup();
        for pair in grown {
            if let Some(&count) = self.counts.get(&pair).filter(|&&count| count > 0) {
                self.queue.push((count, Reverse(pair)));
            }
        }
    }
}

/// Replaces `pair` in `symbols`, from the left, by `id`; tells which pairs became more or fewer.
fn merge_word(symbols: &mut Vec<u32>, pair: Pair, id: u32, mut change: impl FnMut(Pair, i64)) {
    let (mut from, mut to) = (0, 0);
    while from < symbols.len() {
        if symbols[from] != pair.0 || symbols.get(from + 1) != Some(&pair.1) {
            symbols[to] = symbols[from];
            (from, to) = (from + 1, to + 1);
            continue;
        }
        if to > 0 {
            change((symbols[to - 1], pair.0), -1);
            change((symbols[to - 1], id), 1);
        }
        if let Some(&next) = symbols.get(from + 2) {
            change((pair.1, next), -1);
            change((id, next), 1);
        }
        symbols[to] = id;
        (from, to) = (from + 2, to + 1);
    }
    symbols.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts everything afresh for each merge.
    fn slow(mut words: Vec<(Vec<u32>, u64)>, tokens: &mut Vec<String>, limits: &Limits<'_>) -> Vec<Pair> {
        let mut merges = Vec::new();
        while tokens.len() < limits.vocab_size {
            let mut counts = std::collections::BTreeMap::<Pair, u64>::new();
            for (symbols, count) in &words {
                symbols.windows(2).for_each(|pair| *counts.entry((pair[0], pair[1])).or_default() += count);
            }
            let Some((&pair, &count)) = counts.iter().max_by_key(|&(&pair, &count)| (count, Reverse(pair))) else {
                break;
            };
            if count < limits.min_frequency {
                break;
            }
            let token = tokens[pair.0 as usize].clone() + &tokens[pair.1 as usize];
            let id = tokens.iter().position(|known| *known == token).unwrap_or_else(|| {
                tokens.push(token);
                tokens.len() - 1
            });
            if !merges.contains(&pair) {
                merges.push(pair);
            }
            words.iter_mut().for_each(|(symbols, _)| merge_word(symbols, pair, id as u32, |_, _| ()));
        }
        merges
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn equals_counting_afresh(words in prop::collection::vec((prop::collection::vec(0u32..4, 1..9), 1u64..5), 1..9)) {
            let limits = Limits { vocab_size: 14, min_frequency: 2, prefix: "" };
            let alphabet: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
            let (mut fast_tokens, mut slow_tokens) = (alphabet.clone(), alphabet);
            let fast_merges = learn(words.clone(), &mut fast_tokens, &limits);
            let slow_merges = slow(words, &mut slow_tokens, &limits);
            prop_assert_eq!(fast_tokens, slow_tokens);
            prop_assert_eq!(fast_merges, slow_merges);
        }
    }
}
