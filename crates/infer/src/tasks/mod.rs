//! What encoders are used for: one file a task, and what they share.
//!
//! ```text
//! mod.rs        EncoderModel, Encoder: a model with its tokenizer
//! batch.rs      many texts through a model without padding
//! labels.rs     names of classes
//! embed/        texts to vectors, sentence-transformers' files
//! fill.rs       masked words
//! classify.rs   labels of texts
//! tag/          labels of tokens and words, spans
//! answer/       the place of an answer in a text
//! vision.rs     classes of pictures, objects in them, vectors of them
//! detected.rs   which of a detector's boxes are objects
//! draw.rs       boxes with labels on a picture
//! ```

pub mod answer;
pub mod batch;
pub mod classify;
pub mod detected;
pub mod draw;
pub mod embed;
pub mod fill;
mod labels;
pub mod tag;
pub mod vision;

use std::path::{Path, PathBuf};

use bedstone_data::tokenizer::Tokenizer;
use bedstone_models::{Class, LoadReport, Model};

pub use labels::Labels;

use crate::{InferError, Result, Runtime};

/// An encoder with its tokenizer, loaded from a checkpoint directory.
pub struct EncoderModel {
    /// The model.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it is run.
    pub runtime: Runtime,
    /// Where it came from, for messages.
    pub path: PathBuf,
}

impl EncoderModel {
    /// Loads a checkpoint directory; the report says which of its tensors have no use.
    pub fn load(dir: &Path, runtime: Runtime) -> Result<(Self, LoadReport)> {
        let (model, report) = bedstone_models::load(dir)?;
        Ok((Self::new(model, dir, runtime)?, report))
    }

    /// With the tokenizer in the checkpoint directory `dir`.
    pub fn new(model: Model, dir: &Path, runtime: Runtime) -> Result<Self> {
        let tokenizer = Tokenizer::load(dir)?;
        let (tokens, vocab) = (tokenizer.vocab_size(), model.info().vocab_size);
        if tokens > vocab {
            return Err(InferError::Vocabulary { path: dir.to_owned(), tokens, vocab });
        }
        Ok(EncoderModel { model, tokenizer, runtime, path: dir.to_owned() })
    }

    /// What tasks take.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(&self.model, &self.tokenizer, self.runtime)
    }
}

/// An encoder as tasks use it: during training too, where somebody else holds the model.
#[derive(Clone, Copy)]
pub struct Encoder<'m> {
    /// The model.
    pub model: &'m Model,
    /// Its tokenizer.
    pub tokenizer: &'m Tokenizer,
    /// How it is run.
    pub runtime: Runtime,
    /// Tokens that go through the model at a time; memory grows with it.
    pub batch_tokens: usize,
}

/// Enough rows to fill the products, few enough for activations to stay near the processor.
const BATCH_TOKENS: usize = 4096;

impl<'m> Encoder<'m> {
    /// With the usual number of tokens a batch.
    pub fn new(model: &'m Model, tokenizer: &'m Tokenizer, runtime: Runtime) -> Self {
        Encoder { model, tokenizer, runtime, batch_tokens: BATCH_TOKENS }
    }

    /// Tokens of the longest input, special ones included.
    pub fn max_length(&self) -> usize {
        let model = self.model.info().max_length.unwrap_or(usize::MAX);
        self.tokenizer.model_max_length().unwrap_or(usize::MAX).min(model)
    }

    /// An error that names the command that serves the model, unless it is of one of these classes.
    pub fn need(&self, task: &'static str, classes: &[Class]) -> Result<()> {
        let class = self.model.class();
        if classes.contains(&class) {
            return Ok(());
        }
        let path = self.model.config().path().parent().unwrap_or(Path::new(".")).to_owned();
        let got = self.model.class_name();
        let learns = classes.iter().any(|&class| self.model.architecture().class_name(class).is_some());
        let learn = (learns && ["classify", "tag", "answer"].contains(&task)).then_some(task);
        Err(InferError::OtherClass { path, task, got, command: command_of(class), learn })
    }
}

/// The command that serves models of a class.
pub fn command_of(class: Class) -> &'static str {
    match class {
        Class::CausalLm => "generate",
        Class::MaskedLm | Class::PreTraining => "fill",
        Class::SequenceClassification => "classify",
        Class::TokenClassification => "tag",
        Class::QuestionAnswering => "answer",
        Class::ImageClassification | Class::DistilledImageClassification => "classify",
        Class::ObjectDetection => "detect",
        Class::MaskedImage => "finetune",
        _ => "embed",
    }
}

/// An error that names the first text without anything but white space.
fn no_empty_text<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<()> {
    match texts.into_iter().position(|text| text.trim().is_empty()) {
        Some(row) => Err(InferError::EmptyText { row }),
        None => Ok(()),
    }
}

/// `x` becomes `e^x / Σ e^x`.
fn softmax(x: &mut [f32]) {
    let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|x| *x = (*x - top).exp());
    let sum: f32 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= sum);
}

/// Places of the `k` largest numbers, the largest first; of equal ones the first comes first.
fn top_k(x: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    let by = |&a: &usize, &b: &usize| x[b].total_cmp(&x[a]).then(a.cmp(&b));
    if k < order.len() {
        order.select_nth_unstable_by(k, by);
        order.truncate(k);
    }
    order.sort_by(by);
    order
}
