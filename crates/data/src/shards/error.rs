//! What can go wrong with shards.

use crate::{corpus, tokenizer};
use std::{io, path::PathBuf};

/// Shards that cannot be built or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] corpus::Error),
    /// Whoever follows the progress wants no more.
    #[error("interrupted")]
    Interrupted,
    /// The tokenizer refused a text.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// The tokenizer has no token to end a document with.
    #[error("the tokenizer names no end-of-text token")]
    NoDocumentEnd,
    /// No document, or documents without a token.
    #[error("the corpus holds {tokens} tokens, want at least {want}")]
    TooFewTokens {
        /// Tokens there are.
        tokens: u64,
        /// Tokens needed.
        want: u64,
    },
    /// A file changed between hashing and reading it.
    #[error("{}: changed while it was being read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory of the cache cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the shards cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the shards is not what the manifest says, or the manifest is broken.
    #[error("{}: damaged shards: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nowhere to keep shards.
    #[error("no cache directory: neither BEDSTONE_CACHE nor XDG_CACHE_HOME nor HOME is set")]
    NoCache,
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Corpus(e) => return e.hint(),
            Self::Tokenizer(e) => return e.hint(),
            Self::NoDocumentEnd => "name an `eos_token` in the tokenizer_config.json beside tokenizer.json".into(),
            Self::Damaged { path, .. } => {
                let folder = path.parent().unwrap_or(path);
                format!("delete {}; it is built again from the corpus", folder.display())
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free disk space, or set BEDSTONE_CACHE to a larger disk".into()
            }
            Self::NoCache => "set BEDSTONE_CACHE to a directory".into(),
            _ => return None,
        })
    }
}
