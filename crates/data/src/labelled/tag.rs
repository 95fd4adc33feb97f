//! Words with tags.

use super::{
    Error, Header, Place, Scheme, Unlabelled,
    input::{Format, Input},
    records::{Record, Records, Value},
    text::{asked, no_column},
};
use crate::corpus::{jsonl::kind, lines::Lines};
use serde_json::Value as Json;
use std::path::Path;

/// The words of a sentence with a tag each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagExample {
    /// Where it was read: the line of its first word, or of its row.
    pub place: Place,
    /// The words; never empty, and none of them is.
    pub words: Vec<String>,
    /// As many tags, as the file spells them; none if the file has none.
    pub tags: Vec<String>,
}

/// How to read words with tags.
///
/// Columns of a CoNLL file are called by their numbers, from `1`. Fields of JSON rows are found by themselves: the words
/// as `tokens` or `words`, the tags as `tags`, `ner_tags`, `labels` or `pos_tags`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagOptions {
    /// The column or field of the words; in CoNLL the first if not named.
    pub words: Option<String>,
    /// The column or field of the tags; in CoNLL the last if not named.
    pub tags: Option<String>,
    /// Whether tags may be missing.
    pub unlabelled: Unlabelled,
}

const WORDS: &[&str] = &["tokens", "words"];
const TAGS: &[&str] = &["tags", "ner_tags", "labels", "pos_tags"];
const WANTED: &str = ".conll, .bio, .iob2, .txt, .tsv or .jsonl";

/// All sentences of a CoNLL file (`.conll`, `.bio`, `.iob`, `.iob2`, `.txt`, `.tsv`) or of a `.jsonl`.
///
/// In a CoNLL file every line is a word and what is said of it, in columns separated by tabs, or by blanks if the line
/// has no tab; empty lines separate sentences, and so do lines that begin with `-DOCSTART-`, which are left out.
///
/// # Errors
///
/// The first record that is wrong, see [`Error`].
pub fn read_tags(path: impl AsRef<Path>, options: &TagOptions) -> Result<Vec<TagExample>, Error> {
    Tags::open(path, options)?.collect()
}

/// The sentences of a file one by one; ends after the first error.
#[derive(Debug)]
pub struct Tags {
    reader: Reader,
    options: TagOptions,
    done: bool,
}

#[derive(Debug)]
enum Reader {
    Conll(Conll),
    Rows { records: Records, words: String, tags: Option<String> },
}

impl Tags {
    /// Opens a file as [`read_tags`] does.
    pub fn open(path: impl AsRef<Path>, options: &TagOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let input = Input::find(path, &[Format::Conll, Format::Tsv, Format::JsonLines], WANTED)?;
        let reader = if input.format == Format::JsonLines {
            let mut records = Records::open(path, Header::Absent, &[])?;
            let first = records.peek()[0];
            let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let words = match &options.words {
                Some(name) => asked(first, name, "words")?,
                None => first.find(WORDS).ok_or_else(|| no_column(first, "words", names(WORDS)))?,
            };
            let tags = match &options.tags {
                Some(name) => Some(asked(first, name, "tags")?),
                None => first.find(TAGS),
            };
            if tags.is_none() && options.unlabelled == Unlabelled::Refused {
                return Err(no_column(first, "tags", names(TAGS)));
            }
            Reader::Rows { records, words, tags }
        } else {
            Reader::Conll(Conll::open(input, options)?)
        };
        Ok(Self { reader, options: options.clone(), done: false })
    }

    fn next_example(&mut self) -> Result<Option<TagExample>, Error> {
        match &mut self.reader {
            Reader::Conll(conll) => conll.next_sentence(),
            Reader::Rows { records, words, tags } => {
                let Some(record) = records.next()? else { return Ok(None) };
                let words = strings(&record, words)?;
                let tags = match tags {
                    Some(name) if record.get(name).is_some() || self.options.unlabelled == Unlabelled::Refused => {
                        strings(&record, name)?
                    }
                    _ => Vec::new(),
                };
                let none = tags.is_empty() && self.options.unlabelled == Unlabelled::Allowed;
                if words.len() != tags.len() && !none {
                    let (words, tags) = (words.len(), tags.len());
                    return Err(Error::TagCount { place: record.place, words, tags });
                }
                Ok(Some(TagExample { place: record.place, words, tags }))
            }
        }
    }
}

