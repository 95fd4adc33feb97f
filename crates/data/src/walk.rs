//! The files of a folder.

use std::{
    io,
    path::{Path, PathBuf},
};

use walkdir::WalkDir;

/// A file or folder that cannot be looked at.
#[derive(Debug)]
pub struct Unread {
    /// Where it is.
    pub path: PathBuf,
    /// What the system said; of a link that leads back into its own folder, that.
    pub source: io::Error,
}

/// All files below `folder`, sorted by path, without hidden files and folders; links are followed.
pub fn files_below(folder: &Path) -> impl Iterator<Item = Result<PathBuf, Unread>> {
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let folder = folder.to_path_buf();
    entries.filter_entry(move |entry| entry.depth() == 0 || !hidden(entry.file_name())).filter_map(move |entry| {
        match entry {
            Ok(entry) => entry.file_type().is_file().then(|| Ok(entry.into_path())),
            Err(e) => Some(Err(Unread {
                path: e.path().unwrap_or(&folder).to_path_buf(),
                source: e.into_io_error().unwrap_or_else(|| io::Error::other("a link leads back into itself")),
            })),
        }
    })
}
