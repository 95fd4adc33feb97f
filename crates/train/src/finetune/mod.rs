//! Fine-tuning: a checkpoint's body, a new head, labelled data.
//!
//! ```text
//! mod.rs       what is asked for, from checkpoint to checkpoint
//! recipe.rs    its settings
//! data.rs      from files, or the World, to examples
//! examples.rs  tokenised examples, their losses and metrics
//! adapt.rs     which parameters learn, how fast, and by which factors
//! adapter.rs   factors as files of peft
//! fit.rs       the steps of one seed
//! ```

mod adapt;
mod adapter;
mod card;
mod data;
mod examples;
mod fit;
mod recipe;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bedstone_data::tokenizer::Tokenizer;
use bedstone_infer::Runtime;
use bedstone_models::{Model, load_head, save};
use bedstone_run::{
    Interrupt, Layers, Log, Progress, Recipe, RunDir, Setting, dir::model_folder, files::FileError, units,
};
use bedstone_tensor::{Isa, Param, ParamId};
use serde_json::{Map, json};

use card::card;
use data::Data;
pub use examples::Scores;
use fit::{Fitted, fit};
use recipe::{ClassWeights, FinetuneRecipe, LoraSave};

use crate::{Result, TrainError, lora::LowRank, precision::resolve};

/// What a model is fine-tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A class, or several classes, for a text or a pair of texts.
    Classify,
    /// A number for a text or a pair of texts.
    Regress,
    /// A tag for each word.
    Tag,
}

/// What to fine-tune.
pub struct FinetuneRequest<'a> {
    /// The checkpoint directory to start from.
    pub model: &'a Path,
    /// What the user calls it.
    pub name: &'a str,
    /// What for.
    pub task: Task,
    /// A recipe file over the built-in one.
    pub config: Option<&'a Path>,
    /// Single values over both.
    pub settings: &'a [Setting],
    /// The directory of the result; `None` for the next free one.
    pub out: Option<&'a Path>,
    /// The instructions to use.
    pub isa: Isa,
}

/// How fine-tuning went.
#[derive(Debug)]
pub struct FinetuneReport {
    /// The checkpoint directory.
    pub dir: PathBuf,
    /// Of each seed, in order.
    pub scores: Vec<(u64, Scores)>,
    /// The seed whose model was kept.
    pub kept: u64,
    /// Whether the user stopped it.
    pub interrupted: bool,
}

impl FinetuneReport {
    /// Mean and sample standard deviation of each metric over the seeds.
    pub fn spread(&self) -> Vec<(&'static str, f64, f64)> {
        let names = self.scores.first().map(|(_, s)| s.0.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        let of = |name: &'static str| {
            let all = self.scores.iter().filter_map(|(_, s)| s.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v));
            let all: Vec<f64> = all.collect();
            let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
            let squares: f64 = all.iter().map(|x| (x - mean) * (x - mean)).sum();
            (name, mean, (squares / (all.len().max(2) - 1) as f64).sqrt())
        };
        names.into_iter().flatten().map(of).collect()
    }
}

/// The built-in recipe.
pub const FINETUNE_RECIPE: &str = include_str!("../../../../recipes/finetune.toml");

