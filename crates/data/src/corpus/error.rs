//! What can go wrong with a corpus.

use crate::pictures::decode::Format;
use std::{io, path::PathBuf};

/// A corpus that cannot be found or read; every variant names the file, and where it can the line and byte.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No path was given.
    #[error("no corpus was given")]
    NoPaths,
    /// A path that does not exist.
    #[error("{}: no such file or directory", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A pattern that matches nothing.
    #[error("{pattern}: matches no file")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A pattern that cannot be understood.
    #[error("{pattern}: not a pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A folder without a text file.
    #[error("{}: holds no .txt or .jsonl file, plain or as .gz or .zst; {ignored} other files", path.display())]
    NoText {
        /// The folder.
        path: PathBuf,
        /// How many other files it holds.
        ignored: usize,
    },
    /// A file whose name does not say how to read it.
    #[error("{}: unknown extension, want .txt or .jsonl, plain or with .gz or .zst", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// The system cannot read a file, or its compression is broken.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// A file without text.
    #[error("{}: is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8; line counts from 1, byte from 0 in the decompressed file.
    #[error("{}:{line}: not UTF-8 at byte {byte}: 0x{got:02x}", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The place in the file.
        byte: u64,
        /// The byte there.
        got: u8,
    },
    /// A NUL byte, which no text has.
    #[error("{}:{line}: a binary file: NUL at byte {byte}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The place in the file.
        byte: u64,
    },
    /// A row that is not a JSON object.
    #[error("{}:{line}: not a JSON object: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The row.
        line: u64,
        /// What the parser said.
        reason: String,
    },
    /// A row without the field.
    #[error("{}:{line}: no field {field:?}; the row has {}", path.display(), list(has))]
    NoField {
        /// The file.
        path: PathBuf,
        /// The row.
        line: u64,
        /// The field wanted.
        field: String,
        /// The fields it has, the first few.
        has: Vec<String>,
    },
    /// A row whose field is not a string.
    #[error("{}:{line}: field {field:?} is {got}, want a string", path.display())]
    FieldType {
        /// The file.
        path: PathBuf,
        /// The row.
        line: u64,
        /// The field.
        field: String,
        /// What it is.
        got: String,
    },
    /// A row that is too long to be one.
    #[error("{}:{line}: a row of more than {limit} bytes", path.display())]
    RowTooLong {
        /// The file.
        path: PathBuf,
        /// The row.
        line: u64,
        /// The longest row that is read.
        limit: usize,
    },
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Extension { path } => match path.extension().and_then(|e| e.to_str()) {
                Some("parquet") => format!(
                    "convert it: python -c \"import pandas; pandas.read_parquet('{}').to_json('{}', orient='records', \
                     lines=True, force_ascii=False)\"",
                    path.display(),
                    path.with_extension("jsonl").display()
                ),
                Some("json") => "write one JSON object a line and name the file .jsonl".into(),
                _ => "if it is plain text, name it .txt".into(),
            },
            Self::NoField { has, .. } if !has.is_empty() => "name the field that holds the text".into(),
            Self::Utf8 { byte: 0, got: 0xff | 0xfe, .. } => {
                "this looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8".into()
            }
            Self::Utf8 { path, .. } | Self::Binary { path, .. } if Format::named(path) => {
                "a picture, by its name, where a text is wanted: models of pictures take it, such as ViT".into()
            }
            Self::Utf8 { .. } => "convert the file to UTF-8: iconv -f LATIN1 -t UTF-8, if it is Latin-1".into(),
            Self::Binary { .. } => "texts are UTF-8 (from UTF-16: iconv -f UTF-16 -t UTF-8), plain or compressed as their names say: .gz or .zst".into(),
            Self::NoMatch { .. } => "put the pattern in quotes, or check the folder".into(),
            _ => return None,
        })
    }
}

fn list(fields: &[String]) -> String {
    if fields.is_empty() { "none".into() } else { fields.join(", ") }
}
