//! What a model is trained to do.

use std::{borrow::Borrow, ops::Range};

use bedstone_data::sampler::{Batch, IGNORE as NONE};
use bedstone_models::{Inputs, Logits, Model, Outputs};
use bedstone_tensor::{Ctx, IGNORE, Result as OpResult, Tensor};

/// Names and values of what a loss is made of; those of a batch's parts add up to the batch's.
pub(crate) type LossParts = Vec<(&'static str, f64)>;

/// What is learned from, and what it is made of.
pub(crate) struct Losses {
    pub(crate) loss: Tensor,
    pub(crate) parts: LossParts,
}

impl From<Tensor> for Losses {
    fn from(loss: Tensor) -> Self {
        Losses { loss, parts: LossParts::new() }
    }
}

impl Losses {
    /// What a model's head gives; `names` are those that a log has for its parts, and the model. What there is not is left out.
    fn of(out: &Outputs, names: &[(&'static str, &str)]) -> OpResult<Self> {
        let given = names.iter().filter_map(|(name, output)| Some((*name, out.get(output)?)));
        let parts = given.map(|(name, part)| Ok((name, part.item()?.into()))).collect::<OpResult<_>>()?;
        Ok(Losses { loss: out.need("loss")?.clone(), parts })
    }
}

/// What a model is to learn from one batch.
pub(crate) trait Work: Send + Sync {
    /// Samples of the batch.
    fn samples(&self) -> usize;

    /// What the sum of the batch's losses is divided by, whatever the micro-batches.
    fn divisor(&self) -> f64;

    /// The inputs of some samples, with the loss divided by `divisor`.
    fn inputs(&self, samples: Range<usize>, divisor: f64) -> Inputs;

    /// Sequences that a sample is made of: each draws its own random numbers.
    fn rows_per_sample(&self) -> usize {
        1
    }

    /// What the log calls a part of the loss, and the model.
    fn parts(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The loss of such inputs: what the model's head gives, where it has one for this.
    fn loss(&self, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Losses> {
        Losses::of(&model.forward(inputs, ctx)?, self.parts())
    }

    /// Parameters that take no part, by name: they may go without a gradient.
    fn leaves_out(&self, _name: &str) -> bool {
        false
    }
}

/// An objective with a batch of texts.
pub(crate) struct Job<'a, O: ?Sized, B> {
    pub(crate) objective: &'a O,
    pub(crate) batch: B,
}

impl<O: Objective + ?Sized, B: Borrow<Batch> + Send + Sync> Work for Job<'_, O, B> {
    fn samples(&self) -> usize {
        self.batch.borrow().samples.len()
    }

    fn divisor(&self) -> f64 {
        self.objective.divisor(self.batch.borrow())
    }

    fn inputs(&self, samples: Range<usize>, divisor: f64) -> Inputs {
        self.objective.inputs(self.batch.borrow(), samples, divisor)
    }

    fn rows_per_sample(&self) -> usize {
        self.objective.rows_per_sample()
    }

    fn loss(&self, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Losses> {
        self.objective.loss(model, inputs, ctx)
    }

    fn leaves_out(&self, name: &str) -> bool {
        self.objective.leaves_out(name)
    }
}

/// A task on texts: how its batches become inputs of a model.
pub(crate) trait Objective: Send + Sync {
    /// Labels that count in a batch: what losses and gradients are divided by, whatever the micro-batches.
    fn weight(&self, batch: &Batch) -> u64;

    /// What the sum of losses over a batch's labels is divided by.
    fn divisor(&self, batch: &Batch) -> f64 {
        self.weight(batch).max(1) as f64
    }

    /// The inputs of samples `from..to` of a batch, with the loss divided by `divisor`.
    fn inputs(&self, batch: &Batch, samples: Range<usize>, divisor: f64) -> Inputs;

    /// Sequences that a sample is made of: each draws its own random numbers.
    fn rows_per_sample(&self) -> usize {
        1
    }

    /// What the log calls a part of the loss, and the model.
    fn parts(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The loss of such inputs: what the model's head gives, where it has one for this.
    fn loss(&self, model: &Model, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Losses> {
        Losses::of(&model.forward(inputs, ctx)?, self.parts())
    }

    /// Parameters that take no part, by name: they may go without a gradient.
    fn leaves_out(&self, _name: &str) -> bool {
        false
    }
}

/// Guessing masked tokens, and where there are pairs how their texts are related.
pub(crate) struct MaskedLm {
    /// Tokens a sequence, at most.
    pub(crate) context: usize,
}

impl Objective for MaskedLm {
    fn weight(&self, batch: &Batch) -> u64 {
        batch.labels.iter().filter(|&&l| l != NONE).count() as u64
    }

    fn inputs(&self, batch: &Batch, samples: std::ops::Range<usize>, divisor: f64) -> Inputs {
        let lengths = &batch.lengths[samples.clone()];
        // As long as the longest of these.
        let t = lengths.iter().map(|&l| l as usize).max().unwrap_or(self.context);
        let rows = |x: &[u32], map: &dyn Fn(u32) -> i32| {
            let rows = samples.clone().flat_map(|i| x[i * self.context..][..t].iter().map(|&id| map(id)));
            Tensor::from_slice(&rows.collect::<Vec<i32>>(), [samples.len(), t])
        };
        let plain = |id: u32| id as i32;
        let mut inputs = Inputs::new("input_ids", rows(&batch.ids, &plain))
            .with("labels", rows(&batch.labels, &|l| if l == NONE { IGNORE } else { l as i32 }))
            .with("token_type_ids", rows(&batch.types, &plain));
        if lengths.iter().any(|&l| (l as usize) < t) {
            let mask = lengths.iter().flat_map(|&l| (0..t).map(move |i| u8::from(i < l as usize)));
            inputs = inputs.with("attention_mask", Tensor::from_slice(&mask.collect::<Vec<u8>>(), [samples.len(), t]));
        }
        if let Some(relations) = batch.relations.get(samples.clone()) {
            let relations: Vec<i32> = relations.iter().map(|&r| r as i32).collect();
            inputs = inputs.with("next_sentence_label", Tensor::from_slice(&relations, [samples.len()]));
        }
        inputs.logits = Logits::None;
        inputs.loss_divisor = Some(divisor);
        inputs.sample_divisor = Some(batch.samples.len() as f64);
        inputs
    }

    fn parts(&self) -> &'static [(&'static str, &'static str)] {
        &[("mlm_loss", "mlm_loss"), ("nsp_loss", "relation_loss")]
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
