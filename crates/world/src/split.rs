//! Which rows a model may learn from, and which combinations it never sees.

use crate::{
    lexicon::{Background, Noun},
    rng::Key,
};

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// To learn from; never holds a held-out combination.
    Train,
    /// To measure with; every row of even index holds a held-out combination.
    Validation,
}

/// What a row must fulfil regarding held-out combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// No held-out combination may occur, not even spread over several creatures.
    Seen,
    /// The main character forms a held-out combination.
    HeldOut,
}

impl Split {
    /// Both splits.
    pub const ALL: [Self; 2] = [Self::Train, Self::Validation];

    /// `train` or `validation`, as in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }

    pub(crate) fn word(self) -> u64 {
        match self {
            Self::Train => 0,
            Self::Validation => 1,
        }
    }

    pub(crate) fn demand(self, index: u64) -> Demand {
        match self {
            Self::Validation if index.is_multiple_of(2) => Demand::HeldOut,
            Self::Train | Self::Validation => Demand::Seen,
        }
    }
}

/// Whether the combination of a creature, a thing worn and a background is kept from the training split.
///
/// One combination in ten is: those whose key, made of the three English names, is divisible by 10. The seed of the
/// world takes no part, so what one world holds out no other world teaches. The cat in a spacesuit on the moon is
/// always held out.
///
/// In training no scene and no story holds the three parts together at all, even where another creature wears the
/// thing. Each pair of the three is still seen.
pub fn held_out(creature: &Noun, worn: &Noun, background: &Background) -> bool {
    let names = (creature.singular, worn.singular, background.name);
    if names == ("cat", "spacesuit", "moon") {
        return true;
    }
    Key::new(0).named("held out").named(names.0).named(names.1).named(names.2).value().is_multiple_of(10)
}

/// Whether any of the combinations that can be formed is held out.
pub(crate) fn any_held_out(creatures: &[&Noun], worn: &[&Noun], backgrounds: &[&Background]) -> bool {
    creatures.iter().any(|c| worn.iter().any(|w| backgrounds.iter().any(|b| held_out(c, w, b))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::{BACKGROUNDS, WORN, nouns};

    #[test]
    fn every_pair_stays_in_training() {
        let wearers: Vec<&Noun> = nouns().filter(|noun| noun.can_wear).collect();
        let mut held = 0;
        for creature in &wearers {
            for worn in WORN {
                let count = BACKGROUNDS.iter().filter(|b| held_out(creature, worn, b)).count();
                assert!(count < BACKGROUNDS.len(), "{} and {}", creature.singular, worn.singular);
                held += count;
            }
            for background in BACKGROUNDS {
                assert!(WORN.iter().any(|worn| !held_out(creature, worn, background)), "{}", creature.singular);
            }
        }
        let share = held as f64 / (wearers.len() * WORN.len() * BACKGROUNDS.len()) as f64;
        assert!((0.09..0.11).contains(&share), "{share} held out");
    }
}
