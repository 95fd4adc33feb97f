//! Labels of tokens, and the spans that they make.

mod aggregate;

use bedstone_data::tokenizer::{Encoding, Special, Truncation, Window};
use bedstone_models::Class;
use rayon::prelude::*;

use self::aggregate::Token;
use super::{
    Encoder, Labels,
    batch::{self, Row},
    no_empty_text, softmax,
};
use crate::{InferError, Result};

/// How tokens become spans; names and meanings are those of `transformers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Not at all: each token has its label.
    None,
    /// Neighbours of one label make a span.
    #[default]
    Simple,
    /// A word has the label of its first token.
    First,
    /// A word has the label with the largest mean score.
    Average,
    /// A word has the label of its surest token.
    Max,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagOptions {
    /// How tokens become spans.
    pub aggregation: Aggregation,
    /// Labels that are left out of the result.
    pub ignore_labels: Vec<String>,
    /// Tokens that windows over a text share which is longer than the model; a quarter of the model's length if `None`.
    pub stride: Option<usize>,
    /// Tokens of a window; what the model takes if `None`.
    pub max_length: Option<usize>,
}

impl Default for TagOptions {
    fn default() -> Self {
        let ignore_labels = vec!["O".to_owned()];
        TagOptions { aggregation: Aggregation::Simple, ignore_labels, stride: None, max_length: None }
    }
}

/// A token or span with a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The label: of a token as the configuration names it, of a span without `B-` or `I-`.
    pub label: String,
    /// Its probability; of a span the mean over its parts.
    pub score: f32,
    /// The token as the vocabulary spells it, or the span's tokens put together.
    pub word: String,
    /// Where it starts in the text, in code points.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// The number of the token, where spans were not asked for; counted in its window, special tokens included.
    pub index: Option<usize>,
}

/// The labelled tokens or spans of each text, in their order.
///
/// A text that is longer than the model is seen through windows that overlap. Spans found twice are taken once: of two
/// that overlap the longer one, then the surer one.
///
/// ```no_run
/// # fn f(runtime: bedstone_infer::Runtime) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::{EncoderModel, tag::{TagOptions, tag}};
/// let (model, _) = EncoderModel::load(std::path::Path::new("names"), runtime)?;
/// for span in &tag(model.encoder(), &["Ada lives in London."], &TagOptions::default())?[0] {
///     println!("{}..{} {} {}", span.start, span.end, span.label, span.word);
/// }
/// # Ok(()) }
/// ```
pub fn tag<T: AsRef<str> + Sync>(encoder: Encoder<'_>, texts: &[T], options: &TagOptions) -> Result<Vec<Vec<Entity>>> {
    encoder.need("tag", &[Class::TokenClassification])?;
    no_empty_text(texts.iter().map(AsRef::as_ref))?;
    let labels = Labels::of(encoder.model.config())?;
    let windows: Vec<Vec<Encoding>> =
        texts.par_iter().map(|text| windows(encoder, text.as_ref(), options)).collect::<Result<_>>()?;
    // Of each window: its text.
    let text_of: Vec<usize> = windows.iter().enumerate().flat_map(|(text, w)| vec![text; w.len()]).collect();
    let encodings: Vec<&Encoding> = windows.iter().flatten().collect();
    let rows: Vec<Row> = encodings.iter().map(|e| Row::of(e)).collect();
    let mut scores: Vec<Vec<f32>> = vec![Vec::new(); rows.len()];
    let classes = labels.names().len();
    let failed = batch::forward(encoder, &rows, ["logits"], |row, [logits]| {
        scores[row] = logits.to_vec();
        scores[row].chunks_exact_mut(classes).for_each(softmax);
        Ok(())
    });
    failed.map_err(|e| match e {
        InferError::NotNumbers { row } => InferError::NotNumbers { row: text_of[row] },
        other => other,
    })?;
    let mut results: Vec<Vec<Entity>> = vec![Vec::new(); texts.len()];
    let prefix = encoder.tokenizer.continuing_subword_prefix().is_some_and(|prefix| !prefix.is_empty());
    let unk = encoder.tokenizer.special().unk.as_ref().map(|unk| unk.id);
    for ((encoding, scores), &text) in encodings.iter().zip(&scores).zip(&text_of) {
        let tokens = aggregate::tokens(encoding, texts[text].as_ref(), scores, classes, prefix, unk);
        let before = results[text].last().map_or(0, |e| e.end);
        let mut entities = entities(encoder, tokens, &labels, options.aggregation)?;
        entities.retain(|entity| !options.ignore_labels.contains(&entity.label));
        if options.aggregation == Aggregation::None {
            // A token of two windows is taken from the first.
            entities.retain(|entity| entity.start >= before);
        }
        results[text].extend(entities);
    }
    if options.aggregation != Aggregation::None {
        for (entities, windows) in results.iter_mut().zip(&windows) {
            if windows.len() > 1 {
                *entities = aggregate::without_overlaps(std::mem::take(entities));
            }
        }
    }
    Ok(results)
}

/// One window, or as many as a long text takes.
fn windows(encoder: Encoder<'_>, text: &str, options: &TagOptions) -> Result<Vec<Encoding>> {
    let max_length = options.max_length.unwrap_or(usize::MAX).min(encoder.max_length());
    let whole = encoder.tokenizer.encode(text, Special::With)?;
    if whole.len() <= max_length {
        return Ok(vec![whole]);
    }
    let stride = options.stride.unwrap_or(max_length / 4);
    let window = Window { max_length, truncation: Truncation::OnlyFirst, stride };
    Ok(encoder.tokenizer.encode_windows(text.into(), None, &window)?)
}

fn entities(
    encoder: Encoder<'_>,
    tokens: Vec<Token<'_>>,
    labels: &Labels,
    aggregation: Aggregation,
) -> Result<Vec<Entity>> {
    let join = |words: &[String]| -> Result<String> { Ok(encoder.tokenizer.tokens_to_string(words)?) };
    let parts = match aggregation {
        Aggregation::None | Aggregation::Simple => tokens.iter().map(|t| t.labelled(labels)).collect(),
        _ => aggregate::words(&tokens, labels, aggregation, &join)?,
    };
    match aggregation {
        Aggregation::None => Ok(parts),
        _ => aggregate::spans(&parts, &join),
    }
}
