//! Layers: operations with their parameters.
//!
//! A layer is made by a [`Builder`], which names its parameters and takes their weights from a [`Source`]: random
//! numbers or a checkpoint. What it holds are ids; weights and everything that changes come with the context.

mod attention;
mod block;
mod builder;
mod conv;
mod disentangled;
mod embedding;
mod linear;
mod mlp;
mod norm;
mod positioned;
mod rotary;

pub use attention::{Attention, AttentionInput, AttentionSpec, Span};
pub use block::{Block, PostNormBlock, PreNormBlock, ScaledBlock};
pub use builder::{Builder, Init, NnError, Random, Result, Source};
pub use conv::{BatchNorm, Conv2d, ConvSpec};
pub use disentangled::{Buckets, DisentangledAttention, Distances};
pub use embedding::Embedding;
pub use linear::{Linear, LinearSpec};
pub use mlp::Mlp;
pub use norm::Norm;
pub use positioned::{Positioned, PositionedAttention};
pub use rotary::{Rope, RopeKind, RopeParameters, Rotation};
