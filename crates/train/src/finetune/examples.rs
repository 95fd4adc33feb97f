//! Tokenised examples of a task, and how a model does on them.

use bedstone_data::{
    labelled::{Labels, TagExample, TextExample, numbers},
    sampler::Batch,
    tokenizer::{Encoding, Input, Tokenizer, Truncation},
};
use bedstone_infer::{
    Runtime,
    metrics::{self, Confusion, SpanMode, span_report},
};
use bedstone_models::{Inputs, Logits, Model};
use bedstone_tensor::{Ctx, IGNORE, Tensor};
use rayon::prelude::*;

use crate::{Result, TrainError, objective::Objective};

/// Examples, ready for a model.
pub(crate) struct Examples {
    rows: Vec<Row>,
    targets: Targets,
    pad: i32,
    /// One weight a class, where classes do not count the same.
    pub(crate) class_weights: Option<Vec<f32>>,
    /// How many were longer than the model takes, and cut.
    pub(crate) cut: usize,
}

struct Row {
    ids: Vec<i32>,
    types: Vec<i32>,
}

/// What is to be predicted.
pub(crate) enum Targets {
    /// A class each.
    One(Vec<usize>, Labels),
    /// Any number of classes each.
    Many(Vec<Vec<usize>>, Labels),
    /// A number each.
    Numbers(Vec<f64>),
    /// A tag for each token, [`IGNORE`] where it is not the first of a word; and the words' tags.
    Tags { tokens: Vec<Vec<i32>>, words: Vec<Vec<String>>, labels: Labels },
}

/// Names and values of metrics; the first one judges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(pub Vec<(&'static str, f64)>);

impl Scores {
    /// The one that judges: larger is better.
    pub fn judge(&self) -> f64 {
        self.0.first().map_or(f64::NEG_INFINITY, |(_, value)| *value)
    }
}

