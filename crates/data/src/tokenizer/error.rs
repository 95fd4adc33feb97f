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
    /// A directory without a tokenizer.
    #[error(
        "{}: holds no tokenizer, wanted tokenizer.json, a SentencePiece model, vocab.txt, or vocab.json and merges.txt",
        path.display()
    )]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
    },
    /// A SentencePiece model that is broken, or of a kind that is not served.
    #[error("{}: not a SentencePiece model that can be used: {reason}", path.display())]
    SentencePiece {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// A class that does not go with its files, or that is not known.
    #[error("{}: got the class {class}, want one of {}", path.display(), known.join(", "))]
    Class {
        /// The vocabulary.
        path: PathBuf,
        /// `tokenizer_class`, or what stands for `model_type`.
        class: String,
        /// Classes that this vocabulary serves.
        known: &'static [&'static str],
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
    /// A window without room for the text that it is to move over.
    #[error(
        "windows of {max_length} tokens leave {room} for the text beside {added} special tokens and {other} of the \
         other text, want more than the stride of {stride}"
    )]
    WindowTooSmall {
        /// Tokens of a window.
        max_length: usize,
        /// Special tokens in it.
        added: usize,
        /// Tokens of the text that is not cut.
        other: usize,
        /// What is left.
        room: usize,
        /// Tokens that windows share.
        stride: usize,
    },
    /// Truncation of a second text where there is one text only.
    #[error("only the second text may be cut, and there is no second text")]
    NoSecondText,
    /// Words for a tokenizer that tells words apart by the space before them.
    #[error("words cannot be encoded one by one: this tokenizer puts no space before a word")]
    WordsNeedSpaces,
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
            Self::NoTokenizer { .. } => {
                "give a checkpoint directory or a tokenizer.json, or train one with `bedstone tokenizer train`".into()
            }
            Self::Class { .. } => {
                "saving it with transformers as a fast tokenizer gives a tokenizer.json, which is read".into()
            }
            Self::UnknownSpecial { token, .. } => format!("add {token:?} to tokenizer.json, or correct the name"),
            Self::WindowTooSmall { .. } => {
                "give a larger length or a smaller stride, or let the longer text be cut".into()
            }
            Self::WordsNeedSpaces => "set add_prefix_space, as transformers asks for too".into(),
            Self::VocabularyTooSmall { need, .. } => format!("ask for at least {need}"),
            Self::Documents(e) => return e.downcast_ref::<corpus::Error>()?.hint(),
            _ => return None,
        })
    }
}
