//! Texts with labels, for classification and regression.

use super::{
    Error, Header, Place, Unlabelled,
    records::{Record, Records, Value},
};
use crate::corpus::jsonl::kind;
use serde_json::Value as Json;
use std::path::Path;

/// A text, or a pair of texts, with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct TextExample {
    /// Where it was read.
    pub place: Place,
    /// The text; never empty.
    pub text: String,
    /// The second text of a pair; never empty.
    pub pair: Option<String>,
    /// What it is, or how much.
    pub label: Label,
}

/// The label of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// None is known.
    None,
    /// One class.
    One(String),
    /// Any number of classes, in the order of the file.
    Many(Vec<String>),
    /// A finite number.
    Number(f64),
}

/// What labels are taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelForm {
    /// A cell of a table is one class. In JSON a string, a whole number or a boolean is one class, a list is several
    /// classes, and a number with a fraction is a number.
    #[default]
    Auto,
    /// One class.
    One,
    /// Several classes: a list in JSON, else separated by [`TextOptions::separator`].
    Many,
    /// A number.
    Number,
}

/// How to read texts with labels.
///
/// Columns that are not named are found by their names, capital letters or not: the texts as `text` with `text_pair`
/// or `pair`, `sentence1` with `sentence2`, `premise` with `hypothesis`, `question1` with `question2`, `question` with
/// `sentence`, and alone `text`, `sentence`, `question`, `review`; the label as `label`, `labels`, `score`, `target`,
/// `class`, `stars`. The first that is there counts. Where the text is named, a second text is read only if it is, too.
///
/// Without a header, a table of two columns holds the label in the column that has no white space in the first hundred
/// records, if the other one has; every other table without a header needs the numbers of its columns as their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// The column or field of the text.
    pub text: Option<String>,
    /// The column or field of the second text.
    pub pair: Option<String>,
    /// The column or field of the label.
    pub label: Option<String>,
    /// Whether a table has a header.
    pub header: Header,
    /// What labels are taken for.
    pub form: LabelForm,
    /// What stands between several classes in a cell of a table.
    pub separator: char,
    /// Whether labels may be missing.
    pub unlabelled: Unlabelled,
}

impl Default for TextOptions {
    fn default() -> Self {
        Self {
            text: None,
            pair: None,
            label: None,
            header: Header::Auto,
            form: LabelForm::Auto,
            separator: ',',
            unlabelled: Unlabelled::Refused,
        }
    }
}

const TEXTS: &[(&str, Option<&str>)] = &[
    ("text", Some("text_pair")),
    ("text", Some("pair")),
    ("sentence1", Some("sentence2")),
    ("premise", Some("hypothesis")),
    ("question1", Some("question2")),
    ("question", Some("sentence")),
    ("text", None),
    ("sentence", None),
    ("question", None),
    ("review", None),
];
pub(crate) const LABELS: &[&str] = &["label", "labels", "score", "target", "class", "stars"];

/// All examples of a `.tsv`, `.csv` or `.jsonl`.
///
/// # Errors
///
/// The first record that is wrong, see [`Error`].
pub fn read_texts(path: impl AsRef<Path>, options: &TextOptions) -> Result<Vec<TextExample>, Error> {
    Texts::open(path, options)?.collect()
}

/// The examples of a file one by one; ends after the first error.
#[derive(Debug)]
pub struct Texts {
    records: Records,
    options: TextOptions,
    columns: Columns,
    failed: bool,
}

/// The names of the fields that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    text: String,
    pair: Option<String>,
    label: Option<String>,
}

impl Texts {
    /// Opens a `.tsv`, `.csv` or `.jsonl` and finds its columns.
    pub fn open(path: impl AsRef<Path>, options: &TextOptions) -> Result<Self, Error> {
        let asked = [&options.text, &options.pair, &options.label];
        let mut known: Vec<&str> = asked.into_iter().flatten().map(String::as_str).collect();
        known.extend(TEXTS.iter().flat_map(|&(text, pair)| [Some(text), pair]).flatten());
        known.extend(LABELS);
        let mut records = Records::open(path.as_ref(), options.header, &known)?;
        let guess = !records.named() && options.text.is_none();
        let peeked = records.peek();
        let columns = if guess { Columns::guess(&peeked, options)? } else { Columns::find(peeked[0], options)? };
        Ok(Self { records, options: options.clone(), columns, failed: false })
    }

    fn next_example(&mut self) -> Result<Option<TextExample>, Error> {
        let Some(record) = self.records.next()? else { return Ok(None) };
        self.columns.check(&record, &self.options)?;
        let text = record.text(&self.columns.text)?;
        let pair = self.columns.pair.as_deref().map(|pair| record.text(pair)).transpose()?;
        let label = match &self.columns.label {
            Some(name) => label(&record, name, &self.options)?,
            None => Label::None,
        };
        Ok(Some(TextExample { place: record.place, text, pair, label }))
    }
}

