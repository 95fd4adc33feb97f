//! One step: the gradient of a batch, and the update.

use bedstone_infer::Runtime;
use bedstone_kernels::{gemm::can_renew, optim::sum_squares, pool, random};
use bedstone_models::Model;
use bedstone_tensor::{Ctx, Dtype, Env, Grads, Packing, ParamGradient, ParamId, Params, TensorError, Training};

use crate::{
    Result, TrainError,
    grads::GradTree,
    objective::{LossParts, Losses, Work},
    optimizer::{AdamW, clip_factor, global_norm},
};

/// How a model goes through a batch.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) runtime: Runtime,
    pub(crate) work: &'a dyn Work,
    /// Samples at a time.
    pub(crate) micro: usize,
    /// Whether blocks are computed again instead of keeping what they compute.
    pub(crate) recompute: bool,
    pub(crate) seed: u64,
    /// Steps done before.
    pub(crate) step: u64,
}

/// Loss and gradients of a batch.
pub(crate) struct Gradient {
    pub(crate) loss: f64,
    pub(crate) parts: LossParts,
    pub(crate) grads: Grads,
}

/// How an optimizer steps.
#[derive(Clone, Copy)]
pub(crate) struct Update {
    pub(crate) lr: f64,
    /// The largest norm of the gradient; 0: any.
    pub(crate) clip: f64,
    /// Whether the norm is wanted even where nothing is clipped.
    pub(crate) norm: bool,
}

/// What came out of a step.
pub(crate) struct Done {
    pub(crate) loss: f64,
    pub(crate) parts: LossParts,
    /// Of the gradient, before clipping; 0 where it is not wanted.
    pub(crate) norm: f64,
}