/// Fine-tunes a checkpoint.
pub fn finetune(
    request: &FinetuneRequest<'_>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<FinetuneReport> {
    let layers = Layers { built_in: FINETUNE_RECIPE, config: request.config, settings: request.settings };
    let recipe: Recipe<FinetuneRecipe> = Recipe::resolve(layers)?;
    if let Some((key, wanted)) = recipe.values.wrong() {
        return Err(recipe.invalid(key, wanted).into());
    }
    let (t, lora) = (recipe.values.train.clone(), &recipe.values.lora);
    let runtime = Runtime { isa: request.isa, precision: resolve(t.precision, request.isa, &recipe)? };
    let folder = model_folder(request.model)?;
    let mut tokenizer = Tokenizer::load(&folder)?;
    if request.task == Task::Tag {
        // A byte-level tokenizer tells words apart by the spaces before them.
        tokenizer.add_prefix_space()?;
    }
    let data = Data::read(request.task, &recipe.values.data, t.seed)?;
    let (class, fields) = data.head();
    let start = |seed| {
        let (mut model, report) = load_head(&folder, class, &fields, seed)?;
        if t.random_weights {
            model = Model::random(model.config().clone(), seed)?;
        }
        let mut low_rank = BTreeMap::new();
        if lora.r > 0 {
            low_rank = adapt::low_rank(&mut model, lora, &report.fresh, seed)?;
        }
        adapt::freeze(model.params_mut(), &t.freeze)?;
        low_rank.retain(|id, _| model.params().get(*id).trainable);
        Ok::<_, TrainError>((model, report, low_rank))
    };
    let (model, report, low_rank) = start(t.seed)?;
    let limit = model.info().max_length.unwrap_or(usize::MAX);
    let length = if t.max_length == 0 { limit } else { t.max_length.min(limit) };
    let (mut train, eval) = data.tokenise(&tokenizer, length)?;
    if t.class_weights == ClassWeights::Balanced {
        train.balance();
    }
    progress.note(&format!("data: {} examples for training, {} for evaluation", train.len(), eval.len()));
    for (what, examples) in [("training", &train), ("evaluation", &eval)] {
        if examples.cut > 0 {
            let (n, of) = (examples.cut, examples.len());
            progress.note(&format!("{n} of {of} {what} examples are longer than {length} tokens, and are cut"));
        }
    }
    if !report.fresh.is_empty() {
        progress.note(&format!("new: {}", report.fresh.join(", ")));
    }
    let (learned, of) = (learned(&model, &low_rank), model.params().numel());
    if learned < of {
        let (learned, of) = (units::count(learned as u64), units::count(of as u64));
        progress.note(&format!("trained: {learned} numbers, beside {of} of the model"));
    }
    let mut dir = RunDir::create(request.out, "finetune")?;
    let mut log = Log::create(&dir.log())?;
    let mut scores: Vec<(u64, Scores)> = Vec::new();
    let mut kept: Option<(u64, Fitted, Model)> = None;
    let mut first = Some((model, low_rank));
    for seed in t.seed..t.seed + t.seeds {
        let (mut model, low_rank) = match first.take() {
            Some(first) => first,
            None => {
                progress.note(&format!("seed {seed}"));
                let (model, _, low_rank) = start(seed)?;
                (model, low_rank)
            }
        };
        let fitted = fit(&mut model, &t, seed, runtime, low_rank, (&train, &eval), progress, interrupt)?;
        for (step, loss, s) in &fitted.history {
            let mut line = Map::new();
            line.insert("seed".into(), seed.into());
            line.insert("loss".into(), (*loss).into());
            line.extend(s.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
            log.append(*step, &line)?;
        }
        scores.push((seed, fitted.scores.clone()));
        let stop = fitted.interrupted;
        if kept.as_ref().is_none_or(|(_, k, _)| fitted.scores.judge() > k.scores.judge()) {
            kept = Some((seed, fitted, model));
        }
        if stop {
            break;
        }
    }
    let Some((seed, fitted, model)) = kept else { return Err(TrainError::Interrupted) };
    let card = card(&model, request, &data, &fitted);
    let text = recipe.to_toml();
    dir.commit(fitted.steps.max(1), |staging| {
        match lora.r > 0 && lora.save == LoraSave::Adapter {
            true => adapter::save(&model, &fitted.low_rank, lora, request.name, staging)?,
            false => drop(save(&model, staging)?),
        }
        tokenizer.save(staging)?;
        for (name, text) in [("README.md", &card), ("recipe.toml", &text)] {
            let path = staging.join(name);
            std::fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
        }
        Ok::<_, TrainError>(())
    })?;
    dir.finish()?;
    let interrupted = fitted.interrupted;
    Ok(FinetuneReport { dir: dir.path().to_owned(), scores, kept: seed, interrupted })
}

/// How many numbers learn.
fn learned(model: &Model, low_rank: &BTreeMap<ParamId, LowRank>) -> usize {
    let of = |(id, p): (ParamId, &Param)| match low_rank.get(&id) {
        Some(factors) => factors.len(),
        None if p.trainable => p.value.shape().numel(),
        None => 0,
    };
    model.params().iter().map(of).sum()
}
