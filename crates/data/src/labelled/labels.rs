//! Names of classes and their numbers.

use super::{
    Error, Label, Place, TagExample, TextExample,
    error::{MANY, NUMBER},
};
use std::collections::{BTreeMap, BTreeSet};

const CLASS: &str = "a class";
const NOTHING: &str = "missing";

/// The labels of a task; the position of a name is its number (`id2label` and `label2id` of a checkpoint).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    ids: BTreeMap<String, usize>,
}

impl Labels {
    /// The labels of a checkpoint, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Labels`] if a name is empty or stands there twice, or there is none.
    pub fn new(names: Vec<String>) -> Result<Self, Error> {
        let fail = |reason: String| Err(Error::Labels { reason });
        let mut ids = BTreeMap::new();
        for (id, name) in names.iter().enumerate() {
            if name.is_empty() {
                return fail(format!("the name of label {id} is empty"));
            }
            if let Some(first) = ids.insert(name.clone(), id) {
                return fail(format!("{name:?} is the name of {first} and of {id}"));
            }
        }
        if names.is_empty() { fail("there is none".into()) } else { Ok(Self { names, ids }) }
    }

    /// The classes of the training data, sorted: by value if all are whole numbers, else as text.
    ///
    /// # Errors
    ///
    /// Names a record without a label or with a number for one, two records with labels of different forms, or a data
    /// set of one class.
    pub fn of_texts(train: &[TextExample]) -> Result<Self, Error> {
        let first = train.first().ok_or(Error::NoRecords)?;
        let (mut names, mut count) = (BTreeSet::new(), 0);
        for TextExample { place, label, .. } in train {
            let (place, got) = (|| place.clone(), form(label));
            match label {
                Label::None => return Err(Error::LabelForm { place: place(), got, want: CLASS }),
                _ if got != form(&first.label) => {
                    let (first, want) = (first.place.clone(), form(&first.label));
                    return Err(Error::LabelForms { place: place(), got, first, want });
                }
                Label::Number(_) => return Err(Error::LabelForm { place: place(), got, want: CLASS }),
                Label::One(name) => {
                    names.insert(name);
                    count += 1;
                }
                Label::Many(several) => {
                    names.extend(several);
                    count += several.len();
                }
            }
        }
        Self::sorted(names, count, &first.place)
    }

    /// The tags of the training data, sorted as text.
    ///
    /// # Errors
    ///
    /// Names a sentence without tags, or a data set of one tag.
    pub fn of_tags(train: &[TagExample]) -> Result<Self, Error> {
        let first = train.first().ok_or(Error::NoRecords)?;
        if let Some(TagExample { place, words, tags }) = train.iter().find(|e| e.words.len() != e.tags.len()) {
            return Err(Error::TagCount { place: place.clone(), words: words.len(), tags: tags.len() });
        }
        let all = || train.iter().flat_map(|example| &example.tags);
        Self::sorted(all().collect(), all().count(), &first.place)
    }

    pub(crate) fn sorted(names: BTreeSet<&String>, count: usize, first: &Place) -> Result<Self, Error> {
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        if names.iter().all(|name| name.parse::<i64>().is_ok()) {
            // The text decides between "1" and "01".
            names.sort_by_cached_key(|name| (name.parse::<i64>().unwrap_or_default(), name.clone()));
        }
        match &names[..] {
            [label] => Err(Error::OneLabel { path: first.file.to_path_buf(), label: label.clone(), count }),
            _ => Self::new(names),
        }
    }

    /// The names in the order of their numbers.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of a number.
    pub fn name(&self, id: usize) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    /// The number of a name.
    pub fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// The number of a name that a record has.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownLabel`].
    pub fn id_at(&self, name: &str, place: &Place) -> Result<usize, Error> {
        self.id(name).ok_or_else(|| Error::UnknownLabel {
            place: place.clone(),
            label: name.to_owned(),
            known: self.names.clone(),
        })
    }

    /// The class of an example that has one.
    ///
    /// # Errors
    ///
    /// If it has none, several or a number, or one that is unknown.
    pub fn class(&self, example: &TextExample) -> Result<usize, Error> {
        match &example.label {
            Label::One(name) => self.id_at(name, &example.place),
            other => Err(Error::LabelForm { place: example.place.clone(), got: form(other), want: CLASS }),
        }
    }

    /// The classes of an example that may have any number, in ascending order, each once.
    ///
    /// # Errors
    ///
    /// If its label is missing or a number, or one is unknown.
    pub fn classes(&self, example: &TextExample) -> Result<Vec<usize>, Error> {
        let names = match &example.label {
            Label::One(name) => std::slice::from_ref(name),
            Label::Many(names) => names,
            other => return Err(Error::LabelForm { place: example.place.clone(), got: form(other), want: MANY }),
        };
        let ids = names.iter().map(|name| self.id_at(name, &example.place));
        Ok(ids.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
    }

    /// The numbers of the tags of a sentence.
    ///
    /// # Errors
    ///
    /// If one is unknown.
    pub fn tags(&self, example: &TagExample) -> Result<Vec<usize>, Error> {
        example.tags.iter().map(|tag| self.id_at(tag, &example.place)).collect()
    }
}

/// The numbers of examples whose labels are numbers.
///
/// # Errors
///
/// Names the first example whose label is missing or no number.
pub fn numbers(examples: &[TextExample]) -> Result<Vec<f64>, Error> {
    let number = |example: &TextExample| match &example.label {
        Label::Number(number) => Ok(*number),
        other => Err(Error::LabelForm { place: example.place.clone(), got: form(other), want: NUMBER }),
    };
    examples.iter().map(number).collect()
}

fn form(label: &Label) -> &'static str {
    match label {
        Label::None => NOTHING,
        Label::One(_) => CLASS,
        Label::Many(_) => MANY,
        Label::Number(_) => NUMBER,
    }
}
