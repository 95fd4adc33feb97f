//! From operands to a result: tasks, parts of the depth, and what follows the product.
//!
//! A task takes a block of `C` and goes through the depth in parts short enough that a part of a panel, that of the rows of a tile
//! and the sums stay in the first cache. Which blocks, and in which order, depends on what would come from memory again and again:
//!
//! - Rows that are read where they lie pass by columns of the right operand that stay in the second cache ([`beside`]): all blocks
//!   of some columns come before those of the next.
//! - Where too few columns would stay for that, because the depth is large or rows would be turned once for each few of them: sums of a
//!   block stay in the second cache, and parts of the depth pass by ([`within`]). So for steps of an optimizer, but for those of little
//!   depth, whose rows are turned before all tasks ([`step`]).
//!
//! Sums go through the epilogue while the kernel works on the next tile.

use half::bf16;

use super::{
    Forms, KR, Left, NR, Rows, Term, pack,
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
    pool,
    simd::{Simd, half_fn},
};

pub(super) fn gemm<C: Number>(
    isa: Isa,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
    forms: Option<&Forms<'_>>,
) {
    let half = token(isa);
    let stream = epilogue.streams(&out, if turns(terms) { STREAMED_GRADIENT } else { STREAMED });
    let work = Work { out, epilogue, stream, forms: forms.filter(|f| f.any()) };
    match isa.amx() {
        Some(amx) => run(amx, half, m, n, terms, &work),
        None => run(half, half, m, n, terms, &work),
    }
}

/// Whether rows of some term have to be turned.
fn turns(terms: &[Term<'_>]) -> bool {
    terms.iter().any(|t| matches!(t.a, Left::Transposed(_)))
}

fn run<C: Number, K: HalfTile>(
    kernel: K,
    half: Avx512Bf16,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    work: &Work<'_, C>,
) {
    let (turned, steps) = (turns(terms), work.epilogue.is_step());
    assert!(work.forms.is_none() || K::MR == KR, "packed forms are renewed by blocks of 32 rows");
    if let (&[term @ Term { a: Left::Transposed(a), b }], true) = (terms, steps && K::WHOLE)
        && b.k <= STEP_DEEP
    {
        return step(kernel, half, m, n, term, a, work);
    }
    let sources: Vec<Source<'_>> = terms.iter().map(|&term| Source { term, turned: None }).collect();
    let depth: usize = sources.iter().map(Source::depth).sum();
    // Rows that are turned are turned for every task that has them, so that all columns would have to stay.
    if steps || depth > DEEP || turned && n > columns(&sources, n) {
        tasks::for_each_block_by_columns(m, n, square::<K>(m, n), |place| {
            within(half, kernel, half, m, &sources, place, work);
        });
    } else {
        by_columns(kernel, half, (m, n), &sources, if turned { 64 } else { tasks::LARGEST.0 }, work);
    }
}

/// All blocks of at most so many rows, [`beside`] each other.
fn by_columns<C: Number, K: HalfTile>(
    kernel: K,
    half: Avx512Bf16,
    (m, n): (usize, usize),
    sources: &[Source<'_>],
    rows: usize,
    work: &Work<'_, C>,
) {
    let size = tasks::size(m, n, K::MR, NR, (rows, columns(sources, n)));
    tasks::for_each_block_by_columns(m, n, size, |place| beside(half, kernel, half, m, sources, place, work));
}

/// A step with a weight's gradient of little depth. Weights and moments come from memory at a rate that the product would wait for, did
/// not each of its tiles take its own time: so rows are turned before, and each tile meets all of the depth at once.
fn step<C: Number, K: HalfTile>(
    kernel: K,
    half: Avx512Bf16,
    m: usize,
    n: usize,
    term: Term<'_>,
    a: Rows<'_>,
    work: &Work<'_, C>,
) {
    let k = term.b.k;
    let mut turned = Buf::for_overwrite(m.next_multiple_of(32) * k.next_multiple_of(KR));
    pack::turned(half, &mut turned, Mat::t(a.data, a.ld), m, k);
    by_columns(kernel, half, (m, n), &[Source { term, turned: Some(&turned) }], tasks::LARGEST.0, work);
}

/// Depth of such a step, at most; of more too few columns would stay in the second cache.
const STEP_DEEP: usize = 1024;

/// A term, and its rows where they are turned already.
#[derive(Clone, Copy)]
struct Source<'a> {
    term: Term<'a>,
    /// All rows of a transpose, by tiles.
    turned: Option<&'a [bf16]>,
}

impl Source<'_> {
    /// Its depth, padded.
    fn depth(&self) -> usize {
        self.term.b.k.next_multiple_of(KR)
    }
}

