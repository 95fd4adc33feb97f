//! The weights that a run begins with.

use std::path::Path;

use bedstone_models::{Class, LoadReport, Model, ModelError, checkpoint::ConfigFile, load, transfer};
use bedstone_nn::{Init, NnError, Random, Source};
use bedstone_run::{Layers, Progress, Recipe, dir::model_folder, plan::available_memory, recipe::Origin, units};
use bedstone_tensor::{Shape, Tensor};
use serde_json::{Map, Value};

use super::Request;
use crate::{
    Result, TrainError,
    local_heads::begin_local,
    recipe::{InitHeads, RunRecipe},
};

/// A model of the request's family with random weights.
pub(super) fn random(
    request: &Request<'_>,
    class: Class,
    fields: &Map<String, Value>,
    seed: u64,
) -> Result<Model, ModelError> {
    let architecture = request.family.architecture();
    let mut source = Limited::new(Random { seed });
    Model::build(Model::config_of(architecture, class, fields), &mut source)
}

/// Lets the heads of a model with random weights begin as the recipe says.
pub(super) fn begin_heads<R: RunRecipe>(model: &mut Model, recipe: &Recipe<R>) -> Result<()> {
    let train = recipe.values.train();
    if train.init_heads == InitHeads::Local && !begin_local(model, train.seed)? {
        return Err(recipe.invalid("train.init_heads", "\"random\" for this model").into());
    }
    Ok(())
}

/// The weights of another checkpoint under this run's settings; `model` is what the recipe says of the model.
pub(super) fn start_from<R: RunRecipe>(
    request: &Request<'_>,
    recipe: &Recipe<R>,
    model: &Map<String, Value>,
    init: &Path,
    progress: &mut dyn Progress,
) -> Result<Model> {
    let (loaded, report) = load(&model_folder(init)?)?;
    let wanted = request.family.model_type();
    if loaded.architecture().model_type != wanted {
        return Err(recipe.invalid("train.init", format!("a checkpoint of model_type `{wanted}`")).into());
    }
    check_unchanged(request, recipe, model)?;
    tell(init, &report, progress);
    Ok(loaded)
}

/// A classifier of pictures with the weights of another ViT, or of an autoencoder; `fields` name its classes. A head of as many classes
/// is taken over too.
pub(super) fn classifier_from<R: RunRecipe>(
    request: &Request<'_>,
    recipe: &Recipe<R>,
    model: &Map<String, Value>,
    mut fields: Map<String, Value>,
    seed: u64,
    init: &Path,
    progress: &mut dyn Progress,
) -> Result<Model> {
    let dir = model_folder(init)?;
    let config = ConfigFile::open(&dir).map_err(ModelError::from)?;
    if !["vit", "vit_mae"].contains(&config.model_type().map_err(ModelError::from)?) {
        return Err(recipe.invalid("train.init", "a checkpoint of model_type `vit` or `vit_mae`").into());
    }
    check_unchanged(request, recipe, model)?;
    fields.insert("model_type".into(), "vit".into());
    let (made, report) = transfer(&dir, Class::ImageClassification, &fields, seed)?;
    tell(init, &report, progress);
    Ok(made)
}

/// An error where the recipe says something of a model that a checkpoint decides. A run that is begun again has a recipe that names all
/// keys, so what counts is their values.
fn check_unchanged<R: RunRecipe>(request: &Request<'_>, recipe: &Recipe<R>, model: &Map<String, Value>) -> Result<()> {
    let plain: Recipe<R> = Recipe::resolve(Layers { built_in: request.family.recipe(), config: None, settings: &[] })?;
    let changed = |k: &String| recipe.origin(k) != Origin::BuiltIn && recipe.value(k) != plain.value(k);
    match model.keys().map(|k| format!("model.{k}")).find(changed) {
        Some(key) => Err(recipe.invalid(&key, "nothing: the checkpoint of train.init decides the model").into()),
        None => Ok(()),
    }
}

fn tell(init: &Path, report: &LoadReport, progress: &mut dyn Progress) {
    if !report.unused.is_empty() {
        progress.note(&format!("{}: not used: {}", init.display(), report.unused.join(", ")));
    }
    if !report.fresh.is_empty() {
        progress.note(&format!("new: {}", report.fresh.join(", ")));
    }
    progress.note(&format!("weights: from {}", init.display()));
}

/// A size that makes no sense, under the key that the recipe has for it.
pub(super) fn of_recipe<R>(recipe: &Recipe<R>, model: &Map<String, Value>, error: ModelError) -> TrainError {
    match &error {
        ModelError::Layers(NnError::Config { what, wanted, .. }) if model.contains_key(what) => {
            recipe.invalid(&format!("model.{what}"), wanted).into()
        }
        _ => error.into(),
    }
}

/// Fresh weights, as long as memory lasts for training them: a slip of a size must not take the machine down.
struct Limited {
    random: Random,
    numbers: u64,
    available: Option<u64>,
}

/// Weight, gradient and two moments.
const BYTES_A_PARAMETER: u64 = 16;

impl Limited {
    fn new(random: Random) -> Self {
        Limited { random, numbers: 0, available: available_memory() }
    }
}

impl Source for Limited {
    fn weights(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor, NnError> {
        self.numbers = self.numbers.saturating_add(shape.numel() as u64);
        if let Some(has) = self.available.filter(|has| self.numbers.saturating_mul(BYTES_A_PARAMETER) > *has) {
            let (needs, has) = (units::bytes(self.numbers * BYTES_A_PARAMETER), units::bytes(has));
            return Err(NnError::Config {
                what: "the size of the model".into(),
                got: format!("{needs} of memory to train it as far as `{name}`"),
                wanted: format!("at most {has}, which are available"),
            });
        }
        self.random.weights(name, shape, init)
    }
}
