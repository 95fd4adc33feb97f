//! From a checkpoint directory to a model and back.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
};

use bedstone_nn::{Init, NnError, Random, Source};
use bedstone_tensor::{Shape, Tensor};
use serde_json::{Map, Value};

use crate::{
    Adapter, Architecture, Class, Model, ModelError,
    checkpoint::{ConfigFile, DEFAULT_SHARD_LIMIT, Dtype, NamedTensor, TensorData, WeightFiles, write_safetensors},
};

/// What loading left aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors of the files that the architecture has no use for, except buffers that old versions saved.
    pub unused: Vec<String>,
    /// Parameters of a head that started from random numbers.
    pub fresh: Vec<String>,
}

/// Loads the model in a checkpoint directory, or in one with an adapter of `peft` (LoRA), whose base has to be a directory.
pub fn load(dir: &Path) -> Result<(Model, LoadReport), ModelError> {
    load_with(dir, config(dir)?)
}

/// The configuration in a checkpoint directory, or that of the model which an adapter in it makes of its base.
pub fn config(dir: &Path) -> Result<ConfigFile, ModelError> {
    match Adapter::find(dir)? {
        Some(adapter) => adapter.config(),
        None => Ok(ConfigFile::open(dir)?),
    }
}

/// Loads the weights of a checkpoint directory under a configuration that was read from elsewhere.
pub fn load_with(dir: &Path, config: ConfigFile) -> Result<(Model, LoadReport), ModelError> {
    open(dir, config, None)
}

/// Loads the body in a checkpoint directory under the head of `class`, for fine-tuning: `fields` override those of
/// `config.json` (`id2label` and the like).
///
/// What the checkpoint has of that head in the same shapes is loaded too; the rest starts from random numbers of `seed`
/// and is named in the report. A body with missing weights is an error.
pub fn load_head(
    dir: &Path,
    class: Class,
    fields: &Map<String, Value>,
    seed: u64,
) -> Result<(Model, LoadReport), ModelError> {
    let file = config(dir)?;
    let architecture = Architecture::of_type(&file)?;
    let head = architecture.with_head(class);
    let Some((head, name)) = head.and_then(|a| Some((a, a.class_name(class)?))) else {
        let (path, class) = (file.path().to_owned(), format!("{class:?}"));
        let wanted = architecture.classes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(ModelError::UnknownClass { path, class, wanted });
    };
    let mut all = file.fields().clone();
    all.insert("model_type".into(), head.model_type.into());
    all.insert("architectures".into(), vec![Value::from(name)].into());
    all.extend(fields.clone());
    open(dir, ConfigFile::new(file.path(), all), Some(Random { seed }))
}

fn open(dir: &Path, config: ConfigFile, fresh: Option<Random>) -> Result<(Model, LoadReport), ModelError> {
    let adapter = Adapter::find(dir)?;
    let files = match &adapter {
        Some(adapter) => WeightFiles::open(adapter.base()?)?,
        None => WeightFiles::open(dir)?,
    };
    let (architecture, class) = Architecture::of(&config)?;
    let mut source = Checkpoint {
        dir,
        files: &files,
        adapter: adapter.as_ref(),
        architecture,
        class,
        used: BTreeSet::new(),
        error: None,
        fresh,
        made: Vec::new(),
    };
    let model = match Model::build(config, &mut source) {
        Ok(model) => model,
        // The error with its own type, not the box that it went through the builder in.
        Err(error) => return Err(source.error.take().unwrap_or(error)),
    };
    let unused = files.names().filter(|n| !source.used.contains(*n) && !source.is_buffer(n) && !source.is_copy(n));
    let of_adapter = adapter.iter().flat_map(Adapter::unused);
    let unused = unused.map(str::to_owned).chain(of_adapter).collect();
    let report = LoadReport { unused, fresh: source.made };
    Ok((model, report))
}

/// Ends of the names of buffers that old versions saved beside the weights.
const BUFFERS: [&str; 5] =
    [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", "embeddings.position_ids", ".num_batches_tracked"];
/// Ends of the names of output layers, whose weights many a version saved a second time, tied as they are.
const HEADS: [&str; 6] = [
    "lm_head.weight",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
    "predictions.decoder.weight",
    "predictions.decoder.bias",
    "vocab_projector.weight",
];

/// Weights of a checkpoint as a source of parameters.
struct Checkpoint<'a> {
    dir: &'a Path,
    files: &'a WeightFiles,
    adapter: Option<&'a Adapter>,
    architecture: &'static Architecture,
    class: Class,
    used: BTreeSet<String>,
    error: Option<ModelError>,
    /// Where the head's weights come from that the checkpoint does not have.
    fresh: Option<Random>,
    made: Vec<String>,
}

