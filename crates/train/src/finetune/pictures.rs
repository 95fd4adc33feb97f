//! Pictures with a class each, or with objects in them.

use std::borrow::Borrow;

use bedstone_data::{
    labelled::Labels,
    pictures::{self, Batch, LoaderOptions, PictureSet, Processor, Target, Targets, augment::Mixed},
};
use bedstone_infer::{
    Runtime,
    metrics::{self, Confusion, FoundBox, TrueBox, argmax, coco},
    tasks::{
        detected::{Detected, PostProcess},
        vision::{Vision, inputs},
    },
};
use bedstone_models::{Inputs, Logits, Model, covered_patches};
use bedstone_run::units::Unit;
use bedstone_tensor::{Ctx, Result as OpResult, Tensor, ops};

use super::{
    examples::{Draws, Evaluate, Scores, TaskReport, Train},
    texts::balanced,
};
use crate::{
    Result,
    objective::{Losses, Work},
    pictures::notes,
};

/// Pictures to learn from.
pub(crate) struct PictureTraining {
    pub(crate) set: PictureSet,
    pub(crate) options: LoaderOptions,
    /// Share of a class's target that is spread over all.
    pub(crate) label_smoothing: f32,
    /// One weight a class, where classes do not count the same.
    pub(crate) weights: Option<Vec<f32>>,
    /// Objects are to be found by so many predictions each, in so many first epochs.
    pub(crate) repeated: (usize, u64),
    /// Weight of the loss of what patches say of their own place.
    pub(crate) patch_loss: f32,
    /// Patches of a picture, down and across.
    pub(crate) grid: [usize; 2],
    /// Tokens of a picture, for speed.
    pub(crate) tokens: u64,
}

impl PictureTraining {
    fn classes(&self) -> usize {
        self.set.labels().map_or(0, Labels::len)
    }
}

impl Train for PictureTraining {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn work(&self, draws: Draws, samples: Vec<u64>) -> Result<Box<dyn Work + '_>> {
        let records: Vec<usize> = samples.iter().map(|&i| i as usize).collect();
        let options = LoaderOptions { seed: draws.seed, ..self.options.clone() };
        let batch = pictures::gather(&self.set, &options, draws.epoch, &records)?;
        Ok(match &batch.targets {
            Targets::Objects(_) => {
                let (times, epochs) = self.repeated;
                let times = if draws.epoch < epochs { times } else { 1 };
                Box::new(ObjectWork { batch, times, patch_loss: self.patch_loss, grid: self.grid })
            }
            Targets::Classes(classes) => {
                let shares = shares(classes, &batch, self.classes(), self.label_smoothing, self.weights.as_deref());
                Box::new(ClassWork { batch, shares, classes: self.classes() })
            }
            Targets::None => return Err(pictures::Error::NoLabel { name: self.name_of(&records) }.into()),
        })
    }

    fn ahead(&self) -> bool {
        true
    }

    fn tokens(&self, samples: &[u64]) -> u64 {
        self.tokens * samples.len() as u64
    }

    fn unit(&self) -> Unit {
        Unit::Pictures(self.tokens)
    }

    fn notes(&self) -> Vec<String> {
        notes(&self.set, true)
    }

    fn balance(&mut self) -> bool {
        let classes: Option<Vec<usize>> = self
            .set
            .records()
            .iter()
            .map(|r| match r.target {
                Target::Class(class) => Some(class),
                Target::None | Target::Objects(_) => None,
            })
            .collect();
        self.weights = classes.map(|all| balanced(self.classes(), all.into_iter()));
        self.weights.is_some()
    }
}

impl PictureTraining {
    fn name_of(&self, records: &[usize]) -> String {
        let unknown = |&&i: &&usize| self.set.records()[i].target == Target::None;
        records.iter().find(unknown).map_or_else(String::new, |&i| self.set.records()[i].name.clone())
    }
}

