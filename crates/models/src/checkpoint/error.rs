use std::{
    io,
    path::{Path, PathBuf},
};

use super::Dtype;

/// The result of reading or writing weight files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be wrong with weight files; each names the file and ends with a `hint:` line where there is advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read a file or directory.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The system refused to write a file, or a tensor's own writer failed.
    #[error("{}: cannot be written: {source}\nhint: weight files need as much free space as the weights have bytes", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A directory without weights of any known form.
    #[error("{}: no weights: found {}, wanted {WANTED}\nhint: name the directory that holds `config.json` and the weights, or the weight file itself",
        path.display(), list(found))]
    NoWeights {
        /// The directory.
        path: PathBuf,
        /// The names of its entries, sorted.
        found: Vec<String>,
    },

    /// A file that is not of any known form.
    #[error("{}: not a weight file: begins with {}, wanted safetensors or a file of `torch.save`\nhint: {hint}",
        path.display(), show_bytes(got))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        got: Vec<u8>,
        /// What it looks like, or what to do.
        hint: &'static str,
    },

    /// A file that ends too early, or goes on after its end.
    #[error("{}: got {got} bytes, wanted {wanted}\nhint: {}", path.display(),
        if got < wanted { "the file is truncated; copy or download it again" } else { "the file is damaged; copy or download it again" })]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        got: u64,
        /// The length that its header asks for.
        wanted: u64,
    },

    /// A safetensors header that cannot be understood.
    #[error("{}: corrupt safetensors header: {reason}\nhint: the file is damaged; copy or download it again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// One tensor whose description does not fit the file.
    #[error("{}: tensor `{name}`: {reason}\nhint: the file is damaged; copy or download it again", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong, with the values.
        reason: String,
    },

    /// A tensor of an element type that cannot be read.
    #[error("{}: tensor `{name}` has dtype {got}, wanted one of {}", path.display(), Dtype::names())]
    UnknownDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type's name in the file.
        got: String,
    },

    /// A conversion that the tensor's element type does not allow.
    #[error("{}: tensor `{name}` has dtype {got}, wanted {wanted}", path.display())]
    WrongDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        got: Dtype,
        /// The types that can be converted.
        wanted: &'static str,
    },

    /// A destination of another length than the tensor.
    #[error("{}: tensor `{name}` has {wanted} elements, the destination {got}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The destination's length.
        got: usize,
        /// The tensor's number of elements.
        wanted: usize,
    },

    /// A shard index that cannot be understood.
    #[error("{}: corrupt shard index: {reason}\nhint: wanted {{\"weight_map\": {{tensor name: file name}}}}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// A shard that the index names and that is not there.
    #[error("{}: names the shard `{shard}`, which is not beside it\nhint: copy or download the missing shard", path.display())]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The missing file.
        shard: String,
    },

    /// A tensor that is not in the shard that the index names for it.
    #[error("{}: tensor `{name}` should be in `{shard}`, which does not hold it\nhint: index and shards are of different checkpoints; copy or download them again",
        path.display())]
    NotInShard {
        /// The index.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shard that should hold it.
        shard: String,
    },

    /// A tensor that two shards hold.
    #[error("tensor `{name}` is in both {} and {}\nhint: the shards are of different checkpoints; copy or download them again",
        first.display(), second.display())]
    DuplicateName {
        /// The tensor.
        name: String,
        /// The shard read first.
        first: PathBuf,
        /// The shard read second.
        second: PathBuf,
    },

    /// A pickle that wants to call something other than what rebuilds tensors.
    #[error("{}: refers to the Python object `{global}`, which weights do not need; nothing was executed\nhint: if you trust the file, load it in Python and save only the tensors, best with `safetensors.torch.save_file`",
        path.display())]
    ForbiddenGlobal {
        /// The file.
        path: PathBuf,
        /// Module and name.
        global: String,
    },

    /// A pickle that is damaged or holds something other than a state dict.
    #[error("{}: {reason} (pickle, byte {offset}); nothing was executed\nhint: wanted what `torch.save(model.state_dict(), file)` writes", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Where in the pickle, in bytes from its beginning.
        offset: usize,
        /// What is wrong.
        reason: String,
    },

    /// A `torch.save` archive whose container is damaged or of an unknown kind.
    #[error("{}: {reason}\nhint: {hint}", path.display())]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },

    /// Tensors that cannot be written as they are.
    #[error("{}: tensor `{name}` cannot be written: {reason}", path.display())]
    Unwritable {
        /// The directory to write to.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong, with the values.
        reason: String,
    },

    /// A file that would be taken instead of what is about to be written.
    #[error("{}: is in the way: readers would take it instead of the shards\nhint: write to an empty directory, or remove it", path.display())]
    InTheWay {
        /// The file.
        path: PathBuf,
    },
}

const WANTED: &str =
    "`model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin` or `pytorch_model.bin.index.json`";

pub(super) const DAMAGED: &str = "the file is damaged or truncated; copy or download it again";

impl Error {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    pub(super) fn header(path: &Path, reason: impl Into<String>) -> Self {
        Self::Header { path: path.into(), reason: reason.into() }
    }

    pub(super) fn tensor(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { path: path.into(), name: name.into(), reason: reason.into() }
    }

    pub(super) fn torch(path: &Path, reason: impl Into<String>, hint: &'static str) -> Self {
        Self::Torch { path: path.into(), reason: reason.into(), hint }
    }
}

/// The first names of a directory, as many as a line bears.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "nothing".into();
    }
    let shown = names.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        rest => format!("{shown} and {rest} more"),
    }
}

fn show_bytes(bytes: &[u8]) -> String {
    if bytes.is_empty() { "nothing".into() } else { format!("\"{}\"", bytes.escape_ascii()) }
}
