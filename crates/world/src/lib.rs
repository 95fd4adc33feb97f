//! The World: a small invented world that serves as data for every task.
//!
//! A [`World`] is a function from a split and an index to a [`Scene`] or a [`Story`], or to one of either with
//! labels. Nothing is stored and nothing
//! depends on order: row 17 is the same whether or not rows 0 to 16 were made, on every platform.
//!
//! ```
//! use bedstone_world::{Split, World};
//!
//! let world = World::new(0);
//! let scene = world.scene(Split::Train, 17);
//! println!("{}\n{}", scene.caption_en(), scene.caption_zh());
//! for story in world.stories(Split::Validation, 3) {
//!     println!("{story}");
//! }
//! ```
//!
//! Some combinations of creature, thing worn and background never occur in the training split, see [`held_out`].

mod caption;
mod export;
mod grammar;
mod labelled;
pub mod lexicon;
mod picture;
mod rng;
mod scene;
mod split;
mod story;

pub use export::{Counts, Export, ExportError, ExportReport, ExportedFile, Kind, UnknownKind, export};
pub use labelled::{Answer, CaptionPair, LabelledSentence, Question, StoryQuestions, TaggedSentence};
pub use picture::{Classes, Picture, Thing, UnknownClasses};
pub use scene::{Clothing, Object, Placement, Scene};
pub use split::{Split, held_out};
pub use story::Story;

use rng::Key;

/// All scenes and stories that belong to one seed.
#[derive(Clone, Copy, Debug)]
pub struct World {
    key: Key,
}

impl World {
    /// The world of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { key: Key::new(seed) }
    }

    /// Scene number `index` of `split`.
    ///
    /// In the validation split every scene of even index shows a held-out combination and no other does, so that
    /// both halves can be compared at any length.
    pub fn scene(&self, split: Split, index: u64) -> Scene {
        scene::draw(self.key.named("scene").with(split.word()).with(index), split.demand(index))
    }

    /// Story number `index` of `split`; held-out combinations as in [`World::scene`].
    pub fn story(&self, split: Split, index: u64) -> Story {
        story::draw(self.key.named("story").with(split.word()).with(index), split.demand(index))
    }

    /// The text of the first `count` stories of `split`.
    pub fn stories(&self, split: Split, count: u64) -> impl Iterator<Item = String> + use<> {
        let world = *self;
        (0..count).map(move |index| world.story(split, index).text)
    }
}
