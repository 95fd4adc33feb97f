//! Candle's training throughput of a GPT, for a side-by-side with this project in the same minutes.
//!
//!     candle-train [f32] [--model gpt-6m] [--threads 2] [--steps 7]
//!
//! The model, the data and the line printed are those of `../torch_train.py`.

use std::os::unix::process::CommandExt;
use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

/// The one that Bedstone links, so that the allocator makes no difference.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CANDLE: &str = "candle 0.11.1";

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

/// Every variable, in the order in which it was made, so that none escapes the optimizer or the check of gradients.
#[derive(Default)]
struct Vars(Vec<Var>);

impl Vars {
    fn keep(&mut self, var: Var) -> Tensor {
        self.0.push(var.clone());
        var.into_inner()
    }

    fn normal(&mut self, rows: usize, columns: usize) -> Result<Tensor> {
        Ok(self.keep(Var::randn(0f32, 1f32, (rows, columns), &Device::Cpu)?))
    }

    fn linear(&mut self, inputs: usize, outputs: usize, bias: bool) -> Result<Linear> {
        let bound = 1.0 / (inputs as f32).sqrt();
        // Inputs by outputs, so that the gradient of the weight comes out of its product as it lies.
        let weight = self.keep(Var::rand(-bound, bound, (inputs, outputs), &Device::Cpu)?);
        let bias = if bias { Some(self.keep(Var::rand(-bound, bound, outputs, &Device::Cpu)?)) } else { None };
        Ok(Linear { weight, bias })
    }

    fn norm(&mut self, width: usize) -> Result<Norm> {
        let scale = self.keep(Var::ones(width, DType::F32, &Device::Cpu)?);
        Ok(Norm { scale, shift: self.keep(Var::zeros(width, DType::F32, &Device::Cpu)?) })
    }
}

struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight)?;
        self.bias.as_ref().map_or(Ok(y.clone()), |b| y.broadcast_add(b))
    }
}

/// Layer norm from primitives: the fused one of candle-nn has no backward pass, and says nothing about it.
struct Norm {
    scale: Tensor,
    shift: Tensor,
}

impl Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?.recip()?;
        x.broadcast_mul(&inverse)?.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)
    }
}

/// Softmax from primitives, for the same reason. The maximum only shifts, so nothing flows back through it.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?.exp()?;
    e.broadcast_mul(&e.sum_keepdim(D::Minus1)?.recip()?)
}

/// Logits `[N, V]`, targets `[N]`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(1)?)?;
    let picked = shifted.gather(&targets.unsqueeze(1)?, 1)?;
    (shifted.exp()?.sum_keepdim(1)?.log()? - picked)?.mean_all()
}

struct Block {
    norm1: Norm,
    norm2: Norm,
    qkv: Linear,
    out: Linear,
    fc: Linear,
    proj: Linear,
}

struct Gpt {
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
    /// `[T, T]`, 0 where a query may look and minus infinity elsewhere.
    mask: Tensor,
    heads: usize,
}

impl Gpt {
    fn new(s: &Shape, vars: &mut Vars) -> Result<Self> {
        let (c, t) = (s.width, s.context);
        let mask: Vec<f32> = (0..t * t).map(|i| if i % t > i / t { f32::NEG_INFINITY } else { 0.0 }).collect();
        let (tokens, positions) = (vars.normal(s.vocab, c)?, vars.normal(t, c)?);
        let mut block = || {
            Ok(Block {
                norm1: vars.norm(c)?,
                norm2: vars.norm(c)?,
                qkv: vars.linear(c, 3 * c, true)?,
                out: vars.linear(c, c, true)?,
                fc: vars.linear(c, 4 * c, true)?,
                proj: vars.linear(4 * c, c, true)?,
            })
        };
        let blocks = (0..s.layers).map(|_| block()).collect::<Result<_>>()?;
        let (norm, head) = (vars.norm(c)?, vars.linear(c, s.vocab, false)?);
        let mask = Tensor::from_vec(mask, (t, t), &Device::Cpu)?;
        Ok(Self { tokens, positions, blocks, norm, head, mask, heads: s.heads })
    }

