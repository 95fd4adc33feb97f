use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use bedstone_kernels::mem::MappedFile;
use bedstone_tensor::Tensor;

use super::{Dtype, Error, Result, Weight, index, safetensors, torch};

/// How a weight file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `model.safetensors`.
    Safetensors,
    /// `pytorch_model.bin` since PyTorch 1.6.
    TorchZip,
    /// `pytorch_model.bin` before PyTorch 1.6.
    TorchLegacy,
}

/// The weights of a checkpoint: one file or several shards, mapped into memory.
///
/// Opening reads headers only. Names are unique over all shards.
pub struct WeightFiles {
    path: PathBuf,
    format: Format,
    files: Vec<(PathBuf, Arc<MappedFile>)>,
    entries: BTreeMap<String, (usize, Entry)>,
    skipped: Vec<String>,
}

/// Where a tensor is in its file; the range was checked against the file's length and the shape.
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Option<Vec<usize>>,
    pub(super) range: Range<usize>,
}

/// What one file holds.
pub(super) struct Contents {
    pub(super) format: Format,
    pub(super) entries: Vec<(String, Entry)>,
    pub(super) skipped: Vec<String>,
}

/// The files looked for in a directory; the first that is there is taken.
const CANDIDATES: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

impl WeightFiles {
    /// Opens the weights in a checkpoint directory, a single weight file, or the shards of an `….index.json`.
    ///
    /// In a directory `model.safetensors` comes first, then its shards, then `pytorch_model.bin`, then its shards.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let metadata = fs::metadata(path).map_err(|e| Error::read(path, e))?;
        let file = if metadata.is_dir() { find(path)? } else { path.to_owned() };
        if file.extension().is_some_and(|e| e == "json") { Self::open_shards(file) } else { Self::open_single(file) }
    }

    fn open_single(path: PathBuf) -> Result<Self> {
        let (map, contents) = read(&path)?;
        let mut files = Self::empty(path.clone(), contents.format);
        files.add(path, map, contents)?;
        Ok(files)
    }

    fn open_shards(index: PathBuf) -> Result<Self> {
        let weight_map = index::read(&index)?;
        let shards: BTreeSet<&str> = weight_map.values().map(String::as_str).collect();
        let mut files: Option<Self> = None;
        let mut number = BTreeMap::new();
        for shard in shards {
            // A name that leaves the directory is no shard of this checkpoint.
            let mut components = Path::new(shard).components();
            let (Some(Component::Normal(_)), None) = (components.next(), components.next()) else {
                return Err(Error::Index { path: index, reason: format!("`{shard}` is not a file name") });
            };
            let path = index.with_file_name(shard);
            if !path.exists() {
                return Err(Error::MissingShard { path: index, shard: shard.into() });
            }
            let (map, contents) = read(&path)?;
            let files = files.get_or_insert_with(|| Self::empty(index.clone(), contents.format));
            number.insert(shard, files.files.len());
            files.add(path, map, contents)?;
        }
        let files = files.ok_or_else(|| Error::Index { path: index.clone(), reason: "names no shard".into() })?;
        for (name, shard) in &weight_map {
            if files.entries.get(name).map(|(file, _)| file) != number.get(shard.as_str()) {
                return Err(Error::NotInShard { path: index, name: name.clone(), shard: shard.clone() });
            }
        }
        Ok(files)
    }

    fn empty(path: PathBuf, format: Format) -> Self {
        Self { path, format, files: vec![], entries: BTreeMap::new(), skipped: vec![] }
    }

    fn add(&mut self, path: PathBuf, map: Arc<MappedFile>, contents: Contents) -> Result<()> {
        let number = self.files.len();
        self.files.push((path, map));
        self.skipped.extend(contents.skipped);
        for (name, entry) in contents.entries {
            if let Some((first, _)) = self.entries.get(&name) {
                let (first, second) = (self.files[*first].0.clone(), self.files[number].0.clone());
                return Err(Error::DuplicateName { name, first, second });
            }
            self.entries.insert(name, (number, entry));
        }
        Ok(())
    }

    /// The file or index that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the files are laid out.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The files that hold tensors: one, or the shards.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What a `torch.save` file holds besides tensors: steps, optimizer state, other values of the state dict.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The tensor of exactly that name; [`resolve`](Self::resolve) also knows other spellings.
    pub fn get(&self, name: &str) -> Option<Weight<'_>> {
        let (name, (file, entry)) = self.entries.get_key_value(name)?;
        let (path, map) = &self.files[*file];
        Some(Weight {
            name,
            path,
            dtype: entry.dtype,
            shape: entry.shape.clone(),
            strides: entry.strides.clone(),
            bytes: &map[entry.range.clone()],
        })
    }

    /// The tensor of exactly that name without copying it, if it is f32, row by row, aligned and of this machine's byte
    /// order.
    pub fn map_f32(&self, name: &str) -> Option<Tensor> {
        let (file, entry) = self.entries.get(name)?;
        if entry.dtype != Dtype::F32 || entry.strides.is_some() || cfg!(target_endian = "big") {
            return None;
        }
        Tensor::mapped::<f32>(&self.files[*file].1, entry.range.clone(), &entry.shape[..])
    }

    /// For each tensor its type, its number of elements, and the file and bytes that hold them.
    pub(super) fn places(&self) -> impl Iterator<Item = (Dtype, usize, usize, &Range<usize>)> {
        self.entries.values().map(|(file, e)| (e.dtype, e.shape.iter().product(), *file, &e.range))
    }
}

