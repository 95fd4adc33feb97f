//! Burn's training throughput of a GPT, for a side-by-side with this project in the same minutes.
//!
//!     burn-train [f32] [--model gpt-6m] [--threads 2] [--steps 7]
//!
//! The model, the data and the line printed are those of `../torch_train.py`.

use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

type Result<T> = std::result::Result<T, String>;

/// The one that Bedstone links, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BURN: &str = "burn 0.22.1 (flex)";

struct Shape {
    name: &'static str,
    vocab: usize,
    width: usize,
    heads: usize,
    layers: usize,
    context: usize,
    batch: usize,
}

#[rustfmt::skip]
const SHAPES: [Shape; 3] = [
    Shape { name: "gpt-6m", vocab: 512, width: 288, heads: 6, layers: 6, context: 256, batch: 8 },
    Shape { name: "gpt-17m", vocab: 8192, width: 384, heads: 6, layers: 6, context: 256, batch: 8 },
    Shape { name: "gpt-163m", vocab: 50304, width: 768, heads: 12, layers: 12, context: 512, batch: 2 },
];

#[derive(Module, Debug)]
struct Block {
    norm1: LayerNorm,
    norm2: LayerNorm,
    qkv: Linear,
    out: Linear,
    fc: Linear,
    proj: Linear,
    heads: usize,
}

impl Block {
    fn new(s: &Shape, device: &Device) -> Self {
        let c = s.width;
        let norm = || LayerNormConfig::new(c).init(device);
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            norm1: norm(),
            norm2: norm(),
            qkv: linear(c, 3 * c),
            out: linear(c, c),
            fc: linear(c, 4 * c),
            proj: linear(4 * c, c),
            heads: s.heads,
        }
    }

    fn forward(&self, x: Tensor<3>, mask: &Tensor<4>) -> Tensor<3> {
        let x = x.clone() + self.out.forward(self.attention(self.qkv.forward(self.norm1.forward(x)), mask));
        x.clone() + self.proj.forward(gelu(self.fc.forward(self.norm2.forward(x))))
    }

    /// By hand: differentiated, Burn's own attention falls back to the same steps, but sends a gradient through the
    /// maximum and builds its mask anew each time.
    fn attention(&self, qkv: Tensor<3>, mask: &Tensor<4>) -> Tensor<3> {
        let [b, t, c3] = qkv.dims();
        let (h, d) = (self.heads, c3 / 3 / self.heads);
        let qkv = qkv.reshape([b, t, 3 * h, d]).swap_dims(1, 2);
        let part = |i: usize| qkv.clone().narrow(1, i * h, h);
        let (q, k, v) = (part(0) * (d as f64).powf(-0.5), part(1), part(2));
        let scores = q.matmul(k.transpose()) + mask.clone();
        softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([b, t, c3 / 3])
    }
}

/// Burn's `gelu_approximate`, without its general power.
fn gelu(x: Tensor<3>) -> Tensor<3> {
    const C: f64 = 0.797_884_560_802_865_4; // sqrt(2 / pi)
    let inner = x.clone() * (x.clone() * x.clone() * (0.044715 * C) + C);
    x * (inner.tanh() * 0.5 + 0.5)
}

#[derive(Module, Debug)]
struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
}

impl Gpt {
    fn new(s: &Shape, device: &Device) -> Self {
        Self {
            tokens: EmbeddingConfig::new(s.vocab, s.width).init(device),
            positions: EmbeddingConfig::new(s.context, s.width).init(device),
            blocks: (0..s.layers).map(|_| Block::new(s, device)).collect(),
            norm: LayerNormConfig::new(s.width).init(device),
            head: LinearConfig::new(s.width, s.vocab).with_bias(false).init(device),
        }
    }

