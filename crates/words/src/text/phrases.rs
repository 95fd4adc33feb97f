//! Pairs of words that are one: `new york` becomes `new_york`.
//!
//! As in section 4 of [Mikolov et al. 2013](https://arxiv.org/abs/1310.4546): neighbours `a b` are joined where
//! `(count(ab) - min_count) * words / (count(a) * count(b))` is above a threshold. A pass joins pairs from left to right,
//! each word in one pair at most; further passes make longer phrases.

use std::path::Path;

use ahash::{AHashMap, RandomState};
use serde::Deserialize;

use super::{
    Vocab, VocabFull,
    encode::{END, UNKNOWN, Writer},
};
use crate::WordsError;

/// `[phrases]` of a recipe.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct PhrasesConfig {
    pub passes: u32,
    pub threshold: f64,
    pub min_count: u64,
}

pub(super) enum PassError {
    Full(VocabFull),
    Words(WordsError),
}

impl From<VocabFull> for PassError {
    fn from(e: VocabFull) -> Self {
        PassError::Full(e)
    }
}

impl From<WordsError> for PassError {
    fn from(e: WordsError) -> Self {
        PassError::Words(e)
    }
}

/// Different pairs that are counted; beyond that the rarest are forgotten.
const MOST: usize = 50_000_000;

fn pair(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

fn is_word(id: u32) -> bool {
    id != END && id != UNKNOWN
}

/// Writes the ids with phrases joined to `to`; the vocabulary with them, counted anew, and how many kinds there are.
pub(super) fn pass(ids: &[u8], vocab: &Vocab, config: PhrasesConfig, to: &Path) -> Result<(Vocab, u64), PassError> {
    let ids: &[u32] = bytemuck::cast_slice(ids);
    // Equal in every process; the order of a map matters nowhere below.
    let mut counts: AHashMap<u64, u64> = AHashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8));
    let (mut words, mut floor) = (0u64, 1);
    for two in ids.windows(2) {
        words += u64::from(is_word(two[0]));
        if is_word(two[0]) && is_word(two[1]) {
            *counts.entry(pair(two[0], two[1])).or_default() += 1;
            while counts.len() > MOST {
                floor += 1;
                counts.retain(|_, count| *count >= floor);
            }
        }
    }
    let score = |key: u64, count: u64| {
        let (a, b) = (vocab.count((key >> 32) as u32) as f64, vocab.count(key as u32) as f64);
        (count as f64 - config.min_count as f64) * words as f64 / (a * b)
    };
    let mut found: Vec<(u64, u64)> =
        counts.into_iter().filter(|&(key, count)| score(key, count) > config.threshold).collect();
    found.sort_unstable_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
    let mut joined = Vocab::from_words(vocab.words().map(|w| (w, 0)))?;
    let mut phrases: AHashMap<u64, u32> = AHashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8));
    for &(key, _) in &found {
        let name = format!("{}_{}", vocab.word((key >> 32) as u32), vocab.word(key as u32));
        phrases.insert(key, joined.add(&name, 0)?);
    }
    let mut writer = Writer::create(to)?;
    let mut counts = vec![0u64; joined.len()];
    let mut at = 0;
    while at < ids.len() {
        let phrase = ids.get(at + 1).and_then(|&next| phrases.get(&pair(ids[at], next)));
        match (ids[at], phrase) {
            (END, _) => writer.end()?,
            (_, Some(&phrase)) => {
                counts[phrase as usize] += 1;
                writer.word(phrase)?;
                at += 1;
            }
            (word, None) => {
                if let Some(count) = counts.get_mut(word as usize) {
                    *count += 1;
                }
                writer.word(word)?;
            }
        }
        at += 1;
    }
    writer.finish()?;
    let joined = Vocab::from_words(joined.words().zip(counts.iter().copied()))?;
    Ok((joined, found.len() as u64))
}
