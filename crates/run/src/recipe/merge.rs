//! One layer over another, key by key.

use std::path::Path;

use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value};

use super::{
    Origin,
    error::{Problem, RecipeError, WrongValue},
    setting::Setting,
};
use crate::hint;

/// The document so far and who set what.
pub(super) struct Merge {
    pub(super) document: DocumentMut,
    pub(super) origins: Vec<(String, Origin)>,
    // All keys with their tables, `a` and `a.b`; they never change.
    known: Vec<String>,
}

/// The origin of a key, given as its path.
type Locate<'a> = &'a dyn Fn(&[&str]) -> Origin;

impl Merge {
    pub(super) fn new(built_in: DocumentMut) -> Self {
        let mut known = Vec::new();
        collect_keys(built_in.as_table(), "", &mut known);
        Self { document: built_in, origins: Vec::new(), known }
    }

    /// Lays the user's file over the document.
    pub(super) fn file(&mut self, path: &Path, file: Document<&str>) -> Result<(), RecipeError> {
        // One copy knows where everything stood, the other one how it was spelled.
        let spans = file.clone();
        let locate = |keys: &[&str]| Origin::File { path: path.to_path_buf(), line: line_of_key(&spans, keys) };
        self.layer(file.into_mut().as_table(), &locate)
    }

    /// Lays one setting over the document.
    pub(super) fn setting(&mut self, setting: &Setting) -> Result<(), RecipeError> {
        let mut item = Item::Value(setting.value.clone());
        for key in setting.keys.iter().rev() {
            let mut table = Table::new();
            table.insert(key, item);
            item = Item::Table(table);
        }
        match item {
            Item::Table(table) => self.layer(&table, &|_| Origin::Setting(setting.shown.clone())),
            _ => Ok(()),
        }
    }

    fn layer(&mut self, over: &dyn TableLike, locate: Locate<'_>) -> Result<(), RecipeError> {
        let Self { document, origins, known } = self;
        let mut layer = Layer { known, origins, locate };
        layer.table(document.as_table_mut(), over, &[])
    }
}

struct Layer<'a> {
    known: &'a [String],
    origins: &'a mut Vec<(String, Origin)>,
    locate: Locate<'a>,
}

impl Layer<'_> {
    fn table(&mut self, base: &mut dyn TableLike, over: &dyn TableLike, prefix: &[&str]) -> Result<(), RecipeError> {
        for (key, item) in over.iter() {
            let keys = [prefix, &[key]].concat();
            let name = keys.join(".");
            let origin = (self.locate)(&keys);
            let Some(slot) = base.get_mut(key) else {
                return Err(RecipeError::UnknownKey { origin, hint: self.nearest_key(&name), key: name });
            };
            match (slot.is_table_like(), item.as_table_like()) {
                (true, Some(inner)) => {
                    // Cannot be `None`: it is table-like.
                    if let Some(slot) = slot.as_table_like_mut() {
                        self.table(slot, inner, &keys)?;
                    }
                }
                (true, None) => return Err(mismatch(origin, name, item, "a table with keys of its own".to_owned())),
                (false, Some(_)) => {
                    let wanted = format!("a single value such as `{}`", text(slot));
                    return Err(mismatch(origin, name, item, wanted));
                }
                (false, None) => {
                    replace(slot, item);
                    self.origins.push((name, origin));
                }
            }
        }
        Ok(())
    }

    /// The key that an unknown one most likely stands for: nearly the same, or the same name in another table.
    fn nearest_key(&self, name: &str) -> Option<String> {
        let known = || self.known.iter().map(String::as_str);
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let wanted = last(name);
        let elsewhere = || known().find(|key| last(key) == wanted);
        let similar = || {
            let names: Vec<String> = known().map(last).collect();
            let near = hint::nearest(&wanted, names.iter().map(String::as_str))?.to_owned();
            known().find(|key| last(key) == near)
        };
        let group = || SYNONYMS.iter().find(|names| names.contains(&&wanted[..]));
        // The table of all fields of a model is not one of them.
        let synonym = || match known().any(|key| key.starts_with(&format!("{wanted}."))) {
            true => None,
            false => group().and_then(|names| known().find(|key| names.contains(&&last(key)[..]))),
        };
        elsewhere().or_else(synonym).or_else(|| hint::nearest(name, known())).or_else(similar).map(str::to_owned)
    }
}

/// Names of the same thing in the recipes here and in other programs.
const SYNONYMS: [&[&str]; 5] = [
    &["lr", "learning_rate", "alpha", "eta"],
    &["epochs", "iter", "steps", "max_steps", "num_train_epochs"],
    &["vector_size", "size", "dim", "embedding_dim", "hidden_size", "n_embd", "d_model"],
    &["batch", "batch_size", "per_device_train_batch_size"],
    &["sg", "model", "architecture"],
];

/// Every value of a document with its full key, in the order of the text; tables are walked, lists are values.
pub(super) fn leaves(document: &DocumentMut) -> Vec<(String, &Item)> {
    fn walk<'a>(table: &'a dyn TableLike, prefix: &str, leaves: &mut Vec<(String, &'a Item)>) {
        for (key, item) in table.iter() {
            let name = join(prefix, key);
            match item.as_table_like() {
                Some(inner) => walk(inner, &name, leaves),
                None => leaves.push((name, item)),
            }
        }
    }
    let mut leaves = Vec::new();
    walk(document.as_table(), "", &mut leaves);
    leaves
}

/// The value's TOML text alone.
pub(super) fn text(item: &Item) -> String {
    match item {
        Item::Value(value) => clean(value).decorated("", "").to_string(),
        other => other.to_string(),
    }
}

/// The line of a byte of a text, from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count()
}

/// The line on which a key stands, or the nearest table around it that has one.
pub(super) fn line_of_key(document: &Document<&str>, keys: &[&str]) -> usize {
    let mut table: &dyn TableLike = document.as_table();
    let mut line = 1;
    for key in keys {
        let Some((key, item)) = table.get_key_value(key) else { break };
        if let Some(span) = key.span().or_else(|| item.span()) {
            line = line_of(document.raw(), span.start);
        }
        let Some(inner) = item.as_table_like() else { break };
        table = inner;
    }
    line
}

fn mismatch(origin: Origin, key: String, got: &Item, wanted: String) -> RecipeError {
    let got = if got.is_table_like() { "a table".to_owned() } else { text(got) };
    WrongValue { origin, key, got, problem: Problem::Wanted(wanted), hint: None }.into()
}

/// Puts the new value in the place of the old one, whose comments and spacing stay.
fn replace(slot: &mut Item, new: &Item) {
    match (&mut *slot, new) {
        (Item::Value(old), Item::Value(new)) => {
            let decor = old.decor().clone();
            let mut new = clean(new);
            *new.decor_mut() = decor;
            *old = new;
        }
        _ => *slot = new.clone(),
    }
}

/// A list without the comments and line breaks that the user's file had inside it: only the values are taken over.
fn clean(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(array) = &mut value {
        let values: Vec<Value> = array.iter().map(clean).collect();
        *array = values.into_iter().map(|value| value.decorated("", "")).collect();
        array.fmt();
    }
    value
}

fn collect_keys(table: &dyn TableLike, prefix: &str, keys: &mut Vec<String>) {
    for (key, item) in table.iter() {
        let name = join(prefix, key);
        keys.push(name.clone());
        if let Some(inner) = item.as_table_like() {
            collect_keys(inner, &name, keys);
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}
