//! What can go wrong with labelled data.

use super::Place;
use crate::corpus;
use std::path::PathBuf;

/// Labelled data that cannot be read or used; every variant names the file, and where it can the line or record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is missing, empty, not UTF-8, or its compression is broken.
    #[error(transparent)]
    File(#[from] corpus::Error),
    /// A file whose name does not say how to read it.
    #[error("{}: unknown extension, want {wanted}, plain or with .gz or .zst", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// The extensions that are read here.
        wanted: &'static str,
    },
    /// The first line may be a header or data.
    #[error("{place}: cannot tell whether this line is a header: {cells}")]
    Header {
        /// The line.
        place: Place,
        /// What it holds.
        cells: String,
    },
    /// A header that names a column twice.
    #[error("{place}: two columns are named {name:?}")]
    HeaderTwice {
        /// The header.
        place: Place,
        /// The name.
        name: String,
    },
    /// A column or field that all records need.
    #[error("{place}: no column{} for the {role}; there are {}", named(asked.as_ref()), list(has))]
    NoColumn {
        /// The first record.
        place: Place,
        /// What it would hold.
        role: &'static str,
        /// What was asked for.
        asked: Option<String>,
        /// The names that are found without asking.
        wanted: Vec<String>,
        /// The columns there are.
        has: Vec<String>,
    },
    /// Without a header, the columns do not tell themselves apart.
    #[error("{place}: cannot tell which of {columns} columns without names holds the {role}")]
    Unclear {
        /// The first record.
        place: Place,
        /// Number of columns.
        columns: usize,
        /// What is looked for.
        role: &'static str,
    },
    /// A record with more or fewer columns than the first.
    #[error("{place}: {got} columns, want {want} as in line {first}")]
    Columns {
        /// The record.
        place: Place,
        /// Its columns.
        got: usize,
        /// Columns of the first.
        want: usize,
        /// The line of the first.
        first: u64,
    },
    /// A record without a field that the first record has, or with one that the first has not.
    #[error("{place}: field {field:?} is {}, unlike in the first record", if *missing { "missing" } else { "there" })]
    FieldChanges {
        /// The record.
        place: Place,
        /// The field.
        field: String,
        /// Whether it is missing.
        missing: bool,
    },
    /// A field of another type.
    #[error("{place}: field {field:?} is {got}, want {want}")]
    FieldType {
        /// The record.
        place: Place,
        /// The field.
        field: String,
        /// What it is.
        got: String,
        /// What it should be.
        want: &'static str,
    },
    /// A field without text.
    #[error("{place}: field {field:?} is empty")]
    Empty {
        /// The record.
        place: Place,
        /// The field.
        field: String,
    },
    /// A record without its label.
    #[error("{place}: the label is missing: field {field:?} is empty")]
    NoLabel {
        /// The record.
        place: Place,
        /// The field.
        field: String,
    },
    /// A label that is no number where numbers are wanted.
    #[error("{place}: field {field:?} is {got:?}, want a finite number")]
    Number {
        /// The record.
        place: Place,
        /// The field.
        field: String,
        /// What it holds.
        got: String,
    },
    /// A record that is not JSON of the form wanted.
    #[error("{place}: {reason}")]
    Json {
        /// The record.
        place: Place,
        /// What the parser said.
        reason: String,
    },
    /// A quotation mark that is never closed.
    #[error("{place}: a quoted field begins here and never ends")]
    Quote {
        /// The record.
        place: Place,
    },
    /// As many tags as words are wanted.
    #[error("{place}: {tags} tags for {words} words")]
    TagCount {
        /// The sentence.
        place: Place,
        /// Its words.
        words: usize,
        /// Its tags.
        tags: usize,
    },
    /// A tag that its scheme does not allow there.
    #[error("{place}: tag {index} is {tag:?}: {reason}")]
    Tag {
        /// The sentence.
        place: Place,
        /// Number of the tag in the sentence, from 1.
        index: usize,
        /// The tag.
        tag: String,
        /// Why it is wrong.
        reason: String,
    },
    /// An answer that is not where the record says.
    #[error("{place} (id {id:?}): answer {text:?} is not at character {start}, where the context has {got:?}")]
    Answer {
        /// The record.
        place: Place,
        /// The question.
        id: String,
        /// The answer.
        text: String,
        /// Where it should be, in characters from 0.
        start: usize,
        /// What is there.
        got: String,
        /// Where it is in truth, first of all.
        found: Option<usize>,
    },
    /// A question that is said to have an answer and to have none.
    #[error("{place} (id {id:?}): {reason}")]
    Impossible {
        /// The record.
        place: Place,
        /// The question.
        id: String,
        /// What contradicts.
        reason: &'static str,
    },
    /// Two records of one id.
    #[error("{place}: id {id:?} is taken by {first}")]
    SameId {
        /// The second record.
        place: Place,
        /// The id.
        id: String,
        /// The first record.
        first: Place,
    },
    /// A label that training has not seen.
    #[error("{place}: unknown label {label:?}; known are {}", list(known))]
    UnknownLabel {
        /// The record.
        place: Place,
        /// Its label.
        label: String,
        /// The labels there are.
        known: Vec<String>,
    },
    /// Labels of two forms in one data set.
    #[error("{place}: the label is {got}, at {first} it is {want}")]
    LabelForms {
        /// The record.
        place: Place,
        /// Its form.
        got: &'static str,
        /// A record before it.
        first: Place,
        /// The form there.
        want: &'static str,
    },
    /// A label of another form than the task needs.
    #[error("{place}: the label is {got}, want {want}")]
    LabelForm {
        /// The record.
        place: Place,
        /// Its form.
        got: &'static str,
        /// The form needed.
        want: &'static str,
    },
    /// A data set whose labels do not differ.
    #[error("{}: all {count} labels are {label:?}, want two or more", path.display())]
    OneLabel {
        /// The file of the first record.
        path: PathBuf,
        /// The label.
        label: String,
        /// How many records have it.
        count: usize,
    },
    /// Nothing to learn labels from.
    #[error("no labelled records were given")]
    NoRecords,
    /// A list of names that is no list of labels.
    #[error("labels: {reason}")]
    Labels {
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::File(error) => return error.hint(),
            Self::Extension { path, .. } => match path.extension().and_then(|e| e.to_str()) {
                Some("parquet") => format!(
                    "convert it: python -c \"import pandas; pandas.read_parquet('{}').to_json('{}', orient='records', \
                     lines=True, force_ascii=False)\"",
                    path.display(),
                    path.with_extension("jsonl").display()
                ),
                Some("json") => "if every line is one JSON object, name the file .jsonl".into(),
                _ => "name the file after its format".into(),
            },
            Self::Header { .. } => "name the columns; without a header their names are their numbers, from 1, in \
                                    quotes: \"1\""
                .into(),
            Self::NoColumn { wanted, .. } => match &wanted[..] {
                [] => return None,
                wanted => format!("found by themselves are {}; name another column", list(wanted)),
            },
            Self::Unclear { .. } => {
                "name the columns; without a header their names are their numbers, from 1, in quotes: \
                                     \"1\""
                    .into()
            }
            Self::Columns { got: 1, .. } => "are the columns separated as the extension says?".into(),
            Self::Columns { place, .. } if place.has_extension("tsv") => {
                "a tab inside a text must be replaced; tables of this format have no quotes".into()
            }
            Self::Columns { place, .. } if place.has_extension("csv") => {
                "a text that holds a comma must stand in double quotes".into()
            }
            Self::Columns { .. } => "comments and other lines between sentences must be left out".into(),
            Self::NoLabel { .. } => {
                "leave the record out or give it a label; no label at all of several is an empty list in JSON lines"
                    .into()
            }
            Self::Answer { found: Some(found), .. } => {
                format!("it is at character {found}; positions count characters (code points) from 0, not bytes")
            }
            Self::Answer { .. } => "the context does not hold this text at all".into(),
            Self::UnknownLabel { .. } => "the labels are those of the training data".into(),
            Self::LabelForm { want: NUMBER, .. } => "to predict classes, classify".into(),
            Self::LabelForm { got: NUMBER, .. } => {
                "to predict numbers, regress; classes are strings or whole numbers".into()
            }
            Self::LabelForm { got: MANY, .. } => "this task takes one label a record".into(),
            Self::LabelForms { .. } => "write all labels in one form".into(),
            Self::OneLabel { .. } => "there is nothing to tell apart; is the right column read?".into(),
            Self::Tag { .. } => "the schemes are IOB1, IOB2 (BIO), IOBES and BILOU".into(),
            _ => return None,
        })
    }
}

pub(super) const NUMBER: &str = "a number";
pub(super) const MANY: &str = "a list";

/// A name in quotes, if there is one.
fn named(name: Option<&String>) -> String {
    name.map(|name| format!(" {name:?}")).unwrap_or_default()
}

/// The first few of `names`.
fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names if names.len() > 12 => format!("{} and {} more", names[..10].join(", "), names.len() - 10),
        names => names.join(", "),
    }
}
