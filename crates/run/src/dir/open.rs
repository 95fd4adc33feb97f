//! Reading a run directory, with or without its lock.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    error::DirError,
    layout::{self, Layout},
    manifest::{Entry, Manifest, Verify},
};
use crate::files::{self, FileError};

/// A committed checkpoint whose files are all there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The step after which it was written.
    pub step: u64,
    /// `RUN/training/step-N`.
    pub path: PathBuf,
    /// Its files, sorted by name.
    pub files: Vec<Entry>,
}

impl Checkpoint {
    /// The committed checkpoint of the run at `run`; `None` when there is none yet, or no run.
    ///
    /// Needs no lock: when a training process commits and removes meanwhile, the newer checkpoint is returned.
    ///
    /// # Errors
    /// [`DirError::Damaged`] names the file, what was got and wanted, and which older checkpoints there are.
    pub fn open(run: &Path, verify: Verify) -> Result<Option<Self>, DirError> {
        let mut step = latest_step(run)?;
        loop {
            let Some(at) = step else { return Ok(None) };
            let folder = Layout::new(run).step(at);
            match Manifest::open(&folder, at, verify, &damage_hint(run, Some(at))) {
                Ok(manifest) => return Ok(Some(Self { step: at, path: folder, files: manifest.files })),
                Err(error) => {
                    // Removed under our hands, or truly damaged.
                    let now = latest_step(run)?;
                    if now == step {
                        return Err(error);
                    }
                    step = now;
                }
            }
        }
    }

    /// The folder of what only training needs.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// The folder from which to read the model of `dir`, a run or any other checkpoint directory.
///
/// This is `dir` itself, unless a process was killed (or is) between committing a checkpoint and showing all its files
/// at the top; then it is the checkpoint's own folder. So files of two checkpoints are never mixed.
pub fn model_folder(dir: &Path) -> Result<PathBuf, DirError> {
    if dir.is_file() {
        return Err(DirError::NotAFolder { path: dir.to_path_buf() });
    }
    let layout = Layout::new(dir);
    match latest_step(dir)? {
        Some(step) if pointer(dir, &layout.shown()).ok().flatten() != Some(step) => Ok(layout.step(step)),
        _ => Ok(dir.to_path_buf()),
    }
}

/// The step that `latest` names.
pub(super) fn latest_step(run: &Path) -> Result<Option<u64>, DirError> {
    pointer(run, &Layout::new(run).latest())
}

/// The step that a pointer file names; `None` when there is no such file.
pub(super) fn pointer(run: &Path, path: &Path) -> Result<Option<u64>, DirError> {
    let text = match std::fs::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(FileError::at(path, "read it")(e).into()),
    };
    match layout::parse_step(text.trim_end()) {
        Some(step) => Ok(Some(step)),
        None => Err(DirError::Damaged {
            path: path.to_path_buf(),
            got: format!("{:?}", text.chars().take(40).collect::<String>()),
            wanted: "the name of a checkpoint such as `step-100`".to_owned(),
            hint: damage_hint(run, None),
        }),
    }
}

/// The steps of all checkpoint folders, committed or not, ascending.
pub(super) fn steps(run: &Path) -> Result<Vec<u64>, FileError> {
    let names = files::names(&Layout::new(run).training())?;
    let mut steps: Vec<u64> = names.iter().filter_map(|name| layout::parse_step(name)).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// What to do about a damaged checkpoint of step `bad`.
fn damage_hint(run: &Path, bad: Option<u64>) -> String {
    let others = steps(run).unwrap_or_default();
    let pointer = Layout::new(run).latest();
    match others.into_iter().rfind(|&step| bad.is_none_or(|bad| step < bad)) {
        Some(step) => format!(
            "restore the file from a copy, or write `{}` into {} to go on from that checkpoint",
            layout::step_name(step),
            pointer.display()
        ),
        None => "restore the file from a copy, or start again with another `--out`".to_owned(),
    }
}
