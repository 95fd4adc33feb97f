//! What a model is trained to do.

use bedstone_data::sampler::{Batch, IGNORE as NONE};
use bedstone_models::{Inputs, Logits};
use bedstone_tensor::{IGNORE, Tensor};

/// A task: how its batches become inputs of a model.
pub(crate) trait Objective: Send + Sync {
    /// Labels that count in a batch: what losses and gradients are divided by, whatever the micro-batches.
    fn weight(&self, batch: &Batch) -> u64;

    /// The inputs of samples `from..to` of a batch, with the loss divided by `divisor`.
    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs;

    /// Parameters that take no part, by name: they may go without a gradient.
    fn leaves_out(&self, _name: &str) -> bool {
        false
    }
}

/// Predicting the next token.
pub(crate) struct CausalLm {
    /// Tokens a sequence.
    pub(crate) context: usize,
}

impl Objective for CausalLm {
    fn weight(&self, batch: &Batch) -> u64 {
        batch.labels.iter().filter(|&&l| l != NONE).count() as u64
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let (t, places) = (self.context, samples.start * self.context..samples.end * self.context);
        let shape = [samples.len(), t];
        let ids: Vec<i32> = batch.ids[places.clone()].iter().map(|&id| id as i32).collect();
        let labels: Vec<i32> =
            batch.labels[places].iter().map(|&l| if l == NONE { IGNORE } else { l as i32 }).collect();
        let mut inputs = Inputs::new("input_ids", Tensor::from_slice(&ids, shape))
            .with("targets", Tensor::from_slice(&labels, shape));
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs
    }
}
