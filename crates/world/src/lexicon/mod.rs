//! The words of the world: nouns with the emoji that is their picture, backgrounds, colours, actions, relations.
//!
//! The tables are data and part of the format: a changed row changes every data set made from it.

mod backgrounds;
mod creatures;
mod families;
mod objects;
mod words;

use std::sync::LazyLock;

pub use backgrounds::{BACKGROUNDS, Background};
pub use creatures::{CREATURES, PERSONS};
pub use families::Family;
pub use objects::{BUILDINGS, FOODS, PLANTS, SKY, THINGS, TOOLS, VEHICLES, WORN};
pub use words::{ACTIONS, Action, COLOURS, Colour, RELATIONS, Relation};

/// A noun: its names, its picture and what it is like.
#[derive(Debug)]
pub struct Noun {
    /// The Unicode string of its picture; Twemoji has every one.
    pub emoji: &'static str,
    /// English singular, without article.
    pub singular: &'static str,
    /// English plural.
    pub plural: &'static str,
    /// Chinese name.
    pub zh: &'static str,
    /// Chinese measure word: 三**只**猫.
    pub measure: &'static str,
    /// What it is.
    pub category: Category,
    /// How large it is beside the others.
    pub size: Size,
    /// Where it is usually found; empty for "anywhere".
    pub biomes: &'static [Biome],
    /// Whether things worn can be put on it.
    pub can_wear: bool,
    /// Whether it may be given a colour.
    pub paintable: bool,
    /// Whether something can be hidden behind it.
    pub landmark: bool,
    /// Named in the plural only: "glasses", "boots".
    pub pair: bool,
    /// The pronoun the noun itself demands ("boy", "princess").
    pub gender: Option<Gender>,
    /// Where it sits on a wearer, for things worn.
    pub worn_on: Option<WornOn>,
}

/// What a noun is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Animals and others that act on their own, robots and ghosts among them.
    Creature,
    /// People by what they do.
    Person,
    /// What is eaten.
    Food,
    /// What carries passengers.
    Vehicle,
    /// What work is done with.
    Tool,
    /// Toys, instruments and what stands in a house.
    Thing,
    /// Trees and flowers.
    Plant,
    /// What is built and stays in its place.
    Building,
    /// What is seen above.
    Sky,
    /// What is put over a creature.
    Worn,
}

impl Category {
    /// Every category, in the order in which nouns are numbered.
    pub const ALL: [Self; 10] = [
        Self::Creature,
        Self::Person,
        Self::Food,
        Self::Vehicle,
        Self::Tool,
        Self::Thing,
        Self::Plant,
        Self::Building,
        Self::Sky,
        Self::Worn,
    ];

    /// "creature"
    pub fn name(self) -> &'static str {
        match self {
            Self::Creature => "creature",
            Self::Person => "person",
            Self::Food => "food",
            Self::Vehicle => "vehicle",
            Self::Tool => "tool",
            Self::Thing => "thing",
            Self::Plant => "plant",
            Self::Building => "building",
            Self::Sky => "sky",
            Self::Worn => "worn",
        }
    }

    /// The nouns of this category.
    pub fn nouns(self) -> &'static [Noun] {
        match self {
            Self::Creature => CREATURES,
            Self::Person => PERSONS,
            Self::Food => FOODS,
            Self::Vehicle => VEHICLES,
            Self::Tool => TOOLS,
            Self::Thing => THINGS,
            Self::Plant => PLANTS,
            Self::Building => BUILDINGS,
            Self::Sky => SKY,
            Self::Worn => WORN,
        }
    }
}

/// How large a noun is beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Fits in a hand.
    Small,
    /// About as large as a person.
    Medium,
    /// Larger than a person.
    Large,
}

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Biome {
    /// Rooms.
    Indoors,
    /// Streets and squares.
    Town,
    /// Fields, gardens and farms.
    Country,
    /// Woods and jungles.
    Forest,
    /// Sand without water.
    Desert,
    /// Rock and height.
    Mountain,
    /// Ice and snow.
    Snow,
    /// The shore of a sea, a river or a lake.
    Shore,
    /// Below the water.
    Sea,
    /// The sky.
    Sky,
    /// The moon and beyond.
    Space,
}

/// The pronoun of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gender {
    /// "he"
    He,
    /// "she"
    She,
}

/// Where a thing worn sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WornOn {
    /// On top of the head.
    Head,
    /// Before the eyes.
    Face,
    /// Around the neck.
    Neck,
    /// Around the body.
    Body,
    /// On the back.
    Back,
    /// On the hands or feet.
    Limbs,
}

