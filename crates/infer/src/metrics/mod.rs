//! Metrics: plain functions over predictions, in `f64`.
//!
//! ```text
//! classes.rs       one class an example: accuracy, precision, recall, F1, Matthews correlation, confusion matrix
//! multilabel.rs    several classes an example
//! numbers.rs       regression: Pearson, Spearman, mean squared and absolute error, R²
//! probabilities.rs log loss, area under the ROC curve
//! spans.rs         tags by their spans, as seqeval counts
//! answers.rs       answers to questions, as the scripts of SQuAD 1.1 and 2.0 count
//! cosine.rs        cosine similarity
//! top_k.rs         whether the true class is among the best ones
//! coco/            boxes: average precision and recall, as pycocotools counts
//! ```
//!
//! What is not defined is what the program behind the name gives: 0 for precision without predictions and recall
//! without examples (scikit-learn's `zero_division=0`), `NaN` for a correlation with a constant.

mod answers;
mod classes;
mod coco;
mod cosine;
mod multilabel;
mod numbers;
mod probabilities;
mod spans;
mod top_k;

pub use answers::{
    AnswerReport, AnswerScore, Best, NoAnswer, answer_f1, exact_match, normalize_answer, squad_v1, squad_v2,
};
pub use classes::{Averages, Confusion, Prf, argmax};
pub use coco::{ClassReport, CocoReport, FoundBox, TrueBox, coco};
pub use cosine::{cosine, cosine_matrix, cosine_pairs};
pub use multilabel::{MultiLabel, hamming_loss, multilabel, subset_accuracy};
pub use numbers::{mean_absolute_error, mean_squared_error, pearson, r2, spearman};
pub use probabilities::{log_loss, roc_auc};
pub use spans::{SpanMode, SpanReport, span_report};
pub use top_k::top_k_accuracy;

use bedstone_data::labelled::InvalidTag;

/// The result of a metric.
pub type Result<T, E = MetricError> = std::result::Result<T, E>;

/// Predictions that cannot be compared with what is true.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Nothing to compare.
    #[error("{metric}: there is not one example")]
    Empty {
        /// The metric.
        metric: &'static str,
    },
    /// As many predictions as examples are needed.
    #[error("{metric}: {got} {what}, want {want}")]
    Lengths {
        /// The metric.
        metric: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        want: usize,
    },
    /// A class that does not exist.
    #[error("{metric}: example {index} has class {got}, want less than {classes}")]
    Class {
        /// The metric.
        metric: &'static str,
        /// Number of the example.
        index: usize,
        /// Its class.
        got: usize,
        /// How many there are.
        classes: usize,
    },
    /// A value that is no number, or no probability.
    #[error("{metric}: value {index} is {got}, want {want}")]
    Value {
        /// The metric.
        metric: &'static str,
        /// Number of the value.
        index: usize,
        /// The value.
        got: f64,
        /// What it should be.
        want: &'static str,
    },
    /// A sentence with more or fewer predicted tags than true ones.
    #[error("spans: sentence {sentence} has {got} predicted tags, want {want}")]
    Tags {
        /// Number of the sentence.
        sentence: usize,
        /// Predicted tags.
        got: usize,
        /// True tags.
        want: usize,
    },
    /// A tag that the strict mode does not know.
    #[error("spans: sentence {sentence}: {source}")]
    Tag {
        /// Number of the sentence.
        sentence: usize,
        /// What is wrong.
        source: InvalidTag,
    },
}

/// Checks that there is something to compare, and as much on both sides.
fn same_length(metric: &'static str, what: &'static str, got: usize, want: usize) -> Result<()> {
    if got != want {
        return Err(MetricError::Lengths { metric, what, got, want });
    }
    if want == 0 { Err(MetricError::Empty { metric }) } else { Ok(()) }
}

/// `a / b`, 0 where `b` is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

#[cfg(test)]
mod tests;
