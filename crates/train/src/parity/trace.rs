//! Whole training traces: gradients of the first step, the losses of all, the final weights.

use std::path::Path;

use bedstone_infer::Runtime;
use bedstone_models::{Inputs, Logits, load};
use bedstone_tensor::{Ctx, Training};
use serde::Deserialize;

use super::{
    Case, Error, Tolerance,
    fixture::{ParityError, Tensors, read_json},
    names::place,
    outputs::is_comparable,
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
    let tolerance = Tolerance::of(runtime.precision);
    let (mut loss_error, mut norm_error) = (tolerance.loss(0.0, 0.0), Error { got: 0.0, allowed: 1.0 });
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
        if !is_comparable(&inputs, runtime.precision) {
            return Ok(vec![Case::passed_over("training trace of a detector")]);
        }
        let env = model.env(runtime.isa, runtime.precision);
        let mut ctx = Ctx::training(env, Training { key: 0, first_sample: 0 });
        let out = model.forward(&inputs, &mut ctx)?;
        let loss = out.need("loss")?;
        loss_error = loss_error.or(tolerance.loss(loss.item()? as f64, trace.losses[step]));
        let grads = ctx.backward(loss)?;
        if step == 0 {
            cases.extend(check_gradients(&tensors, &model, &grads, tolerance, trace.grad_norms_before_clip[0])?);
        }
        let norm = global_norm(&grads, &env);
        if let Some(error) = tolerance.norm(step, norm, trace.grad_norms_before_clip[step]) {
            norm_error = norm_error.or(error);
        }
        optimizer.update(model.params_mut(), &grads, trace.lr, clip_factor(norm, trace.clip_grad_norm), runtime.isa);
    }
    cases.push(Case::measured(format!("losses of {} steps", trace.steps), loss_error));
    cases.push(Case::measured("gradient norms, relative", norm_error));
    for name in tensors.files.names().filter_map(|n| n.strip_prefix("final.")) {
        // One that the model does not have was told of with the gradients.
        let Some(place) = place(model.params(), name) else { continue };
        let value = model.params().get(place.id).value.f32s();
        let (want, grad) = (tensors.get(&format!("final.{name}"))?, tensors.get(&format!("grad.{name}"))?);
        let shape = place.shape(model.params());
        let error = match want.shape() == shape && grad.shape() == shape {
            true => {
                let triples = place.of(value, model.params()).iter().zip(want.f32s()).zip(grad.f32s());
                tolerance.weights(triples.map(|((&a, &b), &g)| (a, b, g)), trace.steps as f64 * trace.lr as f64)
            }
            false => Error { got: f64::NAN, allowed: 0.0 },
        };
        cases.push(Case::measured(format!("weights after {} steps: {}", trace.steps, name), error));
    }
    Ok(cases)
}

/// Every recorded gradient.
fn check_gradients(
    tensors: &Tensors,
    model: &bedstone_models::Model,
    grads: &bedstone_tensor::Grads,
    tolerance: Tolerance,
    norm: f64,
) -> Result<Vec<Case>, ParityError> {
    let mut cases = Vec::new();
    for name in tensors.files.names().filter_map(|n| n.strip_prefix("grad.")) {
        let want = tensors.get(&format!("grad.{name}"))?;
        let label = format!("gradient of {name}");
        let Some(place) = place(model.params(), name) else {
            cases.push(Case::failed(label, "the model has no such parameter"));
            continue;
        };
        let Some(got) = grads.param(place.id) else {
            cases.push(Case::failed(label, "the parameter got no gradient"));
            continue;
        };
        let shape = place.shape(model.params());
        if shape != want.shape() {
            cases.push(Case::failed(label, format!("got shape {shape}, wanted {}", want.shape())));
            continue;
        }
        let largest = want.f32s().iter().fold(0.0f64, |m, &x| m.max((x as f64).abs()));
        let pairs = place.of(got.f32s(), model.params()).iter().zip(want.f32s()).map(|(&a, &b)| (a, b));
        cases.push(Case::measured(label, tolerance.gradient(pairs, largest, norm)));
    }
    Ok(cases)
}
