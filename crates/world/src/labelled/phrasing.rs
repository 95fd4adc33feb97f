//! A scene in English, in many ways.

use std::ops::Range;

use crate::{
    grammar::{a, number},
    lexicon::{Action, Background, Noun, Relation, WornOn},
    rng::Draws,
    scene::{Clothing, Object, Placement, Scene},
};

/// Sentences about a scene.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phrasing {
    pub(super) text: String,
    /// The words that name something, in order.
    pub(super) names: Vec<Name>,
}

/// Words of a text that name something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    /// The place in bytes.
    pub(super) range: Range<usize>,
    pub(super) names: Named,
}

/// What words name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Who acts.
    Creature,
    /// Whatever else is there, things worn among them.
    Object,
    /// Where it is.
    Place,
}

/// How the first sentence is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// "A cat is singing on the moon, to the left of a car."
    Plain,
    /// "On the moon, a cat is singing to the left of a car."
    PlaceFirst,
    /// "There is a singing cat on the moon, to the left of a car."
    ThereIs,
    /// "The picture shows a singing cat on the moon, to the left of a car."
    Shown,
    /// "A car is to the right of a singing cat on the moon."
    Inverse,
}

impl Form {
    /// One of the forms that suit `scene`, not `but`.
    pub(super) fn draw(scene: &Scene, but: Option<Self>, draws: &mut Draws) -> Self {
        let all = [Self::Plain, Self::PlaceFirst, Self::ThereIs, Self::Shown, Self::Inverse];
        let suits = |form: &Self| Some(*form) != but && (*form != Self::Inverse || beside(scene, 0).is_some());
        let forms: Vec<Self> = all.into_iter().filter(suits).collect();
        *draws.pick(&forms)
    }
}

/// `scene` in words; the first sentence has the form given.
pub(super) fn phrase(scene: &Scene, form: Form, draws: &mut Draws) -> Phrasing {
    let mut pen = Pen { draws, text: String::new(), names: Vec::new() };
    if let Some(subject) = scene.objects.first() {
        pen.first_sentence(scene, subject, form);
    }
    for (number, object) in scene.objects.iter().enumerate().skip(1) {
        // What the first object is placed by has been named with it.
        if !scene.placements.iter().any(|p| p.object == 0 && p.to == number) {
            pen.further_sentence(object, beside(scene, number));
        }
    }
    Phrasing { text: pen.text, names: pen.names }
}

/// What object number `number` is placed by.
fn beside(scene: &Scene, number: usize) -> Option<(Relation, &Object)> {
    let Placement { relation, to, .. } = scene.placements.iter().find(|p| p.object == number)?;
    Some((*relation, &scene.objects[*to]))
}

struct Pen<'a> {
    draws: &'a mut Draws,
    text: String,
    names: Vec<Name>,
}

