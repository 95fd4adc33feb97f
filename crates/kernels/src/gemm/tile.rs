//! The f32 micro-kernel: a tile of the product held in registers.

use crate::simd::Simd;

/// Columns a turn.
const UNROLLED: usize = 4;

/// The left operand of a tile: `rows` rows, of which the last stands in for those that a tile has beyond them.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    /// From the tile's first row and the part's first column on.
    pub(crate) data: &'a [f32],
    /// From row to row; 1 where rows are packed, so that the numbers of a column are neighbours.
    pub(crate) row: usize,
    /// Rows that are there, at least one.
    pub(crate) rows: usize,
    /// Whether columns are packed, `MR` apart, and not neighbours as they lie in a matrix.
    pub(crate) packed: bool,
}

/// `acc[MR × NR] (+)= a[MR × kc] b[kc × NR]`, `NR = NV · LANES`; `b` packed by rows, rows of `acc` `ld` apart.
///
/// `start` says that `acc` holds nothing yet.
#[inline(always)]
pub(crate) fn tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: Left<'_>,
    b: &[f32],
    acc: &mut [f32],
    ld: usize,
    start: bool,
) {
    let rows: [usize; MR] = std::array::from_fn(|i| i.min(a.rows - 1) * a.row);
    match a.packed {
        true => sums::<S, MR, NV, MR>(s, a.data, rows, b, acc, ld, start),
        false => sums::<S, MR, NV, 1>(s, a.data, rows, b, acc, ld, start),
    }
}

/// The tile with rows that begin at `rows` of `a`, and columns `STEP` apart.
#[inline(always)]
fn sums<S: Simd, const MR: usize, const NV: usize, const STEP: usize>(
    s: S,
    a: &[f32],
    rows: [usize; MR],
    b: &[f32],
    acc: &mut [f32],
    ld: usize,
    start: bool,
) {
    let nr = NV * S::LANES;
    let kc = b.len() / nr;
    assert!(kc == 0 || rows.iter().all(|row| row + (kc - 1) * STEP < a.len()));
    let mut c = [[s.zero(); NV]; MR];
    if !start {
        for (i, row) in c.iter_mut().enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v = s.load(&acc[i * ld + j * S::LANES..]);
            }
        }
    }
    // SAFETY: rows were asserted above, and the panel has `kc` rows of `nr` numbers.
    unsafe { accumulate::<S, MR, NV, STEP>(s, a, &rows, b, nr, kc, &mut c) };
    for (i, row) in c.iter().enumerate() {
        for (j, v) in row.iter().enumerate() {
            s.store(&mut acc[i * ld + j * S::LANES..], *v);
        }
    }
}

/// Adds to `c` the products of rows that begin at `rows` of `a`, `k` columns `STEP` apart, and `NV` vectors of rows of `b`, `ldb` apart.
///
/// # Safety
/// All `k` columns of every row lie within `a`, and the `NV` vectors of `k` rows within `b`.
#[inline(always)]
pub(crate) unsafe fn accumulate<S: Simd, const R: usize, const NV: usize, const STEP: usize>(
    s: S,
    a: &[f32],
    rows: &[usize; R],
    b: &[f32],
    ldb: usize,
    k: usize,
    c: &mut [[S::V; NV]; R],
) {
    let mut p = 0;
    // Several columns a turn: where two processes share a core, each instruction beside the products takes time from them.
    while p + UNROLLED <= k {
        for u in 0..UNROLLED {
            // SAFETY: the caller's word; `p + u` is below `k`.
            unsafe { column::<S, R, NV, STEP>(s, a, rows, b, ldb, p + u, c) };
        }
        p += UNROLLED;
    }
    while p < k {
        // SAFETY: as above.
        unsafe { column::<S, R, NV, STEP>(s, a, rows, b, ldb, p, c) };
        p += 1;
    }
}

/// # Safety
/// Column `p` of every row lies within `a`, and the vectors of row `p` within `b`.
#[inline(always)]
unsafe fn column<S: Simd, const R: usize, const NV: usize, const STEP: usize>(
    s: S,
    a: &[f32],
    rows: &[usize; R],
    b: &[f32],
    ldb: usize,
    p: usize,
    c: &mut [[S::V; NV]; R],
) {
    let mut v = [s.zero(); NV];
    for (j, v) in v.iter_mut().enumerate() {
        let at = p * ldb + j * S::LANES;
        // SAFETY: the caller's word.
        *v = s.load(unsafe { b.get_unchecked(at..at + S::LANES) });
    }
    for (row, c) in rows.iter().zip(c) {
        // SAFETY: the caller's word.
        let x = s.splat(unsafe { *a.get_unchecked(row + p * STEP) });
        for (c, v) in c.iter_mut().zip(v) {
            *c = s.fma(x, v, *c);
        }
    }
}
