//! What a run learns from: texts with their tokenizer, or pictures with their processor.

use std::{path::Path, time::Duration};

use bedstone_data::sampler::Cursor;
use bedstone_infer::Runtime;
use bedstone_models::Model;
use bedstone_run::{Progress, Recipe, progress::LossMeaning, units::Unit};

use super::Request;
use crate::{Result, evaluate::Evaluated, objective::Work, recipe::RunRecipe};

/// Batches to learn from in an order that a cursor resumes, data to measure by, and what of it is kept beside the weights.
pub(super) trait Material: Send {
    /// Goes to where an earlier process stopped.
    fn start(&mut self, cursor: Cursor) -> Result<()>;

    /// Takes the next batch.
    fn next(&mut self) -> Result<()>;

    /// What is to be learned from it.
    fn work(&self) -> Box<dyn Work + '_>;

    /// What of it is guessed: tokens, or pictures.
    fn guessed(&self) -> u64;

    /// Places of it that go through the model.
    fn tokens(&self) -> u64;

    /// What speed is told in.
    fn unit(&self) -> Unit {
        Unit::Tokens
    }

    /// Which data it is, for people.
    fn describe(&self) -> String;

    /// After the batch.
    fn cursor(&self) -> Cursor;

    /// Time in which [`Material::next`] stood still.
    fn waited(&self) -> Duration;

    /// How `model` does on data that it does not learn from, the first `limit` places of it if that is not 0; `None` where there
    /// is no such data.
    fn evaluate(&self, model: &Model, runtime: Runtime, limit: u64) -> Result<Option<Evaluated>>;

    /// Places of that data.
    fn held_out(&self) -> u64;

    /// Writes what people need beside the weights.
    fn save(&self, dir: &Path) -> Result<()>;

    /// Its size on the disk, about.
    fn bytes(&self) -> u64;

    /// The hash that names the data.
    fn key(&self) -> &str;

    /// The data in a few words.
    fn name(&self) -> String;

    /// What the loss measures.
    fn meaning(&self) -> LossMeaning;

    /// The same at the axis of its curve.
    fn axis(&self) -> &'static str;

    /// Rows of the model card beside those that every model has.
    fn facts(&self) -> Vec<(&'static str, String)>;
}

/// What a kind of recipe makes of its data, and the model that it is for.
pub(super) trait Open: RunRecipe {
    /// Opens the data and makes the model, or takes it from `from`: a checkpoint of this run.
    fn open(
        request: &Request<'_>,
        recipe: &Recipe<Self>,
        from: Option<&Path>,
        progress: &mut dyn Progress,
        interrupt: &bedstone_run::Interrupt,
    ) -> Result<(Model, Box<dyn Material>)>;
}
