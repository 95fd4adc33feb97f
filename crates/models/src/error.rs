//! Why a model could not be made.

use std::path::PathBuf;

use bedstone_nn::NnError;
use bedstone_tensor::TensorError;

use crate::{ARCHITECTURES, checkpoint};

/// Why a model could not be made, loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// `config.json`.
    #[error(transparent)]
    Config(#[from] checkpoint::ConfigError),
    /// The files of weights.
    #[error(transparent)]
    Files(#[from] checkpoint::Error),
    /// Layers.
    #[error(transparent)]
    Layers(#[from] NnError),
    /// Operations.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An architecture that is not there.
    #[error("{}: model_type `{model_type}` is not known here\nhint: {}", path.display(), known(model_type))]
    Unknown {
        /// The configuration.
        path: PathBuf,
        /// Its model type.
        model_type: String,
    },
    /// An architecture with another head.
    #[error("{}: class `{class}` is not known here, wanted `{wanted}`", path.display())]
    UnknownClass {
        /// The configuration.
        path: PathBuf,
        /// Its class.
        class: String,
        /// The classes that are known for its model type.
        wanted: String,
    },
    /// A tensor that the configuration needs is not in the files.
    #[error("{}: tensor `{name}` is missing{}", path.display(), near(hint))]
    Missing {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The nearest names there are.
        hint: Vec<String>,
    },
    /// A tensor of another shape than the configuration's.
    #[error("{}: tensor `{name}` has shape {got:?}, config needs {want:?}", path.display())]
    Shape {
        /// The checkpoint or file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// The shape that the configuration asks for.
        want: Vec<usize>,
    },
    /// An adapter that cannot be applied.
    #[error("{}: got {got}, wanted {wanted}", path.display())]
    Adapter {
        /// Its configuration.
        path: PathBuf,
        /// What there is.
        got: String,
        /// What it has to be.
        wanted: String,
    },
    /// Writing failed.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

fn known(model_type: &str) -> String {
    if matches!(model_type, "word2vec" | "glove") {
        return "these are word vectors, for similar, analogy, map, convert, eval --task analogy|similarity and --init-embeddings".into();
    }
    let known = ARCHITECTURES.iter().map(|a| a.model_type).collect::<Vec<_>>().join(", ");
    format!("known are {known}")
}

fn near(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("\nhint: there are `{}`", names.join("`, `")) }
}
