//! Beam search, with the rules of `transformers` for when a beam counts as finished and when to stop.

use bedstone_tensor::Tensor;

use super::{Finish, Generated, decoder::Decoder, processors::process};
use crate::{EarlyStopping, GenerationConfig, Result};

/// Stands for "not possible" in scores, as in the reference: finite, so that orders stay defined.
const NEVER: f32 = -1e9;

/// A sequence's continuation with its score.
#[derive(Clone, Debug)]
struct Hypothesis {
    /// Divided by the length penalty.
    score: f32,
    ids: Vec<i32>,
    finished: bool,
}

/// The search of one prompt.
#[derive(Clone, Debug)]
struct Search {
    /// The best finished ones, best first; always `num_beams`, those not finished with [`NEVER`].
    best: Vec<Hypothesis>,
    /// Sums of log-probabilities of the running beams, best first.
    running: Vec<f32>,
    /// Whether a running beam may still enter `best`.
    improving: bool,
}

/// A running beam with one more id.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    sum: f32,
    beam: usize,
    id: i32,
    ends: bool,
}

pub(super) fn search(
    mut decoder: Decoder<'_>,
    config: &GenerationConfig,
    total: usize,
    ends: &dyn Fn(&[i32]) -> bool,
) -> Result<Vec<Generated>> {
    let (prompts, beams, width) = (decoder.rows.len(), config.num_beams, decoder.width);
    let order: Vec<usize> = (0..prompts).flat_map(|p| vec![p; beams]).collect();
    // Until the first step all beams are the same: only the first one counts.
    let mut running = vec![NEVER; beams];
    running[0] = 0.0;
    let none = Hypothesis { score: NEVER, ids: Vec::new(), finished: false };
    let mut searches = vec![Search { best: vec![none; beams], running, improving: true }; prompts];
    decoder.reorder(&order)?;
    loop {
        let logits = decoder.logits()?;
        let length = decoder.rows[0].len() + 1;
        let (mut order, mut ids) = (Vec::new(), Vec::new());
        let mut all_end = true;
        for (p, search) in searches.iter_mut().enumerate() {
            let mut candidates = candidates(search, &decoder, &logits, p, config, length == total);
            for c in candidates.iter_mut().filter(|c| !c.ends) {
                let row = &decoder.rows[p * beams + c.beam][width..];
                c.ends = ends(&[row, &[c.id]].concat());
            }
            all_end &= candidates.iter().all(|c| c.ends);
            search.finish(&candidates, &decoder, p, config, length - width);
            // The best that go on; where too few do, ended ones keep their place with no chance.
            let mut next: Vec<Candidate> = candidates
                .into_iter()
                .map(|c| if c.ends { Candidate { sum: c.sum + NEVER, ..c } } else { c })
                .collect();
            next.sort_by(|a, b| b.sum.total_cmp(&a.sum));
            next.truncate(beams);
            search.running = next.iter().map(|c| c.sum).collect();
            order.extend(next.iter().map(|c| p * beams + c.beam));
            ids.extend(next.iter().map(|c| c.id));
            search.improving &= search.can_improve(config, length - width, total - width);
        }
        decoder.reorder(&order)?;
        for (row, id) in decoder.rows.iter_mut().zip(ids) {
            row.push(id);
        }
        let full =
            config.early_stopping == EarlyStopping::Full && searches.iter().all(|s| s.best.iter().all(|h| h.finished));
        if all_end || full || !searches.iter().any(|s| s.improving) {
            break;
        }
    }
    let results = searches.into_iter().enumerate().flat_map(|(prompt, search)| {
        search.best.into_iter().take(config.num_return_sequences).map(move |h| Generated {
            prompt,
            finish: match h.ids.last() {
                Some(id) if config.eos_token_id.contains(id) => Finish::Eos,
                _ => Finish::Length,
            },
            ids: h.ids,
            score: Some(h.score),
        })
    });
    Ok(results.collect())
}

/// The best continuations of a prompt's beams, best first: enough that `num_beams` of them do not end.
fn candidates(
    search: &Search,
    decoder: &Decoder<'_>,
    logits: &Tensor,
    prompt: usize,
    config: &GenerationConfig,
    last: bool,
) -> Vec<Candidate> {
    let (beams, vocab) = (config.num_beams, logits.shape().width());
    let keep = (1 + config.eos_token_id.len()).max(2) * beams;
    let mut all: Vec<Candidate> = Vec::with_capacity(beams * vocab);
    for beam in 0..beams {
        let row = prompt * beams + beam;
        let mut scores = log_softmax(&logits.f32s()[row * vocab..(row + 1) * vocab]);
        process(&mut scores, config, &decoder.rows[row], decoder.padding[row], decoder.width);
        all.extend(scores.iter().enumerate().map(|(id, s)| Candidate {
            sum: search.running[beam] + s,
            beam,
            id: id as i32,
            ends: last || config.eos_token_id.contains(&(id as i32)),
        }));
    }
    let keep = keep.min(all.len());
    // Equal sums keep the order of beams and ids.
    let better = |a: &Candidate, b: &Candidate| b.sum.total_cmp(&a.sum).then((a.beam, a.id).cmp(&(b.beam, b.id)));
    all.select_nth_unstable_by(keep - 1, better);
    all.truncate(keep);
    all.sort_by(better);
    all
}

impl Search {
    /// Takes ended candidates among the best `num_beams` into the finished ones.
    fn finish(
        &mut self,
        candidates: &[Candidate],
        decoder: &Decoder<'_>,
        prompt: usize,
        config: &GenerationConfig,
        new: usize,
    ) {
        let beams = config.num_beams;
        let full = config.early_stopping == EarlyStopping::Full && self.best.iter().all(|h| h.finished);
        if full || !self.improving {
            return;
        }
        let penalty = (new as f32).powf(config.length_penalty);
        for c in candidates.iter().take(beams).filter(|c| c.ends) {
            let mut ids = decoder.rows[prompt * beams + c.beam][decoder.width..].to_vec();
            ids.push(c.id);
            self.best.push(Hypothesis { score: c.sum / penalty, ids, finished: true });
        }
        // A stable sort: among equals the earlier stays ahead.
        self.best.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.best.truncate(beams);
    }

    /// Whether the best running beam may still beat the worst finished one.
    fn can_improve(&self, config: &GenerationConfig, new: usize, most: usize) -> bool {
        let never = config.early_stopping == EarlyStopping::Never && config.length_penalty > 0.0;
        let length = if never { most } else { new };
        let hope = self.running[0] / (length as f32).powf(config.length_penalty);
        let worst = self.best.iter().map(|h| h.score).fold(f32::INFINITY, f32::min);
        // The reference compares with each place: one that is not finished yet counts as impossible.
        self.best.iter().any(|h| hope > if h.finished { worst } else { NEVER })
    }
}

fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&x| ((x - top) as f64).exp()).sum();
    let lse = top as f64 + sum.ln();
    logits.iter().map(|&x| (x as f64 - lse) as f32).collect()
}
