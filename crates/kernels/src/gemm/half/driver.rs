//! From operands to a result: tasks, and the order in which they go through the operands.
//!
//! A task takes a block of `C` and goes through the depth in parts short enough that one operand, a part of a panel or that of the rows of
//! a tile, stays in the first cache ([`HalfTile::most`]). Which blocks, and in which order, depends on what would come from memory again and again:
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
        epilogue::{Block as Place, Epilogue, Memory},
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
    let sources: Vec<Source<'_>> = terms.iter().map(|&term| Source::of(term)).collect();
    let depth: usize = sources.iter().map(Source::depth).sum();
    let work = Work { out, epilogue, memory: Memory { stream, ahead: depth <= SHALLOW }, forms: None };
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
    let memory = Memory { stream, ahead: cross.k <= SHALLOW };
    let work = Work { out, epilogue, memory, forms: forms.filter(|f| f.any()) };
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

/// Depth of products whose blocks come fast enough to ask for what the next one reads.
const SHALLOW: usize = 1536;

/// Depth of which columns stay in the second cache, at most.
const DEEP: usize = 4096;

/// Bytes of right operands that stay in the second cache while the rows of the result pass by.
const RESIDENT: usize = 800 << 10;

/// From this many bytes on a result goes past the caches: it would leave them before anybody has read it, and what lies in its
/// place need not be read first.
const STREAMED: usize = 2 << 20;
/// The same for the gradient of a weight, which is read at once.
const STREAMED_GRADIENT: usize = 32 << 20;

/// Rows and columns of a task whose sums stay in the second cache. Each row and each column of the operands comes from memory once for
/// each task that has it, and is brought into the form of the kernel: of the cuts into as many tasks for each thread the one with the
/// least of that.
fn square<K: HalfTile>(m: usize, n: usize) -> (usize, usize) {
    // How a product is cut does not change what it is: tasks may be as large as threads leave them.
    let threads = pool::threads();
    let even = |x: usize, parts: usize, unit: usize| x.div_ceil(parts).next_multiple_of(unit);
    let most = |x: usize, unit: usize| x.div_ceil(2 * unit).clamp(1, 64);
    let mut best = None;
    for down in 1..=most(m, K::MR) {
        for across in 1..=most(n, NR) {
            let (rows, cols) = (even(m, down, K::MR), even(n, across, NR));
            let tasks = m.div_ceil(rows) * n.div_ceil(cols);
            // Those that all threads take at the same time, and the last ones alone.
            let rounds = tasks.div_ceil(threads) * threads;
            let cost = (rounds * (rows + cols)) as f64 + (rounds * rows * cols) as f64 * PASS;
            if rows * cols <= SUMS && best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, (rows, cols)));
            }
        }
    }
    best.map_or((even(m, m.div_ceil(384), K::MR), even(n, n.div_ceil(384), NR)), |(_, size)| size)
}

/// Sums of a task, at most.
const SUMS: usize = 576 * 288;
/// What a sum costs beside bringing a row or a column into form, both for each number of the depth.
const PASS: f64 = 0.0035;

/// The order of [`beside`]: some panels at a time, for which all parts of the depth come before the next.
struct Order {
    row_tiles: usize,
    panels: usize,
    parts: usize,
    /// Panels at a time.
    group: usize,
    /// What comes next: a row of tiles, the first panel of a group, a part, a panel of the group; and the tiles before the group.
    at: (usize, usize, usize, usize),
    tiles: usize,
}

/// A pass of an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    tile: (usize, usize),
    part: usize,
    slot: usize,
}

impl Order {
    fn new(row_tiles: usize, panels: usize, parts: usize, group: usize) -> Self {
        Order { row_tiles, panels, parts, group, at: (0, 0, 0, 0), tiles: 0 }
    }

    /// Slots of sums: the last tile of a group is written while the next group is worked on.
    const fn slots(group: usize) -> usize {
        2 * group
    }
}

