//! Writing the layout of sentence-transformers.

use std::{fs, path::Path};

use bedstone_data::tokenizer::Tokenizer;
use bedstone_kernels::gemm::Activation;
use bedstone_models::{
    Class, Model,
    checkpoint::{DEFAULT_SHARD_LIMIT, Dtype, NamedTensor, TensorData, write_safetensors},
};
use bedstone_tensor::Tensor;
use serde_json::{Map, Value, json};

use super::{Module, Pooling, SentenceConfig};
use crate::{InferError, Result};

/// Writes an encoder with its tokenizer and what follows it into the directory `dir`, as Python's sentence-transformers
/// opens it.
///
/// ```no_run
/// # fn f(model: &bedstone_models::Model, tokenizer: &bedstone_data::tokenizer::Tokenizer) -> Result<(), bedstone_infer::InferError> {
/// use bedstone_infer::tasks::embed::{Pooling, SentenceConfig, save_sentence_transformer};
/// let config = SentenceConfig { max_seq_length: Some(256), ..SentenceConfig::plain(Pooling::Mean) };
/// save_sentence_transformer(std::path::Path::new("mine"), model, tokenizer, &config)
/// # }
/// ```
pub fn save_sentence_transformer(
    dir: &Path,
    model: &Model,
    tokenizer: &Tokenizer,
    config: &SentenceConfig,
) -> Result<()> {
    if model.class() != Class::Base {
        let (path, got) = (dir.to_owned(), model.class_name());
        return Err(InferError::OtherClass {
            path,
            task: "embed",
            got,
            command: super::super::command_of(model.class()),
            learn: None,
        });
    }
    let width = model.info().width;
    config.check(width)?;
    folder(dir)?;
    bedstone_models::save(model, dir)?;
    tokenizer.save(dir)?;
    let mut modules = vec![entry(0, "Transformer", "")];
    for (i, module) in config.modules.iter().enumerate() {
        let i = i + 1;
        match module {
            Module::Pooling { modes, include_prompt } => {
                let name = format!("{i}_Pooling");
                folder(&dir.join(&name))?;
                let mut fields = Map::new();
                fields.insert("word_embedding_dimension".into(), width.into());
                for mode in Pooling::ALL {
                    fields.insert(mode.field().into(), modes.contains(&mode).into());
                }
                // The truth values do not say their order.
                let ordered = Pooling::ALL.into_iter().filter(|mode| modes.contains(mode)).eq(modes.iter().copied());
                if !ordered {
                    let names: Vec<&str> = modes.iter().map(|mode| mode.name()).collect();
                    fields.insert("pooling_mode".into(), names.into());
                }
                fields.insert("include_prompt".into(), (*include_prompt).into());
                write(&dir.join(&name).join("config.json"), &fields.into())?;
                modules.push(entry(i, "Pooling", &name));
            }
            Module::Dense { weight, bias, activation } => {
                let name = format!("{i}_Dense");
                dense(&dir.join(&name), weight, bias.as_ref(), *activation)?;
                modules.push(entry(i, "Dense", &name));
            }
            Module::Normalize => {
                let name = format!("{i}_Normalize");
                folder(&dir.join(&name))?;
                modules.push(entry(i, "Normalize", &name));
            }
        }
    }
    let length = config.max_seq_length.or(model.info().max_length);
    let own = json!({"max_seq_length": length, "do_lower_case": config.do_lower_case});
    write(&dir.join("sentence_bert_config.json"), &own)?;
    let prompts: Map<String, Value> = config.prompts.iter().map(|(n, p)| (n.clone(), p.clone().into())).collect();
    let general = json!({
        "prompts": prompts,
        "default_prompt_name": config.default_prompt_name,
        "similarity_fn_name": "cosine",
    });
    write(&dir.join("config_sentence_transformers.json"), &general)?;
    // Last: from here on it is one.
    write(&dir.join("modules.json"), &modules.into())
}

fn entry(i: usize, kind: &str, path: &str) -> Value {
    let kind = format!("sentence_transformers.models.{kind}");
    json!({"idx": i, "name": i.to_string(), "path": path, "type": kind})
}

fn dense(dir: &Path, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<()> {
    folder(dir)?;
    let [n, k] = weight.dims("Dense")?;
    let class = match activation {
        Activation::Tanh => "torch.nn.modules.activation.Tanh",
        Activation::Relu => "torch.nn.modules.activation.ReLU",
        Activation::Gelu => "torch.nn.modules.activation.GELU",
        Activation::Silu => "torch.nn.modules.activation.SiLU",
        Activation::None => "torch.nn.modules.linear.Identity",
        Activation::GeluTanh | Activation::QuickGelu => {
            let (got, wanted) = (format!("{activation:?}"), "Tanh, Relu, Gelu, Silu or None".into());
            return Err(InferError::Setting { name: "activation of Dense", got, wanted });
        }
    };
    let fields = json!({"in_features": k, "out_features": n, "bias": bias.is_some(), "activation_function": class});
    write(&dir.join("config.json"), &fields)?;
    let shapes = [weight.shape(), bias.map_or(weight.shape(), Tensor::shape)];
    let named = |name, x, shape| NamedTensor {
        name,
        dtype: Dtype::F32,
        shape,
        data: TensorData::Bytes(bytemuck::cast_slice(f32s(x))),
    };
    let mut tensors = vec![named("linear.weight", weight, &shapes[0])];
    tensors.extend(bias.map(|bias| named("linear.bias", bias, &shapes[1])));
    write_safetensors(dir, &tensors, DEFAULT_SHARD_LIMIT)?;
    Ok(())
}

fn f32s(x: &Tensor) -> &[f32] {
    x.f32s()
}

fn folder(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| InferError::Write { path: dir.to_owned(), reason: e.to_string() })
}

fn write(path: &Path, value: &Value) -> Result<()> {
    let failed = |reason: String| InferError::Write { path: path.to_owned(), reason };
    let text = serde_json::to_string_pretty(value).map_err(|e| failed(e.to_string()))?;
    fs::write(path, text + "\n").map_err(|e| failed(e.to_string()))
}
