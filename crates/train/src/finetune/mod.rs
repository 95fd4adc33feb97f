//! Fine-tuning: a checkpoint's body, a new head, labelled data.
//!
//! ```text
//! mod.rs       what is asked for, from checkpoint to checkpoint
//! recipe.rs    its settings
//! data.rs      from files, or the World, to examples; what a kind of data has to say for itself
//! examples.rs  what tokenised examples of all kinds have in common
//! texts.rs     classes and numbers of texts
//! tags.rs      tags of words
//! answers.rs   answers to questions
//! pairs.rs     vectors of texts
//! detector.rs  what a detector that learns has in its config.json
//! vision.rs    pictures: from a recipe to examples and a model
//! pictures.rs  classes of pictures and objects in them
//! points.rs    boxes that begin where a detector's tokens stand
//! adapt.rs     which parameters learn, how fast, and by which factors
//! adapter.rs   factors as files of peft
//! fit.rs       the steps of one seed
//! run.rs       from seed to seed: directory and checkpoints
//! begun.rs     a run that goes on
//! standing.rs  what a checkpoint keeps of a run
//! measure.rs   a model on labelled data, without training
//! ```

mod adapt;
mod adapter;
mod answers;
mod begun;
mod card;
mod data;
mod detector;
mod examples;
mod fit;
mod measure;
mod pairs;
pub(crate) mod pictures;
mod points;
mod recipe;
mod run;
mod standing;
mod tags;
pub(crate) mod texts;
mod vision;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bedstone_data::tokenizer::Tokenizer;
use bedstone_infer::{
    Runtime,
    tasks::embed::{SentenceConfig, save_sentence_transformer},
};
use bedstone_models::{Architecture, LoadReport, Model, ModelError, checkpoint::ConfigFile, load_head};
use bedstone_run::{Ending, Interrupt, Progress, Recipe, Setting, Start, dir::model_folder};
use bedstone_tensor::{Isa, ParamId};

pub use begun::begun_finetune;
use begun::{Begun, hash_of_files};
use data::Setup;
use examples::{Evaluate, Train};
pub use examples::{Scores, TaskReport};
pub use measure::{MeasureRequest, measure};
use recipe::{ClassWeights, FinetuneRecipe, FitConfig, LoraConfig, LoraSave, Wrong, without_use};
use run::learn;
pub use vision::{PICTURES_RECIPE, measure_pictures};

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
    /// The place of an answer in a text.
    Answer,
    /// A vector for a text, near to those of texts that belong to it.
    Embed,
    /// Objects in pictures.
    Detect,
}

impl Task {
    const ALL: [Task; 6] = [Task::Classify, Task::Regress, Task::Tag, Task::Answer, Task::Embed, Task::Detect];

    /// That of a name on the command line.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Task::Classify => "classify",
            Task::Regress => "regress",
            Task::Tag => "tag",
            Task::Answer => "answer",
            Task::Embed => "embed",
            Task::Detect => "detect",
        }
    }

    /// Tokens of an example, where nothing else is said.
    fn usual_length(self, sentence: Option<&SentenceConfig>) -> usize {
        match self {
            Task::Answer => 384,
            _ => sentence.and_then(|s| s.max_seq_length).unwrap_or(128),
        }
    }
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
    /// Anew, or where an earlier process stopped.
    pub start: Start,
    /// The instructions to use.
    pub isa: Isa,
}

/// How fine-tuning went.
#[derive(Debug)]
pub struct FinetuneReport {
    /// The checkpoint directory.
    pub dir: PathBuf,
    /// The step of its last checkpoint, of all seeds together.
    pub step: u64,
    /// Of each seed, in order.
    pub scores: Vec<(u64, Scores)>,
    /// The seed whose model was kept.
    pub kept: u64,
    /// Whether it ran to its end.
    pub outcome: Ending,
}

impl FinetuneReport {
    /// Mean and sample standard deviation of each metric over the seeds.
    pub fn spread(&self) -> Vec<(Cow<'static, str>, f64, f64)> {
        let names = self.scores.first().map(|(_, s)| s.0.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>());
        let of = |name: Cow<'static, str>| {
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
    let dir = model_folder(request.model)?;
    if is_vision(&dir) {
        vision::run(request, &dir, progress, interrupt)
    } else {
        text_run(request, &dir, progress, interrupt)
    }
}

/// Whether a checkpoint is of a model of pictures.
pub fn is_vision(dir: &Path) -> bool {
    // What cannot be told is for the loader to say.
    let kind = ConfigFile::open(dir).ok().and_then(|config| Architecture::of_type(&config).ok());
    kind.is_some_and(Architecture::takes_pictures)
}

/// A model to learn with, what was made of its checkpoint, and the factors by which weights learn.
type Started = (Model, LoadReport, BTreeMap<ParamId, LowRank>);

/// What a kind of data gives the loop over seeds.
struct Prepared<'a> {
    /// A model for a seed.
    start: &'a dyn Fn(u64) -> Result<Started>,
    /// That of the first one.
    first: Started,
    train: Box<dyn Train>,
    eval: Box<dyn Evaluate>,
    fit: FitConfig,
    lora: &'a LoraConfig,
    runtime: Runtime,
    /// Writes what people need beside the weights, or with them.
    save: &'a dyn Fn(&Model, &Path) -> Result<()>,
    /// Whether `save` writes the weights, too.
    saves_weights: bool,
    /// The data in a few words; its hash; the recipe.
    data: String,
    data_key: String,
    recipe: String,
}

