use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    Dtype, Error, Result, index,
    safetensors::{MAX_HEADER, METADATA},
    weight,
};

/// The size above which weights are cut into shards: 4 GiB.
pub const DEFAULT_SHARD_LIMIT: u64 = 4 << 30;

/// A tensor to write.
pub struct NamedTensor<'a> {
    /// The name in the file.
    pub name: &'a str,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each axis; empty for a scalar.
    pub shape: &'a [usize],
    /// The elements.
    pub data: TensorData<'a>,
}

/// The elements of a tensor to write: little-endian, row by row.
pub enum TensorData<'a> {
    /// All bytes.
    Bytes(&'a [u8]),
    /// Writes all bytes, for tensors that are converted on the way; called once.
    Writer(&'a dyn Fn(&mut dyn Write) -> io::Result<()>),
}

/// Writes `dir/model.safetensors`, or shards with an index if the tensors have more than `shard_limit_bytes`.
///
/// The same tensors give the same bytes, in whatever order they come: in each file wide elements come first, so that
/// all are aligned, then names decide; shards are filled in the order of names. A tensor is never cut, so one that
/// is larger than the limit has a shard of its own. Every file is written under a temporary name, synced and renamed;
/// the index comes last. Gives the files written. Fails on equal names, on bytes that do not fit the shape, and if
/// `dir` has a `model.safetensors` that would hide the shards.
pub fn write_safetensors(dir: &Path, tensors: &[NamedTensor<'_>], shard_limit_bytes: u64) -> Result<Vec<PathBuf>> {
    check(dir, tensors)?;
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by_key(|t| t.name);
    let shards = cut(&tensors, shard_limit_bytes);
    let single = dir.join("model.safetensors");
    if let [shard] = &shards[..] {
        write_file(&single, shard)?;
        return Ok(vec![single]);
    }
    if single.exists() {
        return Err(Error::InTheWay { path: single });
    }
    let mut written = Vec::with_capacity(shards.len() + 1);
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        let path = dir.join(&name);
        write_file(&path, shard)?;
        written.push(path);
        weight_map.extend(shard.iter().map(|t| (t.name.to_owned(), name.clone())));
    }
    let index = dir.join("model.safetensors.index.json");
    let total_size = tensors.iter().map(|t| t.len()).sum();
    let text = index::to_json(total_size, weight_map).map_err(|e| write_error(&index, e.into()))?;
    replace(&index, |file| file.write_all(&text))?;
    written.push(index);
    Ok(written)
}

/// Writes the tensors to the file `path` under a temporary name, syncs and renames it; see [`write_safetensors`].
pub fn write_safetensors_file(path: &Path, tensors: &[NamedTensor<'_>]) -> Result<()> {
    check(path, tensors)?;
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by_key(|t| t.name);
    write_file(path, &tensors)
}

impl NamedTensor<'_> {
    /// Bytes; the shape was checked.
    fn len(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.size() as u64
    }
}

fn check(dir: &Path, tensors: &[NamedTensor<'_>]) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut total = 0u64;
    for tensor in tensors {
        let refuse = |reason: String| Error::Unwritable { path: dir.into(), name: tensor.name.into(), reason };
        if !names.insert(tensor.name) {
            return Err(refuse("its name is there twice".into()));
        }
        if tensor.name == METADATA {
            return Err(refuse("its name is reserved".into()));
        }
        let (dtype, shape) = (tensor.dtype, tensor.shape);
        weight::numel(shape).ok_or_else(|| refuse(format!("shape {shape:?} overflows")))?;
        total = total.checked_add(tensor.len()).ok_or_else(|| refuse("all tensors together overflow".into()))?;
        if let TensorData::Bytes(bytes) = tensor.data
            && bytes.len() as u64 != tensor.len()
        {
            return Err(refuse(format!("got {} bytes, {dtype} of {shape:?} wants {}", bytes.len(), tensor.len())));
        }
    }
    Ok(())
}

/// Fills shards in the given order; always at least one, which may be empty.
fn cut<'t, 'a>(tensors: &[&'t NamedTensor<'a>], limit: u64) -> Vec<Vec<&'t NamedTensor<'a>>> {
    let mut shards = vec![vec![]];
    let mut room = limit;
    for &tensor in tensors {
        let last = shards.len() - 1;
        if tensor.len() > room && !shards[last].is_empty() {
            shards.push(vec![tensor]);
            room = limit.saturating_sub(tensor.len());
        } else {
            shards[last].push(tensor);
            room = room.saturating_sub(tensor.len());
        }
    }
    shards
}

fn write_file(path: &Path, tensors: &[&NamedTensor<'_>]) -> Result<()> {
    let mut tensors = tensors.to_vec();
    // `Dtype` is ordered from wide to narrow.
    tensors.sort_by_key(|t| (t.dtype, t.name));
    let mut header = Map::new();
    // Without this `transformers` refuses the file.
    header.insert(METADATA.into(), json!({"format": "pt"}));
    let mut end = 0;
    for tensor in &tensors {
        let begin = end;
        end += tensor.len();
        let info = json!({"dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [begin, end]});
        header.insert(tensor.name.into(), info);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER {
        let reason = format!("a header of {} bytes, at most {MAX_HEADER} are allowed", header.len());
        return Err(write_error(path, io::Error::other(reason)));
    }
    replace(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in &tensors {
            let mut counted = Counted { inner: &mut *file, left: tensor.len() };
            match tensor.data {
                TensorData::Bytes(bytes) => counted.write_all(bytes)?,
                TensorData::Writer(write) => write(&mut counted)?,
            }
            if counted.left != 0 {
                let (name, left) = (tensor.name, counted.left);
                return Err(io::Error::other(format!("tensor `{name}` was written with {left} bytes too few")));
            }
        }
        Ok(())
    })
}

/// Writes a file under a temporary name and renames it, so that whoever mapped the old one keeps it whole.
fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let result = File::create(&temporary).and_then(|file| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        write(&mut file)?;
        file.into_inner()?.sync_all()?;
        fs::rename(&temporary, path)
    });
    result.map_err(|e| {
        // What was begun is of no use; that it cannot be removed is the lesser news.
        let _ = fs::remove_file(&temporary);
        write_error(path, e)
    })
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Write { path: path.into(), source }
}

/// Refuses bytes beyond what the header says.
struct Counted<'w> {
    inner: &'w mut dyn Write,
    left: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other(format!(
                "a tensor was written with {} bytes too many",
                bytes.len() as u64 - self.left
            )));
        }
        let n = self.inner.write(bytes)?;
        self.left -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
