//! Texts that belong together, for vectors of texts: a contrastive loss with the other texts of the batch as negatives, or
//! scores of pairs.

use std::path::Path;

use bedstone_data::{
    labelled::{PairExample, PairOptions, read_pairs},
    sampler::Batch,
};
use bedstone_infer::{
    Runtime,
    metrics::{cosine_pairs, pearson, spearman},
    tasks::{
        batch::{Forward, Row},
        embed::{Module, Pooling, SentenceConfig, tokens, vectors},
    },
};
use bedstone_models::{Class, Inputs, Model};
use bedstone_tensor::{
    Ctx, Result as OpResult, Tensor,
    ops::{self, LossArgs, TargetLoss},
};
use bedstone_world::{Split, World};
use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{
    data::{Kind, Setup, at, refused},
    examples::{Draws, Evaluate, Rows, TaskReport, Train, cut_note, texts},
    recipe::{LabelledConfig, PoolingChoice},
};
use crate::{
    Result, TrainError,
    objective::{Losses, Objective, Work},
};

/// Pairs, triplets, or pairs with scores.
pub(crate) struct Pairs {
    options: PairOptions,
    /// What scores are divided by.
    score_scale: f64,
}

impl Pairs {
    pub(crate) fn new(config: &LabelledConfig) -> Self {
        let named = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        let LabelledConfig { text, pair, negative, label, .. } = config;
        let (anchor, positive, negative, score) = (named(text), named(pair), named(negative), named(label));
        let options = PairOptions { anchor, positive, negative, score, ..PairOptions::default() };
        Pairs { options, score_scale: config.score_scale }
    }

    fn tokenise(&self, examples: &[PairExample], setup: &Setup<'_>) -> Result<PairExamples> {
        let sentence = setup.sentence.cloned().unwrap_or_else(|| SentenceConfig::plain(Pooling::Mean));
        let triplets = examples.first().is_some_and(|e| e.negative.is_some());
        let scored = examples.first().is_some_and(|e| e.score.is_some());
        if let (true, true, Some(e)) = (triplets, scored, examples.first()) {
            let got = "a negative and a score".to_owned();
            return Err(refused(&e.place, got, "one of them", "leave one of the two columns out"));
        }
        let texts: Vec<&str> = examples
            .iter()
            .flat_map(|e| [Some(&e.anchor), Some(&e.positive), e.negative.as_ref()].into_iter().flatten())
            .map(String::as_str)
            .collect();
        let encode = |text: &&str| Ok(tokens(setup.tokenizer, &sentence, text, setup.max_length)?);
        let all: Vec<(Row, bool)> = texts.par_iter().map(encode).collect::<Result<_>>()?;
        let cut = all.iter().filter(|(_, cut)| *cut).count();
        let scores = scored.then(|| examples.iter().filter_map(|e| e.score).map(|s| s / self.score_scale).collect());
        Ok(PairExamples {
            rows: Rows::new(all.into_iter().map(|(row, _)| row).collect(), setup.tokenizer),
            parts: if triplets { 3 } else { 2 },
            texts: texts.into_iter().map(str::to_owned).collect(),
            scores,
            pooling: Pooling::Mean,
            sentence,
            cut,
            max_length: setup.max_length,
        })
    }
}

impl Kind for Pairs {
    type Example = PairExample;

    fn read(&self, path: &Path) -> Result<Vec<PairExample>> {
        Ok(read_pairs(path, &self.options)?)
    }

    fn in_world(&self) -> Option<&'static str> {
        Some("pairs")
    }

    fn world(&self, world: &World, split: Split, count: u64) -> Vec<PairExample> {
        let all = world.caption_pairs(split, count).enumerate();
        let example = |(i, p): (usize, bedstone_world::CaptionPair)| PairExample {
            place: at(split, i),
            anchor: p.anchor,
            positive: p.positive,
            negative: Some(p.negative),
            score: None,
        };
        all.map(example).collect()
    }

    fn learn(&mut self, train: &[PairExample]) -> Result<()> {
        // A cosine cannot come near to others.
        let beyond = |e: &&PairExample| e.score.is_some_and(|s| (s / self.score_scale).abs() > 1.0);
        match train.iter().find(beyond) {
            Some(e) => {
                let got = format!("the score {}", e.score.unwrap_or_default());
                let wanted = format!("at most {} either way", self.score_scale);
                let hint = "scores are compared with cosines: --set data.score_scale=5 divides scores of 0 to 5";
                Err(refused(&e.place, got, wanted, hint))
            }
            None => Ok(()),
        }
    }

    fn adopt(&mut self, _: &Model) -> Result<()> {
        Ok(())
    }

    fn head(&self) -> (Class, Map<String, Value>) {
        (Class::Base, Map::new())
    }

    fn train(&self, examples: &[PairExample], setup: &Setup<'_>) -> Result<Box<dyn Train>> {
        let made = self.tokenise(examples, setup)?;
        let pooling = trainable(&made.sentence)?;
        Ok(Box::new(PairExamples { pooling, ..made }))
    }

    fn eval(&self, examples: &[PairExample], setup: &Setup<'_>) -> Result<Box<dyn Evaluate>> {
        Ok(Box::new(self.tokenise(examples, setup)?))
    }
}

