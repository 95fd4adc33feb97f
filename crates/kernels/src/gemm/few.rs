//! Products with few rows: a token at a time, a short text.
//!
//! The weights are read once, as they lie, and nothing is packed: with a row or two reading them is all the time that there is.

use std::ops::Range;

use super::{
    Gemm, Mat, accumulate,
    epilogue::{Block, Epilogue},
};
use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool,
    simd::{Simd, simd_fn},
};

/// Rows whose sums have room on the stack.
const STACKED: usize = 32;
/// The most numbers of a row that are multiplied at a time: rows of `A` then stay in the first cache, and a task's columns of `B` in the
/// second.
const DEPTH: usize = 1024;
/// Columns of a task.
const COLUMNS: usize = 64;
/// Rows at a time, as many as registers hold.
const ROWS: usize = 4;
/// Vectors of columns at a time, where the columns of `B` are neighbours.
const VECTORS: usize = 4;
/// Products up to this many multiplications take less time than sharing them among threads.
const SMALL: usize = 64 * 1024;

pub(super) fn gemm(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, out: Out<'_>, epilogue: &Epilogue<'_>) {
    let Gemm { m, n, k } = shape;
    let mut rows = Buf::for_overwrite(if a.transposed { m * k } else { 0 });
    let (a, lda) = match a.transposed {
        true => {
            rows.iter_mut().enumerate().for_each(|(i, x)| *x = a.data[i % k * a.ld + i / k]);
            (&rows[..], k)
        }
        false => (a.data, a.ld),
    };
    let task = |task: usize| {
        let block = Block { row: 0, col: task * COLUMNS, rows: m, cols: COLUMNS.min(n - task * COLUMNS) };
        columns(isa, a, lda, b, k, block, out, epilogue);
    };
    match m * n * k {
        0..=SMALL => (0..n.div_ceil(COLUMNS)).for_each(task),
        _ => pool::for_each(n.div_ceil(COLUMNS), task),
    }
}

simd_fn! {
    /// Some columns of the result.
    fn columns(
        s, a: &[f32], lda: usize, b: Mat<'_>, k: usize, block: Block, out: Out<'_>, epilogue: &Epilogue<'_>,
    ) {
        let (mut stack, mut more);
        let acc = if block.rows <= STACKED {
            stack = [0.0; STACKED * COLUMNS];
            &mut stack[..]
        } else {
            more = Buf::zeroed(block.rows * COLUMNS);
            &mut more[..]
        };
        let depth = if b.transposed { k.div_ceil(k.div_ceil(DEPTH).max(1)).next_multiple_of(S::LANES) } else { k };
        for from in (0..k).step_by(depth.max(1)) {
            let part = from..(from + depth).min(k);
            for row in (0..block.rows).step_by(ROWS) {
                let (task, acc) = (Task { a: &a[row * lda..], lda, b, block }, &mut acc[row * COLUMNS..]);
                match block.rows - row {
                    1 => rows::<S, 1>(s, task, part.clone(), acc),
                    2 => rows::<S, 2>(s, task, part.clone(), acc),
                    3 => rows::<S, 3>(s, task, part.clone(), acc),
                    _ => rows::<S, ROWS>(s, task, part.clone(), acc),
                }
            }
        }
        // SAFETY: each task has columns of its own.
        unsafe { epilogue.write(s, acc, COLUMNS, block, &out) };
    }
}

/// Some columns of some rows.
#[derive(Clone, Copy)]
struct Task<'a> {
    /// From the first of the rows on, `lda` apart.
    a: &'a [f32],
    lda: usize,
    b: Mat<'a>,
    block: Block,
}

/// `R` rows by a part of `k`, as `B` lies: columns at a time by what the registers hold.
#[inline(always)]
fn rows<S: Simd, const R: usize>(s: S, task: Task<'_>, part: Range<usize>, acc: &mut [f32]) {
    match task.b.transposed {
        true if S::LANES >= 16 => dots::<S, R, 4>(s, task, part, acc),
        true => dots::<S, R, 2>(s, task, part, acc),
        false => sums::<S, R>(s, task, part, acc),
    }
}

/// Where a column of `B` is contiguous: dot products of a part of `k`, `C` columns at a time, added to `acc`.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(s: S, task: Task<'_>, part: Range<usize>, acc: &mut [f32]) {
    let Task { a, lda, b, block } = task;
    let (from, k) = (part.start, part.len());
    let (whole, a) = (k / S::LANES * S::LANES, &a[from..]);
    for j in (0..block.cols).step_by(C) {
        // The last column several times, where there are no more.
        let columns: [&[f32]; C] =
            std::array::from_fn(|c| &b.data[(block.col + (j + c).min(block.cols - 1)) * b.ld + from..][..k]);
        let mut sums = [[s.zero(); C]; R];
        let mut x = [s.zero(); C];
        for p in (0..whole).step_by(S::LANES) {
            for c in 0..C {
                x[c] = s.load(&columns[c][p..]);
            }
            for r in 0..R {
                let a = s.load(&a[r * lda + p..]);
                for c in 0..C {
                    sums[r][c] = s.fma(a, x[c], sums[r][c]);
                }
            }
        }
        if whole < k {
            for c in 0..C {
                x[c] = s.load_part(&columns[c][whole..]);
            }
            for r in 0..R {
                let a = s.load_part(&a[r * lda + whole..r * lda + k]);
                for c in 0..C {
                    sums[r][c] = s.fma(a, x[c], sums[r][c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..C.min(block.cols - j) {
                acc[r * COLUMNS + j + c] += s.sum(sums[r][c]);
            }
        }
    }
}

/// Where a row of `B` is contiguous: multiples of rows of all of `k`, some vectors of columns at a time, written to `acc`.
#[inline(always)]
fn sums<S: Simd, const R: usize>(s: S, task: Task<'_>, all: Range<usize>, acc: &mut [f32]) {
    let Task { a, lda, b, block } = task;
    let mut from = 0;
    let k = all.end;
    assert!(all.start == 0, "rows of B are read from the first");
    let rows: [usize; R] = std::array::from_fn(|r| r * lda);
    assert!(k == 0 || rows[R - 1] + k <= a.len() && (k - 1) * b.ld + block.col + block.cols <= b.data.len());
    while from + VECTORS * S::LANES <= block.cols {
        let mut sums = [[s.zero(); VECTORS]; R];
        let b = &b.data[(block.col + from).min(b.data.len())..];
        // SAFETY: asserted above.
        unsafe { accumulate::<S, R, VECTORS, 1>(s, a, &rows, b, task.b.ld, k, &mut sums) };
        for r in 0..R {
            for v in 0..VECTORS {
                s.store(&mut acc[r * COLUMNS + from + v * S::LANES..], sums[r][v]);
            }
        }
        from += VECTORS * S::LANES;
    }
    while from < block.cols {
        let width = S::LANES.min(block.cols - from);
        let mut sums = [s.zero(); R];
        for p in all.clone() {
            let row = &b.data[p * b.ld + block.col + from..][..width];
            let x = if width == S::LANES { s.load(row) } else { s.load_part(row) };
            for r in 0..R {
                sums[r] = s.fma(s.splat(a[r * lda + p]), x, sums[r]);
            }
        }
        for r in 0..R {
            // The scratch has room for whole vectors, in this row or the next, which is written later.
            let to = &mut acc[r * COLUMNS + from..][..width];
            if width == S::LANES { s.store(to, sums[r]) } else { s.store_part(to, sums[r]) }
        }
        from += width;
    }
}
