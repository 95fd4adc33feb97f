//! Architectures, one file each, and Hugging Face checkpoints.
//!
//! A new architecture is a file with its configuration, its layers and its `forward`, and a line in [`ARCHITECTURES`];
//! the tests of the zoo cover it from then on.

mod causal;
pub mod checkpoint;
mod decoder;
mod error;
mod gemma3;
mod gpt2;
mod head;
mod llama;
mod load;
mod mistral;
mod model;
mod qwen2;
mod qwen3;

pub use error::ModelError;
pub use load::{LoadReport, load, load_with, save};
pub use model::{Info, Inputs, Logits, Model, Network, Outputs};

use bedstone_nn::Builder;
use checkpoint::ConfigFile;

/// An architecture that is known here.
#[derive(Debug)]
pub struct Architecture {
    /// As in `config.json`.
    pub model_type: &'static str,
    /// The class of `transformers` that saves such checkpoints.
    pub class: &'static str,
    /// What names begin with, which checkpoints of the base model lack.
    pub base_prefix: &'static str,
    /// Makes its layers.
    pub build: Build,
    /// A configuration for tests, as JSON.
    pub tiny: &'static str,
}

/// Makes the layers of a configuration.
pub type Build = fn(&ConfigFile, Builder<'_>) -> Result<Box<dyn Network>, ModelError>;

/// All architectures.
pub const ARCHITECTURES: &[Architecture] = &[
    gpt2::ARCHITECTURE,
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    gemma3::ARCHITECTURE,
];

impl Architecture {
    /// By its `model_type`.
    pub fn by_model_type(model_type: &str) -> Option<&'static Architecture> {
        ARCHITECTURES.iter().find(|a| a.model_type == model_type)
    }

    /// The one that a configuration names.
    pub fn of(config: &ConfigFile) -> Result<&'static Architecture, ModelError> {
        let model_type = config.model_type()?;
        let unknown = || ModelError::Unknown { path: config.path().to_owned(), model_type: model_type.to_owned() };
        let architecture = Self::by_model_type(model_type).ok_or_else(unknown)?;
        let classes = config.architectures()?;
        // A checkpoint with another head has weights that this one would leave out in silence.
        let base = |class: &str| class.ends_with("Model") && !class.ends_with("HeadModel");
        match classes.iter().find(|c| **c != architecture.class && !base(c)) {
            Some(class) => Err(ModelError::UnknownClass {
                path: config.path().to_owned(),
                class: (*class).to_owned(),
                wanted: architecture.class,
            }),
            None => Ok(architecture),
        }
    }
}

#[cfg(test)]
mod zoo;
