//! Words with tags.

use super::phrasing::{Form, Named, Phrasing, phrase};
use crate::{rng::Key, scene::Scene};

/// Words and punctuation marks with tags in the scheme IOB2 (BIO) for `CREATURE`, `OBJECT` and `PLACE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedSentence {
    /// The words; full stops and commas are words of their own.
    pub words: Vec<String>,
    /// As many tags: `O`, `B-CREATURE`, `I-PLACE` …
    pub tags: Vec<&'static str>,
}

pub(super) fn draw(scene: &Scene, key: Key) -> TaggedSentence {
    let draws = &mut key.draws();
    let form = Form::draw(scene, None, draws);
    tag(&phrase(scene, form, draws))
}

fn tag(Phrasing { text, names }: &Phrasing) -> TaggedSentence {
    let (mut words, mut tags) = (Vec::new(), Vec::new());
    let mut names = names.iter().peekable();
    let mut start = 0;
    for piece in text.split_inclusive(' ') {
        let word = piece.trim_end_matches([' ', '.', ',']);
        while names.next_if(|name| name.range.end <= start).is_some() {}
        tags.push(match names.peek() {
            Some(name) if name.range.start == start => beginning(name.names),
            Some(name) if name.range.contains(&start) => inside(name.names),
            _ => "O",
        });
        words.push(word.to_owned());
        for mark in piece[word.len()..].chars().filter(|c| *c != ' ') {
            words.push(mark.to_string());
            tags.push("O");
        }
        start += piece.len();
    }
    TaggedSentence { words, tags }
}

fn beginning(names: Named) -> &'static str {
    match names {
        Named::Creature => "B-CREATURE",
        Named::Object => "B-OBJECT",
        Named::Place => "B-PLACE",
    }
}

fn inside(names: Named) -> &'static str {
    match names {
        Named::Creature => "I-CREATURE",
        Named::Object => "I-OBJECT",
        Named::Place => "I-PLACE",
    }
}
