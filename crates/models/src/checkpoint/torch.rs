//! Files of `torch.save`: a pickle that describes tensors, and the storages they lie in.
//!
//! Since PyTorch 1.6 these are the entries of a zip archive, stored without compression, so that the bytes can be
//! borrowed from the map. Before that, four pickles (magic number, version, system, object) were followed by a list of
//! keys and the raw storages. Nothing of either is executed, see [`pickle`](super::pickle).

use std::{collections::HashMap, io::Cursor, ops::Range, path::Path};

use super::{
    Error, Format, Result,
    error::DAMAGED,
    files::{Contents, Entry},
    pickle::{Heap, PickleError, Value},
    weight::Layout,
};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

/// A pickle of more tensors than are allowed elsewhere would not be longer.
const MAX_PICKLE: usize = 1 << 28;

const SAVE_AGAIN: &str =
    "load it in Python and save it again with `torch.save` or, better, `safetensors.torch.save_file`";

/// The form of `torch.save` that `file` begins like. A safetensors header may have a length that reads like the
/// beginning of a pickle.
pub(super) fn format(file: &[u8]) -> Option<Format> {
    match file {
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => None,
        [b'P', b'K', 3, 4, ..] => Some(Format::TorchZip),
        [0x80, 2..=5, ..] => Some(Format::TorchLegacy),
        _ => None,
    }
}

/// Whether `file` is a tar archive, which is what PyTorch wrote before 2017.
pub(super) fn is_tar(file: &[u8]) -> bool {
    file.get(257..262) == Some(b"ustar")
}

/// Reads the state dict in `file`, the content of `path`, a zip archive.
pub(super) fn read_zip(path: &Path, file: &[u8]) -> Result<Contents> {
    let mut archive = Archive::open(path, file)?;
    archive.check_byte_order()?;
    let pickle = &file[archive.pickle()?];
    let mut heap = Heap::default();
    let (root, used) = heap.load(pickle).map_err(|e| pickle_error(path, 0, e))?;
    if used != pickle.len() {
        let reason = format!("the pickle has {} bytes, {used} of them used", pickle.len());
        return Err(Error::torch(path, reason, DAMAGED));
    }
    let mut ranges = HashMap::new();
    for storage in &heap.storages {
        let range = match ranges.get(storage.key) {
            Some(range) => Range::clone(range),
            None => archive.entry(&format!("data/{}", storage.key))?,
        };
        let wanted = storage.numel * storage.dtype.size();
        if range.len() != wanted {
            let reason = format!("storage `{}` has {} bytes, wanted {wanted}", storage.key, range.len());
            return Err(Error::torch(path, reason, DAMAGED));
        }
        ranges.insert(storage.key, range);
    }
    contents(path, Format::TorchZip, &heap, root, &ranges)
}

/// Reads the state dict in `file`, the content of `path`, in the form before PyTorch 1.6.
pub(super) fn read_legacy(path: &Path, file: &[u8]) -> Result<Contents> {
    let mut heap = Heap::default();
    let mut at = 0;
    if next(path, file, &mut at, &mut heap)? != Value::BigInt(&MAGIC) {
        return Err(Error::torch(path, "a pickle, but not of `torch.save`", SAVE_AGAIN));
    }
    let version = next(path, file, &mut at, &mut heap)?;
    if version != Value::Int(VERSION) {
        let reason = format!("unknown version of the file form: got {version:?}, wanted {VERSION}");
        return Err(Error::torch(path, reason, SAVE_AGAIN));
    }
    let system = next(path, file, &mut at, &mut heap)?;
    if heap.get(system, "little_endian") != Some(Value::Bool(true)) {
        return Err(Error::torch(path, "does not say that it is little-endian", SAVE_AGAIN));
    }
    let root = next(path, file, &mut at, &mut heap)?;
    let keys = next(path, file, &mut at, &mut heap)?;
    let ranges = legacy_storages(path, file, at, &heap, keys)?;
    contents(path, Format::TorchLegacy, &heap, root, &ranges)
}

/// The pickle from byte `at`, which is moved behind it.
fn next<'a>(path: &Path, file: &'a [u8], at: &mut usize, heap: &mut Heap<'a>) -> Result<Value<'a>> {
    let (value, used) = heap.load(&file[*at..]).map_err(|e| pickle_error(path, *at, e))?;
    *at += used;
    Ok(value)
}

