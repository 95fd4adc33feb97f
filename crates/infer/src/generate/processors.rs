//! Rules that change the scores of the next id.

use std::collections::BTreeMap;

use crate::GenerationConfig;

/// Applies the rules in the order of the reference: repetition, repeated runs, lengths.
///
/// `scores` are logits, or log-probabilities in beam search; `row` is the sequence so far with its padding, of which
/// `padding` ids are that; `width` is the prompt's length.
pub(super) fn process(scores: &mut [f32], config: &GenerationConfig, row: &[i32], padding: usize, width: usize) {
    if config.repetition_penalty != 1.0 {
        let mut seen: Vec<usize> = row[padding..].iter().map(|&id| id as usize).collect();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            let x = &mut scores[id];
            *x = if *x < 0.0 { *x * config.repetition_penalty } else { *x / config.repetition_penalty };
        }
    }
    if config.no_repeat_ngram_size > 0 {
        for id in repeating(row, config.no_repeat_ngram_size) {
            scores[id as usize] = f32::NEG_INFINITY;
        }
    }
    let too_short = row.len() < config.min_length || config.min_new_tokens.is_some_and(|min| row.len() - width < min);
    if too_short {
        for &id in &config.eos_token_id {
            if let Some(x) = scores.get_mut(id as usize) {
                *x = f32::NEG_INFINITY;
            }
        }
    }
}

/// Ids that would complete a run of `n` which `row` has already.
fn repeating(row: &[i32], n: usize) -> Vec<i32> {
    if row.len() + 1 < n {
        return Vec::new();
    }
    let mut following: BTreeMap<&[i32], Vec<i32>> = BTreeMap::new();
    for run in row.windows(n) {
        following.entry(&run[..n - 1]).or_default().push(run[n - 1]);
    }
    following.remove(&row[row.len() + 1 - n..]).unwrap_or_default()
}

/// Divides by the temperature and rules out what top-k, top-p and min-p leave aside, by setting it to -infinity.
pub(super) fn warp(scores: &mut [f32], config: &GenerationConfig) {
    if config.temperature != 1.0 {
        // Below the largest first: a very small temperature would carry all of them beyond what f32 holds.
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter_mut().for_each(|x| *x = (*x - top) / config.temperature);
    }
    if config.top_k > 0 && config.top_k < scores.len() {
        let mut sorted = scores.to_vec();
        let (_, least, _) = sorted.select_nth_unstable_by(config.top_k - 1, |a, b| b.total_cmp(a));
        let least = *least;
        rule_out(scores, |x| x < least);
    }
    if config.top_p < 1.0 {
        let mut order: Vec<(f64, usize)> =
            probabilities(scores).into_iter().enumerate().map(|(i, p)| (p, i)).filter(|(p, _)| *p > 0.0).collect();
        // Equal probabilities in the order of ids, so that the choice does not depend on the sort.
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut before = 0.0;
        for (p, id) in order {
            // The first token that reaches the sum is still taken.
            if before >= config.top_p as f64 {
                scores[id] = f32::NEG_INFINITY;
            }
            before += p;
        }
    }
    if config.min_p > 0.0 {
        let p = probabilities(scores);
        let least = config.min_p as f64 * p.iter().copied().fold(0.0, f64::max);
        scores.iter_mut().zip(p).filter(|(_, p)| *p < least).for_each(|(x, _)| *x = f32::NEG_INFINITY);
    }
}

fn rule_out(scores: &mut [f32], out: impl Fn(f32) -> bool) {
    scores.iter_mut().filter(|x| out(**x)).for_each(|x| *x = f32::NEG_INFINITY);
}

/// The softmax, in double precision.
pub(super) fn probabilities(scores: &[f32]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let mut p: Vec<f64> = scores.iter().map(|&x| (x as f64 - top).exp()).collect();
    let sum: f64 = p.iter().sum();
    p.iter_mut().for_each(|p| *p /= sum);
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: f32 = f32::NEG_INFINITY;

    #[track_caller]
    fn check(change: impl Fn(&mut GenerationConfig), scores: &[f32], want: &[f32]) {
        let mut config = GenerationConfig { eos_token_id: vec![1], ..Default::default() };
        change(&mut config);
        let mut got = scores.to_vec();
        process(&mut got, &config, &[3, 0, 2, 0], 1, 3);
        warp(&mut got, &config);
        assert_eq!(got, want);
    }

    #[test]
    fn rules() {
        check(|_| {}, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
        check(|c| c.repetition_penalty = 2.0, &[1.0, 2.0, -3.0, 4.0], &[0.5, 2.0, -6.0, 4.0]);
        check(|c| c.no_repeat_ngram_size = 2, &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, OUT, 4.0]);
        check(|c| c.no_repeat_ngram_size = 1, &[1.0, 2.0, 3.0, 4.0], &[OUT, 2.0, OUT, OUT]);
        check(|c| c.min_length = 5, &[1.0, 2.0, 3.0, 4.0], &[1.0, OUT, 3.0, 4.0]);
        check(|c| c.min_new_tokens = Some(1), &[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0]);
        check(|c| c.min_new_tokens = Some(2), &[1.0, 2.0, 3.0, 4.0], &[1.0, OUT, 3.0, 4.0]);
        check(|c| c.top_k = 2, &[1.0, 4.0, 3.0, 2.0], &[OUT, 4.0, 3.0, OUT]);
        check(|c| c.temperature = 0.5, &[1.0, 4.0, 3.0, 2.0], &[-6.0, 0.0, -2.0, -4.0]);
        check(|c| c.temperature = 1e-39, &[1.0, 4.0, 3.0, 2.0], &[OUT, 0.0, OUT, OUT]);
    }

    #[test]
    fn nucleus_and_min_p() {
        // Probabilities 0.5, 0.3, 0.15, 0.05.
        let scores: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let kept = |change: fn(&mut GenerationConfig)| {
            let mut config = GenerationConfig::default();
            change(&mut config);
            let mut got = scores.clone();
            warp(&mut got, &config);
            got.iter().filter(|x| x.is_finite()).count()
        };
        assert_eq!(kept(|c| c.top_p = 0.4), 1);
        assert_eq!(kept(|c| c.top_p = 0.6), 2);
        assert_eq!(kept(|c| c.top_p = 0.9), 3);
        assert_eq!(kept(|c| c.min_p = 0.2), 3);
        assert_eq!(kept(|c| c.min_p = 0.5), 2);
    }
}
