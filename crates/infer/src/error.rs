//! What can go wrong while a model is used.

use std::path::PathBuf;

use bedstone_tensor::TensorError;

/// The result of using a model.
pub type Result<T, E = InferError> = std::result::Result<T, E>;

/// What can go wrong while a model is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// An operation refused its inputs.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The tokenizer.
    #[error("{}{}", .0, hint(.0.hint()))]
    Tokenizer(#[from] bedstone_data::tokenizer::Error),
    /// A setting out of its bounds.
    #[error("{name}: got {got}, wanted {wanted}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        got: String,
        /// Its bounds.
        wanted: String,
    },
    /// Prompt and continuation do not fit the model.
    #[error(
        "prompt {row} has {got} tokens, and {wanted} are to follow: the model takes {limit} in all\nhint: shorten the prompt, or ask for fewer tokens"
    )]
    TooLong {
        /// Number of the prompt.
        row: usize,
        /// Its tokens.
        got: usize,
        /// Tokens asked for.
        wanted: usize,
        /// What the model takes.
        limit: usize,
    },
    /// The model's scores are not numbers.
    #[error(
        "prompt {row}: the scores of token {step} are not numbers\nhint: the weights are damaged; `bedstone eval` and `bedstone inspect` tell more"
    )]
    NotFinite {
        /// Number of the row.
        row: usize,
        /// Tokens added before.
        step: usize,
    },
    /// The tokenizer knows more ids than the model.
    #[error("{}: the tokenizer has {tokens} ids, the model's vocabulary {vocab}\nhint: the tokenizer belongs to another model", path.display())]
    Vocabulary {
        /// The checkpoint.
        path: PathBuf,
        /// Ids of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        vocab: usize,
    },
    /// Nothing to continue.
    #[error("prompt {row} has no tokens\nhint: give some text; this tokenizer has no token that starts a text")]
    EmptyPrompt {
        /// Number of the prompt.
        row: usize,
    },
    /// `generation_config.json` cannot be read.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

fn hint(hint: Option<String>) -> String {
    hint.map(|h| format!("\nhint: {h}")).unwrap_or_default()
}
