//! Words by frequency.

use std::{fmt::Write as _, path::Path};

use ahash::RandomState;
use bedstone_run::{files::FileError, nearest};

use crate::{Result, WordsError};

/// Words with their counts; a word's place is its id.
///
/// Texts lie in one string and ids in one table: a word costs its letters and about 20 bytes.
#[derive(Clone)]
pub struct Vocab {
    text: String,
    // Where each word ends in `text`.
    ends: Vec<u32>,
    counts: Vec<u64>,
    // Open addressing; ids plus one.
    table: Vec<u32>,
    hasher: RandomState,
}

impl Default for Vocab {
    fn default() -> Self {
        // Equal hashes in every process: nothing here may differ from run to run.
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self { text: String::new(), ends: Vec::new(), counts: Vec::new(), table: vec![0; 16], hasher }
    }
}

impl Vocab {
    /// Of words with counts, which become ids in this order. Of equal words the first one counts.
    ///
    /// # Errors
    /// More text than fits: words of 4 GiB, or two thousand million of them.
    pub fn from_words<'a>(words: impl IntoIterator<Item = (&'a str, u64)>) -> Result<Self, VocabFull> {
        let mut vocab = Self::default();
        for (word, count) in words {
            vocab.add(word, count)?;
        }
        Ok(vocab)
    }

    /// Adds a count, for a new word under the next id; the id.
    pub fn add(&mut self, word: &str, count: u64) -> Result<u32, VocabFull> {
        let slot = match self.find(word) {
            Ok(id) => {
                self.counts[id as usize] += count;
                return Ok(id);
            }
            Err(slot) => slot,
        };
        let id = self.ends.len() as u32;
        let end = u32::try_from(self.text.len() + word.len()).map_err(|_| VocabFull)?;
        if id >= u32::MAX / 2 {
            return Err(VocabFull);
        }
        self.text.push_str(word);
        self.ends.push(end);
        self.counts.push(count);
        self.table[slot] = id + 1;
        if self.ends.len() * 2 > self.table.len() {
            self.rehash(self.table.len() * 2);
        }
        Ok(id)
    }

    fn rehash(&mut self, size: usize) {
        self.table = vec![0; size];
        for id in 0..self.ends.len() as u32 {
            if let Err(slot) = self.find(self.word(id)) {
                self.table[slot] = id + 1;
            }
        }
    }

    /// The id, or the free slot where it would stand.
    fn find(&self, word: &str) -> Result<u32, usize> {
        let mask = self.table.len() - 1;
        let mut slot = self.hasher.hash_one(word) as usize & mask;
        loop {
            match self.table[slot] {
                0 => return Err(slot),
                id if self.word(id - 1) == word => return Ok(id - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The id of a word.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.find(word).ok()
    }

    /// The id of a word, or an error with the nearest spellings.
    pub fn require(&self, word: &str) -> Result<u32> {
        self.id(word).ok_or_else(|| self.unknown(word))
    }

    /// The error that names `word` and what may have been meant.
    pub fn unknown(&self, word: &str) -> WordsError {
        let lower = word.to_lowercase();
        let hint = match self.id(&lower) {
            Some(_) => Some(format!("did you mean `{lower}`?")),
            None => {
                // The most frequent of the near ones, and those that begin alike.
                let near = nearest(word, self.words());
                let longer = self.words().filter(|w| w.starts_with(&lower) && Some(*w) != near).take(2);
                let all: Vec<String> = near.into_iter().chain(longer).map(|w| format!("`{w}`")).collect();
                (!all.is_empty()).then(|| format!("did you mean {}?", all.join(" or ")))
            }
        };
        WordsError::UnknownWord { word: word.to_owned(), size: self.len() as u64, hint }
    }

    /// The word with this id.
    ///
    /// # Panics
    /// If there is none.
    pub fn word(&self, id: u32) -> &str {
        let id = id as usize;
        let begin = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.text[begin..self.ends[id] as usize]
    }

    /// How often the word with this id occurs.
    pub fn count(&self, id: u32) -> u64 {
        self.counts[id as usize]
    }

    /// All counts, by id.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// All words, by id.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|id| self.word(id))
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that it takes, for plans.
    pub(crate) fn bytes(&self) -> u64 {
        (self.text.len() + 12 * self.ends.len() + 4 * self.table.len()) as u64
    }

    /// Ids from the most frequent word to the rarest, equal counts by the alphabet; words below `min_count` left out, and
    /// of more than `most` the rarest (0: none).
    pub(crate) fn by_frequency(&self, min_count: u64, most: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..self.len() as u32).filter(|&id| self.count(id) >= min_count.max(1)).collect();
        ids.sort_unstable_by(|&a, &b| self.count(b).cmp(&self.count(a)).then_with(|| self.word(a).cmp(self.word(b))));
        if most > 0 {
            ids.truncate(most);
        }
        ids
    }

    /// The vocabulary of these ids, in this order.
    pub(crate) fn select(&self, ids: &[u32]) -> Result<Self, VocabFull> {
        Self::from_words(ids.iter().map(|&id| (self.word(id), self.count(id))))
    }

    /// Writes a line `word count` for each word.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = String::with_capacity(self.text.len() + 8 * self.len());
        for id in 0..self.len() as u32 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {}", self.word(id), self.count(id));
        }
        std::fs::write(path, text).map_err(FileError::at(path, "write the vocabulary"))?;
        Ok(())
    }

    /// Reads what [`Vocab::write`] wrote, and what `word2vec -save-vocab` writes.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(FileError::at(path, "read the vocabulary"))?;
        let text = std::str::from_utf8(&text)
            .map_err(|e| WordsError::format(path, format!("not UTF-8 at byte {}", e.valid_up_to())))?;
        let mut vocab = Self::default();
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| WordsError::format(path, format!("line {}: {what}", number + 1));
            let (word, count) = line.rsplit_once(' ').ok_or_else(|| wrong("wanted `word count`"))?;
            let count = count.parse().map_err(|_| wrong(&format!("count is `{count}`, wanted a whole number")))?;
            let before = vocab.len();
            vocab.add(word, count).map_err(|e| e.in_file(path))?;
            if vocab.len() == before {
                return Err(wrong(&format!("the word `{word}` stands there twice")));
            }
        }
        Ok(vocab)
    }
}

