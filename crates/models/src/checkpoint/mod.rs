//! Hugging Face checkpoint directories: weights in and out, and `config.json`.
//!
//! [`WeightFiles`] reads `model.safetensors` and `pytorch_model.bin`, whole or in shards, mapped into memory; nothing
//! that a file contains is executed. [`write_safetensors`] writes. [`ConfigFile`] reads `config.json`; what has had
//! several spellings over the years ([`RopeSpec`]) is brought into one form here, so that no architecture needs to
//! know them.

pub mod config;
mod dtype;
mod error;
mod files;
mod index;
mod machine;
mod pickle;
mod resolve;
pub mod rope;
mod safetensors;
mod torch;
mod weight;
mod write;

pub use config::{ConfigError, ConfigFile};
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use files::{Format, WeightFiles};
pub use resolve::{DtypeCount, Summary};
pub use rope::{RopeKind, RopeParameters, RopeSpec};
pub use weight::Weight;
pub use write::{DEFAULT_SHARD_LIMIT, NamedTensor, TensorData, write_safetensors, write_safetensors_file};
