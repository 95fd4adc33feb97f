//! Batches of token windows, in an order that a cursor resumes.
//!
//! ```text
//! mod.rs          Batch, Cursor, errors
//! windows.rs      Windows: shuffled, for training
//! in_order.rs     InOrder: every token once, for evaluation
//! masked.rs       Masked: texts and pairs of texts with masked tokens, for encoders
//! vocabulary.rs   what masking needs to know of a tokenizer
//! permutation.rs  a shuffled order computed by index
//! loader.rs       Loader: batches made ahead by a thread
//! ```

mod in_order;
mod loader;
mod masked;
mod permutation;
mod vocabulary;
mod windows;

pub use in_order::InOrder;
pub use loader::Loader;
pub use masked::{FOLLOWS, MaskOptions, Masked, RANDOM};
pub use permutation::Permutation;
pub use vocabulary::{MissingToken, Vocabulary};
pub use windows::{Options, Windows};

use serde::{Deserialize, Serialize};

/// The label of a place where nothing is to be predicted. No vocabulary has this id.
pub const IGNORE: u32 = u32::MAX;

/// Sequences of `T` tokens and what is to be said of each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[B, T]`.
    pub ids: Vec<u32>,
    /// The token to predict at each place, `[B, T]`; [`IGNORE`] where there is none.
    pub labels: Vec<u32>,
    /// The number of each window in the whole run, `[B]`: key for random numbers that belong to a sample.
    pub samples: Vec<u64>,
    /// The first token of each window in its set, `[B]`: to say which data something happened on.
    pub begins: Vec<u64>,
    /// 1 for tokens of a second text, `[B, T]`; empty where there are no such.
    pub types: Vec<u32>,
    /// Tokens of each sequence before its padding, `[B]`; empty where nothing is padded.
    pub lengths: Vec<u32>,
    /// How the texts of each pair are related, `[B]`: [`FOLLOWS`] or [`RANDOM`]; empty where there are no pairs.
    pub relations: Vec<u32>,
}

/// Batches in an order that a cursor resumes.
pub trait Sampler: Send {
    /// The next `batch` samples; goes over into the next epoch where one ends.
    fn next_batch(&mut self, batch: usize) -> Batch;

    /// What comes next.
    fn cursor(&self) -> Cursor;

    /// Goes on from `cursor`.
    fn seek(&mut self, cursor: Cursor) -> Result<(), Error>;
}

/// How far sampling has come: windows `0..index` of epoch `epoch` are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Times through the set.
    pub epoch: u64,
    /// Windows into this epoch.
    pub index: u64,
}

/// What can go wrong with sampling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer tokens than one window takes.
    #[error("the set has {tokens} tokens, want at least {want} for one window of {length}")]
    TooShort {
        /// Tokens there are.
        tokens: u64,
        /// Tokens needed.
        want: u64,
        /// The length of a window.
        length: usize,
    },
    /// Sequences too short for their special tokens.
    #[error("sequences of {length} tokens, want at least {want}")]
    Length {
        /// Tokens a sequence.
        length: usize,
        /// Tokens needed.
        want: usize,
    },
    /// Pairs need two documents.
    #[error("the set has {documents} documents of two tokens or more, want at least 2 for random next sentences")]
    Documents {
        /// Documents there are.
        documents: usize,
    },
    /// A cursor of other data or another window length.
    #[error("the cursor stands at window {index} of an epoch that has {windows}")]
    Cursor {
        /// Where it stands.
        index: u64,
        /// The windows of an epoch.
        windows: u64,
    },
    /// The thread that makes batches has ended.
    #[error("the thread that makes batches has ended")]
    LoaderEnded,
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooShort { tokens, .. } if *tokens > 1 => {
                format!("give more text, or a sequence length of at most {}", tokens - 1)
            }
            Self::TooShort { .. } => "give more text".into(),
            Self::Length { .. } => "raise train.context".into(),
            Self::Documents { .. } => {
                "give a file a document, or JSON rows; or leave pairs out: --set mask.next_sentence=false".into()
            }
            Self::Cursor { .. } => "resume with the data and sequence length that the run began with".into(),
            Self::LoaderEnded => return None,
        })
    }
}

#[cfg(test)]
mod tests;
