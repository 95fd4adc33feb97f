//! A folder of pictures, or a folder for each class.

use super::{At, Named, Notes, PictureSet, Record, Target};
use crate::{
    labelled::{Labels, Place, Unit, Unlabelled},
    pictures::{Error, decode::Format},
};
use std::{io, path::Path};
use walkdir::WalkDir;

/// The pictures below `path`: in folders whose names are the classes (as ImageNet has them), or all in `path` itself,
/// without labels. Sorted by path; hidden files and folders are left out, links are followed.
///
/// Classes are numbered as `labels` says, or by their order: by value if all are whole numbers, else as text.
///
/// # Errors
///
/// [`Error::Read`], [`Error::NoPictures`], [`Error::MixedFolder`] for pictures beside folders of pictures,
/// [`Error::NoLabel`] for pictures without labels where they are refused, and an error that names the folder of an
/// unknown class or of a single one.
pub fn folder(path: &Path, labels: Option<&Labels>, unlabelled: Unlabelled) -> Result<PictureSet, Error> {
    let (mut named, mut notes) = (Named { records: Vec::new() }, Notes::default());
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let entries = WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name())) {
        let entry = entry.map_err(|e| Error::Read {
            path: e.path().unwrap_or(path).to_path_buf(),
            source: e.into_io_error().unwrap_or_else(|| io::Error::other("a link leads back into itself")),
        })?;
        if !entry.file_type().is_file() {
            continue;
        }
        if !Format::named(entry.path()) {
            notes.ignored_files += 1;
            continue;
        }
        let file = entry.into_path();
        let inner = file.strip_prefix(path).unwrap_or(&file);
        let class = match inner.components().count() {
            0 | 1 => None,
            _ => inner.components().next().map(|class| class.as_os_str().to_string_lossy().into_owned()),
        };
        let place = Place { file: path.into(), record: named.records.len() as u64 + 1, unit: Unit::Record };
        let record =
            Record { name: file.display().to_string(), target: Target::None, at: At::File { path: file, size: None } };
        named.records.push((record, place, class));
    }
    let Some((first, _, class)) = named.records.first() else {
        return Err(Error::NoPictures { path: path.to_path_buf(), ignored: notes.ignored_files });
    };
    if let Some((other, ..)) = named.records.iter().find(|(.., other)| other.is_some() != class.is_some()) {
        let (first, other) = (first.name.clone(), other.name.clone());
        return Err(Error::MixedFolder { path: path.to_path_buf(), first, other });
    }
    named.numbered(labels, unlabelled, notes)
}
