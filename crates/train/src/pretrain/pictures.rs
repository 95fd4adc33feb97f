//! Pretraining on pictures: hidden patches, or classes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bedstone_data::{
    labelled::Labels,
    pictures::{self, Batch, Batches, Class as ProcessorClass, LoaderOptions, Processor, Size, Targets},
    sampler::{Cursor, Loader},
};
use bedstone_infer::{
    Runtime,
    metrics::argmax,
    tasks::vision::{Vision, inputs},
};
use bedstone_models::{Inputs, Logits, Model, load};
use bedstone_run::{Interrupt, Progress, Recipe, progress::LossMeaning};
use bedstone_tensor::Ctx;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Needs, Request,
    material::{Material, Open},
    weights::{of_recipe, random, start_from},
};
use crate::{
    Result, TrainError,
    augment::AugmentConfig,
    evaluate::{Evaluated, PictureEvaluated},
    finetune::{
        pictures::{ClassWork, shares},
        texts::named,
    },
    objective::Work,
    pictures::{Sets, Source, Want, WorldSource, column, notes, open, world},
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
}

/// `[evaluate]`.
#[derive(Clone, Copy, Debug, Deserialize)]
struct EvaluateConfig {
    pictures: u64,
    final_pictures: u64,
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
        ];
        let rules = self.train.rules().into_iter().chain(self.augment.rules()).chain(own);
        rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, wanted)| (key, wanted))
    }

    fn without_use(&self) -> Vec<(&'static str, &'static str)> {
        let files = !self.data.paths.is_empty();
        let rules = [
            ("data.pictures", !files, "data.paths takes the place of the World's pictures"),
            ("data.validation", files, "the World has a validation split of its own"),
        ];
        let all = rules.into_iter().chain(self.train.without_use());
        all.filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why)).collect()
    }
}

/// What is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    /// So many patches of each picture.
    Patches { hidden: usize },
    /// A class of so many.
    Class { of: usize },
}

/// Pictures as batches.
struct Pictures {
    recipe: PictureRecipe,
    sets: Sets,
    key: String,
    options: LoaderOptions,
    guess: Guess,
    /// Places of a picture that go through the model.
    places: u64,
    image: [usize; 2],
    loader: Option<Loader<Result<Batch, pictures::Error>>>,
    batch: Option<Batch>,
}

/// Batches that are made ahead.
const AHEAD: usize = 2;

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
        let side = r.model.get("image_size").and_then(Value::as_u64).map_or(224, |side| side as usize);
        let sets = sets(&r.data, want, side, r.train.seed)?;
        let (train, eval) = (sets.train.len(), sets.eval.len());
        progress.note(&format!("data: {train} pictures for training, {eval} for validation"));
        notes(&sets.train).iter().for_each(|note| progress.note(note));
        let mut fields = r.model.clone();
        if want == Want::Classes {
            fields.extend(sets.train.labels().map(named).unwrap_or_default());
            fields.insert("problem_type".into(), "single_label_classification".into());
        }
        let class = request.family.class(None);
        let model = match (from, &r.train.init) {
            (Some(from), _) => load(from)?.0,
            (None, Some(init)) => start_from(request, recipe, &r.model, init, progress)?,
            (None, None) => {
                random(request, class, &fields, r.train.seed).map_err(|e| of_recipe(recipe, &r.model, e))?
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
        let patches = (image.size[0] / image.patch[0].max(1)) * (image.size[1] / image.patch[1].max(1));
        let guess = match want {
            Want::Classes => Guess::Class { of: sets.train.labels().map_or(0, Labels::len) },
            _ => {
                let ratio = model.config().get("mask_ratio").and_then(Value::as_f64).unwrap_or(0.75);
                Guess::Patches { hidden: patches - (patches as f64 * (1.0 - ratio)) as usize }
            }
        };
        let [height, width] = image.size;
        let class = ProcessorClass::of_model(model.architecture().model_type).unwrap_or(ProcessorClass::ViT);
        let processor = Processor { size: Size::Exact { height, width }, ..Processor::new(class) };
        let mix = r.augment.mix();
        let options = LoaderOptions { seed: r.train.seed, augment: r.augment.steps(image.size)?, processor, mix };
        let key = sets.train.fingerprint();
        let places = patches as u64 + 1;
        let (recipe, image) = (r.clone(), image.size);
        let material = Pictures { recipe, sets, key, options, guess, places, image, loader: None, batch: None };
        Ok((model, Box::new(material)))
    }
}

fn sets(data: &DataConfig, want: Want, side: usize, seed: u64) -> Result<Sets> {
    let Some(path) = data.paths.first() else {
        return world(WorldSource { pictures: data.pictures, side, nouns: false }, want);
    };
    let source = |path| Source { path, images: None, picture: column(&data.picture), label: column(&data.label) };
    open(&source(path), data.validation.first().map(|path| source(path)).as_ref(), want, seed)
}

impl Material for Pictures {
    fn start(&mut self, cursor: Cursor) -> Result<()> {
        let mut batches = Batches::new(self.sets.train.clone(), self.options.clone())?;
        batches.seek(cursor)?;
        self.loader = Some(pictures::spawn(batches, self.recipe.train.batch, AHEAD)?);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let loader = self.loader.as_mut().ok_or(bedstone_data::sampler::Error::LoaderEnded)?;
        self.batch = Some(loader.next_batch()??);
        Ok(())
    }

