//! A batch of sequences that grow by one id a step.

use bedstone_models::{Inputs, Logits, Model};
use bedstone_tensor::{Cache, Ctx, Tensor};

use super::Runtime;
use crate::{InferError, Result};

/// The sequences, left-padded, and the model's cache of them.
pub(super) struct Decoder<'m> {
    model: &'m Model,
    ctx: Ctx<'m>,
    /// Each padded to the same length.
    pub(super) rows: Vec<Vec<i32>>,
    /// Padding of each.
    pub(super) padding: Vec<usize>,
    /// Length of the prompts, padding included.
    pub(super) width: usize,
    /// Ids that the cache holds.
    seen: usize,
}

impl<'m> Decoder<'m> {
    pub(super) fn new(model: &'m Model, runtime: Runtime, prompts: &[Vec<i32>], pad: i32, total: usize) -> Self {
        let width = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let padding: Vec<usize> = prompts.iter().map(|p| width - p.len()).collect();
        let rows = prompts.iter().zip(&padding).map(|(p, &n)| [&vec![pad; n][..], p].concat()).collect();
        let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
        ctx.cache = Some(Cache::new(total));
        Decoder { model, ctx, rows, padding, width, seen: 0 }
    }

    /// Logits of the next id of each row: `[rows, vocabulary]`.
    pub(super) fn logits(&mut self) -> Result<Tensor> {
        let (b, end) = (self.rows.len(), self.rows[0].len());
        let t = end - self.seen;
        let ids: Vec<i32> = self.rows.iter().flat_map(|r| r[self.seen..].iter().copied()).collect();
        let seen = self.seen;
        // Padding has position 0, as the reference gives it.
        let positions = self.padding.iter().flat_map(|&p| (seen..end).map(move |i| i.saturating_sub(p) as i32));
        let mut inputs = Inputs::new("input_ids", Tensor::from_slice(&ids, [b, t]))
            .with("position_ids", Tensor::from_slice(&positions.collect::<Vec<_>>(), [b, t]));
        inputs.logits = Logits::Last;
        if self.padding.iter().any(|&p| p > 0) {
            let mask: Vec<u8> = self.padding.iter().flat_map(|&p| (0..end).map(move |i| (i >= p) as u8)).collect();
            inputs = inputs.with("attention_mask", Tensor::from_slice(&mask, [b, end]));
        }
        let out = self.model.forward(&inputs, &mut self.ctx)?;
        self.seen = end;
        let logits = out.need("logits")?;
        if let Some(place) = logits.f32s().iter().position(|x| x.is_nan()) {
            let row = place / logits.shape().width();
            return Err(InferError::NotFinite { row, step: end - self.width });
        }
        Ok(logits.reshape([b, logits.shape().width()])?)
    }

    /// Makes row `i` a copy of the present row `order[i]`, cache included.
    pub(super) fn reorder(&mut self, order: &[usize]) -> Result<()> {
        if !order.iter().copied().eq(0..self.rows.len()) {
            self.rows = order.iter().map(|&i| self.rows[i].clone()).collect();
            self.padding = order.iter().map(|&i| self.padding[i]).collect();
            if let Some(cache) = &mut self.ctx.cache {
                cache.reorder(order)?;
            }
        }
        Ok(())
    }
}
