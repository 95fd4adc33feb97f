//! Whole training traces: gradients of the first step, the losses of all, the final weights.

use std::path::Path;

use bedstone_infer::Runtime;
use bedstone_models::{Inputs, Logits, load};
use bedstone_tensor::{Ctx, Training};
use serde::Deserialize;

use super::{
    Case, Error,
    fixture::{ParityError, Tensors, read_json},
    worse,
};
use crate::optimizer::{AdamW, AdamWConfig, clip_factor, global_norm};

#[derive(Deserialize)]
struct Trace {
    steps: usize,
    lr: f32,
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    clip_grad_norm: f64,
    losses: Vec<f64>,
    grad_norms_before_clip: Vec<f64>,
}

pub(super) fn check(dir: &Path, runtime: Runtime) -> Result<Vec<Case>, ParityError> {
    let trace: Trace = read_json(&dir.join("trace.json"))?;
    if trace.losses.len() != trace.steps || trace.grad_norms_before_clip.len() != trace.steps {
        let reason = format!("wanted {} losses and gradient norms, one a step", trace.steps);
        return Err(ParityError::File { path: dir.join("trace.json"), reason });
    }
    let tensors = Tensors::open(&dir.join("trace.safetensors"))?;
    let (mut model, _) = load(dir)?;
    let config =
        AdamWConfig { beta1: trace.betas[0], beta2: trace.betas[1], eps: trace.eps, weight_decay: trace.weight_decay };
    let mut optimizer = AdamW::new(config, model.params());
    let mut cases = Vec::new();
    let (mut loss_error, mut norm_error) = (0.0f64, 0.0f64);
    for step in 0..trace.steps {
        let start = format!("batch.{step}.");
        let mut inputs = Inputs::default();
        inputs.logits = Logits::None;
        for name in tensors.files.names().filter(|n| n.starts_with(&start)) {
            inputs = inputs.with(&name[start.len()..], tensors.get(name)?);
        }
        // A trace of a causal model may record the ids alone, which are their own labels.
        if let (None, Some(ids)) = (inputs.get("labels"), inputs.get("input_ids")) {
            let ids = ids.clone();
            inputs = inputs.with("labels", ids);
        }
        let env = model.env(runtime.isa, runtime.precision);
        let mut ctx = Ctx::training(env, Training { key: 0, first_sample: 0 });
        let out = model.forward(&inputs, &mut ctx)?;
        let loss = out.need("loss")?;
        loss_error = worse(loss_error, (loss.item()? as f64 - trace.losses[step]).abs());
        let grads = ctx.backward(loss)?;
        if step == 0 {
            cases.extend(check_gradients(&tensors, &model, &grads)?);
        }
        let norm = global_norm(&grads, &env);
        let want = trace.grad_norms_before_clip[step];
        norm_error = worse(norm_error, (norm - want).abs() / want);
        optimizer.update(model.params_mut(), &grads, trace.lr, clip_factor(norm, trace.clip_grad_norm), runtime.isa);
    }
    cases.push(Case::measured(format!("losses of {} steps", trace.steps), Error { got: loss_error, allowed: 1e-4 }));
    cases.push(Case::measured("gradient norms, relative", Error { got: norm_error, allowed: 1e-3 }));
    for (_, param) in model.params().iter() {
        let name = format!("final.{}", param.name);
        if tensors.files.get(&name).is_none() {
            continue;
        }
        let (want, grad) = (tensors.get(&name)?, tensors.get(&format!("grad.{}", param.name))?);
        let error = weight_error(param.value.f32s(), want.f32s(), grad.f32s());
        cases.push(Case::measured(format!("weights after {} steps: {}", trace.steps, param.name), error));
    }
    Ok(cases)
}

/// Every recorded gradient.
fn check_gradients(
    tensors: &Tensors,
    model: &bedstone_models::Model,
    grads: &bedstone_tensor::Grads,
) -> Result<Vec<Case>, ParityError> {
    let mut cases = Vec::new();
    for name in tensors.files.names().filter_map(|n| n.strip_prefix("grad.")) {
        let want = tensors.get(&format!("grad.{name}"))?;
        let label = format!("gradient of {name}");
        let Ok(id) = model.params().id(name) else {
            cases.push(Case::failed(label, "the model has no such parameter"));
            continue;
        };
        let Some(got) = grads.param(id) else {
            cases.push(Case::failed(label, "the parameter got no gradient"));
            continue;
        };
        if got.shape() != want.shape() {
            cases.push(Case::failed(label, format!("got shape {}, wanted {}", got.shape(), want.shape())));
            continue;
        }
        let largest = want.f32s().iter().fold(0.0f64, |m, &x| m.max((x as f64).abs()));
        let error = largest_difference(got.f32s(), want.f32s());
        cases.push(Case::measured(label, Error { got: error, allowed: 1e-4 * largest + 1e-6 }));
    }
    Ok(cases)
}

/// The error of final weights that is largest beside what is allowed.
///
/// Where the gradient is zero but for rounding (the bias of keys, which the softmax cancels), AdamW divides rounding by
/// rounding, and the recorded weight is that of one machine's order of sums: PyTorch itself differs from its own record
/// there by 5e-4 to 6e-4 with other threads or in double precision.
fn weight_error(got: &[f32], want: &[f32], first_gradient: &[f32]) -> Error {
    if got.len() != want.len() || got.len() != first_gradient.len() {
        return Error { got: f64::NAN, allowed: WEIGHTS };
    }
    let errors = got.iter().zip(want).zip(first_gradient).map(|((a, b), g)| Error {
        got: (*a as f64 - *b as f64).abs(),
        allowed: if (*g as f64).abs() < ROUNDING { ROUNDED_WEIGHTS } else { WEIGHTS },
    });
    errors.fold(Error { got: 0.0, allowed: WEIGHTS }, |worst, e| {
        if worst.got.is_nan() || e.got / e.allowed <= worst.got / worst.allowed { worst } else { e }
    })
}

/// What final weights may differ by.
const WEIGHTS: f64 = 5e-4;
/// Gradients below this are rounding: it is what gradients may differ by.
const ROUNDING: f64 = 1e-6;
/// What weights without a gradient may differ by.
const ROUNDED_WEIGHTS: f64 = 2e-3;

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    a.iter().zip(b).fold(0.0, |m, (a, b)| worse(m, (*a as f64 - *b as f64).abs()))
}