/// Columns of a task of which all of the depth stays in the second cache.
fn columns(sources: &[Source<'_>], n: usize) -> usize {
    let depth: usize = sources.iter().map(Source::depth).sum();
    let most = (RESIDENT / (2 * depth.max(1))).clamp(4 * NR, 1024);
    n.div_ceil(n.div_ceil(most)).next_multiple_of(NR)
}

/// Depth of which columns stay in the second cache, at most.
const DEEP: usize = 4096;

/// Bytes of right operands that stay in the second cache while the rows of the result pass by.
const RESIDENT: usize = 800 << 10;

/// From this many bytes on a result goes past the caches: it would leave them before anybody has read it, and what lies in its
/// place need not be read first.
const STREAMED: usize = 2 << 20;
/// The same for the gradient of a weight, which is read at once.
const STREAMED_GRADIENT: usize = 32 << 20;

/// Rows and columns of a task whose sums stay in the second cache: as square as can be, since each row and each column of the
/// operands comes from memory once for each task that has it.
fn square<K: HalfTile>(m: usize, n: usize) -> (usize, usize) {
    const SIDE: usize = 384;
    // How a product is cut does not change what it is: tasks may be as large as threads leave them.
    let least = 2 * pool::threads();
    let even = |x: usize, most: usize, unit: usize| x.div_ceil(x.div_ceil(most)).next_multiple_of(unit);
    let (mut rows, mut cols) = (even(m, SIDE, K::MR), even(n, SIDE, NR));
    while m.div_ceil(rows) * n.div_ceil(cols) < least && (rows > 2 * K::MR || cols > 2 * NR) {
        match rows >= cols {
            true => rows = even(m, rows - K::MR, K::MR),
            false => cols = even(n, cols - NR, NR),
        }
    }
    (rows, cols)
}

/// What becomes of sums.
struct Work<'a, C: Number> {
    out: Out<'a, C>,
    epilogue: &'a Epilogue<'a, C>,
    stream: bool,
    /// Packed forms of the result.
    forms: Option<&'a Forms<'a>>,
}

/// A part of the depth of a term: what one pass of the kernel takes.
#[derive(Clone, Copy)]
struct Part {
    /// Which term's, and where it begins in its depth.
    source: usize,
    from: usize,
    /// Its depth, and the same padded.
    k: usize,
    depth: usize,
    /// The part of the first panel of the block, and from there to that of the next.
    b: *const bf16,
    panel: usize,
}

