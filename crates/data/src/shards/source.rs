//! Text to be tokenised: where it comes from, and what it is to the last byte.

use super::{Error, SourceRecord};
use crate::corpus::{self, Corpus, Piece};
use rayon::prelude::*;
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    time::SystemTime,
};

/// Documents to be tokenised.
pub enum Text<'a> {
    /// From files.
    Corpus(&'a Corpus),
    /// From a generator.
    Documents {
        /// What it is; must name everything that decides the documents: generator, version, seed, size.
        name: String,
        /// The documents in order.
        documents: Box<dyn Iterator<Item = String> + Send + 'a>,
    },
}

/// What validation is done on.
pub enum Validation<'a> {
    /// Nothing.
    None,
    /// Part of the text: see [`super::SplitRule`].
    Split {
        /// One document, or one token, in so many; at least 2.
        one_in: u64,
        /// The seed of the draw.
        seed: u64,
    },
    /// Text of its own.
    Text(Text<'a>),
}

pub(super) type Pieces<'a> = Box<dyn Iterator<Item = Result<Piece, corpus::Error>> + Send + 'a>;

/// What decides the documents of a text.
#[derive(Serialize)]
pub(super) struct Identity {
    /// Field and size of pieces.
    reading: Option<(String, usize)>,
    /// How each source is read, and the hash of its bytes; not where it lies.
    contents: Vec<(String, String)>,
    #[serde(skip)]
    pub(super) records: Vec<SourceRecord>,
    #[serde(skip)]
    stamps: Vec<(u64, Option<SystemTime>)>,
}

impl Text<'_> {
    /// Reads all sources to hash them.
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        let corpus = match self {
            Self::Corpus(corpus) => corpus,
            Self::Documents { name, .. } => {
                let hash = blake3::hash(name.as_bytes()).to_hex().to_string();
                let contents = vec![("generated".to_string(), hash.clone())];
                let records = vec![SourceRecord { path: name.clone(), size: 0, blake3: hash }];
                return Ok(Identity { reading: None, contents, records, stamps: Vec::new() });
            }
        };
        let failed = |path: &Path, source| corpus::Error::Read { path: path.to_path_buf(), source };
        // Before hashing: what changes afterwards is noticed.
        let stamps = corpus.sources().iter().map(|s| stamp(&s.file).map_err(|e| failed(&s.path, e)));
        let stamps = stamps.collect::<Result<_, _>>()?;
        let hashes = corpus.sources().par_iter().map(|s| hash_file(&s.file).map_err(|e| failed(&s.path, e)));
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        let (mut contents, mut records) = (Vec::new(), Vec::new());
        for (source, (size, blake3)) in corpus.sources().iter().zip(hashes) {
            contents.push((source.kind(), blake3.clone()));
            records.push(SourceRecord { path: source.path.display().to_string(), size, blake3 });
        }
        let options = corpus.options();
        let reading = Some((options.field.clone(), options.piece_bytes));
        Ok(Identity { reading, contents, records, stamps })
    }

    /// Fails if a source is not what it was when `identity` was made.
    pub(super) fn check_unchanged(&self, identity: &Identity) -> Result<(), Error> {
        let Self::Corpus(corpus) = self else { return Ok(()) };
        for (source, old) in corpus.sources().iter().zip(&identity.stamps) {
            if stamp(&source.file).ok().as_ref() != Some(old) {
                return Err(Error::Changed { path: source.path.clone() });
            }
        }
        Ok(())
    }

    /// The field of JSON rows, for the manifest.
    pub(super) fn field(&self) -> Option<String> {
        match self {
            Self::Corpus(corpus) => Some(corpus.options().field.clone()),
            Self::Documents { .. } => None,
        }
    }

    /// Whether there are `count` documents.
    pub(super) fn has_documents(&mut self, count: u64) -> Result<bool, Error> {
        match self {
            Self::Corpus(corpus) => Ok(corpus.has_documents(count)?),
            Self::Documents { documents, .. } => {
                let first: Vec<String> = documents.by_ref().take(count as usize).collect();
                let found = first.len() as u64 == count;
                let rest = std::mem::replace(documents, Box::new(std::iter::empty()));
                *documents = Box::new(first.into_iter().chain(rest));
                Ok(found)
            }
        }
    }

    /// The documents, long ones in pieces. Takes them out of a generator.
    pub(super) fn pieces(&mut self) -> Pieces<'_> {
        match self {
            Self::Corpus(corpus) => Box::new(corpus.pieces()),
            Self::Documents { documents, .. } => {
                Box::new(documents.zip(0..).map(|(text, document)| Ok(Piece { document, text, last: true })))
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<(u64, Option<SystemTime>)> {
    let metadata = fs::metadata(path)?;
    // A file system without times still has sizes.
    Ok((metadata.len(), metadata.modified().ok()))
}

/// The size and hash of a file.
///
/// # Errors
///
/// Those of the system.
pub fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        // Read rather than mapped: a file that someone shortens must not end the process.
        if file.by_ref().take(8 << 20).read_to_end(&mut buffer)? == 0 {
            return Ok((hasher.count(), hasher.finalize().to_hex().to_string()));
        }
        hasher.update_rayon(&buffer);
    }
}
