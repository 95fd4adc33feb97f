//! A fine-tuning that goes on: what there is of it, and whether it would end with the bits of an undisturbed one.

use std::path::Path;

use bedstone_run::{
    Checkpoint, Ending, Layers, Progress, Recipe, Resume, RunDir, Start, Verify,
    begin::{RECIPE, changed},
    dir::last_run,
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
const FREE_KEYS: &[&str] = &["train.gradient_checkpointing", "train.checkpoint_every"];

/// The model, as it was called, and the task of the run in `out`, or of the newest one.
///
/// # Errors
///
/// There is no run, or it has no checkpoint.
pub fn begun_finetune(out: Option<&Path>) -> Result<(String, Task)> {
    let dir = match out {
        Some(out) => Some(out.to_owned()),
        None => last_run(NAME)?,
    };
    let no_run =
        || bedstone_run::dir::DirError::NoRun { path: dir.clone().unwrap_or_else(|| Path::new("runs").join(NAME)) };
    let saved = dir.as_ref().map(|dir| Checkpoint::open(dir, Verify::Sizes)).transpose()?.flatten();
    let saved = saved.ok_or_else(no_run)?;
    let standing = Standing::load(&saved.state())?;
    let task = Task::by_name(&standing.task).ok_or_else(|| TrainError::State {
        path: saved.state(),
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
        let bare = request.config.is_none() && request.settings.is_empty();
        let (run, resume) = RunDir::begin(request.start, request.out, NAME, bare, progress)?;
        run.notes().iter().for_each(|note| progress.note(note));
        let saved = match resume {
            Resume::Fresh => None,
            Resume::At(_) | Resume::Finished(_) => run.open_latest(Verify::Checksums)?,
        };
        let saved = match saved {
            Some(saved) => {
                let standing = Standing::load(&saved.state())?;
                Some((saved, standing))
            }
            None => None,
        };
        if let Some((saved, standing)) = &saved {
            let pairs = [("model", &*standing.model, request.name), ("task", &standing.task, request.task.name())];
            if let Some((what, old, new)) = pairs.into_iter().find(|(_, old, new)| old != new) {
                return Err(TrainError::OtherBits {
                    path: saved.path.clone(),
                    what: format!("{what} was {old}, now {new}"),
                    hint: "give the same, or neither model nor --task",
                });
            }
        }
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
    let other = |what: &str, old: &dyn std::fmt::Debug, new: &dyn std::fmt::Debug, hint| {
        let what = format!("{what} was {old:?}, now {new:?}");
        Err(TrainError::OtherBits { path: saved.path.clone(), what, hint })
    };
    if old.examples != new.examples {
        return other(
            "[examples for training, for evaluation]",
            &old.examples,
            &new.examples,
            "give the same data as before",
        );
    }
    let allowed = matches!(request.start, Start::Resume { allow_different_bits: true });
    let hint = "set BEDSTONE_ISA or train.precision as before, or accept with --allow-different-bits";
    match () {
        () if !allowed && old.isa != new.isa => other("instruction set", &old.isa, &new.isa, hint),
        () if !allowed && old.precision != new.precision => other("precision", &old.precision, &new.precision, hint),
        () => Ok(()),
    }
}