/// The parts of all terms, each of a depth that leaves a panel in the first cache.
fn parts<K: HalfTile>(sources: &[Source<'_>], place: Place) -> Vec<Part> {
    let mut parts = Vec::new();
    let (first, panels) = (place.col / NR, place.cols.div_ceil(NR));
    for (at, source) in sources.iter().enumerate() {
        let (b, depth) = (source.term.b, source.depth());
        assert!(place.col.is_multiple_of(NR) && b.data.len() >= (first + panels) * NR * depth);
        let most = depth.div_ceil(depth.div_ceil(K::KC).max(1)).next_multiple_of(KR).max(KR);
        for from in (0..depth).step_by(most) {
            parts.push(Part {
                source: at,
                from,
                k: most.min(b.k - from),
                depth: most.min(depth - from),
                b: b.data[(first * depth + from) * NR..].as_ptr(),
                panel: NR * depth,
            });
        }
    }
    parts
}

/// Rows of a part for the kernel: those of the first tile, and from there to those of the next.
#[derive(Clone, Copy)]
struct Tiles {
    lines: Lines,
    next: usize,
}

impl Tiles {
    /// Of rows that are read where they lie.
    fn in_place<K: HalfTile>(x: &[bf16], ld: usize) -> Self {
        Tiles { lines: Lines::of(x, ld), next: K::MR * ld }
    }

    /// From number `from` of the depth on, of a [`copy`] of all of the depth.
    fn copied<K: HalfTile>(copy: &[bf16], depth: usize, from: usize) -> Self {
        match K::WHOLE {
            true => {
                let start = copy[32 * from..].as_ptr();
                Tiles { lines: Lines { start, ld: KR, step: 32 * KR, below: 16 * KR }, next: 32 * depth }
            }
            false => Tiles::in_place::<K>(&copy[from..], depth),
        }
    }
}

/// `k` numbers from `from` on of the block's rows in the form that the kernel needs.
fn copy<K: HalfTile>(half: Avx512Bf16, to: &mut Buf<bf16>, a: Left<'_>, m: usize, place: Place, from: usize, k: usize) {
    let x = match a {
        Left::Transposed(a) => Mat::t(a.data.get(from * a.ld..).unwrap_or(&[]), a.ld),
        Left::Rows(a) => Mat::new(a.data.get(from..).unwrap_or(&[]), a.ld),
    };
    let to = &mut to[..copy_len(place, k)];
    let rows = m.min(place.row + place.rows);
    match K::WHOLE {
        true => pack::tiles_of(half, to, x, rows, k, place.row),
        false => pack::rows_of(half, to, x, rows, k, place.row),
    }
}

/// Numbers of a [`copy`].
fn copy_len(place: Place, k: usize) -> usize {
    place.rows.next_multiple_of(32) * k.next_multiple_of(KR)
}

/// Whether the kernel can read the block's rows where they lie.
fn fits<K: HalfTile>(source: &Source<'_>, place: Place) -> bool {
    let Left::Rows(a) = source.term.a else { return source.turned.is_some() };
    let k = source.term.b.k;
    let rows = place.rows.next_multiple_of(K::MR);
    let readable = (place.row + rows - 1) * a.ld + k <= a.data.len();
    let aligned = a.ld.is_multiple_of(KR) && (a.data.as_ptr() as usize).is_multiple_of(64);
    if K::WHOLE { readable && k.is_multiple_of(KR) && aligned } else { k.is_multiple_of(2) }
}

half_fn! {
    /// A block whose columns of the right operand stay in the second cache. The rows of a tile pass by two panels at a time, of which
    /// they meet all parts of the depth, so that sums never leave the first cache.
    fn beside<[C: Number, K: HalfTile]>(
        s, kernel: K, half: Avx512Bf16, m: usize, sources: &[Source<'_>], place: Place, work: &Work<'_, C>,
    ) {
        let mut copies: Vec<Option<Buf<bf16>>> = Vec::with_capacity(sources.len());
        for source in sources {
            let k = source.term.b.k;
            copies.push(match fits::<K>(source, place) {
                true => None,
                false => {
                    let mut to = Buf::for_overwrite(copy_len(place, k));
                    copy::<K>(half, &mut to, source.term.a, m, place, 0, k);
                    Some(to)
                }
            });
        }
        let parts = parts::<K>(sources, place);
        let mut lefts = Vec::with_capacity(parts.len());
        for part in &parts {
            let Source { term, turned } = sources[part.source];
            let depth = sources[part.source].depth();
            lefts.push(match (&copies[part.source], turned, term.a) {
                (Some(x), ..) => Tiles::copied::<K>(x, depth, part.from),
                (None, Some(x), _) => Tiles::copied::<K>(&x[place.row * depth..], depth, part.from),
                (None, None, Left::Rows(a)) => Tiles::in_place::<K>(&a.data[place.row * a.ld + part.from..], a.ld),
                (None, None, Left::Transposed(_)) => unreachable!("transposes are copied"),
            });
        }
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        // Of three tiles in a row two are worked on while one is written.
        let mut acc = Buf::<f32>::for_overwrite(4 * block_len(K::MR));
        let mut passes = Passes { place, work, acc: acc.as_mut_ptr(), done: None };
        if parts.is_empty() {
            passes.without_depth(s, kernel, row_tiles, panels);
        }
        let mut tile = 0;
        for i in 0..row_tiles {
            for first in (0..panels).step_by(2) {
                let two = 2.min(panels - first);
                for p in 0..parts.len() {
                    for j in 0..two {
                        let slot = (tile + j) % 4;
                        let (start, end) = (p == 0, p + 1 == parts.len());
                        passes.pass(s, kernel, &parts[p], lefts[p], (i, first + j), slot, start, end);
                    }
                }
                tile += two;
            }
        }
        passes.end(s, kernel);
    }
}

half_fn! {
    /// A block whose sums stay in the second cache. Each part of the depth of its rows is copied in the form that the kernel needs.
    fn within<[C: Number, K: HalfTile]>(
        s, kernel: K, half: Avx512Bf16, m: usize, sources: &[Source<'_>], place: Place, work: &Work<'_, C>,
    ) {
        let parts = parts::<K>(sources, place);
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        let mut acc = Buf::<f32>::for_overwrite(row_tiles * panels * block_len(K::MR));
        let mut passes = Passes { place, work, acc: acc.as_mut_ptr(), done: None };
        if parts.is_empty() {
            passes.without_depth(s, kernel, row_tiles, panels);
        }
        let mut rows = Buf::for_overwrite(copy_len(place, K::KC.next_multiple_of(KR)));
        for p in 0..parts.len() {
            let part = &parts[p];
            copy::<K>(half, &mut rows, sources[part.source].term.a, m, place, part.from, part.k);
            let left = Tiles::copied::<K>(&rows, part.depth, 0);
            let (start, end) = (p == 0, p + 1 == parts.len());
            for i in 0..row_tiles {
                for j in 0..panels {
                    passes.pass(s, kernel, part, left, (i, j), i * panels + j, start, end);
                }
            }
        }
        passes.end(s, kernel);
    }
}

/// Passes of a kernel over the tiles of a block, whose sums lie in slots.
struct Passes<'a, C: Number> {
    place: Place,
    work: &'a Work<'a, C>,
    acc: *mut f32,
    /// A tile whose sums are whole and not written yet, and its slot.
    done: Option<((usize, usize), usize)>,
}

impl<'a, C: Number> Passes<'a, C> {
    /// Adds a part of the depth to the sums of a tile, of which it is the `start` or the `end`, and writes those of the tile that was done
    /// before meanwhile: a kernel leaves most of a processor idle.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn pass<S: Simd, K: HalfTile>(
        &mut self,
        s: S,
        kernel: K,
        part: &Part,
        left: Tiles,
        (i, j): (usize, usize),
        slot: usize,
        start: bool,
        end: bool,
    ) {
        let mut sums = self.done.take().map(|(tile, slot)| self.sums::<K>(tile, slot));
        let block = Block {
            // SAFETY: the rows are some of the block's, of which a part has all.
            a: Lines { start: unsafe { left.lines.start.add(i * left.next) }, ..left.lines },
            // SAFETY: the panel is one of the block's, of which a part has all.
            b: unsafe { part.b.add(j * part.panel) },
            pairs: part.k.div_ceil(2),
            // SAFETY: one of the slots, and not that of the tile that is written.
            acc: unsafe { self.acc.add(slot * block_len(K::MR)) },
        };
        // SAFETY: parts are made of checked operands and of copies in the form that the kernel needs.
        unsafe { kernel.tile_beside(s, block, K::MR.min(self.place.rows - i * K::MR), start, &mut sums) };
        if let Some(sums) = &mut sums {
            sums.write(s, K::MR);
        }
        if end {
            self.done = Some(((i, j), slot));
        }
    }

    /// The sums of a tile, on their way.
    #[inline(always)]
    fn sums<K: HalfTile>(&self, (i, j): (usize, usize), slot: usize) -> Sums<'a, C> {
        let Work { out, epilogue, stream, forms } = *self.work;
        // SAFETY: as many sums as a slot has, which nobody writes before they are on their way.
        let sums = unsafe { std::slice::from_raw_parts(self.acc.add(slot * block_len(K::MR)), block_len(K::MR)) };
        Sums { sums, place: tile_of::<K>(self.place, i, j), row: 0, out, epilogue, stream, forms }
    }

    /// Writes all tiles of a product without depth: no sums.
    #[inline(always)]
    fn without_depth<S: Simd, K: HalfTile>(&mut self, s: S, kernel: K, row_tiles: usize, panels: usize) {
        // SAFETY: the first slot, which nobody else uses.
        unsafe { std::slice::from_raw_parts_mut(self.acc, block_len(K::MR)) }.fill(0.0);
        for tile in 0..row_tiles * panels {
            self.write(s, kernel, (tile / panels, tile % panels), 0);
        }
    }

    /// Writes the sums of a tile.
    #[inline(always)]
    fn write<S: Simd, K: HalfTile>(&mut self, s: S, _: K, tile: (usize, usize), slot: usize) {
        self.sums::<K>(tile, slot).write(s, K::MR);
    }

    /// Writes what is left.
    #[inline(always)]
    fn end<S: Simd, K: HalfTile>(mut self, s: S, kernel: K) {
        if let Some((tile, slot)) = self.done.take() {
            self.write(s, kernel, tile, slot);
        }
        if self.work.stream {
            // Others see what went past the caches when they see that this task is done.
            s.fence();
        }
        if let Some(forms) = self.work.forms {
            forms.end();
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
    forms: Option<&'a Forms<'a>>,
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
        if self.row == self.place.rows
            && let Some(forms) = self.forms
        {
            // SAFETY: the tile is this task's.
            unsafe { forms.write(self.place) };
        }
    }
}
