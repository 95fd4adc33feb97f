//! Texts, or pairs of texts, with a class, several classes or a number each.

use std::path::Path;

use bedstone_data::{
    labelled::{Label, LabelForm, Labels, TextExample, TextOptions, numbers, read_texts},
    sampler::Batch,
};
use bedstone_infer::{
    InferError, Runtime,
    metrics::{self, Confusion, argmax},
    tasks::{
        self,
        batch::{Row, tokens},
    },
};
use bedstone_models::{Class, Inputs, Logits, Model};
use bedstone_tensor::Tensor;
use bedstone_world::{Split, World};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    data::{Kind, Setup, at},
    examples::{Draws, Evaluate, Rows, Scores, TaskReport, Train, cut_note, texts},
    recipe::LabelledConfig,
};
use crate::{
    Result, TrainError,
    objective::{Objective, Work},
};

/// Texts with labels.
pub(crate) struct Texts {
    options: TextOptions,
    /// `None` for numbers, and before they are known.
    labels: Option<Labels>,
    /// Whether a text may have several.
    many: bool,
}

impl Texts {
    /// With classes.
    pub(crate) fn classes(config: &LabelledConfig) -> Self {
        Self::with(config, LabelForm::Auto)
    }

    /// With numbers.
    pub(crate) fn numbers(config: &LabelledConfig) -> Self {
        Self::with(config, LabelForm::Number)
    }

    fn with(config: &LabelledConfig, form: LabelForm) -> Self {
        let LabelledConfig { text, pair, label, .. } = config;
        let named = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        let (text, pair, label) = (named(text), named(pair), named(label));
        let options = TextOptions { text, pair, label, form, ..TextOptions::default() };
        Texts { options, labels: None, many: false }
    }

    fn numeric(&self) -> bool {
        self.options.form == LabelForm::Number
    }

    fn tokenise(&self, examples: &[TextExample], setup: &Setup<'_>) -> Result<TextExamples> {
        let targets = match &self.labels {
            None => Targets::Numbers(numbers(examples)?),
            Some(l) if self.many => {
                Targets::Many(examples.iter().map(|e| Ok(l.classes(e)?)).collect::<Result<_>>()?, l.clone())
            }
            Some(l) => Targets::One(examples.iter().map(|e| Ok(l.class(e)?)).collect::<Result<_>>()?, l.clone()),
        };
        let encode = |e: &TextExample| Ok(tokens(setup.tokenizer, &e.text, e.pair.as_deref(), setup.max_length)?);
        let all: Vec<(Row, bool)> = examples.par_iter().map(encode).collect::<Result<_>>()?;
        let cut = all.iter().filter(|(_, cut)| *cut).count();
        let rows = Rows::new(all.into_iter().map(|(row, _)| row).collect(), setup.tokenizer);
        Ok(TextExamples { rows, targets, weights: None, cut, max_length: setup.max_length })
    }
}

impl Kind for Texts {
    type Example = TextExample;

    fn read(&self, path: &Path) -> Result<Vec<TextExample>> {
        Ok(read_texts(path, &self.options)?)
    }

    fn in_world(&self) -> Option<&'static str> {
        (!self.numeric()).then_some("sentences")
    }

    fn world(&self, world: &World, split: Split, count: u64) -> Vec<TextExample> {
        let all = world.labelled_sentences(split, count).enumerate();
        let example = |(i, s): (usize, bedstone_world::LabelledSentence)| TextExample {
            place: at(split, i),
            text: s.text,
            pair: None,
            label: Label::One(s.label.name().to_owned()),
        };
        all.map(example).collect()
    }

    fn learn(&mut self, train: &[TextExample]) -> Result<()> {
        self.many = train.iter().any(|e| matches!(e.label, Label::Many(_)));
        self.labels = if self.numeric() { None } else { Some(Labels::of_texts(train)?) };
        Ok(())
    }

    fn adopt(&mut self, model: &Model) -> Result<()> {
        let names = tasks::Labels::of(model.config())?.names().to_vec();
        let problem = model.config().str("problem_type").map_err(InferError::from)?;
        let regression = problem == Some("regression") || (problem.is_none() && names.len() == 1);
        if regression != self.numeric() {
            let (of, task) = if regression { ("numbers", "regress") } else { ("classes", "classify") };
            let folder = model.config().path().parent().unwrap_or(Path::new("."));
            return Err(TrainError::Examples {
                what: folder.display().to_string(),
                got: format!("a model of {of}"),
                wanted: format!("--task {task}"),
                hint: "`problem_type` in config.json says which it is".into(),
            });
        }
        self.many = problem == Some("multi_label_classification");
        self.labels = if regression { None } else { Some(Labels::new(names)?) };
        Ok(())
    }

    fn head(&self) -> (Class, Map<String, Value>) {
        let (mut fields, problem) = match &self.labels {
            Some(labels) => (named(labels), if self.many { "multi_label" } else { "single_label" }),
            None => {
                let fields = json!({"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}});
                (fields.as_object().cloned().unwrap_or_default(), "regression")
            }
        };
        let problem = if self.labels.is_some() { format!("{problem}_classification") } else { problem.into() };
        fields.insert("problem_type".into(), problem.into());
        (Class::SequenceClassification, fields)
    }

    fn train(&self, examples: &[TextExample], setup: &Setup<'_>) -> Result<Box<dyn Train>> {
        Ok(Box::new(self.tokenise(examples, setup)?))
    }

    fn eval(&self, examples: &[TextExample], setup: &Setup<'_>) -> Result<Box<dyn Evaluate>> {
        Ok(Box::new(self.tokenise(examples, setup)?))
    }
}

/// The fields of `config.json` that name classes.
pub(crate) fn named(labels: &Labels) -> Map<String, Value> {
    let ids = labels.names().iter().enumerate();
    let by_id: Map<String, Value> = ids.clone().map(|(i, n)| (i.to_string(), json!(n))).collect();
    let by_name: Map<String, Value> = ids.map(|(i, n)| (n.clone(), json!(i))).collect();
    [("id2label".to_owned(), by_id.into()), ("label2id".to_owned(), by_name.into())].into_iter().collect()
}

/// Weights by which each class counts the same: `n / (classes · n_class)`, as scikit-learn's `balanced`.
pub(crate) fn balanced(classes: usize, all: impl Iterator<Item = usize>) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    all.for_each(|class| counts[class] += 1);
    let n: usize = counts.iter().sum();
    counts.iter().map(|&c| n as f32 / (classes as f32 * c.max(1) as f32)).collect()
}