impl Pass<'_> {
    fn env<'m>(&self, model: &'m Model) -> Env<'m> {
        // With one micro-batch each weight is needed once forwards and once backwards, in two forms; they are kept if the optimizer
        // can write them.
        let Runtime { isa, precision } = self.runtime;
        let renewed = precision.operand(isa) == Dtype::Bf16 && can_renew(isa);
        let packing = if self.is_one() && !renewed { Packing::Passing } else { Packing::Kept };
        Env { packing, ..model.env(isa, precision) }
    }

    /// Whether the whole batch goes through at a time.
    fn is_one(&self) -> bool {
        self.micro >= self.work.samples()
    }

    /// The loss of the samples from `from` on, as a part of the whole batch's, and what was recorded.
    fn forward<'m>(&self, model: &'m Model, from: usize) -> Result<(Ctx<'m>, Losses)> {
        let divisor = self.work.divisor();
        let range = from..(from + self.micro).min(self.work.samples());
        let inputs = self.work.inputs(range, divisor);
        let training = Training {
            key: random::key(self.seed, self.step),
            first_sample: (from * self.work.rows_per_sample()) as u32,
        };
        let mut ctx = Ctx::training(self.env(model), training);
        if self.recompute {
            ctx = ctx.recomputing();
        }
        // Everything else the pass kept is on the tape.
        let losses = self.work.loss(model, &inputs, &mut ctx)?;
        Ok((ctx, losses))
    }

    /// Loss and gradients of the whole batch, weighted by labels, by way of its micro-batches.
    pub(crate) fn gradient(&self, model: &Model) -> Result<Gradient> {
        let env = self.env(model);
        let (mut tree, mut losses, mut parts) = (GradTree::default(), Vec::new(), Vec::new());
        for from in (0..self.work.samples()).step_by(self.micro.max(1)) {
            let (ctx, Losses { loss, parts: of_these }) = self.forward(model, from)?;
            losses.push(loss.item()? as f64);
            parts.push(of_these);
            let grads = ctx.backward(&loss)?;
            self.check_complete(model.params(), |id| grads.param(id).is_some())?;
            tree.push(grads, &env);
        }
        let grads = tree.finish(&env).unwrap_or_else(|| Grads::new(model.params()));
        Ok(Gradient { loss: pool::tree_sum(&losses), parts: sum(&parts), grads })
    }

    /// One step of `optimizer`. `check` sees loss and norm, before the weights change wherever that can be.
    ///
    /// Without clipping or micro-batches a parameter is updated as soon as its gradient is whole, while that is in the
    /// caches, and no gradient outlives its update. The bits are the same either way.
    pub(crate) fn optimize(
        &self,
        model: &mut Model,
        optimizer: &mut AdamW,
        update: Update,
        check: impl FnOnce(&Done) -> Result<()>,
    ) -> Result<Done> {
        let Update { lr, clip, norm } = update;
        let isa = self.runtime.isa;
        if clip > 0.0 || !self.is_one() {
            let (grads, done) = pool::inside(|| {
                let Gradient { loss, parts, mut grads } = self.gradient(model)?;
                for &id in optimizer.low_rank().keys() {
                    if let Some(grad) = grads.param_mut(id) {
                        *grad = optimizer.learned(id, grad.clone(), isa);
                    }
                }
                let norm = if norm || clip > 0.0 { global_norm(&grads, &self.env(model)) } else { 0.0 };
                Ok::<_, TrainError>((grads, Done { loss, parts, norm }))
            })?;
            check(&done)?;
            let factor = clip_factor(done.norm, clip);
            pool::inside(|| optimizer.update(model.params_mut(), &grads, lr as f32, factor, isa));
            return Ok(done);
        }
        let done = pool::inside(|| self.update_as_they_come(model, optimizer, lr, norm))?;
        check(&done)?;
        Ok(done)
    }

    /// A step that updates each parameter as soon as its gradient is whole.
    fn update_as_they_come(&self, model: &mut Model, optimizer: &mut AdamW, lr: f64, norm: bool) -> Result<Done> {
        let isa = self.runtime.isa;
        let (ctx, Losses { loss, parts }) = self.forward(model, 0)?;
        let Some(recording) = ctx.into_recording() else {
            return Err(TensorError::Unsupported { op: "backward", what: "nothing was recorded".into() }.into());
        };
        self.check_complete(model.params(), |id| recording.reaches(id))?;
        let mut squares = vec![None; model.params().len()];
        optimizer.begin_step();
        // A norm needs the numbers of gradients, and so do the factors of a weight.
        recording.backward_each(&loss, model.params_mut(), !norm, |id, params, grad| {
            let grad = match grad {
                ParamGradient::Waiting(grad) if !optimizer.low_rank().contains_key(&id) => {
                    squares[id.index()] = Some(0.0);
                    optimizer.update_by(id, params, &grad, lr as f32, isa);
                    return Ok(());
                }
                grad => optimizer.learned(id, grad.tensor(isa), isa),
            };
            squares[id.index()] = Some(if norm { sum_squares(isa, grad.f32s()) } else { 0.0 });
            optimizer.update_one(id, params, &grad, lr as f32, 1.0, isa);
            Ok(())
        })?;
        self.check_complete(model.params(), |id| squares[id.index()].is_some())?;
        let norm = squares.into_iter().flatten().sum::<f64>().sqrt();
        Ok(Done { loss: loss.item()? as f64, parts, norm })
    }

    fn check_complete(&self, params: &Params, has: impl Fn(ParamId) -> bool) -> Result<()> {
        Ok(params.check_gradients(has, |name| self.work.leaves_out(name))?)
    }
}

/// The parts of a batch's loss, from those of its micro-batches.
fn sum(of: &[LossParts]) -> LossParts {
    let values = |name: &str| -> Vec<f64> {
        of.iter().flatten().filter(|(part, _)| *part == name).map(|(_, value)| *value).collect()
    };
    of.first().into_iter().flatten().map(|(name, _)| (*name, pool::tree_sum(&values(name)))).collect()
}

#[cfg(test)]
mod tests {
    use bedstone_data::sampler::Batch;
    use bedstone_models::Architecture;
    use bedstone_tensor::{Isa, Precision};

    use super::*;
    use crate::objective::{CausalLm, Job};

