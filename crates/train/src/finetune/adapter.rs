//! Factors and head as files of `peft`.

use std::{collections::BTreeMap, path::Path};

use bedstone_models::{
    Class, Model,
    adapter::{BASE, CONFIG, PREFIX, WEIGHTS},
    checkpoint::write_safetensors_file,
};
use bedstone_run::files::FileError;
use bedstone_tensor::ParamId;
use serde_json::json;

use super::recipe::LoraConfig;
use crate::{Result, TrainError, lora::LowRank, state::as_named};

/// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`: the factors, and all that learned beside them
/// as modules of their own. `base` is what the adapter belongs to, a path or hub id.
pub(super) fn save(
    model: &Model,
    low_rank: &BTreeMap<ParamId, LowRank>,
    config: &LoraConfig,
    base: &str,
    dir: &Path,
) -> Result<()> {
    let (mut tensors, mut targets, mut modules) = (Vec::new(), Vec::new(), Vec::new());
    let module = |name: &str| name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned();
    for (id, p) in model.params().iter() {
        if let Some(factors) = low_rank.get(&id) {
            let module = module(&p.name);
            for (side, (x, shape)) in ["lora_A", "lora_B"].into_iter().zip(factors.parts()) {
                tensors.push((format!("{PREFIX}{module}.{side}.weight"), shape.to_vec(), x));
            }
            targets.push(module);
        } else if p.trainable {
            tensors.push((format!("{PREFIX}{}", p.name), p.value.shape().to_vec(), p.value.f32s()));
            modules.push(module(&p.name));
        }
    }
    modules.dedup();
    write_safetensors_file(&dir.join(WEIGHTS), &as_named(&tensors)).map_err(bedstone_models::ModelError::from)?;
    let task = match model.class() {
        Class::TokenClassification => Some("TOKEN_CLS"),
        Class::SequenceClassification => Some("SEQ_CLS"),
        Class::QuestionAnswering => Some("QUESTION_ANS"),
        Class::Base => Some("FEATURE_EXTRACTION"),
        _ => None,
    };
    let fields = json!({
        "peft_type": "LORA",
        "task_type": task,
        BASE: base,
        "r": config.r,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "target_modules": targets,
        "modules_to_save": (!modules.is_empty()).then_some(modules),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
    });
    // What `peft` needs of the new head that its own configuration does not say: names of classes.
    let own = serde_json::Value::Object(model.config().fields().clone());
    for (name, value) in [(CONFIG, &fields), ("config.json", &own)] {
        let path = dir.join(name);
        let text = format!("{value:#}\n");
        std::fs::write(&path, text).map_err(FileError::at(&path, "write")).map_err(TrainError::from)?;
    }
    Ok(())
}
