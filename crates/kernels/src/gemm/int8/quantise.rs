//! From f32 and bf16 to operands.

use super::{Int8Panels, Int8Rows, KR, NR};
use crate::{
    gemm::Mat,
    isa::Isa,
    number::{Lanes, Number},
    out::Out,
    pool,
    simd::{Simd, simd_fn},
};

/// Steps below this are no steps: numbers so small are zeros here, and nothing is divided by what is not normal.
const SMALLEST: f32 = 1e-36;

/// Added to a number of up to 2²² it rounds it to an integer, halves to even, which then is the lowest bits: the function for
/// rounding is a call where the compiler's target has no instruction for it.
const INTEGERS: f32 = (3u32 << 22) as f32;

/// Fills `panels` from an operand `[k, n]`.
pub(super) fn panels(panels: &mut Int8Panels, x: Mat<'_>) {
    let (k, n) = (panels.k, panels.n);
    let depth = k.next_multiple_of(KR);
    let (data, scales) = (Out::new(&mut panels.data, 1), Out::new(&mut panels.scales, 1));
    let sums = Out::new(&mut panels.sums, 1);
    pool::for_each(n.div_ceil(NR), |j| {
        // SAFETY: each panel, with what belongs to its columns, is one task's.
        let (panel, scales, sums) =
            unsafe { (data.row(j * NR * depth, 0, NR * depth), scales.row(j * NR, 0, NR), sums.row(j * NR, 0, NR)) };
        let cols = NR.min(n - j * NR);
        let mut largest = [0.0f32; NR];
        each_number(x, k, j * NR, cols, |_, c, x| {
            // `max` passes over NaN.
            largest[c] = if x.is_finite() { largest[c].max(x.abs()) } else { f32::INFINITY };
        });
        panel.fill(0);
        sums.fill(0);
        let mut inverse = [0.0f32; NR];
        for c in 0..NR {
            let step = largest[c] / 127.0;
            (scales[c], inverse[c]) = match step {
                f32::INFINITY => (f32::NAN, 0.0),
                _ if step < SMALLEST => (0.0, 0.0),
                _ => (step, 1.0 / step),
            };
        }
        each_number(x, k, j * NR, cols, |p, c, x| {
            // What is not finite becomes some number; the column's scale is NaN then.
            let q = ((x * inverse[c]).clamp(-127.0, 127.0) + INTEGERS).to_bits() as i8;
            panel[(p / KR * NR + c) * KR + p % KR] = q;
            sums[c] += i32::from(q);
        });
    });
}

/// `f(p, c, x)` for the numbers of `cols` columns from `col` on, along the source's contiguous index.
fn each_number(x: Mat<'_>, k: usize, col: usize, cols: usize, mut f: impl FnMut(usize, usize, f32)) {
    if x.transposed {
        for c in 0..cols {
            let column = &x.data[(col + c) * x.ld..][..k];
            column.iter().enumerate().for_each(|(p, &x)| f(p, c, x));
        }
    } else {
        for p in 0..k {
            let row = &x.data[p * x.ld + col..][..cols];
            row.iter().enumerate().for_each(|(c, &x)| f(p, c, x));
        }
    }
}

/// Fills `rows` from numbers by rows.
pub(super) fn rows<T: Number>(isa: Isa, rows: &mut Int8Rows, x: &[T]) {
    let Int8Rows { m, k, ld, .. } = *rows;
    let (data, scales) = (Out::new(&mut rows.data, 1), Out::new(&mut rows.scales, 1));
    let zeros = Out::new(&mut rows.zeros, 1);
    let group = (pool::SMALL / ld.max(1)).max(1);
    pool::for_each(m.div_ceil(group), |task| {
        let (first, count) = (task * group, group.min(m - task * group));
        // SAFETY: each row, with what belongs to it, is one task's.
        let (data, scales, zeros) =
            unsafe { (data.row(first * ld, 0, count * ld), scales.row(first, 0, count), zeros.row(first, 0, count)) };
        rows_of(isa, data, ld, scales, zeros, &x[first * k..(first + count) * k], k);
    });
}

simd_fn! {
    fn rows_of<[T: Number]>(
        s, data: &mut [u8], ld: usize, scales: &mut [f32], zeros: &mut [i32], x: &[T], k: usize,
    ) {
        for r in 0..scales.len() {
            let x = &x[r * k..(r + 1) * k];
            let (scale, zero) = scale_of(s, x);
            scales[r] = scale;
            zeros[r] = zero;
            let data = &mut data[r * ld..(r + 1) * ld];
            if scale > 0.0 {
                round_row(s, data, x, 1.0 / scale, zero as f32);
            } else {
                data.fill(0);
            }
        }
    }
}

/// A row's step and its zero: NaN and 0 unless all numbers are finite, 0 and 0 for a row of zeros.
#[inline(always)]
fn scale_of<S: Simd, T: Number>(s: S, x: &[T]) -> (f32, i32) {
    let (mut high, mut low, mut check, mut i) = (s.zero(), s.zero(), s.zero(), 0);
    while i < x.len() {
        // Zeros beyond the end change none of the three.
        let v = T::at(s, x, i);
        high = s.max(high, v);
        low = s.max(low, s.sub(s.zero(), v));
        // Anything times zero is zero, except what is not finite.
        check = s.fma(v, s.zero(), check);
        i += S::LANES;
    }
    if s.sum(check) != 0.0 {
        return (f32::NAN, 0);
    }
    let (high, low) = (s.max_lane(high), s.max_lane(low));
    // Each divided before they are added: the sum might overflow.
    let scale = high / 255.0 + low / 255.0;
    if scale < SMALLEST {
        return (0.0, 0);
    }
    (scale, (low * (1.0 / scale)).round_ties_even().min(255.0) as i32)
}

/// `to[i] = clamp(round(x[i] · inverse) + zero, 0, 255)`, zeros behind.
#[inline(always)]
fn round_row<S: Simd, T: Number>(s: S, to: &mut [u8], x: &[T], inverse: f32, zero: f32) {
    /// Numbers at a time.
    const N: usize = 64;
    let (inverse, zero) = (s.splat(inverse), s.splat(zero));
    let (lowest, highest) = (s.zero(), s.splat(255.0));
    let integers = s.splat(INTEGERS);
    let mut numbers = [0.0f32; N];
    let mut at = 0;
    for to in to.chunks_mut(N) {
        let mut i = 0;
        while i < N {
            let v = if at + i < x.len() { T::at(s, x, at + i) } else { s.zero() };
            let q = s.add(s.round(s.mul(v, inverse)), zero);
            f32::put(s, &mut numbers, i, s.add(s.min(s.max(q, lowest), highest), integers));
            i += S::LANES;
        }
        for (to, q) in to.iter_mut().zip(&numbers) {
            *to = q.to_bits() as u8;
        }
        at += N;
    }
}
