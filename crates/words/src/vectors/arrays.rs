//! A matrix in a `.npy` file and its words in another file beside it: `.parquet` (a column of text) or `.txt` (a word a line).

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use bedstone_kernels::mem::MappedFile;
use bedstone_run::files::FileError;
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};

use super::{Format, Vectors, distinct};
use crate::{Result, WordsError, text::Vocab};

/// The one matrix and the one list of words in a folder.
pub(super) fn open_folder(folder: &Path) -> Result<Vectors> {
    let names = |extensions: &[&str]| -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in folder.read_dir().map_err(FileError::at(folder, "list the folder"))? {
            let path = entry.map_err(FileError::at(folder, "list the folder"))?.path();
            if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    };
    let matrices = names(&["npy"])?;
    let words = match names(&["parquet"])? {
        parquet if parquet.is_empty() => names(&["txt"])?,
        parquet => parquet,
    };
    match (&matrices[..], &words[..]) {
        ([matrix], [words]) => open(matrix, words),
        _ => Err(WordsError::format_hint(
            folder,
            format!(
                "holds {} .npy files{} and {} lists of words{}, wanted one of each",
                matrices.len(),
                names_of(&matrices),
                words.len(),
                names_of(&words)
            ),
            "put a matrix and its words into a folder of their own; a directory of word vectors has config.json, or a .npy beside a .parquet or .txt",
        )),
    }
}

fn names_of(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// Whether a folder holds a matrix and no checkpoint.
pub(super) fn is_folder(folder: &Path) -> bool {
    let names = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    !folder.join("config.json").exists() && names.into_iter().any(|path| path.extension().is_some_and(|e| e == "npy"))
}

/// A `.npy` or `.parquet` file, whose partner is in the same folder.
pub(super) fn open_file(path: &Path) -> Result<Vectors> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    open_folder(folder)
}

fn open(matrix: &Path, words: &Path) -> Result<Vectors> {
    let map = MappedFile::open(matrix).map_err(FileError::at(matrix, "open"))?;
    let (dimension, numbers) = npy(matrix, &map)?;
    let count = numbers.len() / dimension;
    let vocab = if words.extension().is_some_and(|e| e == "parquet") {
        parquet_words(words, count)?
    } else {
        let text = std::fs::read_to_string(words).map_err(FileError::at(words, "read"))?;
        distinct(words, text.lines().map(|l| Ok(l.to_owned())), count)?
    };
    Ok(Vectors::new(matrix, Format::Arrays, vocab, dimension, numbers))
}

/// Columns and numbers, row after row, of a two-dimensional array in either order; f32 or f64, little-endian.
pub(super) fn npy(path: &Path, bytes: &[u8]) -> Result<(usize, Vec<f32>)> {
    let wrong = |what: String| WordsError::format(path, what);
    let cut = || wrong(format!("cut short: the header is not whole ({} bytes)", bytes.len()));
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(wrong("not a .npy file".into()));
    }
    let (length, begin) = match bytes.get(6..12).ok_or_else(cut)? {
        [1, _, a, b, ..] => (u16::from_le_bytes([*a, *b]) as usize, 10),
        [2 | 3, _, a, b, c, d] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        [version, ..] => return Err(wrong(format!("version {version}, wanted 1 to 3"))),
        [] => return Err(cut()),
    };
    let header = bytes.get(begin..begin + length).ok_or_else(cut)?;
    let header = String::from_utf8_lossy(header);
    let value = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    let dtype = value("descr").and_then(|v| v.strip_prefix('\'')).and_then(|v| v.split('\'').next());
    let fortran = value("fortran_order").is_some_and(|v| v.starts_with("True"));
    let shape: Option<Vec<usize>> = value("shape")
        .and_then(|v| v.strip_prefix('('))
        .and_then(|v| v.split(')').next())
        .map(|v| v.split(',').filter_map(|n| n.trim().parse().ok()).collect());
    let (Some(dtype), Some(&[rows, cols])) =
        (dtype, shape.as_deref().and_then(|s| s.first_chunk::<2>().filter(|_| s.len() == 2)))
    else {
        return Err(wrong(format!("header {:?}: wanted a matrix", header.trim())));
    };
    let size = match dtype {
        "<f4" => 4,
        "<f8" => 8,
        other => return Err(wrong(format!("numbers of type {other}, wanted <f4 or <f8"))),
    };
    let data = &bytes[begin + length..];
    let wanted = rows.checked_mul(cols).and_then(|n| n.checked_mul(size));
    if cols == 0 || wanted != Some(data.len()) {
        return Err(wrong(format!("{} bytes of numbers, wanted {rows} x {cols} of {size} bytes", data.len())));
    }
    let read = |place: usize| match size {
        4 => f32::from_le_bytes(data.as_chunks::<4>().0[place]),
        _ => f64::from_le_bytes(data.as_chunks::<8>().0[place]) as f32,
    };
    let place = |i: usize| if fortran { i % cols * rows + i / cols } else { i };
    let numbers = (0..rows * cols).map(|i| read(place(i))).collect();
    Ok((cols, numbers))
}

/// The first column of text.
fn parquet_words(path: &Path, wanted: usize) -> Result<Vocab> {
    let wrong = |e: parquet::errors::ParquetError| WordsError::format(path, e.to_string());
    let file = File::open(path).map_err(FileError::at(path, "open"))?;
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    let rows = reader.get_row_iter(None).map_err(wrong)?;
    let words = rows.enumerate().map(|(n, row)| {
        let row = row.map_err(wrong)?;
        let text = row.get_column_iter().find_map(|(_, field)| match field {
            Field::Str(text) => Some(text.clone()),
            _ => None,
        });
        text.ok_or_else(|| WordsError::format(path, format!("row {}: no text", n + 1)))
    });
    distinct(path, words, wanted)
}
