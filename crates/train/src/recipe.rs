//! The recipe of a pretraining run, in types.

use std::path::PathBuf;

use bedstone_models::{Architecture, Class, Model};
use bedstone_run::recipe::empty_is_none;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{pretrain::Needs, schedule};

/// What can be pretrained, each with its built-in recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// GPT-2.
    Gpt,
    /// Llama.
    Llama,
    /// BERT: masked words and next sentences.
    Bert,
    /// RoBERTa: masked words.
    Roberta,
    /// Masked autoencoder: hidden patches of pictures.
    Mae,
    /// ViT: classes of pictures.
    Vit,
}

impl Family {
    /// The name on the command line, and of runs.
    pub fn name(self) -> &'static str {
        match self {
            Family::Gpt => "gpt",
            Family::Llama => "llama",
            Family::Bert => "bert",
            Family::Roberta => "roberta",
            Family::Mae => "mae",
            Family::Vit => "vit",
        }
    }

    /// The built-in recipe.
    pub fn recipe(self) -> &'static str {
        match self {
            Family::Gpt => include_str!("../../../recipes/gpt.toml"),
            Family::Llama => include_str!("../../../recipes/llama.toml"),
            Family::Bert => include_str!("../../../recipes/bert.toml"),
            Family::Roberta => include_str!("../../../recipes/roberta.toml"),
            Family::Mae => include_str!("../../../recipes/mae.toml"),
            Family::Vit => include_str!("../../../recipes/vit.toml"),
        }
    }

    /// Whether its models continue texts.
    pub fn generates(self) -> bool {
        matches!(self, Family::Gpt | Family::Llama)
    }

    /// `model_type` of the architecture.
    pub(crate) fn model_type(self) -> &'static str {
        match self {
            Family::Gpt => "gpt2",
            Family::Llama => "llama",
            Family::Bert => "bert",
            Family::Roberta => "roberta",
            Family::Mae => "vit_mae",
            Family::Vit => "vit",
        }
    }

    /// Whether its models take pictures.
    pub fn takes_pictures(self) -> bool {
        matches!(self, Family::Mae | Family::Vit)
    }

    /// What the network is for.
    pub(crate) fn class(self, mask: Option<&MaskConfig>) -> Class {
        match mask {
            None if self == Family::Mae => Class::MaskedImage,
            None if self == Family::Vit => Class::ImageClassification,
            None => Class::CausalLm,
            Some(mask) if mask.next_sentence => Class::PreTraining,
            Some(_) => Class::MaskedLm,
        }
    }

    pub(crate) fn architecture(self) -> &'static Architecture {
        // Every family has one; a test sees to it.
        Architecture::by_model_type(self.model_type()).unwrap_or(&bedstone_models::ARCHITECTURES[0])
    }

    /// The field of `config.json` that holds the longest sequence.
    pub(crate) fn length_field(self) -> &'static str {
        match self {
            Family::Gpt => "n_positions",
            // Of pictures there is none.
            _ => "max_position_embeddings",
        }
    }
}

/// A pretraining run; the files under `recipes/` say what the keys mean.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct PretrainRecipe {
    pub data: DataConfig,
    pub tokenizer: TokenizerConfig,
    pub model: Map<String, Value>,
    /// Of encoders.
    #[serde(default)]
    pub mask: Option<MaskConfig>,
    pub train: TrainConfig,
    pub evaluate: EvaluateConfig,
}

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DataConfig {
    pub paths: Vec<PathBuf>,
    pub field: String,
    pub validation: Vec<PathBuf>,
    pub stories: u64,
    #[serde(deserialize_with = "empty_is_none")]
    pub cache: Option<PathBuf>,
}

/// `[tokenizer]`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TokenizerConfig {
    #[serde(deserialize_with = "empty_is_none")]
    pub file: Option<PathBuf>,
    pub kind: TokenizerKind,
    pub vocab_size: usize,
}

