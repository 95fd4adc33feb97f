//! Outputs of a forward pass, and of passes with the cache.

use bedstone_infer::Runtime;
use bedstone_models::{Inputs, Model};
use bedstone_tensor::{Cache, Ctx, Isa, Precision, Tensor, ops};

use super::{Case, Tolerance, fixture::Fixture, fixture::ParityError, sentences};

/// Compares every recorded output of a case.
pub(super) fn check(fixture: &Fixture, model: &Model, runtime: Runtime, case: &str) -> Result<Vec<Case>, ParityError> {
    let mut inputs = fixture.inputs(case)?;
    let mut expected = fixture.outputs(case)?;
    expected.retain(|(name, _)| !sentences::is_output(fixture, case, name));
    inputs.hidden_states = expected.iter().any(|(name, _)| name.contains("hidden_states."));
    inputs.last_states = expected.iter().any(|(name, _)| name == "last_hidden_state");
    inputs.attentions = expected.iter().any(|(name, _)| name.starts_with("attentions"));
    let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
    let mut out = model.forward(&inputs, &mut ctx)?;
    // As users get them, whose last layer computes what the head reads; and with all of its states.
    let alone = match model.info().read {
        Some(_) => {
            let mut few = inputs.clone();
            (few.hidden_states, few.attentions, few.last_states) = (false, false, false);
            Some(model.forward(&few, &mut Ctx::inference(model.env(runtime.isa, runtime.precision)))?)
        }
        None => None,
    };
    let mask = inputs.get("attention_mask");
    if fixture.pools_means(case) {
        let kept = mask.map(bytes).transpose()?;
        let pooled = ops::mean_pool(out.need("last_hidden_state")?, kept.as_ref(), &mut ctx)?;
        out.put("embeddings", ops::normalize(&pooled, &mut ctx)?);
        out.put("pooled", pooled);
    }
    let compare = |(name, want): (String, Tensor)| {
        let label = format!("{case} {name}");
        match out.get(&name) {
            None => Case::failed(label, "the model does not give this output"),
            Some(_) if name.starts_with("loss") && !is_comparable(&inputs, runtime.precision) => {
                Case::passed_over(label)
            }
            Some(got) => {
                let case = compare(label.clone(), got, &want, mask, runtime.precision);
                match alone.as_ref().and_then(|out| out.get(&name)).filter(|_| case.passed()) {
                    Some(got) => case.worse(compare(label, got, &want, mask, runtime.precision)),
                    None => case,
                }
            }
        }
    };
    Ok(expected.into_iter().map(compare).collect())
}

/// Whether losses can be compared: those of detectors follow from who is given which object, and near ties fall either way.
pub(super) fn is_comparable(inputs: &Inputs, precision: Precision) -> bool {
    inputs.get("labels.0.boxes").is_none() || Tolerance::of(precision).same_ids()
}

/// A mask as operations take it.
fn bytes(mask: &Tensor) -> Result<Tensor, ParityError> {
    let bytes: Vec<u8> = mask.data::<i32>("attention_mask")?.iter().map(|&m| u8::from(m != 0)).collect();
    Ok(Tensor::from_slice(&bytes, mask.shape()))
}

/// Compares decoding with the cache: `prefix` ids in one pass, then one at a time.
pub(super) fn check_cache(
    fixture: &Fixture,
    model: &Model,
    runtime: Runtime,
    case: &str,
    prefix: usize,
) -> Result<Vec<Case>, ParityError> {
    let inputs = fixture.inputs(case)?;
    let ids = inputs.need("input_ids")?;
    let [b, t] = ids.dims("input_ids")?;
    let all = ids.data::<i32>("input_ids")?;
    if prefix == 0 || prefix > t {
        return Ok(vec![Case::failed(case, format!("prefix_length {prefix} of {t} ids"))]);
    }
    let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
    ctx.cache = Some(Cache::new(t));
    let mut pass = |from: usize, to: usize| {
        let part: Vec<i32> = (0..b).flat_map(|r| all[r * t + from..r * t + to].iter().copied()).collect();
        let out = model.forward(&Inputs::new("input_ids", Tensor::from_slice(&part, [b, to - from])), &mut ctx)?;
        let logits = out.need("logits")?.clone();
        let layer = ctx.cache.as_ref().and_then(|c| c.layer(0)).map(|(k, v)| (k.clone(), v.clone()));
        Ok::<_, ParityError>((logits, layer))
    };
    let (_, layer) = pass(0, prefix)?;
    let mut steps = Vec::new();
    for i in prefix..t {
        steps.push(pass(i, i + 1)?.0);
    }
    let mut cases = Vec::new();
    for (name, want) in fixture.outputs(case)? {
        let label = format!("{case} {name}");
        let got = match (&name[..], &layer) {
            ("step_logits", _) => Some(interleave(&steps, b)),
            ("layer0_keys", Some((keys, _))) => by_head(keys, prefix, &want),
            ("layer0_values", Some((_, values))) => by_head(values, prefix, &want),
            _ => None,
        };
        cases.push(match got {
            Some(got) => compare(label, &got, &want, None, runtime.precision),
            None => Case::failed(label, "this output is not known here"),
        });
    }
    Ok(cases)
}

