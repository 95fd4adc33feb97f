//! What only training needs of a checkpoint: moments, weights behind an average, cursor, step.

use std::{fs, path::Path};

use bedstone_data::sampler::Cursor;
use bedstone_models::checkpoint::{
    DEFAULT_SHARD_LIMIT, Dtype, NamedTensor, TensorData, WeightFiles, write_safetensors,
};
use bedstone_tensor::Params;
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError, optimizer::AdamW};

/// Where a run stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct State {
    /// Steps done.
    pub(crate) step: u64,
    /// How far the data was read.
    pub(crate) cursor: Cursor,
    /// The hash that names the data.
    pub(crate) data: String,
    /// The instruction set that computed so far.
    pub(crate) isa: String,
    /// The precision of products.
    pub(crate) precision: String,
    /// Tokens trained on.
    pub(crate) tokens: u64,
    /// The lowest validation loss so far.
    pub(crate) best: Option<f64>,
}

/// Where a run keeps how far it has come, beside its numbers.
pub(crate) const FILE: &str = "trainer.json";

impl State {
    /// Writes state and moments into `dir`, which is made, and the weights that learn where the model has their average.
    pub(crate) fn save(&self, dir: &Path, params: &Params, optimizer: &AdamW, learning: Option<&Params>) -> Result<()> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| bedstone_models::ModelError::Write { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let mut tensors = moments(params, optimizer);
        for (_, p) in learning.into_iter().flat_map(Params::iter) {
            tensors.push((format!("{}.w", p.name), p.value.shape().to_vec(), p.value.f32s()));
        }
        write_tensors(dir, &tensors)?;
        let path = dir.join(FILE);
        let wrong = |e: serde_json::Error| TrainError::State { path: path.clone(), reason: e.to_string() };
        let text = serde_json::to_string_pretty(self).map_err(wrong)?;
        fs::write(&path, text + "\n").map_err(failed(&path))?;
        Ok(())
    }

    /// Whether a `trainer.json` is of a pretraining, which alone has a cursor; nothing where it cannot be read.
    pub(crate) fn is_of_pretraining(path: &Path) -> Option<bool> {
        let state: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        Some(state.get("cursor").is_some())
    }

    /// Reads the state in `dir`.
    pub(crate) fn load(dir: &Path) -> Result<State> {
        let path = dir.join(FILE);
        let wrong = |reason: String| TrainError::State { path: path.clone(), reason };
        let text = fs::read(&path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))
    }

    /// Reads the moments in `dir`.
    pub(crate) fn load_moments(dir: &Path, params: &Params, optimizer: &mut AdamW) -> Result<()> {
        let files = WeightFiles::open(dir)?;
        for (id, p) in params.iter() {
            let Some(moments) = optimizer.moments_mut(id) else { continue };
            for (end, to) in [("m", &mut moments.m), ("v", &mut moments.v)] {
                copy(&files, dir, &format!("{}.{end}", p.name), to)?;
            }
        }
        Ok(())
    }

    /// Reads the weights that learn in `dir`, where the model has their average.
    pub(crate) fn load_learning(dir: &Path, params: &mut Params) -> Result<()> {
        let files = WeightFiles::open(dir)?;
        for (_, p) in params.iter_mut() {
            copy(&files, dir, &format!("{}.w", p.name), p.value.f32s_mut())?;
        }
        Ok(())
    }
}

/// A tensor of the state: name, shape, numbers.
pub(crate) type Named<'a> = (String, Vec<usize>, &'a [f32]);

/// Both moments of what learns.
pub(crate) fn moments<'a>(params: &Params, optimizer: &'a AdamW) -> Vec<Named<'a>> {
    let mut tensors: Vec<Named<'a>> = Vec::new();
    for (id, p) in params.iter() {
        let Some(moments) = optimizer.moments(id) else { continue };
        // Those of factors are no matrix.
        let whole = p.value.shape().numel() == moments.m.len();
        let shape = if whole { p.value.shape().to_vec() } else { vec![moments.m.len()] };
        tensors.push((format!("{}.m", p.name), shape.clone(), &moments.m[..]));
        tensors.push((format!("{}.v", p.name), shape, &moments.v[..]));
    }
    tensors
}

/// As they are written to files.
pub(crate) fn as_named<'a>(tensors: &'a [Named<'_>]) -> Vec<NamedTensor<'a>> {
    let named = |(name, shape, x): &'a Named<'_>| NamedTensor {
        name,
        dtype: Dtype::F32,
        shape,
        data: TensorData::Bytes(bytemuck::cast_slice(x)),
    };
    tensors.iter().map(named).collect()
}

/// Writes tensors of the state into `dir`.
pub(crate) fn write_tensors(dir: &Path, tensors: &[Named<'_>]) -> Result<()> {
    write_safetensors(dir, &as_named(tensors), DEFAULT_SHARD_LIMIT)?;
    Ok(())
}

/// Copies a tensor of the state in `dir`.
pub(crate) fn copy(files: &WeightFiles, dir: &Path, name: &str, to: &mut [f32]) -> Result<()> {
    let missing = || TrainError::State { path: dir.to_owned(), reason: format!("tensor `{name}` is missing") };
    Ok(files.get(name).ok_or_else(missing)?.copy_f32(to)?)
}
