//! Architectures, one file each, and Hugging Face checkpoints.
//!
//! A new architecture is a file with its configuration, its layers and its `forward`, and a line in [`ARCHITECTURES`];
//! the tests of the zoo cover it from then on.

pub mod adapter;
mod albert;
mod bert;
mod causal;
pub mod checkpoint;
mod deberta_v2;
mod decoder;
mod deit;
mod detection;
mod detr;
mod dinov2;
mod distilbert;
mod electra;
mod encoder;
mod error;
mod gemma3;
mod gpt2;
mod head;
mod llama;
mod load;
mod mistral;
mod model;
mod qwen2;
mod qwen3;
mod resnet;
mod roberta;
mod transfer;
mod vision;
mod vit;
mod vit_mae;
mod yolos;

pub use detection::covered_patches;
pub use error::ModelError;
pub use load::{LoadReport, config, load, load_head, load_with, save};
pub use model::{ImageInfo, Info, Inputs, Logits, MaskedInfo, Model, Network, Outputs};
pub use transfer::{token_grid, transfer};

use adapter::Adapter;
use bedstone_nn::Builder;
use checkpoint::ConfigFile;

/// An architecture that is known here.
#[derive(Debug)]
pub struct Architecture {
    /// As in `config.json`.
    pub model_type: &'static str,
    /// The classes of `transformers` that save such checkpoints, and what each is for; the first one where a
    /// configuration does not say.
    pub classes: &'static [(&'static str, Class)],
    /// What names begin with, which checkpoints of the base model lack.
    pub base_prefix: &'static str,
    /// Makes its layers.
    pub build: Build,
    /// A configuration for tests, as JSON.
    pub tiny: &'static str,
}

/// What a network's outputs are for: its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Predicting the next token.
    CausalLm,
    /// States, and where there is one a summary.
    Base,
    /// Predicting masked tokens.
    MaskedLm,
    /// Masked tokens, and how two texts follow each other.
    PreTraining,
    /// Whether the second text follows the first.
    NextSentence,
    /// Finding replaced tokens.
    ReplacedTokens,
    /// Labels of a text.
    SequenceClassification,
    /// Labels of tokens.
    TokenClassification,
    /// The place of an answer.
    QuestionAnswering,
    /// Labels of a picture.
    ImageClassification,
    /// Labels of a picture, learned from a teacher beside them.
    DistilledImageClassification,
    /// Guessing hidden patches of a picture.
    MaskedImage,
    /// Boxes of objects in a picture, with their classes.
    ObjectDetection,
}

/// Makes the layers of a configuration.
pub type Build = fn(&ConfigFile, Class, Builder<'_>) -> Result<Box<dyn Network>, ModelError>;

/// All architectures.
pub const ARCHITECTURES: &[Architecture] = &[
    gpt2::ARCHITECTURE,
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    gemma3::ARCHITECTURE,
    bert::ARCHITECTURE,
    roberta::ARCHITECTURE,
    roberta::XLM,
    distilbert::ARCHITECTURE,
    electra::ARCHITECTURE,
    albert::ARCHITECTURE,
    deberta_v2::ARCHITECTURE,
    vit::ARCHITECTURE,
    deit::ARCHITECTURE,
    dinov2::ARCHITECTURE,
    vit_mae::ARCHITECTURE,
    yolos::ARCHITECTURE,
    detr::ARCHITECTURE,
    resnet::ARCHITECTURE,
];

/// Architectures whose body is that of another one, which has heads that they lack: a masked autoencoder's encoder is a
/// ViT.
const BODIES: &[(&str, &str)] = &[(vit_mae::ARCHITECTURE.model_type, vit::ARCHITECTURE.model_type)];

impl Architecture {
    /// By its `model_type`.
    pub fn by_model_type(model_type: &str) -> Option<&'static Architecture> {
        ARCHITECTURES.iter().find(|a| a.model_type == model_type)
    }

    /// The one that a configuration names, whatever it is for.
    pub fn of_type(config: &ConfigFile) -> Result<&'static Architecture, ModelError> {
        let model_type = config.model_type()?;
        let unknown = || ModelError::Unknown { path: config.path().to_owned(), model_type: model_type.to_owned() };
        Self::by_model_type(model_type).ok_or_else(unknown)
    }

    /// The one that a configuration names, and what it is for.
    pub fn of(config: &ConfigFile) -> Result<(&'static Architecture, Class), ModelError> {
        let architecture = Self::of_type(config)?;
        let classes = config.architectures()?;
        if let Some((_, class)) = architecture.classes.iter().find(|(name, _)| classes.contains(name)) {
            return Ok((architecture, *class));
        }
        // A checkpoint with another head has weights that this one would leave out in silence.
        let base = |class: &str| class.ends_with("Model") && !class.ends_with("HeadModel");
        match classes.iter().find(|c| !base(c)) {
            Some(class) => Err(ModelError::UnknownClass {
                path: config.path().to_owned(),
                class: (*class).to_owned(),
                wanted: architecture.classes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            }),
            None => Ok((architecture, architecture.classes[0].1)),
        }
    }

    /// The architecture that a body of this one has with the head of `class`: itself, or one with the same body.
    pub fn with_head(&'static self, class: Class) -> Option<&'static Architecture> {
        let other = || BODIES.iter().find(|(body, _)| *body == self.model_type);
        let other = || Self::by_model_type(other()?.1);
        [Some(self), other()].into_iter().flatten().find(|a| a.class_name(class).is_some())
    }

    /// Whether its models take pictures alone.
    pub fn takes_pictures(&self) -> bool {
        let of_pictures = [
            Class::ImageClassification,
            Class::DistilledImageClassification,
            Class::MaskedImage,
            Class::ObjectDetection,
        ];
        self.classes.iter().any(|(_, class)| of_pictures.contains(class))
    }

    /// The class of `transformers` for a use.
    pub fn class_name(&self, class: Class) -> Option<&'static str> {
        self.classes.iter().find(|(_, c)| *c == class).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod zoo;
