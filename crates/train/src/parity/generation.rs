//! Generated ids and scores.

use std::ops::ControlFlow;

use bedstone_infer::{GenerationConfig, Runtime, generate};
use bedstone_models::Model;

use super::{
    Case, Error, Tolerance,
    fixture::{Fixture, Generation, ParityError},
    worse,
};

pub(super) fn check(
    fixture: &Fixture,
    model: &Model,
    runtime: Runtime,
    item: &Generation,
) -> Result<Vec<Case>, ParityError> {
    let label = format!("generate {}", item.name);
    let inputs = fixture.inputs(&format!("gen.{}", item.name))?;
    let ids = inputs.need("input_ids")?;
    let [rows, width] = ids.dims("input_ids")?;
    let ids = ids.data::<i32>("input_ids")?;
    let mask = inputs.get("attention_mask").map(|m| m.data::<i32>("attention_mask")).transpose()?;
    if mask.is_some_and(|m| m.len() != ids.len()) {
        let reason = format!("{label}: attention_mask and input_ids differ in size");
        return Err(ParityError::File { path: fixture.dir.join("parity.safetensors"), reason });
    }
    let prompts: Vec<Vec<i32>> = (0..rows)
        .map(|r| (r * width..(r + 1) * width).filter(|&i| mask.is_none_or(|m| m[i] != 0)).map(|i| ids[i]).collect())
        .collect();
    let config = config(fixture, item)?;
    let results = generate(model, runtime, &prompts, &config, &mut |_, _| ControlFlow::Continue(()), &|_| false)?;
    // Shorter results are filled up: with the padding id, in beams with an end id where that is 0.
    let pad = config.pad_token_id.or(config.eos_token_id.first().copied()).unwrap_or(0);
    let beams = config.num_beams > 1;
    let fill = if beams && pad == 0 { config.eos_token_id.first().copied().unwrap_or(-1) } else { pad };
    let longest = results.iter().map(|r| r.ids.len()).max().unwrap_or(0);
    let got: Vec<Vec<i32>> = results
        .iter()
        .map(|r| {
            let mut row = ids[r.prompt * width..(r.prompt + 1) * width].to_vec();
            row.extend(&r.ids);
            row.resize(width + longest, fill);
            row
        })
        .collect();
    if !Tolerance::of(runtime.precision).same_ids() {
        return Ok(vec![Case::passed_over(label)]);
    }
    let mut cases = vec![Case::equal(label.clone(), difference(&got, &item.sequences))];
    if let Some(want) = &item.sequences_scores {
        let errors = results.iter().zip(want).map(|(r, w)| (r.score.unwrap_or(f32::NAN) as f64 - w).abs());
        let worst = errors.fold(0.0, worse);
        cases.push(Case::measured(format!("{label} scores"), Error { got: worst, allowed: 1e-4 }));
    }
    Ok(cases)
}

/// The recorded arguments, with the checkpoint's special ids where they name none.
fn config(fixture: &Fixture, item: &Generation) -> Result<GenerationConfig, ParityError> {
    let wrong = |reason: String| ParityError::File { path: fixture.dir.join("parity.json"), reason };
    let base = GenerationConfig::of_checkpoint(&fixture.dir)?;
    let given = GenerationConfig::from_fields(item.kwargs.clone()).map_err(wrong)?;
    let ids = |name: &str| !item.kwargs.contains_key(name);
    Ok(GenerationConfig {
        eos_token_id: if ids("eos_token_id") { base.eos_token_id } else { given.eos_token_id },
        pad_token_id: if ids("pad_token_id") { base.pad_token_id } else { given.pad_token_id },
        ..given
    })
}

/// The first place where the sequences differ.
fn difference(got: &[Vec<i32>], want: &[Vec<i32>]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("got {} sequences, wanted {}", got.len(), want.len()));
    }
    got.iter().zip(want).enumerate().find_map(|(r, (got, want))| {
        let place = got.iter().zip(want).position(|(a, b)| a != b);
        match place {
            Some(i) => Some(format!("sequence {r} has id {} at place {i}, wanted {}", got[i], want[i])),
            None if got.len() != want.len() => {
                Some(format!("sequence {r} has {} ids, wanted {}", got.len(), want.len()))
            }
            None => None,
        }
    })
}
