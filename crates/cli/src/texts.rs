//! Texts that commands work on: from the command line, from lines, from tables and JSON rows.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use bedstone_data::{
    corpus,
    labelled::{self, Header, TextOptions, Unlabelled, read_texts},
};
use bedstone_infer::InferError;
use clap::Args;
use serde_json::{Map, Value};

use crate::output::{self, Usage};

/// Where texts come from.
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// Files of texts, one a line, or .tsv, .csv or .jsonl with one a row, plain or as .gz or .zst; - for the standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) data: Vec<PathBuf>,
    /// The column or field that holds the text [default: text, or in tables as finetune finds it]; with it, files of other
    /// names hold JSON rows
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,
}

/// A text with the place that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    /// The text.
    pub(crate) text: String,
    /// A second text, where texts come in pairs.
    pub(crate) pair: Option<String>,
    /// Such as `reviews.txt:3`.
    pub(crate) place: String,
}

impl DataArgs {
    /// The texts on the command line and those in files, in pairs if so wanted.
    pub(crate) fn read(&self, words: &[String], pairs: bool) -> anyhow::Result<Vec<Text>> {
        let mut texts = Vec::new();
        if pairs && !words.len().is_multiple_of(2) {
            let text = format!("--pair: got {} texts, wanted them in twos", words.len());
            return Err(Usage(text).into());
        }
        for (i, text) in words.chunks(if pairs { 2 } else { 1 }).enumerate() {
            let pair = text.get(1).cloned();
            texts.push(Text { text: text[0].clone(), pair, place: format!("text {}", i + 1) });
        }
        if let Some(file) = words.iter().find(|word| Path::new(word).is_file()) {
            output::note(format!("note: `{file}` is a text here, not the file of that name"));
        }
        for path in &self.data {
            match is_named(path, &[".tsv", ".csv"]) {
                true => texts.extend(self.table(path, pairs)?),
                false => self.lines(path, pairs, &mut texts)?,
            }
        }
        if texts.is_empty() {
            return Err(Usage("no texts: give some, or files with --data".into()).into());
        }
        Ok(texts)
    }

    /// The texts of one file, whatever its name, one a line or JSON row.
    pub(crate) fn lines(&self, path: &Path, pairs: bool, texts: &mut Vec<Text>) -> anyhow::Result<()> {
        let name = path.display();
        let content = match path.as_os_str() == "-" {
            true => stdin()?,
            false => text_file(path)?,
        };
        let rows = self.field.is_some() || is_named(path, &[".jsonl", ".ndjson"]);
        let before = texts.len();
        for (i, line) in content.lines().enumerate() {
            let place = format!("{name}:{}", i + 1);
            let text = match rows {
                true if line.trim().is_empty() => continue,
                true => self.row(line, pairs, place)?,
                false if pairs => match line.split_once('\t') {
                    Some((text, pair)) => Text { text: text.into(), pair: Some(pair.into()), place },
                    None => anyhow::bail!("{place}: no tab, wanted two texts with a tab between them"),
                },
                false => Text { text: line.into(), pair: None, place },
            };
            texts.push(text);
        }
        match texts.len() == before {
            true => anyhow::bail!("{name}: holds no text"),
            false => Ok(()),
        }
    }

