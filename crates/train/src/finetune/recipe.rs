//! The recipe of fine-tuning, in types.

use std::path::PathBuf;

use serde::Deserialize;

use bedstone_run::recipe::empty_is_none;

use crate::recipe::PrecisionChoice;

/// A fine-tuning run; `recipes/finetune.toml` says what the keys mean.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FinetuneRecipe {
    pub(crate) data: LabelledConfig,
    pub(crate) train: FitConfig,
    pub(crate) lora: LoraConfig,
}

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LabelledConfig {
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) train: Option<PathBuf>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) eval: Option<PathBuf>,
    pub(crate) text: String,
    pub(crate) pair: String,
    pub(crate) negative: String,
    pub(crate) label: String,
    pub(crate) sentences: u64,
    pub(crate) score_scale: f64,
    pub(crate) doc_stride: usize,
    pub(crate) n_best_size: usize,
    pub(crate) max_answer_length: usize,
    pub(crate) null_threshold: f64,
}

/// `[train]`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FitConfig {
    pub(crate) epochs: u64,
    pub(crate) batch: usize,
    pub(crate) micro_batch: usize,
    pub(crate) max_length: usize,
    pub(crate) lr: f64,
    pub(crate) warmup: f64,
    pub beta1: f32,
    pub beta2: f32,
    pub(crate) eps: f32,
    pub(crate) weight_decay: f32,
    pub(crate) clip: f64,
    pub(crate) layer_decay: f64,
    pub(crate) freeze: Vec<String>,
    pub(crate) class_weights: ClassWeights,
    pub(crate) pooling: PoolingChoice,
    pub(crate) patience: u64,
    pub(crate) evaluations: u64,
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) precision: PrecisionChoice,
    pub(crate) gradient_checkpointing: bool,
    pub(crate) random_weights: bool,
}

/// `[lora]`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LoraConfig {
    pub(crate) r: usize,
    pub(crate) alpha: f64,
    pub(crate) target_modules: Vec<String>,
    pub(crate) save: LoraSave,
}

/// What is written of a model that learned by LoRA.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoraSave {
    /// The whole model with its new weights.
    Merged,
    /// The factors and the head, as `peft` has them.
    Adapter,
}

/// How classes are weighted in the loss.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClassWeights {
    /// Each example counts the same.
    None,
    /// Each class counts the same, as scikit-learn's `balanced`.
    Balanced,
}

/// How states of tokens become one vector.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolingChoice {
    /// As the model has it; the mean where it says nothing.
    Auto,
    /// Their mean.
    Mean,
    /// That of the first token.
    Cls,
}

impl FinetuneRecipe {
    /// The first key whose value makes no sense, and what it should be.
    pub(crate) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let t = &self.train;
        let rules = [
            ("train.epochs", t.epochs > 0, "1 or more"),
            ("train.batch", t.batch > 0, "1 or more"),
            ("train.lr", t.lr > 0.0 && t.lr.is_finite(), "above 0"),
            ("train.warmup", (0.0..=1.0).contains(&t.warmup), "0 to 1, a share of the steps"),
            ("train.beta1", (0.0..1.0).contains(&t.beta1), "0 or more and below 1"),
            ("train.beta2", (0.0..1.0).contains(&t.beta2), "0 or more and below 1"),
            ("train.eps", t.eps > 0.0, "above 0"),
            ("train.weight_decay", t.weight_decay >= 0.0, "0 or more"),
            ("train.clip", t.clip >= 0.0, "0 or more"),
            ("train.layer_decay", t.layer_decay > 0.0 && t.layer_decay <= 1.0, "above 0, at most 1"),
            ("train.evaluations", t.evaluations > 0, "1 or more"),
            ("train.seeds", t.seeds > 0, "1 or more"),
            ("lora.alpha", self.lora.alpha > 0.0 && self.lora.alpha.is_finite(), "above 0"),
            ("data.sentences", self.data.sentences >= 20, "20 or more"),
            ("data.score_scale", self.data.score_scale > 0.0 && self.data.score_scale.is_finite(), "above 0"),
            ("data.n_best_size", self.data.n_best_size > 0, "1 or more"),
            ("data.max_answer_length", self.data.max_answer_length > 0, "1 or more"),
            ("data.null_threshold", !self.data.null_threshold.is_nan(), "a number"),
        ];
        rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, wanted)| (key, wanted))
    }
}
