//! From operands to a result: tasks, and the order in which they go through the operands.
//!
//! A task takes a block of `C` and goes through the depth in parts short enough that a part of a panel, that of the rows of a tile
//! and the sums stay in the first cache. Which blocks, and in which order, depends on what would come from memory again and again:
//!
//! - Rows that are read where they lie pass by columns of the right operand that stay in the second cache ([`beside`]): all blocks
//!   of some columns come before those of the next.
//! - Where too few columns would stay for that, because the depth is large or rows would be turned once for each few of them: sums of a
//!   block stay in the second cache, and parts of the depth pass by ([`within`]). So for the gradients of weights, whose operands are
//!   both brought into the form of the kernel on the way; but for steps of an optimizer of little depth that is done before ([`step`]).
//!
//! Sums go through the epilogue while the kernel works on the next tile.

use half::bf16;

use super::{
    ColumnSums, Cross, Forms, KR, Left, NR, Panels, Rows, Term, pack,
    parts::{Right, Source, Tiles, copy_len, parts},
    passes::{Passes, Work},
    tile::{HalfTile, block_len},
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
    simd::half_fn,
};

/// The sum of products of `terms`.
pub(super) fn gemm<C: Number>(
    isa: Isa,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    let half = token(isa);
    let turned = terms.iter().any(|t| matches!(t.a, Left::Transposed(_)));
    let stream = epilogue.streams(&out, if turned { STREAMED_GRADIENT } else { STREAMED });
    let work = Work { out, epilogue, stream, forms: None };
    let sources: Vec<Source<'_>> = terms.iter().map(|&term| Source::of(term)).collect();
    match isa.amx() {
        Some(amx) => sum(amx, half, m, n, &sources, turned, &work),
        None => sum(half, half, m, n, &sources, turned, &work),
    }
}

