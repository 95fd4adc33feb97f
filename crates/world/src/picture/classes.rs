//! What of a picture's things is told apart.

use std::str::FromStr;

use serde::Deserialize;

use crate::lexicon::{Category, Noun, nouns};

/// The classes of things in pictures.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Classes {
    /// Kinds of things: ten.
    #[default]
    Categories,
    /// Each thing: over 300.
    Nouns,
}

impl Classes {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Categories, Self::Nouns];

    /// The name that [`Classes::from_str`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categories => "categories",
            Self::Nouns => "nouns",
        }
    }

    /// The names of the classes, in the order of [`Classes::of`].
    pub fn names(self) -> Vec<&'static str> {
        match self {
            Self::Categories => Category::ALL.iter().map(|c| c.name()).collect(),
            Self::Nouns => nouns().map(|noun| noun.singular).collect(),
        }
    }

    /// The number of a thing's class.
    pub fn of(self, noun: &Noun) -> usize {
        match self {
            Self::Categories => Category::ALL.iter().position(|c| *c == noun.category).unwrap_or(0),
            Self::Nouns => nouns().position(|n| n == noun).unwrap_or(0),
        }
    }
}

impl FromStr for Classes {
    type Err = UnknownClasses;

    fn from_str(name: &str) -> Result<Self, UnknownClasses> {
        Self::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| UnknownClasses { got: name.to_owned() })
    }
}

/// A name that is none of [`Classes`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the World tells apart {}, not `{got}`", Classes::ALL.map(Classes::name).join(" or "))]
pub struct UnknownClasses {
    /// What was asked for.
    pub got: String,
}
