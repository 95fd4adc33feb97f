//! What a run will need, predicted before it starts.

use std::time::Duration;

use bedstone_infer::Runtime;
use bedstone_kernels::{
    bf16,
    gemm::{Epilogue, Gemm, HalfLeft, Mat, Panels, Rows, Term, can_renew, gemm, gemm_half},
    mem::{Buf, trim, usage},
    pool,
};
use bedstone_models::Model;
use bedstone_run::{
    Keep, Plan,
    plan::{Memory, available_memory, peak_memory, resident_memory},
    units::Unit,
};
use bedstone_tensor::Precision;

use crate::{
    Result, TrainError,
    bench::best,
    pictures::AHEAD,
    recipe::{Limits, TrainConfig},
};

/// What the process takes beside buffers, where the system does not tell.
const PROCESS: u64 = 64 << 20;
/// What a thread that draws or decodes pictures has beside them, and what the allocator has not given back of that, as measured.
const MAKING: u64 = 6 << 20;
/// Bytes a second at which checkpoints are written, synced and hashed.
const WRITING: f64 = 400e6;
/// The share of a plain product's speed that whole steps reach, measured on steps of models from 1 to 160 million
/// parameters.
const STEP_EFFICIENCY: f64 = 0.68;
/// How long a product is tried.
const TRIAL: Duration = Duration::from_millis(60);

/// What is planned.
pub(crate) struct Work<'a> {
    pub(crate) train: &'a TrainConfig,
    pub(crate) limits: Limits,
    /// Places of a sample that go through the model.
    pub(crate) context: usize,
    pub(crate) runtime: Runtime,
}

impl Work<'_> {
    pub(crate) fn load(&self) -> Load {
        let t = self.train;
        Load {
            batch: t.batch,
            micro: t.micro_batch(),
            // Those that wait, one that is being made, and one that is learned from.
            batches: AHEAD + 2,
            context: self.context,
            clip: t.clip > 0.0,
            recompute: t.gradient_checkpointing,
            average: t.ema > 0.0,
            all_learn: true,
            runtime: self.runtime,
        }
    }
}

/// What the memory of training depends on beside the model.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Samples a step, and those that go through the model at a time.
    pub(crate) batch: usize,
    pub(crate) micro: usize,
    /// Batches that are there at a time.
    pub(crate) batches: usize,
    /// Places of a sample.
    pub(crate) context: usize,
    pub(crate) clip: bool,
    pub(crate) recompute: bool,
    /// Whether there is an average of the weights.
    pub(crate) average: bool,
    /// Where only a part does, how much is not asked: the least is told.
    pub(crate) all_learn: bool,
    pub(crate) runtime: Runtime,
}

/// The plan of steps `done..steps`, with `validation` places to evaluate on and so many bytes beside a checkpoint's weights.
pub(crate) fn plan(model: &Model, work: &Work<'_>, done: u64, beside: u64, validation: u64) -> Plan {
    let (t, context, runtime) = (work.train, work.context, work.runtime);
    let steps = t.steps.saturating_sub(done);
    let parameters = model.params().numel() as u64;
    let tokens = (t.batch as u64).saturating_mul(context as u64);
    let memory = memory(model, work.load());
    let (flops, speed) =
        (flops_per_token(model, context), speed(model, t.micro_batch().saturating_mul(context), runtime));
    // What the trial used is not what the run will ask for.
    trim();
    // A third of a step's work is its forward pass, which recomputing does twice.
    let passes = if t.gradient_checkpointing { 4.0 / 3.0 } else { 1.0 };
    let training = passes * tokens as f64 * steps as f64;
    let part = |limit: u64| if limit == 0 { validation } else { validation.min(limit) };
    let evaluations = steps.checked_div(t.evaluate_every).unwrap_or(0).saturating_sub(1);
    let evaluated = (evaluations.saturating_mul(part(work.limits.usual)) + part(work.limits.last)) as f64;
    // Weights and two moments; where the weights are an average, those that learn beside them.
    let checkpoint = if t.ema > 0.0 { 16 } else { 12 } * parameters + beside;
    let checkpoints = steps.checked_div(t.checkpoint_every).unwrap_or(0).max(1);
    let writing = (checkpoints * checkpoint) as f64 / WRITING;
    let seconds = flops * (training + evaluated / 3.0) / speed + writing;
    Plan {
        parameters,
        tokens: tokens.saturating_mul(steps),
        steps,
        peak_bytes: sum(&memory).max(peak_memory().unwrap_or(0)),
        memory,
        seconds: Some(seconds),
        tokens_per_s: (seconds > 0.0).then(|| tokens as f64 * steps as f64 / seconds),
        unit: Unit::Tokens,
        disk_bytes: checkpoint * Keep { last: t.keep, every: None }.most(t.steps, t.checkpoint_every).max(1),
    }
}

