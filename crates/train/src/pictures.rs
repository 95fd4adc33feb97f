//! From a recipe's words about pictures to sets of them.

// What draws a picture has the errors of those that read one.
#![allow(clippy::result_large_err)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bedstone_data::{
    labelled::{Labels, Unlabelled},
    pictures::{
        Class as ProcessorClass, Object, Picture, PictureSet, Processor, Size, Target,
        source::{self, CocoOptions, Part, TableOptions},
    },
    sampler::Permutation,
};
use bedstone_kernels::random;
use bedstone_models::Model;
use bedstone_world::{Classes, Split, World};

use crate::{Result, TrainError};

/// Batches that are made ahead in pretraining.
pub(crate) const AHEAD: usize = 2;

/// What of pictures is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Pictures alone: classes that there are do no harm.
    Nothing,
    /// The class of each.
    Classes,
    /// What is in each.
    Objects,
}

/// What is read.
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    /// COCO: the folder of the pictures, if it is not that of the JSON.
    pub(crate) images: Option<&'a Path>,
    /// Columns of a table.
    pub(crate) picture: Option<&'a str>,
    pub(crate) label: Option<&'a str>,
}

/// The name of a column, if there is one.
pub(crate) fn column(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

/// What of the World is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorldSource {
    pub(crate) pictures: u64,
    pub(crate) side: usize,
    pub(crate) classes: Classes,
}

/// Pictures to learn from and to measure by.
pub(crate) struct Sets {
    pub(crate) train: PictureSet,
    pub(crate) eval: PictureSet,
    /// In a few words.
    pub(crate) name: String,
}

/// Where no data for evaluation is given, one picture in so many is kept for it.
const HELD: usize = 10;
/// The seed of the embedded data: the same for every run.
const WORLD_SEED: u64 = 0;
/// Names of folders that hold a part of a data set.
const TRAIN: [&str; 2] = ["train", "training"];
const EVAL: [&str; 5] = ["val", "valid", "validation", "test", "testing"];

/// Opens what `train` names, and `eval` or what belongs to `train`, or a tenth of that.
pub(crate) fn open(train: &Source<'_>, eval: Option<&Source<'_>>, want: Want, seed: u64) -> Result<Sets> {
    let name = format!("`{}`", train.path.display());
    let own = if eval.is_none() { parts(train.path) } else { None };
    if let Some((first, second)) = own {
        let first = read(&Source { path: &first, ..*train }, Part::Train, None, want)?;
        let second = read(&Source { path: &second, ..*train }, Part::Test, first.labels(), want)?;
        return Ok(Sets { train: first, eval: second, name });
    }
    let set = read(train, Part::Train, None, want)?;
    if let Some(eval) = eval {
        let eval = read(eval, Part::Test, set.labels(), want)?;
        return Ok(Sets { train: set, eval, name });
    }
    let (train, eval) = split(&set, seed)?;
    Ok(Sets { train, eval, name })
}

/// Pictures of the World.
pub(crate) fn world(source: WorldSource, want: Want) -> Result<Sets> {
    let held = (source.pictures / HELD as u64).max(1);
    let (train, eval) =
        (drawn(source, want, Split::Train, source.pictures)?, drawn(source, want, Split::Validation, held)?);
    let what = if want == Want::Objects { "scenes" } else { "pictures" };
    Ok(Sets { train, eval, name: format!("{} {what} of the embedded World", source.pictures) })
}

/// The two parts of a folder that has them: folders with names of parts, or the files of MNIST and CIFAR.
fn parts(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let has = |names: &[&str]| names.iter().map(|name| path.join(name)).find(|path| path.is_dir());
    match (has(&TRAIN), has(&EVAL)) {
        (Some(train), Some(eval)) => Some((train, eval)),
        _ if is_mnist(path) || is_cifar(path) => Some((path.to_owned(), path.to_owned())),
        _ => None,
    }
}

