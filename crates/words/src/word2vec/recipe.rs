//! The recipe of a Word2Vec run, in types.

use std::path::PathBuf;

use bedstone_run::recipe::empty_is_none;
use serde::Deserialize;

use crate::{
    recipe::{DataConfig, Rules, text_rules, text_without_use},
    text::{PhrasesConfig, TextConfig, VocabularyConfig},
};

/// The built-in recipe.
pub const RECIPE: &str = include_str!("../../../../recipes/word2vec.toml");

/// A Word2Vec run; `recipes/word2vec.toml` says what the keys mean.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct Word2VecRecipe {
    pub data: DataConfig,
    pub text: TextConfig,
    pub vocabulary: VocabularyConfig,
    pub phrases: PhrasesConfig,
    pub model: ModelConfig,
    pub subwords: SubwordsConfig,
    pub train: TrainConfig,
}

/// `[model]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct ModelConfig {
    pub sg: bool,
    pub vector_size: usize,
    pub window: usize,
    pub shrink_windows: bool,
    pub negative: usize,
    pub ns_exponent: f64,
    pub shared_negatives: bool,
    pub hs: bool,
    pub cbow_mean: bool,
}

/// `[subwords]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct SubwordsConfig {
    pub minn: usize,
    pub maxn: usize,
    pub bucket: usize,
}

/// `[train]`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TrainConfig {
    #[serde(deserialize_with = "empty_is_none")]
    pub init: Option<PathBuf>,
    pub seed: u64,
    pub epochs: u64,
    pub alpha: f32,
    pub min_alpha: f32,
    pub sample: f64,
    pub deterministic: bool,
    pub step_words: u64,
    pub checkpoint_every: u64,
    pub keep: usize,
}

impl SubwordsConfig {
    /// Whether there are n-grams.
    pub fn on(&self) -> bool {
        self.maxn > 0
    }
}

impl Rules for Word2VecRecipe {
    const FREE_KEYS: &'static [&'static str] = &["train.checkpoint_every", "train.keep"];

    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let (m, s, t) = (&self.model, &self.subwords, &self.train);
        let rules = [
            ("model.vector_size", (1..=65_536).contains(&m.vector_size), "1 to 65536"),
            ("model.window", (1..=10_000).contains(&m.window), "1 to 10000"),
            ("model.negative", m.negative <= 10_000, "0 to 10000"),
            ("model.negative", m.negative > 0 || m.hs, "1 or more, or model.hs = true"),
            ("model.ns_exponent", m.ns_exponent.is_finite(), "a number"),
            ("subwords.minn", !s.on() || s.minn >= 1, "1 or more"),
            ("subwords.maxn", !s.on() || s.maxn >= s.minn, "at least subwords.minn"),
            ("subwords.bucket", !s.on() || (1..=1 << 31).contains(&s.bucket), "1 to 2147483648"),
            ("train.epochs", t.epochs > 0, "1 or more"),
            ("train.alpha", t.alpha > 0.0 && t.alpha.is_finite(), "above 0"),
            ("train.min_alpha", (0.0..=t.alpha).contains(&t.min_alpha), "0 to train.alpha"),
            ("train.sample", (0.0..=1.0).contains(&t.sample), "0 to 1, such as 1e-3"),
            ("train.step_words", t.step_words > 0, "1 or more"),
        ];
        text_rules(&self.data, &self.vocabulary, &self.phrases)
            .into_iter()
            .chain(rules)
            .find(|(_, holds, _)| !holds)
            .map(|(key, _, wanted)| (key, wanted))
    }

    fn without_use(&self) -> Vec<(&'static str, &'static str)> {
        let (m, s) = (&self.model, &self.subwords);
        let rules = [
            ("model.ns_exponent", m.negative > 0, "model.negative is 0"),
            ("model.shared_negatives", m.negative > 0, "model.negative is 0"),
            ("model.shared_negatives", m.sg, "CBOW has one input a window"),
            ("model.shared_negatives", !s.on(), "with subwords each pair has noise of its own"),
            ("model.cbow_mean", !m.sg, "model.sg is true"),
            ("subwords.minn", s.on(), "subwords.maxn is 0"),
            ("subwords.bucket", s.on(), "subwords.maxn is 0"),
        ];
        let own = rules.into_iter().filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why));
        text_without_use(&self.data, &self.phrases).into_iter().chain(own).collect()
    }
}
