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
    /// Pictures.
    #[error("{}{}", .0, hint(.0.hint()))]
    Pictures(Box<bedstone_data::pictures::Error>),
    /// A checkpoint.
    #[error(transparent)]
    Model(#[from] bedstone_models::ModelError),
    /// Files of weights.
    #[error(transparent)]
    Files(#[from] bedstone_models::checkpoint::Error),
    /// A configuration.
    #[error(transparent)]
    ConfigFile(#[from] bedstone_models::checkpoint::ConfigError),
    /// A model of another class than a task needs.
    #[error("{}: `{got}` cannot {task}\nhint: `bedstone {command}` serves this model{}", path.display(), teaching(*learn))]
    OtherClass {
        /// The checkpoint.
        path: PathBuf,
        /// What was asked for.
        task: &'static str,
        /// Its class.
        got: &'static str,
        /// The command for it.
        command: &'static str,
        /// The task of `finetune` that makes a model of the class from it, if there is one.
        learn: Option<&'static str>,
    },
    /// A tokenizer without a token that a task needs.
    #[error("the tokenizer has no {role} token, which `{task}` needs")]
    NoToken {
        /// The task.
        task: &'static str,
        /// The role.
        role: &'static str,
    },
    /// A text of white space.
    #[error("text {row} is empty")]
    EmptyText {
        /// Number of the text.
        row: usize,
    },
    /// A text without a place to fill.
    #[error("text {row} has no {mask}: {start:?}\nhint: write {mask} where a word is to be guessed")]
    NoMask {
        /// Number of the text.
        row: usize,
        /// The token.
        mask: String,
        /// How the text begins.
        start: String,
    },
    /// A text that is longer than the model, where nothing may be cut off.
    #[error("text {row} has {got} tokens, the model takes {limit}")]
    TextTooLong {
        /// Number of the text.
        row: usize,
        /// Its tokens.
        got: usize,
        /// What the model takes.
        limit: usize,
    },
    /// A text that gives no token at all.
    #[error("text {row} has no tokens")]
    NoTokens {
        /// Number of the text.
        row: usize,
    },
    /// The model's results are not numbers.
    #[error(
        "text {row}: the model's results are not numbers\nhint: the weights are damaged; `bedstone inspect` tells more"
    )]
    NotNumbers {
        /// Number of the text.
        row: usize,
    },
    /// A file that cannot be written.
    #[error("{}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
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

/// How a model is made to do a task.
fn teaching(task: Option<&str>) -> String {
    task.map(|task| format!("; `bedstone finetune --task {task}` makes one of it that can")).unwrap_or_default()
}

fn hint(hint: Option<String>) -> String {
    hint.map(|h| format!("\nhint: {h}")).unwrap_or_default()
}

impl From<bedstone_data::pictures::Error> for InferError {
    fn from(error: bedstone_data::pictures::Error) -> Self {
        InferError::Pictures(Box::new(error))
    }
}