    /// Ids `[B, T]`, mask `[1, 1, T, T]`, logits `[B * T, V]`.
    fn forward(&self, ids: Tensor<2, Int>, mask: &Tensor<4>) -> Tensor<2> {
        let x = self.tokens.forward(ids) + self.positions.weight.val().unsqueeze();
        let x = self.blocks.iter().fold(x, |x, b| b.forward(x, mask));
        self.head.forward(self.norm.forward(x)).flatten(0, 1)
    }
}

/// Names every parameter whose gradient is missing, zero or not finite.
struct Check<'a> {
    gradients: &'a GradientsParams,
    wrong: Vec<String>,
}

impl ModuleVisitor for Check<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let norm = self.gradients.get::<D>(param.id).map(|g| g.square().sum().into_scalar::<f32>());
        if !norm.is_some_and(|n| n > 0.0 && n.is_finite()) {
            self.wrong.push(format!("{:?}: squared norm of the gradient {norm:?}", param.shape()));
        }
    }
}

fn train(s: &Shape, threads: usize, steps: usize) -> Result<()> {
    let device = Device::flex().autodiff();
    let mut model = Gpt::new(s, &device);
    // Torch's defaults; Burn's differ.
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(1e-2).init();
    let criterion = CrossEntropyLossConfig::new().init(&device);
    let t = s.context;
    let mask: Vec<f32> = (0..t * t).map(|i| if i % t > i / t { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::<4>::from_data(TensorData::new(mask, [1, 1, t, t]), &device);
    let mut state = 1u64;
    let ids: Vec<i32> = (0..s.batch * t)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) % s.vocab as u64) as i32
        })
        .collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [s.batch, t]), &device);
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for step in 0..steps + 2 {
        let start = Instant::now();
        let loss = criterion.forward(model.forward(ids.clone(), &mask), ids.clone().flatten(0, 1));
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        if step == 0 {
            let mut check = Check { gradients: &gradients, wrong: Vec::new() };
            model.visit(&mut check);
            if !check.wrong.is_empty() {
                return Err(check.wrong.join("\n"));
            }
        }
        model = optimizer.step(1e-3, model, gradients);
        times.push(start.elapsed().as_secs_f64());
    }
    eprintln!("losses {losses:?}");
    if losses[steps + 1] >= losses[0] || losses[steps + 1].is_nan() {
        return Err(format!("the loss does not fall: {losses:?}"));
    }
    let mut times = times.split_off(2);
    times.sort_by(f64::total_cmp);
    let rate = |seconds: f64| ((s.batch * t) as f64 / seconds).round();
    println!(
        "{{\"peer\": \"{BURN}\", \"model\": \"{}\", \"precision\": \"f32\", \"threads\": {threads}, \"tokens_per_s\": {}, \
         \"best\": {}, \"peak_memory_bytes\": {}}}",
        s.name,
        rate(times[times.len() / 2]),
        rate(times[0]),
        peak_memory()?
    );
    Ok(())
}

fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
    kib.map(|kib| kib * 1024).map_err(|_| "no VmHWM in /proc/self/status".into())
}

fn main() -> Result<()> {
    let (mut model, mut threads, mut steps) = (None, 2, 7);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |v: String| match v.parse::<usize>() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(format!("{word} wants a number above 0, got {v}")),
        };
        match word.as_str() {
            "f32" => {}
            "bf16" => return Err("burn-flex has no bf16 arithmetic: it widens each operation to f32; use f32".into()),
            "--model" => model = Some(value()?),
            "--threads" => threads = number(value()?)?,
            "--steps" => steps = number(value()?)?,
            _ => return Err(format!("unknown argument {word}; usage: [f32] [--model NAME] [--threads N] [--steps N]")),
        }
    }
    if let Some(m) = &model
        && SHAPES.iter().all(|s| s.name != m)
    {
        return Err(format!("unknown model {m}; one of {:?}", SHAPES.map(|s| s.name)));
    }
    // Flex and its products run on rayon's global pool.
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(|e| e.to_string())?;
    SHAPES.iter().filter(|s| model.as_deref().is_none_or(|m| m == s.name)).try_for_each(|s| train(s, threads, steps))
}
