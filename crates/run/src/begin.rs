//! How a run begins, anew or where an earlier process stopped, and how it ended.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::{
    Layers, Progress, Recipe, Resume, RunDir, Verify,
    dir::{DirError, RUNS, last_run},
    files::FileError,
    recipe::{Change, RecipeError, diff},
};

/// The resolved recipe in a run and in its checkpoints.
pub const RECIPE: &str = "recipe.toml";

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning.
    New,
    /// Where an earlier process stopped.
    Resume {
        /// Accept what would change the bits: other instructions or precision than before.
        allow_different_bits: bool,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Finished,
    /// They had been done before.
    AlreadyFinished,
    /// By the user, after a checkpoint.
    Interrupted,
}

impl RunDir {
    /// Makes the directory `out` of a run called `name`, or opens it to go on; without `out` the next free one, or the
    /// newest run of that name. What is decided along the way goes to `progress`.
    ///
    /// # Errors
    /// [`DirError::NoRun`] where there is nothing to resume and the request is `bare`: it says nothing of what to train, so no one
    /// meant a new run.
    pub fn begin(
        start: Start,
        out: Option<&Path>,
        name: &str,
        bare: bool,
        progress: &mut dyn Progress,
    ) -> Result<(RunDir, Resume), DirError> {
        if start == Start::New {
            return Ok((RunDir::create(out, name)?, Resume::Fresh));
        }
        let out = match out {
            Some(out) => Some(out.to_owned()),
            None => last_run(name)?,
        };
        let Some(out) = out else {
            if bare {
                return Err(DirError::NoRun { path: Path::new(RUNS).join(name) });
            }
            progress.note("there is no run to resume: starting a new one");
            return Ok((RunDir::create(None, name)?, Resume::Fresh));
        };
        let (dir, resume) = RunDir::resume(&out, Verify::Checksums)?;
        if resume == Resume::Fresh {
            if bare && !dir.begun_with().exists() {
                return Err(DirError::NoRun { path: out });
            }
            progress.note(&format!("{}: there is no checkpoint to resume: starting afresh", out.display()));
        }
        Ok((dir, resume))
    }

    /// Where the recipe of a run stands that has no checkpoint yet.
    pub fn begun_with(&self) -> PathBuf {
        self.path().join("training").join(RECIPE)
    }

    /// Keeps the recipe of a run that has no checkpoint yet, so that it begins again as what it was.
    pub fn keep_recipe(&self, recipe: &str) -> Result<(), FileError> {
        let path = self.begun_with();
        let beside = path.with_extension("toml.tmp");
        std::fs::write(&beside, recipe).map_err(FileError::at(&beside, "write the recipe"))?;
        std::fs::rename(&beside, &path).map_err(FileError::at(&path, "replace the recipe"))
    }
}

/// The first key in which `recipe` differs from that of the checkpoint in `folder`, but for the `free` ones.
pub fn changed<T: DeserializeOwned>(
    built_in: &str,
    folder: &Path,
    recipe: &Recipe<T>,
    free: &[&str],
) -> Result<Option<Change>, RecipeError> {
    let path = folder.join(RECIPE);
    let old: Recipe<T> = Recipe::resolve(Layers { built_in, config: Some(&path), settings: &[] })?;
    Ok(diff(&old, recipe).into_iter().find(|c| !free.contains(&&c.key[..])))
}
