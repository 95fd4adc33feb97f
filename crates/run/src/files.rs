//! Errors of the file system that say where and what.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The system refused something with a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {doing}: {source}{}", path.display(), full_hint(source))]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was tried, to be read after "cannot".
    pub doing: &'static str,
    /// What the system said.
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`: `std::fs::read(p).map_err(FileError::at(p, "read"))`.
    pub fn at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { path, doing, source }
    }
}

/// Whether the error, or one that caused it, says that the disk or the quota is full.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return true;
            }
            // `io::Error::other(e)` holds `e` as itself, not as its source.
            if let Some(inner) = io.get_ref()
                && is_disk_full(inner)
            {
                return true;
            }
        }
        next = error.source();
    }
    false
}

fn full_hint(error: &io::Error) -> &'static str {
    if is_disk_full(error) { "\nhint: the disk is full; free some space and try again" } else { "" }
}

/// Whether `path` exists; a dangling link does.
pub(crate) fn exists(path: &Path) -> Result<bool, FileError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FileError::at(path, "look at it")(e)),
    }
}

/// The names in a folder, sorted; none when the folder is missing.
///
/// # Errors
///
/// If the system cannot list it.
pub fn names(dir: &Path) -> Result<Vec<String>, FileError> {
    let entries = match dir.read_dir() {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::at(dir, "list the folder")(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::at(dir, "list the folder"))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("weights could not be written")]
    struct Outer(#[source] FileError);

    #[track_caller]
    fn check(error: &(dyn std::error::Error + 'static), want: bool) {
        assert_eq!(is_disk_full(error), want, "{error:?}");
    }

    #[test]
    fn disk_full_is_found_in_the_chain() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        check(&full(), true);
        check(&io::Error::from(io::ErrorKind::NotFound), false);
        check(&Outer(FileError::at(Path::new("f"), "write")(full())), true);
        check(&io::Error::other(Outer(FileError::at(Path::new("f"), "write")(full()))), true);
        check(&io::Error::other("no room"), false);
    }

    #[test]
    fn names_are_sorted() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(names(dir.path()).unwrap(), ["a", "b", "c"]);
        assert!(names(&dir.path().join("missing")).unwrap().is_empty());
        assert!(names(&dir.path().join("a")).is_err());
    }
}