/// Tokenised texts with what is to be predicted.
struct TextExamples {
    rows: Rows,
    targets: Targets,
    /// One weight a class, where classes do not count the same.
    weights: Option<Vec<f32>>,
    /// How many were longer, and cut.
    cut: usize,
    max_length: usize,
}

enum Targets {
    /// A class each.
    One(Vec<usize>, Labels),
    /// Any number of classes each.
    Many(Vec<Vec<usize>>, Labels),
    /// A number each.
    Numbers(Vec<f64>),
}

impl TextExamples {
    fn labels_of(&self, which: &[usize]) -> Tensor {
        match &self.targets {
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
        }
    }

    fn score(&self, logits: &[Vec<f32>]) -> Result<TaskReport> {
        let by_name = |labels: &Labels, all: Vec<metrics::Prf>| labels.names().iter().cloned().zip(all).collect();
        Ok(match &self.targets {
            Targets::One(truth, labels) => {
                let predicted: Vec<usize> = logits.iter().map(|row| argmax(row)).collect();
                let confusion = Confusion::new(truth, &predicted, labels.len())?;
                let averages = confusion.averages();
                let scores = vec![
                    ("accuracy", confusion.accuracy()),
                    ("macro F1", averages.macro_avg.f1),
                    ("MCC", confusion.matthews()),
                ];
                let classes = by_name(labels, confusion.per_class());
                let confusion = Some(confusion.counts().to_vec());
                TaskReport { scores: Scores::new(scores), classes, confusion, ..TaskReport::default() }
            }
            Targets::Many(truth, labels) => {
                let above = |row: &Vec<f32>| (0..row.len()).filter(|&c| row[c] > 0.0).collect::<Vec<usize>>();
                let predicted: Vec<Vec<usize>> = logits.iter().map(above).collect();
                let report = metrics::multilabel(truth, &predicted, labels.len())?;
                let scores = vec![
                    ("micro F1", report.averages.micro.f1),
                    ("macro F1", report.averages.macro_avg.f1),
                    ("subset accuracy", report.subset_accuracy),
                ];
                TaskReport { classes: by_name(labels, report.per_class), ..TaskReport::plain(scores) }
            }
            Targets::Numbers(truth) => {
                let predicted: Vec<f64> = logits.iter().map(|row| row[0] as f64).collect();
                TaskReport::plain(vec![
                    ("R²", metrics::r2(truth, &predicted)?),
                    ("Pearson", metrics::pearson(truth, &predicted)?),
                    ("Spearman", metrics::spearman(truth, &predicted)?),
                    ("MSE", metrics::mean_squared_error(truth, &predicted)?),
                ])
            }
        })
    }
}

impl Evaluate for TextExamples {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport> {
        self.score(&self.rows.logits(model, runtime)?)
    }

    fn notes(&self) -> Vec<String> {
        cut_note(self.cut, self.rows.len(), self.max_length)
    }
}

impl Train for TextExamples {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn work(&self, _: Draws, samples: Vec<u64>) -> Result<Box<dyn Work + '_>> {
        texts(self, samples)
    }

    fn tokens(&self, samples: &[u64]) -> u64 {
        samples.iter().map(|&i| self.rows.tokens(i as usize) as u64).sum()
    }

    fn notes(&self) -> Vec<String> {
        Evaluate::notes(self)
    }

    fn balance(&mut self) -> bool {
        let Targets::One(all, labels) = &self.targets else { return false };
        self.weights = Some(balanced(labels.len(), all.iter().copied()));
        true
    }
}

impl Objective for TextExamples {
    fn weight(&self, batch: &Batch) -> u64 {
        batch.samples.len() as u64
    }

    fn divisor(&self, batch: &Batch) -> f64 {
        match (&self.weights, &self.targets) {
            (Some(weights), Targets::One(all, _)) => {
                batch.samples.iter().map(|&i| weights[all[i as usize]] as f64).sum()
            }
            _ => self.weight(batch).max(1) as f64,
        }
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let which: Vec<usize> = batch.samples[samples].iter().map(|&i| i as usize).collect();
        let mut inputs = self.rows.inputs(&which).with("labels", self.labels_of(&which));
        if let Some(weights) = &self.weights {
            inputs = inputs.with("class_weights", Tensor::from_slice(weights, [weights.len()]));
        }
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}
