//! What kind of being or thing a noun is, finer than its category.

use super::{Category, Noun};

/// A kind of being, or a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Cats, whales and bats among them.
    Mammal,
    /// What has feathers.
    Bird,
    /// Reptiles, and frogs.
    Reptile,
    /// Small crawling or flying animals without bones.
    Bug,
    /// Fish and other animals that breathe in the sea.
    SeaAnimal,
    /// Robots, dragons and whoever else is not met in life.
    Fabulous,
    /// People.
    Person,
    /// Whatever does not act.
    Object,
}

const BIRDS: &[&str] = &[
    "hen", "rooster", "chick", "penguin", "bird", "duck", "goose", "swan", "eagle", "owl", "parrot", "peacock",
    "flamingo", "dodo", "dove",
];
const REPTILES: &[&str] = &["frog", "crocodile", "turtle", "lizard", "snake", "dinosaur"];
const BUGS: &[&str] = &["snail", "caterpillar", "butterfly", "bee", "ladybird", "ant", "spider", "scorpion"];
const SEA_ANIMALS: &[&str] = &["crab", "octopus", "squid", "fish", "shark"];
const FABULOUS: &[&str] = &["unicorn", "dragon", "robot", "alien", "ghost", "snowman"];

impl Family {
    /// Every family.
    pub const ALL: [Self; 8] = [
        Self::Mammal,
        Self::Bird,
        Self::Reptile,
        Self::Bug,
        Self::SeaAnimal,
        Self::Fabulous,
        Self::Person,
        Self::Object,
    ];

    /// Its name, as labels have it: `mammal`, `sea-animal`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mammal => "mammal",
            Self::Bird => "bird",
            Self::Reptile => "reptile",
            Self::Bug => "bug",
            Self::SeaAnimal => "sea-animal",
            Self::Fabulous => "fabulous",
            Self::Person => "person",
            Self::Object => "object",
        }
    }
}

impl Noun {
    /// What kind of being it is.
    pub fn family(&self) -> Family {
        let is = |names: &[&str]| names.contains(&self.singular);
        match self.category {
            Category::Person => Family::Person,
            Category::Creature if is(BIRDS) => Family::Bird,
            Category::Creature if is(REPTILES) => Family::Reptile,
            Category::Creature if is(BUGS) => Family::Bug,
            Category::Creature if is(SEA_ANIMALS) => Family::SeaAnimal,
            Category::Creature if is(FABULOUS) => Family::Fabulous,
            Category::Creature => Family::Mammal,
            _ => Family::Object,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::CREATURES;

    #[test]
    fn every_name_is_a_creature() {
        for name in [BIRDS, REPTILES, BUGS, SEA_ANIMALS, FABULOUS].concat() {
            assert!(CREATURES.iter().any(|noun| noun.singular == name), "{name}");
        }
        // Who is added to the creatures must be told apart here, too.
        let mammals = CREATURES.iter().filter(|noun| noun.family() == Family::Mammal).count();
        assert_eq!((mammals, CREATURES.len()), (45, 85), "a new creature needs its family");
    }
}
