//! A step of GloVe.

use super::{SharedRows, rows::WIDTH};
use crate::simd::{Simd, simd_fn};

/// One count of two words, as the loss sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The row of the word.
    pub word: u32,
    /// The row of the context word.
    pub context: u32,
    /// `ln X`.
    pub log: f32,
    /// `f(X)`.
    pub weight: f32,
}

/// The parameters of one of the two sets of vectors.
///
/// A row of `vectors` is a vector, padded to lines, and behind it AdaGrad's sums of squares, padded as well: 2 · stride
/// columns ([`Side::zeroed`]). A row of `biases` is a bias and its sum of squares.
pub struct Side {
    /// Vectors and their sums of squares.
    pub vectors: SharedRows,
    /// Biases and their sums of squares, eight words a row.
    pub biases: SharedRows,
}

/// Words whose biases share a row.
const WORDS_A_ROW: usize = WIDTH / 2;

impl Side {
    /// All zeros for `words` words with `cols` numbers each.
    pub fn zeroed(words: usize, cols: usize) -> Self {
        Self {
            vectors: SharedRows::zeroed(words, 2 * SharedRows::padded(cols)),
            biases: SharedRows::zeroed(words.div_ceil(WORDS_A_ROW), WIDTH),
        }
    }

    /// Bias and sum of squares of word `word`: the row in `biases` and the column of the bias, before that of the sum.
    pub fn bias_of(word: usize) -> (usize, usize) {
        (word / WORDS_A_ROW, 2 * (word % WORDS_A_ROW))
    }

    #[inline(always)]
    fn bias(&self, word: u32) -> [&std::sync::atomic::AtomicU32; 2] {
        let (row, col) = Self::bias_of(word as usize);
        let line = &self.biases.row(row as u32)[0];
        [&line[col], &line[col + 1]]
    }
}

/// The rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// The learning rate of vectors.
    pub eta: f32,
    /// Parts of gradients of vectors are cut to ±this.
    pub clip: f32,
}

simd_fn! {
    /// One step of AdaGrad on `f(X) (w·c + b + b' - ln X)² / 2` for each pair, one after the other; returns the sum of these losses
    /// before their steps.
    ///
    /// [Pennington et al. 2014](https://aclanthology.org/D14-1162/), [Duchi et al. 2011](https://jmlr.org/papers/v12/duchi11a.html).
    /// As in the authors' program, a sum of squares takes its square after it was used, squares are of gradients times `eta`,
    /// and biases take gradients without `eta`. A pair whose error is not finite changes nothing and counts as NaN.
    pub fn steps(s, words: &Side, contexts: &Side, pairs: &[Pair], rates: Rates) -> f64 {
        let mut loss = 0.0;
        for (i, pair) in pairs.iter().enumerate() {
            if let Some(next) = pairs.get(i + 2) {
                words.vectors.prefetch(next.word);
                contexts.vectors.prefetch(next.context);
            }
            loss += step(s, words, contexts, *pair, rates) as f64;
        }
        loss
    }
}

