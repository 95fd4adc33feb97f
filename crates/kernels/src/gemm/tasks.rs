//! How a product is cut into tasks, which share nothing.

use super::epilogue::Block;
use crate::pool;

/// Rows and columns of a task, at most.
pub(super) const LARGEST: (usize, usize) = (96, 256);
/// Tasks that a product is cut into where its shape allows it, so that threads have something to share.
const TASKS: usize = 16;

/// Rows and columns of a task for tiles of `mr` rows and panels of `nr` columns, by shape alone, at most `largest`.
pub(super) fn size(m: usize, n: usize, mr: usize, nr: usize, largest: (usize, usize)) -> (usize, usize) {
    let (mut mc, mut nc) = (largest.0 / mr * mr, largest.1);
    while nc > 2 * nr && m.div_ceil(mc) * n.div_ceil(nc) < TASKS {
        nc -= nr;
    }
    while mc > mr && m.div_ceil(mc) * n.div_ceil(nc) < TASKS {
        mc -= mr;
    }
    (mc, nc)
}

/// Calls `task` with each block of at most `mc` rows and `nc` columns of an `m × n` result, on all threads.
pub(super) fn for_each_block(m: usize, n: usize, (mc, nc): (usize, usize), task: impl Fn(Block) + Sync) {
    let columns = n.div_ceil(nc);
    pool::for_each(m.div_ceil(mc) * columns, |i| {
        let (row, col) = (i / columns * mc, i % columns * nc);
        task(Block { row, col, rows: mc.min(m - row), cols: nc.min(n - col) });
    });
}

/// [`for_each_block`] with all blocks of some columns before those of the next: a right operand's columns stay in the cache
/// while rows pass by.
pub(super) fn for_each_block_by_columns(
    m: usize,
    n: usize,
    (mc, nc): (usize, usize),
    task: impl Fn(Block) + Send + Sync,
) {
    let rows = m.div_ceil(mc);
    pool::for_each(n.div_ceil(nc) * rows, |i| {
        let (row, col) = (i % rows * mc, i / rows * nc);
        task(Block { row, col, rows: mc.min(m - row), cols: nc.min(n - col) });
    });
}