impl Pen<'_> {
    fn first_sentence(&mut self, scene: &Scene, subject: &Object, form: Form) {
        let (place, other) = (scene.background, beside(scene, 0));
        let start = self.begin();
        match (form, other) {
            (Form::Inverse, Some((relation, other))) => {
                self.object(other, other.action);
                self.say(&format!(" {} ", is(other)));
                self.relation(inverse(relation));
                self.object(subject, subject.action);
                self.say(" ");
                self.place(place);
            }
            (Form::PlaceFirst, other) => {
                self.place(place);
                self.say(", ");
                match subject.action {
                    Some(action) => {
                        self.object(subject, None);
                        self.say(&format!(" {} {}", is(subject), action.participle));
                    }
                    None => {
                        self.say(&format!("there {} ", is(subject)));
                        self.object(subject, None);
                    }
                }
                self.other(" ", other);
            }
            (Form::ThereIs | Form::Shown, other) => {
                let shows = ["the picture shows ", "you can see ", "in this picture there is "];
                match form {
                    Form::Shown => {
                        let chosen = *self.draws.pick(&shows[..if subject.count == 1 { 3 } else { 2 }]);
                        self.say(chosen);
                    }
                    _ => self.say(&format!("there {} ", is(subject))),
                }
                self.object(subject, subject.action);
                self.say(" ");
                self.place(place);
                self.other(", ", other);
            }
            (Form::Plain | Form::Inverse, other) => {
                self.object(subject, None);
                self.say(&format!(" {} ", is(subject)));
                if let Some(action) = subject.action {
                    self.say(&format!("{} ", action.participle));
                }
                self.place(place);
                self.other(", ", other);
            }
        }
        self.end(start);
    }

    fn further_sentence(&mut self, object: &Object, beside: Option<(Relation, &Object)>) {
        let start = self.begin();
        match (beside, self.draws.below(2)) {
            (Some((relation, other)), 0) => {
                self.object(object, object.action);
                self.say(&format!(" {} ", is(object)));
                self.relation(relation);
                self.say("the ");
                self.name(named(other.noun), other.noun.form(other.count));
            }
            (Some((relation, other)), _) => {
                self.relation(relation);
                self.say("the ");
                self.name(named(other.noun), other.noun.form(other.count));
                self.say(&format!(" there {} ", is(object)));
                self.object(object, object.action);
            }
            (None, 0) => {
                self.object(object, object.action);
                self.say(&format!(" {} there too", is(object)));
            }
            (None, _) => {
                self.say(&format!("there {} also ", is(object)));
                self.object(object, object.action);
            }
        }
        self.end(start);
    }

    /// ", to the left of three red balloons"
    fn other(&mut self, before: &str, other: Option<(Relation, &Object)>) {
        if let Some((relation, other)) = other {
            self.say(before);
            self.relation(relation);
            self.object(other, other.action);
        }
    }

    /// "a singing cat in a red coat", "two frogs"
    fn object(&mut self, object: &Object, action: Option<&Action>) {
        let mut before = String::new();
        if let Some(colour) = object.colour {
            before += &format!("{} ", colour.en);
        }
        if let Some(action) = action {
            before += &format!("{} ", action.participle);
        }
        let noun = object.noun.form(object.count);
        self.phrase(object.count, &before, named(object.noun), noun, false);
        if let Some(worn) = &object.worn {
            self.worn(worn, object.count);
        }
    }

    fn worn(&mut self, worn: &Clothing, count: usize) {
        let links: &[&str] = match worn.noun.worn_on {
            Some(WornOn::Body | WornOn::Limbs) => &["in", "wearing", "dressed in"],
            Some(WornOn::Back) => &["with", "carrying"],
            Some(WornOn::Head | WornOn::Face | WornOn::Neck) | None => &["wearing", "with"],
        };
        let link = *self.draws.pick(links);
        self.say(&format!(" {link} "));
        let before = worn.colour.map(|colour| format!("{} ", colour.en)).unwrap_or_default();
        let plural = count > 1 || worn.noun.pair;
        self.phrase(1, &before, Named::Object, worn.noun.form(count), plural);
    }

    /// Article or number, adjectives, noun; `bare` leaves the article out.
    fn phrase(&mut self, count: usize, before: &str, names: Named, noun: &str, bare: bool) {
        let whole = format!("{before}{noun}");
        let whole = match (count, bare) {
            (_, true) => whole,
            (1, false) => a(&whole),
            (count, false) => format!("{} {whole}", number(count)),
        };
        self.say(&whole[..whole.len() - noun.len()]);
        self.name(names, noun);
    }

    fn place(&mut self, place: &Background) {
        self.say(&format!("{} the ", place.preposition));
        self.name(Named::Place, place.name);
    }

    /// "left of "
    fn relation(&mut self, relation: Relation) {
        let words: &[&str] = match relation {
            Relation::LeftOf => &["to the left of ", "on the left of "],
            Relation::RightOf => &["to the right of ", "on the right of "],
            Relation::Above => &["above ", "over "],
            Relation::Below => &["below ", "under "],
            Relation::On => &["on top of ", "on "],
            Relation::NextTo => &["next to ", "beside "],
        };
        let words = *self.draws.pick(words);
        self.say(words);
    }

    fn name(&mut self, names: Named, words: &str) {
        let start = self.text.len();
        self.say(words);
        self.names.push(Name { range: start..self.text.len(), names });
    }

    fn say(&mut self, words: &str) {
        self.text.push_str(words);
    }

    fn begin(&mut self) -> usize {
        if !self.text.is_empty() {
            self.say(" ");
        }
        self.text.len()
    }

    /// Ends the sentence that starts at byte `start`, which is ASCII like every word of the lexicon.
    fn end(&mut self, start: usize) {
        self.say(".");
        if let Some(first) = self.text.get_mut(start..=start) {
            first.make_ascii_uppercase();
        }
    }
}

fn named(noun: &Noun) -> Named {
    if noun.can_act() { Named::Creature } else { Named::Object }
}

/// The relation of the second to the first.
fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::LeftOf => Relation::RightOf,
        Relation::RightOf => Relation::LeftOf,
        Relation::Above => Relation::Below,
        Relation::Below => Relation::Above,
        Relation::On => Relation::Below,
        Relation::NextTo => Relation::NextTo,
    }
}

fn is(object: &Object) -> &'static str {
    if object.count == 1 { "is" } else { "are" }
}
