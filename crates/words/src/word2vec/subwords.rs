//! Character n-grams of words, as in fastText.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Result, WordsError};

/// How words are cut into n-grams: [Bojanowski et al. 2017](https://arxiv.org/abs/1607.04606).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct NGrams {
    /// Characters of the shortest.
    pub minn: usize,
    /// Characters of the longest.
    pub maxn: usize,
    /// Rows that they share by hash.
    pub bucket: usize,
}

impl NGrams {
    /// The buckets of a word's n-grams, `<` before and `>` behind it counting as characters; those two alone are none.
    pub fn buckets(&self, word: &str) -> Vec<u32> {
        let text = format!("<{word}>");
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut found = Vec::new();
        for begin in 0..ends.len() - 1 {
            for n in self.minn..=self.maxn {
                let Some(&end) = ends.get(begin + n) else { break };
                let border = n == 1 && (begin == 0 || end == text.len());
                if !border {
                    found.push(hash(&text.as_bytes()[ends[begin]..end]) % self.bucket as u32);
                }
            }
        }
        found
    }

    /// Reads it from a config.
    pub(crate) fn of_config(config: &serde_json::Value, path: &Path) -> Result<Option<Self>> {
        match config.get("subwords") {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => {
                let n: Self = serde_json::from_value(value.clone())
                    .map_err(|e| WordsError::format(path, format!("`subwords`: {e}")))?;
                if n.minn == 0 || n.maxn < n.minn || n.bucket == 0 || n.bucket > 1 << 31 {
                    return Err(WordsError::format(path, format!("`subwords` is {value}, which makes no sense")));
                }
                Ok(Some(n))
            }
        }
    }
}

/// FNV-1a, as fastText computes it: bytes above 127 count as negative numbers.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |h, &b| (h ^ b as i8 as u32).wrapping_mul(16_777_619))
}

/// The rows of each word's vector: its own, and those of its n-grams behind the words'.
pub(crate) struct Subwords {
    begins: Vec<u64>,
    rows: Vec<u32>,
}

impl Subwords {
    pub(crate) fn new<'a>(words: impl Iterator<Item = &'a str>, count: usize, ngrams: NGrams) -> Self {
        let (mut begins, mut rows) = (vec![0], Vec::new());
        for (id, word) in words.enumerate() {
            rows.push(id as u32);
            rows.extend(ngrams.buckets(word).into_iter().map(|b| count as u32 + b));
            begins.push(rows.len() as u64);
        }
        Self { begins, rows }
    }

    #[inline]
    pub(crate) fn of(&self, word: u32) -> &[u32] {
        &self.rows[self.begins[word as usize] as usize..self.begins[word as usize + 1] as usize]
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (8 * self.begins.len() + 4 * self.rows.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_grams_of_a_word() {
        let n = NGrams { minn: 3, maxn: 4, bucket: 1000 };
        // <he hel ell llo lo>, <hel hell ello llo>
        assert_eq!(n.buckets("hello").len(), 5 + 4);
        assert_eq!(n.buckets("hello")[0], hash(b"<he") % 1000);
        assert!(n.buckets("").is_empty(), "<> has two characters");
        assert_eq!(NGrams { minn: 1, maxn: 1, bucket: 1000 }.buckets("ab").len(), 2);
        assert_eq!(NGrams { minn: 2, maxn: 2, bucket: 1000 }.buckets("äö").len(), 3);
    }

    /// Known answers of gensim's `ft_hash_bytes`.
    #[test]
    fn hashes() {
        assert_eq!(hash(b""), 2_166_136_261);
        assert_eq!(hash(b"a"), 3_826_002_220);
        assert_eq!(hash("ä".as_bytes()), HASH_OF_A_UMLAUT);
    }

    const HASH_OF_A_UMLAUT: u32 = 939_155_682;

    #[test]
    fn rows_of_a_word() {
        let n = NGrams { minn: 3, maxn: 3, bucket: 10 };
        let s = Subwords::new(["ab", "c"].into_iter(), 2, n);
        assert_eq!(s.of(0).len(), 1 + 2);
        assert_eq!(s.of(1), [1, 2 + hash(b"<c>") % 10]);
    }
}
