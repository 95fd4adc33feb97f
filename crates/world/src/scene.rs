//! A scene: what a picture shows.

use crate::{
    lexicon::{
        ACTIONS, Action, BACKGROUNDS, Background, COLOURS, Category, Colour, Noun, RELATIONS, Relation, Size, WORN,
        actors, props,
    },
    rng::{Draws, Key},
    split::{Demand, any_held_out, held_out},
};

/// A background with one to three kinds of objects before it; up to five in the scenes of a story.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// The place.
    pub background: &'static Background,
    /// What is seen; the first object is what the scene is about. No two are the same noun.
    pub objects: Vec<Object>,
    /// Where objects are, seen from others. Every object takes part in at most two.
    pub placements: Vec<Placement>,
}

/// One or more things of the same noun.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub noun: &'static Noun,
    /// How many there are, at least 1.
    pub count: usize,
    /// The colour of all of them, for what is paintable.
    pub colour: Option<&'static Colour>,
    /// What each of them wears.
    pub worn: Option<Clothing>,
    /// What all of them do.
    pub action: Option<&'static Action>,
}

/// A thing worn, with its colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clothing {
    /// A noun of the category [`Category::Worn`].
    pub noun: &'static Noun,
    /// Its colour, if it is paintable and has one.
    pub colour: Option<&'static Colour>,
}

/// Object number `object` is `relation` object number `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Index into [`Scene::objects`].
    pub object: usize,
    /// Where it is.
    pub relation: Relation,
    /// Index into [`Scene::objects`].
    pub to: usize,
}

impl Scene {
    /// Whether an object of the scene forms a held-out combination with what it wears and the background.
    pub fn is_held_out(&self) -> bool {
        self.objects
            .iter()
            .any(|object| object.worn.is_some_and(|worn| held_out(object.noun, worn.noun, self.background)))
    }

    /// Whether actors, things worn and the background could be combined into something held out.
    pub(crate) fn touches_held_out(&self) -> bool {
        let creatures: Vec<&Noun> = self.objects.iter().map(|o| o.noun).filter(|noun| noun.can_act()).collect();
        let worn: Vec<&Noun> = self.objects.iter().filter_map(|o| o.worn.map(|worn| worn.noun)).collect();
        any_held_out(&creatures, &worn, &[self.background])
    }
}

impl Object {
    /// One of `noun`, without anything special.
    pub fn one(noun: &'static Noun) -> Self {
        Self { noun, count: 1, colour: None, worn: None, action: None }
    }
}

/// The scene of `key`: the first attempt that fulfils the demand. One attempt in two to thirty does.
pub(crate) fn draw(key: Key, demand: Demand) -> Scene {
    // Whether the subject is dressed is decided once: deciding anew after a refusal would strip the training split.
    let dressed = demand == Demand::HeldOut || key.named("dressed").draws().percent(45);
    let mut attempt = 0;
    loop {
        let scene = attempt_scene(&mut key.with(attempt).draws(), dressed);
        let fits = match demand {
            Demand::Seen => !scene.touches_held_out(),
            Demand::HeldOut => scene.is_held_out(),
        };
        if fits {
            return scene;
        }
        attempt += 1;
    }
}

fn attempt_scene(draws: &mut Draws, dressed: bool) -> Scene {
    let subject = subject(draws, dressed);
    let background = background(draws, subject.noun);
    let mut scene = Scene { background, objects: vec![subject], placements: Vec::new() };

    for _ in 0..draws.below(3) {
        let object = other(draws);
        if scene.objects.iter().all(|earlier| earlier.noun != object.noun) {
            scene.objects.push(object);
        }
    }
    // A chain: the first is placed by the second, the third by one of both. It can always be drawn.
    if let [subject, second, ..] = &scene.objects[..] {
        scene.placements.push(Placement { object: 0, relation: relation(draws, subject, second), to: 1 });
    }
    if let [subject, second, third] = &scene.objects[..] {
        let to = draws.below(2);
        let relation = relation(draws, third, if to == 0 { subject } else { second });
        scene.placements.push(Placement { object: 2, relation, to });
    }
    scene
}

