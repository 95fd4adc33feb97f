//! What only training needs of a checkpoint: moments, cursor, step.

use std::{
    fs,
    path::{Path, PathBuf},
};

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

const FILE: &str = "trainer.json";

impl State {
    /// Writes state and moments into `dir`, which is made.
    pub(crate) fn save(&self, dir: &Path, params: &Params, optimizer: &AdamW) -> Result<()> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| bedstone_models::ModelError::Write { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let mut tensors = Vec::new();
        for (id, p) in params.iter() {
            if let Some(moments) = optimizer.moments(id) {
                tensors.push((format!("{}.m", p.name), p.value.shape(), &moments.m[..]));
                tensors.push((format!("{}.v", p.name), p.value.shape(), &moments.v[..]));
            }
        }
        let tensors: Vec<NamedTensor<'_>> = tensors
            .iter()
            .map(|(name, shape, x)| NamedTensor {
                name,
                dtype: Dtype::F32,
                shape,
                data: TensorData::Bytes(bytes_of(x)),
            })
            .collect();
        write_safetensors(dir, &tensors, DEFAULT_SHARD_LIMIT)?;
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        fs::write(&path, text + "\n").map_err(failed(&path))?;
        Ok(())
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
                let name = format!("{}.{end}", p.name);
                let path: PathBuf = dir.to_owned();
                let missing = || TrainError::State { path, reason: format!("tensor `{name}` is missing") };
                files.get(&name).ok_or_else(missing)?.copy_f32(to)?;
            }
        }
        Ok(())
    }
}

fn bytes_of(x: &[f32]) -> &[u8] {
    bytemuck::cast_slice(x)
}
