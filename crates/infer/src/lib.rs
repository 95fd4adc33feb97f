//! Decoding: cache, sampling, beams, batches, streaming.

mod config;
mod error;
mod generate;

pub use config::{EarlyStopping, GenerationConfig};
pub use error::{InferError, Result};
pub use generate::{Finish, Generated, Runtime, generate};
