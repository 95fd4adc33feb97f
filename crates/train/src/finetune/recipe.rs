//! The recipe of fine-tuning, in types.

use std::path::PathBuf;

use bedstone_run::recipe::empty_is_none;
use bedstone_world::Classes;
use serde::{Deserialize, de::Error};

use crate::{augment::AugmentConfig, recipe::PrecisionChoice, schedule};

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
    /// Of texts.
    #[serde(default)]
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
    #[serde(default)]
    pub(crate) pooling: PoolingChoice,
    #[serde(default = "linear")]
    pub(crate) schedule: schedule::Kind,
    /// Of pictures.
    #[serde(default)]
    pub(crate) image_size: usize,
    #[serde(default)]
    pub(crate) label_smoothing: f32,
    #[serde(default)]
    pub(crate) drop_path: f64,
    #[serde(default)]
    pub(crate) ema: f64,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) dropout: Option<f64>,
    pub(crate) patience: u64,
    pub(crate) evaluations: u64,
    pub(crate) checkpoint_every: u64,
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
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolingChoice {
    #[default]
    /// As the model has it; the mean where it says nothing.
    Auto,
    /// Their mean.
    Mean,
    /// That of the first token.
    Cls,
}

fn linear() -> schedule::Kind {
    schedule::Kind::Linear
}

/// Nothing for `"auto"`.
fn auto_or_number<'de, D, T>(d: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "wanted a number, or \"auto\"")]
    enum Value<T> {
        Number(T),
        Word(String),
    }
    match Value::deserialize(d)? {
        Value::Number(x) => Ok(Some(x)),
        Value::Word(word) if word == "auto" => Ok(None),
        Value::Word(word) => Err(D::Error::custom(format!("got `{word}`, wanted a number or \"auto\""))),
    }
}

/// A key, whether its value makes sense, and what it should be.
type Rule = (&'static str, bool, &'static str);

impl FitConfig {
    /// Examples that go through the model at a time.
    pub(crate) fn micro(&self) -> usize {
        if self.micro_batch == 0 { self.batch } else { self.micro_batch.min(self.batch) }
    }

    fn rules(&self) -> Vec<Rule> {
        let t = self;
        vec![
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
            ("train.patience", t.patience == 0 || t.evaluations > 0, "0 where train.evaluations is 0"),
            ("train.seeds", t.seeds > 0, "1 or more"),
            ("train.label_smoothing", (0.0..1.0).contains(&t.label_smoothing), "0 or more and below 1"),
            ("train.drop_path", (0.0..1.0).contains(&t.drop_path), "0 or more and below 1"),
            ("train.ema", (0.0..1.0).contains(&t.ema), "0 or more and below 1"),
            ("train.image_size", t.image_size <= 8192, "0, or up to 8192"),
            ("train.dropout", t.dropout.is_none_or(|p| (0.0..1.0).contains(&p)), "0 or more and below 1, or \"auto\""),
        ]
    }
}

/// A key, whether it means something under the others, and why if not.
pub(super) type Used = (&'static str, bool, String);

impl LoraConfig {
    /// Its keys, which mean nothing without factors.
    pub(super) fn used(&self) -> [Used; 2] {
        let keys = ["lora.alpha", "lora.target_modules"];
        keys.map(|key| (key, self.r > 0, "there are factors with lora.r above 0 only".into()))
    }

    fn rules(&self) -> [Rule; 2] {
        [
            ("lora.alpha", self.alpha > 0.0 && self.alpha.is_finite(), "above 0"),
            ("lora.save", self.r > 0 || self.save == LoraSave::Merged, "\"merged\" where lora.r is 0"),
        ]
    }
}

/// Those that mean nothing, with the reason.
pub(super) fn without_use(used: impl IntoIterator<Item = Used>) -> impl Iterator<Item = (&'static str, String)> {
    used.into_iter().filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why))
}

/// The first rule that does not hold: its key, and what the value should be.
pub(crate) fn broken(rules: impl IntoIterator<Item = Rule>) -> Option<(&'static str, &'static str)> {
    rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, wanted)| (key, wanted))
}