fn text_run(
    request: &FinetuneRequest<'_>,
    dir: &Path,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<FinetuneReport> {
    let begun = Begun::open(request, progress)?;
    let recipe: Recipe<FinetuneRecipe> = begun.recipe(FINETUNE_RECIPE, request)?;
    if let Some(report) = begun.finished(progress) {
        return Ok(report);
    }
    let (t, lora) = (recipe.values.train.clone(), &recipe.values.lora);
    let as_adapter = lora.save == LoraSave::Adapter;
    recipe.refuse(without_use(lora.used()))?;
    if as_adapter && request.task == Task::Embed {
        return Err(recipe.without_use("lora.save", "a sentence-transformer is saved whole: \"merged\"").into());
    }
    let runtime = Runtime { isa: request.isa, precision: resolve(t.precision, request.isa, &recipe)? };
    // Of old sentence-transformers it is not the model's.
    let folder = if request.task == Task::Embed { SentenceConfig::encoder_folder(dir)? } else { dir.to_owned() };
    let mut tokenizer = Tokenizer::load(&folder)?;
    if request.task == Task::Tag {
        // A byte-level tokenizer tells words apart by the spaces before them.
        tokenizer.add_prefix_space()?;
    }
    let (data, data_name) = data::read(request.task, &recipe.values.data, t.seed)?;
    let (class, mut fields) = data.head();
    if let Some(p) = t.dropout {
        fields.extend(adapt::dropout(bedstone_models::config(&folder)?.model_type().map_err(ModelError::from)?, p));
    }
    let start = |seed| {
        let (mut model, report) = load_head(&folder, class, &fields, seed)?;
        if t.random_weights {
            model = Model::random(model.config().clone(), seed)?;
        }
        let low_rank = adapted(&mut model, &report, lora, &t, seed)?;
        Ok::<_, TrainError>((model, report, low_rank))
    };
    let (model, report, low_rank) = start(t.seed)?;
    let mut sentence = match request.task {
        Task::Embed => Some(pairs::sentence(dir, model.info().width, t.pooling)?),
        _ => None,
    };
    let limit = model.info().max_length.unwrap_or(usize::MAX);
    let asked = if t.max_length == 0 { request.task.usual_length(sentence.as_ref()) } else { t.max_length };
    let max_length = asked.min(limit);
    let setup = Setup { tokenizer: &tokenizer, max_length, sentence: sentence.as_ref() };
    let (mut train, eval) = data.tokenise(&setup)?;
    balance(&recipe, &t, &mut *train)?;
    if train.whole_batches() && t.micro_batch != 0 && t.micro_batch < t.batch {
        let why = "each pair is compared with all others of its batch, which cannot be split; \
                   train.gradient_checkpointing=true saves memory, too";
        return Err(recipe.without_use("train.micro_batch", why).into());
    }
    if let Some(sentence) = &mut sentence {
        // What it learned with is what it is used with.
        sentence.max_seq_length = Some(max_length);
    }
    let save = |model: &Model, staging: &Path| match &sentence {
        Some(sentence) => Ok(save_sentence_transformer(staging, model, &tokenizer, sentence)?),
        None => Ok(tokenizer.save(staging)?),
    };
    let prepared = Prepared {
        start: &start,
        first: (model, report, low_rank),
        train,
        eval,
        fit: t.clone(),
        lora,
        runtime,
        save: &save,
        saves_weights: sentence.is_some(),
        data: data_name,
        data_key: hash_of_files([&recipe.values.data.train, &recipe.values.data.eval].into_iter().flatten())?,
        recipe: recipe.to_toml(),
    };
    learn(request, begun, prepared, progress, interrupt)
}

/// Gives each class the same weight where the recipe says so.
fn balance<R>(recipe: &Recipe<R>, t: &FitConfig, train: &mut dyn Train) -> Result<()> {
    if t.class_weights == ClassWeights::Balanced && !train.balance() {
        return Err(recipe.without_use("train.class_weights", "these examples have no class each").into());
    }
    Ok(())
}

/// The factors of a model that learns by them, and what is frozen.
fn adapted(
    model: &mut Model,
    report: &LoadReport,
    lora: &LoraConfig,
    t: &FitConfig,
    seed: u64,
) -> Result<BTreeMap<ParamId, LowRank>> {
    let mut low_rank = BTreeMap::new();
    if lora.r > 0 {
        low_rank = adapt::low_rank(model, lora, &report.fresh, seed)?;
    }
    adapt::freeze(model.params_mut(), &t.freeze)?;
    low_rank.retain(|id, _| model.params().get(*id).trainable);
    Ok(low_rank)
}

/// An error that names the first key whose value makes no sense.
fn check<R: Wrong>(recipe: &Recipe<R>) -> Result<()> {
    match recipe.values.wrong() {
        Some((key, wanted)) => Err(recipe.invalid(key, wanted).into()),
        None => Ok(()),
    }
}
