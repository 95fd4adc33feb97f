//! What a checkpoint holds: names, sizes, checksums.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::error::DirError;
use crate::{files::FileError, units};

/// The manifest's name in the checkpoint's folder.
pub(super) const FILE: &str = "manifest.json";

/// How much of a checkpoint is checked when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Presence and size of every file: catches truncation.
    Sizes,
    /// The BLAKE3 checksum as well, which reads everything: catches any change.
    Checksums,
}

/// `manifest.json` of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) step: u64,
    /// Sorted by name.
    pub(super) files: Vec<Entry>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name within the checkpoint, with `/` between folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Hexadecimal checksum.
    pub blake3: String,
}

impl Entry {
    /// Whether the file belongs to the state of the training (`state/…`) rather than to the model.
    pub fn is_state(&self) -> bool {
        self.name.starts_with("state/")
    }
}

impl Manifest {
    pub(super) const FORMAT: u32 = 1;

    /// Sizes and checksums of the files at `names` under `folder`.
    pub(super) fn of(folder: &Path, step: u64, names: &[String]) -> Result<Self, FileError> {
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let path = folder.join(name);
            let size = path.metadata().map_err(FileError::at(&path, "look at it"))?.len();
            let blake3 = checksum(&path).map_err(FileError::at(&path, "read it"))?;
            files.push(Entry { name: name.clone(), size, blake3 });
        }
        Ok(Self { format: Self::FORMAT, step, files })
    }

    pub(super) fn to_json(&self) -> String {
        // Strings and integers always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the manifest of the checkpoint of `step` in `folder` and checks the files against it.
    pub(super) fn open(folder: &Path, step: u64, verify: Verify, hint: &str) -> Result<Self, DirError> {
        let damaged =
            |path: PathBuf, got: String, wanted: String| DirError::Damaged { path, got, wanted, hint: hint.to_owned() };
        let path = folder.join(FILE);
        let wanted = || "the list of the checkpoint's files".to_owned();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(path, "no file".to_owned(), wanted()));
            }
            Err(e) => return Err(FileError::at(&path, "read it")(e).into()),
        };
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|e| damaged(path.clone(), format!("broken JSON ({e})"), wanted()))?;
        if manifest.format != Self::FORMAT {
            return Err(damaged(path, format!("format {}", manifest.format), format!("format {}", Self::FORMAT)));
        }
        if manifest.step != step {
            return Err(damaged(path, format!("step {}", manifest.step), format!("step {step}")));
        }
        for entry in &manifest.files {
            if !is_plain(&entry.name) {
                return Err(damaged(path, format!("the name {:?}", entry.name), "names inside the checkpoint".into()));
            }
            entry.check(folder, verify, &damaged)?;
        }
        Ok(manifest)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|entry| entry.size).sum()
    }
}

impl Entry {
    fn check(
        &self,
        folder: &Path,
        verify: Verify,
        damaged: &dyn Fn(PathBuf, String, String) -> DirError,
    ) -> Result<(), DirError> {
        let path = folder.join(&self.name);
        let exact = |n: u64| format!("{} bytes", units::count(n));
        let size = match path.metadata() {
            Ok(meta) if meta.is_file() => meta.len(),
            Ok(_) => return Err(damaged(path, "a folder".to_owned(), "a file".to_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(path, "no file".to_owned(), exact(self.size)));
            }
            Err(e) => return Err(FileError::at(&path, "look at it")(e).into()),
        };
        if size != self.size {
            return Err(damaged(path, exact(size), exact(self.size)));
        }
        if verify == Verify::Checksums {
            let got = checksum(&path).map_err(FileError::at(&path, "read it"))?;
            if got != self.blake3 {
                return Err(damaged(path, format!("checksum {got}"), self.blake3.clone()));
            }
        }
        Ok(())
    }
}

/// The names of all files under `folder`, sorted, with `/` between folders, and of the folders, inner ones first.
pub(super) fn list(folder: &Path) -> Result<(Vec<String>, Vec<PathBuf>), DirError> {
    fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>, folders: &mut Vec<PathBuf>) -> Result<(), DirError> {
        for name in crate::files::names(folder)? {
            let path = folder.join(&name);
            let kind = path.symlink_metadata().map_err(FileError::at(&path, "look at it"))?;
            let full = format!("{prefix}{name}");
            if kind.is_dir() {
                walk(&path, &format!("{full}/"), files, folders)?;
            } else if kind.is_file() {
                files.push(full);
            } else {
                return Err(DirError::Content { path, what: "what is neither file nor folder" });
            }
        }
        folders.push(folder.to_path_buf());
        Ok(())
    }
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    walk(folder, "", &mut files, &mut folders)?;
    files.sort();
    Ok((files, folders))
}

fn checksum(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Whether a name from a manifest stays inside the folder it is joined to.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, want: bool) {
        assert_eq!(is_plain(name), want, "{name:?}");
    }

    #[test]
    fn names_stay_inside() {
        check("config.json", true);
        check("state/a.b", true);
        check("", false);
        check("/etc/passwd", false);
        check("../x", false);
        check("a/../../x", false);
        check("C:\\x", false);
    }
}
