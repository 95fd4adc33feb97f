//! The gradient of one step.

use bedstone_data::sampler::Batch;
use bedstone_infer::Runtime;
use bedstone_kernels::{pool, random};
use bedstone_models::Model;
use bedstone_tensor::{Ctx, Grads, Training};

use crate::{Result, grads::GradTree, objective::Objective};

/// Loss and gradients of a batch.
pub(crate) struct Gradient {
    pub(crate) loss: f64,
    pub(crate) grads: Grads,
}

/// Goes through the batch in micro-batches of `micro` samples; loss and gradients are those of the whole batch, weighted
/// by labels.
pub(crate) fn gradient(
    model: &Model,
    runtime: Runtime,
    objective: &dyn Objective,
    batch: &Batch,
    micro: usize,
    seed: u64,
    step: u64,
) -> Result<Gradient> {
    let samples = batch.samples.len();
    let divisor = objective.weight(batch).max(1) as f64;
    let env = model.env(runtime.isa, runtime.precision);
    let (mut tree, mut losses) = (GradTree::default(), Vec::new());
    for from in (0..samples).step_by(micro.max(1)) {
        let inputs = objective.inputs(batch, from..(from + micro).min(samples), divisor);
        let training = Training { key: random::key(seed, step), first_sample: from as u32 };
        let mut ctx = Ctx::training(env, training);
        let out = model.forward(&inputs, &mut ctx)?;
        let loss = out.need("loss")?.clone();
        // Everything else the pass kept is on the tape.
        drop(out);
        losses.push(loss.item()? as f64);
        let grads = ctx.backward(&loss)?;
        grads.check_complete(model.params(), |name| objective.leaves_out(name))?;
        tree.push(grads, &env);
    }
    let grads = tree.finish(&env).unwrap_or_else(|| Grads::new(model.params()));
    Ok(Gradient { loss: pool::tree_sum(&losses), grads })
}
