//! Data with labels: sentences with a class, words with tags, questions on stories, captions that mean the same.
//!
//! ```text
//! phrasing.rs  a scene in words, in many ways; remembers which words name what
//! sentences.rs who the sentence is about
//! tags.rs      which words name creatures, objects and places
//! pairs.rs     two phrasings of one scene, and one of another
//! questions.rs what a story tells, and what it does not
//! ```

mod pairs;
mod phrasing;
mod questions;
mod sentences;
mod tags;

pub use pairs::CaptionPair;
pub use questions::{Answer, Question, StoryQuestions};
pub use sentences::LabelledSentence;
pub use tags::TaggedSentence;

use crate::{Split, World, rng::Key};

impl World {
    /// Sentence number `index` of `split`, about scene number `index`, with its label.
    pub fn labelled_sentence(&self, split: Split, index: u64) -> LabelledSentence {
        sentences::draw(&self.scene(split, index), self.labelled("sentence", split, index))
    }

    /// Sentence number `index` of `split`, about scene number `index`, with a tag for every word.
    pub fn tagged_sentence(&self, split: Split, index: u64) -> TaggedSentence {
        tags::draw(&self.scene(split, index), self.labelled("tags", split, index))
    }

    /// Two phrasings of scene number `index` of `split`, and one of a scene that differs in one thing.
    pub fn caption_pair(&self, split: Split, index: u64) -> CaptionPair {
        let (scene, demand) = (self.scene(split, index), split.demand(index));
        pairs::draw(&scene, demand, self.labelled("pair", split, index))
    }

    /// Story number `index` of `split` with questions on it.
    pub fn story_questions(&self, split: Split, index: u64) -> StoryQuestions {
        questions::draw(self.story(split, index), self.labelled("questions", split, index))
    }

    /// The first `count` labelled sentences of `split`.
    pub fn labelled_sentences(&self, split: Split, count: u64) -> impl Iterator<Item = LabelledSentence> + use<> {
        let world = *self;
        (0..count).map(move |index| world.labelled_sentence(split, index))
    }

    /// The first `count` tagged sentences of `split`.
    pub fn tagged_sentences(&self, split: Split, count: u64) -> impl Iterator<Item = TaggedSentence> + use<> {
        let world = *self;
        (0..count).map(move |index| world.tagged_sentence(split, index))
    }

    /// The first `count` caption pairs of `split`.
    pub fn caption_pairs(&self, split: Split, count: u64) -> impl Iterator<Item = CaptionPair> + use<> {
        let world = *self;
        (0..count).map(move |index| world.caption_pair(split, index))
    }

    /// The first `count` stories of `split` with questions on them.
    pub fn questions(&self, split: Split, count: u64) -> impl Iterator<Item = StoryQuestions> + use<> {
        let world = *self;
        (0..count).map(move |index| world.story_questions(split, index))
    }

    fn labelled(&self, task: &str, split: Split, index: u64) -> Key {
        self.key.named("labelled").named(task).with(split.word()).with(index)
    }
}

#[cfg(test)]
mod tests;
