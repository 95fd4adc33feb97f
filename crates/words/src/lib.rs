//! Word2Vec and GloVe: training without the tape, vectors, neighbours.
//!
//! ```text
//! text/       from text to word ids in a mapped file: splitting, counting, phrases
//! word2vec/   CBOW and skip-gram, negative sampling and hierarchical softmax, subword n-grams
//! glove/      co-occurrence counts that go to the disk, and their factorisation
//! run.rs      a run, from recipe to checkpoint: what both have in common
//! vectors/    words with vectors: files in and out, neighbours, analogies, similarities, maps
//! ```
//!
//! What is computed is in `bedstone_kernels::words`. This crate knows no tensors, and does not print.

mod error;
pub mod glove;
pub mod recipe;
pub mod run;
#[cfg(test)]
mod testing;
pub mod text;
pub mod vectors;
pub mod word2vec;

pub use error::{Result, WordsError};
pub use run::{Report, Request};
pub use text::Text;
pub use vectors::Vectors;
