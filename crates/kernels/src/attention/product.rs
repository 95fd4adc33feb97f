//! Small matrix products inside an attention block, on operands as they lie.

use super::BK;
use crate::{gemm::accumulate, out::Out, simd::Simd};

/// `C (+)= A B` for `A: [m, k]`, `B: [k, n]`, `C: [m, n]`.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// Element `(i, p)` is `a[i * a_row + p * a_col]`; `a_col` is 1 or [`BK`].
    pub(super) a: &'a [f32],
    pub(super) a_row: usize,
    pub(super) a_col: usize,
    pub(super) b: Right<'a>,
    pub(super) accumulate: bool,
}

/// A right operand, in panels of `width` columns.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    /// From the first row and column on.
    pub(super) data: &'a [f32],
    /// From row to row of a panel.
    pub(super) row: usize,
    /// From panel to panel.
    pub(super) panel: usize,
}

impl<'a> Right<'a> {
    /// Columns of a panel: as many as the register tile has.
    #[inline(always)]
    pub(super) fn width<S: Simd>() -> usize {
        2 * S::LANES
    }

    /// A matrix as it lies: element `(p, j)` is `data[p * row + j]`.
    #[inline(always)]
    pub(super) fn rows<S: Simd>(data: &'a [f32], row: usize) -> Self {
        Right { data, row, panel: Self::width::<S>() }
    }

    /// Where column `j` begins.
    #[inline(always)]
    fn column<S: Simd>(&self, j: usize) -> usize {
        j / Self::width::<S>() * self.panel + j % Self::width::<S>()
    }
}

impl Product<'_> {
    /// Writes `C`, whose row `i` starts at number `start + i * ldc` of `c`.
    ///
    /// # Safety
    /// Nobody else holds those rows of `c` meanwhile; `c` has rows of 1.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(&self, s: S, c: &Out<'_>, start: usize, ldc: usize) {
        if self.m == 0 || self.n == 0 {
            return;
        }
        assert!(self.k == 0 || self.a.len() > (self.m - 1) * self.a_row + (self.k - 1) * self.a_col);
        // The last column of the last row lies furthest, since panels do not overlap.
        assert!(self.b.panel >= Right::width::<S>(), "panels {} apart", self.b.panel);
        assert!(self.k == 0 || self.b.data.len() > (self.k - 1) * self.b.row + self.b.column::<S>(self.n - 1));
        assert!(self.a_col == 1 || self.a_col == BK, "columns {} apart", self.a_col);
        // All rows past one panel, which then stays in the nearest cache.
        let mut j = 0;
        // SAFETY: the caller's word.
        unsafe {
            while j + 2 * S::LANES <= self.n {
                self.columns::<S, 2>(s, j, c, start, ldc);
                j += 2 * S::LANES;
            }
            if j + S::LANES <= self.n {
                self.columns::<S, 1>(s, j, c, start, ldc);
                j += S::LANES;
            }
            if j < self.n {
                self.columns::<S, 0>(s, j, c, start, ldc);
            }
        }
    }

    /// `NV` vectors of columns from `j` on, or those that are too few for a vector.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn columns<S: Simd, const NV: usize>(&self, s: S, j: usize, c: &Out<'_>, start: usize, ldc: usize) {
        let mut i = 0;
        // SAFETY: the caller's word; the rows are distinct.
        unsafe {
            while i + 6 <= self.m {
                self.block::<S, 6, NV>(s, i, j, c, start, ldc);
                i += 6;
            }
            if i + 4 <= self.m {
                self.block::<S, 4, NV>(s, i, j, c, start, ldc);
                i += 4;
            }
            if i + 2 <= self.m {
                self.block::<S, 2, NV>(s, i, j, c, start, ldc);
                i += 2;
            }
            if i < self.m {
                self.block::<S, 1, NV>(s, i, j, c, start, ldc);
            }
        }
    }

    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize, const NV: usize>(
        &self,
        s: S,
        i: usize,
        j: usize,
        c: &Out<'_>,
        start: usize,
        ldc: usize,
    ) {
        if NV == 0 {
            // SAFETY: the caller's word.
            return unsafe { self.tail::<S, R>(s, i, j, c, start, ldc) };
        }
        let mut acc = [[s.zero(); NV]; R];
        let rows: [usize; R] = std::array::from_fn(|r| (i + r) * self.a_row);
        let b = &self.b.data[self.b.column::<S>(j).min(self.b.data.len())..];
        // SAFETY: `run` proved the operands within their slices.
        unsafe {
            match self.a_col {
                1 => accumulate::<S, R, NV, 1>(s, self.a, &rows, b, self.b.row, self.k, &mut acc),
                _ => accumulate::<S, R, NV, BK>(s, self.a, &rows, b, self.b.row, self.k, &mut acc),
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            // SAFETY: the caller's word.
            let c = unsafe { c.row(start + (i + r) * ldc + j, 0, NV * S::LANES) };
            for (v, acc) in acc.iter().enumerate() {
                let c = &mut c[v * S::LANES..];
                let y = if self.accumulate { s.add(s.load(c), *acc) } else { *acc };
                s.store(c, y);
            }
        }
    }

    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn tail<S: Simd, const R: usize>(&self, s: S, i: usize, j: usize, c: &Out<'_>, start: usize, ldc: usize) {
        let mut acc = [s.zero(); R];
        let a = &self.a[i * self.a_row..];
        let b = &self.b.data[self.b.column::<S>(j).min(self.b.data.len())..];
        for p in 0..self.k {
            let b = s.load_part(&b[p * self.b.row..][..self.n - j]);
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: `run` proved the last element of `A` within the slice.
                let x = s.splat(unsafe { *a.get_unchecked(r * self.a_row + p * self.a_col) });
                *acc = s.fma(x, b, *acc);
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            // SAFETY: the caller's word.
            let c = unsafe { c.row(start + (i + r) * ldc + j, 0, self.n - j) };
            let y = if self.accumulate { s.add(s.load_part(c), *acc) } else { *acc };
            s.store_part(c, y);
        }
    }
}
