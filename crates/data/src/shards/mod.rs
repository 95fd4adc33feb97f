//! Token ids in mapped files, kept by content: the second run starts at once, and a corpus may be larger than memory.
//!
//! ```text
//! mod.rs       Shards: open and verify a directory
//! build.rs     Build: documents to a directory of shards
//! source.rs    text from a corpus or a generator, and its content hash
//! split.rs     which documents are for validation
//! write.rs     shards, hashed while they are written
//! marks.rs     which byte of the text a token ends at
//! manifest.rs  manifest.json
//! cache.rs     the cache directory, shared by programs
//! set.rs       TokenSet: tokens of a split
//! ```
//!
//! A directory is named by a hash of everything that decides its tokens: the content of the sources, the field, the
//! tokenizer, the split. The sources are hashed again at each start, which takes less than half a second a gigabyte once
//! the system has them in memory; sizes and times would not notice every change.

mod build;
mod cache;
mod error;
mod manifest;
mod marks;
mod set;
mod source;
mod split;
mod write;

pub use build::Build;
pub use cache::{cache_dir, default_cache_dir};
pub use error::Error;
pub use manifest::{FileRecord, Manifest, Series, SourceRecord, Span};
pub use set::TokenSet;
pub use source::{Text, Validation, hash_file};
pub use split::{ONE_IN, SPLIT_SEED, SplitRule, training_texts};

use set::Files;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Checksums are verified at each start up to this size, where it takes a few hundredths of a second.
const VERIFY_AT_OPEN: u64 = 64 << 20;

/// Tokens for training and for validation.
#[derive(Clone)]
pub struct Shards {
    /// The directory that holds them.
    pub dir: PathBuf,
    /// How they came to be.
    pub origin: Origin,
    /// What they hold.
    pub manifest: Manifest,
    /// What is for training.
    pub train: TokenSet,
    /// What is for validation, unless nothing is.
    pub validation: Option<TokenSet>,
}

/// How shards came to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They were made now.
    Built,
    /// An earlier run made them.
    Reused,
    /// Those of an earlier run were damaged, and were made again.
    Rebuilt {
        /// What was wrong.
        reason: String,
    },
}

impl Shards {
    /// Opens the shards in `dir`. Sizes are always compared with the manifest, checksums if the files are small; see
    /// [`Shards::verify`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, |size| size <= VERIFY_AT_OPEN)
    }

    /// Compares all checksums with the manifest.
    pub fn verify(&self) -> Result<(), Error> {
        Self::open_with(&self.dir, |_| true).map(drop)
    }

    fn open_with(dir: &Path, verify: impl Fn(u64) -> bool) -> Result<Self, Error> {
        let manifest = Manifest::read(dir)?;
        let size = manifest.series.iter().flat_map(Series::files).map(|file| file.size).sum();
        let open = |series| Files::open(dir, &manifest, series, verify(size)).map(Arc::new);
        let files = manifest.series.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let set = |span: Span| TokenSet::new(files[span.series].clone(), span);
        let (train, validation) = (set(manifest.train), manifest.validation.map(set));
        Ok(Self { dir: dir.to_path_buf(), origin: Origin::Reused, manifest, train, validation })
    }
}

fn hash_bytes(bytes: &[u8]) -> String {
    blake3::Hasher::new().update_rayon(bytes).finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests;