/// Logits of single steps `[B, 1, V]` as `[B, steps, V]`.
fn interleave(steps: &[Tensor], b: usize) -> Tensor {
    let v = steps.first().map_or(0, |s| s.shape().width());
    let rows = (0..b).flat_map(|r| steps.iter().flat_map(move |s| s.f32s()[r * v..(r + 1) * v].iter().copied()));
    Tensor::from_slice(&rows.collect::<Vec<f32>>(), [b, steps.len(), v])
}

/// The last tokens of a cache's first `len`, `[B, room, H · D]`, in the shape of `want`, `[B, H, kept, D]`.
fn by_head(x: &Tensor, len: usize, want: &Tensor) -> Option<Tensor> {
    let [b, h, kept, d] = want.dims("cache").ok()?;
    let [_, room, width] = x.dims("cache").ok()?;
    if width != h * d || kept > len {
        return None;
    }
    let mut y = Vec::with_capacity(want.shape().numel());
    for b in 0..b {
        for h in 0..h {
            // A layer with a window need not keep what it never sees again.
            for t in len - kept..len {
                y.extend_from_slice(&x.f32s()[(b * room + t) * width + h * d..][..d]);
            }
        }
    }
    Some(Tensor::from_slice(&y, want.shape()))
}

/// The error, and what is allowed beside it.
pub(super) fn compare(label: String, got: &Tensor, want: &Tensor, mask: Option<&Tensor>, precision: Precision) -> Case {
    if got.shape() != want.shape() {
        return Case::failed(label, format!("got shape {}, wanted {}", got.shape(), want.shape()));
    }
    if let (Ok(got), Ok(want)) = (got.data::<i32>("output"), want.data::<i32>("output")) {
        let place = got.iter().zip(want).position(|(a, b)| a != b);
        let difference = place.map(|i| format!("got {} at place {i}, wanted {}", got[i], want[i]));
        return match Tolerance::of(precision).same_ids() {
            true => Case::equal(label, difference),
            false => Case::passed_over(label),
        };
    }
    let Ok(got) = got.to_f32(Isa::PORTABLE) else { return Case::failed(label, "not a tensor of floats") };
    let (Ok(got), Ok(want_numbers)) = (got.data::<f32>("output"), want.data::<f32>("output")) else {
        return Case::failed(label, "not a tensor of f32");
    };
    let largest = want_numbers.iter().fold(0.0f64, |m, &x| m.max((x as f64).abs()));
    // What stands at padding follows from how masks are made, not from the model.
    let hidden = |i: usize| {
        let Some(mask) = mask.and_then(|m| Some((m.shape(), m.data::<i32>("mask").ok()?))) else { return false };
        match (&want.shape()[..], mask) {
            // Probabilities: queries of padding.
            (&[b, h, t, keys], (shape, mask)) if shape[..] == [b, t] && keys == t => {
                mask[i / (h * t * t) * t + i / t % t] == 0
            }
            (want, (shape, mask)) if want.len() >= 2 && want[..2] == shape[..] => {
                mask[i / (want.iter().product::<usize>() / mask.len())] == 0
            }
            _ => false,
        }
    };
    let tolerance = Tolerance::of(precision);
    if let ([], &[got], &[want]) = (&want.shape()[..], got, want_numbers) {
        return Case::measured(label, tolerance.loss(got as f64, want as f64));
    }
    let pairs = got.iter().zip(want_numbers).enumerate().filter(|(i, _)| !hidden(*i)).map(|(_, (&a, &b))| (a, b));
    Case::measured(label, tolerance.output(pairs, largest))
}
