//! `manifest.json`: what a directory of shards holds and where it came from.

use super::{Error, SplitRule};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// Goes up whenever the layout or the way text becomes tokens changes.
pub(super) const FORMAT: u32 = 1;

/// The name of the file.
pub(super) const NAME: &str = "manifest.json";

/// Everything about a directory of shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of the layout.
    pub format: u32,
    /// The content hash of all that decides the tokens, which names the directory.
    pub key: String,
    /// The hash of the tokenizer.
    pub tokenizer: String,
    /// Its vocabulary.
    pub vocab_size: usize,
    /// Bytes of a token: 2 or 4, little-endian.
    pub token_bytes: usize,
    /// The id after each document.
    pub document_end: u32,
    /// The field of JSON rows.
    pub field: Option<String>,
    /// The files that were read.
    pub sources: Vec<SourceRecord>,
    /// How validation was told apart.
    pub split: SplitRule,
    /// Tokens in a shard; the last one of a series may have fewer.
    pub shard_tokens: u64,
    /// Streams of tokens.
    pub series: Vec<Series>,
    /// What is for training.
    pub train: Span,
    /// What is for validation.
    pub validation: Option<Span>,
    /// The hash of this file as it is with nothing here.
    pub checksum: String,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Where it was, or the name of what was generated.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub blake3: String,
}

/// A stream of tokens in files of equal size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Tokens in it.
    pub tokens: u64,
    /// Documents in it.
    pub documents: u64,
    /// UTF-8 bytes of its text.
    pub text_bytes: u64,
    /// The tokens.
    pub shards: Vec<FileRecord>,
    /// For each document two little-endian u64: the token after its end, and the bytes of text up to there.
    pub ends: FileRecord,
}

/// A file of the shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the directory.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub blake3: String,
}

/// A part of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The number of the series.
    pub series: usize,
    /// Its first token.
    pub begin: u64,
    /// The token after its last one.
    pub end: u64,
    /// UTF-8 bytes of its text.
    pub text_bytes: u64,
}

impl Manifest {
    /// Reads the manifest of `dir` and checks that it makes sense by itself.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(NAME);
        let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing".into())),
            Err(source) => return Err(Error::Read { path, source }),
        };
        let manifest: Self = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        manifest.check().map_err(damaged)?;
        if manifest.clone().sealed().checksum != manifest.checksum {
            return Err(damaged("its checksum is not its own".into()));
        }
        Ok(manifest)
    }

    /// The manifest with its checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.checksum.clear();
        // Strings, numbers and lists always serialise.
        let text = serde_json::to_vec(&self).unwrap_or_default();
        self.checksum = blake3::hash(&text).to_hex().to_string();
        self
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {}, this program reads {FORMAT}", self.format));
        }
        if ![2, 4].contains(&self.token_bytes) || self.shard_tokens == 0 {
            return Err(format!("{} tokens of {} bytes in a shard", self.shard_tokens, self.token_bytes));
        }
        let width = self.token_bytes as u64;
        for series in &self.series {
            let sizes = series.shards.iter().map(|shard| shard.size);
            let full = self.shard_tokens.checked_mul(width);
            let others_full = series.shards.iter().rev().skip(1).all(|shard| Some(shard.size) == full);
            let total = sizes.clone().try_fold(0u64, u64::checked_add);
            if !others_full || total != series.tokens.checked_mul(width) || Some(sizes.max().unwrap_or(0)) > full {
                return Err(format!("shards do not add up to {} tokens", series.tokens));
            }
            if Some(series.ends.size) != series.documents.checked_mul(16) {
                return Err(format!("{} does not fit {} documents", series.ends.file, series.documents));
            }
            if let Some(file) = series.files().find(|file| file.file.contains(['/', '\\'])) {
                return Err(format!("{:?} is not a file beside it", file.file));
            }
        }
        for span in [Some(self.train), self.validation].into_iter().flatten() {
            let inside = self.series.get(span.series).is_some_and(|series| span.end <= series.tokens);
            if !inside || span.begin > span.end {
                return Err(format!("tokens {}..{} of series {} do not exist", span.begin, span.end, span.series));
            }
        }
        Ok(())
    }
}

impl Series {
    pub(super) fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.shards.iter().chain([&self.ends])
    }
}
