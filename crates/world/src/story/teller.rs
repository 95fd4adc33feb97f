//! The hand that writes: chooses among sentences, keeps text and scenes.

use std::fmt::{self, Write as _};

use super::{Story, cast::Cast};
use crate::{
    grammar::push_sentences,
    labelled::{Answer, Question},
    lexicon::{COLOURS, Colour, Noun},
    rng::Draws,
    scene::{Object, Scene},
};

/// A story in the making.
pub(super) struct Teller {
    pub(super) draws: Draws,
    text: String,
    sentences: String,
    scenes: Vec<Scene>,
    /// Where the sentences told last begin.
    last: usize,
    facts: Vec<Question>,
}

/// Tells one of several versions of the same thing, each with equal chance. Versions are format strings over
/// variables in scope; capital letters at their beginnings come by themselves.
macro_rules! tell {
    ($teller:expr, $($version:literal),+ $(,)?) => {{
        let mut left = $teller.draws.below([$($version),+].len());
        $(
            if left == 0 {
                $teller.say(format_args!($version));
            }
            left = left.wrapping_sub(1);
        )+
        let _ = left;
    }};
}
pub(super) use tell;

impl Teller {
    pub(super) fn new(draws: Draws) -> Self {
        let (text, sentences) = (String::with_capacity(1024), String::new());
        Self { draws, text, sentences, scenes: Vec::new(), last: 0, facts: Vec::new() }
    }

    /// Appends sentences.
    pub(super) fn say(&mut self, sentences: fmt::Arguments<'_>) {
        self.sentences.clear();
        // Writing to a string cannot fail.
        let _ = self.sentences.write_fmt(sentences);
        if self.sentences.is_empty() {
            return;
        }
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push(' ');
        }
        self.last = self.text.len();
        push_sentences(&mut self.text, &self.sentences);
    }

    /// Notes a question that the text now answers: in the sentences told last, or else before them. Versions of the
    /// story that do not say it have no such question.
    pub(super) fn fact(&mut self, question: String, answer: &str) {
        let found = find(&self.text[self.last..], answer).map(|at| self.last + at).or_else(|| find(&self.text, answer));
        if let Some(at) = found {
            let text = self.text[at..at + answer.len()].to_owned();
            let start = self.text[..at].chars().count();
            self.facts.push(Question { question, answer: Some(Answer { text, start }) });
        }
    }

    /// "the garden", where the story is now.
    pub(super) fn here(&self) -> String {
        self.scenes.last().map_or_else(String::new, |scene| format!("the {}", scene.background.name))
    }

    /// Whether the story is short enough for a sentence that could be left out.
    pub(super) fn has_room(&self) -> bool {
        self.text.split_whitespace().count() < 120
    }

    /// Moves to place number `place`: a new paragraph and a new scene with the hero in it.
    pub(super) fn go(&mut self, cast: &Cast, place: usize) {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.scenes.push(Scene {
            background: cast.places[place],
            objects: vec![cast.hero.object()],
            placements: Vec::new(),
        });
    }

    /// Puts an object into the present scene, once.
    pub(super) fn show(&mut self, object: Object) {
        if let Some(scene) = self.scenes.last_mut()
            && scene.objects.iter().all(|present| present.noun != object.noun)
        {
            scene.objects.push(object);
        }
    }

    /// Puts `count` of a noun into the present scene.
    pub(super) fn show_some(&mut self, noun: &'static Noun, count: usize, colour: Option<&'static Colour>) {
        self.show(Object { count, colour, ..Object::one(noun) });
    }

    /// Two different colours.
    pub(super) fn two_colours(&mut self) -> [&'static Colour; 2] {
        let first = self.draws.below(COLOURS.len());
        let second = (first + self.draws.between(1, COLOURS.len() - 1)) % COLOURS.len();
        [&COLOURS[first], &COLOURS[second]]
    }

    /// `N` different nouns out of `nouns`, which must hold more.
    pub(super) fn different<const N: usize>(&mut self, nouns: &[&'static Noun]) -> [&'static Noun; N] {
        let mut at = self.draws.below(nouns.len());
        let step = nouns.len() / N;
        [(); N].map(|()| {
            let noun = nouns[at];
            at = (at + self.draws.between(1, step)) % nouns.len();
            noun
        })
    }

    pub(super) fn finish(self, cast: &Cast) -> Story {
        let names = [cast.hero.name, cast.friend.name];
        Story { text: self.text, scenes: self.scenes, facts: self.facts, names }
    }
}

/// The first place where `text` has these words; capital letters make no difference.
fn find(text: &str, words: &str) -> Option<usize> {
    let (bytes, length) = (text.as_bytes(), words.len());
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte >= 0x80;
    (0..(text.len() + 1).saturating_sub(length)).find(|&at| {
        bytes[at..at + length].eq_ignore_ascii_case(words.as_bytes())
            && !at.checked_sub(1).is_some_and(|before| inner(&bytes[before]))
            && !bytes.get(at + length).is_some_and(inner)
    })
}
