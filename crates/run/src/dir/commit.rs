//! Writing a checkpoint so that it is there whole or not at all.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use super::{
    RunDir, disk,
    error::DirError,
    layout,
    manifest::{self, Manifest},
    open, show,
};
use crate::{
    files::{self, FileError},
    space,
};

/// Which checkpoints stay on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The last ones; at least one stays whatever is written here.
    pub last: usize,
    /// Those whose step is a multiple of this as well.
    pub every: Option<u64>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 1, every: None }
    }
}

impl Keep {
    /// How many checkpoints are on the disk at most while a run of `steps` commits every `interval` steps and at its
    /// end: those kept, and the one being written.
    pub fn most(&self, steps: u64, interval: u64) -> u64 {
        let commits = if interval == 0 { steps.min(1) } else { steps.div_ceil(interval) };
        let last = (self.last.max(1) as u64).min(commits);
        let milestones = match self.every {
            // Milestones are commits, too: those among the last ones are not counted twice.
            Some(every) if every > 0 => (steps / every).min(commits.saturating_sub(last)),
            _ => 0,
        };
        (last + milestones + 1).min(commits)
    }
}

/// A commit that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// After this step.
    pub step: u64,
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The checkpoints that were removed.
    pub removed: Vec<u64>,
    /// What the user should be told: no hard links here, an old checkpoint that could not be removed.
    pub notes: Vec<String>,
}

impl RunDir {
    /// Writes the checkpoint of `step`: `write` puts its files into the folder it is given, optimizer state and the
    /// like under `state/` there.
    ///
    /// Everything of the step should be in the log before, since the log is flushed with the commit and cut back to it
    /// by a resume. Files need not be flushed by `write`. Steps must grow.
    ///
    /// # Errors
    /// When `write` or the system fails, nothing is left of the new checkpoint, the previous one is untouched, and
    /// the error says which that is; a full disk is [`DirError::DiskFull`]. [`DirError::AfterCommit`] means that the
    /// checkpoint is committed, but not all of its files are shown at the top; the next opening repairs that.
    pub fn commit<E>(&mut self, step: u64, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<Committed, DirError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Some(latest) = self.latest
            && step <= latest
        {
            return Err(DirError::StepOrder { path: self.path().to_path_buf(), step, latest });
        }
        let manifest = match self.stage_and_point(step, write) {
            Ok(manifest) => manifest,
            Err(failure) => {
                self.discard_new(step);
                return Err(self.failed(step, failure));
            }
        };
        self.latest = Some(step);
        let after = |source| DirError::AfterCommit { step, source };
        let training = self.layout.training();
        self.disk.sync_dir(&training).map_err(FileError::at(&training, "flush the folder")).map_err(after)?;
        let copied = self.show(step, &manifest.files).map_err(after)?;
        let mut notes: Vec<String> = show::copied_note(&copied).into_iter().collect();
        let removed = self.prune(&mut notes);
        Ok(Committed { step, path: self.layout.step(step), bytes: manifest.bytes(), removed, notes })
    }

    /// Notes that the run is complete with the committed checkpoint, so that resuming it is [`Resume::Finished`].
    ///
    /// [`Resume::Finished`]: super::Resume::Finished
    pub fn finish(&self) -> Result<(), DirError> {
        match self.latest {
            Some(step) => Ok(self.point(&self.layout.finished(), step)?),
            None => Err(DirError::NothingCommitted { path: self.path().to_path_buf() }),
        }
    }