/// How much of each picture is of each class, `[B, classes]`; `classes` are those of the pictures before they were mixed.
pub(crate) fn shares(
    classes: &[usize],
    batch: &Batch,
    count: usize,
    smoothing: f32,
    weights: Option<&[f32]>,
) -> Vec<f32> {
    let plain = || Mixed { partner: (0..classes.len()).collect(), share: vec![1.0; classes.len()] };
    let mut shares = batch.mixed.clone().unwrap_or_else(plain).targets(classes, count, smoothing);
    if let Some(weights) = weights {
        shares.chunks_exact_mut(count.max(1)).for_each(|row| row.iter_mut().zip(weights).for_each(|(x, w)| *x *= w));
    }
    shares
}

/// A batch of pictures whose classes are learned.
pub(crate) struct ClassWork<B> {
    pub(crate) batch: B,
    /// `[B, classes]`.
    pub(crate) shares: Vec<f32>,
    pub(crate) classes: usize,
}

impl<B: Borrow<Batch> + Send + Sync> Work for ClassWork<B> {
    fn samples(&self) -> usize {
        self.batch.borrow().pixels.count
    }

    fn divisor(&self) -> f64 {
        self.shares.iter().map(|&x| x as f64).sum::<f64>().max(f64::MIN_POSITIVE)
    }

    fn inputs(&self, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let rows = &self.shares[samples.start * self.classes..samples.end * self.classes];
        let shares = Tensor::from_slice(rows, [samples.len(), self.classes]);
        let mut inputs = inputs(&self.batch.borrow().pixels, samples).with("shares", shares);
        inputs.loss_divisor = Some(divisor);
        inputs
    }

    fn loss(&self, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Losses> {
        let logits = model.forward(inputs, ctx)?.need("logits")?.to_f32(ctx.isa)?;
        Ok(ops::soft_cross_entropy(&logits, inputs.need("shares")?, inputs.loss_divisor, ctx)?.into())
    }
}

/// A batch of pictures whose objects are learned.
struct ObjectWork {
    batch: Batch,
    /// How many predictions each object is given. More than one makes duplicates, but more of the predictions near an object learn from it:
    /// the first part of training goes faster so (hybrid matching, [Jia et al. 2022](https://arxiv.org/abs/2207.13080)).
    times: usize,
    patch_loss: f32,
    grid: [usize; 2],
}

impl Work for ObjectWork {
    fn samples(&self) -> usize {
        self.batch.pixels.count
    }

    /// Objects of the whole batch, to which its parts add up.
    fn divisor(&self) -> f64 {
        let objects: usize = (0..self.samples()).map(|i| self.batch.boxes(i).0.len()).sum();
        (objects * self.times).max(1) as f64
    }

    fn inputs(&self, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let mut inputs = inputs(&self.batch.pixels, samples.clone());
        for (i, picture) in samples.enumerate() {
            let (classes, boxes) = self.batch.boxes(picture);
            let ids: Vec<i32> = classes.iter().map(|&c| c as i32).collect::<Vec<_>>().repeat(self.times);
            let boxes: Vec<f32> = boxes.into_iter().flatten().collect::<Vec<_>>().repeat(self.times);
            inputs = inputs
                .with(&format!("labels.{i}.class_labels"), Tensor::from_slice(&ids, [ids.len()]))
                .with(&format!("labels.{i}.boxes"), Tensor::from_slice(&boxes, [ids.len(), 4]));
        }
        inputs.logits = Logits::All;
        inputs.loss_divisor = Some(divisor);
        inputs.sample_divisor = Some(self.samples() as f64);
        if self.patch_loss > 0.0 {
            let of = |i: usize| covered_patches(&self.batch.boxes(i).1, self.grid);
            inputs.patch_loss = self.patch_loss;
            inputs.patch_divisor = Some((0..self.samples()).map(of).sum::<usize>() as f64);
        }
        inputs
    }

    /// As they are, before they are weighted: of the last layer's boxes, and of patches.
    fn parts(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("loss_ce", "loss_dict.loss_ce"),
            ("loss_bbox", "loss_dict.loss_bbox"),
            ("loss_giou", "loss_dict.loss_giou"),
            ("loss_ce_patches", "loss_dict.loss_ce_patches"),
            ("loss_bbox_patches", "loss_dict.loss_bbox_patches"),
            ("loss_giou_patches", "loss_dict.loss_giou_patches"),
        ]
    }
}

