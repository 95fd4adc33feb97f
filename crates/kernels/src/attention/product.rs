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
    /// Element `(p, j)` is `b[p * ldb + j]`.
    pub(super) b: &'a [f32],
    pub(super) ldb: usize,
    pub(super) accumulate: bool,
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
        assert!(self.k == 0 || self.b.len() >= (self.k - 1) * self.ldb + self.n);
        assert!(self.a_col == 1 || self.a_col == BK, "columns {} apart", self.a_col);
        let mut i = 0;
        // SAFETY: the caller's word; the rows are distinct.
        unsafe {
            while i + 6 <= self.m {
                self.rows::<S, 6>(s, i, c, start, ldc);
                i += 6;
            }
            while i + 2 <= self.m {
                self.rows::<S, 2>(s, i, c, start, ldc);
                i += 2;
            }
            while i < self.m {
                self.rows::<S, 1>(s, i, c, start, ldc);
                i += 1;
            }
        }
    }

    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(&self, s: S, i: usize, c: &Out<'_>, start: usize, ldc: usize) {
        let mut j = 0;
        // SAFETY: the caller's word.
        unsafe {
            while j + 2 * S::LANES <= self.n {
                self.block::<S, R, 2>(s, i, j, c, start, ldc);
                j += 2 * S::LANES;
            }
            while j + S::LANES <= self.n {
                self.block::<S, R, 1>(s, i, j, c, start, ldc);
                j += S::LANES;
            }
            if j < self.n {
                self.tail::<S, R>(s, i, j, c, start, ldc);
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
        let mut acc = [[s.zero(); NV]; R];
        let rows: [usize; R] = std::array::from_fn(|r| (i + r) * self.a_row);
        let b = &self.b[j.min(self.b.len())..];
        // SAFETY: `run` proved the operands within their slices.
        unsafe {
            match self.a_col {
                1 => accumulate::<S, R, NV, 1>(s, self.a, &rows, b, self.ldb, self.k, &mut acc),
                _ => accumulate::<S, R, NV, BK>(s, self.a, &rows, b, self.ldb, self.k, &mut acc),
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
        for p in 0..self.k {
            let b = s.load_part(&self.b[p * self.ldb + j..p * self.ldb + self.n]);
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
