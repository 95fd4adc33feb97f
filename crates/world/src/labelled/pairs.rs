//! Captions that mean the same, and captions that nearly do.

use super::phrasing::{Form, phrase};
use crate::{
    lexicon::{ACTIONS, BACKGROUNDS, COLOURS, Noun, Relation},
    rng::{Draws, Key},
    scene::Scene,
    split::Demand,
};

/// Two captions of one scene, and one of a scene that differs in a single thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionPair {
    /// A caption.
    pub anchor: String,
    /// The same scene in other words.
    pub positive: String,
    /// Another scene: another place, colour, number, action, creature or relation.
    pub negative: String,
}

pub(super) fn draw(scene: &Scene, demand: Demand, key: Key) -> CaptionPair {
    let draws = &mut key.draws();
    let form = Form::draw(scene, None, draws);
    let other_form = Form::draw(scene, Some(form), draws);
    let anchor = phrase(scene, form, draws).text;
    let positive = phrase(scene, other_form, draws).text;
    let other = another(scene, demand, key.named("negative"));
    let form = Form::draw(&other, None, draws);
    CaptionPair { anchor, positive, negative: phrase(&other, form, draws).text }
}

/// The scene with one thing changed: the first attempt that changes something and shows nothing that is held out.
fn another(scene: &Scene, demand: Demand, key: Key) -> Scene {
    let mut attempt = 0;
    loop {
        let mut other = scene.clone();
        change(&mut other, &mut key.with(attempt).draws());
        if other != *scene && (demand == Demand::HeldOut || !other.touches_held_out()) {
            return other;
        }
        attempt += 1;
    }
}

fn change(scene: &mut Scene, draws: &mut Draws) {
    let number = draws.below(scene.objects.len());
    let nouns: Vec<&Noun> = scene.objects.iter().map(|object| object.noun).collect();
    let object = &mut scene.objects[number];
    match draws.below(6) {
        0 => scene.background = draws.pick(BACKGROUNDS),
        1 => {
            let noun = draws.pick(object.noun.category.nouns());
            let fits = !nouns.contains(&noun) && (object.worn.is_none() || noun.can_wear);
            if fits && (object.colour.is_none() || noun.paintable) {
                object.noun = noun;
            }
        }
        2 => object.count = draws.between(1, 5),
        3 => match (&mut object.colour, &mut object.worn) {
            (Some(colour), _) => *colour = draws.pick(COLOURS),
            (None, Some(worn)) if worn.colour.is_some() => worn.colour = Some(draws.pick(COLOURS)),
            _ => {}
        },
        4 if object.action.is_some() => object.action = Some(draws.pick(ACTIONS)),
        5 => {
            // What is on or next to something may be above or left of it, too: only these exclude each other.
            let sides = [Relation::LeftOf, Relation::RightOf, Relation::Above, Relation::Below];
            if let Some(placement) = scene.placements.first_mut().filter(|p| sides.contains(&p.relation)) {
                placement.relation = *draws.pick(&sides);
            }
        }
        _ => {}
    }
}
