//! Pretraining on pictures: hidden patches, or classes.

use std::path::{Path, PathBuf};

use bedstone_data::{labelled::Labels, pictures::LoaderOptions};
use bedstone_models::{Model, ModelError, checkpoint::ConfigFile, load};
use bedstone_run::{Interrupt, Progress, Recipe, dir::model_folder};
use bedstone_world::Classes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Needs, Request,
    batches::{Guess, Pictures},
    material::{Material, Open},
    weights::{begin_heads, classifier_from, of_recipe, random, start_from},
};
use crate::{
    Result, TrainError,
    augment::AugmentConfig,
    finetune::texts::named,
    pictures::{Sets, Source, Want, WorldSource, column, notes, open, processor, world},
    recipe::{Family, Limits, RunRecipe, TrainConfig},
};

/// A pretraining run on pictures; `recipes/mae.toml` and `recipes/vit.toml` say what the keys mean.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PictureRecipe {
    data: DataConfig,
    augment: AugmentConfig,
    model: Map<String, Value>,
    train: TrainConfig,
    evaluate: EvaluateConfig,
}

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
struct DataConfig {
    paths: Vec<PathBuf>,
    validation: Vec<PathBuf>,
    picture: String,
    label: String,
    pictures: u64,
    /// `pretrain vit` alone.
    #[serde(default)]
    classes: Classes,
}

/// `[evaluate]`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct EvaluateConfig {
    pictures: u64,
    final_pictures: u64,
}

impl PictureRecipe {
    /// A number of `[model]`.
    fn given(&self, key: &str) -> Option<f64> {
        self.model.get(key)?.as_f64()
    }
}

impl RunRecipe for PictureRecipe {
    fn train(&self) -> &TrainConfig {
        &self.train
    }

    fn limits(&self) -> Limits {
        Limits { usual: self.evaluate.pictures, last: self.evaluate.final_pictures }
    }

    fn context(&self, model: &Model) -> usize {
        model.info().max_length.unwrap_or(1)
    }

    fn checkpoints(&mut self) -> Vec<(&mut Option<PathBuf>, Needs)> {
        vec![(&mut self.train.init, Needs::Model)]
    }

    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let own = [
            ("data.paths", self.data.paths.len() <= 1, "one path: a folder may hold many"),
            ("data.validation", self.data.validation.len() <= 1, "one path"),
            ("data.pictures", self.data.pictures >= 20, "20 or more"),
            (
                "model.num_channels",
                self.given("num_channels").is_none_or(|n| n == 3.0),
                "3: grey pictures are read as coloured ones",
            ),
            (
                "model.mask_ratio",
                self.given("mask_ratio").is_none_or(|share| share > 0.0),
                "above 0: what is hidden is guessed",
            ),
        ];
        let rules = self.train.rules().into_iter().chain(self.augment.rules()).chain(own);
        rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, wanted)| (key, wanted))
    }

    fn without_use(&self) -> Vec<(&'static str, &'static str)> {
        let files = !self.data.paths.is_empty();
        let rules = [
            ("data.pictures", !files, "data.paths takes the place of the World's pictures"),
            ("train.init_heads", self.train.init.is_none(), "train.init gives all weights"),
            ("data.classes", !files, "data.paths takes the place of the World's pictures"),
            ("data.validation", files, "the World has a validation split of its own"),
        ];
        let all = rules.into_iter().chain(self.train.without_use());
        all.filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why)).collect()
    }
}

impl Open for PictureRecipe {
    fn open(
        request: &Request<'_>,
        recipe: &Recipe<Self>,
        from: Option<&Path>,
        progress: &mut dyn Progress,
        _: &Interrupt,
    ) -> Result<(Model, Box<dyn Material>)> {
        let r = &recipe.values;
        let want = if request.family == Family::Vit { Want::Classes } else { Want::Nothing };
        // Where this run stopped, or what it begins with.
        let before = match (from, &r.train.init) {
            (Some(from), _) => Some(from.to_owned()),
            (None, Some(init)) => Some(model_folder(init)?),
            (None, None) => None,
        };
        let sets = sets(&r.data, want, side(before.as_deref(), r)?, r.train.seed)?;
        let (train, eval) = (sets.train.len(), sets.eval.len());
        progress.note(&format!("data: {train} pictures for training, {eval} for validation"));
        notes(&sets.train, true).iter().for_each(|note| progress.note(note));
        let mut classes = Map::new();
        if want == Want::Classes {
            classes = sets.train.labels().map(named).unwrap_or_default();
            classes.insert("problem_type".into(), "single_label_classification".into());
        }
        let class = request.family.class(None);
        let model = match (from, &r.train.init) {
            (Some(from), _) => load(from)?.0,
            (None, Some(init)) if want == Want::Classes => {
                classifier_from(request, recipe, &r.model, classes, r.train.seed, init, progress)?
            }
            (None, Some(init)) => start_from(request, recipe, &r.model, init, progress)?,
            (None, None) => {
                let fields = r.model.clone().into_iter().chain(classes).collect();
                let made = random(request, class, &fields, r.train.seed);
                let mut model = made.map_err(|e| of_recipe(recipe, &r.model, e))?;
                begin_heads(&mut model, recipe)?;
                model
            }
        };
        let Some(image) = model.info().image else {
            return Err(TrainError::Examples {
                what: format!("pretrain {}", request.family.name()),
                got: format!("a model of {}", model.architecture().model_type),
                wanted: "a model of pictures of one size".into(),
                hint: "ViT and ViT-MAE are".into(),
            });
        };
        let patches = image.grid().iter().product::<usize>();
        let guess = match want {
            Want::Classes => Guess::Class { of: sets.train.labels().map_or(0, Labels::len) },
            _ => {
                let ratio = model.config().get("mask_ratio").and_then(Value::as_f64).unwrap_or(0.75);
                Guess::Patches { hidden: patches - (patches as f64 * (1.0 - ratio)) as usize }
            }
        };
        let processor = processor(before.as_deref(), &model, image.size)?;
        let mix = r.augment.mix();
        let options = LoaderOptions { seed: r.train.seed, augment: r.augment.steps(image.size)?, processor, mix };
        let key = sets.train.fingerprint();
        let places = patches as u64 + 1;
        let (train, image) = (r.train.clone(), image.size);
        let material = Pictures { train, sets, key, options, guess, places, image, loader: None, batch: None };
        Ok((model, Box::new(material)))
    }
}

/// How many pixels wide the World is drawn: as the model wants it, which a checkpoint decides where there is one.
fn side(before: Option<&Path>, r: &PictureRecipe) -> Result<usize> {
    let config = before.map(ConfigFile::open).transpose().map_err(ModelError::from)?;
    let size = config.as_ref().map_or(r.model.get("image_size"), |config| config.get("image_size"));
    Ok(size.and_then(|size| size.as_u64().or(size.get(0)?.as_u64())).map_or(224, |side| side as usize))
}

fn sets(data: &DataConfig, want: Want, side: usize, seed: u64) -> Result<Sets> {
    let Some(path) = data.paths.first() else {
        return world(WorldSource { pictures: data.pictures, side, classes: data.classes }, want);
    };
    let source = |path| Source { path, images: None, picture: column(&data.picture), label: column(&data.label) };
    open(&source(path), data.validation.first().map(|path| source(path)).as_ref(), want, seed)
}
