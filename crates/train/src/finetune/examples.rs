//! What the tokenised examples of all tasks have in common.

use std::borrow::Cow;

use bedstone_data::{sampler::Batch, tokenizer::Tokenizer};
use bedstone_infer::{
    Runtime,
    metrics::{ClassReport, Prf},
    tasks::batch::{Forward, Row, forward},
};
use bedstone_models::{Inputs, Model};
use bedstone_run::units::Unit;
use bedstone_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    Result,
    objective::{Job, Objective, Work},
};

/// Examples to learn from; samples of a batch are their numbers.
pub(crate) trait Train: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// What is to be learned from the examples of these numbers, the next time through the data.
    fn work(&self, draws: Draws, samples: Vec<u64>) -> Result<Box<dyn Work + '_>>;

    /// Whether making it takes so long that it is made while the step before is computed.
    fn ahead(&self) -> bool {
        false
    }

    /// Tokens of some examples, without padding.
    fn tokens(&self, samples: &[u64]) -> u64;

    /// What speed is told in.
    fn unit(&self) -> Unit {
        Unit::Tokens
    }

    /// What is worth telling of them.
    fn notes(&self) -> Vec<String>;

    /// Makes each class count the same, where there is one class each, and says whether there is.
    fn balance(&mut self) -> bool {
        false
    }

    /// Whether the loss of an example depends on the others in its batch, which then cannot go through in parts.
    fn whole_batches(&self) -> bool {
        false
    }
}

/// What random numbers of examples depend on, beside the example.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    pub(crate) seed: u64,
    /// Times through the data before.
    pub(crate) epoch: u64,
}

/// The work of some texts by their numbers.
pub(crate) fn texts<O: Objective>(objective: &O, samples: Vec<u64>) -> Result<Box<dyn Work + '_>> {
    Ok(Box::new(Job { objective, batch: Batch { samples, ..Batch::default() } }))
}

/// Examples to measure a model by.
pub(crate) trait Evaluate: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// How `model` does on all of them.
    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport>;

    /// What is worth telling of them.
    fn notes(&self) -> Vec<String>;
}

/// Names and values of metrics; the first one judges.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(from = "Vec<(String, Option<f64>)>", into = "Vec<(String, Option<f64>)>")]
pub struct Scores(pub Vec<(Cow<'static, str>, f64)>);

// A metric may be no number, which JSON does not have.
impl From<Vec<(String, Option<f64>)>> for Scores {
    fn from(saved: Vec<(String, Option<f64>)>) -> Self {
        Scores(saved.into_iter().map(|(name, value)| (name.into(), value.unwrap_or(f64::NAN))).collect())
    }
}

impl From<Scores> for Vec<(String, Option<f64>)> {
    fn from(scores: Scores) -> Self {
        let value = |value: f64| value.is_finite().then_some(value);
        scores.0.into_iter().map(|(name, x)| (name.into_owned(), value(x))).collect()
    }
}

impl Scores {
    pub(crate) fn new(scores: impl IntoIterator<Item = (&'static str, f64)>) -> Self {
        Scores(scores.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// The one that judges: larger is better, and any number better than none.
    pub fn judge(&self) -> f64 {
        self.0.first().map(|(_, value)| *value).filter(|value| !value.is_nan()).unwrap_or(f64::NEG_INFINITY)
    }
}

/// How a model does at a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReport {
    /// Over all examples.
    pub scores: Scores,
    /// Precision, recall and F1 of each class, or of each label of spans.
    pub classes: Vec<(String, Prf)>,
    /// How well the objects of each class are found.
    pub objects: Vec<(String, ClassReport)>,
    /// `[true class][predicted class]`, where an example has one class.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// How many examples there were.
    pub examples: usize,
    /// What is worth telling of them.
    pub notes: Vec<String>,
}

impl TaskReport {
    /// Without classes.
    pub(crate) fn plain(scores: Vec<(&'static str, f64)>) -> Self {
        TaskReport { scores: Scores::new(scores), ..Self::default() }
    }
}

/// Rows of tokens.
pub(crate) struct Rows {
    rows: Vec<Row>,
    pad: i32,
}

impl Rows {
    pub(crate) fn new(rows: Vec<Row>, tokenizer: &Tokenizer) -> Self {
        Rows { rows, pad: tokenizer.special().pad.as_ref().map_or(0, |t| t.id as i32) }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Tokens of a row.
    pub(crate) fn tokens(&self, row: usize) -> usize {
        self.rows[row].len()
    }

    pub(crate) fn all(&self) -> &[Row] {
        &self.rows
    }

    /// The inputs of some rows, as long as the longest of them.
    pub(crate) fn inputs(&self, which: &[usize]) -> Inputs {
        let t = self.longest(which);
        let mut inputs = Inputs::new("input_ids", self.padded(which, self.pad, |i| self.rows[i].ids.clone()));
        if which.iter().any(|&i| !self.rows[i].types.is_empty()) {
            inputs = inputs.with("token_type_ids", self.padded(which, 0, |i| self.rows[i].types.clone()));
        }
        if which.iter().any(|&i| self.tokens(i) < t) {
            let mask = which.iter().flat_map(|&i| (0..t).map(move |at| u8::from(at < self.tokens(i))));
            inputs = inputs.with("attention_mask", Tensor::from_slice(&mask.collect::<Vec<u8>>(), [which.len(), t]));
        }
        inputs
    }

    /// What `get` gives for some rows, made as long as the longest of these with `fill`: `[which, T]`.
    pub(crate) fn padded(&self, which: &[usize], fill: i32, get: impl Fn(usize) -> Vec<i32>) -> Tensor {
        let t = self.longest(which);
        let rows = which.iter().flat_map(|&i| {
            let mut row = get(i);
            row.resize(t, fill);
            row
        });
        Tensor::from_slice(&rows.collect::<Vec<i32>>(), [which.len(), t])
    }

    fn longest(&self, which: &[usize]) -> usize {
        which.iter().map(|&i| self.tokens(i)).max().unwrap_or(0)
    }

    /// The logits of each row, computed without padding.
    pub(crate) fn logits(&self, model: &Model, runtime: Runtime) -> Result<Vec<Vec<f32>>> {
        let mut all = vec![Vec::new(); self.len()];
        forward(Forward::new(model, runtime), &self.rows, ["logits"], |row, [logits]| {
            all[row] = logits.to_vec();
            Ok(())
        })?;
        Ok(all)
    }
}

/// "3 of 40 are longer than 128 tokens, and are cut", if any are.
pub(crate) fn cut_note(cut: usize, of: usize, length: usize) -> Vec<String> {
    let note = || format!("{cut} of {of} examples are longer than {length} tokens, and are cut");
    if cut > 0 { vec![note()] } else { Vec::new() }
}