impl Examples {
    /// Texts, or pairs of texts, with a class, several classes or a number each. `labels` are those of the training
    /// data; `None` for numbers.
    pub(crate) fn texts(
        examples: &[TextExample],
        labels: Option<&Labels>,
        many: bool,
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<Self> {
        let targets = match labels {
            None => Targets::Numbers(numbers(examples)?),
            Some(l) if many => {
                Targets::Many(examples.iter().map(|e| Ok(l.classes(e)?)).collect::<Result<_>>()?, l.clone())
            }
            Some(l) => Targets::One(examples.iter().map(|e| Ok(l.class(e)?)).collect::<Result<_>>()?, l.clone()),
        };
        let encode = |e: &TextExample| {
            let pair = e.pair.as_deref().map(Input::from);
            let whole = tokenizer.encode_input((&e.text[..]).into(), pair, bedstone_data::tokenizer::Special::With)?;
            if whole.len() <= max_length {
                return Ok((Row::of(&whole), false));
            }
            let cut = tokenizer.encode_truncated((&e.text[..]).into(), pair, max_length, Truncation::LongestFirst)?;
            Ok((Row::of(&cut), true))
        };
        let rows: Vec<(Row, bool)> = examples.par_iter().map(encode).collect::<Result<_, crate::TrainError>>()?;
        Ok(Self::new(rows, targets, tokenizer))
    }

    /// Words with tags: the first token of a word has its tag, as in BERT.
    ///
    /// Words of which the tokenizer makes nothing, and those beyond `max_length`, are errors that name the record: a tag
    /// would be lost in silence.
    pub(crate) fn tags(
        examples: &[TagExample],
        labels: &Labels,
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<Self> {
        let encode = |e: &TagExample| {
            let words: Vec<&str> = e.words.iter().map(String::as_str).collect();
            let input = Input::Words(&words);
            let encoding = tokenizer.encode_input(input, None, bedstone_data::tokenizer::Special::With)?;
            let ids = labels.tags(e)?;
            let (mut tags, mut seen) = (vec![IGNORE; encoding.len()], vec![false; words.len()]);
            for (tag, word) in tags.iter_mut().zip(&encoding.word_ids) {
                let Some(word) = word.map(|w| w as usize) else { continue };
                if !seen[word] {
                    *tag = ids[word] as i32;
                    seen[word] = true;
                }
            }
            let record = |got: String, wanted: String, hint: &str| TrainError::Examples {
                what: e.place.to_string(),
                got,
                wanted,
                hint: hint.to_owned(),
            };
            if encoding.len() > max_length {
                let (got, wanted) = (format!("{} tokens", encoding.len()), format!("at most {max_length}"));
                return Err(record(
                    got,
                    wanted,
                    "cut the sentence, or raise train.max_length as far as the model goes",
                ));
            }
            if let Some(word) = seen.iter().position(|&s| !s) {
                let (got, wanted) =
                    (format!("the word {:?}", words[word]), "a word that the tokenizer knows".to_owned());
                return Err(record(got, wanted, "leave out words of white space and control characters"));
            }
            Ok((Row::of(&encoding), tags))
        };
        let all: Vec<(Row, Vec<i32>)> = examples.par_iter().map(encode).collect::<Result<_>>()?;
        let (rows, tokens): (Vec<Row>, Vec<Vec<i32>>) = all.into_iter().unzip();
        let words = examples.iter().map(|e| e.tags.clone()).collect();
        let rows = rows.into_iter().map(|row| (row, false)).collect();
        Ok(Self::new(rows, Targets::Tags { tokens, words, labels: labels.clone() }, tokenizer))
    }

    fn new(rows: Vec<(Row, bool)>, targets: Targets, tokenizer: &Tokenizer) -> Self {
        let cut = rows.iter().filter(|(_, cut)| *cut).count();
        let rows = rows.into_iter().map(|(row, _)| row).collect();
        let pad = tokenizer.special().pad.as_ref().map_or(0, |t| t.id as i32);
        Examples { rows, targets, pad, class_weights: None, cut }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Tokens of a batch, without padding.
    pub(crate) fn tokens(&self, batch: &Batch) -> u64 {
        batch.samples.iter().map(|&i| self.rows[i as usize].ids.len() as u64).sum()
    }

    /// Weights by which each class counts the same: `n / (classes · n_class)`, as scikit-learn's `balanced`.
    pub(crate) fn balance(&mut self) {
        let (counts, n) = match &self.targets {
            Targets::One(all, labels) => {
                let mut counts = vec![0usize; labels.len()];
                all.iter().for_each(|&c| counts[c] += 1);
                (counts, all.len())
            }
            Targets::Tags { tokens, labels, .. } => {
                let mut counts = vec![0usize; labels.len()];
                let known = tokens.iter().flatten().filter(|&&t| t != IGNORE);
                known.for_each(|&t| counts[t as usize] += 1);
                let n = counts.iter().sum();
                (counts, n)
            }
            _ => return,
        };
        let weight = |&c: &usize| n as f32 / (counts.len() as f32 * c.max(1) as f32);
        self.class_weights = Some(counts.iter().map(weight).collect());
    }

    /// The inputs of some examples, as long as the longest of them.
    fn inputs_of(&self, which: &[usize]) -> Inputs {
        let t = which.iter().map(|&i| self.rows[i].ids.len()).max().unwrap_or(0);
        let padded = |get: &dyn Fn(usize) -> Vec<i32>, fill: i32| {
            let rows = which.iter().flat_map(|&i| {
                let mut row = get(i);
                row.resize(t, fill);
                row
            });
            Tensor::from_slice(&rows.collect::<Vec<i32>>(), [which.len(), t])
        };
        let mut inputs = Inputs::new("input_ids", padded(&|i| self.rows[i].ids.clone(), self.pad));
        if which.iter().any(|&i| self.rows[i].types.iter().any(|&s| s != 0)) {
            inputs = inputs.with("token_type_ids", padded(&|i| self.rows[i].types.clone(), 0));
        }
        if which.iter().any(|&i| self.rows[i].ids.len() < t) {
            inputs = inputs.with("attention_mask", padded(&|i| vec![1; self.rows[i].ids.len()], 0));
        }
        let labels = match &self.targets {
            Targets::One(all, _) => {
                let classes: Vec<i32> = which.iter().map(|&i| all[i] as i32).collect();
                Tensor::from_slice(&classes, [which.len()])
            }
            Targets::Many(all, labels) => {
                let row = |&i: &usize| (0..labels.len()).map(move |c| f32::from(u8::from(all[i].contains(&c))));
                Tensor::from_slice(&which.iter().flat_map(row).collect::<Vec<f32>>(), [which.len(), labels.len()])
            }
            Targets::Numbers(all) => {
                let numbers: Vec<f32> = which.iter().map(|&i| all[i] as f32).collect();
                Tensor::from_slice(&numbers, [which.len(), 1])
            }
            Targets::Tags { tokens, .. } => padded(&|i| tokens[i].clone(), IGNORE),
        };
        inputs.with("labels", labels)
    }

    /// How `model` does on all examples, without padding: those of the same length go together.
    pub(crate) fn evaluate(&self, model: &Model, runtime: Runtime) -> Result<Scores> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&i| (self.rows[i].ids.len(), i));
        let mut logits: Vec<Vec<f32>> = vec![Vec::new(); self.len()];
        let groups = order.chunk_by(|&a, &b| self.rows[a].ids.len() == self.rows[b].ids.len());
        for group in groups.flat_map(|g| g.chunks(64)) {
            let mut inputs = self.inputs_of(group);
            inputs.logits = Logits::All;
            let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
            let out = model.forward(&inputs, &mut ctx)?;
            let all = out.need("logits")?;
            let each = all.shape().numel() / group.len().max(1);
            for (rows, &i) in all.f32s().chunks_exact(each.max(1)).zip(group) {
                logits[i] = rows.to_vec();
            }
        }
        self.score(&logits)
    }

    fn score(&self, logits: &[Vec<f32>]) -> Result<Scores> {
        Ok(Scores(match &self.targets {
            Targets::One(truth, labels) => {
                let predicted: Vec<usize> = logits.iter().map(|row| best(row)).collect();
                let confusion = Confusion::new(truth, &predicted, labels.len())?;
                let averages = confusion.averages();
                vec![
                    ("accuracy", confusion.accuracy()),
                    ("macro F1", averages.macro_avg.f1),
                    ("MCC", confusion.matthews()),
                ]
            }
            Targets::Many(truth, labels) => {
                let above = |row: &Vec<f32>| (0..row.len()).filter(|&c| row[c] > 0.0).collect::<Vec<usize>>();
                let predicted: Vec<Vec<usize>> = logits.iter().map(above).collect();
                let report = metrics::multilabel(truth, &predicted, labels.len())?;
                vec![
                    ("micro F1", report.averages.micro.f1),
                    ("macro F1", report.averages.macro_avg.f1),
                    ("subset accuracy", report.subset_accuracy),
                ]
            }
            Targets::Numbers(truth) => {
                let predicted: Vec<f64> = logits.iter().map(|row| row[0] as f64).collect();
                vec![
                    ("R²", metrics::r2(truth, &predicted)?),
                    ("Pearson", metrics::pearson(truth, &predicted)?),
                    ("Spearman", metrics::spearman(truth, &predicted)?),
                    ("MSE", metrics::mean_squared_error(truth, &predicted)?),
                ]
            }
            Targets::Tags { tokens, words, labels } => {
                let predicted: Vec<Vec<&str>> = tokens
                    .iter()
                    .zip(logits)
                    .map(|(tags, rows)| {
                        let rows = rows.chunks_exact(labels.len()).zip(tags).filter(|(_, tag)| **tag != IGNORE);
                        rows.map(|(row, _)| labels.name(best(row)).unwrap_or_default()).collect()
                    })
                    .collect();
                let report = span_report(words, &predicted, SpanMode::Lenient)?;
                let micro = report.averages.micro;
                vec![
                    ("span F1", micro.f1),
                    ("precision", micro.precision),
                    ("recall", micro.recall),
                    ("accuracy", report.accuracy),
                ]
            }
        }))
    }
}

impl Row {
    fn of(encoding: &Encoding) -> Self {
        let signed = |x: &[u32]| x.iter().map(|&x| x as i32).collect();
        Row { ids: signed(&encoding.ids), types: signed(&encoding.type_ids) }
    }
}

/// The first of the largest.
fn best(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Samples of a batch are numbers of examples.
impl Objective for Examples {
    fn weight(&self, batch: &Batch) -> u64 {
        match &self.targets {
            Targets::Tags { tokens, .. } => {
                let known = |&i: &u64| tokens[i as usize].iter().filter(|&&t| t != IGNORE).count() as u64;
                batch.samples.iter().map(known).sum()
            }
            _ => batch.samples.len() as u64,
        }
    }

    fn divisor(&self, batch: &Batch) -> f64 {
        let Some(weights) = &self.class_weights else { return self.weight(batch).max(1) as f64 };
        let samples = batch.samples.iter().map(|&i| i as usize);
        match &self.targets {
            Targets::One(all, _) => samples.map(|i| weights[all[i]] as f64).sum(),
            Targets::Tags { tokens, .. } => {
                let known = samples.flat_map(|i| tokens[i].iter().filter(|&&t| t != IGNORE));
                known.map(|&t| weights[t as usize] as f64).sum()
            }
            _ => self.weight(batch).max(1) as f64,
        }
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let which: Vec<usize> = batch.samples[samples].iter().map(|&i| i as usize).collect();
        let mut inputs = self.inputs_of(&which);
        if let Some(weights) = &self.class_weights {
            inputs = inputs.with("class_weights", Tensor::from_slice(weights, [weights.len()]));
        }
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}