    /// The texts of a `.tsv` or `.csv`, whose other columns, such as labels, are left alone.
    fn table(&self, path: &Path, pairs: bool) -> anyhow::Result<Vec<Text>> {
        if let (true, Some(field)) = (pairs, &self.field) {
            let name = path.display();
            return Err(Usage(format!(
                "--field {field}: has no use with --pair for {name}, whose two texts have names"
            ))
            .into());
        }
        let options =
            TextOptions { text: self.field.clone(), unlabelled: Unlabelled::Allowed, ..TextOptions::default() };
        let mut read = read_texts(path, &options);
        let unnamed = match &read {
            Ok(rows) => rows.first().is_some_and(|row| row.pair.is_none() && row.place.record == 1),
            Err(e) => matches!(e, labelled::Error::Unclear { .. } | labelled::Error::Header { .. }),
        };
        // Two columns without names are the two texts.
        if pairs && unnamed {
            let [text, pair] = ["1", "2"].map(|column| Some(column.to_owned()));
            let both = TextOptions { text, pair, header: Header::Absent, ..options };
            read = read_texts(path, &both).or(read);
        }
        let row = |example: labelled::TextExample| {
            let place = example.place.to_string();
            match (pairs, &example.pair) {
                (true, None) => anyhow::bail!(
                    "{place}: no second text\nhint: --pair wants columns such as sentence1 and sentence2, or two without names"
                ),
                (false, Some(_)) => anyhow::bail!(
                    "{place}: the table has two texts a row\nhint: --field NAME takes one of them, --pair of classify both"
                ),
                _ => Ok(Text { text: example.text, pair: example.pair, place }),
            }
        };
        let hint = |e: &labelled::Error| match e {
            labelled::Error::NoColumn { .. } | labelled::Error::Unclear { .. } | labelled::Error::Header { .. } => {
                "\nhint: --field NAME is the column of the text; of columns without names their number, from 1"
                    .to_owned()
            }
            e => e.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default(),
        };
        read.map_err(|e| anyhow::anyhow!("{e}{}", hint(&e)))?.into_iter().map(row).collect()
    }

    fn row(&self, line: &str, pairs: bool, place: String) -> anyhow::Result<Text> {
        let row: Map<String, Value> = serde_json::from_str(line)
            .map_err(|e| anyhow::anyhow!("{place}: not a JSON object: {}", e.to_string().replace("line 1 ", "")))?;
        let field = |name: &str| match row.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(anyhow::anyhow!("{place}: field `{name}`: got {other}, wanted a string")),
            None => {
                let known: Vec<&str> = row.keys().take(8).map(String::as_str).collect();
                Err(anyhow::anyhow!("{place}: no field `{name}`\nhint: there are: {}", known.join(", ")))
            }
        };
        let text = field(self.field.as_deref().unwrap_or("text"))?;
        let pair = if pairs { Some(field("pair")?) } else { None };
        Ok(Text { text, pair, place })
    }
}

/// Whether the name of a file, which may be compressed, ends so.
fn is_named(path: &Path, ends: &[&str]) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = [".gz", ".zst"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    ends.iter().any(|end| name.ends_with(end))
}

/// All of a file, which must be text.
pub(crate) fn text_file(path: &Path) -> anyhow::Result<String> {
    corpus::read_text(path).map_err(told)
}

/// All of the standard input, which must be text.
pub(crate) fn stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|e| anyhow::anyhow!("standard input: {e}"))?;
    corpus::text_of(&bytes, Path::new("standard input")).map_err(told)
}

/// An error with what can be done about it.
fn told(error: corpus::Error) -> anyhow::Error {
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    anyhow::anyhow!("{error}{hint}")
}

/// An error about the text of some number, under the place that it came from.
pub(crate) fn at_place(error: InferError, texts: &[Text]) -> anyhow::Error {
    let row = match &error {
        InferError::EmptyText { row }
        | InferError::NoTokens { row }
        | InferError::NoMask { row, .. }
        | InferError::TextTooLong { row, .. }
        | InferError::NotNumbers { row } => *row,
        _ => return error.into(),
    };
    let (message, number) = (error.to_string(), format!("text {row}"));
    match (texts.get(row), message.strip_prefix(&number)) {
        (Some(text), Some(rest)) => anyhow::anyhow!("{}{rest}", text.place),
        _ => error.into(),
    }
}

/// Places of texts, shortened: `a.txt:1, a.txt:7 and 3 more`.
pub(crate) fn places(texts: &[Text], numbers: &[usize]) -> String {
    let shown: Vec<&str> = numbers.iter().take(5).filter_map(|&i| Some(texts.get(i)?.place.as_str())).collect();
    match numbers.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