fn sum<C: Number, K: HalfTile>(
    kernel: K,
    half: Avx512Bf16,
    m: usize,
    n: usize,
    sources: &[Source<'_>],
    turned: bool,
    work: &Work<'_, C>,
) {
    let depth: usize = sources.iter().map(Source::depth).sum();
    // Rows that are turned are turned for every task that has them, so that all columns would have to stay.
    if depth > DEEP || turned && n > columns(sources, n) {
        tasks::for_each_block_by_columns(m, n, square::<K>(m, n), |place| {
            within(half, kernel, half, m, sources, place, work, None);
        });
    } else {
        by_columns(kernel, half, (m, n), sources, if turned { 64 } else { tasks::LARGEST.0 }, work);
    }
}

/// The product of a transpose, perhaps with packed forms of the result.
pub(super) fn cross<C: Number>(
    isa: Isa,
    cross: Cross<'_>,
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
    forms: Option<&Forms<'_>>,
) {
    let half = token(isa);
    let stream = epilogue.streams(&out, STREAMED_GRADIENT);
    let work = Work { out, epilogue, stream, forms: forms.filter(|f| f.any()) };
    match isa.amx() {
        Some(amx) => one(amx, half, cross, &work),
        None => one(half, half, cross, &work),
    }
}

fn one<C: Number, K: HalfTile>(kernel: K, half: Avx512Bf16, cross: Cross<'_>, work: &Work<'_, C>) {
    let Cross { left, right, m, n, k, sums } = cross;
    assert!(work.forms.is_none() || K::MR == KR, "packed forms are renewed by blocks of 32 rows");
    let (left_sums, right_sums): (&mut [f32], &mut [f32]) = match sums {
        ColumnSums::None => (&mut [], &mut []),
        ColumnSums::Left(sums) => (&mut sums[..m], &mut []),
        ColumnSums::Right(sums) => (&mut [], &mut sums[..n]),
    };
    if work.epilogue.is_step() && K::WHOLE && k <= STEP_DEEP {
        return step(kernel, half, (m, n, k), (left, right), (left_sums, right_sums), work);
    }
    let source = Source { left: Left::Transposed(left), right: Right::Rows(right, n), k, turned: None };
    let (of_left, of_right) = (Out::new(left_sums, 1), Out::new(right_sums, 1));
    tasks::for_each_block_by_columns(m, n, square::<K>(m, n), |place| {
        let (rows, columns) = (of_left.len() > 0 && place.col == 0, of_right.len() > 0 && place.row == 0);
        // SAFETY: of all tasks with the same rows or columns one writes their sums.
        let sums = unsafe {
            (
                if rows { of_left.row(place.row, 0, place.rows) } else { &mut [] },
                if columns { of_right.row(place.col, 0, place.cols) } else { &mut [] },
            )
        };
        within(half, kernel, half, m, &[source], place, work, Some(sums));
    });
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
    (m, n, k): (usize, usize, usize),
    (left, right): (Rows<'_>, Rows<'_>),
    (left_sums, right_sums): (&mut [f32], &mut [f32]),
    work: &Work<'_, C>,
) {
    let mut turned = Buf::for_overwrite(m.next_multiple_of(32) * k.next_multiple_of(KR));
    pack::turned(half, &mut turned, Mat::t(left.data, left.ld), (m, k), left_sums);
    let mut panels = Panels::for_overwrite(k, n);
    pack::panels(half, &mut panels.data, Mat::new(right.data, right.ld), k, n, right_sums);
    let (left, right) = (Left::Transposed(left), Right::Panels(&panels));
    let source = Source { left, right, k, turned: Some(&turned) };
    by_columns(kernel, half, (m, n), &[source], tasks::LARGEST.0, work);
}

/// Depth of such a step, at most; of more too few columns would stay in the second cache.
const STEP_DEEP: usize = 1024;

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

half_fn! {
    /// A block whose columns of the right operand stay in the second cache. The rows of a tile pass by two panels at a time, of which
    /// they meet all parts of the depth, so that sums never leave the first cache.
    fn beside<[C: Number, K: HalfTile]>(
        s, kernel: K, half: Avx512Bf16, m: usize, sources: &[Source<'_>], place: Place, work: &Work<'_, C>,
    ) {
        let mut copies: Vec<Option<Buf<bf16>>> = Vec::with_capacity(sources.len());
        for source in sources {
            copies.push(match source.fits::<K>(place) {
                true => None,
                false => {
                    let mut to = Buf::for_overwrite(copy_len(place, source.k));
                    source.copy::<K>(half, &mut to, m, place, (0, source.k), &mut []);
                    Some(to)
                }
            });
        }
        let parts = parts::<K>(sources, place);
        let mut lefts = Vec::with_capacity(parts.len());
        for part in &parts {
            let Source { left, turned, .. } = sources[part.source];
            let depth = sources[part.source].depth();
            lefts.push(match (&copies[part.source], turned, left) {
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
    /// A block whose sums stay in the second cache. Each part of the depth of its rows is copied in the form that the kernel needs, and
    /// so is that of its columns, unless they are packed. Sums of rows and columns of the operands are written where they are wanted.
    fn within<[C: Number, K: HalfTile]>(
        s, kernel: K, half: Avx512Bf16, m: usize, sources: &[Source<'_>], place: Place, work: &Work<'_, C>,
        wanted: Option<(&mut [f32], &mut [f32])>,
    ) {
        let parts = parts::<K>(sources, place);
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        let mut acc = Buf::<f32>::for_overwrite(row_tiles * panels * block_len(K::MR));
        let mut passes = Passes { place, work, acc: acc.as_mut_ptr(), done: None };
        if parts.is_empty() {
            passes.without_depth(s, kernel, row_tiles, panels);
        }
        let deepest = K::KC.next_multiple_of(KR);
        let mut rows = Buf::for_overwrite(copy_len(place, deepest));
        let packs = sources.iter().any(|source| matches!(source.right, Right::Rows(..)));
        let mut columns = Buf::for_overwrite(if packs { panels * NR * deepest } else { 0 });
        let (of_rows, of_columns) = wanted.unwrap_or_default();
        let sums = |wanted: &[f32]| Buf::<f32>::zeroed(wanted.len().next_multiple_of(32));
        let (mut row_sums, mut column_sums) = (sums(of_rows), sums(of_columns));
        for p in 0..parts.len() {
            let mut part = parts[p];
            let source = &sources[part.source];
            if let Right::Rows(b, n) = source.right {
                let to = &mut columns[..panels * NR * part.depth];
                let x = Mat::new(b.data.get(part.from * b.ld..).unwrap_or(&[]), b.ld);
                pack::panels_of(half, to, x, (part.k, n), place.col, &mut column_sums);
                (part.b, part.panel) = (to.as_ptr(), NR * part.depth);
            }
            source.copy::<K>(half, &mut rows, m, place, (part.from, part.k), &mut row_sums);
            let left = Tiles::copied::<K>(&rows, part.depth, 0);
            let (start, end) = (p == 0, p + 1 == parts.len());
            for n in 0..row_tiles * panels {
                // A panel stays in the first cache while tiles of rows pass by, which lie one after another; but results are written
                // row by row.
                let (i, j) = if end { (n / panels, n % panels) } else { (n % row_tiles, n / row_tiles) };
                passes.pass(s, kernel, &part, left, (i, j), i * panels + j, start, end);
            }
        }
        passes.end(s, kernel);
        of_rows.copy_from_slice(&row_sums[..of_rows.len()]);
        of_columns.copy_from_slice(&column_sums[..of_columns.len()]);
    }
}
