//! Training on a part of the text: which vectors meet, and in which order.

use bedstone_kernels::words::{
    SharedRows, gather, gather_sum,
    logistic::{Outputs, step},
    scatter_add,
};

use super::{
    model::Model,
    noise::{Noise, Rng},
    recipe::ModelConfig,
};
use crate::text::Sentences;

/// What a part gave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Words read, those left out at random included.
    pub(crate) words: u64,
    /// The losses that were looked at, and how many.
    pub(crate) loss: f64,
    pub(crate) losses: u64,
}

impl Done {
    pub(crate) fn and(self, other: Done) -> Done {
        Done { words: self.words + other.words, loss: self.loss + other.loss, losses: self.losses + other.losses }
    }
}

/// The loss is computed for one window in so many: it needs logarithms that training does not.
const LOOK: u64 = 256;

/// Inputs and outputs of one centre word.
#[derive(Default)]
struct Window {
    inputs: Vec<u32>,
    outputs: Vec<u32>,
    labels: Vec<f32>,
    /// Where the outputs of each input end, where each has its own; else empty.
    ends: Vec<u32>,
    /// The word whose way through the tree is learned; several where the inputs are one bag.
    leaves: Vec<u32>,
}

impl Window {
    fn clear(&mut self) {
        self.inputs.clear();
        self.outputs.clear();
        self.labels.clear();
        self.ends.clear();
        self.leaves.clear();
    }

    fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The word itself and noise beside it. Noise that hits the word is left out, as word2vec does.
    fn output(&mut self, word: u32, noise: &Noise, negative: usize, rng: &mut Rng) {
        self.outputs.push(word);
        self.labels.push(1.0);
        for _ in 0..negative {
            let other = noise.draw(rng);
            if other != word {
                self.outputs.push(other);
                self.labels.push(0.0);
            }
        }
    }
}

/// Trains on parts, with room of its own.
pub(crate) struct Worker<'a> {
    model: &'a Model,
    config: &'a ModelConfig,
    rng: Rng,
    rate: f32,
    x: Vec<f32>,
    dx: Vec<f32>,
    kept: Vec<u32>,
    now: Window,
    next: Window,
    windows: u64,
    done: Done,
}

impl<'a> Worker<'a> {
    /// For one part, whose draws begin with `key`.
    pub(crate) fn new(model: &'a Model, config: &'a ModelConfig, key: u64, rate: f32) -> Self {
        let room = if config.sg { 2 * config.window } else { 1 } * model.input.stride();
        Self {
            model,
            config,
            rng: Rng::new(key),
            rate,
            x: vec![0.0; room],
            dx: vec![0.0; room],
            kept: Vec::new(),
            now: Window::default(),
            next: Window::default(),
            windows: 0,
            done: Done::default(),
        }
    }

    /// Goes through the sentences.
    pub(crate) fn train(mut self, sentences: Sentences<'_>) -> Done {
        for sentence in sentences {
            self.done.words += sentence.len() as u64;
            let mut kept = std::mem::take(&mut self.kept);
            kept.clear();
            match &self.model.keep {
                None => kept.extend_from_slice(sentence),
                Some(keep) => {
                    let rng = &mut self.rng;
                    kept.extend(sentence.iter().filter(|&&word| rng.bits() as u32 <= keep[word as usize]));
                }
            }
            for at in 0..kept.len() {
                // Rows are asked for one window ahead.
                self.plan(&kept, at);
                self.learn();
                std::mem::swap(&mut self.now, &mut self.next);
            }
            self.kept = kept;
        }
        self.learn();
        self.done
    }