/// More words than this program can number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VocabFull;

impl VocabFull {
    pub(crate) fn in_file(self, path: &Path) -> WordsError {
        WordsError::format_hint(
            path,
            "more different words than fit into 4 GiB",
            "set vocabulary.max_vocab_size, or split words otherwise",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_ids_in_order() {
        let mut vocab = Vocab::default();
        for i in 0..2000 {
            assert_eq!(vocab.add(&format!("w{i}"), 1), Ok(i));
        }
        assert_eq!(vocab.add("w7", 5), Ok(7));
        assert_eq!(
            (vocab.count(7), vocab.word(1999), vocab.id("w1999"), vocab.id("x")),
            (6, "w1999", Some(1999), None)
        );
        assert_eq!(vocab.len(), 2000);
    }

    #[test]
    fn frequent_words_first() {
        let vocab = Vocab::from_words([("b", 2), ("a", 2), ("c", 9), ("rare", 1)]).unwrap();
        let order =
            |min, most| vocab.select(&vocab.by_frequency(min, most)).unwrap().words().collect::<Vec<_>>().join(" ");
        assert_eq!(order(2, 0), "c a b");
        assert_eq!(order(0, 2), "c a");
        assert_eq!(order(10, 0), "");
    }

    #[test]
    fn hints() {
        let vocab = Vocab::from_words([("king", 9), ("kingdom", 2), ("queen", 3)]).unwrap();
        let say = |word| vocab.require(word).unwrap_err().to_string();
        assert_eq!(say("King"), "`King` is not in the vocabulary of 3 words\nhint: did you mean `king`?");
        assert_eq!(say("kinf"), "`kinf` is not in the vocabulary of 3 words\nhint: did you mean `king`?");
        assert!(say("kin").contains("`king` or `kingdom`"), "{}", say("kin"));
        assert_eq!(say("xylophone"), "`xylophone` is not in the vocabulary of 3 words");
    }

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        let vocab = Vocab::from_words([("the", 9), ("new york", 2)]).unwrap();
        vocab.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "the 9\nnew york 2\n");
        let read = Vocab::read(&path).unwrap();
        assert_eq!((read.id("new york"), read.count(0), read.len()), (Some(1), 9, 2));
        for (text, want) in [
            ("the 9\ncat", "line 2: wanted `word count`"),
            ("the 9\ncat x", "line 2: count is `x`, wanted a whole number"),
            ("the 9\nthe 3", "line 2: the word `the` stands there twice"),
        ] {
            std::fs::write(&path, text).unwrap();
            let got = Vocab::read(&path).err().unwrap().to_string();
            assert!(got.ends_with(want), "{got}");
        }
        std::fs::write(&path, b"\xff 1\n").unwrap();
        assert!(Vocab::read(&path).err().unwrap().to_string().ends_with("not UTF-8 at byte 0"));
    }
}
