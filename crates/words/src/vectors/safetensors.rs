//! Matrices in safetensors files, written row by row: no second copy in memory.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use bedstone_kernels::mem::MappedFile;
use bedstone_run::files::FileError;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, json};

use crate::{Result, WordsError};

/// A matrix to write.
pub(crate) struct Tensor<'a> {
    name: &'a str,
    shape: [usize; 2],
    /// Fills a row.
    rows: &'a dyn Fn(usize, &mut [f32]),
}

impl<'a> Tensor<'a> {
    /// `shape` is rows and columns.
    pub(crate) fn new(name: &'a str, shape: [usize; 2], rows: &'a dyn Fn(usize, &mut [f32])) -> Self {
        Self { name, shape, rows }
    }
}

/// Writes the matrices as f32 and one line of metadata.
pub(crate) fn write(path: &Path, tensors: &[Tensor<'_>], metadata: Option<(&str, String)>) -> Result<()> {
    let mut header = Map::new();
    if let Some((name, text)) = metadata {
        header.insert("__metadata__".into(), json!({ name: text }));
    }
    let mut at = 0;
    for t in tensors {
        let bytes = 4 * t.shape[0] * t.shape[1];
        header.insert(t.name.into(), json!({"dtype": "F32", "shape": t.shape, "data_offsets": [at, at + bytes]}));
        at += bytes;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Data begins at a multiple of eight.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let failed = || FileError::at(path, "write");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed())?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed())?;
    file.write_all(header.as_bytes()).map_err(failed())?;
    for t in tensors {
        let mut row = vec![0.0; t.shape[1]];
        for r in 0..t.shape[0] {
            (t.rows)(r, &mut row);
            for x in &row {
                file.write_all(&x.to_le_bytes()).map_err(failed())?;
            }
        }
    }
    file.flush().map_err(failed())?;
    Ok(())
}

/// A file of matrices.
pub(crate) struct Tensors {
    path: PathBuf,
    map: MappedFile,
}

/// A matrix of f32 in a mapped file.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    bytes: &'a [u8],
    /// Rows and columns.
    pub(crate) shape: [usize; 2],
}

impl Tensors {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let map = MappedFile::open(path).map_err(FileError::at(path, "open"))?;
        let tensors = Self { path: path.to_owned(), map };
        tensors.parsed()?;
        Ok(tensors)
    }

    fn parsed(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.map)
            .map_err(|e| WordsError::format(&self.path, format!("not a whole safetensors file: {e}")))
    }

    /// The metadata under `name`.
    pub(crate) fn metadata(&self, name: &str) -> Result<Option<String>> {
        let (_, header) = SafeTensors::read_metadata(&self.map)
            .map_err(|e| WordsError::format(&self.path, format!("not a whole safetensors file: {e}")))?;
        Ok(header.metadata().as_ref().and_then(|m| m.get(name).cloned()))
    }

    /// The matrix `name`, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Matrix<'_>>> {
        let parsed = self.parsed()?;
        let Ok(view) = parsed.tensor(name) else { return Ok(None) };
        let wrong = |what: String| WordsError::format(&self.path, format!("tensor `{name}` {what}"));
        let (dtype, shape) = (view.dtype(), view.shape());
        if dtype != Dtype::F32 {
            return Err(wrong(format!("is of {dtype:?}, wanted F32")));
        }
        let &[rows, cols] = shape else { return Err(wrong(format!("has shape {shape:?}, wanted [rows, columns]"))) };
        // The library checked that these many bytes are there.
        Ok(Some(Matrix { bytes: view.data(), shape: [rows, cols] }))
    }

    /// The matrix `name` of this shape.
    pub(crate) fn get(&self, name: &str, shape: [usize; 2]) -> Result<Matrix<'_>> {
        let found =
            self.find(name)?.ok_or_else(|| WordsError::format(&self.path, format!("tensor `{name}` is missing")))?;
        if found.shape != shape {
            let what = format!("tensor `{name}` has shape {:?}, wanted {shape:?}", found.shape);
            return Err(WordsError::format(&self.path, what));
        }
        Ok(found)
    }
}

impl Matrix<'_> {
    /// Calls `take` with each row and its number.
    pub(crate) fn each_row(&self, mut take: impl FnMut(usize, &[f32])) {
        let cols = self.shape[1];
        let mut row = vec![0.0; cols];
        if cols == 0 {
            return;
        }
        for (r, bytes) in self.bytes.chunks_exact(4 * cols).enumerate() {
            for (x, b) in row.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *x = f32::from_le_bytes(*b);
            }
            take(r, &row);
        }
    }
}
