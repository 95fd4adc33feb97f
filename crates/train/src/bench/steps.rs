//! Whole passes through models of set sizes, for comparisons with other programs.

use std::time::Instant;

use bedstone_infer::Runtime;
use bedstone_kernels::{pool, profile};
use bedstone_models::Inputs;
use bedstone_run::plan::peak_memory;
use bedstone_tensor::Ctx;
use serde::Serialize;

use super::models::{BenchModel, Ready};
use crate::{
    Result,
    optimizer::{AdamW, AdamWConfig},
    plan::flops_per_token,
    step::{Pass, Update},
};

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The model.
    pub model: &'static str,
    /// Samples at a time.
    pub batch: usize,
    /// Of matrix products.
    pub precision: &'static str,
    /// The instruction set.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// What is counted: "tok" or "pictures".
    pub unit: &'static str,
    /// So many of it a second, the median of the passes.
    pub per_s: f64,
    /// In the best pass.
    pub best: f64,
    /// 10¹² operations a second, of products and attention, at the median.
    pub tflops: f64,
    /// Memory of the process at its highest.
    pub peak_memory_bytes: Option<u64>,
    /// Share of the time by kind of kernel, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<Share>,
}

/// A kind of kernel in a profile.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// What it does.
    pub kernel: &'static str,
    /// Milliseconds a pass.
    pub ms: f64,
    /// Share of the pass.
    pub share: f64,
    /// Calls a pass.
    pub calls: f64,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct BenchOptions {
    /// Passes that are timed, after two that are not.
    pub steps: usize,
    /// Samples at a time; `None`: what is usual for the model.
    pub batch: Option<usize>,
    /// Whether kernels are timed too.
    pub profile: bool,
    /// Whether blocks are computed again in the backward pass.
    pub gradient_checkpointing: bool,
}

/// Passes before those that count.
const WARM_UP: usize = 2;
/// Backward passes take twice the operations of forward ones.
const FORWARD: f64 = 1.0 / 3.0;

/// Times whole steps: forward, backward, AdamW without clipping.
///
/// # Errors
///
/// Those of the model.
pub fn bench_train(model: BenchModel, runtime: Runtime, options: BenchOptions) -> Result<BenchReport> {
    let mut ready = model.ready(options.batch)?;
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    let mut optimizer = AdamW::new(config, ready.model.params());
    let times = time(options, |step| {
        let pass = Pass {
            runtime,
            work: &*ready.work,
            micro: ready.batch,
            recompute: options.gradient_checkpointing,
            seed: 0,
            step,
        };
        let update = Update { lr: 1e-3, clip: 0.0, norm: false };
        pass.optimize(&mut ready.model, &mut optimizer, update, |_| Ok(())).map(drop)
    })?;
    Ok(report(model, &ready, runtime, 1.0, times))
}

/// Times forward passes without gradients, as commands that use a model make them.
///
/// # Errors
///
/// Those of the model.
pub fn bench_infer(model: BenchModel, runtime: Runtime, options: BenchOptions) -> Result<BenchReport> {
    let ready = model.ready(options.batch)?;
    let all = ready.work.inputs(0..ready.batch, ready.work.divisor());
    let inputs = Inputs::new(ready.input, all.need(ready.input)?.clone());
    let times = time(options, |_| {
        let mut ctx = Ctx::inference(ready.model.env(runtime.isa, runtime.precision));
        Ok(ready.model.forward(&inputs, &mut ctx).map(drop)?)
    })?;
    Ok(report(model, &ready, runtime, FORWARD, times))
}

/// Seconds of each pass that counts, and what they went to.
struct Times {
    seconds: Vec<f64>,
    profile: Vec<Share>,
}

fn time(options: BenchOptions, mut pass: impl FnMut(u64) -> Result<()>) -> Result<Times> {
    let steps = options.steps.max(1);
    let mut seconds = Vec::with_capacity(steps);
    for step in 0..WARM_UP + steps {
        if step == WARM_UP {
            profile::set(options.profile);
        }
        let begun = Instant::now();
        pass(step as u64)?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let mut seconds = seconds.split_off(WARM_UP);
    let all: f64 = seconds.iter().sum();
    let share = |(kind, seconds, calls): (profile::Kind, f64, u64)| Share {
        kernel: kind.name(),
        ms: (1e5 * seconds / steps as f64).round() / 100.0,
        share: (1e4 * seconds / all).round() / 1e4,
        calls: calls as f64 / steps as f64,
    };
    let profile = if options.profile { profile::read().into_iter().map(share).collect() } else { Vec::new() };
    profile::set(false);
    seconds.sort_by(f64::total_cmp);
    Ok(Times { seconds, profile })
}

/// `share` of the operations of a training step.
fn report(model: BenchModel, ready: &Ready, runtime: Runtime, share: f64, times: Times) -> BenchReport {
    let (median, best) = (times.seconds[times.seconds.len() / 2], times.seconds[0]);
    let rate = |seconds: f64| {
        let rate = (ready.batch * ready.units) as f64 / seconds;
        if rate < 1000.0 { (rate * 100.0).round() / 100.0 } else { rate.round() }
    };
    let flops = share * flops_per_token(&ready.model, ready.tokens) * (ready.batch * ready.tokens) as f64;
    BenchReport {
        model: model.name,
        batch: ready.batch,
        precision: runtime.precision.name(),
        isa: runtime.isa.to_string(),
        threads: pool::threads(),
        unit: ready.unit,
        per_s: rate(median),
        best: rate(best),
        tflops: (flops / median / 1e9).round() / 1e3,
        peak_memory_bytes: peak_memory(),
        profile: times.profile,
    }
}
