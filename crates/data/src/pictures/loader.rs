//! Batches of pictures, read, changed and processed ahead of a training step.

use super::{
    Error, Object, Picture, PictureSet, Pixels, Placement, Processor, Target,
    augment::{Augment, Draws, Mix, Mixed},
};
use crate::{
    random::mix,
    sampler::{self, Cursor, Loader, Permutation},
};
use rayon::prelude::*;

/// What a training step takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[B, 3, H, W]`, with a mask where the processor pads.
    pub pixels: Pixels,
    /// What is to be learned or found.
    pub targets: Targets,
    /// What was mixed, if this batch was.
    pub mixed: Option<Mixed>,
    /// The number of each record in its set, `[B]`.
    pub records: Vec<usize>,
    /// The number of each picture in the whole run, `[B]`: key for random numbers that belong to a sample.
    pub samples: Vec<u64>,
    /// Where the pixels of each picture came to lie: [`Placement::undo`] leads boxes in pixels of the batch back.
    pub placements: Vec<Placement>,
    /// Width and height of each picture as it was read, `[B]`.
    pub sizes: Vec<[usize; 2]>,
}

/// What is known of the pictures of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Nothing, of one of them at least.
    None,
    /// The number of each class, `[B]`.
    Classes(Vec<usize>),
    /// The objects in each, without crowds, in pixels of the batch, `[B][n]`; see [`Batch::boxes`].
    Objects(Vec<Vec<Object>>),
}

impl Batch {
    /// Class and `[centre x, centre y, width, height]` of the objects in picture `index`, as shares of the padded
    /// picture: what DETR and YOLOS learn. Empty if there are none.
    pub fn boxes(&self, index: usize) -> (Vec<usize>, Vec<[f32; 4]>) {
        let Targets::Objects(objects) = &self.targets else { return Default::default() };
        let one = |object: &Object| (object.class, object.relative(self.pixels.width, self.pixels.height));
        objects.get(index).map(|objects| objects.iter().map(one).unzip()).unwrap_or_default()
    }

    /// Where a box that a model found in picture `index` is in the original, in its pixels: left, top, right, bottom.
    /// `relative` is `[centre x, centre y, width, height]` as shares of the padded picture.
    pub fn original(&self, index: usize, relative: [f32; 4]) -> [f32; 4] {
        let [x, y, w, h] = relative;
        let (width, height) = (self.pixels.width as f32, self.pixels.height as f32);
        let bounds = [(x - w / 2.0) * width, (y - h / 2.0) * height, (x + w / 2.0) * width, (y + h / 2.0) * height];
        self.placements[index].undo(bounds)
    }
}

/// How pictures become batches.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Seed of the order and of all changes.
    pub seed: u64,
    /// Random changes, before the processor.
    pub augment: Augment,
    /// What makes numbers of pictures. Its resize and crop are left out where `augment` makes all pictures one size.
    pub processor: Processor,
    /// Pictures of a batch mixed with each other; for classes only.
    pub mix: Option<Mix>,
}

/// Shuffled batches without an end, in another order each epoch; order and changes are functions of seed and cursor, so
/// that a run resumes exactly. A batch may reach over into the next epoch.
#[derive(Clone, Debug)]
pub struct Batches {
    set: PictureSet,
    options: LoaderOptions,
    cursor: Cursor,
}

impl Batches {
    /// Batches over `set` from the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for changes that boxes cannot follow, or numbers out of their bounds.
    pub fn new(set: PictureSet, options: LoaderOptions) -> Result<Self, Error> {
        if set.records().iter().any(|record| matches!(record.target, Target::Objects(_))) {
            options.augment.allows_boxes()?;
            if options.mix.is_some() {
                let got = "pictures with boxes".into();
                return Err(Error::Setting { name: "mix", got, wanted: "pictures with classes" });
            }
        }
        options.mix.as_ref().map_or(Ok(()), Mix::check)?;
        Ok(Self { set, options, cursor: Cursor::default() })
    }

    /// What comes next.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes on from `cursor`.
    ///
    /// # Errors
    ///
    /// If it is of a larger set.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        let records = self.set.len() as u64;
        if cursor.index > records {
            return Err(sampler::Error::Cursor { index: cursor.index, windows: records }.into());
        }
        self.cursor = cursor;
        Ok(())
    }

    /// The next `batch` pictures. Where one cannot be read, the cursor stays.
    ///
    /// # Errors
    ///
    /// The first picture of the batch that cannot be read, and whatever [`Processor::batch`] says.
    pub fn next_batch(&mut self, batch: usize) -> Result<Batch, Error> {
        let (records, begin) = (self.set.len() as u64, self.cursor);
        let first = begin.epoch * records + begin.index;
        let samples: Vec<u64> = (first..first + batch.max(1) as u64).collect();
        let mut order = None;
        let mut keyed = Vec::with_capacity(samples.len());
        for &sample in &samples {
            let epoch = sample / records;
            let (_, permutation) = order
                .filter(|&(of, _)| of == epoch)
                .unwrap_or_else(|| (epoch, Permutation::new(records, mix(self.options.seed, epoch))));
            order = Some((epoch, permutation));
            let record = permutation.at(sample % records) as usize;
            keyed.push((record, Draws::new(self.options.seed, epoch, record as u64)));
        }
        let mut batch = changed(&self.set, &self.options, keyed, Draws::new(self.options.seed, begin.epoch, first))?;
        batch.samples = samples;
        let next = first + batch.records.len() as u64;
        self.cursor = Cursor { epoch: next / records, index: next % records };
        Ok(batch)
    }
}

