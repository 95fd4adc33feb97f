//! Why training stopped.

use std::path::PathBuf;

use bedstone_data::{corpus, sampler, shards, tokenizer};
use bedstone_infer::InferError;
use bedstone_models::{ModelError, checkpoint};
use bedstone_run as run;
use bedstone_tensor::{IsaError, TensorError};

/// The result of training.
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The recipe, the run directory, the log, …
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The text.
    #[error("{}{}", .0, hint(.0.hint()))]
    Corpus(corpus::Error),
    /// The shards of tokens.
    #[error("{}{}", .0, hint(.0.hint()))]
    Shards(shards::Error),
    /// The sampler.
    #[error("{}{}", .0, hint(.0.hint()))]
    Sampler(sampler::Error),
    /// The tokenizer.
    #[error("{}{}", .0, hint(.0.hint()))]
    Tokenizer(tokenizer::Error),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Files of weights.
    #[error(transparent)]
    Files(#[from] checkpoint::Error),
    /// An operation.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Using the model.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Instructions that are not there.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// A pattern of parameters that cannot be frozen.
    #[error("freeze `{pattern}`: {reason}")]
    Freeze {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A module that LoRA cannot adapt.
    #[error("lora.target_modules `{module}`: {reason}")]
    Lora {
        /// What was named.
        module: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Pictures.
    #[error("{}{}", .0, hint(pictures_hint(.0)))]
    Pictures(Box<bedstone_data::pictures::Error>),
    /// Labelled data.
    #[error("{}{}", .0, hint(labelled_hint(.0)))]
    Labelled(Box<bedstone_data::labelled::Error>),
    /// Metrics.
    #[error(transparent)]
    Metric(#[from] bedstone_infer::metrics::MetricError),
    /// Data that a task cannot use.
    #[error("{what}: got {got}, wanted {wanted}\nhint: {hint}")]
    Examples {
        /// Which data.
        what: String,
        /// What there is.
        got: String,
        /// What it has to be.
        wanted: String,
        /// What to do.
        hint: String,
    },
    /// A tokenizer without the tokens that masking needs.
    #[error(transparent)]
    MissingToken(#[from] bedstone_data::sampler::MissingToken),
    /// The loss or its gradient is not a finite number.
    #[error(
        "step {step}: the {what} is {value}\n  data: {data}\nhint: the checkpoint of step {checkpoint} is whole; lower train.lr, raise train.warmup, or look at the data named here"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// Loss or norm of the gradient.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Which data.
        data: String,
        /// The last checkpoint.
        checkpoint: u64,
    },
    /// The same, before any checkpoint.
    #[error(
        "step {step}: the {what} is {value}\n  data: {data}\nhint: there is no checkpoint yet; lower train.lr, raise train.warmup, or look at the data named here"
    )]
    NotFiniteFresh {
        /// The step.
        step: u64,
        /// Loss or norm of the gradient.
        what: &'static str,
        /// Its value.
        value: f64,
        /// Which data.
        data: String,
    },
    /// A resumed run would not give the bits of an undisturbed one.
    #[error("{}: cannot go on with the same bits: {what}\nhint: {hint}", path.display())]
    OtherBits {
        /// The run.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The tokenizer knows more ids than the model.
    #[error(
        "the tokenizer has {tokens} ids, the model's vocabulary {vocab}\nhint: take the tokenizer of the checkpoint, or set model.vocab_size"
    )]
    Vocabulary {
        /// Ids of the tokenizer.
        tokens: usize,
        /// Rows of the embedding.
        vocab: usize,
    },
    /// The model is shorter than the sequences.
    #[error(
        "train.context is {context}, the model takes {limit} tokens\nhint: lower train.context, or train a model with more positions"
    )]
    Context {
        /// Tokens a sequence.
        context: usize,
        /// What the model takes.
        limit: usize,
    },
    /// Word vectors that cannot begin the embedding.
    #[error("train.init_embeddings: {}{reason}", prefix(path, reason))]
    Embeddings {
        /// The vectors.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Word vectors of another width than the embedding's.
    #[error(
        "{}: vectors have {got} dimensions, the embedding {wanted}\nhint: set the width of the model (model.n_embd, model.hidden_size) to {got}, or train vectors with --set model.vector_size={wanted}", path.display()
    )]
    EmbeddingWidth {
        /// The vectors.
        path: PathBuf,
        /// Their dimensions.
        got: usize,
        /// The embedding's.
        wanted: usize,
    },
    /// The user wants no more, before there is anything to keep.
    #[error("interrupted")]
    Interrupted,
    /// A checkpoint that the recipe names is not to be had.
    #[error(transparent)]
    Locate(Box<dyn std::error::Error + Send + Sync>),
    /// More memory than there is.
    #[error("the run needs about {} of memory, {} are available\nhint: lower train.micro_batch, train.context of texts, model.image_size (in finetune train.image_size) of pictures, or the size of the model", bedstone_run::units::bytes(*.needs), bedstone_run::units::bytes(*.has))]
    Memory {
        /// Bytes planned.
        needs: u64,
        /// Bytes available.
        has: u64,
    },
    /// The state of an earlier run is damaged.
    #[error("{}: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl TrainError {
    /// A run that has come to nothing, with the checkpoint to go on from if there is one.
    pub(crate) fn not_finite(what: &'static str, value: f64, step: u64, data: String, checkpoint: Option<u64>) -> Self {
        match checkpoint {
            Some(checkpoint) => TrainError::NotFinite { step, what, value, data, checkpoint },
            None => TrainError::NotFiniteFresh { step, what, value, data },
        }
    }

    /// Whether a run that ends so before its first checkpoint has nothing that anyone would look at or go on with: its data or its
    /// settings are wrong.
    pub(crate) fn refuses(&self) -> bool {
        !matches!(self, TrainError::Run(_) | TrainError::NotFinite { .. } | TrainError::NotFiniteFresh { .. })
    }
}