/// The raw storages from byte `at`: for each key eight bytes of length in elements, and the elements.
fn legacy_storages<'a>(
    path: &Path,
    file: &'a [u8],
    mut at: usize,
    heap: &Heap<'a>,
    keys: Value<'a>,
) -> Result<HashMap<&'a str, Range<usize>>> {
    let sizes: HashMap<_, _> = heap.storages.iter().rev().map(|s| (s.key, (s.dtype.size(), s.numel))).collect();
    let mut ranges = HashMap::new();
    let damaged = |reason: String| Error::torch(path, reason, DAMAGED);
    for key in heap.list(keys).ok_or_else(|| damaged("no list of storages".into()))? {
        let Value::Str(key) = *key else { return Err(damaged("a storage without a name".into())) };
        let &(size, numel) = sizes.get(key).ok_or_else(|| damaged(format!("storage `{key}` belongs to no tensor")))?;
        let too_short = |wanted| Error::Length { path: path.into(), got: file.len() as u64, wanted };
        let start = at + 8;
        let Some(length) = file[at..].first_chunk() else { return Err(too_short(start as u64)) };
        let length = u64::from_le_bytes(*length);
        if length != numel as u64 {
            return Err(damaged(format!("storage `{key}` has {length} elements, wanted {numel}")));
        }
        // `numel * 8` was checked.
        at = start.saturating_add(numel * size);
        if at > file.len() {
            return Err(too_short(at as u64));
        }
        if ranges.insert(key, start..at).is_some() {
            return Err(damaged(format!("storage `{key}` is there twice")));
        }
    }
    if at != file.len() {
        return Err(Error::Length { path: path.into(), got: file.len() as u64, wanted: at as u64 });
    }
    Ok(ranges)
}

/// The tensors of the state dict at or under `root`.
fn contents<'a>(
    path: &Path,
    format: Format,
    heap: &Heap<'a>,
    root: Value<'a>,
    ranges: &HashMap<&'a str, Range<usize>>,
) -> Result<Contents> {
    let mut contents = Contents { format, entries: vec![], skipped: vec![] };
    let mut dict = root;
    let tensors = |dict| heap.dict(dict).is_some_and(|d| d.iter().any(|(_, v)| matches!(v, Value::Tensor(_))));
    // Training programs wrap what they save; what lies beside it (step, optimizer) is not weights.
    for key in ["state_dict", "model"] {
        if let Some(inner) = heap.get(root, key).filter(|&inner| tensors(inner)) {
            dict = inner;
            let siblings = items(heap, root).filter(|(k, _)| *k != Value::Str(key));
            contents.skipped = siblings.map(|(k, _)| show(k)).collect();
            break;
        }
    }
    if !tensors(dict) {
        return Err(Error::torch(
            path,
            "holds no state dict, neither itself nor under `state_dict` or `model`",
            "wanted what `torch.save(model.state_dict(), file)` writes",
        ));
    }
    for (key, value) in items(heap, dict) {
        match (key, value) {
            (Value::Str(name), Value::Tensor(tensor)) => {
                let entry = entry(heap, tensor, ranges).map_err(|reason| Error::tensor(path, name, reason))?;
                contents.entries.push((name.into(), entry));
            }
            _ => contents.skipped.push(show(key)),
        }
    }
    Ok(contents)
}

