//! Documents to words with counts.

use super::Error;
use crate::corpus::cut;
use ahash::AHashMap;
use rayon::prelude::*;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
};

/// Words as a normalizer and pre-tokenizer give them.
pub(super) struct Words {
    /// Sorted by word, so that nothing depends on the order of a hash map.
    pub(super) counts: Vec<(String, u64)>,
    /// Bytes of text read.
    pub(super) bytes: u64,
    /// Whether the texts ended before the limit.
    pub(super) all_text: bool,
}

impl Words {
    /// Characters with their counts, the most frequent first.
    pub(super) fn characters(&self) -> Vec<(char, u64)> {
        let mut counts: AHashMap<char, u64> = AHashMap::new();
        for (word, count) in &self.counts {
            for c in word.chars() {
                *counts.entry(c).or_default() += count;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|&(c, count)| (std::cmp::Reverse(count), c));
        counts
    }
}

/// Text that is in memory at once.
const BATCH_BYTES: usize = 8 << 20;
/// Text that one task takes.
const TASK_BYTES: usize = 64 << 10;

/// Counts the words of `texts` up to `max_bytes` bytes.
pub(super) fn count<T, E>(
    parts: &Tokenizer,
    texts: impl IntoIterator<Item = Result<T, E>>,
    max_bytes: u64,
) -> Result<Words, Error>
where
    T: Into<String>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut counts = AHashMap::new();
    let mut batch: Vec<String> = Vec::new();
    let (mut bytes, mut pending, mut all_text) = (0, 0, true);
    for text in texts {
        let mut text: String = text.map_err(|e| Error::Documents(e.into()))?.into();
        let room = max_bytes - bytes;
        if text.len() as u64 > room {
            text.truncate(text.floor_char_boundary(room as usize));
            all_text = false;
        }
        bytes += text.len() as u64;
        pending += text.len();
        batch.push(text);
        if pending >= BATCH_BYTES {
            count_batch(parts, &batch, &mut counts)?;
            (pending, batch) = (0, Vec::new());
        }
        if !all_text {
            break;
        }
    }
    count_batch(parts, &batch, &mut counts)?;
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_unstable();
    Ok(Words { counts, bytes, all_text })
}

fn count_batch(parts: &Tokenizer, batch: &[String], counts: &mut AHashMap<String, u64>) -> Result<(), Error> {
    let tasks: Vec<&str> = batch.iter().flat_map(|text| cut::pieces(text, TASK_BYTES)).collect();
    let counted = tasks
        .par_iter()
        .try_fold(AHashMap::<String, u64>::new, |mut counts, text| {
            split(parts, text, |word| match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_string(), 1)),
            })?;
            Ok(counts)
        })
        .collect::<Result<Vec<_>, tokenizers::Error>>()
        .map_err(|reason| Error::Encode { reason: reason.to_string(), start: String::new() })?;
    for part in counted {
        for (word, count) in part {
            *counts.entry(word).or_default() += count;
        }
    }
    Ok(())
}

fn split(parts: &Tokenizer, text: &str, mut take: impl FnMut(&str)) -> tokenizers::Result<()> {
    let mut normalized = NormalizedString::from(text);
    if let Some(normalizer) = parts.get_normalizer() {
        normalizer.normalize(&mut normalized)?;
    }
    let mut split = PreTokenizedString::from(normalized);
    if let Some(pre_tokenizer) = parts.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut split)?;
    }
    for (word, _, _) in split.get_splits(OffsetReferential::Original, OffsetType::None) {
        take(word);
    }
    Ok(())
}
