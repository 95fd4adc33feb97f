//! MNIST and its relatives: files of the format IDX.

use super::{At, Notes, Part, PictureSet, Record, Target};
use crate::{corpus::source::Compression, labelled::Labels, pictures::Error};
use std::{io::Read, path::Path, sync::Arc};

/// The largest file that is kept in memory, unpacked.
const LARGEST: u64 = 4 << 30;

/// MNIST, Fashion-MNIST and others in the folder `dir` under their usual names, plain or with `.gz`.
///
/// # Errors
///
/// As [`idx`]; [`Error::NoPictures`] if a file is missing.
pub fn mnist(dir: &Path, part: Part) -> Result<PictureSet, Error> {
    let stem = if part == Part::Train { "train" } else { "t10k" };
    let find = |what: &str| {
        let dots = [format!("{stem}-{what}-ubyte"), format!("{stem}-{}-ubyte", what.replacen("-idx", ".idx", 1))];
        let names = dots.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
        let found = names.map(|name| dir.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| Error::Missing { place: dir.display().to_string(), path: dir.join(&dots[0]) })
    };
    idx(&find("images-idx3")?, Some(&find("labels-idx1")?), None)
}

/// Pictures `[N, height, width]` of one byte a pixel, and their labels `[N]`, each in a file of its own, plain or with
/// `.gz`. Classes are `labels`, or the numbers from 0 to the largest label.
///
/// # Errors
///
/// [`Error::Layout`] for a file that is not of this form, is cut off or too long, for files of different lengths, or
/// for a label without a class.
pub fn idx(images: &Path, numbers: Option<&Path>, labels: Option<&Labels>) -> Result<PictureSet, Error> {
    let file = Idx::read(images, 3)?;
    let [count, height, width] = [0, 1, 2].map(|n| file.shape[n]);
    if height * width == 0 {
        return Err(layout(images, format!("pictures of {width} x {height} pixels")));
    }
    let numbers = match numbers {
        Some(path) => {
            let numbers = Idx::read(path, 1)?;
            if numbers.shape[0] != count {
                return Err(layout(path, format!("{} labels for {count} pictures", numbers.shape[0])));
            }
            Some((path, numbers))
        }
        None => None,
    };
    let labels = match (labels, &numbers) {
        (Some(labels), _) => Some(labels.clone()),
        (None, Some((_, numbers))) => {
            let largest = numbers.data[numbers.begin..].iter().max().copied().unwrap_or(0);
            Some(Labels::new((0..=largest).map(|n| n.to_string()).collect())?)
        }
        (None, None) => None,
    };
    let data = Arc::new(file.data);
    let record = |n: usize| {
        let target = match (&numbers, &labels) {
            (Some((path, numbers)), Some(labels)) => {
                let class = usize::from(numbers.data[numbers.begin + n]);
                if class >= labels.len() {
                    let reason = format!("label {n} is {class}, want less than {}", labels.len());
                    return Err(layout(path, reason));
                }
                Target::Class(class)
            }
            _ => Target::None,
        };
        let begin = file.begin + n * height * width;
        let at = At::Planes { data: data.clone(), begin, width, height, planes: 1 };
        Ok(Record { name: format!("{}, record {}", images.display(), n + 1), target, at })
    };
    PictureSet::new((0..count).map(record).collect::<Result<_, _>>()?, labels, Notes::default())
}

fn layout(path: &Path, reason: String) -> Error {
    Error::Layout { path: path.to_path_buf(), format: "IDX", reason }
}

/// Bytes in an array.
struct Idx {
    shape: Vec<usize>,
    data: Vec<u8>,
    /// The first byte of the array.
    begin: usize,
}

impl Idx {
    fn read(path: &Path, axes: usize) -> Result<Self, Error> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let mut data = Vec::new();
        let read = Compression::of(&name).1.open(path, path)?.take(LARGEST + 1).read_to_end(&mut data);
        read.map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let begin = 4 + 4 * axes;
        // Two zeros, the type (8: bytes) and the number of axes.
        let want = [0, 0, 8, axes as u8];
        if let Some(got) = data.get(..4).filter(|got| **got != want) {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            return Err(layout(path, format!("it begins with {}, want {}", hex(got), hex(&want))));
        }
        if data.len() < begin {
            return Err(layout(path, format!("{} bytes, want a header of {begin}", data.len())));
        }
        let side = |n: &[u8]| u32::from_be_bytes([n[0], n[1], n[2], n[3]]) as usize;
        let shape: Vec<usize> = data[4..begin].chunks_exact(4).map(side).collect();
        let want = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let got = data.len() - begin;
        match want {
            Some(want) if want == got => Ok(Self { shape, data, begin }),
            _ => Err(layout(path, format!("{got} bytes behind the header, which says {shape:?}"))),
        }
    }
}
