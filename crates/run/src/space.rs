//! Free and used disk space.

use std::path::{Path, PathBuf};

use crate::{files::FileError, units};

/// There is too little room, or the room cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// Too little free space.
    #[error(
        "{}: too little disk space: needs {}, has {}\nhint: free {}, or choose another disk with `--out`",
        path.display(), units::bytes(*needs), units::bytes(*has), units::bytes(needs.saturating_sub(*has))
    )]
    TooLittle {
        /// Where something was to be written.
        path: PathBuf,
        /// Bytes needed.
        needs: u64,
        /// Bytes free.
        has: u64,
    },
    /// The system did not answer.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Bytes that an ordinary user may still write on the disk of `path`, which need not exist yet.
pub fn available(path: &Path) -> Result<u64, FileError> {
    let folder = existing(path);
    fs4::available_space(&folder).map_err(FileError::at(&folder, "ask for its free disk space"))
}

/// Refuses when the disk of `path` has fewer than `needs` bytes left.
pub fn check(path: &Path, needs: u64) -> Result<(), SpaceError> {
    let has = available(path)?;
    if has < needs {
        return Err(SpaceError::TooLittle { path: path.to_path_buf(), needs, has });
    }
    Ok(())
}

/// Bytes of all files under `dir`; a file with several hard links counts once (on Unix). Symbolic links are not followed.
pub fn used(dir: &Path) -> Result<u64, FileError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut folders = vec![dir.to_path_buf()];
    let mut total = 0;
    while let Some(folder) = folders.pop() {
        let list = || FileError::at(&folder, "list the folder");
        for entry in folder.read_dir().map_err(list())? {
            let entry = entry.map_err(list())?;
            let meta = entry.metadata().map_err(FileError::at(&entry.path(), "look at it"))?;
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() && first_link(&meta, &mut seen) {
                total += meta.len();
            }
        }
    }
    Ok(total)
}

/// Whether this is the first name met of the file.
#[cfg(unix)]
fn first_link(meta: &std::fs::Metadata, seen: &mut std::collections::BTreeSet<(u64, u64)>) -> bool {
    use std::os::unix::fs::MetadataExt;
    meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn first_link(_: &std::fs::Metadata, _: &mut std::collections::BTreeSet<(u64, u64)>) -> bool {
    true
}

/// The nearest folder above `path`, or `path`, that exists.
fn existing(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if ancestor.as_os_str().is_empty() {
            break;
        }
        if ancestor.exists() {
            return ancestor.to_path_buf();
        }
    }
    PathBuf::from(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_folders_ask_their_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(available(&dir.path().join("a/b/c")).unwrap() > 0);
        assert!(available(Path::new("no/such/folder")).unwrap() > 0);
    }

    #[test]
    fn too_little_says_needs_and_has() {
        let dir = tempfile::tempdir().unwrap();
        check(dir.path(), 1).unwrap();
        let text = check(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(text.contains("needs 16.0 EiB, has "), "{text}");
        assert!(text.contains("hint: free "), "{text}");
    }

    #[test]
    fn hard_links_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(sub.join("a"), [0; 100]).unwrap();
        std::fs::write(dir.path().join("c"), [0; 10]).unwrap();
        std::fs::hard_link(sub.join("a"), dir.path().join("b")).unwrap();
        assert_eq!(used(dir.path()).unwrap(), if cfg!(unix) { 110 } else { 210 });
    }
}
