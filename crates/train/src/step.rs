//! The gradient of one step.

use bedstone_data::sampler::Batch;
use bedstone_infer::Runtime;
use bedstone_kernels::{pool, random};
use bedstone_models::Model;
use bedstone_tensor::{Ctx, Env, Grads, Packing, Training};

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
    // With one micro-batch each weight is needed once forwards and once backwards, in two forms.
    let packing = if micro >= samples { Packing::Passing } else { Packing::Kept };
    let env = Env { packing, ..model.env(runtime.isa, runtime.precision) };
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

#[cfg(test)]
mod tests {
    use bedstone_models::Architecture;
    use bedstone_tensor::{Isa, Precision};

    use super::*;
    use crate::objective::CausalLm;

    const VOCAB: usize = 40;
    const CONTEXT: usize = 9;

    /// With dropout, whose masks belong to samples and not to batches.
    fn model() -> Model {
        let fields = serde_json::json!({
            "vocab_size": VOCAB, "n_positions": CONTEXT, "n_embd": 24, "n_layer": 2, "n_head": 3,
            "embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.1,
        });
        let architecture = Architecture::by_model_type("gpt2").unwrap();
        Model::from_fields(architecture, fields.as_object().unwrap(), 3).unwrap()
    }

    /// Samples with different numbers of labels that count.
    fn batch(samples: usize) -> Batch {
        let ids: Vec<u32> = (0..samples * CONTEXT).map(|i| (i * i * 5 + i) as u32 % VOCAB as u32).collect();
        let mut labels = ids.clone();
        labels.rotate_left(1);
        labels[CONTEXT..CONTEXT + 6].fill(bedstone_data::sampler::IGNORE);
        Batch { ids, labels, samples: (0..samples as u64).collect(), begins: vec![0; samples] }
    }

    fn run(micro: usize) -> Gradient {
        let runtime = Runtime { isa: Isa::detect(), precision: Precision::F32 };
        gradient(&model(), runtime, &CausalLm { context: CONTEXT }, &batch(6), micro, 1, 2).unwrap()
    }

    #[test]
    fn micro_batches_change_rounding_only() {
        let (model, whole) = (model(), run(6));
        for micro in [1, 2, 4, 5] {
            let parts = run(micro);
            assert!((parts.loss - whole.loss).abs() < 1e-5, "{micro}: {} and {}", parts.loss, whole.loss);
            for (id, p) in model.params().iter() {
                let (a, b) = (parts.grads.param(id).unwrap().f32s(), whole.grads.param(id).unwrap().f32s());
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{micro}: {}", p.name);
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let model = model();
        let grads = |threads| {
            pool::with_threads(threads, || {
                let g = run(2);
                model.params().iter().map(|(id, _)| g.grads.param(id).unwrap().f32s().to_vec()).collect::<Vec<_>>()
            })
            .unwrap()
        };
        assert!(grads(1) == grads(3));
    }
}
