//! What the recipes of both models share.

use std::path::PathBuf;

use bedstone_run::{Layers, Recipe, recipe::Origin};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Result,
    text::{PhrasesConfig, VocabularyConfig},
};

/// `[data]`.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DataConfig {
    pub paths: Vec<PathBuf>,
    pub field: String,
    pub stories: u64,
}

/// What makes sense in a recipe, and what of it may change in the middle of a run.
pub trait Rules: DeserializeOwned {
    /// Keys that decide nothing about the vectors.
    const FREE_KEYS: &'static [&'static str];
    /// The first key whose value makes no sense, and what it should be.
    fn wrong(&self) -> Option<(&'static str, &'static str)>;
    /// Keys that mean nothing under the others' values, and why.
    fn without_use(&self) -> Vec<(&'static str, &'static str)>;
}

/// Resolves and checks a recipe.
pub fn resolve<T: Rules>(layers: Layers<'_>) -> Result<Recipe<T>> {
    let recipe: Recipe<T> = Recipe::resolve(layers)?;
    if let Some((key, wanted)) = recipe.values.wrong() {
        return Err(recipe.invalid(key, wanted).into());
    }
    // A file may serve several runs; what is said for this one must matter to it.
    let said = |key: &str| matches!(recipe.origin(key), Origin::Setting(_));
    if let Some((key, why)) = recipe.values.without_use().into_iter().find(|(key, _)| said(key)) {
        return Err(recipe.without_use(key, why).into());
    }
    Ok(recipe)
}

type Rule = (&'static str, bool, &'static str);

pub(crate) fn text_rules(data: &DataConfig, vocabulary: &VocabularyConfig, phrases: &PhrasesConfig) -> Vec<Rule> {
    vec![
        ("data.stories", data.stories > 0, "1 or more"),
        ("vocabulary.min_count", vocabulary.min_count > 0, "1 or more"),
        ("phrases.passes", phrases.passes <= 10, "0 to 10"),
        ("phrases.threshold", phrases.threshold.is_finite(), "a number"),
    ]
}

pub(crate) fn text_without_use(data: &DataConfig, phrases: &PhrasesConfig) -> Vec<(&'static str, &'static str)> {
    let files = !data.paths.is_empty();
    let rules = [
        ("data.stories", !files, "data.paths takes the place of the stories"),
        ("data.field", files, "without data.paths the stories are read"),
        ("phrases.threshold", phrases.passes > 0, "phrases.passes is 0"),
        ("phrases.min_count", phrases.passes > 0, "phrases.passes is 0"),
    ];
    rules.into_iter().filter(|(_, used, _)| !used).map(|(key, _, why)| (key, why)).collect()
}
