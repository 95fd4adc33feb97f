//! Recipes: a TOML file that describes a run completely.
//!
//! Layers, each over the one before: the built-in TOML text, a file of the user, single settings (`a.b=c`). The
//! known keys are those of the built-in text, so every key has a default there, and a comment if it needs one; a key
//! that may be left open has a word for it, such as `"auto"`. The result is the caller's typed struct, and a TOML
//! text in the built-in order with the built-in comments that, used as the user's file, gives the same again.

mod diff;
mod error;
mod merge;
mod setting;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use toml_edit::{Document, DocumentMut};

use self::merge::Merge;
pub use self::{
    diff::{Change, diff},
    error::{Problem, RecipeError, WrongValue},
    setting::{Setting, Value},
};
use crate::files::FileError;

/// Where a recipe comes from.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// TOML text with every key and its default.
    pub built_in: &'a str,
    /// The user's file.
    pub config: Option<&'a Path>,
    /// Single values; later ones win.
    pub settings: &'a [Setting],
}

/// A resolved recipe: typed values, and the TOML they came from.
#[derive(Debug, Clone)]
pub struct Recipe<T> {
    /// The typed values.
    pub values: T,
    document: DocumentMut,
    // In the order in which the layers set them.
    origins: Vec<(String, Origin)>,
}

/// A path of which `""` means that there is none, for `deserialize_with`: a key with a default cannot be left out.
pub fn empty_is_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    let text = String::deserialize(d)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Which layer gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in text.
    BuiltIn,
    /// A line (from 1) of the user's file.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A setting, as the user wrote it, such as `--set train.steps=10`.
    Setting(String),
}

impl<T: DeserializeOwned> Recipe<T> {
    /// Reads and lays the layers over each other.
    ///
    /// # Errors
    /// The file cannot be read, is not UTF-8 or not TOML; a key is unknown, at any depth; a value has the wrong type.
    /// Each names the file and line or the setting, the key, what was got and wanted. A built-in text that is not TOML
    /// or does not fit `T` is [`RecipeError::BuiltIn`].
    pub fn resolve(layers: Layers<'_>) -> Result<Self, RecipeError> {
        let built_in: DocumentMut =
            layers.built_in.parse().map_err(|e: toml_edit::TomlError| RecipeError::BuiltIn(e.to_string()))?;
        let mut merge = Merge::new(built_in);
        if let Some(path) = layers.config {
            let text = read(path)?;
            let document = Document::parse(text.as_str()).map_err(|e| error::not_toml(path, &text, &e))?;
            merge.file(path, document)?;
        }
        for setting in layers.settings {
            merge.setting(setting)?;
        }
        let Merge { document, origins, .. } = merge;
        let values = typed(&document, &origins, layers.built_in)?;
        Ok(Self { values, document, origins })
    }
}

impl<T> Recipe<T> {
    /// The resolved recipe as TOML, with the order and the comments of the built-in text.
    pub fn to_toml(&self) -> String {
        self.document.to_string()
    }

    /// Which layer gave the value of a key such as `train.steps`.
    pub fn origin(&self, key: &str) -> Origin {
        origin_of(&self.origins, key)
    }

    /// The value of a key as TOML text; `None` when there is no such key.
    pub fn value(&self, key: &str) -> Option<String> {
        merge::leaves(&self.document).into_iter().find(|(name, _)| name == key).map(|(_, item)| merge::text(item))
    }

    /// An error for the first of these keys, each with the reason why it means nothing under the others, that a setting gave: a file may
    /// serve several runs, what is said for this one must matter to it.
    ///
    /// # Errors
    /// As [`Recipe::without_use`].
    pub fn refuse<W: fmt::Display>(
        &self,
        without_use: impl IntoIterator<Item = (&'static str, W)>,
    ) -> Result<(), RecipeError> {
        let said = |key: &str| matches!(self.origin(key), Origin::Setting(_));
        match without_use.into_iter().find(|(key, _)| said(key)) {
            Some((key, why)) => Err(self.without_use(key, why)),
            None => Ok(()),
        }
    }

    /// The error for a key that means nothing under the others, with the reason.
    pub fn without_use(&self, key: &str, why: impl fmt::Display) -> RecipeError {
        WrongValue {
            origin: self.origin(key),
            key: key.to_owned(),
            got: self.value(key).unwrap_or_else(|| "missing".to_owned()),
            problem: Problem::Other(format!("but has no use here: {why}")),
            hint: None,
        }
        .into()
    }

    /// The error for a value of the right type that makes no sense, in the form that wrong types have.
    ///
    /// `wanted` completes "wanted …", such as `"1 or more"`.
    pub fn invalid(&self, key: &str, wanted: impl fmt::Display) -> RecipeError {
        WrongValue {
            origin: self.origin(key),
            key: key.to_owned(),
            got: self.value(key).unwrap_or_else(|| "missing".to_owned()),
            problem: Problem::Wanted(wanted.to_string()),
            hint: None,
        }
        .into()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in recipe"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Setting(text) => f.write_str(text),
        }
    }
}

fn read(path: &Path) -> Result<String, RecipeError> {
    let bytes = fs::read(path).map_err(FileError::at(path, "read the recipe"))?;
    String::from_utf8(bytes)
        .map_err(|e| RecipeError::NotText { path: path.to_path_buf(), byte: e.utf8_error().valid_up_to() })
}

/// The layer of the key itself or of the nearest table around it that a layer set as a whole.
fn origin_of(origins: &[(String, Origin)], key: &str) -> Origin {
    let set = |wanted: &str| origins.iter().rev().find(|(name, _)| name == wanted).map(|(_, origin)| origin.clone());
    let mut key = key;
    loop {
        if let Some(origin) = set(key) {
            return origin;
        }
        match key.rfind(['.', '[']) {
            Some(end) => key = &key[..end],
            None => return Origin::BuiltIn,
        }
    }
}

fn typed<T: DeserializeOwned>(
    document: &DocumentMut,
    origins: &[(String, Origin)],
    built_in: &str,
) -> Result<T, RecipeError> {
    let mut ignored = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let source = toml_edit::de::Deserializer::from(document.clone());
    let source = serde_path_to_error::Deserializer::new(source, &mut track);
    let result = serde_ignored::deserialize(source, |path| ignored.push(path.to_string()));
    let values = result.map_err(|e| error::wrong_type(e.message(), &track.path(), document, origins, built_in))?;
    match ignored.into_iter().next() {
        None => Ok(values),
        // Keys outside lists are checked against the built-in text before.
        Some(key) => match origin_of(origins, &key) {
            Origin::BuiltIn => Err(RecipeError::BuiltIn(format!("key `{key}` has no place in the recipe's type"))),
            origin => Err(RecipeError::UnknownKey { origin, key, hint: None }),
        },
    }
}

#[cfg(test)]
mod tests;
