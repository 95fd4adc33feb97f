//! From matrices to operands.
//!
//! An operand is made of vectors of 16 pairs. A pair is two neighbours along the depth: where these are neighbours in
//! memory too, a vector is one load (`along`); where they are not, two rows are interleaved (`across`). A vector then has
//! its pairs along the depth or across it, and a transpose of 16 by 16 pairs turns one into the other.

use std::arch::x86_64::*;

use half::bf16;

use super::{KR, NR};
use crate::{gemm::Mat, isa::Avx512Bf16, number::Number, out::Out, pool};

/// From this many bytes on panels go past the caches.
const STREAMED: usize = 2 << 20;

/// The panels of an operand `[k, n]`; see [`super::Panels`].
pub(super) fn panels<T: Number>(token: Avx512Bf16, data: &mut [bf16], x: Mat<'_, T>, k: usize, n: usize) {
    let depth = k.next_multiple_of(KR);
    let (out, count) = (Out::new(data, 1), n.div_ceil(NR));
    // Tasks read what lies side by side in memory: some columns whole, or some depth of all columns.
    let (columns, depths) = match x.transposed {
        true => ((pool::SMALL / (NR * depth).max(1)).max(1), depth),
        false => (count, (pool::SMALL / (NR * count).max(1)).max(1).next_multiple_of(KR)),
    };
    let parts = depth.div_ceil(depths.max(1));
    let stream = 2 * out.len() >= STREAMED;
    pool::for_each(count.div_ceil(columns.max(1)) * parts, |task| {
        let (first, from) = (task / parts * columns, task % parts * depths);
        for p in (from..(from + depths).min(depth)).step_by(KR) {
            for j in first..(first + columns).min(count) {
                // SAFETY: each part of a panel is one task's.
                let to = unsafe { out.row((j * depth + p) * NR, 0, KR * NR) };
                let view = View { x, depth: p, depths: k, other: j * NR, others: n };
                let to = Lines { start: to.as_mut_ptr(), second: 2 * 16, ld: 2 * NR, stream };
                // SAFETY: the token proves the instructions; `to` has all lines.
                unsafe { blocks(token, view, true, to) };
            }
        }
        if stream {
            fence();
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
        let to = &mut panel[p * NR..][..KR * NR];
        // Lines of the panel have their pairs across the depth.
        let view = View { x, depth: p, depths: k, other: col, others: n };
        let to = Lines { start: to.as_mut_ptr(), second: 2 * 16, ld: 2 * NR, stream: false };
        // SAFETY: the token proves the instructions; `to` has all lines.
        unsafe { blocks(token, view, true, to) };
    }
}

/// A part of a panel: `k` by `n` numbers, at most 32 by 32, with zeros around them. It goes past the caches; see [`fence`].
pub(super) fn square(token: Avx512Bf16, to: &mut [bf16], x: Mat<'_, f32>, k: usize, n: usize) {
    let to = &mut to[..KR * NR];
    let view = View { x, depth: 0, depths: k, other: 0, others: n };
    let stream = (to.as_ptr() as usize).is_multiple_of(64);
    // SAFETY: the token proves the instructions; `to` has all lines.
    unsafe { blocks(token, view, true, Lines { start: to.as_mut_ptr(), second: 2 * 16, ld: 2 * NR, stream }) };
}

/// Ends what went past the caches.
pub(super) fn fence() {
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_sfence() };
}

/// The rows from `row` on, as many groups of 16 as `to` has, each a multiple of 32 numbers long.
pub(crate) fn rows_of<T: Number>(token: Avx512Bf16, to: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize, row: usize) {
    let ld = k.next_multiple_of(KR);
    for p in (0..ld).step_by(KR) {
        for (i, group) in to.chunks_mut(32 * ld).enumerate() {
            let view = View { x: x.t_view(), depth: p, depths: k, other: row + 32 * i, others: m };
            let two = group.len() > 16 * ld;
            let group = &mut group[p..][..if two { 31 } else { 15 } * ld + 32];
            // SAFETY: the token proves the instructions; the group has the lines of one block, or of two.
            unsafe {
                match two {
                    true => blocks(
                        token,
                        view,
                        false,
                        Lines { start: group.as_mut_ptr(), second: 16 * ld, ld, stream: false },
                    ),
                    false => block(token, view, false, group.as_mut_ptr(), ld, false),
                }
            }
        }
    }
}

/// The rows from `row` on, as many groups of 32 as `to` has, by tiles: 16 rows of 32 numbers and the 16 below them, one after
/// another, then what follows along the depth.
pub(super) fn tiles_of<T: Number>(token: Avx512Bf16, to: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize, row: usize) {
    let depth = k.next_multiple_of(KR);
    let (steps, groups) = (depth / KR, to.len() / (32 * depth).max(1));
    for n in 0..steps * groups {
        // What lies side by side in memory comes first.
        let (p, i) = if x.transposed { (n / groups, n % groups) } else { (n % steps, n / steps) };
        let p = p * KR;
        if !x.transposed {
            let below = x.data.as_ptr().wrapping_add((row + 32 * (i + 1)) * x.ld + p);
            for r in 0..32 {
                // SAFETY: every x86-64 processor has it, and it reads nothing that a program sees.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(below.wrapping_add(r * x.ld).cast()) };
            }
        }
        two_tiles(token, &mut to[(i * depth + p) * 32..], x, (m, row + 32 * i), (k, p));
    }
}

/// 32 of `m` rows, from `row` on, and of each 32 of `k` numbers, from `p` on: 16 rows and the 16 below them.
fn two_tiles<T: Number>(
    token: Avx512Bf16,
    to: &mut [bf16],
    x: Mat<'_, T>,
    (m, row): (usize, usize),
    (k, p): (usize, usize),
) {
    let to = &mut to[..32 * KR];
    let view = View { x: x.t_view(), depth: p, depths: k, other: row, others: m };
    let to = Lines { start: to.as_mut_ptr(), second: 16 * KR, ld: KR, stream: false };
    // SAFETY: the token proves the instructions; `to` has all lines.
    unsafe { blocks(token, view, false, to) };
}

/// All `m` rows of a transpose, as [`tiles_of`] puts them, which is told where they lie.
pub(super) fn turned<T: Number>(token: Avx512Bf16, data: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize) {
    let (depth, groups) = (k.next_multiple_of(KR), m.div_ceil(32));
    let out = Out::new(data, 1);
    // Tasks read what lies side by side in memory.
    pool::for_each(depth / KR, |task| {
        for i in 0..groups {
            // SAFETY: each part of a group is one task's.
            let to = unsafe { out.row((i * depth + task * KR) * 32, 0, KR * 32) };
            two_tiles(token, to, x, (m, 32 * i), (k, task * KR));
        }
    });
}

/// 16 by 16 pairs of an operand that is stored as `[depths, others]`, or transposed.
#[derive(Clone, Copy)]
struct View<'a, T> {
    x: Mat<'a, T>,
    depth: usize,
    depths: usize,
    other: usize,
    others: usize,
}

