//! From files, or the World, to examples for training and evaluation.

use std::path::Path;

use bedstone_data::{
    labelled::{
        Label, LabelForm, Labels, Place, TagExample, TagOptions, TextExample, TextOptions, Unit, read_tags, read_texts,
    },
    sampler::Permutation,
    tokenizer::Tokenizer,
};
use bedstone_kernels::random;
use bedstone_models::Class;
use bedstone_world::{Split, World};
use serde_json::{Map, Value, json};

use super::{Task, examples::Examples, recipe::LabelledConfig};
use crate::{Result, TrainError};

/// Labelled data, and what its labels are.
pub(crate) struct Data {
    kind: Kind,
    /// In a few words.
    pub(crate) name: String,
}

enum Kind {
    Texts { train: Vec<TextExample>, eval: Vec<TextExample>, labels: Option<Labels>, many: bool },
    Tags { train: Vec<TagExample>, eval: Vec<TagExample>, labels: Labels },
}

/// Where no evaluation data is given, one example in so many is kept for it.
const HELD: usize = 10;

impl Data {
    /// Reads what the recipe names. Labels are those of the training data: one that only the evaluation data has is an
    /// error.
    pub(crate) fn read(task: Task, config: &LabelledConfig, seed: u64) -> Result<Self> {
        let name = match &config.train {
            Some(path) => format!("`{}`", path.display()),
            None => "sentences of the embedded World".to_owned(),
        };
        let named = |column: &str| (!column.is_empty()).then(|| column.to_owned());
        let kind = match task {
            Task::Tag => {
                let options =
                    TagOptions { words: named(&config.text), tags: named(&config.label), ..Default::default() };
                let (train, eval) = match &config.train {
                    None => world(config.sentences, tagged),
                    Some(path) => split(path, config.eval.as_deref(), seed, |path| Ok(read_tags(path, &options)?))?,
                };
                let labels = Labels::of_tags(&train)?;
                Kind::Tags { train, eval, labels }
            }
            Task::Classify | Task::Regress => {
                let options = TextOptions {
                    text: named(&config.text),
                    pair: named(&config.pair),
                    label: named(&config.label),
                    form: if task == Task::Regress { LabelForm::Number } else { LabelForm::Auto },
                    ..TextOptions::default()
                };
                let (train, eval) = match (&config.train, task) {
                    (None, Task::Regress) => {
                        return Err(TrainError::Examples {
                            what: "--task regress".into(),
                            got: "no data".into(),
                            wanted: "--data FILE".into(),
                            hint: "the embedded World has classes and tags, no numbers".into(),
                        });
                    }
                    (None, _) => world(config.sentences, sentences),
                    (Some(path), _) => {
                        split(path, config.eval.as_deref(), seed, |path| Ok(read_texts(path, &options)?))?
                    }
                };
                let many = train.iter().any(|e| matches!(e.label, Label::Many(_)));
                let labels = if task == Task::Regress { None } else { Some(Labels::of_texts(&train)?) };
                Kind::Texts { train, eval, labels, many }
            }
        };
        Ok(Data { kind, name })
    }

    /// The head that these labels need, and the fields of `config.json` that describe them.
    pub(crate) fn head(&self) -> (Class, Map<String, Value>) {
        let mut fields = Map::new();
        let named = |labels: &Labels, fields: &mut Map<String, Value>| {
            let ids = labels.names().iter().enumerate();
            let by_id: Map<String, Value> = ids.clone().map(|(i, n)| (i.to_string(), json!(n))).collect();
            fields.insert("id2label".into(), by_id.into());
            fields.insert("label2id".into(), ids.map(|(i, n)| (n.clone(), json!(i))).collect::<Map<_, _>>().into());
        };
        match &self.kind {
            Kind::Tags { labels, .. } => {
                named(labels, &mut fields);
                (Class::TokenClassification, fields)
            }
            Kind::Texts { labels: Some(labels), many, .. } => {
                named(labels, &mut fields);
                let problem = if *many { "multi_label_classification" } else { "single_label_classification" };
                fields.insert("problem_type".into(), problem.into());
                (Class::SequenceClassification, fields)
            }
            Kind::Texts { labels: None, .. } => {
                fields.insert("id2label".into(), json!({"0": "LABEL_0"}));
                fields.insert("label2id".into(), json!({"LABEL_0": 0}));
                fields.insert("problem_type".into(), "regression".into());
                (Class::SequenceClassification, fields)
            }
        }
    }

    /// Tokens of the training and the evaluation examples.
    pub(crate) fn tokenise(&self, tokenizer: &Tokenizer, max_length: usize) -> Result<(Examples, Examples)> {
        Ok(match &self.kind {
            Kind::Texts { train, eval, labels, many } => {
                let examples = |e: &[TextExample]| Examples::texts(e, labels.as_ref(), *many, tokenizer, max_length);
                (examples(train)?, examples(eval)?)
            }
            Kind::Tags { train, eval, labels } => {
                let examples = |e: &[TagExample]| Examples::tags(e, labels, tokenizer, max_length);
                (examples(train)?, examples(eval)?)
            }
        })
    }
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

fn world<T>(count: u64, make: impl Fn(Split, u64) -> Vec<T>) -> (Vec<T>, Vec<T>) {
    (make(Split::Train, count), make(Split::Validation, (count / HELD as u64).max(1)))
}

/// The seed of the embedded sentences: the same data for every run.
const WORLD_SEED: u64 = 0;

fn at(split: Split, record: usize) -> Place {
    Place { file: Path::new(split.name()).into(), record: record as u64 + 1, unit: Unit::Record }
}

fn sentences(split: Split, count: u64) -> Vec<TextExample> {
    let all = World::new(WORLD_SEED).labelled_sentences(split, count).enumerate();
    let example = |(i, s): (usize, bedstone_world::LabelledSentence)| TextExample {
        place: at(split, i),
        text: s.text,
        pair: None,
        label: Label::One(s.label.name().to_owned()),
    };
    all.map(example).collect()
}

fn tagged(split: Split, count: u64) -> Vec<TagExample> {
    let all = World::new(WORLD_SEED).tagged_sentences(split, count).enumerate();
    let example = |(i, s): (usize, bedstone_world::TaggedSentence)| TagExample {
        place: at(split, i),
        words: s.words,
        tags: s.tags.into_iter().map(str::to_owned).collect(),
    };
    all.map(example).collect()
}
