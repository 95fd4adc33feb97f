//! From files, or the World, to examples for training and evaluation.

use std::path::Path;

use bedstone_data::{
    labelled::{Place, Unit},
    sampler::Permutation,
    tokenizer::Tokenizer,
};
use bedstone_infer::tasks::embed::SentenceConfig;
use bedstone_kernels::random;
use bedstone_models::{Class, Model};
use bedstone_world::{Split, World};
use serde_json::{Map, Value};

use super::{
    Task,
    answers::Answers,
    examples::{Evaluate, Train},
    pairs::Pairs,
    recipe::LabelledConfig,
    tags::Tags,
    texts::Texts,
};
use crate::{Result, TrainError};

/// A kind of labelled data: how it is read, and what a model has to be to learn it.
pub(crate) trait Kind {
    /// A record.
    type Example;

    /// The records of a file.
    fn read(&self, path: &Path) -> Result<Vec<Self::Example>>;

    /// What the World has of it, in words; `None` for nothing.
    fn in_world(&self) -> Option<&'static str>;

    /// The first `count` records of a split of the World.
    fn world(&self, world: &World, split: Split, count: u64) -> Vec<Self::Example>;

    /// Takes the labels of the training data for those that there are.
    fn learn(&mut self, train: &[Self::Example]) -> Result<()>;

    /// Takes the labels of a model for those that there are; an error if it is none for this task.
    fn adopt(&mut self, model: &Model) -> Result<()>;

    /// The head that is needed, and the fields of `config.json` that describe it.
    fn head(&self) -> (Class, Map<String, Value>);

    /// Examples to learn from.
    fn train(&self, examples: &[Self::Example], setup: &Setup<'_>) -> Result<Box<dyn Train>>;

    /// Examples to measure by.
    fn eval(&self, examples: &[Self::Example], setup: &Setup<'_>) -> Result<Box<dyn Evaluate>>;
}

/// What makes tokens of text.
pub(crate) struct Setup<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    /// Tokens of an example, at most.
    pub(crate) max_length: usize,
    /// What follows the encoder, where texts become vectors.
    pub(crate) sentence: Option<&'a SentenceConfig>,
}

/// Labelled data, split.
pub(crate) trait Data {
    /// The head that its labels need, and the fields of `config.json` that describe them.
    fn head(&self) -> (Class, Map<String, Value>);

    /// Tokens of the training and the evaluation examples.
    fn tokenise(&self, setup: &Setup<'_>) -> Result<(Box<dyn Train>, Box<dyn Evaluate>)>;
}

struct Both<K: Kind> {
    kind: K,
    train: Vec<K::Example>,
    eval: Vec<K::Example>,
}

impl<K: Kind> Data for Both<K> {
    fn head(&self) -> (Class, Map<String, Value>) {
        self.kind.head()
    }