/// Keeps the draws of a batch apart from those of a record.
const MIX: u64 = u64::MAX;

/// [`Batches::next_batch`], at most `ahead` batches made by a thread before they are asked for.
pub fn spawn(mut batches: Batches, batch: usize, ahead: usize) -> Result<Loader<Result<Batch, Error>>, Error> {
    let cursor = batches.cursor();
    Ok(Loader::of(cursor, ahead, move || (batches.next_batch(batch), batches.cursor()))?)
}

/// The pictures of these numbers, changed as in epoch `epoch` of [`Batches`], whatever the order there.
///
/// # Errors
///
/// As [`Batches::next_batch`].
pub fn gather(set: &PictureSet, options: &LoaderOptions, epoch: u64, records: &[usize]) -> Result<Batch, Error> {
    let draws = |record: usize| Draws::new(options.seed, epoch, record as u64);
    let keyed = records.iter().map(|&record| (record, draws(record))).collect();
    changed(set, options, keyed, draws(records.first().copied().unwrap_or(0)))
}

/// A batch of these records with the options' random changes; where pictures are mixed, by the numbers of `draws`.
fn changed(
    set: &PictureSet,
    options: &LoaderOptions,
    keyed: Vec<(usize, Draws)>,
    draws: Draws,
) -> Result<Batch, Error> {
    let mut processor = options.processor.clone();
    if options.augment.size().is_some() {
        (processor.do_resize, processor.do_center_crop) = (false, false);
    }
    let mut batch = make(set, &processor, &options.augment, keyed)?;
    if let (Some(mix), Targets::Classes(_)) = (&options.mix, &batch.targets) {
        batch.mixed = mix.apply(&mut batch.pixels, &mut draws.fork(MIX));
    }
    Ok(batch)
}

/// Every picture of `set` once and unchanged, in order, for evaluation; the last batch may be smaller.
pub fn in_order<'a>(
    set: &'a PictureSet,
    processor: &'a Processor,
    batch: usize,
) -> impl ExactSizeIterator<Item = Result<Batch, Error>> + 'a {
    let (batch, unchanged) = (batch.max(1), Augment::default());
    (0..set.len().div_ceil(batch)).map(move |number| {
        let records = number * batch..((number + 1) * batch).min(set.len());
        make(set, processor, &unchanged, records.map(|record| (record, Draws::new(0, 0, record as u64))).collect())
    })
}

/// A batch of these records, read and changed on all threads.
fn make(
    set: &PictureSet,
    processor: &Processor,
    augment: &Augment,
    keyed: Vec<(usize, Draws)>,
) -> Result<Batch, Error> {
    let records: Vec<usize> = keyed.iter().map(|&(record, _)| record).collect();
    let read = |(record, mut draws): (usize, Draws)| {
        let picture = set.records()[record].picture()?;
        let size = [picture.width(), picture.height()];
        let (picture, placement) = augment.apply(picture, &mut draws);
        Ok((picture, placement, size))
    };
    // All are read before one is asked for its error: which comes first must not depend on threads.
    let changed: Vec<Result<_, Error>> = keyed.into_par_iter().map(read).collect();
    let changed: Vec<(Picture, Placement, [usize; 2])> = changed.into_iter().collect::<Result<_, _>>()?;
    let sizes = changed.iter().map(|(.., size)| *size).collect();
    let (pictures, placements): (Vec<Picture>, Vec<Placement>) =
        changed.into_iter().map(|(picture, placement, _)| (picture, placement)).unzip();
    let pixels = processor.batch(&pictures).map_err(|e| match e {
        Error::Sizes { index, .. } | Error::Pad { index, .. } => {
            Error::OfRecord { name: set.records()[records[index]].name.clone(), source: Box::new(e) }
        }
        e => e,
    })?;
    let placements: Vec<Placement> = pictures
        .iter()
        .zip(placements)
        .map(|(picture, placement)| placement.then(processor.placement(picture.width(), picture.height()).0))
        .collect();
    let targets = targets(set, &records, &placements);
    let samples = records.iter().map(|&record| record as u64).collect();
    Ok(Batch { pixels, targets, mixed: None, records, samples, placements, sizes })
}

fn targets(set: &PictureSet, records: &[usize], placements: &[Placement]) -> Targets {
    let targets = || records.iter().map(|&record| &set.records()[record].target);
    let classes: Option<Vec<usize>> = targets()
        .map(|target| match target {
            Target::Class(class) => Some(*class),
            Target::None | Target::Objects(_) => None,
        })
        .collect();
    if let Some(classes) = classes {
        return Targets::Classes(classes);
    }
    if targets().any(|target| !matches!(target, Target::Objects(_))) {
        return Targets::None;
    }
    let objects = |(target, placement): (&Target, &Placement)| {
        let single: Vec<Object> = target.objects().iter().filter(|object| !object.crowd).copied().collect();
        placement.objects(&single)
    };
    Targets::Objects(targets().zip(placements).map(objects).collect())
}

#[cfg(test)]
mod tests;
