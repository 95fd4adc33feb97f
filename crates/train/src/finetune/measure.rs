//! How a fine-tuned model does on labelled data.

use std::path::Path;

use bedstone_infer::tasks::{EncoderModel, embed::SentenceConfig};
use bedstone_models::Class;
use bedstone_run::{Layers, Recipe, Setting};

use super::{
    FINETUNE_RECIPE, Task, TaskReport, check,
    data::{self, Setup},
    recipe::FinetuneRecipe,
};
use crate::Result;

/// What to measure.
pub struct MeasureRequest<'a> {
    /// The model, with the head that the task needs.
    pub model: EncoderModel,
    /// What follows it, where texts become vectors.
    pub sentence: Option<SentenceConfig>,
    /// What it is to do.
    pub task: Task,
    /// Labelled data; its labels have to be the model's.
    pub data: &'a Path,
    /// Keys of the recipe of fine-tuning that say how data is read: those of `[data]`, and `train.max_length`.
    pub settings: &'a [Setting],
}

/// Measures a model by labelled data, as fine-tuning does.
///
/// # Errors
///
/// A model of another class; data that cannot be used, and a label that the model does not have, which name the record.
pub fn measure(request: MeasureRequest<'_>) -> Result<TaskReport> {
    let MeasureRequest { mut model, sentence, task, data, settings } = request;
    let layers = Layers { built_in: FINETUNE_RECIPE, config: None, settings };
    let recipe: Recipe<FinetuneRecipe> = Recipe::resolve(layers)?;
    check(&recipe)?;
    for key in settings.iter().map(Setting::key) {
        let other = ["data.train", "data.eval", "data.sentences"].contains(&&key[..]);
        if other || !(key.starts_with("data.") || key == "train.max_length") {
            return Err(recipe.without_use(&key, "nothing is trained").into());
        }
    }
    model.encoder().need(task.name(), &[task.class()])?;
    if task == Task::Tag {
        // A byte-level tokenizer tells words apart by the spaces before them.
        model.tokenizer.add_prefix_space()?;
    }
    let limit = model.encoder().max_length();
    let usual = match task {
        Task::Answer => task.usual_length(None),
        _ => sentence.as_ref().and_then(|s| s.max_seq_length).unwrap_or(limit),
    };
    let asked = recipe.values.train.max_length;
    let max_length = limit.min(if asked == 0 { usual } else { asked });
    let setup = Setup { tokenizer: &model.tokenizer, max_length, sentence: sentence.as_ref() };
    let examples = data::read_eval(task, &recipe.values.data, data, &model.model, &setup)?;
    let report = examples.report(&model.model, model.runtime)?;
    Ok(TaskReport { examples: examples.len(), notes: examples.notes(), ..report })
}

impl Task {
    /// What a model for it has to be.
    fn class(self) -> Class {
        match self {
            Task::Classify | Task::Regress => Class::SequenceClassification,
            Task::Tag => Class::TokenClassification,
            Task::Answer => Class::QuestionAnswering,
            Task::Embed => Class::Base,
            Task::Detect => Class::ObjectDetection,
        }
    }
}
