//! What a run will need, predicted before it starts.

use std::time::Duration;

use bedstone_infer::Runtime;
use bedstone_kernels::gemm::{Epilogue, Gemm, Mat, PackedRows, Panels, Term, gemm, gemm_half};
use bedstone_models::Model;
use bedstone_run::{Keep, Plan, plan::Memory};
use bedstone_tensor::Precision;

use crate::{bench::best, recipe::PretrainRecipe};

/// What the process takes before any model is there.
const PROCESS: u64 = 24 << 20;
/// The share of a plain product's speed that whole steps reach, measured on steps of models from 1 to 160 million
/// parameters.
const STEP_EFFICIENCY: f64 = 0.62;

/// How long a product is tried.
const TRIAL: Duration = Duration::from_millis(60);

/// The plan of steps `done..steps`.
pub(crate) fn plan(model: &Model, recipe: &PretrainRecipe, runtime: Runtime, done: u64, tokenizer_bytes: u64) -> Plan {
    let t = &recipe.train;
    let steps = t.steps.saturating_sub(done);
    let parameters = model.params().numel() as u64;
    let tokens = (t.batch as u64).saturating_mul(t.context as u64);
    let micro = recipe.micro_batch();
    let memory = memory(model, micro, t.context, t.batch.div_ceil(micro), runtime.precision);
    let peak = memory.iter().fold(0, |sum: u64, m| sum.saturating_add(m.bytes));
    let seconds = flops_per_token(model, t.context) * tokens as f64 * steps as f64
        / speed(model, micro.saturating_mul(t.context), runtime);
    let checkpoint = 12 * parameters + tokenizer_bytes;
    Plan {
        parameters,
        tokens: tokens.saturating_mul(steps),
        steps,
        memory,
        peak_bytes: peak,
        seconds: Some(seconds),
        tokens_per_s: (seconds > 0.0).then(|| tokens as f64 * steps as f64 / seconds),
        disk_bytes: checkpoint * Keep { last: t.keep, every: None }.most(t.steps, t.checkpoint_every).max(1),
    }
}

fn memory(model: &Model, micro: usize, context: usize, parts: usize, precision: Precision) -> Vec<Memory> {
    let info = model.info();
    let parameters = model.params().numel() as u64;
    let tokens = (micro as u64).saturating_mul(context as u64);
    // One set of gradients a level of the tree that adds micro-batches, and one that is being written.
    let sets = if parts == 1 { 1 } else { parts.ilog2() as u64 + 2 };
    // Of what a layer keeps, the residual stream (twice) is f32, the rest is read by products only.
    let operand = match precision {
        Precision::F32 => 4,
        Precision::Bf16 => 2,
    };
    let layer = 8 * info.width + operand * info.kept_per_layer.saturating_sub(2 * info.width);
    let kept = tokens.saturating_mul((info.layers * layer + 16 * info.width) as u64);
    // Logits exist a group of rows at a time.
    let logits = (32 << 20u64).min(tokens.saturating_mul(info.vocab_size as u64)) * operand as u64;
    // The head's gradient and its input's; with bf16 both packed forms of its weight beside them.
    let head = (info.vocab_size * info.width) as u64;
    let packed = if precision == Precision::Bf16 { 4 * head } else { 0 };
    let passing = tokens.saturating_mul(32 * info.width as u64);
    [
        ("program", PROCESS),
        ("weights", 4 * parameters),
        ("optimizer state", 8 * parameters),
        ("gradients", 4 * parameters * sets),
        ("activations", kept.saturating_add(passing)),
        ("logits", logits),
        ("packed weights", packed),
    ]
    .into_iter()
    .filter(|(_, bytes)| *bytes > 0)
    .map(|(what, bytes)| Memory { what: what.to_owned(), bytes })
    .collect()
}

/// Multiplications and additions of forward and backward pass, a token.
pub(crate) fn flops_per_token(model: &Model, context: usize) -> f64 {
    let info = model.info();
    let matrices: usize =
        model.params().iter().filter(|(_, p)| p.value.shape().len() == 2).map(|(_, p)| p.value.shape().numel()).sum();
    // Tables are looked up; the head multiplies by one of them, or by a matrix of its own.
    let tables: usize = model
        .params()
        .iter()
        .filter(|(_, p)| p.name.ends_with("wpe.weight"))
        .map(|(_, p)| p.value.shape().numel())
        .sum();
    let untied = model.params().iter().any(|(_, p)| p.name.starts_with("lm_head"));
    let head = if untied { info.vocab_size * info.width } else { 0 };
    let attention = info.layers * info.attention_width * context;
    6.0 * (matrices - tables - head) as f64 + 6.0 * attention as f64
}

/// Operations a second that steps of this model will reach: a product of its middle size, timed for a moment.
fn speed(model: &Model, tokens: usize, runtime: Runtime) -> f64 {
    let width = model.info().width.max(1);
    let (m, n, k) = (tokens.clamp(1, 2048), 4 * width, width);
    let isa = runtime.isa;
    let (a, b) = (vec![0.5; m * k], vec![0.5; k * n]);
    let mut c = vec![0.0; m * n];
    let seconds = match runtime.precision {
        Precision::F32 => best(TRIAL, || {
            gemm(isa, Gemm { m, n, k }, Mat::new(&a, k), Mat::new(&b, n), &mut c, n, Epilogue::default());
        }),
        Precision::Bf16 => {
            let rows = PackedRows::pack(isa, Mat::new(&a, k), m, k);
            let panels = Panels::pack(isa, Mat::new(&b, n), k, n);
            let terms = [Term { a: rows.rows(), b: &panels }];
            best(TRIAL, || gemm_half(isa, m, &terms, &mut c, n, Epilogue::default()))
        }
    };
    2.0 * (m * n * k) as f64 / seconds * STEP_EFFICIENCY
}
