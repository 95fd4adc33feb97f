//! CSV, TSV and JSON lines of paths and labels.

use super::{At, Named, Notes, PictureSet, Record, Target};
use crate::{
    labelled::{
        self, Header, Label, LabelForm, Labels, TextOptions, Unlabelled,
        records::{self, Records, Value},
        text::{LABELS, asked, label, no_column},
    },
    pictures::{Error, decode::Format},
};
use std::path::Path;

const PICTURES: &[&str] =
    &["image", "path", "file", "file_name", "filename", "filepath", "image_path", "image_file", "picture"];

/// How to read a table of pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The column of the path; else the first of `image`, `path`, `file`, `file_name`, `filename`, `filepath`,
    /// `image_path`, `image_file`, `picture` that is there.
    pub picture: Option<String>,
    /// The column of the label; else the first of `label`, `labels`, `score`, `target`, `class`, `stars`.
    pub label: Option<String>,
    /// Whether labels may be missing.
    pub unlabelled: Unlabelled,
}

/// The pictures that a `.csv`, `.tsv` or `.jsonl` names, each with its class. Paths are relative to the folder of the
/// table. A table has no header if its first line names a picture; then its columns are told apart by that, if there
/// are two.
///
/// # Errors
///
/// The first record that is wrong, [`Error::Missing`] for one whose picture is not there.
pub fn table(path: &Path, labels: Option<&Labels>, options: &TableOptions) -> Result<PictureSet, Error> {
    let mut records = open(path, options)?;
    let named = records.named();
    let first = records.peek()[0];
    let columns = if named { by_name(first, options)? } else { by_content(first, options)? };
    let folder = path.parent().unwrap_or(Path::new(""));
    let text = TextOptions { form: LabelForm::One, unlabelled: options.unlabelled, ..TextOptions::default() };
    let mut named = Named { records: Vec::new() };
    while let Some(record) = records.next()? {
        let file = folder.join(record.text(&columns.0)?.trim());
        let class = match &columns.1 {
            Some(column) => match label(&record, column, &text)? {
                Label::One(class) => Some(class),
                _ => None,
            },
            None => None,
        };
        let place = record.place;
        if !file.is_file() {
            return Err(Error::Missing { place: place.to_string(), path: file });
        }
        let name = format!("{place}: {}", file.display());
        named.records.push((
            Record { name, target: Target::None, at: At::File { path: file, size: None } },
            place,
            class,
        ));
    }
    named.numbered(labels, options.unlabelled, Notes::default())
}

fn open(path: &Path, options: &TableOptions) -> Result<Records, labelled::Error> {
    let bare = Records::open(path, Header::Absent, &[])?;
    if bare.named() {
        // JSON lines.
        return Ok(bare);
    }
    let mut bare = bare;
    if cells(bare.peek()[0]).any(|(_, cell)| Format::named(Path::new(cell.trim()))) {
        return Ok(bare);
    }
    let asked = [&options.picture, &options.label].into_iter().flatten().map(String::as_str);
    let known: Vec<&str> = asked.chain(PICTURES.iter().chain(LABELS).copied()).collect();
    Records::open(path, Header::Auto, &known)
}

fn cells(record: &records::Record) -> impl Iterator<Item = (String, &str)> {
    record.names().into_iter().filter_map(|name| match record.get(&name) {
        Some(Value::Cell(cell)) => Some((name, cell)),
        _ => None,
    })
}

fn by_name(first: &records::Record, options: &TableOptions) -> Result<(String, Option<String>), labelled::Error> {
    let wanted = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let picture = match &options.picture {
        Some(name) => asked(first, name, "picture")?,
        None => first.find(PICTURES).ok_or_else(|| no_column(first, "picture", wanted(PICTURES)))?,
    };
    let label = match &options.label {
        Some(name) => Some(asked(first, name, "label")?),
        None => first.find(LABELS),
    };
    if label.is_none() && options.unlabelled == Unlabelled::Refused {
        return Err(no_column(first, "label", wanted(LABELS)));
    }
    Ok((picture, label))
}

fn by_content(first: &records::Record, options: &TableOptions) -> Result<(String, Option<String>), labelled::Error> {
    if options.picture.is_some() || options.label.is_some() {
        let picture = asked(first, options.picture.as_deref().unwrap_or("1"), "picture")?;
        let label = options.label.as_deref().map(|label| asked(first, label, "label")).transpose()?;
        return Ok((picture, label));
    }
    let (pictures, others): (Vec<_>, Vec<_>) =
        cells(first).partition(|(_, cell)| Format::named(Path::new(cell.trim())));
    let name = |(name, _): &(String, &str)| name.clone();
    match (&pictures[..], &others[..]) {
        ([picture], [label]) => Ok((name(picture), Some(name(label)))),
        ([picture], []) if options.unlabelled == Unlabelled::Allowed => Ok((name(picture), None)),
        ([_], []) => Err(no_column(first, "label", Vec::new())),
        _ => Err(labelled::Error::Unclear {
            place: first.place.clone(),
            columns: pictures.len() + others.len(),
            role: "picture or label",
        }),
    }
}