    fn tokenise(&self, setup: &Setup<'_>) -> Result<(Box<dyn Train>, Box<dyn Evaluate>)> {
        Ok((self.kind.train(&self.train, setup)?, self.kind.eval(&self.eval, setup)?))
    }
}

/// Does something with the kind of data that a task takes.
macro_rules! with_kind {
    ($task:expr, $config:expr, $kind:ident => $body:expr) => {
        match $task {
            Task::Classify => with_kind!(@ Texts::classes($config), $kind => $body),
            Task::Regress => with_kind!(@ Texts::numbers($config), $kind => $body),
            Task::Tag => with_kind!(@ Tags::new($config), $kind => $body),
            Task::Answer => with_kind!(@ Answers::new($config), $kind => $body),
            Task::Embed => with_kind!(@ Pairs::new($config), $kind => $body),
            Task::Detect => Err(of_pictures($task)),
        }
    };
    (@ $make:expr, $kind:ident => $body:expr) => {{
        #[allow(unused_mut)]
        let mut $kind = $make;
        $body
    }};
}

/// The error of a task that texts have nothing for.
fn of_pictures(task: Task) -> TrainError {
    TrainError::Examples {
        what: format!("--task {}", task.name()),
        got: "a model of texts".into(),
        wanted: "a model of pictures".into(),
        hint: "ViT, DeiT, YOLOS and DETR learn to detect".into(),
    }
}

/// Reads what the recipe names; gives its name, too. Labels are those of the training data: one that only the evaluation
/// data has is an error.
pub(crate) fn read(task: Task, config: &LabelledConfig, seed: u64) -> Result<(Box<dyn Data>, String)> {
    with_kind!(task, config, kind => both(kind, task, config, seed))
}

/// The records of a file as examples to measure `model` by, whose labels they have to have.
pub(crate) fn read_eval(
    task: Task,
    config: &LabelledConfig,
    path: &Path,
    model: &Model,
    setup: &Setup<'_>,
) -> Result<Box<dyn Evaluate>> {
    with_kind!(task, config, kind => {
        kind.adopt(model)?;
        kind.eval(&kind.read(path)?, setup)
    })
}

/// Where no evaluation data is given, one example in so many is kept for it.
const HELD: usize = 10;
/// The seed of the embedded data: the same for every run.
const WORLD_SEED: u64 = 0;

fn both<K: Kind + 'static>(
    mut kind: K,
    task: Task,
    config: &LabelledConfig,
    seed: u64,
) -> Result<(Box<dyn Data>, String)> {
    let (train, eval, name) = match (&config.train, kind.in_world()) {
        (Some(path), _) => {
            let (train, eval) = split(path, config.eval.as_deref(), seed, |path| kind.read(path))?;
            (train, eval, format!("`{}`", path.display()))
        }
        (None, Some(what)) => {
            let (world, count) = (World::new(WORLD_SEED), config.sentences);
            let train = kind.world(&world, Split::Train, count);
            let eval = kind.world(&world, Split::Validation, (count / HELD as u64).max(1));
            (train, eval, format!("{what} of the embedded World"))
        }
        (None, None) => {
            return Err(TrainError::Examples {
                what: format!("--task {}", task.name()),
                got: "no data".into(),
                wanted: "--data FILE".into(),
                hint: "the embedded World has classes, tags, questions and pairs, no numbers".into(),
            });
        }
    };
    kind.learn(&train)?;
    Ok((Box::new(Both { kind, train, eval }), name))
}

/// Two files, or one whose every tenth example, in an order drawn from the seed, is for evaluation.
fn split<T>(
    path: &Path,
    eval: Option<&Path>,
    seed: u64,
    read: impl Fn(&Path) -> Result<Vec<T>>,
) -> Result<(Vec<T>, Vec<T>)> {
    let all = read(path)?;
    if let Some(eval) = eval {
        return Ok((all, read(eval)?));
    }
    if all.len() < 2 * HELD {
        return Err(TrainError::Examples {
            what: path.display().to_string(),
            got: format!("{} examples", all.len()),
            wanted: format!("at least {}, of which every tenth is for evaluation", 2 * HELD),
            hint: "give more data, or a file for evaluation: --eval FILE".into(),
        });
    }
    let order = Permutation::new(all.len() as u64, random::key(seed, 0));
    let held = all.len() / HELD;
    let mut place: Vec<(u64, T)> = all.into_iter().enumerate().map(|(i, e)| (order.at(i as u64), e)).collect();
    place.sort_by_key(|(at, _)| *at);
    let mut examples = place.into_iter().map(|(_, e)| e);
    let eval = examples.by_ref().take(held).collect();
    Ok((examples.collect(), eval))
}

/// The place of a record of the World.
pub(crate) fn at(split: Split, record: usize) -> Place {
    Place { file: Path::new(split.name()).into(), record: record as u64 + 1, unit: Unit::Record }
}

/// The error of a record that a task cannot use.
pub(crate) fn refused(place: &Place, got: String, wanted: impl Into<String>, hint: &str) -> TrainError {
    TrainError::Examples { what: place.to_string(), got, wanted: wanted.into(), hint: hint.to_owned() }
}
