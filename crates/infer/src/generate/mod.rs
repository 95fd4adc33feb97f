//! Continuing sequences of ids.
//!
//! Prompts of a batch are padded on the left, so that all continue at the same place; every step computes one token a
//! sequence with the cache.

mod beam;
mod decoder;
mod processors;
mod sample;

use std::ops::ControlFlow;

use bedstone_models::Model;
use bedstone_tensor::{Isa, Precision};

use crate::{GenerationConfig, InferError, Result};
use decoder::Decoder;

/// How a model is run.
#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// The instructions to use.
    pub isa: Isa,
    /// Of matrix products.
    pub precision: Precision,
}

/// A continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Number of the prompt.
    pub prompt: usize,
    /// The ids added, an end included.
    pub ids: Vec<i32>,
    /// Why it ended.
    pub finish: Finish,
    /// The score of a beam.
    pub score: Option<f32>,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// At an end id.
    Eos,
    /// At the length asked for.
    Length,
    /// By the caller.
    Stopped,
}

impl Finish {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Finish::Eos => "eos",
            Finish::Length => "length",
            Finish::Stopped => "stop",
        }
    }
}

/// Continues each of `prompts`; with beams, each gives `num_return_sequences` results, the best first.
///
/// `on_token(prompt, id)` sees every id as soon as it is chosen, and can end a sequence. Beams are not seen as they grow:
/// there, `ends(ids)` says whether a continuation ends with its last id, as with an end token.
pub fn generate(
    model: &Model,
    runtime: Runtime,
    prompts: &[Vec<i32>],
    config: &GenerationConfig,
    on_token: &mut dyn FnMut(usize, i32) -> ControlFlow<()>,
    ends: &dyn Fn(&[i32]) -> bool,
) -> Result<Vec<Generated>> {
    config.check()?;
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let width = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let total = config.length(width);
    for (row, prompt) in prompts.iter().enumerate() {
        if prompt.is_empty() {
            return Err(InferError::EmptyPrompt { row });
        }
        // Rotary positions go on beyond the trained length; a table of positions ends.
        let limit = model.info().max_length.filter(|_| model.info().positions_end);
        if let Some(limit) = limit.filter(|&limit| prompt.len() + (total - width) > limit) {
            return Err(InferError::TooLong { row, got: prompt.len(), wanted: total - width, limit });
        }
    }
    if total == width {
        let empty = |prompt| Generated { prompt, ids: Vec::new(), finish: Finish::Length, score: None };
        return Ok((0..prompts.len()).map(empty).collect());
    }
    // Padding is masked: its id only has to exist.
    let vocab = model.info().vocab_size;
    let pad = config.pad_token_id.or(config.eos_token_id.first().copied());
    let pad = pad.filter(|&id| usize::try_from(id).is_ok_and(|id| id < vocab)).unwrap_or(0);
    let decoder = Decoder::new(model, runtime, prompts, pad, total);
    if config.num_beams > 1 {
        beam::search(decoder, config, total, ends)
    } else {
        sample::run(decoder, config, total, on_token)
    }
}