fn subject(draws: &mut Draws, dressed: bool) -> Object {
    if dressed {
        let noun = draws.pick(crate::lexicon::wearers());
        let worn = Some(clothing(draws));
        return Object { worn, action: action(draws), ..Object::one(noun) };
    }
    if draws.percent(80) {
        let noun = draws.pick(actors());
        Object { count: few(draws), action: action(draws), ..Object::one(noun) }
    } else {
        prop(draws)
    }
}

fn other(draws: &mut Draws) -> Object {
    if draws.percent(25) {
        let noun = draws.pick(actors());
        Object { count: few(draws), action: action(draws), ..Object::one(noun) }
    } else {
        prop(draws)
    }
}

fn prop(draws: &mut Draws) -> Object {
    let noun = draws.pick(props());
    let colour = if noun.paintable && draws.percent(80) { Some(draws.pick(COLOURS)) } else { None };
    let count = if noun.size == Size::Large { few(draws) } else { draws.between(1, 5) };
    Object { count, colour, ..Object::one(noun) }
}

/// A thing worn, coloured where it may be.
pub(crate) fn clothing(draws: &mut Draws) -> Clothing {
    let noun = draws.pick(WORN);
    Clothing { noun, colour: if noun.paintable { Some(draws.pick(COLOURS)) } else { None } }
}

fn action(draws: &mut Draws) -> Option<&'static Action> {
    if draws.percent(60) { Some(draws.pick(ACTIONS)) } else { None }
}

/// One in two of three cases, else two to four.
fn few(draws: &mut Draws) -> usize {
    if draws.percent(67) { 1 } else { draws.between(2, 4) }
}

/// Half of the time a place where the noun is at home, else any.
fn background(draws: &mut Draws, noun: &Noun) -> &'static Background {
    let at_home: Vec<&Background> = BACKGROUNDS.iter().filter(|b| noun.lives_in(b.biome)).collect();
    if at_home.is_empty() || draws.percent(50) { draws.pick(BACKGROUNDS) } else { at_home[draws.below(at_home.len())] }
}

/// A relation that `object` can have to `to`.
fn relation(draws: &mut Draws, object: &Object, to: &Object) -> Relation {
    let sky = |object: &Object| object.noun.category == Category::Sky;
    match (sky(object), sky(to)) {
        (true, false) => return Relation::Above,
        (false, true) => return Relation::Below,
        (true, true) | (false, false) => {}
    }
    let can_carry = to.count == 1 && to.noun.size >= object.noun.size && to.noun.size > Size::Small && !sky(to);
    match *draws.pick(RELATIONS) {
        Relation::On if !can_carry => Relation::NextTo,
        relation => relation,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Split, World};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn training_never_holds_a_held_out_combination(seed: u64, index: u64) {
            let scene = World::new(seed).scene(Split::Train, index);
            prop_assert!(!scene.is_held_out() && !scene.touches_held_out(), "{}", scene.caption_en());
        }

        #[test]
        fn validation_alternates(seed: u64, index: u64) {
            let scene = World::new(seed).scene(Split::Validation, index);
            prop_assert_eq!(scene.is_held_out(), index % 2 == 0, "{}", scene.caption_en());
        }

        #[test]
        fn scenes_are_well_formed(seed: u64, index: u64) {
            let scene = World::new(seed).scene(Split::Train, index);
            prop_assert!((1..=3).contains(&scene.objects.len()));
            prop_assert_eq!(scene.placements.len(), scene.objects.len() - 1);
            for object in &scene.objects {
                prop_assert!((1..=5).contains(&object.count));
                prop_assert!(object.colour.is_none() || object.noun.paintable);
                prop_assert!(object.worn.is_none() || object.noun.can_wear);
                prop_assert!(object.action.is_none() || object.noun.can_act());
            }
        }
    }

    /// Refusing attempts must not make dressed subjects rarer in training.
    #[test]
    fn about_half_are_dressed() {
        let world = World::new(0);
        let dressed = (0..2000).filter(|&i| world.scene(Split::Train, i).objects[0].worn.is_some()).count();
        assert!((800..1000).contains(&dressed), "{dressed} of 2000");
    }
}
