//! GloVe: [Pennington et al. 2014](https://aclanthology.org/D14-1162/).
//!
//! ```text
//! recipe.rs   the recipe in types
//! mod.rs      a run, from recipe to vectors
//! count.rs    counting pairs of words, on the disk where memory is full
//! blocks.rs   the counts in an order for all threads
//! ```
//!
//! A step is a round of the tournament in `blocks.rs`. Runs give the same bits for any number of threads, at no cost.

mod blocks;
mod count;
mod recipe;
#[cfg(test)]
mod tests;

use std::{path::Path, time::Instant};

use bedstone_kernels::{
    Isa,
    random::{Draw, key},
    words::{
        SharedRows,
        glove::{Rates, Side, steps},
    },
};
use bedstone_run::{plan::Memory, progress, units::Unit};
use serde::Serialize;
use serde_json::json;

pub use recipe::{GloveRecipe, RECIPE};

use crate::{
    Result, WordsError,
    run::{Request, Run, Started, State, Trainer},
    text::Prepare,
    vectors::safetensors::{Tensor, Tensors, write},
    word2vec::Rng,
};
use blocks::{Blocks, ROUNDS, Weighting};

/// Learns vectors as the request's recipe says.
pub fn pretrain(
    request: &Request<'_>,
    progress: &mut dyn bedstone_run::Progress,
    interrupt: &bedstone_run::Interrupt,
) -> Result<crate::run::Report> {
    crate::run::pretrain::<Glove>(request, progress, interrupt)
}

/// What [`crate::run`] runs.
struct Glove {
    recipe: GloveRecipe,
    words: Side,
    contexts: Side,
    blocks: Blocks,
    isa: Isa,
}

/// One line of the log.
#[derive(Serialize)]
struct StepLine {
    loss: f64,
    lr: f64,
    pairs: u64,
    pairs_per_s: f64,
}

/// No logarithm of a count is that far from anything: a loss beyond only grows.
const DIVERGED: f64 = 1e4;

/// Vectors, biases and sums of squares, which only training needs.
const PARAMETERS: &str = "state/glove.safetensors";

impl Trainer for Glove {
    type Recipe = GloveRecipe;
    const NAME: &'static str = "glove";
    const RECIPE: &'static str = RECIPE;
    const AXIS: &'static str = "loss (weighted squared error a pair)";

    fn loss(&self) -> String {
        "half the weighted squared error of the logarithm of a count, mean over the pairs of the step; a tok is a pair of words here".into()
    }

    fn data(recipe: &GloveRecipe) -> &crate::recipe::DataConfig {
        &recipe.data
    }

    fn init(_: &GloveRecipe) -> Option<&Path> {
        None
    }

    fn deterministic(_: &GloveRecipe) -> bool {
        true
    }

    fn keep(recipe: &GloveRecipe) -> (usize, u64) {
        (recipe.train.keep, recipe.train.checkpoint_every * ROUNDS as u64)
    }

    fn vector_size(recipe: &GloveRecipe) -> usize {
        recipe.model.vector_size
    }