impl Iterator for Order {
    type Item = At;

    #[inline(always)]
    fn next(&mut self) -> Option<At> {
        let (i, first, part, j) = self.at;
        if i == self.row_tiles || first == self.panels || part == self.parts {
            return None;
        }
        let group = self.group.min(self.panels - first);
        let at = At { tile: (i, first + j), part, slot: (self.tiles + j) % Self::slots(self.group) };
        self.at = if j + 1 < group {
            (i, first, part, j + 1)
        } else if part + 1 < self.parts {
            (i, first, part + 1, 0)
        } else {
            self.tiles += group;
            if first + group < self.panels { (i, first + group, 0, 0) } else { (i + 1, 0, 0, 0) }
        };
        Some(at)
    }
}

half_fn! {
    /// A block whose columns of the right operand stay in the second cache. The rows of a tile pass by some panels at a time, of
    /// which they meet all parts of the depth, so that neither they nor sums leave the caches nearest to the kernel.
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
        let parts = parts::<K>(sources, place, true);
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
        let mut acc = Buf::<f32>::for_overwrite(Order::slots(K::PANELS) * block_len(K::MR));
        let mut passes = Passes::new(place, work, acc.as_mut_ptr());
        if parts.is_empty() {
            passes.without_depth(s, kernel, row_tiles, panels);
        }
        let mut order = Order::new(row_tiles, panels, parts.len(), K::PANELS);
        loop {
            let next = order.next();
            let pass = next.map(|At { tile, part: p, slot }| {
                passes.pass::<K>(&parts[p], lefts[p], tile, slot, (p == 0, p + 1 == parts.len()))
            });
            passes.follow(s, kernel, pass);
            if next.is_none() {
                break;
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
        let parts = parts::<K>(sources, place, false);
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        let mut acc = Buf::<f32>::for_overwrite(row_tiles * panels * block_len(K::MR));
        let mut passes = Passes::new(place, work, acc.as_mut_ptr());
        if parts.is_empty() {
            passes.without_depth(s, kernel, row_tiles, panels);
        }
        let deepest = parts.iter().map(|part| part.depth).max().unwrap_or(0);
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
            let all = row_tiles * panels;
            // What is copied for the next part takes the place of this one's: nothing may follow its last pass.
            for n in 0..=all {
                // A panel stays in the first cache while tiles of rows pass by, which lie one after another; but results are written
                // row by row.
                let (i, j) = if end { (n / panels, n % panels) } else { (n % row_tiles, n / row_tiles) };
                let next = (n < all).then(|| passes.pass::<K>(&part, left, (i, j), i * panels + j, (start, end)));
                passes.follow(s, kernel, next);
            }
        }
        passes.end(s, kernel);
        of_rows.copy_from_slice(&row_sums[..of_rows.len()]);
        of_columns.copy_from_slice(&column_sums[..of_columns.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_all_parts_of_a_tile_before_its_slot_is_taken_again() {
        for (row_tiles, panels, parts, group) in
            [(3, 7, 2, 4), (2, 5, 3, 2), (1, 1, 4, 4), (4, 4, 1, 2), (0, 3, 2, 4), (2, 3, 0, 2), (2, 3, 2, 1)]
        {
            let mut done = vec![0; row_tiles * panels];
            let mut slots = vec![None; Order::slots(group)];
            // Of a tile that is written while the next pass is taken.
            let mut written = None;
            for At { tile: (i, j), part, slot } in Order::new(row_tiles, panels, parts, group) {
                let tile = i * panels + j;
                assert_eq!(done[tile], part);
                assert!(written.take().is_none_or(|other| other != slot));
                written = (part + 1 == parts).then_some(slot);
                done[tile] += 1;
                let before = slots[slot].replace(tile);
                assert!(before == Some(tile) || part == 0 && before.is_none_or(|before| done[before] == parts));
            }
            assert!(done.iter().all(|&n| n == parts));
        }
    }
}
