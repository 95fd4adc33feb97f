//! CBOW and skip-gram: [Mikolov et al. 2013](https://arxiv.org/abs/1301.3781).
//!
//! ```text
//! recipe.rs     the recipe in types
//! mod.rs        a run, from recipe to vectors
//! model.rs      matrices and tables
//! worker.rs     training on a part of the text
//! noise.rs      drawing words
//! huffman.rs    the tree of hierarchical softmax
//! subwords.rs   character n-grams
//! ```
//!
//! The text is cut into parts of a few thousand words. All threads take parts and change the same matrices without locks
//! (Hogwild), so two runs differ as threads happen to meet. With `train.deterministic` one thread takes the parts in their order, and
//! since draws are keyed by (seed, epoch, part), the bits depend on nothing else.

mod huffman;
mod model;
mod noise;
mod recipe;
pub(crate) mod subwords;
#[cfg(test)]
mod tests;
mod worker;

use std::{path::Path, time::Instant};

use bedstone_kernels::{pool, random::key, words::SharedRows};
use bedstone_run::{plan::Memory, progress, units::Unit};
use serde::Serialize;
use serde_json::json;

pub(crate) use noise::Rng;
pub use recipe::{RECIPE, Word2VecRecipe};
pub use subwords::NGrams;

use crate::{
    Result, WordsError,
    run::{Request, Run, Started, State, Trainer},
    text::Prepare,
    vectors::{
        Stored,
        safetensors::{Tensor, Tensors, write},
    },
};
use model::Model;
use worker::{Done, Worker};

/// Ids that a thread takes at a time.
const PART: usize = 4096;

/// Learns vectors as the request's recipe says.
pub fn pretrain(
    request: &Request<'_>,
    progress: &mut dyn bedstone_run::Progress,
    interrupt: &bedstone_run::Interrupt,
) -> Result<crate::run::Report> {
    crate::run::pretrain::<Word2Vec>(request, progress, interrupt)
}

/// What [`crate::run`] runs.
struct Word2Vec {
    model: Model,
    recipe: Word2VecRecipe,
}

/// One line of the log.
#[derive(Serialize)]
struct StepLine {
    loss: f64,
    lr: f64,
    words: u64,
    words_per_s: f64,
}

impl Trainer for Word2Vec {
    type Recipe = Word2VecRecipe;
    const NAME: &'static str = "word2vec";
    const RECIPE: &'static str = RECIPE;
    const AXIS: &'static str = "loss (nats a word)";

    fn loss(&self) -> String {
        let m = &self.recipe.model;
        let noise = (m.negative > 0).then(|| {
            let start = (m.negative + 1) as f64 * std::f64::consts::LN_2;
            let n = m.negative;
            format!("-ln σ(x·o) for what stands together and -ln σ(-x·o) for noise; with {n} noise words {start:.2} at the start")
        });
        let tree = m
            .hs
            .then(|| "-ln σ(±x·o) for the nodes on a word's way through the tree; 0.69 a node at the start".to_owned());
        let parts: Vec<String> = noise.into_iter().chain(tree).collect();
        format!("the mean over predicted words of {}", parts.join("; plus "))
    }

    fn data(recipe: &Word2VecRecipe) -> &crate::recipe::DataConfig {
        &recipe.data
    }

    fn init(recipe: &Word2VecRecipe) -> Option<&Path> {
        recipe.train.init.as_deref()
    }

    fn deterministic(recipe: &Word2VecRecipe) -> bool {
        recipe.train.deterministic
    }

    fn keep(recipe: &Word2VecRecipe) -> (usize, u64) {
        (recipe.train.keep, recipe.train.checkpoint_every)
    }

    fn vector_size(recipe: &Word2VecRecipe) -> usize {
        recipe.model.vector_size
    }

