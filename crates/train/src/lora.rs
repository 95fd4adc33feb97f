//! Low-rank adaptation: `W = W₀ + s B A`, [Hu et al. 2021](https://arxiv.org/abs/2106.09685).
//!
//! A model runs on `W` itself, so every architecture can be adapted as it is: what training changes is where a weight
//! comes from. The gradient of `W` gives those of the factors, `dA = s Bᵀ dW` and `dB = s dW Aᵀ`, and the optimizer,
//! which has moments for the factors alone, writes the new `W`.

use bedstone_kernels::{
    gemm::{Epilogue, Gemm, Mat, gemm},
    mem::Buf,
    random::Draw,
};
use bedstone_tensor::{Isa, Tensor};

/// A weight `[out, in]` that learns by two factors.
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    base: Tensor,
    /// `A: [rank, in]`, then `B: [out, rank]`.
    factors: Vec<f32>,
    rank: usize,
    scale: f32,
}

impl LowRank {
    /// As `peft` starts: `A` uniform within `1/√in`, drawn from `draw`, and `B` zero, so that `W` is `base`.
    ///
    /// `None` unless `base` has two axes.
    pub(crate) fn new(base: &Tensor, rank: usize, alpha: f64, draw: Draw) -> Option<Self> {
        let &[out, inner] = &base.shape()[..] else { return None };
        let mut factors = vec![0.0; rank * (inner + out)];
        let bound = 1.0 / (inner as f64).sqrt();
        for (row, a) in factors[..rank * inner].chunks_mut(inner).enumerate() {
            for (col, a) in a.iter_mut().enumerate() {
                *a = (bound * (2.0 * draw.uniform(row as u32, col as u32) - 1.0)) as f32;
            }
        }
        Some(LowRank { base: base.clone(), factors, rank, scale: (alpha / rank as f64) as f32 })
    }

    fn dims(&self) -> (usize, usize) {
        let shape = self.base.shape();
        (shape[0], shape[1])
    }

    /// How many numbers learn.
    pub(crate) fn len(&self) -> usize {
        self.factors.len()
    }

    /// `A`, then `B`.
    pub(crate) fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// For the optimizer: `A`, then `B`.
    pub(crate) fn factors_mut(&mut self) -> &mut [f32] {
        &mut self.factors
    }

    /// `A: [rank, in]` and `B: [out, rank]`.
    pub(crate) fn parts(&self) -> [(&[f32], [usize; 2]); 2] {
        let (out, inner) = self.dims();
        let (a, b) = self.factors.split_at(self.rank * inner);
        [(a, [self.rank, inner]), (b, [out, self.rank])]
    }

    /// The gradient of the factors, in their order, from that of the weight.
    pub(crate) fn project(&self, grad: &Tensor, isa: Isa) -> Tensor {
        let ((out, inner), rank) = (self.dims(), self.rank);
        let [(a, _), (b, _)] = self.parts();
        let mut both = Buf::for_overwrite(self.factors.len());
        let (da, db) = both.split_at_mut(rank * inner);
        let dw = Mat::new(grad.f32s(), inner);
        gemm(isa, Gemm { m: rank, n: inner, k: out }, Mat::t(b, rank), dw, da, inner, Epilogue::default());
        gemm(isa, Gemm { m: out, n: rank, k: inner }, dw, Mat::t(a, inner), db, rank, Epilogue::default());
        both.iter_mut().for_each(|g| *g *= self.scale);
        Tensor::from_buf(both, [self.len()])
    }

    /// Writes `W₀ + s B A`.
    pub(crate) fn write(&self, weight: &mut [f32], isa: Isa) {
        let ((out, inner), rank) = (self.dims(), self.rank);
        let [(a, _), (b, _)] = self.parts();
        let scaled: Vec<f32> = b.iter().map(|b| b * self.scale).collect();
        weight.copy_from_slice(self.base.f32s());
        let shape = Gemm { m: out, n: inner, k: rank };
        let add = Epilogue::default().accumulate(true);
        gemm(isa, shape, Mat::new(&scaled, rank), Mat::new(a, inner), weight, inner, add);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use bedstone_models::{Inputs, Model, checkpoint::WeightFiles, load};
    use bedstone_tensor::{Ctx, ParamId, Precision};

    use super::*;
    use crate::{AdamWConfig, optimizer::AdamW};

    const PREFIX: &str = "base_model.model.";

    struct Trace(WeightFiles);

    impl Trace {
        fn open() -> Self {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures-extra/lora-bert-seqcls");
            Trace(WeightFiles::open(dir.join("trace.safetensors")).unwrap())
        }

        fn get(&self, name: &str) -> Vec<f32> {
            self.0.get(name).unwrap_or_else(|| panic!("{name}")).to_f32().unwrap()
        }

        fn ints(&self, name: &str) -> Tensor {
            let x = self.0.get(name).unwrap();
            let ids: Vec<i32> = x.to_i64().unwrap().into_iter().map(|i| i as i32).collect();
            Tensor::from_slice(&ids, &x.shape[..])
        }

        fn inputs(&self) -> Inputs {
            let names = ["input_ids", "attention_mask", "labels"];
            names.into_iter().fold(Inputs::default(), |inputs, name| inputs.with(name, self.ints(name)))
        }
    }

    fn dir(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name)
    }