    /// All up to and with the renaming of the pointer; before that, nothing refers to the new checkpoint.
    fn stage_and_point<E>(&self, step: u64, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<Manifest, Failure>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (disk, layout) = (&*self.disk, &self.layout);
        let (staging, whole, training) = (layout.partial(step), layout.step(step), layout.training());
        self.discard(step).map_err(FileError::at(&whole, "remove what was never committed"))?;
        disk.create_dir(&staging).map_err(FileError::at(&staging, "make the folder"))?;
        write(&staging).map_err(|e| Failure::Write(e.into()))?;

        let (names, folders) = manifest::list(&staging)?;
        for name in &names {
            let path = staging.join(name);
            let top = name.split('/').next().unwrap_or(name);
            if name == manifest::FILE || top == layout::TRAINING {
                return Err(DirError::Content { path, what: "a name that the run directory uses itself" }.into());
            }
            disk.sync_file(&path).map_err(FileError::at(&path, "flush it"))?;
        }
        let manifest = Manifest::of(&staging, step, &names)?;
        let list = staging.join(manifest::FILE);
        disk.write(&list, manifest.to_json().as_bytes()).map_err(FileError::at(&list, "write it"))?;
        disk.sync_file(&list).map_err(FileError::at(&list, "flush it"))?;
        for folder in &folders {
            disk.sync_dir(folder).map_err(FileError::at(folder, "flush the folder"))?;
        }
        disk.rename(&staging, &whole).map_err(FileError::at(&whole, "rename the finished checkpoint to it"))?;
        disk.sync_dir(&training).map_err(FileError::at(&training, "flush the folder"))?;
        let log = layout.log();
        if files::exists(&log)? {
            disk.sync_file(&log).map_err(FileError::at(&log, "flush it"))?;
        }
        let pointer = layout.latest();
        let text = format!("{}\n", layout::step_name(step));
        disk::replace(disk, &pointer, text.as_bytes()).map_err(FileError::at(&pointer, "write it"))?;
        Ok(manifest)
    }

    /// Removes a checkpoint folder, which first loses its name: half removed it must not look like one.
    fn discard(&self, step: u64) -> std::io::Result<()> {
        let (whole, partial) = (self.layout.step(step), self.layout.partial(step));
        disk::remove_tree(&*self.disk, &partial)?;
        if whole.symlink_metadata().is_ok() {
            self.disk.rename(&whole, &partial)?;
            disk::remove_tree(&*self.disk, &partial)?;
        }
        Ok(())
    }

    /// Frees the space of a checkpoint that was not committed.
    fn discard_new(&self, step: u64) {
        // What cannot be removed now, the next opening removes; the failure that led here is the one to report.
        let _ = self.discard(step);
        let _ = disk::remove_tree(&*self.disk, &self.layout.latest().with_extension("tmp"));
    }

    fn failed(&self, step: u64, failure: Failure) -> DirError {
        let (path, previous) = (self.layout.partial(step), self.latest);
        let source: Box<dyn Error + Send + Sync> = match failure {
            Failure::Dir(DirError::File(e)) => Box::new(e),
            Failure::Dir(e) => return e,
            Failure::Write(e) => e,
        };
        if files::is_disk_full(&*source) {
            return DirError::DiskFull { free: space::available(self.path()).ok(), path, step, previous };
        }
        DirError::Write { path, step, previous, source }
    }

    /// Removes the checkpoints that are not to be kept; returns their steps.
    fn prune(&mut self, notes: &mut Vec<String>) -> Vec<u64> {
        let stale = std::mem::take(&mut self.stale);
        let mut steps = match open::steps(self.path()) {
            Ok(steps) => steps,
            Err(e) => {
                notes.push(format!("old checkpoints are not removed: {e}"));
                return Vec::new();
            }
        };
        let mut removed = Vec::new();
        let mut kept = 0;
        steps.reverse();
        for step in steps {
            let current = self.latest == Some(step);
            let is_stale = stale.contains(&step) && !current;
            let milestone = self.keep.every.is_some_and(|every| every > 0 && step.is_multiple_of(every));
            let last = kept < self.keep.last.max(1);
            if current || (!is_stale && (milestone || last)) {
                kept += 1;
                continue;
            }
            match self.discard(step) {
                Ok(()) => removed.push(step),
                Err(e) => notes.push(format!("{}: cannot remove it: {e}", self.layout.step(step).display())),
            }
        }
        removed.reverse();
        removed
    }
}

/// Why a checkpoint was not committed.
enum Failure {
    Dir(DirError),
    Write(Box<dyn Error + Send + Sync>),
}

impl<E: Into<DirError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Dir(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(last: usize, every: Option<u64>, steps: u64, interval: u64, want: u64) {
        assert_eq!(Keep { last, every }.most(steps, interval), want);
    }

    #[test]
    fn most_checkpoints_at_once() {
        check(1, None, 1000, 100, 2);
        check(0, None, 1000, 100, 2);
        check(3, None, 1000, 100, 4);
        check(1, None, 100, 100, 1);
        check(1, None, 50, 100, 1);
        check(1, None, 0, 100, 0);
        check(1, None, 100, 0, 1);
        check(1, Some(500), 1000, 100, 4);
        check(20, Some(1), 1000, 100, 10);
    }
}