/// What follows the encoder in `dir`, whose states are of `width`: what it has, with another pooling if one is chosen.
pub(crate) fn sentence(dir: &Path, width: usize, choice: PoolingChoice) -> Result<SentenceConfig> {
    let mut config = SentenceConfig::open(dir, width)?;
    let chosen = match choice {
        PoolingChoice::Auto => return Ok(config),
        PoolingChoice::Mean => Pooling::Mean,
        PoolingChoice::Cls => Pooling::Cls,
    };
    if let Some(Module::Pooling { modes, .. }) = config.modules.first_mut() {
        *modes = vec![chosen];
    }
    Ok(config)
}

/// The pooling that gradients go through; an error where there is more between states and vectors.
fn trainable(config: &SentenceConfig) -> Result<Pooling> {
    let refused = |got: String| TrainError::Examples {
        what: "--task embed".into(),
        got,
        wanted: "a mean or cls pooling, with or without Normalize".into(),
        hint: "set train.pooling=mean, or start from another model".into(),
    };
    if let Some(other) = config.modules[1..].iter().find(|module| !matches!(module, Module::Normalize)) {
        let name = if matches!(other, Module::Dense { .. }) { "Dense" } else { "another pooling" };
        return Err(refused(format!("a model with {name} behind its pooling")));
    }
    match config.pooling() {
        [one @ (Pooling::Mean | Pooling::Cls)] => Ok(*one),
        others => {
            let names: Vec<&str> = others.iter().map(|p| p.name()).collect();
            Err(refused(format!("the pooling {}", names.join(" and "))))
        }
    }
}

/// What cosines are multiplied by before the softmax, as in sentence-transformers.
const SCALE: f32 = 20.0;

/// Tokenised texts: anchor, positive and, of triplets, negative of one example after another.
struct PairExamples {
    rows: Rows,
    /// Texts an example.
    parts: usize,
    /// All texts.
    texts: Vec<String>,
    scores: Option<Vec<f64>>,
    /// What gradients go through.
    pooling: Pooling,
    sentence: SentenceConfig,
    /// How many texts were longer, and cut.
    cut: usize,
    max_length: usize,
}

impl PairExamples {
    fn examples(&self) -> usize {
        self.rows.len() / self.parts
    }
}

impl Train for PairExamples {
    fn len(&self) -> usize {
        self.examples()
    }

    fn work(&self, _: Draws, samples: Vec<u64>) -> Result<Box<dyn Work + '_>> {
        texts(self, samples)
    }

    fn tokens(&self, samples: &[u64]) -> u64 {
        let rows = samples.iter().flat_map(|&i| (0..self.parts).map(move |part| i as usize * self.parts + part));
        rows.map(|row| self.rows.tokens(row) as u64).sum()
    }

    fn notes(&self) -> Vec<String> {
        cut_note(self.cut, self.rows.len(), self.max_length)
    }

    fn whole_batches(&self) -> bool {
        self.scores.is_none()
    }
}

impl Objective for PairExamples {
    fn weight(&self, batch: &Batch) -> u64 {
        batch.samples.len() as u64
    }

    fn rows_per_sample(&self) -> usize {
        self.parts
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let samples: Vec<usize> = batch.samples[samples].iter().map(|&i| i as usize).collect();
        let which: Vec<usize> = samples.iter().flat_map(|i| (0..self.parts).map(move |p| i * self.parts + p)).collect();
        let mut inputs = self.rows.inputs(&which);
        if let Some(scores) = &self.scores {
            let scores: Vec<f32> = samples.iter().map(|&i| scores[i] as f32).collect();
            inputs = inputs.with("labels", Tensor::from_slice(&scores, [samples.len(), 1]));
        }
        inputs.loss_divisor = Some(divisor);
        inputs
    }

