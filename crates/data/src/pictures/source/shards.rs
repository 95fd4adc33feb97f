//! Tar files as of WebDataset: the files of a sample stand one after the other and share their name up to its first dot.

use super::{At, Named, Notes, PictureSet, Record, Target};
use crate::{
    labelled::{Labels, Place, Unit, Unlabelled},
    pictures::{Error, decode::Format},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The largest `.cls` or `.json` of a sample.
const LARGEST: u64 = 1 << 20;

/// The samples of `.tar` files, in the order of the files: a picture (`.jpg`, `.jpeg`, `.png`, `.webp`, `.gif`) with its
/// class in `.cls` (a name or number), or in `.json` as `label`, `class` or `cls`. Only headers are read; pictures are
/// read when they are asked for. Other files of a sample are counted.
///
/// # Errors
///
/// [`Error::Layout`] for a file that is no tar or is cut off, for a sample without a picture or with two, and for a key
/// that comes twice in one file; [`Error::NoLabel`] for a sample without a class where that is refused.
pub fn shards(paths: &[PathBuf], labels: Option<&Labels>, unlabelled: Unlabelled) -> Result<PictureSet, Error> {
    let (mut named, mut notes) = (Named { records: Vec::new() }, Notes::default());
    for path in paths {
        read(path, &mut named, &mut notes)?;
    }
    named.numbered(labels, unlabelled, notes)
}

/// A sample in the making.
struct Sample {
    key: String,
    picture: Option<(String, u64, u64)>,
    class: Option<String>,
}

fn read(path: &Path, named: &mut Named, notes: &mut Notes) -> Result<(), Error> {
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let layout = |reason: String| Error::Layout { path: path.to_path_buf(), format: "tar", reason };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let shared: Arc<Path> = path.into();
    let mut seen = BTreeSet::new();
    let mut sample: Option<Sample> = None;
    let mut finish = |sample: Option<Sample>| {
        let Some(Sample { key, picture, class }) = sample else { return Ok(()) };
        let (file, begin, bytes) = picture.ok_or_else(|| layout(format!("sample {key:?} has no picture")))?;
        let record = named.records.len() as u64 + 1;
        let place = Place { file: shared.clone(), record, unit: Unit::Record };
        let at = At::Part { path: shared.clone(), begin, bytes };
        let record = Record { name: format!("{}: {file}", path.display()), target: Target::None, at };
        named.records.push((record, place, class));
        Ok(())
    };
    let mut archive = tar::Archive::new(BufReader::new(file));
    let entries = archive.entries().map_err(failed)?;
    for entry in entries {
        let mut entry = entry.map_err(|e| layout(e.to_string()))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (begin, bytes) = (entry.raw_file_position(), entry.size());
        if begin.checked_add(bytes).is_none_or(|end| end > size) {
            return Err(layout(format!("{name:?} is cut off")));
        }
        let (folder, base) = name.rsplit_once('/').map_or(("", name.as_str()), |(folder, base)| (folder, base));
        let Some((stem, extension)) = base.split_once('.').filter(|(stem, _)| !stem.is_empty()) else {
            notes.ignored_files += 1;
            continue;
        };
        let key = format!("{folder}/{stem}");
        if sample.as_ref().is_none_or(|sample| sample.key != key) {
            finish(sample.take())?;
            if !seen.insert(key.clone()) {
                return Err(layout(format!("the files of sample {key:?} do not stand together")));
            }
            sample = Some(Sample { key, picture: None, class: None });
        }
        let Some(sample) = &mut sample else { continue };
        match extension.to_ascii_lowercase().as_str() {
            end @ ("cls" | "json") => {
                if bytes > LARGEST {
                    return Err(layout(format!("{name:?} has {bytes} bytes, want at most {LARGEST}")));
                }
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(|e| layout(format!("{name:?}: {e}")))?;
                let class =
                    if end == "cls" { class_of_text(&text) } else { class_of_json(&text, &name).map_err(layout)? };
                // A class of its own file comes first.
                sample.class = if end == "cls" { class } else { sample.class.take().or(class) };
            }
            _ if Format::named(Path::new(base)) => {
                if let Some((first, ..)) = &sample.picture {
                    return Err(layout(format!("two pictures in one sample: {first:?} and {name:?}")));
                }
                sample.picture = Some((name, begin, bytes));
            }
            _ => notes.ignored_files += 1,
        }
    }
    finish(sample)
}

fn class_of_text(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn class_of_json(text: &str, name: &str) -> Result<Option<String>, String> {
    let row: Value = serde_json::from_str(text).map_err(|e| format!("{name:?}: not JSON: {e}"))?;
    let value = ["label", "class", "cls"].iter().find_map(|key| row.get(*key)).filter(|value| !value.is_null());
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(class_of_text(text)),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(other) => Err(format!("{name:?}: the label is {other}, want a string or a whole number")),
    }
}
