//! Who takes part in a story, and where it takes place.

use crate::{
    grammar::{a, clothing},
    lexicon::{BACKGROUNDS, Background, Biome, Category, Gender, Noun, actors, landmarks, walkers},
    rng::{Draws, Key},
    scene::{Clothing, Object, clothing as draw_clothing},
    split::{Demand, any_held_out, held_out},
};

/// Everyone and every place of one story.
pub(super) struct Cast {
    pub(super) hero: Role,
    /// Goes by the other pronoun than the hero, so that "he" and "she" are never in doubt.
    pub(super) friend: Role,
    /// Has no name and is called "it".
    pub(super) third: &'static Noun,
    /// Three different places; the first is the hero's home.
    pub(super) places: [&'static Background; 3],
    /// Something to hide behind at the second and third place.
    landmarks: [&'static Noun; 2],
}

/// A character with a name.
pub(super) struct Role {
    pub(super) noun: &'static Noun,
    pub(super) name: &'static str,
    gender: Gender,
    adjective: &'static str,
    pub(super) worn: Option<Clothing>,
}

/// The cast as sentences need it. The hero's words are plain, the friend's begin with `f`, the places are numbered.
pub(super) struct Words {
    /// The hero's name, "Mia".
    pub(super) name: &'static str,
    /// "cat"
    pub(super) kind: &'static str,
    /// "shy"
    pub(super) adjective: &'static str,
    /// "a shy cat"
    pub(super) a_kind: String,
    pub(super) he: &'static str,
    pub(super) him: &'static str,
    pub(super) his: &'static str,
    /// "her red scarf", if she wears one.
    pub(super) his_worn: Option<String>,
    /// The friend's name, "Tom".
    pub(super) friend: &'static str,
    /// "fox"
    pub(super) fkind: &'static str,
    /// "a clever fox in a green coat"
    pub(super) a_friend: String,
    pub(super) fhe: &'static str,
    pub(super) fhim: &'static str,
    pub(super) fhis: &'static str,
    /// "owl"
    pub(super) third: &'static str,
    /// "an owl"
    pub(super) a_third: String,
    /// "the moon"
    pub(super) the0: String,
    pub(super) the1: String,
    pub(super) the2: String,
    /// "on the moon"
    pub(super) at0: String,
    pub(super) at1: String,
    pub(super) at2: String,
    /// Something to hide behind at the second place, "fountain".
    pub(super) landmark1: &'static Noun,
    /// The same at the third place.
    pub(super) landmark2: &'static Noun,
}

impl Cast {
    /// The first attempt that fulfils the demand.
    ///
    /// Who is dressed is decided once, as deciding anew after a refusal would strip the training split.
    pub(super) fn draw(key: Key, demand: Demand) -> Self {
        let mut draws = key.named("dressed").draws();
        let hero_dressed = draws.percent(60) || demand == Demand::HeldOut;
        let friend_dressed = draws.percent(35);
        let mut attempt = 0;
        loop {
            let draws = &mut key.with(attempt).draws();
            if let Some(cast) = Self::attempt(draws, hero_dressed, friend_dressed).filter(|cast| cast.fulfils(demand)) {
                return cast;
            }
            attempt += 1;
        }
    }

    /// `None` if two parts went to the same noun or the same place.
    fn attempt(draws: &mut Draws, hero_dressed: bool, friend_dressed: bool) -> Option<Self> {
        let hero_noun = *draws.pick(walkers());
        let friend_noun = if friend_dressed { *draws.pick(walkers()) } else { *draws.pick(actors()) };
        let third = *draws.pick(actors());
        let places = [(); 3].map(|()| draws.pick(BACKGROUNDS));

        let gender = hero_noun.gender.unwrap_or(if draws.percent(50) { Gender::He } else { Gender::She });
        let other = match gender {
            Gender::He => Gender::She,
            Gender::She => Gender::He,
        };
        let [first, second, last] = places;
        let fits = hero_noun != friend_noun
            && hero_noun != third
            && friend_noun != third
            && first != second
            && second != last
            && first != last
            && places.iter().all(|place| place.walkable)
            && friend_noun.biomes != [Biome::Sea]
            && third.biomes != [Biome::Sea]
            && third.category == Category::Creature
            && friend_noun.gender.is_none_or(|gender| gender == other);
        let hero = Role::draw(draws, hero_noun, gender, hero_dressed);
        let friend = Role::draw(draws, friend_noun, other, friend_dressed);
        if !fits || hero.adjective == friend.adjective {
            return None;
        }
        // Walkable places have landmarks, so these lists are not empty.
        let landmarks = [second, last].map(|place| *draws.pick(landmarks(place.biome)));
        Some(Self { hero, friend, third, places, landmarks })
    }

    fn fulfils(&self, demand: Demand) -> bool {
        let worn: Vec<&Noun> = [&self.hero, &self.friend].iter().filter_map(|r| r.worn.map(|w| w.noun)).collect();
        match demand {
            Demand::Seen => !any_held_out(&[self.hero.noun, self.friend.noun, self.third], &worn, &self.places),
            // At home, as every story begins there.
            Demand::HeldOut => self.hero.worn.is_some_and(|w| held_out(self.hero.noun, w.noun, self.places[0])),
        }
    }

    pub(super) fn words(&self) -> Words {
        let Self { hero, friend, third, places, landmarks: [landmark1, landmark2] } = self;
        let [he, him, his] = pronouns(hero.gender);
        let [fhe, fhim, fhis] = pronouns(friend.gender);
        let [the0, the1, the2] = places.map(|place| format!("the {}", place.name));
        let [at0, at1, at2] = places.map(Background::at);
        let a_friend = a(&format!("{} {}", friend.adjective, friend.noun.singular));
        Words {
            name: hero.name,
            kind: hero.noun.singular,
            adjective: hero.adjective,
            a_kind: a(&format!("{} {}", hero.adjective, hero.noun.singular)),
            he,
            him,
            his,
            his_worn: hero.worn.as_ref().map(|worn| format!("{his} {}", clothing(worn))),
            friend: friend.name,
            fkind: friend.noun.singular,
            a_friend: match &friend.worn {
                Some(worn) => format!("{a_friend} {}", crate::caption::wearing_en(worn, 1)),
                None => a_friend,
            },
            fhe,
            fhim,
            fhis,
            third: third.singular,
            a_third: a(third.singular),
            the0,
            the1,
            the2,
            at0,
            at1,
            at2,
            landmark1,
            landmark2,
        }
    }
}

impl Role {
    fn draw(draws: &mut Draws, noun: &'static Noun, gender: Gender, dressed: bool) -> Self {
        let names = match gender {
            Gender::He => NAMES[0],
            Gender::She => NAMES[1],
        };
        let (name, adjective) = (draws.pick(names), draws.pick(ADJECTIVES));
        Self { noun, name, gender, adjective, worn: dressed.then(|| draw_clothing(draws)) }
    }

    /// The character as an object of a scene.
    pub(super) fn object(&self) -> Object {
        Object { worn: self.worn, ..Object::one(self.noun) }
    }
}

fn pronouns(gender: Gender) -> [&'static str; 3] {
    match gender {
        Gender::He => ["he", "him", "his"],
        Gender::She => ["she", "her", "her"],
    }
}

/// The names of those called "he", and of those called "she".
pub(crate) const NAMES: [&[&str]; 2] = [HIS_NAMES, HER_NAMES];

const ADJECTIVES: &[&str] = &[
    "brave", "shy", "curious", "clever", "kind", "cheerful", "proud", "gentle", "patient", "quiet", "careful",
    "polite", "sleepy", "stubborn", "young", "old", "lonely", "funny", "little", "friendly", "dreamy", "lazy",
    "honest", "busy",
];

#[rustfmt::skip]
const HIS_NAMES: &[&str] = &[
    "Tom", "Ben", "Max", "Leo", "Sam", "Finn", "Hugo", "Oscar", "Jack", "Theo", "Milo", "Felix", "Otto", "Rory", "Toby",
    "Noah", "Adam", "Karl", "Omar", "Ravi", "Kofi", "Ivan", "Luis", "Emil", "Jonas", "Paul", "Arthur", "Henry", "Bruno",
    "Pablo", "Victor", "Walter",
];

#[rustfmt::skip]
const HER_NAMES: &[&str] = &[
    "Lily", "Mia", "Anna", "Zoe", "Ella", "Ruby", "Nora", "Ida", "Clara", "Emma", "Maya", "Lucy", "Tess", "Hana",
    "Amina", "Priya", "Sofia", "Eva", "Greta", "Molly", "Penny", "Alice", "Freya", "Nina", "Olga", "Wanda", "Vera",
    "Kate", "Jenny", "Mei", "Yara", "Dora",
];