/// The path, where the reason does not begin with it.
fn prefix(path: &std::path::Path, reason: &str) -> String {
    let path = path.display().to_string();
    if reason.starts_with(&path) { String::new() } else { format!("{path}: ") }
}

/// With the recipe's key for a column that was not found.
fn labelled_hint(error: &bedstone_data::labelled::Error) -> Option<String> {
    use bedstone_data::labelled::Error::NoColumn;
    let NoColumn { role, asked: None, .. } = error else { return error.hint() };
    let key = match *role {
        "text" | "words" | "anchor" => "data.text",
        "second text" | "positive" => "data.pair",
        "label" | "tags" => "data.label",
        "picture" => "data.picture",
        _ => return error.hint(),
    };
    let set = format!("--set {key}=NAME");
    Some(error.hint().map_or_else(|| set.clone(), |hint| format!("{hint}: {set}")))
}

/// With the recipe's key for what was not found.
fn pictures_hint(error: &bedstone_data::pictures::Error) -> Option<String> {
    use bedstone_data::{
        labelled::Error::{Header, Unclear},
        pictures::Error::{Labels, Missing},
    };
    match error {
        Labels(Header { .. } | Unclear { .. }) => {
            error.hint().map(|hint| format!("{hint}: --set data.picture=NAME --set data.label=NAME"))
        }
        Labels(error) => labelled_hint(error),
        Missing { place, .. } if place.contains(".json,") => {
            error.hint().map(|hint| format!("{hint}; that of a COCO .json is named by --set data.images=DIR"))
        }
        _ => error.hint(),
    }
}

fn hint(hint: Option<String>) -> String {
    hint.map(|h| format!("\nhint: {h}")).unwrap_or_default()
}

macro_rules! from {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for TrainError {
            fn from(e: $type) -> Self {
                TrainError::$variant(e)
            }
        })*
    };
}
from!(Corpus(corpus::Error), Sampler(sampler::Error), Tokenizer(tokenizer::Error));

impl From<shards::Error> for TrainError {
    fn from(e: shards::Error) -> Self {
        if matches!(e, shards::Error::Interrupted) { TrainError::Interrupted } else { TrainError::Shards(e) }
    }
}

macro_rules! from_run {
    ($($type:ty),*) => {
        $(impl From<$type> for TrainError {
            fn from(e: $type) -> Self {
                TrainError::Run(e.into())
            }
        })*
    };
}
from_run!(
    run::recipe::RecipeError,
    run::dir::DirError,
    run::log::LogError,
    run::curve::CurveError,
    run::space::SpaceError,
    run::files::FileError
);

impl From<bedstone_data::pictures::Error> for TrainError {
    fn from(error: bedstone_data::pictures::Error) -> Self {
        TrainError::Pictures(Box::new(error))
    }
}

impl From<bedstone_data::labelled::Error> for TrainError {
    fn from(error: bedstone_data::labelled::Error) -> Self {
        TrainError::Labelled(Box::new(error))
    }
}
