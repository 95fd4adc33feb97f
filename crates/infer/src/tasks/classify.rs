//! Labels of texts.

use bedstone_models::Class;
use rayon::prelude::*;

use super::{Encoder, Labels, batch, no_empty_text, softmax, top_k};
use crate::Result;

/// A text, alone or with a second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPair<'a> {
    /// The text.
    pub text: &'a str,
    /// What it is compared with.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for TextPair<'a> {
    fn from(text: &'a str) -> Self {
        TextPair { text, pair: None }
    }
}

/// What makes scores of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreFunction {
    /// One class of several.
    Softmax,
    /// Each class by itself.
    Sigmoid,
    /// Numbers as they are.
    None,
}

impl ScoreFunction {
    /// By `problem_type` and the number of classes, as `transformers` decides.
    pub fn of(encoder: Encoder<'_>, classes: usize) -> Result<Self> {
        Ok(match encoder.model.config().str("problem_type")? {
            Some("regression") => ScoreFunction::None,
            Some("multi_label_classification") => ScoreFunction::Sigmoid,
            _ if classes == 1 => ScoreFunction::Sigmoid,
            _ => ScoreFunction::Softmax,
        })
    }

    fn apply(self, x: &mut [f32]) {
        match self {
            ScoreFunction::Softmax => softmax(x),
            ScoreFunction::Sigmoid => x.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
            ScoreFunction::None => {}
        }
    }
}

/// A text classified.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// A score for each class.
    pub scores: Vec<f32>,
    /// Whether the text's end did not fit the model and was cut off.
    pub truncated: bool,
}

impl Classified {
    /// The classes with the `k` largest scores, the largest first.
    pub fn top(&self, k: usize) -> Vec<(usize, f32)> {
        top_k(&self.scores, k).into_iter().map(|class| (class, self.scores[class])).collect()
    }
}

/// Scores of each text; `function` as the configuration says if `None`.
///
/// ```no_run
/// # fn f(runtime: bedstone_infer::Runtime) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::{EncoderModel, Labels, classify::classify};
/// let (model, _) = EncoderModel::load(std::path::Path::new("reviews"), runtime)?;
/// let labels = Labels::of(model.model.config())?;
/// for result in classify(model.encoder(), &["A fine film.".into()], None)? {
///     let (class, score) = result.top(1)[0];
///     println!("{} {score:.3}", labels.name(class));
/// }
/// # Ok(()) }
/// ```
pub fn classify(
    encoder: Encoder<'_>,
    texts: &[TextPair<'_>],
    function: Option<ScoreFunction>,
) -> Result<Vec<Classified>> {
    encoder.need("classify", &[Class::SequenceClassification])?;
    no_empty_text(texts.iter().map(|t| t.text))?;
    no_empty_text(texts.iter().filter_map(|t| t.pair))?;
    let classes = Labels::of(encoder.model.config())?.names().len();
    let function = match function {
        Some(function) => function,
        None => ScoreFunction::of(encoder, classes)?,
    };
    let limit = encoder.max_length();
    let tokens: Vec<(batch::Row, bool)> =
        texts.par_iter().map(|t| batch::tokens(encoder.tokenizer, t.text, t.pair, limit)).collect::<Result<_>>()?;
    let (rows, cut): (Vec<_>, Vec<_>) = tokens.into_iter().unzip();
    let mut results: Vec<Classified> =
        cut.into_iter().map(|truncated| Classified { scores: Vec::new(), truncated }).collect();
    batch::forward(encoder, &rows, ["logits"], |row, [logits]| {
        let scores = &mut results[row].scores;
        *scores = logits.to_vec();
        function.apply(scores);
        Ok(())
    })?;
    Ok(results)
}
