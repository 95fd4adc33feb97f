//! Which documents are for validation.

use crate::{
    corpus::{Corpus, Error},
    random::mix,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One document in so many is for validation: five per cent.
pub const ONE_IN: u64 = 20;
/// The seed of the draw, unless another is given.
pub const SPLIT_SEED: u64 = 0;

/// How training and validation were told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
pub enum SplitRule {
    /// Nothing is for validation.
    None,
    /// Of every `one_in` documents in a row one, drawn by a hash of its number and the seed.
    Documents {
        /// The size of a group.
        one_in: u64,
        /// The seed of the draw.
        seed: u64,
    },
    /// With fewer documents than [`SplitRule::fewest`], the last tokens: one in `one_in`.
    TailTokens {
        /// The share.
        one_in: u64,
    },
    /// Validation has its own text.
    Separate,
}

impl SplitRule {
    /// With fewer documents than this, documents are not split but tokens.
    pub fn fewest(one_in: u64) -> u64 {
        one_in.max(20)
    }

    /// Whether document number `document` is for validation.
    ///
    /// A group has one for certain, so that `one_in` documents are enough for a validation set.
    pub fn is_validation(&self, document: u64) -> bool {
        match *self {
            Self::Documents { one_in, seed } => mix(seed, document / one_in) % one_in == document % one_in,
            _ => false,
        }
    }
}

/// The texts of the documents that [`SplitRule::Documents`] leaves for training: what a tokenizer may learn from.
///
/// A corpus with too few documents for that rule is given whole: its split is by tokens, which are not there yet.
pub fn training_texts(
    corpus: &Corpus,
    one_in: u64,
    seed: u64,
) -> Result<impl Iterator<Item = Result<String, Error>> + '_, Error> {
    let splits = corpus.has_documents(SplitRule::fewest(one_in))?;
    let rule = if splits { SplitRule::Documents { one_in, seed } } else { SplitRule::TailTokens { one_in } };
    let kept = corpus.pieces().filter(move |p| p.as_ref().map_or(true, |p| !rule.is_validation(p.document)));
    Ok(kept.map(|piece| piece.map(|piece| piece.text)))
}

impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "no validation text"),
            Self::Documents { one_in, .. } => write!(f, "one document in {one_in} for validation"),
            Self::TailTokens { one_in } => write!(
                f,
                "fewer than {} documents: the last {:.3} % of the tokens for validation",
                Self::fewest(*one_in),
                100.0 / *one_in as f64
            ),
            Self::Separate => write!(f, "validation text of its own"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn one_of_each_group(one_in in 1u64..50, seed: u64, group in 0u64..1_000_000) {
            let rule = SplitRule::Documents { one_in, seed };
            let chosen = (group * one_in..(group + 1) * one_in).filter(|&document| rule.is_validation(document)).count();
            prop_assert_eq!(chosen, 1);
        }
    }

    #[test]
    fn the_seed_matters() {
        let chosen = |seed| (0..2000).filter(move |&d| SplitRule::Documents { one_in: 20, seed }.is_validation(d));
        assert_ne!(chosen(1).collect::<Vec<_>>(), chosen(2).collect::<Vec<_>>());
        assert!(chosen(1).map(|d| d % 20).collect::<std::collections::BTreeSet<_>>().len() > 15);
    }
}
