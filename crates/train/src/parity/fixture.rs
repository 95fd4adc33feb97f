//! The files of a fixture.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bedstone_infer::InferError;
use bedstone_models::{
    Inputs, ModelError,
    checkpoint::{self, ConfigError, Dtype, WeightFiles},
};
use bedstone_tensor::{Tensor, TensorError};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a fixture could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParityError {
    /// No fixture there.
    #[error("{}: no fixture here, wanted parity.json or trace.json", path.display())]
    NoFixture {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is not as it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Files of tensors.
    #[error(transparent)]
    Files(#[from] checkpoint::Error),
    /// An operation.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Generation.
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// `parity.json` as far as it is needed.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Json {
    #[serde(default)]
    pub(super) cases: Map<String, Value>,
    #[serde(default)]
    pub(super) generation: Vec<Generation>,
}

/// One recorded generation.
#[derive(Debug, Deserialize)]
pub(super) struct Generation {
    pub(super) name: String,
    pub(super) kwargs: Map<String, Value>,
    pub(super) sequences: Vec<Vec<i32>>,
    pub(super) sequences_scores: Option<Vec<f64>>,
}

/// An opened fixture.
pub(super) struct Fixture {
    pub(super) dir: PathBuf,
    pub(super) json: Json,
    tensors: Option<Tensors>,
}

impl Fixture {
    pub(super) fn open(dir: &Path) -> Result<Self, ParityError> {
        let json = read_json(&dir.join("parity.json"))?;
        let path = dir.join("parity.safetensors");
        let tensors = if path.exists() { Some(Tensors::open(&path)?) } else { None };
        Ok(Fixture { dir: dir.to_owned(), json, tensors })
    }

    /// Whether there are outputs of a model to compare with.
    pub(super) fn has_model(&self) -> bool {
        self.dir.join("config.json").exists() && self.tensors.is_some()
    }

    /// Cases with outputs, in the order of names.
    pub(super) fn case_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .tensors()
            .map(|t| {
                t.files
                    .names()
                    .filter(|n| !n.starts_with("gen."))
                    .filter_map(|n| Some(n.split_once(".out.")?.0.to_owned()))
            })
            .into_iter()
            .flatten()
            .collect();
        names.dedup();
        names
    }

    /// How many ids of a case come in one call, if it is about the cache.
    pub(super) fn prefix_length(&self, case: &str) -> Option<usize> {
        self.json.cases.get(case)?.get("prefix_length")?.as_u64().map(|n| n as usize)
    }

    /// Whether a case records the mean over tokens, and its direction.
    pub(super) fn pools_means(&self, case: &str) -> bool {
        let pooling = self.json.cases.get(case).and_then(|c| c.get("pooling")).and_then(Value::as_str);
        pooling.is_some_and(|p| p.starts_with("mean"))
    }

    /// The inputs of a case.
    pub(super) fn inputs(&self, case: &str) -> Result<Inputs, ParityError> {
        let start = format!("{case}.in.");
        let mut inputs = Inputs::default();
        if let Some(tensors) = self.tensors() {
            for name in tensors.files.names().filter(|n| n.starts_with(&start)) {
                inputs = inputs.with(&name[start.len()..], tensors.get(name)?);
            }
        }
        let asked = self.json.cases.get(case).and_then(|c| c.get("interpolate_pos_encoding"));
        inputs.interpolate_pos_encoding = asked.and_then(Value::as_bool).unwrap_or(false);
        Ok(inputs)
    }

    /// Names and values of the expected outputs of a case.
    pub(super) fn outputs(&self, case: &str) -> Result<Vec<(String, Tensor)>, ParityError> {
        let start = format!("{case}.out.");
        let Some(tensors) = self.tensors() else { return Ok(Vec::new()) };
        let names = tensors.files.names().filter(|n| n.starts_with(&start));
        names.map(|n| Ok((n[start.len()..].to_owned(), tensors.get(n)?))).collect()
    }

    fn tensors(&self) -> Option<&Tensors> {
        self.tensors.as_ref()
    }
}

/// A file of named tensors.
pub(super) struct Tensors {
    path: PathBuf,
    pub(super) files: WeightFiles,
}

impl Tensors {
    pub(super) fn open(path: &Path) -> Result<Self, ParityError> {
        Ok(Tensors { path: path.to_owned(), files: WeightFiles::open(path)? })
    }

    /// A tensor by name: floats as f32, integers as i32.
    pub(super) fn get(&self, name: &str) -> Result<Tensor, ParityError> {
        let wrong = |reason: String| ParityError::File { path: self.path.clone(), reason };
        let weight = self.files.get(name).ok_or_else(|| wrong(format!("tensor `{name}` is missing")))?;
        if weight.shape.len() > 6 {
            return Err(wrong(format!("tensor `{name}` has {} axes, at most 6 are served", weight.shape.len())));
        }
        if weight.dtype.is_float() {
            return Ok(Tensor::from_slice(&weight.to_f32()?, &weight.shape[..]));
        }
        let narrow = |x: i64| i32::try_from(x).map_err(|_| wrong(format!("tensor `{name}`: {x} is beyond 32 bits")));
        let x: Vec<i32> = match weight.dtype {
            Dtype::U8 | Dtype::BOOL => weight.bytes.iter().map(|&b| b as i32).collect(),
            _ => weight.to_i64()?.into_iter().map(narrow).collect::<Result<_, _>>()?,
        };
        Ok(Tensor::from_slice(&x, &weight.shape[..]))
    }
}

/// A JSON file of some type.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ParityError> {
    let wrong = |reason: String| ParityError::File { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))
}
