//! One continuation a prompt: the likeliest id each time, or a drawn one.

use std::ops::ControlFlow;

use bedstone_kernels::random::{Draw, key};

use super::{
    Finish, Generated,
    decoder::Decoder,
    processors::{probabilities, process, warp},
};
use crate::{GenerationConfig, Result};

pub(super) fn run(
    mut decoder: Decoder<'_>,
    config: &GenerationConfig,
    total: usize,
    on_token: &mut dyn FnMut(usize, i32) -> ControlFlow<()>,
) -> Result<Vec<Generated>> {
    let width = decoder.width;
    let mut results: Vec<Generated> = (0..decoder.rows.len())
        .map(|prompt| Generated { prompt, ids: Vec::new(), finish: Finish::Length, score: None })
        .collect();
    // Prompts whose rows are still in the batch.
    let mut open: Vec<usize> = (0..results.len()).collect();
    while !open.is_empty() && decoder.rows[0].len() < total {
        let mut logits = decoder.logits()?;
        let vocab = logits.shape().width();
        let mut stay = Vec::with_capacity(open.len());
        for (row, scores) in logits.f32s_mut().chunks_mut(vocab).enumerate() {
            let prompt = open[row];
            let step = results[prompt].ids.len();
            process(scores, config, &decoder.rows[row], decoder.padding[row], width);
            let id = if config.do_sample {
                warp(scores, config);
                // A prompt draws the same numbers whatever else is in the batch.
                let draw = Draw { key: key(config.seed, 0), sample: prompt as u32, place: step as u32 };
                choose(scores, draw.uniform(0, 0))
            } else {
                likeliest(scores)
            };
            decoder.rows[row].push(id);
            results[prompt].ids.push(id);
            let stopped = on_token(prompt, id).is_break();
            if config.eos_token_id.contains(&id) {
                results[prompt].finish = Finish::Eos;
            } else if stopped {
                results[prompt].finish = Finish::Stopped;
            } else {
                stay.push(row);
            }
        }
        if stay.len() < open.len() {
            open = stay.iter().map(|&row| open[row]).collect();
            if !open.is_empty() {
                decoder.reorder(&stay)?;
            }
        }
    }
    Ok(results)
}

/// The first of the largest.
pub(super) fn likeliest(scores: &[f32]) -> i32 {
    let best =
        scores.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &x)| if x > best.1 { (i, x) } else { best });
    best.0 as i32
}

/// The id at which the sum of probabilities passes `u`.
fn choose(scores: &[f32], u: f64) -> i32 {
    let p = probabilities(scores);
    let mut sum = 0.0;
    for (id, &p) in p.iter().enumerate() {
        sum += p;
        if u < sum {
            return id as i32;
        }
    }
    // Rounding left the sum below `u`.
    likeliest(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_probabilities() {
        let scores: Vec<f32> = [0.5f32, 0.25, 0.25].iter().map(|p| p.ln()).collect();
        for (u, want) in [(0.0, 0), (0.49, 0), (0.51, 1), (0.74, 1), (0.76, 2), (0.999_999_999, 2)] {
            assert_eq!(choose(&scores, u), want, "{u}");
        }
        assert_eq!(likeliest(&[1.0, 3.0, 3.0]), 1);
    }
}
