//! The loss on a set of tokens.

use bedstone_data::{sampler::InOrder, shards::TokenSet};
use bedstone_infer::Runtime;
use bedstone_models::Model;
use bedstone_tensor::Ctx;
use serde::Serialize;

use crate::{
    Result,
    objective::{CausalLm, Objective},
};

/// How well a language model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean of `-ln p(token)`.
    pub loss: f64,
    /// `e^loss`.
    pub perplexity: f64,
    /// Bits a byte of text: comparable between tokenizers.
    pub bits_per_byte: f64,
    /// Tokens predicted.
    pub tokens: u64,
}

/// Predicts the tokens of `set` in windows of `context`, `batch` at a time; the first `limit` of them if it is not 0.
pub fn evaluate(
    model: &Model,
    runtime: Runtime,
    set: &TokenSet,
    context: usize,
    batch: usize,
    limit: u64,
) -> Result<Evaluation> {
    let objective = CausalLm { context };
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in InOrder::new(set, context, batch)? {
        let n = batch.samples.len();
        let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
        let out = model.forward(&objective.inputs(&batch, 0..n, 1.0), &mut ctx)?;
        sum += out.need("loss")?.item()? as f64;
        tokens += objective.weight(&batch);
        if limit > 0 && tokens >= limit {
            break;
        }
    }
    let loss = sum / tokens.max(1) as f64;
    // Of a loss that is not finite nothing else can be said; callers see it in `loss`.
    // Bytes of the part that was evaluated, by its share of the tokens.
    let bytes = set.bytes() as f64 * tokens as f64 / set.len().max(1) as f64;
    let bits_per_byte = sum / std::f64::consts::LN_2 / bytes.max(1.0);
    Ok(Evaluation { loss, perplexity: loss.exp(), bits_per_byte, tokens })
}
