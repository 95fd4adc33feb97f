//! The most likely pieces of a text, [Kudo 2018](https://arxiv.org/abs/1804.10959).

use super::{
    proto::{Piece, PieceKind},
    trie::Trie,
};

/// What an unknown character costs beyond the least likely piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Pieces with their scores.
#[derive(Clone, Debug)]
pub(super) struct Unigram {
    trie: Trie,
    scores: Vec<f32>,
    kinds: Vec<PieceKind>,
    lowest: f32,
    highest: f32,
    unknown: u32,
}

/// The best way to a place: where its last piece begins, which one it is, and the score of the whole way.
#[derive(Clone, Copy)]
struct Best {
    from: usize,
    id: u32,
    score: f32,
}

impl Unigram {
    pub(super) fn new(pieces: &[Piece], trie: Trie, unknown: u32) -> Self {
        let normal = || pieces.iter().filter(|piece| piece.kind == PieceKind::Normal).map(|piece| piece.score);
        Self {
            trie,
            scores: pieces.iter().map(|piece| piece.score).collect(),
            kinds: pieces.iter().map(|piece| piece.kind).collect(),
            lowest: normal().fold(f32::MAX, f32::min),
            highest: normal().fold(f32::MIN_POSITIVE, f32::max),
            unknown,
        }
    }

    /// Ids with the bytes they cover. Sums are `f32` from the start of the text on, as in the reference: in a long text
    /// rounding decides between ways that are as likely.
    pub(super) fn segment(&self, text: &str) -> Vec<(u32, usize, usize)> {
        let mut best: Vec<Option<Best>> = vec![None; text.len() + 1];
        for (from, c) in text.char_indices() {
            let sofar = best[from].map_or(0.0, |best| best.score);
            let mut whole_character = false;
            for (length, id) in self.trie.prefixes(&text.as_bytes()[from..]) {
                let score = match self.kinds[id as usize] {
                    PieceKind::Unused => continue,
                    // More than any other way over these bytes.
                    PieceKind::UserDefined => f64::from(length as f32 * self.highest) - 0.1,
                    _ => f64::from(self.scores[id as usize]),
                };
                offer(&mut best[from + length], from, id, score + f64::from(sofar));
                whole_character |= length == c.len_utf8();
            }
            if !whole_character {
                let score = f64::from(self.lowest - UNKNOWN_PENALTY + sofar);
                offer(&mut best[from + c.len_utf8()], from, self.unknown, score);
            }
        }
        let mut parts = Vec::new();
        let mut end = text.len();
        while let Some(Best { from, id, .. }) = best[end].filter(|_| end > 0) {
            parts.push((id, from, end));
            end = from;
        }
        parts.reverse();
        parts
    }
}

fn offer(best: &mut Option<Best>, from: usize, id: u32, score: f64) {
    if best.is_none_or(|best| score > f64::from(best.score)) {
        *best = Some(Best { from, id, score: score as f32 });
    }
}