impl fmt::Debug for WeightFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, format, files, entries, .. } = self;
        write!(f, "WeightFiles({}: {format:?}, {} files, {} tensors)", path.display(), files.len(), entries.len())
    }
}

/// The weight file or index in a directory.
fn find(dir: &Path) -> Result<PathBuf> {
    if let Some(name) = CANDIDATES.iter().find(|name| dir.join(name).exists()) {
        return Ok(dir.join(name));
    }
    let entries = fs::read_dir(dir).map_err(|e| Error::read(dir, e))?;
    let names = entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
    let mut found = names.collect::<Result<Vec<_>, _>>().map_err(|e| Error::read(dir, e))?;
    found.sort();
    Err(Error::NoWeights { path: dir.into(), found })
}

/// Maps one file and reads its header; what it is, its first bytes say.
fn read(path: &Path) -> Result<(Arc<MappedFile>, Contents)> {
    let map = Arc::new(MappedFile::open(path).map_err(|e| Error::read(path, e))?);
    let contents = match torch::format(&map) {
        Some(Format::TorchZip) => torch::read_zip(path, &map)?,
        Some(_) => torch::read_legacy(path, &map)?,
        None => {
            refuse_others(path, &map)?;
            let entries = safetensors::read(path, &map)?;
            Contents { format: Format::Safetensors, entries, skipped: vec![] }
        }
    };
    Ok((map, contents))
}

/// Names what people take for weights; anything else is then read as safetensors, which begins with a length.
fn refuse_others(path: &Path, file: &[u8]) -> Result<()> {
    let hint = if file.starts_with(b"version https://git-lfs") {
        "this is a pointer of Git LFS; run `git lfs pull` where it was cloned"
    } else if torch::is_tar(file) {
        "this is a tar archive, as PyTorch before 0.1.10 wrote; load it in Python and save it again"
    } else if file.starts_with(b"GGUF") {
        "GGUF files are not read; look for the safetensors of the same model"
    } else if file.starts_with(b"\x89HDF") {
        "this is a Keras or TensorFlow file; look for the safetensors of the same model"
    } else if path.extension().is_none_or(|e| e != "safetensors") && file.get(8) != Some(&b'{') {
        "the file is damaged, or of another program"
    } else {
        return Ok(());
    };
    Err(Error::UnknownFormat { path: path.into(), got: file[..file.len().min(16)].to_vec(), hint })
}