impl Checkpoint<'_> {
    /// Whether a parameter belongs to what stands on the body; a summary of the text does.
    fn is_head(&self, name: &str) -> bool {
        let body = match self.class {
            Class::Base => Some(name),
            _ => name.strip_prefix(self.architecture.base_prefix).and_then(|rest| rest.strip_prefix('.')),
        };
        body.is_none_or(|rest| rest.starts_with("pooler."))
    }

    fn tensor(&mut self, name: &str, shape: Shape) -> Result<Tensor, ModelError> {
        let Some(adapter) = self.adapter else { return self.of_files(name, shape) };
        if let Some(x) = adapter.replaced(name, &shape)? {
            // What the base has of that name gives way.
            let base = self.files.resolve(name, self.architecture.base_prefix);
            self.used.extend(base.map(|w| w.name.to_owned()));
            return Ok(Tensor::from_slice(&x, shape));
        }
        let mut tensor = self.of_files(name, shape)?;
        adapter.add(name, &shape, &mut tensor)?;
        Ok(tensor)
    }

    fn of_files(&mut self, name: &str, shape: Shape) -> Result<Tensor, ModelError> {
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

    fn is_buffer(&self, name: &str) -> bool {
        BUFFERS.iter().any(|end| name.ends_with(end))
    }

    /// Whether a tensor says nothing new: it is the same as another one that was used, or it is the bias that gives way
    /// to one of the output layer's own.
    ///
    /// A head that differs from the embedding would be lost, so names alone do not decide.
    fn is_copy(&self, name: &str) -> bool {
        if HEADS.iter().any(|end| name.ends_with(end)) {
            let bytes = |name: &str| self.files.get(name).map(|w| w.bytes);
            return self.used.iter().any(|used| bytes(used) == bytes(name));
        }
        let own = name.strip_suffix("bias").map(|start| format!("{start}decoder.bias"));
        own.is_some_and(|own| self.used.contains(&own))
    }
}

impl Source for Checkpoint<'_> {
    fn weights(&mut self, name: &str, shape: Shape, init: Init) -> Result<Tensor, NnError> {
        if let Some(mut random) = self.fresh.filter(|_| self.is_head(name)) {
            let fits = self.adapter.is_some_and(|a| a.has(name))
                || self.files.resolve(name, self.architecture.base_prefix).is_some_and(|w| w.shape == *shape);
            if !fits {
                self.made.push(name.to_owned());
                return random.weights(name, shape, init);
            }
        }
        self.tensor(name, shape).map_err(|e| {
            let text = e.to_string();
            self.error = Some(e);
            NnError::Source(text.into())
        })
    }

    fn has(&self, name: &str) -> bool {
        self.adapter.is_some_and(|a| a.has(name)) || self.files.resolve(name, self.architecture.base_prefix).is_some()
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

#[cfg(test)]
mod tests {
    use bedstone_tensor::Params;

    use super::*;

    /// What is reported of a saved model for masked words with one more tensor, made from its parameters.
    #[track_caller]
    fn check(name: &str, extra: impl Fn(&Params) -> Vec<f32>, want: &[&str]) {
        let fields: Map<_, _> = serde_json::from_str(crate::bert::ARCHITECTURE.tiny).unwrap();
        let config = Model::config_of(&crate::bert::ARCHITECTURE, Class::MaskedLm, &fields);
        let model = Model::random(config, 1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save(&model, dir.path()).unwrap();
        let extra = extra(model.params());
        let length = [extra.len()];
        let shapes: Vec<Shape> = model.params().iter().map(|(_, p)| p.value.shape()).collect();
        let own = model.params().iter().zip(&shapes).map(|((_, p), shape)| (&p.name[..], &shape[..], p.value.f32s()));
        let all = own.chain([(name, &length[..], &extra[..])]);
        let tensors: Vec<NamedTensor<'_>> = all
            .map(|(name, shape, x)| {
                let data = TensorData::Bytes(bytemuck::cast_slice(x));
                NamedTensor { name, dtype: Dtype::F32, shape, data }
            })
            .collect();
        write_safetensors(dir.path(), &tensors, DEFAULT_SHARD_LIMIT).unwrap();
        assert_eq!(load(dir.path()).unwrap().1.unused, want, "{name}");
    }

    fn words(params: &Params) -> Vec<f32> {
        params.get(params.id("bert.embeddings.word_embeddings.weight").unwrap()).value.f32s().to_vec()
    }

    #[test]
    fn copies_and_buffers_are_not_reported_and_all_else_is() {
        let (head, other) = ("cls.predictions.decoder.weight", "cls.seq_relationship.weight");
        check(head, words, &[]);
        check(head, |p| words(p).iter().map(|x| x + 1.0).collect(), &[head]);
        check("bert.embeddings.position_ids", |_| vec![0.0; 24], &[]);
        check(other, |_| vec![0.0; 48], &[other]);
    }
}