fn is_mnist(path: &Path) -> bool {
    ["", ".gz"].iter().any(|end| path.join(format!("train-images-idx3-ubyte{end}")).is_file())
}

fn is_cifar(path: &Path) -> bool {
    ["data_batch_1.bin", "train.bin"].iter().any(|name| path.join(name).is_file())
}

/// Extensions of tables of pictures.
pub(crate) const TABLES: [&str; 3] = ["csv", "tsv", "jsonl"];

/// That of a file, in lower case.
pub(crate) fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase()
}

/// A part of a source; `labels` are the classes there are, if they are known.
pub(crate) fn read(source: &Source<'_>, part: Part, labels: Option<&Labels>, want: Want) -> Result<PictureSet> {
    let path = source.path;
    let unlabelled = if want == Want::Classes { Unlabelled::Refused } else { Unlabelled::Allowed };
    let extension = extension(path);
    let other = |got: &str, wanted: &str| TrainError::Examples {
        what: path.display().to_string(),
        got: got.into(),
        wanted: wanted.into(),
        hint: "--task detect learns boxes, --task classify the class of a picture".into(),
    };
    // Before labels are compared, which say less.
    if want == Want::Objects && path.exists() && extension != "json" {
        return Err(other("no boxes", "a COCO .json"));
    }
    let set = match &extension[..] {
        "json" => {
            let folder = source.images.or(path.parent()).unwrap_or(Path::new("."));
            source::coco(path, folder, &CocoOptions { labels: labels.cloned() })?
        }
        table if TABLES.contains(&table) => {
            let own = |name: Option<&str>| name.map(str::to_owned);
            let options = TableOptions { picture: own(source.picture), label: own(source.label), unlabelled };
            source::table(path, labels, &options)?
        }
        "tar" => source::shards(&[path.to_owned()], labels, unlabelled)?,
        _ if is_mnist(path) => numbered(source::mnist(path, part)?, labels, path)?,
        _ if is_cifar(path) => numbered(source::cifar(path, part)?, labels, path)?,
        _ => match tars(path) {
            tars if tars.is_empty() => source::folder(path, labels, unlabelled)?,
            tars => source::shards(&tars, labels, unlabelled)?,
        },
    };
    let objects = set.records().iter().any(|r| matches!(r.target, Target::Objects(_)));
    if want != Want::Nothing && objects != (want == Want::Objects) {
        let (got, wanted) = if objects { ("boxes", "classes") } else { ("no boxes", "a COCO .json") };
        return Err(other(got, wanted));
    }
    Ok(set)
}

/// A set whose classes are numbers, with the names that `labels` has for them: the set's own, or none that say anything.
fn numbered(set: PictureSet, labels: Option<&Labels>, path: &Path) -> Result<PictureSet> {
    let (Some(known), Some(own)) = (labels, set.labels()) else { return Ok(set) };
    let fits = |(i, own): &(usize, &String)| {
        known
            .names()
            .get(*i)
            .is_some_and(|name| name == *own || *name == format!("LABEL_{i}") || *name == i.to_string())
    };
    match own.names().iter().enumerate().find(|class| !fits(class)) {
        None => Ok(set.with_labels(known.clone())?),
        Some((_, name)) => Err(TrainError::Examples {
            what: path.display().to_string(),
            got: format!("class `{name}`"),
            wanted: format!("the classes there are, in their order: {}", known.names().join(", ")),
            hint: "the numbers in these files mean other classes than those of the model".into(),
        }),
    }
}

/// The tar files of a folder, sorted.
fn tars(path: &Path) -> Vec<PathBuf> {
    let all = path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut tars: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "tar")).collect();
    tars.sort();
    tars
}

