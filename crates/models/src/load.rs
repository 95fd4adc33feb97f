//! From a checkpoint directory to a model and back.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use bedstone_nn::{Init, NnError, Source};
use bedstone_tensor::{Shape, Tensor};

use crate::{
    Architecture, Model, ModelError,
    checkpoint::{ConfigFile, DEFAULT_SHARD_LIMIT, Dtype, NamedTensor, TensorData, WeightFiles, write_safetensors},
};

/// What loading left aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors of the files that the architecture has no use for, except buffers that old versions saved.
    pub unused: Vec<String>,
}

/// Loads the model in a checkpoint directory.
pub fn load(dir: &Path) -> Result<(Model, LoadReport), ModelError> {
    load_with(dir, ConfigFile::open(dir)?)
}

/// Loads the weights of a checkpoint directory under a configuration that was read from elsewhere.
pub fn load_with(dir: &Path, config: ConfigFile) -> Result<(Model, LoadReport), ModelError> {
    let files = WeightFiles::open(dir)?;
    let (architecture, _) = Architecture::of(&config)?;
    let mut source = Checkpoint { dir, files: &files, architecture, used: BTreeSet::new(), error: None };
    let model = match Model::build(config, &mut source) {
        Ok(model) => model,
        // The error with its own type, not the box that it went through the builder in.
        Err(error) => return Err(source.error.take().unwrap_or(error)),
    };
    // A tied head is saved by some as a second name of the embedding; a head of its own would be lost.
    let tied = |name: &str| {
        let bytes = |name: &str| files.get(name).map(|w| w.bytes);
        name.ends_with("lm_head.weight") && source.used.iter().any(|used| bytes(used) == bytes(name))
    };
    let buffers = [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "embeddings.position_ids"];
    let buffer = |name: &str| buffers.iter().any(|end| name.ends_with(end));
    let unused = files.names().filter(|n| !source.used.contains(*n) && !buffer(n) && !tied(n));
    let report = LoadReport { unused: unused.map(str::to_owned).collect() };
    Ok((model, report))
}

/// Weights of a checkpoint as a source of parameters.
struct Checkpoint<'a> {
    dir: &'a Path,
    files: &'a WeightFiles,
    architecture: &'static Architecture,
    used: BTreeSet<String>,
    error: Option<ModelError>,
}

impl Checkpoint<'_> {
    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Tensor, ModelError> {
        let Some(weight) = self.files.resolve(name, self.architecture.base_prefix) else {
            let hint = self.files.tensor_hint(name).into_iter().map(str::to_owned).collect();
            return Err(ModelError::Missing { path: self.dir.to_owned(), name: name.to_owned(), hint });
        };
        if weight.shape != *shape {
            let (path, name) = (weight.path.to_owned(), weight.name.to_owned());
            return Err(ModelError::Shape { path, name, got: weight.shape.clone(), want: shape.to_vec() });
        }
        self.used.insert(weight.name.to_owned());
        if let Some(tensor) = self.files.map_f32(weight.name) {
            return Ok(tensor);
        }
        let mut tensor = Tensor::zeros::<f32>(shape);
        weight.copy_f32(tensor.f32s_mut())?;
        Ok(tensor)
    }
}

impl Source for Checkpoint<'_> {
    fn weights(&mut self, name: &str, shape: Shape, _: Init) -> Result<Tensor, NnError> {
        self.tensor(name, shape).map_err(|e| {
            let text = e.to_string();
            self.error = Some(e);
            NnError::Source(text.into())
        })
    }

    fn has(&self, name: &str) -> bool {
        self.files.resolve(name, self.architecture.base_prefix).is_some()
    }
}

/// Writes `config.json` and the weights (f32) into `dir`, as `transformers` reads them; gives the files written.
pub fn save(model: &Model, dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let path = dir.join("config.json");
    let mut fields = model.config().fields().clone();
    // What is written is f32, whatever was read; readers cast to what stands here.
    fields.remove("torch_dtype");
    fields.insert("dtype".into(), "float32".into());
    let mut text = serde_json::to_string_pretty(&fields).unwrap_or_default();
    text.push('\n');
    let write = |path: &Path| std::fs::File::create(path)?.write_all(text.as_bytes());
    write(&path).map_err(|source| ModelError::Write { path: path.clone(), source })?;
    let shapes: Vec<Shape> = model.params().iter().map(|(_, p)| p.value.shape()).collect();
    let tensors: Vec<NamedTensor<'_>> = model
        .params()
        .iter()
        .zip(&shapes)
        .map(|((_, p), shape)| NamedTensor {
            name: &p.name,
            dtype: Dtype::F32,
            shape,
            data: TensorData::Bytes(bytemuck::cast_slice(p.value.f32s())),
        })
        .collect();
    let mut written = write_safetensors(dir, &tensors, DEFAULT_SHARD_LIMIT)?;
    written.insert(0, path);
    Ok(written)
}
