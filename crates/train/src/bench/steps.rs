//! Training steps on models of set sizes, for comparisons with other programs.

use std::time::Instant;

use bedstone_data::sampler::Batch;
use bedstone_infer::Runtime;
use bedstone_kernels::profile;
use bedstone_models::{Architecture, Model};
use bedstone_run::plan::peak_memory;
use serde::Serialize;
use serde_json::json;

use crate::{
    Result, TrainError,
    objective::{CausalLm, Job},
    optimizer::{AdamW, AdamWConfig},
    plan::flops_per_token,
    step::{Pass, Update},
};

/// A GPT-2 with a head of its own, learned positions and GELU by tanh, without dropout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchModel {
    /// Its name.
    pub name: &'static str,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    context: usize,
    batch: usize,
}

/// Three sizes.
pub const BENCH_MODELS: [BenchModel; 3] = [
    BenchModel { name: "gpt-6m", vocab_size: 512, width: 288, heads: 6, layers: 6, context: 256, batch: 8 },
    BenchModel { name: "gpt-17m", vocab_size: 8192, width: 384, heads: 6, layers: 6, context: 256, batch: 8 },
    BenchModel { name: "gpt-163m", vocab_size: 50304, width: 768, heads: 12, layers: 12, context: 512, batch: 2 },
];

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The model.
    pub model: &'static str,
    /// Of matrix products.
    pub precision: &'static str,
    /// The instruction set.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Tokens a second, the median of the steps.
    pub tokens_per_s: f64,
    /// The best step's.
    pub best: f64,
    /// 10¹² operations a second, of products and attention, at the median.
    pub tflops: f64,
    /// Memory of the process at its highest.
    pub peak_memory_bytes: Option<u64>,
    /// Share of the steps' time by kind of kernel, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<Share>,
}

/// A kind of kernel in a profile.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// What it does.
    pub kernel: &'static str,
    /// Milliseconds a step.
    pub ms: f64,
    /// Share of the step.
    pub share: f64,
    /// Calls a step.
    pub calls: f64,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Steps that are timed.
    pub steps: usize,
    /// Whether kernels are timed too.
    pub profile: bool,
    /// Whether blocks are computed again in the backward pass.
    pub gradient_checkpointing: bool,
}

/// Times whole steps (forward, backward, AdamW without clipping), after two that are not counted.
pub fn bench_train(model: BenchModel, runtime: Runtime, options: BenchOptions) -> Result<BenchReport> {
    let BenchOptions { steps, profile: with_profile, .. } = options;
    let fields = json!({
        "vocab_size": model.vocab_size, "n_positions": model.context, "n_embd": model.width, "n_layer": model.layers,
        "n_head": model.heads, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "tie_word_embeddings": false,
    });
    let gpt2 = Architecture::by_model_type("gpt2").filter(|_| steps > 0);
    let (Some(architecture), Some(fields)) = (gpt2, fields.as_object()) else { return Err(TrainError::Interrupted) };
    let mut gpt = Model::from_fields(architecture, fields, 0)?;
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    let mut optimizer = AdamW::new(config, gpt.params());
    let tokens = model.batch * model.context;
    let ids: Vec<u32> = (0..tokens as u32).map(|i| i.wrapping_mul(2_654_435_761) % model.vocab_size as u32).collect();
    let batch = Batch {
        labels: ids.clone(),
        ids,
        samples: (0..model.batch as u64).collect(),
        begins: vec![0; model.batch],
        ..Batch::default()
    };
    let work = Job { objective: &CausalLm { context: model.context }, batch };
    let mut times = Vec::with_capacity(steps);
    for step in 0..steps + 2 {
        if step == 2 {
            profile::set(with_profile);
        }
        let begun = Instant::now();
        let pass = Pass {
            runtime,
            work: &work,
            micro: model.batch,
            recompute: options.gradient_checkpointing,
            seed: 0,
            step: step as u64,
        };
        pass.optimize(&mut gpt, &mut optimizer, Update { lr: 1e-3, clip: 0.0, norm: false }, |_| Ok(()))?;
        times.push(begun.elapsed().as_secs_f64());
    }
    let counted: Vec<f64> = times.split_off(2);
    let all: f64 = counted.iter().sum();
    let share = |(kind, seconds, calls): (profile::Kind, f64, u64)| Share {
        kernel: kind.name(),
        ms: (1e5 * seconds / steps as f64).round() / 100.0,
        share: (1e4 * seconds / all).round() / 1e4,
        calls: calls as f64 / steps as f64,
    };
    let profile = if with_profile { profile::read().into_iter().map(share).collect() } else { Vec::new() };
    profile::set(false);
    let mut sorted = counted;
    sorted.sort_by(f64::total_cmp);
    let (median, best) = (sorted[sorted.len() / 2], sorted[0]);
    Ok(BenchReport {
        model: model.name,
        precision: runtime.precision.name(),
        isa: runtime.isa.to_string(),
        threads: bedstone_kernels::pool::threads(),
        tokens_per_s: (tokens as f64 / median).round(),
        best: (tokens as f64 / best).round(),
        tflops: (flops_per_token(&gpt, model.context) * tokens as f64 / median / 1e9).round() / 1e3,
        peak_memory_bytes: peak_memory(),
        profile,
    })
}