    /// Fills `next` for the word at `at`.
    fn plan(&mut self, sentence: &[u32], at: usize) {
        let (model, config) = (self.model, self.config);
        let window = &mut self.next;
        window.clear();
        let reach = match config.shrink_windows {
            true => 1 + self.rng.below(config.window as u32) as usize,
            false => config.window,
        };
        let (before, centre) = (&sentence[at.saturating_sub(reach)..at], sentence[at]);
        let after = &sentence[at + 1..sentence.len().min(at + 1 + reach)];
        let around = || before.iter().chain(after).copied();
        if before.is_empty() && after.is_empty() {
            return;
        }
        match (&model.subwords, config.sg) {
            (None, _) => window.inputs.extend(around()),
            (Some(subwords), false) => around().for_each(|w| window.inputs.extend_from_slice(subwords.of(w))),
            (Some(subwords), true) => window.inputs.extend_from_slice(subwords.of(centre)),
        }
        // With subwords it is the bag of the centre that predicts each word around it; else those predict the centre,
        // which over a whole text is the same.
        let centre_predicts = config.sg && model.subwords.is_some();
        if let Some(noise) = &model.noise {
            if centre_predicts {
                around().for_each(|w| window.output(w, noise, config.negative, &mut self.rng));
            } else if config.sg && !config.shared_negatives {
                for _ in around() {
                    window.output(centre, noise, config.negative, &mut self.rng);
                    window.ends.push(window.outputs.len() as u32);
                }
            } else {
                window.output(centre, noise, config.negative, &mut self.rng);
            }
            if let Some(output) = &model.output {
                window.outputs.iter().for_each(|&row| output.prefetch(row));
            }
        }
        if let (Some(tree), Some(nodes)) = (&model.tree, &model.nodes) {
            if centre_predicts {
                window.leaves.extend(around())
            } else {
                window.leaves.push(centre)
            }
            for &leaf in &window.leaves {
                // The upper nodes are everybody's, and in the cache.
                tree.path(leaf).0.iter().skip(4).for_each(|&row| nodes.prefetch(row));
            }
        }
        window.inputs.iter().for_each(|&row| model.input.prefetch(row));
    }

    /// Learns from `now`.
    fn learn(&mut self) {
        let Self { model, config, now, x, dx, rate, windows, done, .. } = self;
        if now.is_empty() {
            return;
        }
        let (isa, stride) = (model.isa, model.input.stride());
        let bag = !config.sg || model.subwords.is_some();
        let rows = if bag { 1 } else { now.inputs.len() };
        let (x, dx) = (&mut x[..rows * stride], &mut dx[..rows * stride]);
        if bag {
            let mean = config.sg || config.cbow_mean;
            gather_sum(isa, x, &model.input, &now.inputs, if mean { 1.0 / now.inputs.len() as f32 } else { 1.0 });
        } else {
            gather(isa, x, &model.input, &now.inputs);
        }
        dx.fill(0.0);
        let look = windows.is_multiple_of(LOOK);
        *windows += 1;
        // A word that noise and tree both predict is one word.
        let by_tree = u64::from(model.output.is_none());
        let mut learn = |rows: &SharedRows, ids: &[u32], labels: &[f32], predicted: u64, x: &[f32], dx: &mut [f32]| {
            if look {
                done.loss += loss(rows, ids, labels, x);
                done.losses += predicted;
            }
            step(isa, Outputs { rows, ids, labels }, *rate, x, dx);
        };
        if let Some(output) = &model.output {
            if now.ends.is_empty() {
                let predicted = now.labels.iter().filter(|&&label| label == 1.0).count() as u64;
                learn(output, &now.outputs, &now.labels, predicted, x, dx);
            } else {
                let mut begin = 0;
                for ((x, dx), &end) in x.chunks(stride).zip(dx.chunks_mut(stride)).zip(&now.ends) {
                    let range = begin..end as usize;
                    learn(output, &now.outputs[range.clone()], &now.labels[range], 1, x, dx);
                    begin = end as usize;
                }
            }
        }
        if let (Some(tree), Some(nodes)) = (&model.tree, &model.nodes) {
            for &leaf in &now.leaves {
                let (ids, labels) = tree.path(leaf);
                learn(nodes, ids, labels, by_tree, x, dx);
            }
        }
        // Of a bag each row takes the whole gradient, as word2vec and fastText have it.
        scatter_add(isa, &model.input, &now.inputs, dx);
    }
}

/// The sum of `-ln σ(±x·o)` over the outputs, mean over the inputs.
fn loss(rows: &SharedRows, ids: &[u32], labels: &[f32], x: &[f32]) -> f64 {
    let mut row = vec![0.0; rows.cols()];
    let inputs = x.len() / rows.stride();
    let mut sum = 0.0;
    for (&id, &label) in ids.iter().zip(labels) {
        rows.get(id as usize, &mut row);
        for x in x.chunks(rows.stride()) {
            let dot: f32 = x.iter().zip(&row).map(|(a, b)| a * b).sum();
            let z = f64::from(if label == 1.0 { -dot } else { dot });
            // ln(1 + e^z) without overflow.
            sum += z.max(0.0) + (-z.abs()).exp().ln_1p();
        }
    }
    sum / inputs as f64
}