    fn loss(&self, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Losses> {
        Ok(loss(self.pooling, self.parts, model, inputs, ctx)?.into())
    }

    /// Summaries of texts, which vectors of this kind are not.
    fn leaves_out(&self, name: &str) -> bool {
        name.starts_with("pooler.")
    }
}

/// With scores (`labels: [N, 1]`) the squared difference of cosine and score, as CosineSimilarityLoss. Without, the
/// cross-entropy of each anchor's positive among the positives and negatives of the whole batch by their cosines times 20
/// ([Henderson et al. 2017](https://arxiv.org/abs/1705.00652)), as MultipleNegativesRankingLoss.
fn loss(pooling: Pooling, parts: usize, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
    let states = model.forward(inputs, ctx)?.need("last_hidden_state")?.clone();
    let pooled = pooling.forward(&states, inputs.get("attention_mask"), ctx)?;
    let unit = ops::normalize(&pooled, ctx)?;
    let n = unit.shape().rows() / parts;
    let of = |part: usize| (0..n).map(move |i| (i * parts + part) as i32);
    let anchors = ops::rows(&unit, &of(0).collect::<Vec<_>>(), ctx)?;
    if let Some(scores) = inputs.get("labels") {
        let positives = ops::rows(&unit, &of(1).collect::<Vec<_>>(), ctx)?;
        let all = ops::similarity(&anchors, &positives, 1.0, ctx)?.reshape([n * n, 1])?;
        let own: Vec<i32> = (0..n).map(|i| (i * n + i) as i32).collect();
        let cosines = ops::rows(&all, &own, ctx)?;
        return ops::target_loss(&cosines, scores, TargetLoss::SquaredError, inputs.loss_divisor, ctx);
    }
    let candidates = ops::rows(&unit, &(1..parts).flat_map(of).collect::<Vec<_>>(), ctx)?;
    let logits = ops::similarity(&anchors, &candidates, SCALE, ctx)?;
    let labels = Tensor::from_slice(&(0..n as i32).collect::<Vec<_>>(), [n]);
    let args = LossArgs { divisor: inputs.loss_divisor, ..LossArgs::default() };
    ops::cross_entropy(&logits, &labels, args, ctx)
}

impl Evaluate for PairExamples {
    fn len(&self) -> usize {
        self.examples()
    }

    /// With scores: correlations of cosines with them. Without: where each anchor's positive stands among all positives
    /// and negatives by cosine; equal ones stand before it, and texts that are the same as the positive do not count.
    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport> {
        let (data, width) = vectors(Forward::new(model, runtime), &self.sentence, self.rows.all(), 0)?;
        let (n, parts) = (self.examples(), self.parts);
        let row = |i: usize, part: usize| &data[(i * parts + part) * width..][..width];
        let of = |part: usize| (0..n).flat_map(|i| row(i, part)).copied().collect::<Vec<f32>>();
        let anchors = of(0);
        let own = cosine_pairs(&anchors, &of(1), width)?;
        if let Some(scores) = &self.scores {
            let (spearman, pearson) = (spearman(scores, &own)?, pearson(scores, &own)?);
            return Ok(TaskReport::plain(vec![("Spearman", spearman), ("Pearson", pearson)]));
        }
        let ranks = self.ranks(model, runtime, (&data, width))?;
        let mean = |f: &dyn Fn(usize) -> f64| ranks.iter().map(|&r| f(r)).sum::<f64>() / n.max(1) as f64;
        let mut scores =
            vec![("MRR", mean(&|r| 1.0 / r as f64)), ("accuracy@1", mean(&|r| f64::from(u8::from(r == 1))))];
        if parts == 3 {
            let others = cosine_pairs(&anchors, &of(2), width)?;
            let right = own.iter().zip(&others).filter(|(own, other)| own > other).count();
            scores.push(("triplet accuracy", right as f64 / n.max(1) as f64));
        }
        Ok(TaskReport::plain(scores))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = cut_note(self.cut, self.rows.len(), self.max_length);
        if let Some(name) = &self.sentence.default_prompt_name {
            notes.push(format!("the model's prompt {name:?} is not put before these texts"));
        }
        notes
    }
}

impl PairExamples {
    /// The place of each anchor's positive among all that are no anchors, from 1.
    fn ranks(&self, model: &Model, runtime: Runtime, (data, width): (&[f32], usize)) -> Result<Vec<usize>> {
        let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
        let all = Tensor::from_slice(data, [self.rows.len(), width]);
        let unit = ops::normalize(&all, &mut ctx)?;
        let (n, parts) = (self.examples(), self.parts);
        let others: Vec<usize> = (0..n * parts).filter(|row| row % parts != 0).collect();
        let rows = |which: &[usize], ctx: &mut Ctx<'_>| {
            let which: Vec<i32> = which.iter().map(|&row| row as i32).collect();
            ops::rows(&unit, &which, ctx)
        };
        let candidates = rows(&others, &mut ctx)?;
        let mut ranks = Vec::with_capacity(n);
        for first in (0..n).step_by(TOGETHER) {
            let anchors: Vec<usize> = (first..n.min(first + TOGETHER)).collect();
            let some: Vec<usize> = anchors.iter().map(|i| i * parts).collect();
            let cosines = ops::similarity(&rows(&some, &mut ctx)?, &candidates, 1.0, &mut ctx)?;
            for (&i, cosines) in anchors.iter().zip(cosines.f32s().chunks_exact(others.len())) {
                let positive = &self.texts[i * parts + 1];
                // The positives stand at the first place of each example among the others.
                let own = cosines[i * (parts - 1)];
                let before = cosines.iter().zip(&others);
                ranks.push(1 + before.filter(|(c, row)| **c >= own && self.texts[**row] != *positive).count());
            }
        }
        Ok(ranks)
    }
}

/// Anchors that are compared at a time.
const TOGETHER: usize = 256;

#[cfg(test)]
mod tests;