/// Where two blocks go: each 16 lines, `ld` apart, of 32 numbers; the second block begins `second` behind the first. If they
/// `stream`, lines are those of memory.
#[derive(Clone, Copy)]
struct Lines {
    start: *mut bf16,
    second: usize,
    ld: usize,
    stream: bool,
}

/// 32 numbers, past the caches if they `stream`.
///
/// # Safety
/// Nobody else uses the 32 numbers at `to` meanwhile, which begin a line of memory if they `stream`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put(to: *mut bf16, v: __m512i, stream: bool) {
    // SAFETY: 32 numbers of two bytes are 64 bytes; the rest is the caller's word.
    unsafe {
        match stream {
            true => _mm512_stream_si512(to.cast(), v),
            false => _mm512_storeu_si512(to.cast(), v),
        }
    }
}

/// [`block`] for that of `view` and the 16 columns behind it, which lie in the same lines of memory.
///
/// # Safety
/// As [`block`], for both.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn blocks<T: Number>(token: Avx512Bf16, view: View<'_, T>, across: bool, to: Lines) {
    let View { x, depth, depths, other, others } = view;
    let whole = depth + KR <= depths && other + 32 <= others;
    // SAFETY: the caller's word.
    let second = unsafe { to.start.add(to.second) };
    if !(T::IS_BF16 && !x.transposed && whole) {
        // SAFETY: the caller's word.
        unsafe {
            block(token, view, across, to.start, to.ld, to.stream);
            block(token, View { other: other + 16, ..view }, across, second, to.ld, to.stream);
        }
        return;
    }
    let start = depth * x.ld + other;
    let all = &x.data[start..start + (KR - 1) * x.ld + 32];
    let (mut low, mut high) = ([_mm512_setzero_si512(); 16], [_mm512_setzero_si512(); 16]);
    // Numbers of the first row at even places, those of the second, which count from 32, at odd ones.
    let first =
        _mm512_add_epi16(_mm512_set1_epi32(32 << 16), _mm512_mullo_epi32(counting(), _mm512_set1_epi32(0x1_0001)));
    let after = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    // What comes next along the depth, which is asked for once the other columns here are done.
    let next = x.data[start..].as_ptr().wrapping_add(KR * x.ld);
    for i in 0..16 {
        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(2 * i * x.ld).cast());
        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add((2 * i + 1) * x.ld).cast());
        let (a, b) = (&all[2 * i * x.ld..][..32], &all[(2 * i + 1) * x.ld..][..32]);
        // SAFETY: there are 32 numbers of two bytes.
        let (a, b) = unsafe { (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())) };
        low[i] = _mm512_permutex2var_epi16(a, first, b);
        high[i] = _mm512_permutex2var_epi16(a, after, b);
    }
    if !across {
        transpose(&mut low);
        transpose(&mut high);
    }
    for i in 0..16 {
        // SAFETY: the caller's word.
        unsafe {
            put(to.start.add(i * to.ld), low[i], to.stream);
            put(second.add(i * to.ld), high[i], to.stream);
        }
    }
}

