//! Words with tags: the first token of a word has its tag, as in BERT.

use std::path::Path;

use bedstone_data::{
    labelled::{Labels, TagExample, TagOptions, read_tags},
    sampler::Batch,
    tokenizer::{Input, Special},
};
use bedstone_infer::{
    Runtime,
    metrics::{SpanMode, argmax, span_report},
    tasks::{self, batch::Row},
};
use bedstone_models::{Class, Inputs, Logits, Model};
use bedstone_tensor::{IGNORE, Tensor};
use bedstone_world::{Split, World};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{
    data::{Kind, Setup, at, refused},
    examples::{Draws, Evaluate, Rows, TaskReport, Train, texts},
    recipe::LabelledConfig,
    texts::{balanced, named},
};
use crate::{
    Result,
    objective::{Objective, Work},
};

/// Sentences with a tag for each word.
pub(crate) struct Tags {
    options: TagOptions,
    labels: Option<Labels>,
}

impl Tags {
    pub(crate) fn new(config: &LabelledConfig) -> Self {
        let named = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        let (words, tags) = (named(&config.text), named(&config.label));
        Tags { options: TagOptions { words, tags, ..TagOptions::default() }, labels: None }
    }

    /// Words of which the tokenizer makes nothing, and those beyond the length, are errors that name the record: a tag
    /// would be lost in silence.
    fn tokenise(&self, examples: &[TagExample], setup: &Setup<'_>) -> Result<TagExamples> {
        let labels = match &self.labels {
            Some(labels) => labels.clone(),
            None => Labels::of_tags(examples)?,
        };
        let encode = |e: &TagExample| {
            let words: Vec<&str> = e.words.iter().map(String::as_str).collect();
            let encoding = setup.tokenizer.encode_input(Input::Words(&words), None, Special::With)?;
            let ids = labels.tags(e)?;
            let (mut tags, mut seen) = (vec![IGNORE; encoding.len()], vec![false; words.len()]);
            for (tag, word) in tags.iter_mut().zip(&encoding.word_ids) {
                let Some(word) = word.map(|w| w as usize) else { continue };
                if !seen[word] {
                    *tag = ids[word] as i32;
                    seen[word] = true;
                }
            }
            if encoding.len() > setup.max_length {
                let (got, wanted) = (format!("{} tokens", encoding.len()), format!("at most {}", setup.max_length));
                let hint = "cut the sentence, or raise train.max_length as far as the model goes";
                return Err(refused(&e.place, got, wanted, hint));
            }
            if let Some(word) = seen.iter().position(|&s| !s) {
                let got = format!("the word {:?}", words[word]);
                let hint = "leave out words of white space and control characters";
                return Err(refused(&e.place, got, "a word that the tokenizer knows", hint));
            }
            Ok((Row::of(&encoding), tags))
        };
        let all: Vec<(Row, Vec<i32>)> = examples.par_iter().map(encode).collect::<Result<_>>()?;
        let (rows, tokens): (Vec<Row>, Vec<Vec<i32>>) = all.into_iter().unzip();
        let words = examples.iter().map(|e| e.tags.clone()).collect();
        Ok(TagExamples { rows: Rows::new(rows, setup.tokenizer), tokens, words, labels, weights: None })
    }
}

impl Kind for Tags {
    type Example = TagExample;

    fn read(&self, path: &Path) -> Result<Vec<TagExample>> {
        Ok(read_tags(path, &self.options)?)
    }

    fn in_world(&self) -> Option<&'static str> {
        Some("sentences")
    }

    fn world(&self, world: &World, split: Split, count: u64) -> Vec<TagExample> {
        let all = world.tagged_sentences(split, count).enumerate();
        let example = |(i, s): (usize, bedstone_world::TaggedSentence)| TagExample {
            place: at(split, i),
            words: s.words,
            tags: s.tags.into_iter().map(str::to_owned).collect(),
        };
        all.map(example).collect()
    }

    fn learn(&mut self, train: &[TagExample]) -> Result<()> {
        self.labels = Some(Labels::of_tags(train)?);
        Ok(())
    }

    fn adopt(&mut self, model: &Model) -> Result<()> {
        self.labels = Some(Labels::new(tasks::Labels::of(model.config())?.names().to_vec())?);
        Ok(())
    }

    fn head(&self) -> (Class, Map<String, Value>) {
        (Class::TokenClassification, self.labels.as_ref().map(named).unwrap_or_default())
    }

    fn train(&self, examples: &[TagExample], setup: &Setup<'_>) -> Result<Box<dyn Train>> {
        Ok(Box::new(self.tokenise(examples, setup)?))
    }

    fn eval(&self, examples: &[TagExample], setup: &Setup<'_>) -> Result<Box<dyn Evaluate>> {
        Ok(Box::new(self.tokenise(examples, setup)?))
    }
}

/// Tokenised sentences.
struct TagExamples {
    rows: Rows,
    /// A tag for each token, [`IGNORE`] where it is not the first of a word.
    tokens: Vec<Vec<i32>>,
    /// The words' tags.
    words: Vec<Vec<String>>,
    labels: Labels,
    /// One weight a tag, where tags do not count the same.
    weights: Option<Vec<f32>>,
}

impl TagExamples {
    /// The tags of a batch that count.
    fn known<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = usize> + 'a {
        let all = batch.samples.iter().flat_map(|&i| &self.tokens[i as usize]);
        all.filter(|&&t| t != IGNORE).map(|&t| t as usize)
    }
}

impl Evaluate for TagExamples {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport> {
        let logits = self.rows.logits(model, runtime)?;
        let predicted: Vec<Vec<&str>> = (self.tokens.iter().zip(&logits))
            .map(|(tags, rows)| {
                let rows = rows.chunks_exact(self.labels.len()).zip(tags).filter(|(_, tag)| **tag != IGNORE);
                rows.map(|(row, _)| self.labels.name(argmax(row)).unwrap_or_default()).collect()
            })
            .collect();
        let report = span_report(&self.words, &predicted, SpanMode::Lenient)?;
        let micro = report.averages.micro;
        let scores = vec![
            ("span F1", micro.f1),
            ("precision", micro.precision),
            ("recall", micro.recall),
            ("accuracy", report.accuracy),
        ];
        Ok(TaskReport { classes: report.per_label, ..TaskReport::plain(scores) })
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Train for TagExamples {
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
        Vec::new()
    }

    fn balance(&mut self) -> bool {
        let known = self.tokens.iter().flatten().filter(|&&t| t != IGNORE).map(|&t| t as usize);
        self.weights = Some(balanced(self.labels.len(), known));
        true
    }
}

impl Objective for TagExamples {
    fn weight(&self, batch: &Batch) -> u64 {
        self.known(batch).count() as u64
    }

    fn divisor(&self, batch: &Batch) -> f64 {
        match &self.weights {
            Some(weights) => self.known(batch).map(|tag| weights[tag] as f64).sum(),
            None => self.weight(batch).max(1) as f64,
        }
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let which: Vec<usize> = batch.samples[samples].iter().map(|&i| i as usize).collect();
        let labels = self.rows.padded(&which, IGNORE, |i| self.tokens[i].clone());
        let mut inputs = self.rows.inputs(&which).with("labels", labels);
        if let Some(weights) = &self.weights {
            inputs = inputs.with("class_weights", Tensor::from_slice(weights, [weights.len()]));
        }
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}