/// An error if a run takes more memory than the machine has left.
pub(crate) fn check_memory(model: &Model, load: Load) -> Result<()> {
    // What is there already is not available any more.
    let needs = sum(&memory(model, load)).saturating_sub(resident_memory().unwrap_or(0));
    match available_memory() {
        // Where the system does not tell, the run shows.
        Some(has) if needs > has => Err(TrainError::Memory { needs, has }),
        _ => Ok(()),
    }
}

fn sum(memory: &[Memory]) -> u64 {
    memory.iter().fold(0, |sum: u64, m| sum.saturating_add(m.bytes))
}

fn memory(model: &Model, load: Load) -> Vec<Memory> {
    let Load { batch, micro, batches, context, clip, recompute, average, all_learn, runtime } = load;
    let info = model.info();
    let parameters = model.params().numel() as u64;
    let learned = if all_learn { parameters } else { 0 };
    let tokens = (micro as u64).saturating_mul(context as u64);
    let largest = model.params().iter().map(|(_, p)| p.value.shape().numel() as u64).max().unwrap_or(0);
    let gradients = match batch.div_ceil(micro.max(1)) {
        _ if !all_learn => 0,
        // Each is used as soon as it is whole; the head's waits from the end of the forward pass.
        1 if !clip => 8 * largest,
        1 => 4 * parameters,
        // One set a level of the tree that adds micro-batches, and one that is being written.
        parts => 4 * parameters * (parts.ilog2() as u64 + 2),
    };
    // Of what a layer keeps, the residual stream (twice) is f32, the rest is read by products only.
    let operand = match runtime.precision {
        Precision::F32 => 4,
        // Nothing is trained in int8.
        Precision::Bf16 | Precision::Int8 => 2,
    };
    let stack = |layers: usize, width: usize, kept: usize| {
        let layer = 8 * width + operand * kept.saturating_sub(2 * width);
        (16 * width + if recompute { layer + 4 * width * layers } else { layer * layers }) as u64
    };
    let picture = info.image.map_or(0, |image| 4 * image.channels as u64 * (image.size[0] * image.size[1]) as u64);
    let seen = info.masked.map_or(tokens, |m| (micro as u64).saturating_mul(m.seen as u64));
    let mut kept = seen.saturating_mul(stack(info.layers, info.width, info.kept_per_layer));
    let mut passing = seen.saturating_mul(32 * info.width as u64);
    if let Some(m) = info.masked {
        kept = kept.saturating_add(tokens.saturating_mul(stack(m.layers, m.width, m.kept_per_layer)));
        passing = passing.max(tokens.saturating_mul(32 * m.width as u64));
        // What was hidden, what is said of it, and the gradient of that, in either kind of numbers.
        passing = passing.saturating_add((micro as u64).saturating_mul(4 * picture));
    }
    // Logits exist a group of rows at a time.
    let logits = (32 << 20u64).min(tokens.saturating_mul(info.vocab_size as u64)) * operand as u64;
    // With bf16 both packed forms of a weight: of all of them, if they outlive its product, else of the head's.
    let kept_forms = can_renew(runtime.isa) || micro < batch;
    let packed = match runtime.precision {
        Precision::Bf16 if kept_forms => 4 * multiplied(model),
        Precision::Bf16 => 4 * (info.vocab_size * info.width) as u64,
        Precision::F32 | Precision::Int8 => 0,
    };
    // Those that a model takes at a time exist twice more: as a tensor, and by patches.
    let pictures =
        (batches as u64).saturating_mul(batch as u64).saturating_add(2 * micro as u64).saturating_mul(picture);
    let pictures = if picture > 0 { pictures.saturating_add((pool::threads() as u64 + 1) * MAKING) } else { 0 };
    let buffers = usage();
    let program = resident_memory().map(|now| now.saturating_sub((buffers.live + buffers.recycled) as u64));
    [
        ("program and data", program.unwrap_or(PROCESS)),
        ("weights", 4 * parameters),
        ("optimizer state", 8 * learned),
        ("average", if average { 4 * parameters } else { 0 }),
        ("gradients", gradients),
        ("pictures", pictures),
        ("activations", kept.saturating_add(passing)),
        ("logits", logits),
        ("packed weights", packed),
        // Buffers come in sizes of up to an eighth more, and some wait while others are made.
        ("recycling", (gradients.saturating_add(kept).saturating_add(passing) + logits + packed) / 8),
    ]
    .into_iter()
    .filter(|(_, bytes)| *bytes > 0)
    .map(|(what, bytes)| Memory { what: what.to_owned(), bytes })
    .collect()
}

