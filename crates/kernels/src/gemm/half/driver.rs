//! From operands to a result: tasks, parts of the depth, and what follows the product.
//!
//! A task takes a block of `C`, all blocks of some columns before those of the next, so that these columns of the right operand stay
//! in the second cache. It goes through the depth in parts short enough that a panel stays in the first one. Sums of a tile stay in
//! the first cache too, until they are written through the epilogue, which is done while the kernel works on the next tile.

use half::bf16;

use super::{
    KR, Left, NR, Term, pack,
    tile::{Block, HalfTile, Lines, block_len},
    token,
};
use crate::{
    gemm::{
        Mat,
        epilogue::{Block as Place, Epilogue},
        tasks,
    },
    isa::{Avx512Bf16, Isa},
    mem::Buf,
    number::Number,
    out::Out,
    simd::{Simd, half_fn},
};

pub(super) fn gemm<C: Number>(
    isa: Isa,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    let depth: usize = terms.iter().map(|t| t.b.k).sum();
    let turned = terms.iter().any(|t| matches!(t.a, Left::Transposed(_)));
    let most = if turned { TURNED_SLICE } else { SLICE };
    if C::IS_BF16 || !epilogue.is_plain() || depth <= most {
        let slices: Vec<Slice<'_>> = terms.iter().map(|&term| Slice { term, from: 0, to: term.b.k }).collect();
        return on(isa, m, n, &slices, out, epilogue);
    }
    let mut accumulate = epilogue.accumulate;
    for &term in terms {
        // Slices of about equal depth.
        let slice = term.b.k.div_ceil(term.b.k.div_ceil(most).max(1)).next_multiple_of(KR).max(KR);
        for from in (0..term.b.k).step_by(slice) {
            let slice = Slice { term, from, to: term.b.k.min(from + slice) };
            on(isa, m, n, &[slice], out, &Epilogue::default().accumulate(accumulate));
            accumulate = true;
        }
    }
}

/// Depth that a product with a result of f32 goes through at a time, at most: operands then come from memory once, and not for each
/// task.
const SLICE: usize = 4096;
/// The same where rows are turned: all columns of the slice stay in the second cache beside the rows of a task.
const TURNED_SLICE: usize = 832;

/// Some of the depth of a product.
#[derive(Clone, Copy)]
struct Slice<'a> {
    term: Term<'a>,
    /// A multiple of 32.
    from: usize,
    to: usize,
}

impl Slice<'_> {
    /// Its depth, padded.
    fn depth(&self) -> usize {
        (self.to - self.from).next_multiple_of(KR)
    }
}