/// Pictures to measure by.
pub(crate) struct PictureEvaluation {
    pub(crate) set: PictureSet,
    pub(crate) processor: Processor,
    /// Which boxes are objects.
    pub(crate) post: PostProcess,
}

/// Pictures that go through a model at a time.
const BATCH: usize = 32;

impl Evaluate for PictureEvaluation {
    fn len(&self) -> usize {
        self.set.len()
    }

    fn report(&self, model: &Model, runtime: Runtime) -> Result<TaskReport> {
        let vision = Vision { model, processor: &self.processor, runtime };
        let objects = self.set.records().iter().any(|r| matches!(r.target, Target::Objects(_)));
        if objects { self.objects(vision) } else { self.classes(vision) }
    }

    fn notes(&self) -> Vec<String> {
        notes(&self.set, false)
    }
}

impl PictureEvaluation {
    fn names(&self) -> Vec<String> {
        self.set.labels().map(|l| l.names().to_vec()).unwrap_or_default()
    }

    fn classes(&self, vision: Vision<'_>) -> Result<TaskReport> {
        let (mut truth, mut logits) = (Vec::with_capacity(self.set.len()), Vec::new());
        for batch in pictures::in_order(&self.set, &self.processor, BATCH) {
            let batch = batch?;
            if let Targets::Classes(classes) = &batch.targets {
                truth.extend_from_slice(classes);
            }
            logits.extend(vision.logits(&batch.pixels)?);
        }
        let names = self.names();
        let classes = logits.len() / truth.len().max(1);
        let predicted: Vec<usize> = logits.chunks_exact(classes.max(1)).map(argmax).collect();
        let confusion = Confusion::new(&truth, &predicted, classes)?;
        let mut scores = vec![("accuracy", confusion.accuracy())];
        if classes > 5 {
            scores.push(("top-5", metrics::top_k_accuracy(&truth, &logits, classes, 5)?));
        }
        scores.push(("macro F1", confusion.averages().macro_avg.f1));
        let per_class = names.into_iter().zip(confusion.per_class()).collect();
        let confusion = Some(confusion.counts().to_vec());
        Ok(TaskReport { scores: Scores::new(scores), classes: per_class, confusion, ..TaskReport::default() })
    }

    fn objects(&self, vision: Vision<'_>) -> Result<TaskReport> {
        let names = self.names();
        let (mut truth, mut found) = (Vec::with_capacity(self.set.len()), Vec::with_capacity(self.set.len()));
        for batch in pictures::in_order(&self.set, &self.processor, BATCH) {
            let batch = batch?;
            for (boxes, &record) in vision.found(&batch, self.post)?.into_iter().zip(&batch.records) {
                let target = &self.set.records()[record].target;
                truth.push(target.objects().iter().map(TrueBox::from).collect::<Vec<_>>());
                let found_box = |d: Detected| {
                    let [l, t, r, b] = d.bounds.map(f64::from);
                    FoundBox { class: d.class, bounds: [l, t, r - l, b - t], score: d.score.into() }
                };
                found.push(boxes.into_iter().map(found_box).collect::<Vec<_>>());
            }
        }
        let report = coco(&truth, &found, names.len())?;
        // The twelve of pycocotools; those of sizes that do not occur are no numbers.
        let scores = [
            ("AP", report.ap.or(Some(0.0))),
            ("AP50", report.ap50),
            ("AP75", report.ap75),
            ("AP small", report.ap_small),
            ("AP medium", report.ap_medium),
            ("AP large", report.ap_large),
            ("AR@1", report.ar1),
            ("AR@10", report.ar10),
            ("AR@100", report.ar100),
            ("AR small", report.ar_small),
            ("AR medium", report.ar_medium),
            ("AR large", report.ar_large),
        ];
        let scores = scores.into_iter().filter_map(|(name, x)| x.map(|x| (name, x))).collect();
        let missing = report.per_class.iter().filter(|c| c.ap.is_none()).count();
        let notes = match missing {
            0 => Vec::new(),
            n if n == names.len() => vec!["there are no objects: AP says nothing".into()],
            n => vec![format!("{n} of {} classes do not occur", names.len())],
        };
        let objects = names.into_iter().zip(report.per_class).collect();
        Ok(TaskReport { notes, objects, ..TaskReport::plain(scores) })
    }
}
