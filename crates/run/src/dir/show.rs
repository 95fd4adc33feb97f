//! The latest checkpoint's files at the top of the run directory, where every program looks for them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use super::{
    Checkpoint, RunDir,
    disk::{self, Disk},
    layout,
    manifest::{self, Entry, Manifest},
    open,
};
use crate::files::{self, FileError};

impl RunDir {
    /// Makes the top show `new`: links each file, removes those that only the checkpoint shown before had.
    ///
    /// Returns the names that had to be copied because the file system refused links.
    pub(super) fn show(&self, step: u64, new: &[Entry]) -> Result<Vec<String>, FileError> {
        let (disk, layout) = (&*self.disk, &self.layout);
        let from = layout.step(step);
        let incoming = layout.incoming();
        let mut copied = Vec::new();
        let mut changed = BTreeSet::from([layout.top.clone()]);
        for name in shown(new) {
            let to = layout.top.join(name);
            make_parents(disk, &layout.top, name, &mut changed)?;
            disk::remove_tree(disk, &incoming).map_err(FileError::at(&incoming, "remove it"))?;
            let source = from.join(name);
            match disk.hard_link(&source, &incoming) {
                Ok(()) => {}
                Err(e) if links_refused(&e) => {
                    disk.copy(&source, &incoming).map_err(FileError::at(&to, "copy the checkpoint's file to it"))?;
                    disk.sync_file(&incoming).map_err(FileError::at(&to, "flush it"))?;
                    copied.push(name.to_owned());
                }
                Err(e) => return Err(FileError::at(&to, "link it to the checkpoint's file")(e)),
            }
            disk.rename(&incoming, &to).map_err(FileError::at(&to, "replace it"))?;
        }
        // Renaming one name of a file to another name of the same file does nothing.
        disk::remove_tree(disk, &incoming).map_err(FileError::at(&incoming, "remove it"))?;

        let kept: BTreeSet<&str> = shown(new).collect();
        for name in self.shown_before().iter().filter(|name| !kept.contains(name.as_str())) {
            let path = layout.top.join(name);
            disk::remove_tree(disk, &path).map_err(FileError::at(&path, "remove it"))?;
        }
        for folder in changed {
            disk.sync_dir(&folder).map_err(FileError::at(&folder, "flush the folder"))?;
        }
        self.point(&layout.shown(), step)?;
        Ok(copied)
    }

    /// After a kill: shows the committed checkpoint if the top shows another one, or misses a file.
    ///
    /// What the user edited at the top since then stays until the next commit.
    pub(super) fn repair_shown(&self, checkpoint: &Checkpoint) -> Result<Vec<String>, FileError> {
        let top = &self.layout.top;
        let complete = shown(&checkpoint.files).all(|name| top.join(name).exists());
        if complete && open::pointer(top, &self.layout.shown()).ok().flatten() == Some(checkpoint.step) {
            return Ok(Vec::new());
        }
        let copied = self.show(checkpoint.step, &checkpoint.files)?;
        Ok(copied_note(&copied).into_iter().collect())
    }

    /// Replaces a pointer file and flushes its name.
    pub(super) fn point(&self, path: &Path, step: u64) -> Result<(), FileError> {
        let text = format!("{}\n", layout::step_name(step));
        disk::replace(&*self.disk, path, text.as_bytes()).map_err(FileError::at(path, "write it"))?;
        let training = self.layout.training();
        self.disk.sync_dir(&training).map_err(FileError::at(&training, "flush the folder"))
    }

    /// The names that the checkpoint shown at present has at the top, as far as its manifest is still there.
    fn shown_before(&self) -> Vec<String> {
        let Ok(Some(step)) = open::pointer(&self.layout.top, &self.layout.shown()) else { return Vec::new() };
        let path = self.layout.step(step).join(manifest::FILE);
        let manifest = std::fs::read(path).ok().and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
        manifest.map_or(Vec::new(), |manifest| {
            shown(&manifest.files).filter(|name| manifest::is_plain(name)).map(str::to_owned).collect()
        })
    }
}

/// Says that files were copied, if any were.
pub(super) fn copied_note(copied: &[String]) -> Option<String> {
    (!copied.is_empty()).then(|| {
        format!("the file system refuses hard links: {} copied, which needs more disk space", copied.join(", "))
    })
}

/// The names of the files that the top shows.
fn shown(files: &[Entry]) -> impl Iterator<Item = &str> {
    files.iter().filter(|file| !file.is_state()).map(|file| file.name.as_str())
}

/// Makes the folders between the top and a file, and notes which folders change.
fn make_parents(disk: &dyn Disk, top: &Path, name: &str, changed: &mut BTreeSet<PathBuf>) -> Result<(), FileError> {
    let mut folder = top.to_path_buf();
    let parts: Vec<&str> = name.split('/').collect();
    for part in &parts[..parts.len() - 1] {
        folder.push(part);
        if !files::exists(&folder)? {
            disk.create_dir(&folder).map_err(FileError::at(&folder, "make the folder"))?;
        }
        changed.insert(folder.clone());
    }
    Ok(())
}

/// Whether the error means that there can be no link, rather than that something else is wrong.
fn links_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported | CrossesDevices | TooManyLinks)
}
