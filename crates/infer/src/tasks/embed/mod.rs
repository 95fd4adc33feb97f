//! Texts to vectors.
//!
//! The layout of sentence-transformers is read and written: an encoder, a pooling of its states, and what follows.

mod layout;
mod pool;
mod save;

pub use layout::{Module, SentenceConfig};
pub use pool::Pooling;
pub use save::save_sentence_transformer;

use std::path::Path;

use bedstone_data::tokenizer::{Special, Tokenizer};
use bedstone_models::{Architecture, Class, LoadReport, checkpoint::ConfigFile, load_with};
use bedstone_tensor::Tensor;
use rayon::prelude::*;

use super::{
    Encoder, EncoderModel,
    batch::{self, Forward, Row},
};
use crate::{Result, Runtime};

/// An encoder with what makes vectors of its states.
///
/// ```no_run
/// # fn f(runtime: bedstone_infer::Runtime) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::embed::SentenceEncoder;
/// let (encoder, _) = SentenceEncoder::load(std::path::Path::new("all-MiniLM-L6-v2"), runtime)?;
/// let vectors = encoder.embed(&["A man plays.", "Somebody makes music."], None)?;
/// println!("{} numbers each, the first is {}", vectors.width, vectors.row(0)[0]);
/// # Ok(()) }
/// ```
pub struct SentenceEncoder {
    /// The encoder.
    pub model: EncoderModel,
    /// What follows it.
    pub config: SentenceConfig,
}

/// Vectors of texts, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// All numbers, row by row.
    pub data: Vec<f32>,
    /// Numbers a row.
    pub width: usize,
    /// Numbers of the texts of which the end did not fit the model and was cut off.
    pub truncated: Vec<usize>,
}

impl Embeddings {
    /// Texts.
    pub fn len(&self) -> usize {
        self.data.len() / self.width.max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The vector of a text.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..(i + 1) * self.width]
    }
}

impl SentenceEncoder {
    /// Loads a checkpoint directory; where it has no `modules.json`, with the mean of the states. The body of a model with
    /// a head will do: the report names the head's tensors as unused.
    pub fn load(dir: &Path, runtime: Runtime) -> Result<(Self, LoadReport)> {
        let folder = SentenceConfig::encoder_folder(dir)?;
        let mut file = ConfigFile::open(&folder)?;
        let (architecture, _) = Architecture::of(&file)?;
        if architecture.class_name(Class::Base).is_some() {
            let mut fields = file.fields().clone();
            fields.insert("architectures".into(), architecture.class_name(Class::Base).map(|name| vec![name]).into());
            file = ConfigFile::new(file.path(), fields);
        }
        let (model, report) = load_with(&folder, file)?;
        let config = SentenceConfig::open(dir, model.info().width)?;
        Ok((Self::new(EncoderModel::new(model, &folder, runtime)?, config)?, report))
    }

    /// With another configuration.
    pub fn new(model: EncoderModel, config: SentenceConfig) -> Result<Self> {
        model.encoder().need("embed", &[Class::Base])?;
        config.check(model.model.info().width)?;
        Ok(SentenceEncoder { model, config })
    }

    /// Vectors of the texts, each with `prompt` before it.
    ///
    /// A text that is longer than the model is cut, and its number noted.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T], prompt: Option<&str>) -> Result<Embeddings> {
        embed(self.model.encoder(), &self.config, texts, prompt)
    }
}

/// Vectors of the texts, each with `prompt` before it; see [`SentenceEncoder::embed`].
pub fn embed<T: AsRef<str> + Sync>(
    encoder: Encoder<'_>,
    config: &SentenceConfig,
    texts: &[T],
    prompt: Option<&str>,
) -> Result<Embeddings> {
    let limit = config.max_seq_length.unwrap_or(usize::MAX).min(encoder.max_length());
    let prompt = prompt.unwrap_or_default();
    let tokens: Vec<(Row, bool)> = texts
        .par_iter()
        .map(|text| tokens(encoder.tokenizer, config, &[prompt, text.as_ref()].concat(), limit))
        .collect::<Result<_>>()?;
    let truncated = (0..tokens.len()).filter(|&i| tokens[i].1).collect();
    let rows: Vec<Row> = tokens.into_iter().map(|(row, _)| row).collect();
    let skipped = prompt_tokens(encoder, config, prompt, limit)?;
    let (data, width) = vectors(encoder, config, &rows, skipped)?;
    Ok(Embeddings { data, width, truncated })
}

/// The vectors of rows of tokens, one after another, and how wide they are. The first `skipped` tokens, those of a prompt
/// that is not pooled, take no part.
///
/// # Errors
///
/// If the model's results are not numbers, which names the row.
pub fn vectors<'m>(
    model: impl Into<Forward<'m>>,
    config: &SentenceConfig,
    rows: &[Row],
    skipped: usize,
) -> Result<(Vec<f32>, usize)> {
    let model = model.into();
    let c = model.model.info().width;
    let width = config.pooling().len() * c;
    let mut pooled = Tensor::zeros::<f32>([rows.len(), width]);
    let data = pooled.f32s_mut();
    batch::forward(model, rows, ["last_hidden_state"], |row, [states]| {
        config.pool(states, c, skipped, &mut data[row * width..(row + 1) * width]);
        Ok(())
    })?;
    let out = config.finish(pooled, model.runtime.isa);
    Ok((out.f32s().to_vec(), out.shape().width()))
}

/// The tokens of a text, at most `limit`, and whether its end was cut off.
pub fn tokens(tokenizer: &Tokenizer, config: &SentenceConfig, text: &str, limit: usize) -> Result<(Row, bool)> {
    let lower;
    let text = match config.do_lower_case {
        true => {
            lower = text.to_lowercase();
            &lower
        }
        false => text,
    };
    batch::tokens(tokenizer, text, None, limit)
}

/// Tokens at the start that belong to the prompt and are not pooled.
fn prompt_tokens(encoder: Encoder<'_>, config: &SentenceConfig, prompt: &str, limit: usize) -> Result<usize> {
    if config.include_prompt() || prompt.is_empty() {
        return Ok(0);
    }
    let ids = encoder.tokenizer.encode_ids(prompt, Special::With)?;
    let special = encoder.tokenizer.special();
    let ends = [&special.sep, &special.eos].into_iter().flatten().any(|end| ids.last() == Some(&end.id));
    Ok((ids.len() - usize::from(ends)).min(limit))
}

/// Whether the directory has the layout of sentence-transformers.
pub fn is_sentence_transformer(dir: &Path) -> bool {
    dir.join("modules.json").exists()
}
