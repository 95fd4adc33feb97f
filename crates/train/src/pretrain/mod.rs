//! A pretraining run, from recipe to checkpoint.
//!
//! ```text
//! mod.rs       what is asked for, and how it ended
//! resume.rs    where a run begins, and whether going on gives the same bits
//! material.rs  what a run learns from
//! texts.rs     texts
//! pictures.rs  pictures
//! weights.rs   the weights that a run begins with
//! prepare.rs   all of that, an optimizer, and the state of an earlier process
//! run.rs       the steps
//! ```

mod batches;
mod material;
mod pictures;
mod prepare;
mod resume;
mod run;
mod texts;
mod weights;

use std::path::{Path, PathBuf};

use bedstone_run::{Ending, Interrupt, Keep, Progress, Resume, RunDir, Setting, Start, Verify};
use bedstone_tensor::Isa;

use crate::{
    Result, TrainError,
    embeddings::OpenVectors,
    evaluate::Evaluated,
    recipe::{Family, PretrainRecipe, RunRecipe},
};
use material::Open;
use pictures::PictureRecipe;
use run::Run;

/// What to run.
pub struct Request<'a> {
    /// What to pretrain.
    pub family: Family,
    /// A recipe file over the built-in one.
    pub config: Option<&'a Path>,
    /// Single values over both.
    pub settings: &'a [Setting],
    /// The run directory; `None` for the next free one.
    pub out: Option<&'a Path>,
    /// Where to begin.
    pub start: Start,
    /// The instructions to use.
    pub isa: Isa,
    /// Opens the word vectors that `train.init_embeddings` names.
    pub open_vectors: OpenVectors<'a>,
    /// Where the checkpoints lie that the recipe names: [`local`], or what fetches them.
    pub locate: &'a Locate<'a>,
}

/// From a name of a checkpoint (a path, or a name that the caller understands) to the path.
pub type Locate<'a> = dyn Fn(&Path, Needs) -> Result<PathBuf> + 'a;

/// What of a checkpoint is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Its tokenizer alone.
    Tokenizer,
    /// All of it.
    Model,
}

/// Every name is a path.
pub fn local(path: &Path, _: Needs) -> Result<PathBuf> {
    Ok(path.to_owned())
}

/// What a run gave.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint directory.
    pub dir: PathBuf,
    /// Steps done.
    pub step: u64,
    /// Whether it ran to its end.
    pub outcome: Ending,
    /// On the validation split, as far as `evaluate.final_tokens` goes, if there is one and the run came to its end.
    pub evaluation: Option<Evaluated>,
}

/// Pretrains a model.
pub fn pretrain(request: &Request<'_>, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
    match request.family.takes_pictures() {
        true => pretrain_as::<PictureRecipe>(request, progress, interrupt),
        false => pretrain_as::<PretrainRecipe>(request, progress, interrupt),
    }
}

fn pretrain_as<R: Open>(request: &Request<'_>, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
    // A recipe with mistakes leaves no directory behind.
    resume::resolve::<R>(request, None)?;
    let bare = request.config.is_none() && request.settings.is_empty();
    let (mut dir, resume) = RunDir::begin(request.start, request.out, request.family.name(), bare, progress)?;
    for note in dir.notes() {
        progress.note(note);
    }
    let saved = match resume {
        Resume::Fresh => None,
        Resume::At(_) | Resume::Finished(_) => dir.open_latest(Verify::Checksums)?,
    };
    let mut recipe = resume::of_run::<R>(request, &dir, saved.as_ref(), progress)?;
    dir.set_keep(Keep { last: recipe.values.train().keep, every: None });
    if let (Resume::Finished(step), Some(checkpoint)) = (resume, &saved) {
        resume::check_same(request, &recipe, checkpoint)?;
        progress.note(&format!("{}: all {step} steps are done", dir.path().display()));
        let dir = dir.path().to_owned();
        return Ok(Report { dir, step, outcome: Ending::AlreadyFinished, evaluation: None });
    }
    match &saved {
        Some(checkpoint) => resume::check_same(request, &recipe, checkpoint)?,
        // So that a run that is stopped before its first checkpoint begins again as what it was.
        None => dir.keep_recipe(&recipe.to_toml())?,
    }
    let (path, step) = (dir.path().to_owned(), saved.as_ref().map_or(0, |s| s.step));
    let located = if saved.is_none() { locate(request, &mut recipe.values) } else { Ok(()) };
    match located.and_then(|()| Run::prepare(request, recipe, dir, saved, progress, interrupt)) {
        Ok(run) => run.train(progress, interrupt),
        Err(TrainError::Interrupted) => Ok(Report { dir: path, step, outcome: Ending::Interrupted, evaluation: None }),
        Err(e) => Err(e),
    }
}

/// Puts paths in the place of the names of checkpoints. The recipe's text, which is kept, has the names.
fn locate(request: &Request<'_>, recipe: &mut impl RunRecipe) -> Result<()> {
    for (name, needs) in recipe.checkpoints() {
        if let Some(path) = name {
            *path = (request.locate)(path, needs)?;
        }
    }
    Ok(())
}