/// The kinds of tokenizers that can be trained.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// Byte-level BPE.
    Bpe,
    /// Byte-level BPE with tokens that begin, part and mask texts.
    Roberta,
    /// WordPiece, lower-cased.
    WordPiece,
    /// Unigram.
    Unigram,
}

/// `[mask]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct MaskConfig {
    pub probability: f32,
    pub whole_words: bool,
    pub next_sentence: bool,
    pub short: f32,
}

/// `[train]`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TrainConfig {
    #[serde(deserialize_with = "empty_is_none")]
    pub init: Option<PathBuf>,
    #[serde(default, deserialize_with = "empty_is_none")]
    pub init_embeddings: Option<PathBuf>,
    #[serde(default)]
    pub init_heads: InitHeads,
    pub seed: u64,
    pub steps: u64,
    #[serde(default)]
    pub context: usize,
    pub batch: usize,
    pub micro_batch: usize,
    pub lr: f64,
    pub min_lr: f64,
    pub warmup: u64,
    pub schedule: schedule::Kind,
    pub decay: f64,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    pub clip: f64,
    /// Of pictures, as `ema`.
    #[serde(default)]
    pub label_smoothing: f32,
    #[serde(default)]
    pub ema: f64,
    pub precision: PrecisionChoice,
    pub gradient_checkpointing: bool,
    pub evaluate_every: u64,
    pub checkpoint_every: u64,
    pub keep: usize,
}

/// How the heads of the first layer begin.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum InitHeads {
    /// As all weights.
    #[default]
    Random,
    /// Looking at the tokens around; positions are sinusoids.
    Local,
}

/// What computes matrix products.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// The fastest that this program has for the processor.
    Auto,
    /// f32.
    F32,
    /// bf16.
    Bf16,
    /// Known, to be refused with a reason: it has no gradients.
    Int8,
}

/// `[evaluate]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct EvaluateConfig {
    pub tokens: u64,
    pub final_tokens: u64,
}

/// Keys that a resumed run may change: they decide no bit of the weights.
pub(crate) const FREE_KEYS: &[&str] = &[
    "data.cache",
    "train.gradient_checkpointing",
    // What it comes to is compared by itself.
    "train.precision",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep",
    "evaluate.tokens",
    "evaluate.final_tokens",
    "evaluate.pictures",
    "evaluate.final_pictures",
];

/// Places of held-out data that evaluations look at, during a run and at its end; 0: all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) usual: u64,
    pub(crate) last: u64,
}

/// What the recipes of all pretraining runs have.
pub(crate) trait RunRecipe: DeserializeOwned {
    /// `[train]`.
    fn train(&self) -> &TrainConfig;

    /// Of evaluations.
    fn limits(&self) -> Limits;

    /// Places of a sample that go through the model, for the plan.
    fn context(&self, model: &Model) -> usize;

    /// Keys that name checkpoints, and what of them is needed.
    fn checkpoints(&mut self) -> Vec<(&mut Option<PathBuf>, Needs)>;

    /// The first key whose value makes no sense, and what it should be.
    fn wrong(&self) -> Option<(&'static str, &'static str)>;

    /// Keys that mean nothing under the others' values, and why.
    fn without_use(&self) -> Vec<(&'static str, &'static str)>;
}

/// A key, whether its value makes sense, and what it should be.
type Rule = (&'static str, bool, &'static str);

impl TrainConfig {
    /// Samples that go through the model at a time.
    pub fn micro_batch(&self) -> usize {
        match self.micro_batch {
            0 => self.batch,
            n => n.min(self.batch),
        }
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        let t = self;
        vec![
            ("train.steps", t.steps > 0, "1 or more"),
            ("train.batch", t.batch > 0, "1 or more"),
            ("train.lr", t.lr > 0.0 && t.lr.is_finite(), "above 0"),
            ("train.min_lr", (0.0..=1.0).contains(&t.min_lr), "0 to 1, a share of train.lr"),
            ("train.decay", (0.0..=1.0).contains(&t.decay), "0 to 1, a share of the steps"),
            ("train.beta1", (0.0..1.0).contains(&t.beta1), "0 or more and below 1"),
            ("train.beta2", (0.0..1.0).contains(&t.beta2), "0 or more and below 1"),
            ("train.eps", t.eps > 0.0, "above 0"),
            ("train.weight_decay", t.weight_decay >= 0.0, "0 or more"),
            ("train.clip", t.clip >= 0.0, "0 or more"),
            ("train.label_smoothing", (0.0..1.0).contains(&t.label_smoothing), "0 or more and below 1"),
            ("train.ema", (0.0..1.0).contains(&t.ema), "0 or more and below 1"),
        ]
    }

