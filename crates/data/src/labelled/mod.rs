//! Labelled text: examples of a task, each with the place it was read from.
//!
//! ```text
//! text.rs      a text or a pair of texts with a class, several classes or a number: TSV, CSV, JSON lines
//! tag.rs       words with tags: CoNLL, JSON lines
//! answer.rs    questions on a context: SQuAD 1.1 and 2.0, JSON lines
//! pair.rs      texts that belong together, for embeddings: TSV, CSV, JSON lines
//! records.rs   tables and rows as records with named fields
//! input.rs     files, formats, decompression
//! labels.rs    names of classes and their numbers
//! spans.rs     spans from tags, and the schemes of tags
//! ```
//!
//! All files may be `.gz` or `.zst`; a byte order mark is left out and `\r\n` is a line end. Records keep their order.
//! What is wrong with a record is an error that names it: nothing is dropped in silence. Blank lines are no records.
//!
//! ```no_run
//! use bedstone_data::labelled::{Labels, TextOptions, read_texts};
//!
//! let train = read_texts("train.tsv", &TextOptions::default())?;
//! let labels = Labels::of_texts(&train)?;
//! let class = labels.class(&train[0])?;
//! # Ok::<(), bedstone_data::labelled::Error>(())
//! ```

// An error ends the reading, and says much: its size costs nothing.
#![allow(clippy::result_large_err)]

mod answer;
mod error;
mod input;
mod labels;
mod pair;
pub(crate) mod records;
mod spans;
mod tag;
pub(crate) mod text;

pub use answer::{Answer, AnswerExample, AnswerOptions, read_answers};
pub use error::Error;
pub use labels::{Labels, numbers};
pub use pair::{PairExample, PairOptions, Pairs, read_pairs};
pub use spans::{InvalidTag, Scheme, Span, bilou_to_iobes, spans, strict_spans};
pub use tag::{TagExample, TagOptions, Tags, check_scheme, read_tags};
pub use text::{Label, LabelForm, TextExample, TextOptions, Texts, read_texts};

use std::{fmt, path::Path, sync::Arc};

/// Where a record stands, as messages name it: `train.tsv:7`, or `train.json, record 7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The number of the line or of the record, from 1.
    pub record: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What the number of a [`Place`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Lines of the file; a record of several lines has the number of the first.
    Line,
    /// Records, in files where lines mean nothing.
    Record,
}

impl Place {
    fn has_extension(&self, extension: &str) -> bool {
        let name = self.file.to_string_lossy().to_ascii_lowercase();
        name.trim_end_matches(".gz").trim_end_matches(".zst").ends_with(&format!(".{extension}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Line => write!(f, "{}:{}", self.file.display(), self.record),
            Unit::Record => write!(f, "{}, record {}", self.file.display(), self.record),
        }
    }
}

/// Whether the first line of a table names its columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// It does if one of its cells is a name that the reader knows or was told. It does not if one of its cells has
    /// four words or more. Else, that is an error.
    #[default]
    Auto,
    /// It does.
    Present,
    /// It does not: the columns are called `1`, `2` and so on.
    Absent,
}

/// Whether records without labels may be read, as for prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unlabelled {
    /// A missing label is an error.
    #[default]
    Refused,
    /// A missing label is no label.
    Allowed,
}

#[cfg(test)]
mod tests;
