//! A file of labelled data.

use super::{Error, Place, Unit};
use crate::corpus::{self, lines::Lines, source::Compression};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How records lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `.tsv`: columns by tabs, without quotes.
    Tsv,
    /// `.csv`: columns by commas, quotes as in RFC 4180.
    Csv,
    /// `.jsonl`, `.ndjson`: a JSON object a line.
    JsonLines,
    /// `.json`: one JSON document.
    Json,
    /// `.conll`, `.bio`, `.iob`, `.iob2`, `.txt`: a word a line.
    Conll,
}

/// A file whose format is known.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) path: Arc<Path>,
    pub(super) format: Format,
    compression: Compression,
}

impl Input {
    /// The file at `path`; `allowed` are the formats read here, and `wanted` is how a message names them.
    pub(super) fn find(path: &Path, allowed: &[Format], wanted: &'static str) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let (name, compression) = Compression::of(&name);
        let format = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("tsv") => Some(Format::Tsv),
            Some("csv") => Some(Format::Csv),
            Some("jsonl" | "ndjson") => Some(Format::JsonLines),
            Some("json") => Some(Format::Json),
            Some("conll" | "bio" | "iob" | "iob2" | "txt") => Some(Format::Conll),
            _ => None,
        };
        if !path.exists() {
            return Err(corpus::Error::Missing { path: path.to_path_buf() }.into());
        }
        let path_buf = || path.to_path_buf();
        let format = format
            .filter(|format| allowed.contains(format))
            .ok_or_else(|| Error::Extension { path: path_buf(), wanted })?;
        Ok(Self { path: path.into(), format, compression })
    }

    pub(super) fn lines(&self) -> Result<Lines, Error> {
        Ok(Lines::new(self.compression.open(&self.path, &self.path)?))
    }

    /// The whole text, without a byte order mark.
    pub(super) fn text(&self) -> Result<String, Error> {
        Ok(corpus::read_text(&self.path)?)
    }

    /// The place of a line, or of a record where lines mean nothing.
    pub(super) fn place(&self, record: u64) -> Place {
        let unit = if self.format == Format::Json { Unit::Record } else { Unit::Line };
        Place { file: self.path.clone(), record, unit }
    }

    pub(super) fn empty(&self) -> Error {
        corpus::Error::Empty { path: self.path_buf() }.into()
    }

    fn path_buf(&self) -> PathBuf {
        self.path.to_path_buf()
    }
}