    fn prepare(recipe: &Word2VecRecipe) -> Prepare<'static> {
        let phrases = (recipe.phrases.passes > 0).then_some(recipe.phrases);
        Prepare { text: recipe.text, vocabulary: recipe.vocabulary, phrases, known: None }
    }

    fn start(started: &Started<'_, Word2VecRecipe>, progress: &mut dyn bedstone_run::Progress) -> Result<Self> {
        let recipe = started.recipe.values.clone();
        check_memory(&recipe, started.prepared.vocab.len())?;
        let model = Model::new(&started.prepared.vocab, &recipe, started.isa);
        let trainer = Self { model, recipe };
        if let Some(init) = &started.init {
            trainer.begin_with(init, started, progress)?;
        }
        Ok(trainer)
    }

    fn load(&mut self, checkpoint: &Path) -> Result<()> {
        let tensors = Tensors::open(&checkpoint.join(crate::vectors::WEIGHTS))?;
        let input = if self.model.subwords.is_some() { "input" } else { "vectors" };
        for (name, rows) in self.matrices(input) {
            tensors.get(name, [rows.rows(), rows.cols()])?.each_row(|r, x| rows.set(r, x));
        }
        Ok(())
    }

    fn steps(&self, run: &Run<Self>) -> u64 {
        self.recipe.train.epochs * self.rounds(run)
    }

    fn parameters(&self) -> u64 {
        self.model.parameters()
    }

    fn memory(&self, run: &Run<Self>) -> Vec<Memory> {
        let bytes = |rows: &SharedRows| (rows.rows() * rows.stride() * 4) as u64;
        let m = &self.model;
        let outputs = [&m.output, &m.nodes].into_iter().flatten().map(bytes).sum();
        let tree = m.tree.as_ref().map_or(0, |t| t.bytes());
        let subwords = m.subwords.as_ref().map_or(0, |s| s.bytes());
        [
            ("vectors", bytes(&m.input)),
            ("output weights", outputs),
            ("vocabulary", run.prepared.vocab.bytes() + 12 * run.prepared.vocab.len() as u64),
            ("tree", tree),
            ("n-grams of words", subwords),
            ("text, mapped", 4 * run.prepared.ids.ids().len() as u64),
        ]
        .into_iter()
        .filter(|(_, bytes)| *bytes > 0)
        .map(|(what, bytes)| Memory { what: what.to_owned(), bytes })
        .collect()
    }

    fn total_words(&self, run: &Run<Self>) -> u64 {
        self.recipe.train.epochs * run.prepared.ids.words()
    }

    fn step(&mut self, run: &mut Run<Self>) -> Result<progress::Step> {
        let t = &self.recipe.train;
        let rounds = self.rounds(run);
        let (epoch, round) = (run.state.step / rounds, run.state.step % rounds);
        let parts = run.prepared.ids.parts(PART);
        let (begin, end) = self.parts_of(round, parts);
        let alpha = |part: usize| {
            let done = (epoch as f64 + part as f64 / parts as f64) / t.epochs as f64;
            t.alpha - (t.alpha - t.min_alpha) * done as f32
        };
        let clock = Instant::now();
        let ids = &run.prepared.ids;
        let train = |part: usize| {
            let draws = key(t.seed, epoch << 40 | part as u64);
            Worker::new(&self.model, &self.recipe.model, draws, alpha(part)).train(ids.part(part, PART))
        };
        let done = if t.deterministic {
            (begin..end).map(train).fold(Done::default(), Done::and)
        } else {
            let done: Vec<std::sync::Mutex<Done>> = (begin..end).map(|_| Default::default()).collect();
            pool::for_each(end - begin, |i| {
                let result = train(begin + i);
                if let Ok(mut slot) = done[i].lock() {
                    *slot = result;
                }
            });
            done.into_iter().filter_map(|d| d.into_inner().ok()).fold(Done::default(), Done::and)
        };
        let seconds = clock.elapsed().as_secs_f64();
        run.state.step += 1;
        run.state.words += done.words;
        let loss = if done.losses == 0 { 0.0 } else { done.loss / done.losses as f64 };
        if !loss.is_finite() {
            return Err(WordsError::NotFinite {
                step: run.state.step,
                what: "loss",
                value: loss,
                hint: "lower train.alpha".into(),
            });
        }
        let lr = f64::from(alpha(begin));
        run.trained(done.words, seconds);
        let line = StepLine { loss, lr, words: run.state.words, words_per_s: run.words_per_s().round() };
        run.log.append(run.state.step, &line)?;
        Ok(progress::Step {
            step: run.state.step,
            of: t.epochs * rounds,
            loss,
            lr,
            grad_norm: f64::NAN,
            tokens_per_s: run.words_per_s(),
            unit: Unit::Words,
            waiting_fraction: 0.0,
        })
    }

    fn save(&self, run: &Run<Self>, dir: &Path) -> Result<()> {
        let (m, n) = (&self.model, run.prepared.vocab.len());
        let cols = self.recipe.model.vector_size;
        let vectors = |row: usize, x: &mut [f32]| m.vector(row as u32, x);
        let mut tensors = vec![Tensor::new("vectors", [n, cols], &vectors)];
        let input = |row: usize, x: &mut [f32]| m.input.get(row, x);
        if m.subwords.is_some() {
            tensors.push(Tensor::new("input", [m.input.rows(), cols], &input));
        }
        let output = |row: usize, x: &mut [f32]| {
            if let Some(o) = &m.output {
                o.get(row, x)
            }
        };
        if m.output.is_some() {
            tensors.push(Tensor::new("output", [n, cols], &output));
        }
        let nodes = |row: usize, x: &mut [f32]| {
            if let Some(o) = &m.nodes {
                o.get(row, x)
            }
        };
        if let Some(rows) = &m.nodes {
            tensors.push(Tensor::new("nodes", [rows.rows(), cols], &nodes));
        }
        write(&dir.join(crate::vectors::WEIGHTS), &tensors, None)
    }

    fn config(&self, run: &Run<Self>) -> serde_json::Value {
        let m = &self.recipe.model;
        json!({
            "model_type": "word2vec",
            "vector_size": m.vector_size,
            "words": run.prepared.vocab.len(),
            "sg": m.sg,
            "window": m.window,
            "negative": m.negative,
            "hs": m.hs,
            "lowercase": self.recipe.text.lowercase,
            "subwords": model::ngrams(&self.recipe),
        })
    }

    fn check(&self, state: &State) -> Result<()> {
        let mut row = vec![0.0; self.recipe.model.vector_size];
        for word in 0..self.model.input.rows() {
            self.model.input.get(word, &mut row);
            if let Some(x) = row.iter().find(|x| !x.is_finite()) {
                return Err(WordsError::NotFinite {
                    step: state.step,
                    what: "vector of a word",
                    value: f64::from(*x),
                    hint: "lower train.alpha".into(),
                });
            }
        }
        Ok(())
    }
}