/// 0 to 15.
#[inline]
#[target_feature(enable = "avx512f")]
fn counting() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// Writes 16 lines, `ld` apart in `to`, of 16 pairs: line `i` is pair `i` of all columns if `across`, else all pairs of
/// column `i`.
///
/// # Safety
/// Nobody else uses the 16 lines of 32 numbers that begin `ld` apart at `to` meanwhile. (The token proves the
/// instructions.) Lines are those of memory if they `stream`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn block<T: Number>(_: Avx512Bf16, view: View<'_, T>, across: bool, to: *mut bf16, ld: usize, stream: bool) {
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
            if !T::IS_BF16 {
                _mm_prefetch::<_MM_HINT_T0>(a.as_ptr().cast::<i8>().wrapping_add(512));
                _mm_prefetch::<_MM_HINT_T0>(b.as_ptr().cast::<i8>().wrapping_add(512));
            }
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
            let row = &x.data[start..start + rows];
            if !T::IS_BF16 {
                // As many rows as these are more than the processor follows by itself.
                let ahead = row.as_ptr().cast::<i8>().wrapping_add(512);
                _mm_prefetch::<_MM_HINT_T0>(ahead);
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
            }
            v[i] = along(row);
        }
    }
    if stored_across != across {
        transpose(&mut v);
    }
    for i in 0..16 {
        // SAFETY: the caller's word.
        unsafe { put(to.add(i * ld), v[i], stream) };
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
    if !T::IS_BF16 {
        let places = _mm512_mullo_epi32(counting(), _mm512_set1_epi32(0x1_0001));
        let places = _mm512_add_epi16(places, _mm512_set1_epi32(16 << 16));
        // SAFETY: both are 512 plain bits.
        let both = unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(floats(b), floats(a))) };
        return _mm512_permutexvar_epi16(places, both);
    }
    let (a, b) = (halves(a), halves(b));
    _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(b)))
}

/// Up to 16 numbers, which are bf16, zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn halves<T: Number>(x: &[T]) -> __m256i {
    if x.len() == 16 {
        // SAFETY: there are 16 numbers of two bytes.
        return unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
    }
    // SAFETY: the mask keeps the load within `x`.
    unsafe { _mm256_maskz_loadu_epi16(first(x.len()), x.as_ptr().cast()) }
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
