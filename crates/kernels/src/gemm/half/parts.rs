//! Operands of a product as its blocks take them: parts of the depth, and rows and panels of these.

use half::bf16;

use super::{
    KR, Left, NR, Panels, Rows, Term, pack,
    tile::{HalfTile, Lines},
};
use crate::{
    gemm::{Mat, epilogue::Block as Place},
    isa::Avx512Bf16,
    mem::Buf,
};

/// A product of a sum, `[m, k] [k, n]`.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) left: Left<'a>,
    pub(super) right: Right<'a>,
    pub(super) k: usize,
    /// All rows of a transpose, by tiles.
    pub(super) turned: Option<&'a [bf16]>,
}

/// A right operand.
#[derive(Clone, Copy)]
pub(super) enum Right<'a> {
    /// Packed.
    Panels(&'a Panels),
    /// As it is stored, so many columns wide: packed on the way.
    Rows(Rows<'a>, usize),
}

impl<'a> Source<'a> {
    pub(super) fn of(term: Term<'a>) -> Self {
        Source { left: term.a, right: Right::Panels(term.b), k: term.b.k, turned: None }
    }

    /// Its depth, padded.
    pub(super) fn depth(&self) -> usize {
        self.k.next_multiple_of(KR)
    }

    /// Whether the kernel can read the block's rows where they lie.
    pub(super) fn fits<K: HalfTile>(&self, place: Place) -> bool {
        let Left::Rows(a) = self.left else { return self.turned.is_some() };
        let rows = place.rows.next_multiple_of(K::MR);
        let readable = (place.row + rows - 1) * a.ld + self.k <= a.data.len();
        let aligned = a.ld.is_multiple_of(KR) && (a.data.as_ptr() as usize).is_multiple_of(64);
        if K::WHOLE { readable && self.k.is_multiple_of(KR) && aligned } else { self.k.is_multiple_of(2) }
    }

    /// `k` numbers from `from` on of the block's rows, out of `m`, in the form that the kernel needs. Adds each row's to `sums`, which
    /// only a transpose has, unless that is empty.
    pub(super) fn copy<K: HalfTile>(
        &self,
        half: Avx512Bf16,
        to: &mut Buf<bf16>,
        m: usize,
        place: Place,
        (from, k): (usize, usize),
        sums: &mut [f32],
    ) {
        let x = match self.left {
            Left::Transposed(a) => Mat::t(a.data.get(from * a.ld..).unwrap_or(&[]), a.ld),
            Left::Rows(a) => Mat::new(a.data.get(from..).unwrap_or(&[]), a.ld),
        };
        let to = &mut to[..copy_len(place, k)];
        let rows = m.min(place.row + place.rows);
        match K::WHOLE {
            true => pack::tiles_of(half, to, x, (rows, k), place.row, sums),
            false => pack::rows_summed(half, to, x, (rows, k), place.row, sums),
        }
    }
}

/// Numbers of a [copy](Source::copy).
pub(super) fn copy_len(place: Place, k: usize) -> usize {
    place.rows.next_multiple_of(32) * k.next_multiple_of(KR)
}

/// A part of the depth of a term: what one pass of the kernel takes.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Which term's, and where it begins in its depth.
    pub(super) source: usize,
    pub(super) from: usize,
    /// Its depth, and the same padded.
    pub(super) k: usize,
    pub(super) depth: usize,
    /// The part of the first panel of the block, and from there to that of the next; null where panels are packed on the way.
    pub(super) b: *const bf16,
    pub(super) panel: usize,
    /// See [`Block::once`](super::tile::Block).
    pub(super) once: bool,
}

/// The parts of all terms, each of a depth that leaves a panel in the first cache, or rows if panels are read `once`.
pub(super) fn parts<K: HalfTile>(sources: &[Source<'_>], place: Place, once: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    let (first, panels) = (place.col / NR, place.cols.div_ceil(NR));
    for (at, source) in sources.iter().enumerate() {
        let depth = source.depth();
        assert!(place.col.is_multiple_of(NR));
        let panels = match source.right {
            Right::Panels(b) => {
                assert!(b.data.len() >= (first + panels) * NR * depth);
                Some(&b.data[first * depth * NR..])
            }
            Right::Rows(..) => None,
        };
        let most = depth.div_ceil(depth.div_ceil(K::most(depth, once)).max(1)).next_multiple_of(KR).max(KR);
        for from in (0..depth).step_by(most) {
            parts.push(Part {
                source: at,
                from,
                k: most.min(source.k - from),
                depth: most.min(depth - from),
                b: panels.map_or(std::ptr::null(), |b| b[from * NR..].as_ptr()),
                panel: NR * depth,
                once,
            });
        }
    }
    parts
}

/// Rows of a part for the kernel: those of the first tile, and from there to those of the next.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub(super) lines: Lines,
    pub(super) next: usize,
}

impl Tiles {
    /// Of rows that are read where they lie.
    pub(super) fn in_place<K: HalfTile>(x: &[bf16], ld: usize) -> Self {
        Tiles { lines: Lines::of(x, ld), next: K::MR * ld }
    }

    /// From number `from` of the depth on, of a [copy](Source::copy) of all of the depth.
    pub(super) fn copied<K: HalfTile>(copy: &[bf16], depth: usize, from: usize) -> Self {
        match K::WHOLE {
            true => {
                let start = copy[32 * from..].as_ptr();
                Tiles { lines: Lines { start, ld: KR, step: 32 * KR, below: 16 * KR }, next: 32 * depth }
            }
            false => Tiles::in_place::<K>(&copy[from..], depth),
        }
    }
}
