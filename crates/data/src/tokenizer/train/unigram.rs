//! Learning the pieces of a unigram language model.
//!
//! Frequent substrings are the first pieces; expectation maximisation gives them probabilities, the pieces whose loss
//! costs the least likelihood go, and so on down to the size wanted. [Kudo 2018](https://arxiv.org/abs/1804.10959).
//!
//! Sums over words are in fixed point, where the order of the summands does not matter.

use super::words::Words;
use ahash::AHashMap;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longer pieces are not made.
const MAX_PIECE_CHARS: usize = 16;
/// Pieces to begin with.
const SEEDS: usize = 1_000_000;
/// Share of the characters of the text that get a piece; the rest becomes unknown.
const COVERAGE: f64 = 0.9995;
/// Share of the pieces that a round of pruning keeps.
const KEEP: f64 = 0.75;

/// At most `size` pieces with the logarithms of their probabilities, the likeliest first.
///
/// If `size` is too small for the characters alone, the error is the size they need.
pub(super) fn learn(words: &Words, size: usize) -> Result<Vec<(String, f64)>, usize> {
    let alphabet = alphabet(words);
    if alphabet.len() > size {
        return Err(alphabet.len());
    }
    let segments = segments(words, &alphabet);
    let mut pieces = seeds(&segments, &alphabet);
    let enough = size + size / 10;
    loop {
        for _ in 0..2 {
            let model = Model::new(pieces);
            let expected = model.expected(&segments);
            pieces = maximise(model.pieces, &expected);
        }
        if pieces.len() <= enough {
            break;
        }
        let keep = enough.max((pieces.len() as f64 * KEEP) as usize);
        pieces = Model::new(pieces).pruned(&segments, keep);
    }
    Ok(select(pieces, size))
}

/// A piece: its characters and the logarithm of its probability.
type Piece = (Vec<char>, f64);

/// Characters that get a piece, sorted.
fn alphabet(words: &Words) -> Vec<char> {
    let counts = words.characters();
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut covered = 0;
    let mut alphabet: Vec<char> = Vec::new();
    for (c, count) in counts {
        if covered as f64 >= COVERAGE * total as f64 {
            break;
        }
        covered += count;
        alphabet.push(c);
    }
    alphabet.sort_unstable();
    alphabet
}

/// Words cut at characters without a piece and around line ends, with counts, sorted.
fn segments(words: &Words, alphabet: &[char]) -> Vec<(Vec<char>, u64)> {
    let mut counts: AHashMap<Vec<char>, u64> = AHashMap::new();
    let mut add = |segment: &mut Vec<char>, count| {
        if !segment.is_empty() {
            *counts.entry(std::mem::take(segment)).or_default() += count;
        }
    };
    for (word, count) in &words.counts {
        let mut segment = Vec::new();
        for c in word.chars() {
            let known = alphabet.binary_search(&c).is_ok();
            if !known || c == '\n' {
                add(&mut segment, *count);
            }
            if known {
                segment.push(c);
            }
            if c == '\n' {
                add(&mut segment, *count);
            }
        }
        add(&mut segment, *count);
    }
    let mut segments: Vec<_> = counts.into_iter().collect();
    segments.sort_unstable();
    segments
}