impl Iterator for Tags {
    type Item = Result<TagExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_example().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The scheme that all tags follow; `None` if they are plain tags such as parts of speech.
///
/// # Errors
///
/// [`Error::Tag`] names the first tag that no scheme allows there.
pub fn check_scheme(examples: &[TagExample]) -> Result<Option<Scheme>, Error> {
    Scheme::detect(examples.iter().map(|example| &example.tags[..])).map_err(|(sentence, wrong)| Error::Tag {
        place: examples[sentence].place.clone(),
        index: wrong.index + 1,
        tag: examples[sentence].tags[wrong.index].clone(),
        reason: wrong.reason,
    })
}

/// A list of strings that are not empty.
fn strings(record: &Record, name: &str) -> Result<Vec<String>, Error> {
    let (place, field, want) = (|| record.place.clone(), name.to_owned(), "a list of strings");
    let values = match record.get(name) {
        Some(Value::Json(Json::Array(values))) => values,
        Some(Value::Json(other)) => {
            return Err(Error::FieldType { place: place(), field, got: kind(other).to_owned(), want });
        }
        _ if record.has(name) => return Err(Error::Empty { place: place(), field }),
        _ => return Err(Error::FieldChanges { place: place(), field, missing: true }),
    };
    if values.is_empty() {
        return Err(Error::Empty { place: place(), field });
    }
    let string = |value: &Json| match value {
        Json::String(text) if text.trim().is_empty() => Err(Error::Empty { place: place(), field: field.clone() }),
        Json::String(text) => Ok(text.clone()),
        other => {
            let got = format!("a list with {}", kind(other));
            Err(Error::FieldType { place: place(), field: field.clone(), got, want })
        }
    };
    values.iter().map(string).collect()
}

/// A reader of a word a line.
struct Conll {
    input: Input,
    lines: Lines,
    word: usize,
    /// The last if `None`.
    tag: Option<usize>,
    unlabelled: Unlabelled,
    /// The line of the first word of all, and its columns.
    first: Option<(u64, usize)>,
}

impl Conll {
    fn open(input: Input, options: &TagOptions) -> Result<Self, Error> {
        let column = |name: &Option<String>, role| match name.as_ref().map(|name| (name, name.parse::<usize>())) {
            None => Ok(None),
            Some((_, Ok(number))) if number > 0 => Ok(Some(number - 1)),
            Some((name, _)) => {
                let has = vec![format!("numbers from 1, not {name:?}")];
                Err(Error::NoColumn { place: input.place(1), role, asked: None, wanted: Vec::new(), has })
            }
        };
        let (word, tag) = (column(&options.words, "words")?.unwrap_or(0), column(&options.tags, "tags")?);
        let lines = input.lines()?;
        Ok(Self { input, lines, word, tag, unlabelled: options.unlabelled, first: None })
    }

    fn next_sentence(&mut self) -> Result<Option<TagExample>, Error> {
        let (mut words, mut tags, mut start) = (Vec::new(), Vec::new(), 0);
        while let Some((number, line)) = self.lines.next(&self.input.path)? {
            if line.trim_matches([' ', '\t']).is_empty() || line.starts_with("-DOCSTART-") {
                if words.is_empty() {
                    continue;
                }
                break;
            }
            let columns: Vec<&str> = if line.contains('\t') {
                line.split('\t').map(|column| column.trim_matches(' ')).collect()
            } else {
                line.split(' ').filter(|column| !column.is_empty()).collect()
            };
            let place = || self.input.place(number);
            let (first, want) = *self.first.get_or_insert((number, columns.len()));
            if columns.len() != want {
                return Err(Error::Columns { place: place(), got: columns.len(), want, first });
            }
            let get = |at: usize, role| match columns.get(at) {
                Some(&"") => Err(Error::Empty { place: place(), field: (at + 1).to_string() }),
                Some(column) => Ok((*column).to_owned()),
                None => {
                    let has = (1..=columns.len()).map(|number| number.to_string()).collect();
                    Err(Error::NoColumn { place: place(), role, asked: None, wanted: Vec::new(), has })
                }
            };
            if words.is_empty() {
                start = number;
            }
            words.push(get(self.word, "words")?);
            match self.tag {
                Some(at) => tags.push(get(at, "tags")?),
                None if columns.len() > 1 => tags.push(get(columns.len() - 1, "tags")?),
                None if self.unlabelled == Unlabelled::Allowed => {}
                None => tags.push(get(1, "tags")?),
            }
        }
        match (words.is_empty(), self.first) {
            (true, None) => Err(self.input.empty()),
            (true, Some(_)) => Ok(None),
            (false, _) => Ok(Some(TagExample { place: self.input.place(start), words, tags })),
        }
    }
}

impl std::fmt::Debug for Conll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conll").field("input", &self.input).finish_non_exhaustive()
    }
}
