//! Which parameters learn, and how fast.

use std::collections::BTreeMap;

use bedstone_kernels::random::{self, Draw};
use bedstone_models::{Class, Model};
use bedstone_tensor::{ParamId, Params};
use globset::Glob;
use serde_json::{Map, Value};

use super::recipe::LoraConfig;
use crate::{Result, TrainError, lora::LowRank};

/// Freezes the parameters that any of `patterns` matches, such as `bert.embeddings.*`; gives how many numbers.
///
/// A pattern that matches nothing is an error.
pub(crate) fn freeze(params: &mut Params, patterns: &[String]) -> Result<usize> {
    let mut frozen = 0;
    for pattern in patterns {
        let wrong = |reason: String| TrainError::Freeze { pattern: pattern.clone(), reason };
        let glob = Glob::new(pattern).map_err(|e| wrong(e.to_string()))?.compile_matcher();
        let ids: Vec<ParamId> = params.iter().filter(|(_, p)| glob.is_match(&p.name)).map(|(id, _)| id).collect();
        if ids.is_empty() {
            let first = params.iter().next().map(|(_, p)| p.name.clone()).unwrap_or_default();
            return Err(wrong(format!("it matches no parameter; their names are like `{first}`")));
        }
        for id in ids {
            let param = params.get_mut(id);
            frozen += if param.trainable { param.value.shape().numel() } else { 0 };
            param.trainable = false;
        }
    }
    if params.iter().all(|(_, p)| !p.trainable) {
        let pattern = patterns.join(", ");
        return Err(TrainError::Freeze { pattern, reason: "nothing is left to train".into() });
    }
    Ok(frozen)
}

/// The fields of `config.json` that say how much of states and of attention is dropped.
pub(crate) fn dropout(model_type: &str, p: f64) -> Map<String, Value> {
    let names = match model_type {
        "distilbert" | "detr" => ["dropout", "attention_dropout"],
        _ => ["hidden_dropout_prob", "attention_probs_dropout_prob"],
    };
    names.into_iter().map(|name| (name.to_owned(), p.into())).collect()
}

/// What the names of a model's body begin with: nothing, where there is no head beside it.
pub(crate) fn body(model: &Model) -> String {
    match model.class() {
        Class::Base => String::new(),
        _ => format!("{}.", model.architecture().base_prefix),
    }
}

/// Queries and values, as `peft` has it, under the names that encoders have for them.
const QUERIES_AND_VALUES: [&str; 6] = ["query", "value", "query_proj", "value_proj", "q_lin", "v_lin"];

/// All matrices of layers, as `peft` has it.
const ALL: &str = "all-linear";

/// Freezes the body of a model but for the weights of the modules that the configuration names, which learn by factors.
/// Its head learns as it is, and so do the parameters called `fresh`, which were not trained before.
///
/// A name that stands for no matrix of the body is an error.
pub(crate) fn low_rank(
    model: &mut Model,
    config: &LoraConfig,
    fresh: &[String],
    seed: u64,
) -> Result<BTreeMap<ParamId, LowRank>> {
    let body = body(model);
    let modules: Vec<(ParamId, String)> = {
        let in_body = model.params().iter().filter(|(_, p)| p.name.starts_with(&body) && p.value.shape().len() == 2);
        let modules = in_body.filter_map(|(id, p)| Some((id, p.name.strip_suffix(".weight")?.to_owned())));
        modules.filter(|(_, name)| !name.contains("embeddings")).collect()
    };
    let is = |module: &str, target: &str| module == target || module.ends_with(&format!(".{target}"));
    let mut targets: Vec<&str> = config.target_modules.iter().map(String::as_str).collect();
    if targets.is_empty() {
        targets = QUERIES_AND_VALUES.to_vec();
    } else if targets != [ALL]
        && let Some(target) = targets.iter().find(|t| !modules.iter().any(|(_, module)| is(module, t)))
    {
        let like = modules.last().map(|(_, name)| name.clone()).unwrap_or_default();
        let reason = format!("no matrix of the body has that name; they are like `{like}`, or all of them: {ALL}");
        return Err(TrainError::Lora { module: (*target).to_owned(), reason });
    }
    let chosen = modules.into_iter().filter(|(_, module)| targets == [ALL] || targets.iter().any(|t| is(module, t)));
    let chosen: BTreeMap<ParamId, String> = chosen.collect();
    let mut adapted = BTreeMap::new();
    for id in model.params().ids() {
        let param = model.params_mut().get_mut(id);
        param.trainable = !param.name.starts_with(&body) || fresh.contains(&param.name) || chosen.contains_key(&id);
        if chosen.contains_key(&id) {
            let draw = Draw { key: random::key(seed, id.index() as u64), sample: 0, place: 1 };
            adapted.extend(LowRank::new(&param.value, config.r, config.alpha, draw).map(|factors| (id, factors)));
        }
    }
    Ok(adapted)
}

/// What the learning rate of each parameter is multiplied by: the head has 1, the last layer `decay`, the one before
/// `decay²`, and so on to the embeddings ([Howard & Ruder 2018](https://arxiv.org/abs/1801.06146), as in ELECTRA).
pub(crate) fn layer_rates(params: &Params, layers: usize, body: &str, decay: f64) -> BTreeMap<ParamId, f32> {
    let rate = |name: &str| {
        let Some(rest) = name.strip_prefix(body) else { return 1.0 };
        // The first number in a name is that of its layer.
        let layer = rest.split('.').find_map(|part| part.parse::<usize>().ok());
        let depth = match layer {
            Some(layer) => layers - layer.min(layers - 1),
            None if rest.starts_with("pooler") => 0,
            None => layers + 1,
        };
        decay.powi(depth as i32) as f32
    };
    params.iter().map(|(id, p)| (id, rate(&p.name))).collect()
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::Tensor;

    use super::*;

    fn params() -> Params {
        let mut params = Params::default();
        for name in ["bert.embeddings.word.weight", "bert.encoder.layer.0.w", "bert.encoder.layer.1.w", "classifier.w"]
        {
            params.add(name.into(), Tensor::zeros::<f32>([2, 3])).unwrap();
        }
        params
    }

    #[test]
    fn patterns_freeze_what_they_name() {
        let mut p = params();
        assert_eq!(freeze(&mut p, &["bert.encoder.*".into(), "bert.encoder.layer.1.w".into()]).unwrap(), 12);
        let learning: Vec<&str> = p.iter().filter(|(_, p)| p.trainable).map(|(_, p)| &p.name[..]).collect();
        assert_eq!(learning, ["bert.embeddings.word.weight", "classifier.w"]);
        for (pattern, says) in
            [("gpt.*", "matches no parameter"), ("a[", "unclosed character class"), ("*", "nothing is left")]
        {
            let error = freeze(&mut params(), &[pattern.into()]).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn rates_fall_towards_the_embeddings() {
        let p = params();
        let rates: Vec<f32> = layer_rates(&p, 2, "bert.", 0.5).into_values().collect();
        assert_eq!(rates, [0.125, 0.25, 0.5, 1.0]);
        // A body alone.
        let mut p = Params::default();
        for name in ["embeddings.word.weight", "encoder.layer.0.w", "encoder.layer.1.w", "pooler.dense.weight"] {
            p.add(name.into(), Tensor::zeros::<f32>([2, 3])).unwrap();
        }
        let rates: Vec<f32> = layer_rates(&p, 2, "", 0.5).into_values().collect();
        assert_eq!(rates, [0.125, 0.25, 0.5, 1.0]);
    }
}