/// Numbers of the weights that products take: matrices, and of two that are as large as a vocabulary one, since the other is looked
/// up.
fn multiplied(model: &Model) -> u64 {
    let info = model.info();
    let table = (info.vocab_size * info.width) as u64;
    let sizes = || {
        let matrices = model.params().iter().filter(|(_, p)| p.value.shape().len() >= 2);
        matrices.map(|(_, p)| p.value.shape().numel() as u64)
    };
    let looked_up = if sizes().filter(|&size| size == table).count() > 1 { table } else { 0 };
    sizes().sum::<u64>() - looked_up
}

/// Multiplications a token, forwards, that the last layer leaves out: all but keys and values of tokens that no head reads. Of layers that
/// share parameters it is not told.
fn unread(model: &Model, context: usize) -> f64 {
    let (info, context) = (model.info(), context.max(1));
    let Some(read) = info.read.filter(|&read| read < context) else { return 0.0 };
    let last = info.layers.saturating_sub(1).to_string();
    let of_last = model.params().iter().filter(|(_, p)| {
        p.value.shape().len() == 2 && p.name.split('.').any(|part| part == last) && !p.name.starts_with("classifier")
    });
    let matrices: usize = of_last.map(|(_, p)| p.value.shape().numel()).sum();
    let keys_and_values = 2 * info.width * info.attention_width;
    let rest = matrices.saturating_sub(keys_and_values) + info.attention_width * context;
    if matrices == 0 { 0.0 } else { rest as f64 * (1.0 - read as f64 / context as f64) }
}

/// Multiplications and additions of forward and backward pass, a token.
pub(crate) fn flops_per_token(model: &Model, context: usize) -> f64 {
    let info = model.info();
    let matrices = |of_decoder: bool| -> usize {
        let matrices = model.params().iter().filter(|(_, p)| p.value.shape().len() == 2);
        matrices
            .filter(|(_, p)| p.name.starts_with("decoder.") == of_decoder)
            .map(|(_, p)| p.value.shape().numel())
            .sum()
    };
    if let Some(m) = info.masked {
        // Places that are not seen cost the decoder's work alone.
        let seen = m.seen as f64 / context.max(1) as f64;
        let attention = |layers: usize, width: usize, keys: usize| (layers * width * keys) as f64;
        let body = matrices(false) as f64 + attention(info.layers, info.attention_width, m.seen);
        return 6.0 * (seen * body + matrices(true) as f64 + attention(m.layers, m.width, context));
    }
    let matrices = matrices(false) + matrices(true);
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
    6.0 * ((matrices - tables - head) as f64 + attention as f64 - unread(model, context))
}

/// Operations a second that steps of this model will reach: a product of its middle size, timed for a moment.
fn speed(model: &Model, tokens: usize, runtime: Runtime) -> f64 {
    let width = model.info().width.max(1);
    let (m, n, k) = (tokens.clamp(1, 2048), 4 * width, width);
    let isa = runtime.isa;
    let (mut a, mut b, mut c) = (Buf::zeroed(m * k), Buf::zeroed(k * n), Buf::zeroed(m * n));
    a.fill(0.5);
    b.fill(0.5);
    let seconds = match runtime.precision {
        Precision::F32 => best(TRIAL, || {
            gemm(isa, Gemm { m, n, k }, Mat::new(&a, k), Mat::new(&b, n), &mut c, n, Epilogue::default());
        }),
        Precision::Bf16 | Precision::Int8 => {
            let mut rows = Buf::zeroed(m * k);
            rows.fill(bf16::from_f32(0.5));
            let panels = Panels::pack(isa, Mat::new(&b, n), k, n);
            let terms = [Term { a: HalfLeft::Rows(Rows { data: &rows, ld: k }), b: &panels }];
            best(TRIAL, || gemm_half(isa, m, &terms, &mut c, n, Epilogue::default()))
        }
    };
    2.0 * (m * n * k) as f64 / seconds * STEP_EFFICIENCY
}
