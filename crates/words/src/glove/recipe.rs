//! The recipe of a GloVe run, in types.

use serde::Deserialize;

use crate::{
    recipe::{DataConfig, Rules, text_rules, text_without_use},
    text::{PhrasesConfig, TextConfig, VocabularyConfig},
};

/// The built-in recipe.
pub const RECIPE: &str = include_str!("../../../../recipes/glove.toml");

/// A GloVe run; `recipes/glove.toml` says what the keys mean.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct GloveRecipe {
    pub data: DataConfig,
    pub text: TextConfig,
    pub vocabulary: VocabularyConfig,
    pub phrases: PhrasesConfig,
    pub counts: CountsConfig,
    pub model: ModelConfig,
    pub train: TrainConfig,
}

/// `[counts]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct CountsConfig {
    pub window: usize,
    pub symmetric: bool,
    pub distance_weighting: bool,
    pub memory: f64,
}

/// `[model]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct ModelConfig {
    pub vector_size: usize,
}

/// `[train]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct TrainConfig {
    pub seed: u64,
    pub epochs: u64,
    pub eta: f32,
    pub x_max: f64,
    pub alpha: f64,
    pub grad_clip: f32,
    pub checkpoint_every: u64,
    pub keep: usize,
}

impl CountsConfig {
    /// Counts that are held before they are sorted and written.
    pub(crate) fn room(&self) -> usize {
        // A count takes 16 bytes, twice that while the buffer grows, and half of it again while it is sorted; the table
        // takes as much as the buffer.
        ((self.memory * (1u64 << 30) as f64) as usize / 64).max(1 << 10)
    }
}

impl Rules for GloveRecipe {
    const FREE_KEYS: &'static [&'static str] = &["train.checkpoint_every", "train.keep"];

    fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let (c, t) = (&self.counts, &self.train);
        let above_0 = |x: f32| x > 0.0 && x.is_finite();
        let rules = [
            ("counts.window", (1..=10_000).contains(&c.window), "1 to 10000"),
            ("counts.memory", c.memory > 0.0 && c.memory <= 1e6, "above 0, in GiB"),
            ("model.vector_size", (1..=65_536).contains(&self.model.vector_size), "1 to 65536"),
            ("train.epochs", t.epochs > 0, "1 or more"),
            ("train.eta", above_0(t.eta), "above 0"),
            ("train.x_max", t.x_max > 0.0 && t.x_max.is_finite(), "above 0"),
            ("train.alpha", t.alpha >= 0.0 && t.alpha.is_finite(), "0 or more"),
            ("train.grad_clip", above_0(t.grad_clip), "above 0"),
        ];
        text_rules(&self.data, &self.vocabulary, &self.phrases)
            .into_iter()
            .chain(rules)
            .find(|(_, holds, _)| !holds)
            .map(|(key, _, wanted)| (key, wanted))
    }

    fn without_use(&self) -> Vec<(&'static str, &'static str)> {
        text_without_use(&self.data, &self.phrases)
    }
}
