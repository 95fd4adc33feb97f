//! A fine-tuning that goes on: what there is of it, and whether it would end with the bits of an undisturbed one.

use std::path::{Path, PathBuf};

use bedstone_data::shards::hash_file;
use bedstone_run::{
    Checkpoint, Ending, Layers, Progress, Recipe, Resume, RunDir, Start, Verify,
    begin::{RECIPE, changed},
    dir::{DirError, RUNS, last_run, model_folder},
    files::FileError,
};
use serde::de::DeserializeOwned;

use super::{
    FinetuneReport, FinetuneRequest, Task, check,
    recipe::Wrong,
    run::{NAME, report},
    standing::Standing,
};
use crate::{Result, TrainError};

/// Keys that a resumed run may change: they decide no bit of the weights.
const FREE_KEYS: &[&str] = &[
    "train.gradient_checkpointing",
    "train.checkpoint_every",
    // What it comes to is compared by itself.
    "train.precision",
];

/// What a run without a checkpoint began as, beside its recipe.
pub(super) fn begun_with(run: &Path) -> PathBuf {
    run.join("training").join("begun.json")
}

/// The hashes of what is in files.
///
/// # Errors
///
/// One cannot be read.
pub(super) fn hash_of_files<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Result<String> {
    let hash = |path: &PathBuf| hash_file(path).map(|(_, hash)| hash).map_err(FileError::at(path, "read it"));
    Ok(files.into_iter().map(hash).collect::<Result<Vec<_>, _>>()?.join(" "))
}

/// The hash of data, which is given, and of the checkpoint that is fine-tuned.
pub(super) fn material(data: &str, model: &Path) -> Result<String> {
    Ok(format!("{data} {}", hash_of_model(model)?))
}

/// The hashes of the weights of a checkpoint.
fn hash_of_model(model: &Path) -> Result<String> {
    let dir = model_folder(model)?;
    let is_weights = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors" || e == "bin");
    let entries = dir.read_dir().map_err(FileError::at(&dir, "look at it"))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_weights).collect();
    files.sort();
    hash_of_files(&files)
}

/// The model, as it was called, and the task of the run in `out`, or of the newest one.
///
/// # Errors
///
/// There is no run of this kind.
pub fn begun_finetune(out: Option<&Path>) -> Result<(String, Task)> {
    let dir = match out {
        Some(out) => Some(out.to_owned()),
        None => last_run(NAME)?,
    };
    let no_run = || DirError::NoRun { path: dir.clone().unwrap_or_else(|| Path::new(RUNS).join(NAME)) };
    let dir = dir.as_ref().ok_or_else(no_run)?;
    let standing = match Checkpoint::open(dir, Verify::Sizes)? {
        Some(saved) => Standing::load(&saved.state())?,
        None if begun_with(dir).exists() => Standing::read(&begun_with(dir))?,
        None => return Err(no_run().into()),
    };
    let task = Task::by_name(&standing.task).ok_or_else(|| TrainError::State {
        path: dir.clone(),
        reason: format!("its task is `{}`, which is none", standing.task),
    })?;
    Ok((standing.model, task))
}

/// What there is of a run that is to go on.
pub(super) struct Begun {
    pub(super) run: Option<RunDir>,
    pub(super) saved: Option<(Checkpoint, Standing)>,
    finished: bool,
}

impl Begun {
    /// Opens the run of a request that goes on with one. The directory of a new run is made when all else is sure to work.
    pub(super) fn open(request: &FinetuneRequest<'_>, progress: &mut dyn Progress) -> Result<Self> {
        if request.start == Start::New {
            return Ok(Begun { run: None, saved: None, finished: false });
        }
        // Model and task say what to learn; without these `begun_finetune` would have found no run.
        let (run, resume) = RunDir::begin(request.start, request.out, NAME, false, progress)?;
        run.notes().iter().for_each(|note| progress.note(note));
        let saved = match resume {
            Resume::Fresh => None,
            Resume::At(_) | Resume::Finished(_) => run.open_latest(Verify::Checksums)?,
        };
        let begun = begun_with(run.path());
        let before = match &saved {
            Some(saved) => Some(Standing::load(&saved.state())?),
            None if begun.exists() => Some(Standing::read(&begun)?),
            None => None,
        };
        if let Some(before) = &before {
            let pairs = [("model", &*before.model, request.name), ("task", &before.task, request.task.name())];
            if let Some((what, old, new)) = pairs.into_iter().find(|(_, old, new)| old != new) {
                return Err(TrainError::OtherBits {
                    path: run.path().to_owned(),
                    what: format!("{what} was {old}, now {new}"),
                    hint: "give the same, or neither model nor --task",
                });
            }
        }
        let saved = saved.zip(before);
        Ok(Begun { run: Some(run), saved, finished: matches!(resume, Resume::Finished(_)) })
    }

    /// The recipe of the run, or the built-in one, under the request's settings.
    pub(super) fn recipe<R: DeserializeOwned + Wrong>(
        &self,
        built_in: &str,
        request: &FinetuneRequest<'_>,
    ) -> Result<Recipe<R>> {
        let own = match (&self.run, &self.saved) {
            (_, Some((saved, _))) => Some(saved.path.join(RECIPE)),
            (Some(run), None) => Some(run.begun_with()).filter(|path| path.exists()),
            (None, None) => None,
        };
        let layers = Layers { built_in, config: request.config.or(own.as_deref()), settings: request.settings };
        let recipe: Recipe<R> = Recipe::resolve(layers)?;
        check(&recipe)?;
        if let Some((saved, _)) = &self.saved
            && let Some(change) = changed(built_in, &saved.path, &recipe, FREE_KEYS)?
        {
            return Err(TrainError::OtherBits {
                path: saved.path.clone(),
                what: format!("{change}"),
                hint: "resume with the recipe of the run, or fine-tune its model anew",
            });
        }
        Ok(recipe)
    }

    /// What the run gave, if it has come to its end.
    pub(super) fn finished(&self, progress: &mut dyn Progress) -> Option<FinetuneReport> {
        let (Some(run), Some((_, standing)), true) = (&self.run, &self.saved, self.finished) else { return None };
        progress.note(&format!("{}: everything is done", run.path().display()));
        Some(report(run, standing, standing.done.clone(), Ending::AlreadyFinished))
    }
}

/// An error if this process would give other bits than the one before.
pub(super) fn check_bits(
    request: &FinetuneRequest<'_>,
    saved: &Checkpoint,
    old: &Standing,
    new: &Standing,
) -> Result<()> {
    let allowed = matches!(request.start, Start::Resume { allow_different_bits: true });
    let of_machine = "set BEDSTONE_ISA or --precision as before, or accept with --allow-different-bits";
    // Other data is another run, whatever is allowed.
    if old.material != new.material {
        let model = hash_of_model(request.model)?;
        let what = match old.material.ends_with(&format!(" {model}")) {
            true => "the data is another than before",
            false => "the model, or the data, is another than before",
        };
        let hint = "give the same data and model as before, or fine-tune anew";
        return Err(TrainError::OtherBits { path: saved.path.clone(), what: what.into(), hint });
    }
    let (what, old, new, hint) = match () {
        () if !allowed && old.isa != new.isa => ("instruction set", &old.isa, &new.isa, of_machine),
        () if !allowed && old.precision != new.precision => ("precision", &old.precision, &new.precision, of_machine),
        () => return Ok(()),
    };
    Err(TrainError::OtherBits { path: saved.path.clone(), what: format!("{what} was {old}, now {new}"), hint })
}