    fn prepare(recipe: &GloveRecipe) -> Prepare<'static> {
        let phrases = (recipe.phrases.passes > 0).then_some(recipe.phrases);
        Prepare { text: recipe.text, vocabulary: recipe.vocabulary, phrases, known: None }
    }

    fn start(started: &Started<'_, GloveRecipe>, progress: &mut dyn bedstone_run::Progress) -> Result<Self> {
        let recipe = started.recipe.values.clone();
        let (n, cols) = (started.prepared.vocab.len(), recipe.model.vector_size);
        let needs = 16 * (n * SharedRows::padded(cols)) as u64;
        crate::run::check_memory(needs, "lower model.vector_size, or raise vocabulary.min_count")?;
        let blocks = count_or_find(started, &recipe, progress)?;
        if blocks.len() == 0 {
            return Err(WordsError::NoPairs { text: started.text.to_owned() });
        }
        progress.note(&format!("counts: {} pairs of words", bedstone_run::units::count(blocks.len())));
        let [words, contexts] = [0, 1].map(|place| random_side(n, cols, recipe.train.seed, place));
        Ok(Self { recipe, words, contexts, blocks, isa: started.isa })
    }

    fn load(&mut self, checkpoint: &Path) -> Result<()> {
        let tensors = Tensors::open(&checkpoint.join(PARAMETERS))?;
        for (name, rows) in self.matrices() {
            tensors.get(name, [rows.rows(), rows.cols()])?.each_row(|r, x| rows.set(r, x));
        }
        Ok(())
    }

    fn steps(&self, _: &Run<Self>) -> u64 {
        self.recipe.train.epochs * ROUNDS as u64
    }

    fn parameters(&self) -> u64 {
        2 * (self.words.vectors.rows() * (self.recipe.model.vector_size + 1)) as u64
    }

    fn checkpoint_bytes(&self) -> u64 {
        let state: usize = self.matrices().iter().map(|(_, m)| 4 * m.rows() * m.cols()).sum();
        (state + 4 * self.words.vectors.rows() * self.recipe.model.vector_size) as u64
    }

    fn memory(&self, run: &Run<Self>) -> Vec<Memory> {
        let bytes = |rows: &SharedRows| (rows.rows() * rows.stride() * 4) as u64;
        let counting = (self.recipe.counts.memory * (1u64 << 30) as f64) as u64;
        [
            ("vectors and sums of squares", bytes(&self.words.vectors) + bytes(&self.contexts.vectors)),
            ("biases", bytes(&self.words.biases) + bytes(&self.contexts.biases)),
            ("vocabulary", run.prepared.vocab.bytes()),
            ("counting, before training", counting.min(40 * self.blocks.len())),
        ]
        .map(|(what, bytes)| Memory { what: what.to_owned(), bytes })
        .into()
    }

    fn total_words(&self, _: &Run<Self>) -> u64 {
        2 * self.recipe.train.epochs * self.blocks.len()
    }

    fn step(&mut self, run: &mut Run<Self>) -> Result<progress::Step> {
        let t = &self.recipe.train;
        let (epoch, at) = (run.state.step / ROUNDS as u64, (run.state.step % ROUNDS as u64) as usize);
        let rates = Rates { eta: t.eta, clip: t.grad_clip };
        let clock = Instant::now();
        let number = order(t.seed, epoch)[at];
        let (loss, pairs) =
            self.blocks.each(number, |pairs| steps(self.isa, &self.words, &self.contexts, pairs, rates))?;
        let seconds = clock.elapsed().as_secs_f64();
        let loss = if pairs == 0 { 0.0 } else { loss / pairs as f64 };
        run.state.step += 1;
        run.state.words += pairs;
        if !loss.is_finite() || loss > DIVERGED {
            return Err(WordsError::NotFinite {
                step: run.state.step,
                what: "loss",
                value: loss,
                hint: "lower train.eta".into(),
            });
        }
        run.trained(pairs, seconds);
        let lr = f64::from(t.eta);
        let line = StepLine { loss, lr, pairs: run.state.words, pairs_per_s: run.words_per_s().round() };
        run.log.append(run.state.step, &line)?;
        Ok(progress::Step {
            step: run.state.step,
            of: t.epochs * ROUNDS as u64,
            loss,
            lr,
            grad_norm: f64::NAN,
            tokens_per_s: run.words_per_s(),
            unit: Unit::Words,
            waiting_fraction: 0.0,
        })
    }

    fn save(&self, run: &Run<Self>, dir: &Path) -> Result<()> {
        let (n, cols) = (run.prepared.vocab.len(), self.recipe.model.vector_size);
        let sum = |row: usize, x: &mut [f32]| {
            let mut all = vec![0.0; self.words.vectors.cols()];
            self.words.vectors.get(row, &mut all);
            x.copy_from_slice(&all[..x.len()]);
            self.contexts.vectors.get(row, &mut all);
            x.iter_mut().zip(&all).for_each(|(x, y)| *x += y);
        };
        write(&dir.join(crate::vectors::WEIGHTS), &[Tensor::new("vectors", [n, cols], &sum)], None)?;
        let matrices = self.matrices();
        let rows: Vec<_> = matrices.iter().map(|(_, m)| |row: usize, x: &mut [f32]| m.get(row, x)).collect();
        let tensors: Vec<Tensor<'_>> =
            matrices.iter().zip(&rows).map(|((name, m), rows)| Tensor::new(name, [m.rows(), m.cols()], rows)).collect();
        write(&dir.join(PARAMETERS), &tensors, None)
    }

    fn config(&self, run: &Run<Self>) -> serde_json::Value {
        let (c, t) = (&self.recipe.counts, &self.recipe.train);
        json!({
            "model_type": "glove",
            "vector_size": self.recipe.model.vector_size,
            "words": run.prepared.vocab.len(),
            "window": c.window,
            "symmetric": c.symmetric,
            "x_max": t.x_max,
            "alpha": t.alpha,
            "lowercase": self.recipe.text.lowercase,
        })
    }

    fn check(&self, _: &State) -> Result<()> {
        // A step that is not finite changes nothing, and ends the run.
        Ok(())
    }
}