    const VOCAB: usize = 40;
    const CONTEXT: usize = 9;

    /// With dropout, whose masks belong to samples and not to batches.
    fn model() -> Model {
        of_words(VOCAB, true)
    }

    fn of_words(vocabulary: usize, tied: bool) -> Model {
        let fields = serde_json::json!({
            "vocab_size": vocabulary, "n_positions": CONTEXT, "n_embd": 24, "n_layer": 2, "n_head": 3,
            "embd_pdrop": 0.1, "attn_pdrop": 0.2, "resid_pdrop": 0.1, "tie_word_embeddings": tied,
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
        Batch { ids, labels, samples: (0..samples as u64).collect(), begins: vec![0; samples], ..Batch::default() }
    }

    const OBJECTIVE: CausalLm = CausalLm { context: CONTEXT };

    fn job(batch: Batch) -> Job<'static, CausalLm, Batch> {
        Job { objective: &OBJECTIVE, batch }
    }

    fn pass(work: &dyn Work, micro: usize) -> Pass<'_> {
        let runtime = Runtime { isa: Isa::detect(), precision: Precision::F32 };
        Pass { runtime, work, micro, recompute: false, seed: 1, step: 2 }
    }

    fn run(micro: usize) -> Gradient {
        pass(&job(batch(6)), micro).gradient(&model()).unwrap()
    }

    #[test]
    fn ways_of_a_step_that_change_no_bit() {
        let work = job(batch(6));
        // Of a large table that is only looked up few rows have a gradient.
        let precisions = [Precision::F32, Precision::Bf16];
        for (precision, tied) in precisions.into_iter().flat_map(|precision| [(precision, true), (precision, false)]) {
            if precision == Precision::Bf16 && !Isa::detect().has_bf16() {
                continue;
            }
            let steps = |recompute: bool, clip: f64, norm: bool| {
                let mut model = of_words(if tied { VOCAB } else { 5 * VOCAB }, tied);
                let config = crate::AdamWConfig { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 };
                let mut optimizer = AdamW::new(config, model.params());
                let mut all = Vec::new();
                for step in 0..3 {
                    let mut pass = Pass { recompute, step, ..pass(&work, 6) };
                    pass.runtime.precision = precision;
                    let update = Update { lr: 1e-2, clip, norm };
                    let done = pass.optimize(&mut model, &mut optimizer, update, |_| Ok(())).unwrap();
                    all.extend(norm.then_some(done.norm));
                    all.push(done.loss);
                    // Packed forms that an update wrote are those of its weights; who may write these gets them without forms.
                    let now = pass.gradient(&model).unwrap();
                    for id in model.params().ids() {
                        model.params_mut().get_mut(id);
                    }
                    let afresh = pass.gradient(&model).unwrap();
                    assert!(now.loss == afresh.loss, "{precision:?}: a packed form is not that of its weight");
                }
                for (_, p) in model.params().iter() {
                    all.extend(p.value.f32s().iter().map(|&x| x as f64));
                }
                all
            };
            // A limit that is never reached: gradients stand together, and are not changed.
            let want = steps(false, 1e9, true);
            assert!(steps(false, 0.0, true) == want, "{precision:?}: updated on the way");
            assert!(steps(true, 1e9, true) == want, "{precision:?}: recomputed");
            assert!(steps(true, 0.0, true) == want, "{precision:?}: recomputed, updated on the way");
            // Without a norm weights are updated by the products that are their gradients.
            let want = steps(false, 1e9, false);
            assert!(steps(false, 0.0, false) == want, "{precision:?}: updated by products");
            assert!(steps(true, 0.0, false) == want, "{precision:?}: recomputed, by products");
        }
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

    #[test]
    fn parts_of_a_loss_add_up() {
        let parts = |a, b| vec![("a", a), ("b", b)];
        assert_eq!(sum(&[parts(1.0, 0.5), parts(2.0, 0.25)]), parts(3.0, 0.75));
        assert_eq!(sum(&[]), []);
    }
}
