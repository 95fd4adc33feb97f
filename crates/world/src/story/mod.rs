//! Short stories: a few scenes that hang together, told in English.

mod beats;
mod cast;
mod plots;
mod teller;

use crate::{labelled::Question, rng::Key, scene::Scene, split::Demand};
use cast::Cast;
pub(crate) use cast::NAMES;
use teller::Teller;

/// A story of about 60 to 160 words and the scenes it passes through.
///
/// Names, colours, numbers and promises return later in the text, and always rightly: they are what a language model
/// must remember to predict it.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The text; paragraphs are separated by an empty line.
    pub text: String,
    /// What pictures of it would show, in the order of the text.
    pub scenes: Vec<Scene>,
    /// What the text tells, as questions with their answers, in its order.
    pub facts: Vec<Question>,
    /// The names of the hero and the friend.
    pub names: [&'static str; 2],
}

/// The story of `key`.
pub(crate) fn draw(key: Key, demand: Demand) -> Story {
    let cast = Cast::draw(key.named("cast"), demand);
    let mut teller = Teller::new(key.named("text").draws());
    let plot = teller.draws.pick(plots::PLOTS);
    plot(&mut teller, &cast, &cast.words());
    teller.finish(&cast)
}

#[cfg(test)]
mod tests;
