//! From text to words, and from words to numbers on the disk.
//!
//! ```text
//! mod.rs      Text: what is read, as often as needed
//! split.rs    Splitter: where a word begins and ends
//! vocab.rs    Vocab: words by frequency
//! count.rs    counting them
//! encode.rs   Encoded: the text as word ids in a mapped file
//! phrases.rs  pairs of words that are one
//! ```

mod count;
mod encode;
mod phrases;
mod split;
mod vocab;

use bedstone_data::corpus::Corpus;
use rayon::prelude::*;
use serde::Deserialize;

pub use encode::{END, Encoded, Sentences, VocabularyConfig};
pub(crate) use encode::{Prepare, Prepared};
pub use phrases::PhrasesConfig;
pub use split::{Split, Splitter};
pub use vocab::{Vocab, VocabFull};

use crate::{Result, WordsError};

/// Documents that can be read again and again.
pub enum Text<'a> {
    /// Files.
    Corpus(&'a Corpus),
    /// Made by the program.
    Documents {
        /// What they are, in a few words.
        name: String,
        /// Begins anew.
        documents: Box<dyn Fn() -> Box<dyn Iterator<Item = String> + Send> + 'a>,
    },
}

/// A part of a document.
struct Part {
    text: String,
    /// Whether the document ends with it.
    last: bool,
}

impl Text<'_> {
    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            Text::Corpus(corpus) => match corpus.sources() {
                [one] => one.path.display().to_string(),
                many => format!("{} files", many.len()),
            },
            Text::Documents { name, .. } => name.clone(),
        }
    }

    fn parts(&self) -> Box<dyn Iterator<Item = Result<Part>> + '_> {
        match self {
            Text::Corpus(corpus) => {
                Box::new(corpus.pieces().map(|p| p.map(|p| Part { text: p.text, last: p.last }).map_err(Into::into)))
            }
            Text::Documents { documents, .. } => Box::new(documents().map(|text| Ok(Part { text, last: true }))),
        }
    }
}

/// `[text]` of a recipe: what a word is, what a sentence.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TextConfig {
    pub split: Split,
    pub lowercase: bool,
    pub sentences: SentenceEnds,
}

/// Where a sentence ends; windows do not go beyond.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SentenceEnds {
    /// At line ends.
    Lines,
    /// Where the document ends.
    Documents,
}

/// Text that goes to the threads at a time.
const GROUP_BYTES: usize = 8 << 20;

/// Gives the parts of the text to all threads, `GROUP_BYTES` at a time, and what they make of them to `take` in order.
fn in_order<T: Send>(
    text: &Text<'_>,
    make: impl Fn(&Part) -> T + Sync,
    mut take: impl FnMut(T, u64) -> Result<()>,
) -> Result<()> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut parts = text.parts();
    loop {
        let part = parts.next().transpose()?;
        let end = part.is_none();
        if let Some(part) = part {
            bytes += part.text.len();
            group.push(part);
        }
        if end || bytes >= GROUP_BYTES {
            // Small documents share a task.
            let made: Vec<T> = group.par_iter().with_min_len(1 + group.len() / 256).map(&make).collect();
            for (part, made) in group.iter().zip(made) {
                take(made, part.text.len() as u64)?;
            }
            group.clear();
            bytes = 0;
        }
        if end {
            return Ok(());
        }
    }
}

/// What is told while a text is read: bytes so far; an error stops.
pub(crate) type Told<'a> = &'a mut dyn FnMut(&str, u64) -> Result<()>;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn of_lines(lines: &'static str) -> Text<'static> {
    Text::Documents { name: "test".into(), documents: Box::new(move || Box::new(std::iter::once(lines.to_owned()))) }
}

pub(crate) fn no_words(text: &Text<'_>, min_count: u64, words: u64, most: u64) -> WordsError {
    WordsError::NoWords { text: text.describe(), min_count, words, most }
}