/// The sum of `slices` on whatever the processor has.
fn on<C: Number>(isa: Isa, m: usize, n: usize, slices: &[Slice<'_>], out: Out<'_, C>, epilogue: &Epilogue<'_, C>) {
    let half = token(isa);
    match isa.amx() {
        Some(amx) => run(amx, half, m, n, slices, out, epilogue),
        None => run(half, half, m, n, slices, out, epilogue),
    }
}

fn run<C: Number, K: HalfTile>(
    kernel: K,
    half: Avx512Bf16,
    m: usize,
    n: usize,
    slices: &[Slice<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    let turned = slices.iter().any(|s| matches!(s.term.a, Left::Transposed(_)));
    let stream = epilogue.streams(&out, if turned { STREAMED_GRADIENT } else { STREAMED });
    tasks::for_each_block_by_columns(m, n, size::<K>(m, n, slices, turned), |place| {
        let copies: Vec<Option<Buf<bf16>>> = slices.iter().map(|s| copy_of::<K>(half, s, m, place)).collect();
        let parts = parts::<K>(slices, &copies, place);
        block(half, kernel, &parts, place, out, epilogue, stream);
    });
}

/// From this many bytes on a result goes past the caches: it would leave them before anybody has read it, and what lies in its
/// place need not be read first.
const STREAMED: usize = 2 << 20;
/// The same for the gradient of a weight, which is read at once.
const STREAMED_GRADIENT: usize = 32 << 20;

/// Bytes of right operands that stay in the second cache while the rows of the result pass by.
const RESIDENT: usize = 1216 << 10;

/// Rows and columns of a task.
fn size<K: HalfTile>(m: usize, n: usize, slices: &[Slice<'_>], turned: bool) -> (usize, usize) {
    let depth: usize = slices.iter().map(Slice::depth).sum();
    let most = (RESIDENT / (2 * depth.max(1))).clamp(4 * NR, 1024);
    let columns = n.div_ceil(n.div_ceil(most)).next_multiple_of(NR);
    if !turned {
        return tasks::size(m, n, K::MR, NR, (tasks::LARGEST.0, columns));
    }
    // Rows that are turned are turned for every task that has them: few rows, and all columns but where tasks are too few to
    // share.
    let (rows, mut columns) = (64 / K::MR * K::MR, columns);
    while columns > 4 * NR && m.div_ceil(rows) * n.div_ceil(columns) < 8 {
        columns -= NR;
    }
    (rows, columns)
}

/// A part of the depth of a term: what one pass of the kernel takes.
#[derive(Clone, Copy)]
struct Part {
    a: Lines,
    /// From a tile's rows to those of the next.
    tile: usize,
    /// The part of the first panel of the block, and from there to that of the next.
    b: *const bf16,
    panel: usize,
    pairs: usize,
}

/// The parts of all terms, each of a depth that leaves a panel in the first cache.
fn parts<K: HalfTile>(slices: &[Slice<'_>], copies: &[Option<Buf<bf16>>], place: Place) -> Vec<Part> {
    let mut parts = Vec::new();
    for (slice, copy) in slices.iter().zip(copies) {
        let (Slice { term: Term { a, b }, from, .. }, depth) = (*slice, slice.depth());
        if depth == 0 {
            continue;
        }
        let whole = b.k.next_multiple_of(KR);
        assert!(from.is_multiple_of(KR) && from + depth <= whole);
        let kc = depth.div_ceil(depth.div_ceil(K::KC)).next_multiple_of(KR);
        let panels = place.cols.div_ceil(NR);
        assert!(place.col.is_multiple_of(NR) && b.data.len() >= (place.col / NR + panels) * NR * whole);
        for p in (0..depth).step_by(kc) {
            let (a, tile) = match (copy, a) {
                // By tiles; see `pack::tiles_of`.
                (Some(copy), _) if K::WHOLE => {
                    (Lines { start: copy[p * 32..].as_ptr(), ld: KR, step: 32 * KR, below: 16 * KR }, 32 * depth)
                }
                (Some(copy), _) => (Lines::of(&copy[p..], depth), K::MR * depth),
                (None, Left::Rows(a)) => (Lines::of(&a.data[place.row * a.ld + from + p..], a.ld), K::MR * a.ld),
                (None, Left::Transposed(_)) => unreachable!("transposes are copied"),
            };
            parts.push(Part {
                a,
                tile,
                b: b.data[(place.col / NR * whole + from + p) * NR..].as_ptr(),
                panel: NR * whole,
                pairs: kc.min(slice.to - from - p).div_ceil(2),
            });
        }
    }
    parts
}

half_fn! {
    /// A block of the result: all parts of the depth of each tile, and its sums through the epilogue.
    ///
    /// A kernel leaves most of a processor idle: while it works on a tile, the sums of the tile before are written.
    fn block<[C: Number, K: HalfTile]>(
        s, kernel: K, parts: &[Part], place: Place, out: Out<'_, C>, epilogue: &Epilogue<'_, C>, stream: bool,
    ) {
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        // With all of the depth at once, the rows of a tile stay in the first cache while panels pass by; else a panel's part does
        // while rows pass by.
        let whole = parts.len() <= 1;
        let (outer, inner) = if whole { (row_tiles, panels) } else { (panels, row_tiles) };
        let slots = if whole { 2 } else { row_tiles + 1 };
        let mut acc = Buf::<f32>::for_overwrite(slots * block_len(K::MR));
        if parts.is_empty() {
            acc.fill(0.0);
        }
        // Sums of one tile are read while those of another are written: neither is reached through the buffer meanwhile.
        let base = acc.as_mut_ptr();
        // SAFETY: one of the slots.
        let slot = |x: usize, y: usize| unsafe { base.add((x * inner + y) % slots * block_len(K::MR)) };
        let mut done: Option<(usize, usize)> = None;
        for x in 0..outer {
            for p in 0..parts.len().max(1) {
                for y in 0..inner {
                    // Nobody writes these sums before the next tile but one is begun.
                    let mut sums = match done.take() {
                        Some((x, y)) => {
                            let (i, j) = if whole { (x, y) } else { (y, x) };
                            // SAFETY: as many sums as a slot has, and it is not the next tile's.
                            let sums = unsafe { std::slice::from_raw_parts(slot(x, y), block_len(K::MR)) };
                            Some(Sums { sums, place: tile_of::<K>(place, i, j), row: 0, out, epilogue, stream })
                        }
                        None => None,
                    };
                    if let Some(part) = parts.get(p) {
                        let (i, j) = if whole { (x, y) } else { (y, x) };
                        let block = Block {
                            // SAFETY: the rows are some of the block's, of which a part has all.
                            a: Lines { start: unsafe { part.a.start.add(i * part.tile) }, ..part.a },
                            // SAFETY: the panel is one of the block's, of which a part has all.
                            b: unsafe { part.b.add(j * part.panel) },
                            pairs: part.pairs,
                            acc: slot(x, y),
                        };
                        // SAFETY: parts are made of checked operands and of copies in the form that the kernel needs.
                        unsafe { kernel.tile_beside(s, block, K::MR.min(place.rows - i * K::MR), p == 0, &mut sums) };
                    }
                    if let Some(sums) = &mut sums {
                        sums.write(s, K::MR);
                    }
                    done = (p + 1 >= parts.len()).then_some((x, y));
                }
            }
        }
        if let Some((x, y)) = done {
            let (i, j) = if whole { (x, y) } else { (y, x) };
            // SAFETY: as above; no tile is worked on.
            let sums = unsafe { std::slice::from_raw_parts(slot(x, y), block_len(K::MR)) };
            Sums { sums, place: tile_of::<K>(place, i, j), row: 0, out, epilogue, stream }.write(s, K::MR);
        }
        if stream {
            // Others see what went past the caches when they see that this task is done.
            s.fence();
        }
    }
}

/// Where tile `(i, j)` of a block stands.
#[inline(always)]
fn tile_of<K: HalfTile>(place: Place, i: usize, j: usize) -> Place {
    let (row, col) = (i * K::MR, j * NR);
    Place {
        row: place.row + row,
        col: place.col + col,
        rows: K::MR.min(place.rows - row),
        cols: NR.min(place.cols - col),
    }
}

/// The sums of a tile on their way through the epilogue.
pub(crate) struct Sums<'a, C: Number> {
    sums: &'a [f32],
    place: Place,
    /// The first row that is not written yet.
    row: usize,
    out: Out<'a, C>,
    epilogue: &'a Epilogue<'a, C>,
    stream: bool,
}

impl<C: Number> Sums<'_, C> {
    /// Writes the next rows, at most `count`.
    #[inline(always)]
    pub(super) fn write<S: Simd>(&mut self, s: S, count: usize) {
        let rows = count.min(self.place.rows - self.row);
        if rows == 0 {
            return;
        }
        let place = Place { row: self.place.row + self.row, rows, ..self.place };
        // SAFETY: tiles cover `C` without overlap, and `gemm_half` checked the epilogue against it.
        unsafe { self.epilogue.write_wide(s, &self.sums[self.row * NR..], place, &self.out, self.stream) };
        self.row += rows;
    }
}

/// The block's rows in the form that the kernel needs; `None` if they have it.
fn copy_of<K: HalfTile>(half: Avx512Bf16, slice: &Slice<'_>, m: usize, place: Place) -> Option<Buf<bf16>> {
    let (from, k) = (slice.from, slice.to - slice.from);
    let (x, fits) = match slice.term.a {
        Left::Transposed(a) => (Mat::t(a.data.get(from * a.ld..).unwrap_or(&[]), a.ld), false),
        Left::Rows(a) => {
            let rows = place.rows.next_multiple_of(K::MR);
            let readable = (place.row + rows - 1) * a.ld + from + k <= a.data.len();
            let aligned = a.ld.is_multiple_of(KR) && (a.data.as_ptr() as usize).is_multiple_of(64);
            let fits = if K::WHOLE { readable && k.is_multiple_of(KR) && aligned } else { k.is_multiple_of(2) };
            (Mat::new(a.data.get(from..).unwrap_or(&[]), a.ld), fits)
        }
    };
    if fits {
        return None;
    }
    let mut copy = Buf::for_overwrite(place.rows.next_multiple_of(32) * slice.depth());
    let rows = m.min(place.row + place.rows);
    match K::WHOLE {
        true => pack::tiles_of(half, &mut copy, x, rows, k, place.row),
        false => pack::rows_of(half, &mut copy, x, rows, k, place.row),
    }
    Some(copy)
}
