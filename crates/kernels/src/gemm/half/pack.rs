//! From matrices to operands.
//!
//! An operand is made of vectors of 16 pairs. A pair is two neighbours along the depth: where these are neighbours in
//! memory too, a vector is one load (`along`); where they are not, two rows are interleaved (`across`). A vector then has
//! its pairs along the depth or across it, and a transpose of 16 by 16 pairs turns one into the other.

use std::arch::x86_64::*;

use half::bf16;

use super::{KR, NR};
use crate::{gemm::Mat, isa::Avx512Bf16, number::Number, out::Out, pool};

/// The panels of an operand `[k, n]`; see [`super::Panels`].
pub(super) fn panels<T: Number>(token: Avx512Bf16, data: &mut [bf16], x: Mat<'_, T>, k: usize, n: usize) {
    let depth = k.next_multiple_of(KR);
    let out = Out::new(data, 1);
    // Panels of shallow operands go to a task together.
    let group = (pool::SMALL / (NR * depth).max(1)).max(1);
    let count = n.div_ceil(NR);
    pool::for_each(count.div_ceil(group), |task| {
        for j in task * group..((task + 1) * group).min(count) {
            // SAFETY: each panel is one task's.
            let panel = unsafe { out.row(j * NR * depth, 0, NR * depth) };
            panel_of(token, panel, x, k, n, j * NR);
        }
    });
}

/// The panel of the columns from `col` on.
pub(crate) fn panel_of<T: Number>(
    token: Avx512Bf16,
    panel: &mut [bf16],
    x: Mat<'_, T>,
    k: usize,
    n: usize,
    col: usize,
) {
    for p in (0..k.next_multiple_of(KR)).step_by(KR) {
        for half in [0, 16] {
            let to = &mut panel[p * NR + 2 * half..][..15 * 2 * NR + 32];
            // Lines of the panel have their pairs across the depth.
            let view = View { x, depth: p, depths: k, other: col + half, others: n };
            // SAFETY: the token proves the instructions; `to` has all lines.
            unsafe { block(token, view, true, to.as_mut_ptr(), 2 * NR) };
        }
    }
}

/// The rows of an operand `[m, k]`, padded to multiples of 32 both ways.
pub(super) fn rows<T: Number>(token: Avx512Bf16, data: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize) {
    let ld = k.next_multiple_of(KR);
    let out = Out::new(data, 1);
    // Rows of a task, and its part of the depth.
    const DEPTH: usize = 512;
    let (groups, parts) = (m.div_ceil(KR), ld.div_ceil(DEPTH));
    pool::for_each(groups * parts, |task| {
        let (row, first) = (task / parts * KR, task % parts * DEPTH);
        for p in (first..(first + DEPTH).min(ld)).step_by(KR) {
            for r in [row, row + 16] {
                assert!((r + 15) * ld + p + KR <= out.len());
                let view = View { x: x.t_view(), depth: p, depths: k, other: r, others: m };
                // SAFETY: the token proves the instructions; the last line ends within `data`, and other tasks write
                // other columns or other rows.
                unsafe { block(token, view, false, out.ptr().add(r * ld + p), ld) };
            }
        }
    });
}

/// The rows from `row` on, as many groups of 16 as `to` has.
pub(crate) fn rows_of<T: Number>(token: Avx512Bf16, to: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize, row: usize) {
    let ld = k.next_multiple_of(KR);
    // Neighbouring groups of rows share cache lines of an operand that is stored the other way.
    for p in (0..ld).step_by(KR) {
        for (i, group) in to.chunks_exact_mut(16 * ld).enumerate() {
            let view = View { x: x.t_view(), depth: p, depths: k, other: row + 16 * i, others: m };
            let to = &mut group[p..][..15 * ld + 32];
            // SAFETY: the token proves the instructions; `to` has all lines.
            unsafe { block(token, view, false, to.as_mut_ptr(), ld) };
        }
    }
}

/// 16 by 16 pairs of an operand that is stored as `[depths, others]`, or transposed.
struct View<'a, T> {
    x: Mat<'a, T>,
    depth: usize,
    depths: usize,
    other: usize,
    others: usize,
}

