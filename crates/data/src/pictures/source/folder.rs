//! A folder of pictures, or a folder for each class.

use super::{At, Named, Notes, PictureSet, Record, Target};
use crate::{
    labelled::{Labels, Place, Unit, Unlabelled},
    pictures::{Error, decode::Format},
    walk::{Unread, files_below},
};
use std::path::Path;

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
    for file in files_below(path) {
        let file = file.map_err(|Unread { path, source }| Error::Read { path, source })?;
        if !Format::named(&file) {
            notes.ignored_files += 1;
            continue;
        }
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