#[inline(always)]
fn step<S: Simd>(s: S, words: &Side, contexts: &Side, pair: Pair, rates: Rates) -> f32 {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    let read = |cell: &AtomicU32| f32::from_bits(cell.load(Relaxed));
    let (w, c) = (words.vectors.row(pair.word), contexts.vectors.row(pair.context));
    let lines = w.len() / 2;
    let (w, ws) = w.split_at(lines);
    let (c, cs) = (&c[..lines], &c[lines..][..lines]);
    let ws = &ws[..lines];
    let [wb, wbs] = words.bias(pair.word);
    let [cb, cbs] = contexts.bias(pair.context);
    let mut sum = s.zero();
    for l in 0..lines {
        for at in (0..WIDTH).step_by(S::LANES) {
            sum = s.fma(s.load_cells(&w[l], at), s.load_cells(&c[l], at), sum);
        }
    }
    let diff = s.sum(sum) + read(wb) + read(cb) - pair.log;
    let f = pair.weight * diff;
    if !f.is_finite() {
        return f32::NAN;
    }
    let (fv, eta, clip) = (s.splat(f), s.splat(rates.eta), s.splat(rates.clip));
    let low = s.sub(s.zero(), clip);
    for l in 0..lines {
        for at in (0..WIDTH).step_by(S::LANES) {
            let (wv, cv) = (s.load_cells(&w[l], at), s.load_cells(&c[l], at));
            let (wq, cq) = (s.load_cells(&ws[l], at), s.load_cells(&cs[l], at));
            let gw = s.mul(s.min(s.max(s.mul(fv, cv), low), clip), eta);
            let gc = s.mul(s.min(s.max(s.mul(fv, wv), low), clip), eta);
            s.store_cells(&w[l], at, s.sub(wv, s.div(gw, s.sqrt(wq))));
            s.store_cells(&c[l], at, s.sub(cv, s.div(gc, s.sqrt(cq))));
            s.store_cells(&ws[l], at, s.fma(gw, gw, wq));
            s.store_cells(&cs[l], at, s.fma(gc, gc, cq));
        }
    }
    for (bias, squares) in [(wb, wbs), (cb, cbs)] {
        let q = read(squares);
        bias.store((read(bias) - f / q.sqrt()).to_bits(), Relaxed);
        squares.store((q + f * f).to_bits(), Relaxed);
    }
    0.5 * f * diff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{isa::Isa, random::Draw};

    const WORDS: usize = 11;

    fn side(cols: usize, place: u32) -> Side {
        let side = Side::zeroed(WORDS, cols);
        let padded = SharedRows::padded(cols);
        let mut all = vec![0.0; WORDS * (cols + 1)];
        Draw { key: 3, sample: 0, place }.normal(&mut all);
        for (word, x) in all.chunks(cols + 1).enumerate() {
            let mut row = vec![1.0; 2 * padded];
            row[..padded].fill(0.0);
            row[..cols].copy_from_slice(&x[..cols]);
            side.vectors.set(word, &row);
            let (r, c) = Side::bias_of(word);
            let mut biases = vec![0.0; WIDTH];
            side.biases.get(r, &mut biases);
            (biases[c], biases[c + 1]) = (x[cols], 1.0);
            side.biases.set(r, &biases);
        }
        side
    }

    /// Vector, sums of squares, bias and its sum, in double precision.
    fn of(side: &Side, word: usize, cols: usize) -> Vec<f64> {
        let padded = SharedRows::padded(cols);
        let (mut row, mut biases) = (vec![0.0; 2 * padded], vec![0.0; WIDTH]);
        side.vectors.get(word, &mut row);
        let (r, c) = Side::bias_of(word);
        side.biases.get(r, &mut biases);
        let parts = [&row[..cols], &row[padded..padded + cols], &biases[c..c + 2]];
        assert!(row[cols..padded].iter().all(|&x| x == 0.0), "padding");
        parts.concat().iter().map(|&x| x as f64).collect()
    }

    fn loss(w: &[f64], c: &[f64], cols: usize, pair: Pair) -> f64 {
        let dot: f64 = (0..cols).map(|d| w[d] * c[d]).sum();
        let diff = dot + w[2 * cols] + c[2 * cols] - pair.log as f64;
        0.5 * pair.weight as f64 * diff * diff
    }

    #[test]
    fn steps_follow_the_gradient_on_every_instruction_set() {
        let rates = Rates { eta: 0.05, clip: 100.0 };
        for isa in Isa::available() {
            for cols in [1, 5, 16, 50] {
                let (words, contexts) = (side(cols, 1), side(cols, 2));
                let pair = Pair { word: 9, context: 4, log: 1.5, weight: 0.3 };
                let (w, c) = (of(&words, 9, cols), of(&contexts, 4, cols));
                let got = steps(isa, &words, &contexts, &[pair], rates);
                assert!((got - loss(&w, &c, cols, pair)).abs() < 1e-4 * (1.0 + got), "{isa} {cols}");
                let (w2, c2) = (of(&words, 9, cols), of(&contexts, 4, cols));
                let h = 1e-6;
                // By finite differences: the sums of squares were 1, so a step is the gradient times its rate.
                for (x, x2, first) in [(&w, &w2, true), (&c, &c2, false)] {
                    for d in (0..cols).chain([2 * cols]) {
                        let at = |e: f64| {
                            let mut moved = x.clone();
                            moved[d] += e;
                            if first { loss(&moved, &c, cols, pair) } else { loss(&w, &moved, cols, pair) }
                        };
                        let gradient = (at(h) - at(-h)) / (2.0 * h);
                        let rate = if d < cols { rates.eta as f64 } else { 1.0 };
                        assert!((x2[d] - (x[d] - rate * gradient)).abs() < 1e-4, "{isa} {cols} {d}");
                        let squares = if d < cols { cols + d } else { d + 1 };
                        assert!((x2[squares] - (1.0 + (rate * gradient).powi(2))).abs() < 1e-4, "{isa} {cols} {d}");
                    }
                }
                // No other word is touched.
                let untouched = side(cols, 1);
                for word in (0..WORDS).filter(|&w| w != 9) {
                    assert_eq!(of(&words, word, cols), of(&untouched, word, cols));
                }
            }
        }
    }

    #[test]
    fn repeated_steps_fit_the_count() {
        let (words, contexts) = (side(8, 1), side(8, 2));
        let pairs = [Pair { word: 0, context: 0, log: 2.0, weight: 1.0 }; 400];
        steps(Isa::detect(), &words, &contexts, &pairs, Rates { eta: 0.05, clip: 100.0 });
        let last = steps(Isa::detect(), &words, &contexts, &pairs[..1], Rates { eta: 0.05, clip: 100.0 });
        assert!(last < 1e-3, "{last}");
    }

    #[test]
    fn clipped_and_not_finite() {
        let (words, contexts) = (side(4, 1), side(4, 2));
        let before = of(&words, 1, 4);
        let rates = Rates { eta: 0.1, clip: 1e-3 };
        let nan =
            steps(Isa::detect(), &words, &contexts, &[Pair { word: 1, context: 1, log: f32::NAN, weight: 1.0 }], rates);
        assert!(nan.is_nan());
        assert_eq!(of(&words, 1, 4), before);
        steps(Isa::detect(), &words, &contexts, &[Pair { word: 1, context: 1, log: 50.0, weight: 1.0 }], rates);
        for d in 0..4 {
            assert!((of(&words, 1, 4)[d] - before[d]).abs() < 1.01e-4);
        }
    }
}
