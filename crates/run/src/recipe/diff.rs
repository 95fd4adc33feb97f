//! What changed between two recipes.

use std::fmt;

use toml_edit::{Item, Value};

use super::{Recipe, merge};

/// A key whose value differs; `None` where the key is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The full key, such as `train.steps`.
    pub key: String,
    /// The old value as TOML text.
    pub old: Option<String>,
    /// The new value as TOML text.
    pub new: Option<String>,
}

/// Every key whose value differs, in the order of the new recipe, then what only the old one has.
///
/// Values count, not their spelling: `1e3`, `1000.0` and `1_000` are the same. Which keys may change when a run is
/// resumed is the caller's business.
pub fn diff<T, U>(old: &Recipe<T>, new: &Recipe<U>) -> Vec<Change> {
    let old = merge::leaves(&old.document);
    let new = merge::leaves(&new.document);
    let find = |leaves: &[(String, &Item)], key: &str| -> Option<Item> {
        leaves.iter().find(|(name, _)| name == key).map(|(_, item)| (*item).clone())
    };
    let mut changes = Vec::new();
    for (key, item) in &new {
        let before = find(&old, key);
        if !before.as_ref().is_some_and(|before| same_item(before, item)) {
            let old = before.as_ref().map(merge::text);
            changes.push(Change { key: key.clone(), old, new: Some(merge::text(item)) });
        }
    }
    for (key, item) in &old {
        if find(&new, key).is_none() {
            changes.push(Change { key: key.clone(), old: Some(merge::text(item)), new: None });
        }
    }
    changes
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_missing = |value: &Option<String>| value.clone().unwrap_or_else(|| "missing".to_owned());
        write!(f, "`{}`: {} → {}", self.key, or_missing(&self.old), or_missing(&self.new))
    }
}

fn same_item(a: &Item, b: &Item) -> bool {
    match (a.as_value(), b.as_value()) {
        (Some(a), Some(b)) => same(a, b),
        _ => merge::text(a) == merge::text(b),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    use Value::{Array, Boolean, Float, InlineTable, Integer, String};
    let same_float = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    match (a, b) {
        (Integer(a), Integer(b)) => a.value() == b.value(),
        (Float(a), Float(b)) => same_float(*a.value(), *b.value()),
        (Integer(a), Float(b)) | (Float(b), Integer(a)) => same_float(*a.value() as f64, *b.value()),
        (String(a), String(b)) => a.value() == b.value(),
        (Boolean(a), Boolean(b)) => a.value() == b.value(),
        (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b)),
        (InlineTable(a), InlineTable(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}