    fn work(&self) -> Box<dyn Work + '_> {
        match (&self.batch, self.guess) {
            (None, _) => Box::new(Nothing),
            (Some(batch), Guess::Patches { hidden }) => Box::new(PatchWork { batch, hidden }),
            (Some(batch), Guess::Class { of }) => {
                let classes: &[usize] = match &batch.targets {
                    Targets::Classes(classes) => classes,
                    Targets::None | Targets::Objects(_) => &[],
                };
                let shares = shares(classes, batch, of, self.recipe.augment.label_smoothing, None);
                Box::new(ClassWork { batch, shares, classes: of })
            }
        }
    }

    fn guessed(&self) -> u64 {
        self.batch.as_ref().map_or(0, |b| b.pixels.count as u64)
    }

    fn tokens(&self) -> u64 {
        self.guessed() * self.places
    }

    fn describe(&self) -> String {
        let Some(batch) = &self.batch else { return String::new() };
        let names: Vec<&str> = batch.records.iter().take(4).map(|&i| &self.sets.train.records()[i].name[..]).collect();
        let more = batch.records.len().saturating_sub(names.len());
        format!("{} and {more} more pictures", names.join(", "))
    }

    fn cursor(&self) -> Cursor {
        self.loader.as_ref().map_or_else(Cursor::default, Loader::cursor)
    }

    fn waited(&self) -> Duration {
        self.loader.as_ref().map_or(Duration::ZERO, Loader::waited)
    }

    fn evaluate(&self, model: &Model, runtime: Runtime, limit: u64) -> Result<Option<Evaluated>> {
        let vision = Vision { model, processor: &self.options.processor, runtime };
        let (mut sum, mut right, mut done) = (0.0, 0, 0);
        for batch in pictures::in_order(&self.sets.eval, &self.options.processor, self.recipe.train.micro_batch()) {
            let batch = batch?;
            let n = batch.pixels.count;
            match (self.guess, &batch.targets) {
                (Guess::Patches { hidden }, _) => {
                    let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
                    let inputs = PatchWork { batch: &batch, hidden }.inputs(0..n, hidden as f64);
                    sum += model.forward(&inputs, &mut ctx)?.need("loss")?.item()? as f64;
                }
                (Guess::Class { of }, Targets::Classes(classes)) => {
                    let logits = vision.logits(&batch.pixels)?;
                    for (row, &class) in logits.chunks_exact(of.max(1)).zip(classes) {
                        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
                        let all: f64 = row.iter().map(|&x| (x as f64 - most).exp()).sum();
                        sum += most + all.ln() - row[class] as f64;
                        right += u64::from(argmax(row) == class);
                    }
                }
                (Guess::Class { .. }, _) => return Ok(None),
            }
            done += n as u64;
            if limit > 0 && done >= limit {
                break;
            }
        }
        let share = |x: f64| x / done.max(1) as f64;
        let accuracy = matches!(self.guess, Guess::Class { .. }).then(|| share(right as f64));
        Ok(Some(Evaluated::Pictures(PictureEvaluated { loss: share(sum), accuracy, pictures: done })))
    }

    fn held_out(&self) -> u64 {
        self.sets.eval.len() as u64
    }

    fn save(&self, dir: &Path) -> Result<()> {
        Ok(self.options.processor.save(dir)?)
    }

    fn bytes(&self) -> u64 {
        4096
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn name(&self) -> String {
        self.sets.name.clone()
    }

    fn meaning(&self) -> LossMeaning {
        LossMeaning::Other(match self.guess {
            Guess::Patches { .. } => "the mean squared error of the pixels of hidden patches; 1 is guessing each patch's mean, if those are normalised".into(),
            Guess::Class { of } => {
                let blind = (of.max(1) as f64).ln();
                format!("how surprised the model is by each class; {blind:.2} is blind guessing among {of}, 0 is certainty")
            }
        })
    }

    fn axis(&self) -> &'static str {
        match self.guess {
            Guess::Patches { .. } => "loss (squared error a pixel)",
            Guess::Class { .. } => "loss (nats a picture)",
        }
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let [height, width] = self.image;
        vec![("pictures", format!("{height} by {width} pixels, {} of them", self.sets.train.len()))]
    }
}

/// A batch of pictures whose hidden patches are guessed.
struct PatchWork<'a> {
    batch: &'a Batch,
    hidden: usize,
}

impl Work for PatchWork<'_> {
    fn samples(&self) -> usize {
        self.batch.pixels.count
    }

    fn divisor(&self) -> f64 {
        (self.samples() * self.hidden).max(1) as f64
    }

    fn inputs(&self, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let mut inputs = inputs(&self.batch.pixels, samples);
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}

/// Before the first batch.
struct Nothing;

impl Work for Nothing {
    fn samples(&self) -> usize {
        0
    }

    fn divisor(&self) -> f64 {
        1.0
    }

    fn inputs(&self, _: std::ops::Range<usize>, _: f64) -> Inputs {
        Inputs::default()
    }
}