impl Noun {
    const fn new(category: Category, names: [&'static str; 5], size: Size, biomes: &'static [Biome]) -> Self {
        let [emoji, singular, plural, zh, measure] = names;
        Self {
            emoji,
            singular,
            plural,
            zh,
            measure,
            category,
            size,
            biomes,
            can_wear: false,
            paintable: false,
            landmark: false,
            pair: false,
            gender: None,
            worn_on: None,
        }
    }

    /// Dressable: things worn can be put on it.
    const fn wears(mut self) -> Self {
        self.can_wear = true;
        self
    }

    const fn paintable(mut self) -> Self {
        self.paintable = true;
        self
    }

    const fn landmark(mut self) -> Self {
        self.landmark = true;
        self
    }

    const fn pair(mut self) -> Self {
        self.pair = true;
        self
    }

    const fn he(mut self) -> Self {
        self.gender = Some(Gender::He);
        self
    }

    const fn she(mut self) -> Self {
        self.gender = Some(Gender::She);
        self
    }

    /// Whether it acts on its own.
    pub fn can_act(&self) -> bool {
        matches!(self.category, Category::Creature | Category::Person)
    }

    /// Whether it is eaten.
    pub fn is_edible(&self) -> bool {
        self.category == Category::Food
    }

    /// Singular or plural, as `count` demands.
    pub fn form(&self, count: usize) -> &'static str {
        if count == 1 { self.singular } else { self.plural }
    }

    /// Whether it is usually found in `biome`.
    pub fn lives_in(&self, biome: Biome) -> bool {
        self.biomes.is_empty() || self.biomes.contains(&biome)
    }
}

// Nouns are single rows of static tables: the picture tells them apart.
impl PartialEq for Noun {
    fn eq(&self, other: &Self) -> bool {
        self.emoji == other.emoji
    }
}

impl Eq for Noun {}

/// All nouns, category after category; the position is the noun's class number.
pub fn nouns() -> impl Iterator<Item = &'static Noun> {
    Category::ALL.into_iter().flat_map(|category| category.nouns())
}

/// The nouns of all categories that fulfil a condition, chosen once.
macro_rules! selection {
    ($(#[$doc:meta])* $name:ident, $condition:expr) => {
        $(#[$doc])*
        pub(crate) fn $name() -> &'static [&'static Noun] {
            static CHOSEN: LazyLock<Vec<&'static Noun>> = LazyLock::new(|| nouns().filter($condition).collect());
            &CHOSEN
        }
    };
}

selection!(
    /// Creatures and persons.
    actors,
    |noun| noun.can_act()
);
selection!(
    /// Creatures and persons that things worn can be put on.
    wearers,
    |noun| noun.can_act() && noun.can_wear
);
selection!(
    /// Everything that is neither an actor nor worn.
    props,
    |noun| !noun.can_act() && noun.category != Category::Worn
);
selection!(
    /// Toys and household things that may have a colour.
    painted_things,
    |noun| noun.category == Category::Thing && noun.paintable && noun.size == Size::Small
);
selection!(
    /// Actors that walk about: those that live in the sea only stay out of stories.
    walkers,
    |noun| noun.can_act() && noun.can_wear && noun.biomes != [Biome::Sea]
);

/// What stands in `biome` and is large enough to hide something behind it.
pub(crate) fn landmarks(biome: Biome) -> &'static [&'static Noun] {
    static CHOSEN: LazyLock<[Vec<&'static Noun>; 11]> = LazyLock::new(|| {
        [
            Biome::Indoors,
            Biome::Town,
            Biome::Country,
            Biome::Forest,
            Biome::Desert,
            Biome::Mountain,
            Biome::Snow,
            Biome::Shore,
            Biome::Sea,
            Biome::Sky,
            Biome::Space,
        ]
        .map(|biome| nouns().filter(|noun| noun.landmark && noun.biomes.contains(&biome)).collect())
    });
    &CHOSEN[biome as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_few_hundred_nouns_each_named_once() {
        let count = nouns().count();
        assert!((300..600).contains(&count), "{count} nouns");
        for column in [|n: &Noun| n.emoji, |n: &Noun| n.singular, |n: &Noun| n.plural, |n: &Noun| n.zh] {
            let mut seen = BTreeSet::new();
            for noun in nouns() {
                assert!(seen.insert(column(noun)), "{:?} twice, last for {}", column(noun), noun.singular);
            }
        }
    }

    #[test]
    fn names_are_in_their_alphabets() {
        for noun in nouns() {
            let Noun { emoji, singular, plural, zh, measure, .. } = noun;
            let english = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_lowercase() || " -".contains(c));
            let chinese = |s: &str| !s.is_empty() && s.chars().all(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(english(singular) && english(plural), "{singular}, {plural}");
            assert!(chinese(zh) && chinese(measure), "{singular}: {zh}, {measure}");
            assert!(!emoji.is_empty() && !emoji.is_ascii() && !emoji.contains(' '), "{singular}: {emoji}");
            assert_eq!(noun.pair, noun.category == Category::Worn && singular == plural, "{singular}");
            assert_eq!(noun.worn_on.is_some(), noun.category == Category::Worn, "{singular}");
            assert!(!noun.can_wear || noun.can_act(), "{singular}");
        }
    }

    #[test]
    fn every_walkable_background_has_landmarks() {
        for background in BACKGROUNDS.iter().filter(|b| b.walkable) {
            let count = landmarks(background.biome).len();
            assert!(count >= 3, "{} has {count} landmarks", background.name);
        }
    }
}
