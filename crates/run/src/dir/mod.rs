//! A run's directory: made or resumed by one process, with atomic checkpoints.
//!
//! ```text
//! RUN/
//!   config.json, model.safetensors, …   hard links to the files of the latest checkpoint
//!   training/
//!     latest        names the committed checkpoint: renaming it into place is the commit
//!     step-100/     a checkpoint: the files above, `state/` with what only training needs, `manifest.json`
//!     shown         names the checkpoint that the files above belong to
//!     finished      names the checkpoint with which the run was complete
//!     log.jsonl     the log; loss.svg its picture
//!     lock          held by the process that trains
//! ```
//!
//! A checkpoint is written as `step-N.partial/`, flushed, renamed to `step-N/`, and committed by replacing `latest`.
//! Ended at any moment, the directory opens with the previous or the new checkpoint, whole.

mod commit;
#[cfg(test)]
mod crash;
mod disk;
mod error;
mod layout;
mod lock;
mod manifest;
mod open;
mod show;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::{
    commit::{Committed, Keep},
    error::DirError,
    manifest::{Entry, Verify},
    open::{Checkpoint, model_folder},
};
use self::{
    disk::{Disk, FileSystem},
    layout::Layout,
    lock::Lock,
};
use crate::{
    curve::{Curve, CurveError},
    files::{self, FileError},
    log,
};

/// Where runs go that were given no directory.
pub const RUNS: &str = "runs";

/// The directory of one run, locked for this process until dropped.
pub struct RunDir {
    layout: Layout,
    disk: Arc<dyn Disk>,
    keep: Keep,
    latest: Option<u64>,
    // Checkpoints newer than the committed one; the next commit removes them.
    stale: Vec<u64>,
    notes: Vec<String>,
    // What opening made, which nobody misses if no run begins in it.
    made: Option<PathBuf>,
    // Nor if it failed before there was anything to go on from.
    abandoned: bool,
    _lock: Lock,
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Refused data or settings leave nothing behind that a later run might find.
        if let Some(made) = &self.made
            && (self.abandoned || has_begun(self.path()).is_ok_and(|begun| !begun))
        {
            // Nothing depends on it; what others have put beside it stays.
            let _ = fs::remove_dir_all(self.layout.training());
            if made == self.path() {
                let _ = fs::remove_dir(made);
            }
        }
    }
}

/// From where a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// There is no checkpoint: the run starts anew, and the caller says so.
    Fresh,
    /// After this step.
    At(u64),
    /// The run was complete after this step. Training on (with more steps, say) is possible.
    Finished(u64),
}

impl RunDir {
    /// Makes the directory of a new run and locks it.
    ///
    /// Without `out` it is the first free of `runs/NAME`, `runs/NAME-2`, …; two processes never get the same. A given
    /// `out` must be missing or empty.
    ///
    /// # Errors
    /// [`DirError::HoldsRun`], [`DirError::NotEmpty`], [`DirError::NotAFolder`], [`DirError::Locked`], or the system's.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, DirError> {
        let path = match out {
            Some(path) => path.to_path_buf(),
            None => numbered(Path::new(RUNS), name)?,
        };
        let mut dir = Self::create_on(&path, Arc::new(FileSystem))?;
        if out.is_none() {
            dir.made = Some(path);
        }
        Ok(dir)
    }

    /// Opens the directory of an earlier run, or makes it, and locks it.
    ///
    /// Removes what a killed process left half-written and repairs the files at the top. A missing or empty directory
    /// is [`Resume::Fresh`].
    ///
    /// # Errors
    /// [`DirError::Damaged`] when the committed checkpoint is not as it was written: there is no going back in silence;
    /// [`DirError::NotEmpty`] when the directory holds no run; [`DirError::Locked`], or the system's.
    pub fn resume(path: &Path, verify: Verify) -> Result<(Self, Resume), DirError> {
        Self::resume_on(path, verify, Arc::new(FileSystem))
    }

    fn create_on(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, DirError> {
        let holds_run =
            || DirError::HoldsRun { path: path.to_path_buf(), step: open::latest_step(path).ok().flatten() };
        if look(path)? == Found::Run && has_begun(path)? {
            return Err(holds_run());
        }
        let dir = Self::lock(path, disk)?;
        // Another process may have trained here between the look and the lock.
        if has_begun(path)? {
            return Err(holds_run());
        }
        Ok(dir)
    }

    fn resume_on(path: &Path, verify: Verify, disk: Arc<dyn Disk>) -> Result<(Self, Resume), DirError> {
        look(path)?;
        let mut dir = Self::lock(path, disk)?;
        dir.remove_leftovers()?;
        let checkpoint = Checkpoint::open(path, verify)?;
        dir.latest = checkpoint.as_ref().map(|checkpoint| checkpoint.step);
        dir.stale = open::steps(path)?.into_iter().filter(|&step| Some(step) > dir.latest).collect();
        for step in &dir.stale {
            let folder = dir.layout.step(*step);
            dir.notes.push(format!("{}: was never committed and is not used", folder.display()));
        }
        let Some(checkpoint) = checkpoint else { return Ok((dir, Resume::Fresh)) };
        dir.notes.extend(dir.repair_shown(&checkpoint)?);
        let step = checkpoint.step;
        let finished = open::pointer(path, &dir.layout.finished())? == Some(step);
        Ok((dir, if finished { Resume::Finished(step) } else { Resume::At(step) }))
    }

    fn lock(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, DirError> {
        let layout = Layout::new(path);
        let training = layout.training();
        let made = [path, &training].into_iter().find(|p| !p.exists()).map(Path::to_path_buf);
        fs::create_dir_all(&training).map_err(FileError::at(&training, "make the folder"))?;
        let lock = Lock::take(path, &layout.lock())?;
        let notes = lock.note.clone().into_iter().collect();
        Ok(Self {
            layout,
            disk,
            keep: Keep::default(),
            latest: None,
            stale: Vec::new(),
            notes,
            made,
            abandoned: false,
            _lock: lock,
        })
    }

    fn remove_leftovers(&self) -> Result<(), FileError> {
        let training = self.layout.training();
        for name in files::names(&training)?.iter().filter(|name| layout::is_leftover(name)) {
            let path = training.join(name);
            disk::remove_tree(&*self.disk, &path).map_err(FileError::at(&path, "remove it"))?;
        }
        Ok(())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.layout.top
    }

    /// `training/log.jsonl`.
    pub fn log(&self) -> PathBuf {
        self.layout.log()
    }

    /// `training/loss.svg`.
    pub fn curve(&self) -> PathBuf {
        self.layout.curve()
    }

    /// Draws the losses of the log so far into [`RunDir::curve`].
    ///
    /// # Errors
    /// A log that cannot be read, and a picture that cannot be written.
    pub fn draw_curve(&self, axis: &str) -> Result<(), CurveError> {
        Curve::from_log(self.path().display().to_string(), axis, &log::read(&self.log())?).write(&self.curve())
    }

    /// The step of the committed checkpoint.
    pub fn step(&self) -> Option<u64> {
        self.latest
    }

    /// The committed checkpoint, checked anew.
    pub fn open_latest(&self, verify: Verify) -> Result<Option<Checkpoint>, DirError> {
        Checkpoint::open(self.path(), verify)
    }

    /// The run has failed for good. If there is no checkpoint to go on from and the directory was made for it, it goes.
    pub fn abandon(&mut self) {
        self.abandoned = self.latest.is_none();
    }

    /// What the user should be told about opening: no locks here, checkpoints not used.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Which checkpoints the coming commits leave; without this, the last one.
    pub fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }
}

