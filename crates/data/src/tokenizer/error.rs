//! What can go wrong with a tokenizer.

use crate::corpus;
use std::{io, path::PathBuf};

/// A tokenizer that cannot be read, used, trained or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the tokenizer cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory without `tokenizer.json`.
    #[error("{}: holds no tokenizer.json", path.display())]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
        /// A SentencePiece model that lies there instead.
        sentencepiece: Option<PathBuf>,
    },
    /// A SentencePiece model, which is not read yet.
    #[error("{}: SentencePiece models are not read yet, only tokenizer.json", path.display())]
    SentencePiece {
        /// The file.
        path: PathBuf,
    },
    /// `tokenizer.json` is not what the `tokenizers` library writes.
    #[error("{}: not a tokenizer: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The first thing that does not fit.
        reason: String,
    },
    /// `tokenizer_config.json` or `special_tokens_map.json` does not fit.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A special token that the vocabulary lacks.
    #[error("{}: {field} is {token:?}, which the vocabulary does not hold", path.display())]
    UnknownSpecial {
        /// The file that names the token.
        path: PathBuf,
        /// `bos_token` and so on.
        field: &'static str,
        /// Its content.
        token: String,
    },
    /// The library refused a text.
    #[error("text cannot be encoded: {reason}; the text begins {start:?}")]
    Encode {
        /// What the library said.
        reason: String,
        /// The first characters of the text.
        start: String,
    },
    /// The library refused ids.
    #[error("{count} ids cannot be decoded: {reason}")]
    Decode {
        /// How many ids there were.
        count: usize,
        /// What the library said.
        reason: String,
    },
    /// A file of the tokenizer cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vocabulary asked for does not hold what must be in it.
    #[error("vocabulary of {got} is too small: special tokens and characters alone need {need}")]
    VocabularyTooSmall {
        /// What was asked for.
        got: usize,
        /// The least that works for this text.
        need: usize,
    },
    /// Nothing to train on.
    #[error("no text to train a tokenizer on")]
    NoText,
    /// The document source failed.
    #[error("{0}")]
    Documents(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `parity.json` cannot be used.
    #[error("{}: {reason}", path.display())]
    Parity {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTokenizer { sentencepiece: Some(path), .. } | Self::SentencePiece { path } => format!(
                "{} is a SentencePiece model; saving it with transformers as a fast tokenizer gives a tokenizer.json",
                path.display()
            ),
            Self::NoTokenizer { .. } => {
                "give a checkpoint directory or a tokenizer.json, or train one with `bedstone tokenizer train`".into()
            }
            Self::UnknownSpecial { token, .. } => format!("add {token:?} to tokenizer.json, or correct the name"),
            Self::VocabularyTooSmall { need, .. } => format!("ask for at least {need}"),
            Self::Documents(e) => return e.downcast_ref::<corpus::Error>()?.hint(),
            _ => return None,
        })
    }
}