/// The items of a dict in order; of equal string keys the last counts, so that names are copied once.
fn items<'h, 'a>(heap: &'h Heap<'a>, dict: Value<'a>) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + use<'h, 'a> {
    let items = heap.dict(dict).unwrap_or_default();
    let mut last = HashMap::new();
    for (i, &(key, _)) in items.iter().enumerate() {
        if let Value::Str(name) = key {
            last.insert(name, i);
        }
    }
    let counts = move |&(i, (key, _)): &(usize, (Value<'a>, _))| match key {
        Value::Str(name) => last.get(name) == Some(&i),
        _ => true,
    };
    items.iter().copied().enumerate().filter(counts).map(|(_, item)| item)
}

/// Where the bytes of a tensor are; the reason is for an error message.
fn entry(heap: &Heap<'_>, tensor: usize, ranges: &HashMap<&str, Range<usize>>) -> std::result::Result<Entry, String> {
    let tensor = &heap.tensors[tensor];
    let storage = &heap.storages[tensor.storage];
    let range = ranges.get(storage.key).ok_or_else(|| format!("storage `{}` is not in the file", storage.key))?;
    let size = storage.dtype.size();
    let whole = storage.numel * size;
    if range.len() != whole {
        return Err(format!("storage `{}` has {} bytes, wanted {whole}", storage.key, range.len()));
    }
    let layout = Layout::new(&tensor.shape, &tensor.strides)?;
    let end = tensor.offset.checked_add(layout.span).filter(|&end| end <= storage.part.len());
    let end = end.ok_or_else(|| {
        let (offset, shape, strides, got) = (tensor.offset, &tensor.shape, &tensor.strides, storage.part.len());
        format!("offset {offset}, shape {shape:?} and strides {strides:?} reach beyond a storage of {got} elements")
    })?;
    // Within the range, as was just checked.
    let byte = |element: usize| range.start + (storage.part.start + element) * size;
    let range = byte(tensor.offset)..byte(end);
    Ok(Entry { dtype: storage.dtype, shape: tensor.shape.clone(), strides: layout.strides, range })
}

fn show(key: Value<'_>) -> String {
    match key {
        Value::Str(name) => name.into(),
        Value::Int(i) => i.to_string(),
        _ => "(a key that is no string)".into(),
    }
}

fn pickle_error(path: &Path, start: usize, error: PickleError) -> Error {
    match error {
        PickleError::Forbidden(global) => Error::ForbiddenGlobal { path: path.into(), global },
        PickleError::Invalid { offset, reason } => Error::Pickle { path: path.into(), offset: start + offset, reason },
    }
}

/// The zip archive and the directory in it that holds everything.
struct Archive<'a> {
    path: &'a Path,
    file: &'a [u8],
    zip: zip::ZipArchive<Cursor<&'a [u8]>>,
    prefix: String,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path, file: &'a [u8]) -> Result<Self> {
        let zip = zip::ZipArchive::new(Cursor::new(file)).map_err(|e| Error::torch(path, e.to_string(), DAMAGED))?;
        if zip.has_duplicate_names() {
            return Err(Error::torch(path, "two entries of one name", DAMAGED));
        }
        let prefix = |name: &[u8]| {
            let prefix = std::str::from_utf8(name).ok()?.strip_suffix("data.pkl")?;
            (prefix.is_empty() || prefix.find('/') == Some(prefix.len() - 1)).then(|| prefix.to_owned())
        };
        let prefix = zip.file_names_raw().find_map(prefix);
        let prefix = prefix.ok_or_else(|| Error::torch(path, "a zip archive without `data.pkl`", SAVE_AGAIN))?;
        Ok(Self { path, file, zip, prefix })
    }

    /// Where the bytes of an entry are.
    fn entry(&mut self, name: &str) -> Result<Range<usize>> {
        let full = format!("{}{name}", self.prefix);
        let damaged = |reason: String| Error::torch(self.path, format!("entry `{full}`: {reason}"), DAMAGED);
        let index = self.zip.index_for_name(&full).ok_or_else(|| damaged("is not there".into()))?;
        let entry = self.zip.by_index_raw(index).map_err(|e| damaged(e.to_string()))?;
        if entry.compression() != zip::CompressionMethod::Stored || entry.encrypted() {
            let reason = format!("entry `{full}`: is compressed or encrypted, wanted stored as it is");
            return Err(Error::torch(self.path, reason, SAVE_AGAIN));
        }
        let start = entry.data_start().ok_or_else(|| damaged("begins nowhere".into()))?;
        let end = start.checked_add(entry.size());
        let range = usize::try_from(start).ok().zip(end.and_then(|end| usize::try_from(end).ok()));
        match range {
            Some((start, end)) if end <= self.file.len() => Ok(start..end),
            _ => Err(damaged(format!("its {} bytes from {start} reach beyond the file", entry.size()))),
        }
    }

    /// The pickle, after a look at its checksum.
    fn pickle(&mut self) -> Result<Range<usize>> {
        let range = self.entry("data.pkl")?;
        if range.len() > MAX_PICKLE {
            let reason = format!("the pickle has {} bytes, at most {MAX_PICKLE} are allowed", range.len());
            return Err(Error::torch(self.path, reason, DAMAGED));
        }
        let damaged = |e: String| Error::torch(self.path, format!("entry `data.pkl`: {e}"), DAMAGED);
        let index = self.zip.index_for_name(&format!("{}data.pkl", self.prefix));
        let mut entry = self.zip.by_index(index.unwrap_or(usize::MAX)).map_err(|e| damaged(e.to_string()))?;
        // Zero is what `torch.serialization.set_crc32_options(False)` leaves there.
        if entry.crc32() != 0 {
            std::io::copy(&mut entry, &mut std::io::sink()).map_err(|e| damaged(e.to_string()))?;
        }
        Ok(range)
    }

    /// Files before PyTorch 2.1 do not say; they are little-endian in practice.
    fn check_byte_order(&mut self) -> Result<()> {
        if self.zip.index_for_name(&format!("{}byteorder", self.prefix)).is_none() {
            return Ok(());
        }
        let range = self.entry("byteorder")?;
        let got = &self.file[range];
        if got == b"little" {
            return Ok(());
        }
        let reason = format!("byte order is \"{}\", wanted \"little\"", got.escape_ascii());
        Err(Error::torch(self.path, reason, SAVE_AGAIN))
    }
}