/// The newest run in `runs/` that [`RunDir::create`] numbered for `name`: the one with the highest number.
pub fn last_run(name: &str) -> Result<Option<PathBuf>, DirError> {
    last_run_in(Path::new(RUNS), name)
}

fn last_run_in(root: &Path, name: &str) -> Result<Option<PathBuf>, DirError> {
    let mut last = None;
    for found in files::names(root)? {
        let number = match found.strip_prefix(name) {
            Some("") => Some(1),
            Some(rest) => rest.strip_prefix('-').and_then(|n| n.parse::<u64>().ok()).filter(|&n| n > 1),
            None => None,
        };
        let path = root.join(&found);
        if let Some(number) = number
            && last.as_ref().is_none_or(|(highest, _)| number > *highest)
            && has_begun(&path)?
        {
            last = Some((number, path));
        }
    }
    Ok(last.map(|(_, path)| path))
}

fn numbered(root: &Path, name: &str) -> Result<PathBuf, FileError> {
    fs::create_dir_all(root).map_err(FileError::at(root, "make the folder"))?;
    let mut number = 1_u64;
    loop {
        let path = root.join(if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(e) => return Err(FileError::at(&path, "make the folder")(e)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Run,
}

/// What stands at `path`; an error if it is neither a run nor free for one.
fn look(path: &Path) -> Result<Found, DirError> {
    match path.metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(FileError::at(path, "look at it")(e).into()),
        Ok(meta) if !meta.is_dir() => return Err(DirError::NotAFolder { path: path.to_path_buf() }),
        Ok(_) => {}
    }
    if is_run(path)? {
        return Ok(Found::Run);
    }
    // A process that was killed right after its first step leaves an empty `training/`.
    let mut names = files::names(path)?;
    if files::names(&path.join(layout::TRAINING)).is_ok_and(|names| names.is_empty()) {
        names.retain(|name| name != layout::TRAINING);
    }
    match names.into_iter().next() {
        None => Ok(Found::Nothing),
        Some(found) => Err(DirError::NotEmpty { path: path.to_path_buf(), found }),
    }
}

/// Whether a run has got as far as its log: one whose data or settings were refused has not, and makes room.
fn has_begun(path: &Path) -> Result<bool, FileError> {
    let layout = Layout::new(path);
    Ok(files::exists(&layout.log())? || files::exists(&layout.latest())? || !open::steps(path)?.is_empty())
}

fn is_run(path: &Path) -> Result<bool, FileError> {
    let layout = Layout::new(path);
    Ok(files::exists(&layout.lock())? || files::exists(&layout.latest())?)
}