impl Iterator for Texts {
    type Item = Result<TextExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_example().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl Columns {
    /// By name in `record`.
    fn find(record: &Record, options: &TextOptions) -> Result<Self, Error> {
        let (text, mut pair) = match &options.text {
            Some(name) => (asked(record, name, "text")?, None),
            None => {
                let both = TEXTS.iter().find_map(|&(text, pair)| {
                    let text = record.find(&[text])?;
                    match pair {
                        Some(pair) => Some((text, Some(record.find(&[pair])?))),
                        None => Some((text, None)),
                    }
                });
                both.ok_or_else(|| {
                    let wanted = TEXTS.iter().map(|&(text, _)| text.to_owned()).collect::<Vec<_>>();
                    no_column(record, "text", unique(wanted))
                })?
            }
        };
        if let Some(name) = &options.pair {
            pair = Some(asked(record, name, "second text")?);
        }
        let label = match &options.label {
            Some(name) => Some(asked(record, name, "label")?),
            None => record.find(LABELS),
        };
        if label.is_none() && options.unlabelled == Unlabelled::Refused {
            return Err(no_column(record, "label", LABELS.iter().map(|&name| name.to_owned()).collect()));
        }
        Ok(Self { text, pair, label })
    }

    /// By what the first records of a table without names hold.
    fn guess(records: &[&Record], options: &TextOptions) -> Result<Self, Error> {
        let first = records[0];
        let names = first.names();
        let unclear = |role| Error::Unclear { place: first.place.clone(), columns: names.len(), role };
        if options.pair.is_some() || options.label.is_some() {
            return Err(unclear("text"));
        }
        match &names[..] {
            [text] if options.unlabelled == Unlabelled::Allowed => {
                Ok(Self { text: text.clone(), pair: None, label: None })
            }
            [_] => Err(no_column(first, "label", Vec::new())),
            [one, two] => {
                let spaced = |name: &String| {
                    let has_space =
                        |value| matches!(value, Value::Cell(cell) if cell.trim().contains(char::is_whitespace));
                    records.iter().any(|record| record.get(name).is_some_and(has_space))
                };
                let (text, label) = match (spaced(one), spaced(two)) {
                    (true, false) => (one, two),
                    (false, true) => (two, one),
                    (true, true) | (false, false) => return Err(unclear("label")),
                };
                Ok(Self { text: text.clone(), pair: None, label: Some(label.clone()) })
            }
            _ => Err(unclear("text")),
        }
    }

    /// Rows of JSON may differ: a field that comes or goes would change what is read.
    fn check(&self, record: &Record, options: &TextOptions) -> Result<(), Error> {
        if !record.is_row() {
            return Ok(());
        }
        for name in [Some(&self.text), self.pair.as_ref(), self.label.as_ref()].into_iter().flatten() {
            let label = self.label.as_ref() == Some(name) && options.unlabelled == Unlabelled::Allowed;
            if !record.has(name) && !label {
                let (place, field) = (record.place.clone(), name.clone());
                return Err(Error::FieldChanges { place, field, missing: true });
            }
        }
        let mut unread: Vec<&str> = Vec::new();
        if self.pair.is_none() && options.text.is_none() {
            unread.extend(TEXTS.iter().filter(|(text, _)| *text == self.text).filter_map(|&(_, pair)| pair));
        }
        if self.label.is_none() {
            unread.extend(LABELS);
        }
        match record.find(&unread) {
            Some(field) => Err(Error::FieldChanges { place: record.place.clone(), field, missing: false }),
            None => Ok(()),
        }
    }
}

/// A column that was named must be there.
pub(crate) fn asked(record: &Record, name: &str, role: &'static str) -> Result<String, Error> {
    if record.has(name) {
        return Ok(name.to_owned());
    }
    let (place, has) = (record.place.clone(), record.names());
    Err(Error::NoColumn { place, role, asked: Some(name.to_owned()), wanted: Vec::new(), has })
}

pub(crate) fn no_column(record: &Record, role: &'static str, wanted: Vec<String>) -> Error {
    Error::NoColumn { place: record.place.clone(), role, asked: None, wanted, has: record.names() }
}

fn unique(mut names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

pub(crate) fn label(record: &Record, name: &str, options: &TextOptions) -> Result<Label, Error> {
    let place = || record.place.clone();
    let missing = || match options.unlabelled {
        Unlabelled::Allowed => Ok(Label::None),
        Unlabelled::Refused => Err(Error::NoLabel { place: place(), field: name.to_owned() }),
    };
    let wrong = |value: &Json, want| {
        let got = if value.is_f64() { "a number with a fraction" } else { kind(value) }.to_owned();
        Error::FieldType { place: place(), field: name.to_owned(), got, want }
    };
    let Some(value) = record.get(name) else { return missing() };
    if options.form == LabelForm::Number {
        return record.number(name)?.map_or_else(missing, |number| Ok(Label::Number(number)));
    }
    let value = match value {
        Value::Cell(cell) if cell.trim().is_empty() => return missing(),
        Value::Cell(cell) if options.form == LabelForm::Many => {
            let labels: Vec<String> = cell.split(options.separator).map(|label| label.trim().to_owned()).collect();
            if labels.iter().any(String::is_empty) {
                return Err(Error::Empty { place: place(), field: name.to_owned() });
            }
            return Ok(Label::Many(labels));
        }
        Value::Cell(cell) => return Ok(Label::One(cell.trim().to_owned())),
        Value::Json(value) => value,
    };
    match (value, options.form) {
        (Json::String(text), _) if text.trim().is_empty() => missing(),
        (Json::Number(number), LabelForm::Auto) if number.is_f64() => {
            record.number(name)?.map_or_else(missing, |number| Ok(Label::Number(number)))
        }
        (Json::Array(values), LabelForm::Auto | LabelForm::Many) => {
            let labels = values.iter().map(|value| match class(value) {
                Some(class) => Ok(class),
                None => Err(wrong(value, "a list of strings or whole numbers")),
            });
            Ok(Label::Many(labels.collect::<Result<_, _>>()?))
        }
        (value, form) => match (class(value), form) {
            (Some(class), LabelForm::Many) => Ok(Label::Many(vec![class])),
            (Some(class), _) => Ok(Label::One(class)),
            (None, _) => Err(wrong(value, "a string or a whole number")),
        },
    }
}

/// A value that names a class.
fn class(value: &Json) -> Option<String> {
    match value {
        Json::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Json::Number(number) if !number.is_f64() => Some(number.to_string()),
        Json::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}