    pub(crate) fn without_use(&self) -> [Rule; 2] {
        [
            ("train.decay", self.schedule == schedule::Kind::Wsd, "train.schedule is not \"wsd\""),
            ("train.min_lr", self.schedule != schedule::Kind::Constant, "train.schedule is \"constant\""),
        ]
    }
}

impl RunRecipe for PretrainRecipe {
    fn train(&self) -> &TrainConfig {
        &self.train
    }

    fn limits(&self) -> Limits {
        Limits { usual: self.evaluate.tokens, last: self.evaluate.final_tokens }
    }

    fn context(&self, _: &Model) -> usize {
        self.train.context
    }

    fn checkpoints(&mut self) -> Vec<(&mut Option<PathBuf>, Needs)> {
        vec![(&mut self.tokenizer.file, Needs::Tokenizer), (&mut self.train.init, Needs::Model)]
    }

    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let own = [
            ("train.context", self.train.context > 0, "1 or more"),
            ("data.stories", self.data.stories >= 20, "20 or more"),
            ("mask.probability", self.mask.is_none_or(|m| m.probability > 0.0 && m.probability < 1.0), "0 to 1"),
            ("mask.short", self.mask.is_none_or(|m| (0.0..=1.0).contains(&m.short)), "0 to 1"),
        ];
        let rules = self.train.rules().into_iter().chain(own);
        rules.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, wanted)| (key, wanted))
    }

    fn without_use(&self) -> Vec<(&'static str, &'static str)> {
        let (d, t) = (&self.data, &self.train);
        let (files, made) = (!d.paths.is_empty(), self.tokenizer.file.is_none() && t.init.is_none());
        let tokenizer = "the tokenizer is given, by tokenizer.file or train.init";
        let rules = [
            ("data.stories", !files, "data.paths takes the place of the stories"),
            (
                "data.validation",
                files,
                "without data.paths the stories are read, which have a validation split of their own",
            ),
            ("data.field", files, "without data.paths the stories are read"),
            ("tokenizer.kind", made, tokenizer),
            ("tokenizer.vocab_size", made, tokenizer),
            ("train.init_embeddings", t.init.is_none(), "train.init gives all weights"),
            ("train.init_heads", t.init.is_none(), "train.init gives all weights"),
        ];
        rules.into_iter().chain(t.without_use()).filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why)).collect()
    }
}

impl PretrainRecipe {
    /// Fields of `config.json`, with `auto` filled in.
    pub(crate) fn model_fields(&self, family: Family, vocab_size: usize, pad: usize) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in &self.model {
            let auto = value.as_str() == Some("auto");
            let value = match &name[..] {
                "vocab_size" if auto => vocab_size.into(),
                // RoBERTa's positions begin behind the number of padding.
                n if auto && n == family.length_field() && family == Family::Roberta => {
                    (self.train.context + pad + 1).into()
                }
                n if auto && n == family.length_field() => self.train.context.into(),
                _ if auto => Value::Null,
                _ => value.clone(),
            };
            fields.insert(name.clone(), value);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_architecture() {
        use Family::{Bert, Gpt, Llama, Mae, Roberta, Vit};
        for family in [Gpt, Llama, Bert, Roberta, Mae, Vit] {
            assert_eq!(family.architecture().model_type, family.model_type());
            assert_eq!(family.architecture().takes_pictures(), family.takes_pictures());
        }
    }
}