impl Glove {
    fn matrices(&self) -> [(&'static str, &SharedRows); 4] {
        [
            ("word.vectors", &self.words.vectors),
            ("word.biases", &self.words.biases),
            ("context.vectors", &self.contexts.vectors),
            ("context.biases", &self.contexts.biases),
        ]
    }
}

/// Counts, or finds what an earlier process has counted.
fn count_or_find(
    started: &Started<'_, GloveRecipe>,
    recipe: &GloveRecipe,
    progress: &mut dyn bedstone_run::Progress,
) -> Result<Blocks> {
    if let Some(found) = Blocks::find(started.work)? {
        return Ok(found);
    }
    let (mut shown, interrupt) = (0, started.interrupt);
    let counter =
        count::count(&started.prepared.ids, started.prepared.vocab.len(), &recipe.counts, started.work, &mut |ids| {
            if ids >> 26 != shown {
                shown = ids >> 26;
                progress.note(&format!("counted pairs of {} words", bedstone_run::units::count(ids)));
            }
            if interrupt.requested() { Err(WordsError::Interrupted) } else { Ok(()) }
        })?;
    if counter.runs() > 0 {
        progress.note(&format!("counts: {} sorted runs on the disk, merging", counter.runs()));
    }
    let weighting = Weighting { x_max: recipe.train.x_max, alpha: recipe.train.alpha };
    Blocks::build(counter, started.work, weighting, recipe.train.seed)?;
    Blocks::find(started.work)?.ok_or_else(|| WordsError::format(started.work, "the counts vanished"))
}

/// Rounds of an epoch in an order of its own.
fn order(seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = Rng::new(key(seed ^ 0x6f72_6465, epoch));
    let mut order: Vec<usize> = (0..ROUNDS).collect();
    for i in (1..ROUNDS).rev() {
        order.swap(i, rng.below(i as u32 + 1) as usize);
    }
    order
}

/// Uniform in ±0.5 / columns, biases too; sums of squares 1.
fn random_side(words: usize, cols: usize, seed: u64, place: u32) -> Side {
    let mut side = Side::zeroed(words, cols);
    let padded = SharedRows::padded(cols);
    let draw = Draw { key: key(seed, 0), sample: 1, place };
    let number = |word: usize, col: usize| (draw.uniform(word as u32, col as u32) - 0.5) as f32 / cols as f32;
    let stride = side.vectors.stride();
    bedstone_kernels::pool::for_chunks(side.vectors.numbers_mut(), 256 * stride, |part, numbers| {
        for (i, row) in numbers.chunks_mut(stride).enumerate() {
            (0..cols).for_each(|c| row[c] = number(256 * part + i, c));
            row[padded..].fill(1.0);
        }
    });
    let biases = side.biases.numbers_mut();
    for (word, two) in biases.chunks_mut(2).enumerate() {
        two.copy_from_slice(&[number(word, cols), 1.0]);
    }
    side
}
