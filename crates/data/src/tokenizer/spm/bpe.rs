//! Merging the best pair of neighbours until none is a piece, [Sennrich et al. 2016](https://arxiv.org/abs/1508.07909).

use super::{SentencePiece, proto::PieceKind, trie::Trie};
use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

/// A run of bytes of the text, in a list of neighbours; one without bytes is gone.
#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
    /// User-defined symbols do not merge.
    whole: bool,
}

/// Two neighbours that make a piece.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    length: usize,
}

/// Ids with the bytes they cover.
pub(super) fn segment(text: &str, model: &SentencePiece) -> Vec<(u32, usize, usize)> {
    let (agenda, seams) = Default::default();
    let mut merging = Merging { text, model, symbols: symbols(text, &model.user_defined), agenda, seams };
    merging.run();
    let mut parts = Vec::new();
    let mut at = (!merging.symbols.is_empty()).then_some(0);
    while let Some(Symbol { start, end, next, .. }) = at.map(|at| merging.symbols[at]) {
        merging.split_unused(start, end, &mut parts);
        at = next;
    }
    parts
}

/// Characters and user-defined symbols.
fn symbols(text: &str, user_defined: &Trie) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut start = 0;
    while let Some(c) = text[start..].chars().next() {
        let longest = user_defined.longest(&text.as_bytes()[start..]);
        let end = start + longest.unwrap_or(c.len_utf8());
        let at = symbols.len();
        let next = (end < text.len()).then_some(at + 1);
        symbols.push(Symbol { start, end, previous: at.checked_sub(1), next, whole: longest.is_some() });
        start = end;
    }
    symbols
}

struct Merging<'a> {
    text: &'a str,
    model: &'a SentencePiece,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    /// Where pieces that are not to be given out came together.
    seams: HashMap<&'a str, usize>,
}

impl<'a> Merging<'a> {
    fn run(&mut self) {
        for right in 1..self.symbols.len() {
            self.offer(Some(right - 1), Some(right));
        }
        while let Some(Pair { left, right, length, .. }) = self.agenda.pop() {
            let (a, b) = (self.symbols[left], self.symbols[right]);
            // One of them has merged with another since.
            if a.start == a.end || b.start == b.end || b.end - a.start != length {
                continue;
            }
            self.symbols[left].end = b.end;
            self.symbols[left].next = b.next;
            if let Some(next) = b.next {
                self.symbols[next].previous = Some(left);
            }
            self.symbols[right].end = b.start;
            self.offer(a.previous, Some(left));
            self.offer(Some(left), b.next);
        }
    }

    fn offer(&mut self, left: Option<usize>, right: Option<usize>) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (a, b) = (self.symbols[left], self.symbols[right]);
        if a.whole || b.whole {
            return;
        }
        let piece = &self.text[a.start..b.end];
        let Some(id) = self.model.vocabulary.text_piece(piece) else { return };
        let entry = &self.model.proto.pieces[id as usize];
        self.agenda.push(Pair { score: entry.score, left, right, length: piece.len() });
        if entry.kind == PieceKind::Unused {
            self.seams.insert(piece, a.end - a.start);
        }
    }

    /// Undoes merges into pieces that only lead to other pieces.
    fn split_unused(&self, start: usize, end: usize, parts: &mut Vec<(u32, usize, usize)>) {
        let piece = &self.text[start..end];
        let id = self.model.vocabulary.id(piece);
        let unused = self.model.proto.pieces[id as usize].kind == PieceKind::Unused;
        match self.seams.get(piece).filter(|_| unused) {
            Some(seam) => {
                self.split_unused(start, start + seam, parts);
                self.split_unused(start + seam, end, parts);
            }
            None => parts.push((id, start, end)),
        }
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    /// The higher score first, then what stands further left.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}
