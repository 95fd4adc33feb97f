//! Pictures as batches of what is guessed, and the measure of how well.

use std::{path::Path, time::Duration};

use bedstone_data::{
    pictures::{self, Batch, Batches, LoaderOptions, Targets},
    sampler::{Cursor, Loader},
};
use bedstone_infer::{
    Runtime,
    metrics::argmax,
    tasks::vision::{Vision, inputs},
};
use bedstone_models::{Inputs, Logits, Model};
use bedstone_run::{progress::LossMeaning, units::Unit};
use bedstone_tensor::Ctx;

use super::material::Material;
use crate::{
    Result,
    evaluate::{Evaluated, PictureEvaluated},
    finetune::pictures::{ClassWork, shares},
    objective::Work,
    pictures::{AHEAD, Sets},
    recipe::TrainConfig,
};

/// What is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// So many patches of each picture.
    Patches { hidden: usize },
    /// A class of so many.
    Class { of: usize },
}

/// Pictures as batches.
pub(super) struct Pictures {
    pub(super) train: TrainConfig,
    pub(super) sets: Sets,
    pub(super) key: String,
    pub(super) options: LoaderOptions,
    pub(super) guess: Guess,
    /// Places of a picture that go through the model.
    pub(super) places: u64,
    pub(super) image: [usize; 2],
    pub(super) loader: Option<Loader<Result<Batch, pictures::Error>>>,
    pub(super) batch: Option<Batch>,
}

impl Material for Pictures {
    fn start(&mut self, cursor: Cursor) -> Result<()> {
        let mut batches = Batches::new(self.sets.train.clone(), self.options.clone())?;
        batches.seek(cursor)?;
        self.loader = Some(pictures::spawn(batches, self.train.batch, AHEAD)?);
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
                let shares = shares(classes, batch, of, self.train.label_smoothing, None);
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

    fn unit(&self) -> Unit {
        Unit::Pictures(self.places)
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
        for batch in pictures::in_order(&self.sets.eval, &self.options.processor, self.train.micro_batch()) {
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