/// The characters, and the substrings that occur at least twice and cannot be longer without occurring less often.
fn seeds(segments: &[(Vec<char>, u64)], alphabet: &[char]) -> Vec<Piece> {
    let mut single: AHashMap<char, u64> = AHashMap::new();
    // A sorted list of all suffixes, cut to the longest piece.
    let mut suffixes: Vec<(&[char], u64)> = Vec::new();
    for (segment, count) in segments {
        for at in 0..segment.len() {
            *single.entry(segment[at]).or_default() += count;
            suffixes.push((&segment[at..segment.len().min(at + MAX_PIECE_CHARS)], *count));
        }
    }
    suffixes.par_sort_unstable();
    let mut found: Vec<(u64, &[char])> = Vec::new();
    let score = |text: &[char], frequency: u64| frequency * text.len() as u64;
    // Open groups of suffixes with a common beginning: its length, and the count of all suffixes before the group.
    let mut open: Vec<(usize, u64)> = Vec::new();
    let mut before = 0;
    for (i, &(suffix, count)) in suffixes.iter().enumerate() {
        let common = suffixes.get(i + 1).map_or(0, |(next, _)| common_length(suffix, next));
        let mut start = before;
        before += count;
        // The suffix itself is a group of one, unless the next one continues it.
        let mut length = suffix.len();
        loop {
            if length > common && length >= 2 && before - start >= 2 {
                found.push((score(&suffix[..length], before - start), &suffix[..length]));
            }
            match open.last() {
                Some(&(outer, outer_start)) if outer > common => {
                    open.pop();
                    // The group's own suffix was reported; now the group around it.
                    (length, start) = (outer, outer_start);
                }
                _ => break,
            }
        }
        if common > open.last().map_or(0, |&(outer, _)| outer) {
            open.push((common, start));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup_by(|a, b| a.1 == b.1);
    found.truncate(SEEDS.saturating_sub(alphabet.len()));
    let chars = alphabet.iter().map(|c| (vec![*c], single.get(c).copied().unwrap_or(1)));
    let pieces: Vec<(Vec<char>, u64)> =
        chars.chain(found.into_iter().map(|(score, text)| (text.to_vec(), score))).collect();
    let total: u64 = pieces.iter().map(|(_, score)| score).sum();
    pieces.into_iter().map(|(text, score)| (text, (score as f64 / total as f64).ln())).collect()
}

fn common_length(a: &[char], b: &[char]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Pieces with a trie over them. Every character of a segment is a piece, so that each segment has a path.
struct Model {
    pieces: Vec<Piece>,
    /// `(node, character)` to node; the root is 0.
    edges: AHashMap<(u32, char), u32>,
    /// The piece that ends at a node.
    ends: Vec<Option<u32>>,
}

/// An arc of a segment's lattice: piece `id` from character `from` to `to`.
struct Arc {
    from: usize,
    to: usize,
    id: u32,
}

/// Fixed point: 24 bits after the point, 40 before.
const ONE: f64 = (1u64 << 24) as f64;

impl Model {
    fn new(pieces: Vec<Piece>) -> Self {
        let (mut edges, mut ends) = (AHashMap::new(), vec![None]);
        for ((text, _), id) in pieces.iter().zip(0..) {
            let mut node = 0;
            for &c in text {
                node = *edges.entry((node, c)).or_insert_with(|| {
                    ends.push(None);
                    ends.len() as u32 - 1
                });
            }
            ends[node as usize] = Some(id);
        }
        Self { pieces, edges, ends }
    }

    /// All pieces in `text`, by their begin.
    fn arcs(&self, text: &[char]) -> Vec<Arc> {
        let mut arcs = Vec::new();
        for from in 0..text.len() {
            let mut node = 0;
            for (length, &c) in text[from..].iter().enumerate() {
                let Some(&next) = self.edges.get(&(node, c)) else { break };
                node = next;
                if let Some(id) = self.ends[node as usize] {
                    arcs.push(Arc { from, to: from + length + 1, id });
                }
            }
        }
        arcs
    }

    fn score(&self, arc: &Arc) -> f64 {
        self.pieces[arc.id as usize].1
    }

    /// How often each piece is expected in the text, over all segmentations (the E step).
    fn expected(&self, segments: &[(Vec<char>, u64)]) -> Vec<f64> {
        let sums: Vec<AtomicU64> = self.pieces.iter().map(|_| AtomicU64::new(0)).collect();
        segments.par_iter().for_each(|(text, count)| {
            let arcs = self.arcs(text);
            let mut forward = vec![f64::NEG_INFINITY; text.len() + 1];
            let mut backward = forward.clone();
            forward[0] = 0.0;
            backward[text.len()] = 0.0;
            // Arcs come by their begin, so `forward[from]` is complete when it is read.
            for arc in &arcs {
                forward[arc.to] = log_add(forward[arc.to], forward[arc.from] + self.score(arc));
            }
            for arc in arcs.iter().rev() {
                backward[arc.from] = log_add(backward[arc.from], backward[arc.to] + self.score(arc));
            }
            let all = forward[text.len()];
            for arc in &arcs {
                let probability = (forward[arc.from] + self.score(arc) + backward[arc.to] - all).exp();
                let expected = (probability.min(1.0) * *count as f64 * ONE).round();
                sums[arc.id as usize].fetch_add(expected as u64, Ordering::Relaxed);
            }
        });
        sums.into_iter().map(|sum| sum.into_inner() as f64 / ONE).collect()
    }

    /// The best path through `text`; with `whole` false the piece that is all of `text` does not count.
    fn best_path(&self, text: &[char], whole: bool) -> Vec<u32> {
        let arcs = self.arcs(text);
        let mut best = vec![(f64::NEG_INFINITY, usize::MAX); text.len() + 1];
        best[0].0 = 0.0;
        for (i, arc) in arcs.iter().enumerate() {
            let score = best[arc.from].0 + self.score(arc);
            if score > best[arc.to].0 && (whole || arc.to - arc.from < text.len()) {
                best[arc.to] = (score, i);
            }
        }
        let (mut path, mut at) = (Vec::new(), text.len());
        while let Some(arc) = arcs.get(best[at].1) {
            path.push(arc.id);
            at = arc.from;
        }
        path.reverse();
        path
    }

    /// The `keep` pieces without which the text would be least likely, and all characters.
    fn pruned(self, segments: &[(Vec<char>, u64)], keep: usize) -> Vec<Piece> {
        let used: Vec<AtomicU64> = self.pieces.iter().map(|_| AtomicU64::new(0)).collect();
        segments.par_iter().for_each(|(text, count)| {
            for id in self.best_path(text, true) {
                used[id as usize].fetch_add(*count, Ordering::Relaxed);
            }
        });
        let used: Vec<u64> = used.into_iter().map(AtomicU64::into_inner).collect();
        let total = used.iter().sum::<u64>() as f64;
        // What the likelihood loses if the next best path takes the place of the piece.
        let loss = |id: usize| {
            let alternative = self.best_path(&self.pieces[id].0, false);
            let count = used[id] as f64;
            let new_total = (total + count * (alternative.len() as f64 - 1.0)).ln();
            let instead: f64 = alternative.iter().map(|&id| (used[id as usize] as f64 + count).ln() - new_total).sum();
            count * (count.ln() - total.ln() - instead)
        };
        let several: Vec<usize> =
            (0..self.pieces.len()).filter(|&id| self.pieces[id].0.len() > 1 && used[id] > 0).collect();
        let mut losses: Vec<(f64, usize)> = several.into_par_iter().map(|id| (loss(id), id)).collect();
        losses.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let chars = self.pieces.iter().filter(|(text, _)| text.len() == 1).count();
        let mut kept: Vec<usize> = losses.into_iter().take(keep.saturating_sub(chars)).map(|(_, id)| id).collect();
        kept.extend((0..self.pieces.len()).filter(|&id| self.pieces[id].0.len() == 1));
        kept.sort_unstable();
        kept.into_iter().map(|id| self.pieces[id].clone()).collect()
    }
}

/// New scores from expected counts (the M step) under a sparse Dirichlet prior: rare pieces lose more than their share.
fn maximise(pieces: Vec<Piece>, expected: &[f64]) -> Vec<Piece> {
    /// A piece that is expected less often goes, unless it is a character.
    const LEAST: f64 = 0.5;
    let counted = pieces.into_iter().zip(expected).filter(|((text, _), count)| **count >= LEAST || text.len() == 1);
    let counted: Vec<(Vec<char>, f64)> = counted.map(|((text, _), count)| (text, count.max(LEAST))).collect();
    let total = digamma(counted.iter().map(|(_, count)| count).sum());
    counted.into_iter().map(|(text, count)| (text, digamma(count) - total)).collect()
}

/// All characters and the likeliest pieces up to `size`.
fn select(mut pieces: Vec<Piece>, size: usize) -> Vec<(String, f64)> {
    let by_score = |a: &Piece, b: &Piece| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0));
    pieces.sort_by(|a, b| (a.0.len() > 1).cmp(&(b.0.len() > 1)).then_with(|| by_score(a, b)));
    pieces.truncate(size);
    pieces.sort_by(by_score);
    pieces.into_iter().map(|(text, score)| (text.into_iter().collect(), score)).collect()
}

/// `ln(exp(a) + exp(b))`.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// The derivative of the logarithm of the gamma function, for `x > 0`: recurrence to 6, then the asymptotic series.
fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - y * (1.0 / 12.0 - y * (1.0 / 120.0 - y * (1.0 / 252.0 - y / 240.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        text.split_whitespace().for_each(|word| *counts.entry(format!("▁{word}")).or_default() += 1);
        Words { counts: counts.into_iter().collect(), bytes: 0, all_text: true }
    }

    #[test]
    fn digamma_known_values() {
        for (x, want) in
            [(1.0, -0.577_215_664_901_532_9), (0.5, -1.963_510_026_021_423_5), (10.0, 2.251_752_589_066_721)]
        {
            assert!((digamma(x) - want).abs() < 1e-8, "{x}");
        }
    }

    #[test]
    fn seeds_are_the_repeated_substrings() {
        let words = words("abcab abx");
        let segments = segments(&words, &alphabet(&words));
        let mut found: Vec<String> =
            seeds(&segments, &alphabet(&words)).into_iter().map(|(text, _)| text.into_iter().collect()).collect();
        found.retain(|text| text.chars().count() > 1);
        found.sort();
        assert_eq!(found, ["ab", "▁ab"]);
    }

    #[test]
    fn a_word_seen_often_becomes_a_piece() {
        let pieces = learn(&words(&"hello world helloworld ".repeat(20)), 15).unwrap();
        assert!(pieces.iter().any(|(piece, _)| piece == "▁hello"), "{pieces:?}");
        let total: f64 = pieces.iter().map(|(_, score)| score.exp()).sum();
        assert!(total <= 1.0 + 1e-9 && total > 0.5, "{total}");
    }
}
