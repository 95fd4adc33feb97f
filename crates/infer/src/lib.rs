//! Decoding: cache, sampling, beams, batches, streaming; what encoders are used for; metrics.

mod config;
mod error;
mod generate;
pub mod metrics;
pub mod tasks;
mod text;

pub use config::{EarlyStopping, GenerationConfig};
pub use error::{InferError, Result};
pub use generate::{Finish, Generated, Runtime, generate};
pub use text::{Completion, TextModel};

// The README's example is compiled like every other.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