    /// Ids `[B * T]`, logits `[B * T, V]`.
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let (t, c) = self.positions.dims2()?;
        let x = self.tokens.index_select(ids, 0)?;
        let x = x.reshape(((), t, c))?.broadcast_add(&self.positions)?;
        let mut x = x.reshape(((), c))?;
        for b in &self.blocks {
            x = (&x + b.out.forward(&self.attention(&b.qkv.forward(&b.norm1.forward(&x)?)?)?)?)?;
            x = (&x + b.proj.forward(&b.fc.forward(&b.norm2.forward(&x)?)?.gelu()?)?)?;
        }
        self.head.forward(&self.norm.forward(&x)?)
    }

    fn attention(&self, qkv: &Tensor) -> Result<Tensor> {
        let (t, c) = self.positions.dims2()?;
        let d = c / self.heads;
        // Laid out anew in one copy: products take no heads that lie between those of another part.
        let qkv = qkv.reshape(((), t, 3, self.heads, d))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (q, k, v) = ((qkv.get(0)? * (d as f64).powf(-0.5))?, qkv.get(1)?, qkv.get(2)?);
        let scores = q.matmul(&k.t()?)?.broadcast_add(&self.mask)?;
        softmax(&scores)?.matmul(&v)?.transpose(1, 2)?.reshape(((), c))
    }
}

fn train(s: &Shape, threads: usize, steps: usize) -> Result<()> {
    let mut vars = Vars::default();
    let model = Gpt::new(s, &mut vars)?;
    let mut optimizer = AdamW::new(vars.0.clone(), ParamsAdamW::default())?;
    let mut state = 1u64;
    let ids: Vec<u32> = (0..s.batch * s.context)
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32 % s.vocab as u32
        })
        .collect();
    let ids = Tensor::new(ids, &Device::Cpu)?;
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for step in 0..steps + 2 {
        let start = Instant::now();
        let loss = cross_entropy(&model.forward(&ids)?, &ids)?;
        let gradients = loss.backward()?;
        if step == 0 {
            // An operation without a backward pass cuts the graph in silence: then some variable has no gradient.
            for (i, var) in vars.0.iter().enumerate() {
                let Some(g) = gradients.get(var) else { bail!("variable {i} {:?} has no gradient", var.shape()) };
                let norm = g.sqr()?.sum_all()?.to_scalar::<f32>()?;
                if !(norm > 0.0 && norm.is_finite()) {
                    bail!("variable {i} {:?} has a gradient of squared norm {norm}", var.shape());
                }
            }
        }
        optimizer.step(&gradients)?;
        losses.push(loss.to_scalar::<f32>()?);
        times.push(start.elapsed().as_secs_f64());
    }
    eprintln!("losses {losses:?}");
    if losses[steps + 1] >= losses[0] || losses[steps + 1].is_nan() {
        bail!("the loss does not fall: {losses:?}");
    }
    let mut times = times.split_off(2);
    times.sort_by(f64::total_cmp);
    let rate = |seconds: f64| ((s.batch * s.context) as f64 / seconds).round();
    println!(
        "{{\"peer\": \"{CANDLE}\", \"model\": \"{}\", \"precision\": \"f32\", \"threads\": {threads}, \"tokens_per_s\": {}, \
         \"best\": {}, \"peak_memory_bytes\": {}}}",
        s.name,
        rate(times[times.len() / 2]),
        rate(times[0]),
        peak_memory()?
    );
    Ok(())
}

fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    match line.trim().trim_end_matches(" kB").parse::<u64>() {
        Ok(kib) => Ok(kib * 1024),
        Err(_) => bail!("no VmHWM in /proc/self/status"),
    }
}

fn main() -> Result<()> {
    let (mut model, mut threads, mut steps) = (None, 2, 7);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| candle_core::Error::msg(format!("{word} wants a value")));
        let number = |v: String| match v.parse::<usize>() {
            Ok(n) if n > 0 => Ok(n),
            _ => bail!("{word} wants a number above 0, got {v}"),
        };
        match word.as_str() {
            "f32" => {}
            "bf16" => bail!("candle does not train in bf16 on a CPU: it widens each product to f32 and back; use f32"),
            "--model" => model = Some(value()?),
            "--threads" => threads = number(value()?)?,
            "--steps" => steps = number(value()?)?,
            _ => bail!("unknown argument {word}; usage: [f32] [--model NAME] [--threads N] [--steps N]"),
        }
    }
    // Candle takes its number of threads from the environment alone, so start over with it set.
    if std::env::var("RAYON_NUM_THREADS").as_deref() != Ok(&threads.to_string()) {
        let mut again = std::process::Command::new(std::env::current_exe()?);
        return Err(again.args(std::env::args().skip(1)).env("RAYON_NUM_THREADS", threads.to_string()).exec().into());
    }
    if let Some(m) = &model
        && SHAPES.iter().all(|s| s.name != m)
    {
        bail!("unknown model {m}; one of {:?}", SHAPES.map(|s| s.name));
    }
    SHAPES.iter().filter(|s| model.as_deref().is_none_or(|m| m == s.name)).try_for_each(|s| train(s, threads, steps))
}