/// What recipes of fine-tuning have in common.
pub(crate) trait Wrong {
    /// The first key whose value makes no sense, and what it should be.
    fn wrong(&self) -> Option<(&'static str, &'static str)>;
}

impl Wrong for FinetuneRecipe {
    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let own = [
            ("data.sentences", self.data.sentences >= 20, "20 or more"),
            ("data.score_scale", self.data.score_scale > 0.0 && self.data.score_scale.is_finite(), "above 0"),
            ("data.n_best_size", self.data.n_best_size > 0, "1 or more"),
            ("data.max_answer_length", self.data.max_answer_length > 0, "1 or more"),
            ("data.null_threshold", !self.data.null_threshold.is_nan(), "a number"),
        ];
        broken(self.train.rules().into_iter().chain(self.lora.rules()).chain(own))
    }
}

/// A fine-tuning run on pictures; `recipes/finetune_pictures.toml` says what the keys mean.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PictureRecipe {
    pub(crate) data: PicturesConfig,
    pub(crate) augment: AugmentConfig,
    pub(crate) train: FitConfig,
    pub(crate) detect: DetectConfig,
    pub(crate) lora: LoraConfig,
}

/// `[data]` of pictures.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PicturesConfig {
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) train: Option<PathBuf>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) eval: Option<PathBuf>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) images: Option<PathBuf>,
    #[serde(deserialize_with = "empty_is_none")]
    pub(crate) eval_images: Option<PathBuf>,
    pub(crate) picture: String,
    pub(crate) label: String,
    pub(crate) pictures: u64,
    pub(crate) side: usize,
    pub(crate) classes: Classes,
}

/// `[detect]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct DetectConfig {
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) queries: Option<usize>,
    pub(crate) repeat: usize,
    pub(crate) repeat_share: f64,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) class_cost: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) bbox_cost: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) giou_cost: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) eos_coefficient: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) bbox_loss_coefficient: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) giou_loss_coefficient: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) patch_loss_coefficient: Option<f64>,
    #[serde(deserialize_with = "auto_or_number")]
    pub(crate) nms: Option<f64>,
}

/// What costs and coefficients of a detector are.
const WHOLE: &str = "a whole number of 0 or more, as in transformers, or \"auto\"";

impl Wrong for PictureRecipe {
    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let (d, det) = (&self.data, &self.detect);
        let whole = |x: Option<f64>| x.is_none_or(|x| x >= 0.0 && x.fract() == 0.0);
        let positive = |x: Option<f64>| x.is_none_or(|x| x >= 0.0 && x.is_finite());
        let own = [
            ("data.pictures", d.pictures >= 20, "20 or more"),
            ("data.side", (16..=1024).contains(&d.side), "16 to 1024"),
            ("detect.queries", det.queries.is_none_or(|n| (1..=1000).contains(&n)), "1 to 1000, or \"auto\""),
            ("detect.repeat", (1..=100).contains(&det.repeat), "1 to 100"),
            ("detect.repeat_share", (0.0..=1.0).contains(&det.repeat_share), "0 to 1"),
            ("detect.class_cost", whole(det.class_cost), WHOLE),
            ("detect.bbox_cost", whole(det.bbox_cost), WHOLE),
            ("detect.giou_cost", whole(det.giou_cost), WHOLE),
            ("detect.eos_coefficient", positive(det.eos_coefficient), "0 or more, or \"auto\""),
            ("detect.bbox_loss_coefficient", whole(det.bbox_loss_coefficient), WHOLE),
            ("detect.giou_loss_coefficient", whole(det.giou_loss_coefficient), WHOLE),
            ("detect.patch_loss_coefficient", positive(det.patch_loss_coefficient), "0 or more, or \"auto\""),
            ("detect.nms", det.nms.is_none_or(|x| (0.0..=1.0).contains(&x)), "0 to 1, or \"auto\""),
        ];
        broken(self.train.rules().into_iter().chain(self.augment.rules()).chain(self.lora.rules()).chain(own))
    }
}
