//! Sentences with a class.

use super::phrasing::{Form, phrase};
use crate::{lexicon::Family, rng::Key, scene::Scene};

/// Sentences about a scene, with what kind of being it is about.
///
/// The subject is not the only being or thing that is named, and the label is not among the words: a model must find the
/// subject and know what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledSentence {
    /// One to three sentences.
    pub text: String,
    /// The family of the scene's first object.
    pub label: Family,
}

pub(super) fn draw(scene: &Scene, key: Key) -> LabelledSentence {
    let draws = &mut key.draws();
    // Of "three crayons are under a dove", nobody could say whom it is about.
    let form = Form::draw(scene, Some(Form::Inverse), draws);
    // A scene has at least one object.
    let label = scene.objects.first().map_or(Family::Object, |subject| subject.noun.family());
    LabelledSentence { text: phrase(scene, form, draws).text, label }
}
