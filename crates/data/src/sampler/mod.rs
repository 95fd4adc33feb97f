//! Batches of token windows, in an order that a cursor resumes.
//!
//! ```text
//! mod.rs          Batch, Cursor, errors
//! windows.rs      Windows: shuffled, for training
//! in_order.rs     InOrder: every token once, for evaluation
//! permutation.rs  a shuffled order computed by index
//! loader.rs       Loader: batches made ahead by a thread
//! ```

mod in_order;
mod loader;
mod permutation;
mod windows;

pub use in_order::InOrder;
pub use loader::Loader;
pub use permutation::Permutation;
pub use windows::{Options, Windows};

use serde::{Deserialize, Serialize};

/// The label of a place where nothing is to be predicted. No vocabulary has this id.
pub const IGNORE: u32 = u32::MAX;

/// Windows of `T` tokens and what follows each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[B, T]`.
    pub ids: Vec<u32>,
    /// The token after each one, `[B, T]`; [`IGNORE`] for padding.
    pub labels: Vec<u32>,
    /// The number of each window in the whole run, `[B]`: key for random numbers that belong to a sample.
    pub samples: Vec<u64>,
    /// The first token of each window in its set, `[B]`: to say which data something happened on.
    pub begins: Vec<u64>,
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
            Self::Cursor { .. } => "resume with the data and sequence length that the run began with".into(),
            Self::LoaderEnded => return None,
        })
    }
}

#[cfg(test)]
mod tests;
