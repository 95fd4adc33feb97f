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
    let mut p = 0;
    // Several columns a turn: where two processes share a core, each instruction beside the products takes time from them.
    while p + UNROLLED <= kc {
        for u in 0..UNROLLED {
            // SAFETY: `p + u` is below `kc`, and rows were asserted above.
            unsafe { column::<S, MR, NV, STEP>(s, a, &rows, b, p + u, &mut c) };
        }
        p += UNROLLED;
    }
    while p < kc {
        // SAFETY: as above.
        unsafe { column::<S, MR, NV, STEP>(s, a, &rows, b, p, &mut c) };
        p += 1;
    }
    for (i, row) in c.iter().enumerate() {
        for (j, v) in row.iter().enumerate() {
            s.store(&mut acc[i * ld + j * S::LANES..], *v);
        }
    }
}

/// Adds the products of column `p` of the rows and row `p` of the panel.
///
/// # Safety
/// Column `p` of every row lies within `a`, and row `p` within `b`.
#[inline(always)]
unsafe fn column<S: Simd, const MR: usize, const NV: usize, const STEP: usize>(
    s: S,
    a: &[f32],
    rows: &[usize; MR],
    b: &[f32],
    p: usize,
    c: &mut [[S::V; NV]; MR],
) {
    let mut v = [s.zero(); NV];
    for (j, v) in v.iter_mut().enumerate() {
        let at = (p * NV + j) * S::LANES;
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