/// Writes 16 lines, `ld` apart in `to`, of 16 pairs: line `i` is pair `i` of all columns if `across`, else all pairs of
/// column `i`.
///
/// # Safety
/// Nobody else uses the 16 lines of 32 numbers that begin `ld` apart at `to` meanwhile. (The token proves the
/// instructions.)
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn block<T: Number>(_: Avx512Bf16, view: View<'_, T>, across: bool, to: *mut bf16, ld: usize) {
    let mut v = [_mm512_setzero_si512(); 16];
    let View { x, depth, depths, other, others } = view;
    let (rows, cols) = (depths.saturating_sub(depth).min(KR), others.saturating_sub(other).min(16));
    let stored_across = !x.transposed;
    // No closures and no adapters: they would be compiled without the instructions of this function.
    if stored_across && rows == KR && cols == 16 {
        let start = depth * x.ld + other;
        let all = &x.data[start..start + (KR - 1) * x.ld + 16];
        for i in 0..16 {
            let (a, b) = (&all[2 * i * x.ld..], &all[(2 * i + 1) * x.ld..]);
            v[i] = interleave(&a[..16], &b[..16]);
        }
    } else if stored_across && cols > 0 {
        for i in 0..rows.div_ceil(2) {
            let start = (depth + 2 * i) * x.ld + other;
            let a = &x.data[start..start + cols];
            let b = if 2 * i + 1 < rows { &x.data[start + x.ld..start + x.ld + cols] } else { &a[..0] };
            v[i] = interleave(a, b);
        }
    } else if !stored_across && rows > 0 {
        for i in 0..cols {
            let start = (other + i) * x.ld + depth;
            v[i] = along(&x.data[start..start + rows]);
        }
    }
    if stored_across != across {
        transpose(&mut v);
    }
    for i in 0..16 {
        // SAFETY: the caller's word; 32 numbers of two bytes are 64 bytes.
        unsafe { _mm512_storeu_si512(to.add(i * ld).cast(), v[i]) };
    }
}

/// Up to 32 numbers as 16 pairs, zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn along<T: Number>(x: &[T]) -> __m512i {
    if T::IS_BF16 && x.len() == 32 {
        // SAFETY: there are 32 numbers of two bytes.
        return unsafe { _mm512_loadu_si512(x.as_ptr().cast()) };
    }
    if T::IS_BF16 {
        let mask = ((1u64 << x.len().min(32)) - 1) as __mmask32;
        // SAFETY: the mask keeps the load within `x`.
        return unsafe { _mm512_maskz_loadu_epi16(mask, x.as_ptr().cast()) };
    }
    let (low, high) = x.split_at(x.len().min(16));
    let (low, high) = (floats(low), floats(high));
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Up to 16 numbers of two rows as pairs, zeros where a row has none.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn interleave<T: Number>(a: &[T], b: &[T]) -> __m512i {
    let (a, b) = (halves(a), halves(b));
    _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(b)))
}

/// Up to 16 numbers as bf16, zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn halves<T: Number>(x: &[T]) -> __m256i {
    if T::IS_BF16 && x.len() == 16 {
        // SAFETY: there are 16 numbers of two bytes.
        return unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
    }
    if T::IS_BF16 {
        // SAFETY: the mask keeps the load within `x`.
        return unsafe { _mm256_maskz_loadu_epi16(first(x.len()), x.as_ptr().cast()) };
    }
    // SAFETY: both are 256 plain bits.
    unsafe { std::mem::transmute(_mm512_cvtneps_pbh(floats(x))) }
}

/// Up to 16 numbers, which are f32, zeros behind them.
#[inline]
#[target_feature(enable = "avx512f")]
fn floats<T: Number>(x: &[T]) -> __m512 {
    // SAFETY: the mask keeps the load within `x`, whose numbers are f32.
    unsafe { _mm512_maskz_loadu_ps(first(x.len()), x.as_ptr().cast()) }
}

/// The mask of the first `n` of 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as __mmask16
}

/// Exchanges lines and columns of 16 by 16 pairs.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose(v: &mut [__m512i; 16]) {
    // Pairs, then fours, within 128 bits.
    let mut t = [_mm512_setzero_si512(); 16];
    for i in 0..8 {
        t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
    }
    for i in 0..4 {
        v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    // Then the quarters of the registers.
    for i in 0..4 {
        t[i] = _mm512_shuffle_i32x4::<0x88>(v[i], v[i + 4]);
        t[i + 4] = _mm512_shuffle_i32x4::<0xdd>(v[i], v[i + 4]);
        t[i + 8] = _mm512_shuffle_i32x4::<0x88>(v[i + 8], v[i + 12]);
        t[i + 12] = _mm512_shuffle_i32x4::<0xdd>(v[i + 8], v[i + 12]);
    }
    for i in 0..8 {
        v[i] = _mm512_shuffle_i32x4::<0x88>(t[i], t[i + 8]);
        v[i + 8] = _mm512_shuffle_i32x4::<0xdd>(t[i], t[i + 8]);
    }
}