impl Word2Vec {
    /// Steps an epoch.
    fn rounds(&self, run: &Run<Self>) -> u64 {
        (run.prepared.ids.parts(PART) as u64).div_ceil(self.parts_a_round())
    }

    fn parts_a_round(&self) -> u64 {
        self.recipe.train.step_words.div_ceil(PART as u64)
    }

    fn parts_of(&self, round: u64, parts: usize) -> (usize, usize) {
        let size = self.parts_a_round();
        ((round * size) as usize, (((round + 1) * size) as usize).min(parts))
    }

    fn matrices(&self, input: &'static str) -> Vec<(&'static str, &SharedRows)> {
        let m = &self.model;
        let all = [(input, Some(&m.input)), ("output", m.output.as_ref()), ("nodes", m.nodes.as_ref())];
        all.into_iter().filter_map(|(name, rows)| Some((name, rows?))).collect()
    }

    /// Takes over the rows of the words that `init` knows; says what it could not take over.
    fn begin_with(
        &self,
        init: &Stored,
        started: &Started<'_, Word2VecRecipe>,
        progress: &mut dyn bedstone_run::Progress,
    ) -> Result<()> {
        let (vocab, m) = (&started.prepared.vocab, &self.model);
        let own = model::ngrams(&self.recipe);
        if let Some(n) = init.ngrams.filter(|n| own != Some(*n)) {
            // A word's row alone is not its vector: the n-grams' rows belong to it, and they fit no other cut.
            let what = format!("its words are cut with minn {}, maxn {}, bucket {}", n.minn, n.maxn, n.bucket);
            let hint = format!(
                "set subwords.minn={} subwords.maxn={} subwords.bucket={}, or begin from its vectors: bedstone convert",
                n.minn, n.maxn, n.bucket
            );
            return Err(WordsError::format_hint(&init.path, what, hint));
        }
        let source = init.input()?;
        let mut taken = 0;
        source.each_row(|r, x| {
            // Rows behind the words are n-grams, which have the same place in any vocabulary.
            let to = match init.vocab.len() {
                n if r >= n => Some(vocab.len() + r - n),
                _ => vocab.id(init.vocab.word(r as u32)).map(|id| id as usize),
            };
            if let Some(to) = to.filter(|&to| to < m.input.rows()) {
                m.input.set(to, x);
                taken += usize::from(r < init.vocab.len());
            }
        });
        let fresh = vocab.len() - taken;
        progress.note(&format!("init: {taken} words from {}, {fresh} new ones", init.path.display()));
        match (&m.output, init.tensor("output")?) {
            (Some(output), Some(source)) => source.each_row(|r, x| {
                if let Some(id) = vocab.id(init.vocab.word(r as u32)) {
                    output.set(id as usize, x);
                }
            }),
            (Some(_), None) => {
                progress.note(&format!("init: {} has no output weights; they begin at zero", init.path.display()))
            }
            (None, _) => {}
        }
        if m.nodes.is_some() {
            progress.note("init: another vocabulary has another tree; the weights of its nodes begin at zero");
        }
        Ok(())
    }
}

/// An error if the matrices are larger than the memory that is left.
fn check_memory(recipe: &Word2VecRecipe, words: usize) -> Result<()> {
    let m = &recipe.model;
    let rows = words + model::ngrams(recipe).map_or(0, |g| g.bucket);
    let outputs = words * (usize::from(m.negative > 0) + usize::from(m.hs));
    let needs = (rows as u64 + outputs as u64).saturating_mul(4 * SharedRows::padded(m.vector_size) as u64);
    crate::run::check_memory(needs, "lower model.vector_size, or raise vocabulary.min_count")
}