/// Every tenth picture, in an order drawn from the seed, is for evaluation; both parts stay in the set's order.
fn split(set: &PictureSet, seed: u64) -> Result<(PictureSet, PictureSet)> {
    if set.len() < 2 * HELD {
        return Err(TrainError::Examples {
            what: set.records().first().map_or(String::new(), |r| r.name.clone()),
            got: format!("{} pictures", set.len()),
            wanted: format!("at least {}, of which every tenth is for evaluation", 2 * HELD),
            hint: "give more data, or pictures for evaluation of their own: --eval, in pretraining data.validation"
                .into(),
        });
    }
    let order = Permutation::new(set.len() as u64, random::key(seed, 0));
    let held = (set.len() / HELD) as u64;
    let (eval, train): (Vec<usize>, Vec<usize>) = (0..set.len()).partition(|&i| order.at(i as u64) < held);
    // What was let pass is told of both together.
    Ok((set.subset(&train)?, set.subset(&eval)?.without_notes()))
}

fn drawn(source: WorldSource, want: Want, split: Split, count: u64) -> Result<PictureSet> {
    let (world, side) = (World::new(WORLD_SEED), source.side);
    let name = format!("World, {}", split.name());
    let picture = move |drawn: bedstone_world::Picture| Picture::new(side, side, drawn.pixels);
    let names = source.classes.names();
    if want != Want::Objects {
        let class = move |i| Target::Class(source.classes.of(world.portrayed(split, i)));
        let draw = Arc::new(move |i| picture(world.portrait(split, i, side)));
        return Ok(PictureSet::drawn(&name, count, labels(&names)?, class, draw)?);
    }
    let objects = move |i| {
        let things = world.picture(split, i, side).things;
        Target::Objects(things.iter().map(|t| Object::new(source.classes.of(t.noun), t.bounds)).collect())
    };
    let draw = Arc::new(move |i| picture(world.picture(split, i, side)));
    Ok(PictureSet::drawn(&name, count, labels(&names)?, objects, draw)?)
}

fn labels(names: &[&str]) -> Result<Labels> {
    Ok(Labels::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?)
}

/// What a reader let pass, for people; whether the set is to learn from, or to measure by.
pub(crate) fn notes(set: &PictureSet, learned: bool) -> Vec<String> {
    let n = set.notes();
    let mut told = Vec::new();
    let mut tell = |count: u64, what: &str| {
        if count > 0 {
            told.push(format!("{count} {what}"));
        }
    };
    tell(n.ignored_files, "files are no pictures and left out");
    let cut = if learned { " and are cut off where it ends" } else { ": they count as they are" };
    tell(n.outside, &format!("boxes reach beyond their picture{cut}"));
    tell(n.without_objects, "pictures have no objects: there is nothing to find in them");
    if let Some(first) = &n.first_empty {
        let so = if learned { "nothing is learned from them" } else { "nothing can find them" };
        tell(n.empty, &format!("boxes have no size within their picture, the first in {first}: {so}"));
    }
    told
}

/// That of the checkpoint, for pictures of the model's size; what the model's kind usually has where it has none.
pub(crate) fn processor(dir: Option<&Path>, model: &Model, [height, width]: [usize; 2]) -> Result<Processor> {
    let class = ProcessorClass::of_model(model.architecture().model_type);
    let own = dir.filter(|dir| dir.join("preprocessor_config.json").is_file()).map(Processor::read).transpose()?;
    let mut processor = match (own, class) {
        (Some(own), Some(class)) if own.class != class => {
            let plain = Processor::new(class);
            Processor { image_mean: own.image_mean, image_std: own.image_std, resample: own.resample, ..plain }
        }
        (Some(own), _) => own,
        (None, class) => Processor::new(class.unwrap_or(ProcessorClass::ViT)),
    };
    // Detectors take pictures of any size; those that were made for one are given that one.
    if model.architecture().model_type != "detr" {
        processor.size = Size::Exact { height, width };
        (processor.do_pad, processor.pad_size) = (false, None);
        (processor.do_center_crop, processor.crop_size) = (false, None);
    }
    Ok(processor)
}
