//! CIFAR-10 and CIFAR-100 in their binary form ([Krizhevsky 2009](https://www.cs.toronto.edu/~kriz/cifar.html)).

use super::{At, Notes, Part, PictureSet, Record, Target};
use crate::{labelled::Labels, pictures::Error};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// The pictures of the folder `dir`, which holds `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin` and
/// `batches.meta.txt`, or `train.bin`, `test.bin` and `fine_label_names.txt`. Of CIFAR-100 the fine labels are taken.
///
/// # Errors
///
/// [`Error::Missing`] if a file is not there, [`Error::Layout`] if one is not of this form.
pub fn cifar(dir: &Path, part: Part) -> Result<PictureSet, Error> {
    let hundred = !dir.join("batches.meta.txt").is_file();
    let names = dir.join(if hundred { "fine_label_names.txt" } else { "batches.meta.txt" });
    let files: Vec<PathBuf> = match (hundred, part) {
        (true, Part::Train) => vec![dir.join("train.bin")],
        (true, Part::Test) => vec![dir.join("test.bin")],
        (false, Part::Train) => (1..=5).map(|n| dir.join(format!("data_batch_{n}.bin"))).collect(),
        (false, Part::Test) => vec![dir.join("test_batch.bin")],
    };
    if let Some(path) = files.iter().chain([&names]).find(|path| !path.is_file()) {
        return Err(Error::Missing { place: dir.display().to_string(), path: path.clone() });
    }
    let text = fs::read_to_string(&names).map_err(|source| Error::Read { path: names.clone(), source })?;
    let labels = Labels::new(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())?;
    let classes = if hundred { 100 } else { 10 };
    if labels.len() != classes {
        return Err(layout(&names, format!("{} names, want {classes}", labels.len())));
    }
    // CIFAR-100 has a coarse label first.
    let before = if hundred { 2 } else { 1 };
    let mut records = Vec::new();
    for path in files {
        let data = Arc::new(fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?);
        let size = before + PIXELS;
        if data.is_empty() || data.len() % size != 0 {
            return Err(layout(&path, format!("{} bytes, want a multiple of {size}", data.len())));
        }
        for n in 0..data.len() / size {
            let begin = n * size + before;
            let class = usize::from(data[begin - 1]);
            if class >= classes {
                return Err(layout(&path, format!("record {} has label {class}, want less than {classes}", n + 1)));
            }
            let at = At::Planes { data: data.clone(), begin, width: SIDE, height: SIDE, planes: 3 };
            let name = format!("{}, record {}", path.display(), n + 1);
            records.push(Record { name, target: Target::Class(class), at });
        }
    }
    PictureSet::new(records, Some(labels), Notes::default())
}

fn layout(path: &Path, reason: String) -> Error {
    Error::Layout { path: path.to_path_buf(), format: "CIFAR", reason }
}