    #[track_caller]
    fn close(what: &str, got: &[f32], want: &[f32], within: f32) {
        assert_eq!(got.len(), want.len(), "{what}");
        let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= within, "{what}: {worst}");
    }

    #[test]
    fn adapters_of_peft_are_applied() {
        let trace = Trace::open();
        let (model, _) = load(&dir("fixtures-extra/lora-bert-seqcls")).unwrap();
        let out =
            model.forward(&trace.inputs(), &mut Ctx::inference(model.env(Isa::detect(), Precision::F32))).unwrap();
        close("logits", out.need("logits").unwrap().f32s(), &trace.get("logits"), 2e-5);
    }

    /// The base with the adapter's head, everything else frozen but what learns by the adapter's factors.
    fn adapted() -> (Model, BTreeMap<ParamId, LowRank>) {
        let files = WeightFiles::open(dir("fixtures-extra/lora-bert-seqcls/adapter_model.safetensors")).unwrap();
        let (mut model, _) = load(&dir("fixtures/bert-seqcls")).unwrap();
        let mut all = BTreeMap::new();
        for id in model.params().ids() {
            let p = model.params_mut().get_mut(id);
            let module = p.name.trim_end_matches(".weight").to_owned();
            p.trainable = p.name.starts_with("classifier");
            let [a, b] = ["lora_A", "lora_B"].map(|side| files.get(&format!("{PREFIX}{module}.{side}.weight")));
            if let (Some(a), Some(b)) = (a, b) {
                let draw = Draw { key: 0, sample: 0, place: 0 };
                let mut factors = LowRank::new(&p.value, 3, 6.0, draw).unwrap();
                let both: Vec<f32> = [a, b].iter().flat_map(|x| x.to_f32().unwrap()).collect();
                factors.factors_mut().copy_from_slice(&both);
                factors.write(p.value.f32s_mut(), Isa::detect());
                p.trainable = true;
                all.insert(id, factors);
            }
        }
        (model, all)
    }

    #[test]
    fn training_is_that_of_peft() {
        let trace = Trace::open();
        let (mut model, low_rank) = adapted();
        assert_eq!(low_rank.len(), 4);
        let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.1 };
        let mut optimizer = AdamW::new(config, model.params()).with_low_rank(low_rank);
        let isa = Isa::detect();
        let mut losses = Vec::new();
        for _ in 0..3 {
            let mut ctx = Ctx::gradients(model.env(isa, Precision::F32));
            let loss = model.forward(&trace.inputs(), &mut ctx).unwrap().need("loss").unwrap().clone();
            losses.push(loss.item().unwrap());
            let grads = ctx.backward(&loss).unwrap();
            optimizer.begin_step();
            for id in model.params().ids() {
                if let Some(grad) = grads.param(id) {
                    let grad = optimizer.learned(id, grad.clone(), isa);
                    optimizer.update_one(id, model.params_mut(), &grad, 1e-2, 1.0, isa);
                }
            }
        }
        close("losses", &losses, &trace.get("losses"), 1e-4);
        for (id, factors) in optimizer.low_rank() {
            let module = model.params().get(*id).name.trim_end_matches(".weight").to_owned();
            for (side, (got, _)) in ["lora_A", "lora_B"].into_iter().zip(factors.parts()) {
                close(&module, got, &trace.get(&format!("after.{PREFIX}{module}.{side}.weight")), 2e-3);
            }
        }
        let classifier = model.params().id("classifier.weight").unwrap();
        let want = trace.get(&format!("after.{PREFIX}classifier.weight"));
        close("classifier", model.params().get(classifier).value.f32s(), &want, 2e-3);
    }
}
