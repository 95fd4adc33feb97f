//! What can be wrong with a recipe.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde_path_to_error::{Path as Keys, Segment};
use toml_edit::{Document, DocumentMut, Item, TomlError};

use super::{Origin, merge, origin_of};
use crate::{files::FileError, hint};

/// A recipe that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not UTF-8 from this byte on.
    #[error("{}: not UTF-8 text at byte {byte}, wanted a TOML file", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// Offset of the first wrong byte.
        byte: usize,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not TOML: {problem}, got `{got}`", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
        /// The line's text.
        got: String,
    },
    /// The argument of `--set` is not `key=value`.
    #[error("--set {text}: {problem}")]
    Setting {
        /// The argument.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that the built-in text does not have.
    #[error("{origin}: unknown key `{key}`{}", did_you_mean(hint))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// The full key.
        key: String,
        /// The nearest known key.
        hint: Option<String>,
    },
    /// A value of the wrong type, or one that makes no sense.
    #[error(transparent)]
    Value(Box<WrongValue>),
    /// The built-in text does not fit the program: a bug there.
    #[error("built-in recipe: {0}")]
    BuiltIn(String),
}

/// A value that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: `{key}` is {got}, {problem}{}", hint_line(hint))]
pub struct WrongValue {
    /// Where it stands.
    pub origin: Origin,
    /// The full key.
    pub key: String,
    /// The value as TOML text.
    pub got: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// What may be meant.
    pub hint: Option<String>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// What was wanted in its place.
    Wanted(String),
    /// Anything else.
    Other(String),
}

impl From<WrongValue> for RecipeError {
    fn from(error: WrongValue) -> Self {
        Self::Value(Box::new(error))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wanted(what) => write!(f, "wanted {what}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

pub(super) fn not_toml(path: &Path, text: &str, error: &TomlError) -> RecipeError {
    let line = error.span().map_or(1, |span| merge::line_of(text, span.start));
    let got = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
    let problem = error.message().lines().collect::<Vec<_>>().join(", ");
    RecipeError::NotToml { path: path.to_path_buf(), line, problem, got }
}

/// Turns serde's message for the value at `keys` into ours.
pub(super) fn wrong_type(
    message: &str,
    keys: &Keys,
    document: &DocumentMut,
    origins: &[(String, Origin)],
    built_in: &str,
) -> RecipeError {
    let key = dotted(keys);
    let Some(item) = find(document, keys).filter(|item| !item.is_table_like()) else {
        let place = if key.is_empty() { String::new() } else { format!(" in `{key}`") };
        return RecipeError::BuiltIn(format!("{message}{place}"));
    };
    let origin = origin_of(origins, &key);
    if origin == Origin::BuiltIn {
        let names: Vec<&str> = key.split('.').collect();
        let line = Document::parse(built_in).map_or(1, |document| merge::line_of_key(&document, &names));
        return RecipeError::BuiltIn(format!("line {line}: `{key}` is {}: {message}", merge::text(item)));
    }
    let got = merge::text(item);
    let (problem, hint) = match message.rsplit_once(", expected ") {
        Some((_, wanted)) => (Problem::Wanted(in_words(wanted)), nearest_choice(item, wanted)),
        None => (Problem::Other(message.to_owned()), None),
    };
    let built_in = || default_of(built_in, &key).map(|value| format!("the built-in value is {value}"));
    WrongValue { origin, got, problem, hint: hint.or_else(built_in), key }.into()
}

/// Types of Rust as words.
fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" | "a boolean" => "true or false",
        "a string" | "string" => "text in quotes",
        "a sequence" => "a list `[…]`",
        other => other,
    }
    .to_owned()
}

/// Of the words that serde lists in backticks, the one that the text is near to.
fn nearest_choice(got: &Item, expected: &str) -> Option<String> {
    let choices = expected.split('`').skip(1).step_by(2);
    hint::nearest(got.as_str()?, choices).map(|choice| format!("did you mean `{choice}`?"))
}

fn default_of(built_in: &str, key: &str) -> Option<String> {
    let document: DocumentMut = built_in.parse().ok()?;
    merge::leaves(&document).into_iter().find(|(name, _)| name == key).map(|(_, item)| merge::text(item))
}

fn dotted(keys: &Keys) -> String {
    let mut text = String::new();
    for segment in keys.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            other => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&other.to_string());
            }
        }
    }
    text
}

fn find<'a>(document: &'a DocumentMut, keys: &Keys) -> Option<&'a Item> {
    let mut item = document.as_item();
    for segment in keys.iter() {
        item = match segment {
            Segment::Map { key } => item.get(key.as_str())?,
            // A list is shown whole: its parts are values, not items.
            Segment::Seq { .. } => return Some(item),
            // An enum names its variant after the value's own key.
            Segment::Enum { .. } | Segment::Unknown => return Some(item),
        };
    }
    Some(item)
}

fn did_you_mean(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |key| format!("\nhint: did you mean `{key}`?"))
}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |hint| format!("\nhint: {hint}"))
}
