//! From matrices to operands.
//!
//! An operand is made of vectors of 16 pairs. A pair is two neighbours along the depth: where these are neighbours in
//! memory too, a vector is one load (`along`); where they are not, two rows are interleaved (`across`). A vector then has
//! its pairs along the depth or across it, and a transpose of 16 by 16 pairs turns one into the other; whole blocks of bf16 are turned by
//! numbers instead, with half the shuffles.

use std::arch::x86_64::*;

use half::bf16;

use super::{KR, NR};
use crate::{gemm::Mat, isa::Avx512Bf16, mem::Buf, number::Number, out::Out, pool};

/// From this many bytes on panels go past the caches.
const STREAMED: usize = 2 << 20;

/// Where sums of an operand's columns go, `32 j..32 (j + 1)` for those of panel or tile `j`; null if nobody wants them.
#[derive(Clone, Copy)]
struct Sums(*mut f32);

impl Sums {
    const NONE: Sums = Sums(std::ptr::null_mut());

    /// None if `x` is empty.
    fn of(x: &mut [f32], groups: usize) -> Self {
        assert!(x.is_empty() || x.len() >= 32 * groups);
        if x.is_empty() { Sums::NONE } else { Sums(x.as_mut_ptr()) }
    }

    /// Those from column `i` on.
    fn from(self, i: usize) -> Self {
        if self.0.is_null() { self } else { Sums(self.0.wrapping_add(i)) }
    }
}

/// Sums of columns for each 32 numbers of the depth, which are added in their order: as [`Sums`] are that one task adds to.
struct StepSums<'a> {
    sums: &'a mut [f32],
    steps: Buf<f32>,
    width: usize,
}

impl<'a> StepSums<'a> {
    /// Those of `sums`, for `depth` numbers; none if `sums` is empty.
    fn of(sums: &'a mut [f32], depth: usize) -> Self {
        let width = sums.len().next_multiple_of(32);
        StepSums { sums, steps: Buf::zeroed(depth.div_ceil(KR) * width), width }
    }

    /// What tasks add to: a row for each step, or nothing.
    fn open(&mut self) -> Out<'_> {
        Out::new(&mut self.steps, self.width)
    }

    fn end(self) {
        for step in self.steps.chunks_exact(self.width.max(1)) {
            self.sums.iter_mut().zip(step).for_each(|(sum, x)| *sum += x);
        }
    }
}

/// The sums of a step.
///
/// # Safety
/// Nobody else uses the row of `out` meanwhile.
unsafe fn sums_of(out: &Out<'_>, step: usize) -> Sums {
    // SAFETY: the caller's word.
    if out.len() == 0 { Sums::NONE } else { Sums(unsafe { out.row(step, 0, out.ld()) }.as_mut_ptr()) }
}

/// The panels of an operand `[k, n]`; see [`super::Panels`]. Adds the sums of its columns to `sums`, unless that is empty: only of an
/// operand that is stored as it is.
pub(super) fn panels<T: Number>(
    token: Avx512Bf16,
    data: &mut [bf16],
    x: Mat<'_, T>,
    k: usize,
    n: usize,
    sums: &mut [f32],
) {
    assert!(sums.is_empty() || !x.transposed, "columns that lie along memory have no sums");
    let depth = k.next_multiple_of(KR);
    let (out, count) = (Out::new(data, 1), n.div_ceil(NR));
    // Tasks read what lies side by side in memory: some columns whole, or some depth of all columns.
    let (columns, depths) = match x.transposed {
        true => ((pool::SMALL / (NR * depth).max(1)).max(1), depth),
        false => (count, (pool::SMALL / (NR * count).max(1)).max(1).next_multiple_of(KR)),
    };
    let parts = depth.div_ceil(depths.max(1));
    let stream = 2 * out.len() >= STREAMED;
    let mut sums = StepSums::of(sums, depth);
    let step_sums = sums.open();
    pool::for_each(count.div_ceil(columns.max(1)) * parts, |task| {
        let (first, from) = (task / parts * columns, task % parts * depths);
        for p in (from..(from + depths).min(depth)).step_by(KR) {
            // SAFETY: each step is one task's where operands have sums.
            let sums = unsafe { sums_of(&step_sums, p / KR) };
            for j in first..(first + columns).min(count) {
                // SAFETY: each part of a panel is one task's.
                let to = unsafe { out.row((j * depth + p) * NR, 0, KR * NR) };
                let view = View { x, depth: p, depths: k, other: j * NR, others: n };
                let to = Lines { stream, ..Lines::of_panel(to, sums.from(32 * j)) };
                // SAFETY: the token proves the instructions; `to` has all lines, and sums.
                unsafe { blocks(token, view, true, to) };
            }
        }
        if stream {
            fence();
        }
    });
    sums.end();
}

/// The panels of the columns from `col` on, as many as `to` has, of `k` numbers of the depth of an operand with `n` columns; adds the
/// sums of these columns to `sums`, unless that is empty.
pub(crate) fn panels_of<T: Number>(
    token: Avx512Bf16,
    to: &mut [bf16],
    x: Mat<'_, T>,
    (k, n): (usize, usize),
    col: usize,
    sums: &mut [f32],
) {
    let depth = k.next_multiple_of(KR);
    let panels = to.len() / (NR * depth).max(1);
    let sums = Sums::of(sums, panels);
    // What lies side by side in memory comes first.
    for p in (0..depth).step_by(KR) {
        for j in 0..panels {
            let to = &mut to[(j * depth + p) * NR..][..KR * NR];
            let view = View { x, depth: p, depths: k, other: col + j * NR, others: n };
            // SAFETY: the token proves the instructions; `to` has all lines, and sums.
            unsafe { blocks(token, view, true, Lines::of_panel(to, sums.from(32 * j))) };
        }
    }
}

/// Ends what went past the caches.
pub(super) fn fence() {
    // SAFETY: every x86-64 processor has it.
    unsafe { _mm_sfence() };
}

/// The rows from `row` on, as many groups of 16 as `to` has, each a multiple of 32 numbers long.
pub(crate) fn rows_of<T: Number>(token: Avx512Bf16, to: &mut [bf16], x: Mat<'_, T>, m: usize, k: usize, row: usize) {
    rows_summed(token, to, x, (m, k), row, &mut []);
}

/// The same, and adds the sum of each row to `sums`, unless that is empty: only of rows that lie across memory.
pub(super) fn rows_summed<T: Number>(
    token: Avx512Bf16,
    to: &mut [bf16],
    x: Mat<'_, T>,
    (m, k): (usize, usize),
    row: usize,
    sums: &mut [f32],
) {
    let ld = k.next_multiple_of(KR);
    let sums = Sums::of(sums, to.len().div_ceil((32 * ld).max(1)));
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
                        Lines {
                            start: group.as_mut_ptr(),
                            second: 16 * ld,
                            ld,
                            stream: false,
                            sums: sums.from(32 * i),
                        },
                    ),
                    false => block(token, view, false, group.as_mut_ptr(), ld, false, sums.from(32 * i)),
                }
            }
        }
    }
}

/// The rows from `row` on, as many groups of 32 as `to` has, by tiles: 16 rows of 32 numbers and the 16 below them, one after
/// another, then what follows along the depth. Adds the sum of each row to `sums`, as [`rows_summed`] does.
pub(super) fn tiles_of<T: Number>(
    token: Avx512Bf16,
    to: &mut [bf16],
    x: Mat<'_, T>,
    (m, k): (usize, usize),
    row: usize,
    sums: &mut [f32],
) {
    let depth = k.next_multiple_of(KR);
    let (steps, groups) = (depth / KR, to.len() / (32 * depth).max(1));
    let sums = Sums::of(sums, groups);
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
        // SAFETY: there are sums of all groups, if any.
        unsafe { two_tiles(token, &mut to[(i * depth + p) * 32..], x, (m, row + 32 * i), (k, p), sums.from(32 * i)) };
    }
}

/// 32 of `m` rows, from `row` on, and of each 32 of `k` numbers, from `p` on: 16 rows and the 16 below them.
///
/// # Safety
/// There are 32 sums, if any, which nobody else uses meanwhile.
unsafe fn two_tiles<T: Number>(
    token: Avx512Bf16,
    to: &mut [bf16],
    x: Mat<'_, T>,
    (m, row): (usize, usize),
    (k, p): (usize, usize),
    sums: Sums,
) {
    let to = &mut to[..32 * KR];
    let view = View { x: x.t_view(), depth: p, depths: k, other: row, others: m };
    let to = Lines { start: to.as_mut_ptr(), second: 16 * KR, ld: KR, stream: false, sums };
    // SAFETY: the token proves the instructions; `to` has all lines, and sums by the caller's word.
    unsafe { blocks(token, view, false, to) };
}

/// All `m` rows of a transpose, as [`tiles_of`] puts them. Adds the sum of each to `sums`, unless that is empty.
pub(super) fn turned(token: Avx512Bf16, data: &mut [bf16], x: Mat<'_, bf16>, (m, k): (usize, usize), sums: &mut [f32]) {
    let (depth, groups) = (k.next_multiple_of(KR), m.div_ceil(32));
    let out = Out::new(data, 1);
    let mut sums = StepSums::of(sums, depth);
    let step_sums = sums.open();
    // Tasks read what lies side by side in memory.
    pool::for_each(depth / KR, |step| {
        // SAFETY: each step, and with it a part of each group, is one task's; there are sums of all groups, if any.
        unsafe {
            let sums = sums_of(&step_sums, step);
            for i in 0..groups {
                let to = out.row((i * depth + step * KR) * 32, 0, KR * 32);
                two_tiles(token, to, x, (m, 32 * i), (k, step * KR), sums.from(32 * i));
            }
        }
    });
    sums.end();
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
/// `stream`, lines are those of memory. Numbers of the 32 columns are added to `sums`.
#[derive(Clone, Copy)]
struct Lines {
    start: *mut bf16,
    second: usize,
    ld: usize,
    stream: bool,
    sums: Sums,
}

impl Lines {
    /// A part of a panel.
    fn of_panel(to: &mut [bf16], sums: Sums) -> Self {
        Lines { start: to.as_mut_ptr(), second: 2 * 16, ld: 2 * NR, stream: false, sums }
    }
}

/// Adds 16 pairs of each of 16 columns to their sums.
///
/// # Safety
/// There are 16 sums, if any, which nobody else uses meanwhile.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn add_pairs(sums: Sums, pairs: &[__m512i; 16]) {
    if sums.0.is_null() {
        return;
    }
    // The bits of 1 in bf16, twice.
    let ones = bf16s(_mm512_set1_epi32(0x3f80_3f80));
    // SAFETY: the caller's word.
    unsafe {
        let [mut even, mut odd] = [_mm512_setzero_ps(); 2];
        for i in 0..8 {
            even = _mm512_dpbf16_ps(even, bf16s(pairs[2 * i]), ones);
            odd = _mm512_dpbf16_ps(odd, bf16s(pairs[2 * i + 1]), ones);
        }
        // So that the sum is the same whether those of many steps are added here or later.
        _mm512_storeu_ps(sums.0, _mm512_add_ps(_mm512_loadu_ps(sums.0), _mm512_add_ps(even, odd)));
    }
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
    let (deep, wide) = (depths.saturating_sub(depth).min(KR), others.saturating_sub(other).min(32));
    // Rows of memory, and how many numbers of each count.
    let (rows, numbers) = if x.transposed { (wide, deep) } else { (deep, wide) };
    if T::IS_BF16 && rows == 32 && numbers > 0 && numbers.is_multiple_of(8) {
        let start = if x.transposed { other * x.ld + depth } else { depth * x.ld + other };
        let rows = x.data[start..start + 31 * x.ld + numbers].as_ptr().cast::<bf16>();
        // SAFETY: there are 32 rows of so many numbers of bf16; the rest is the caller's word.
        unsafe {
            match (x.transposed, across) {
                (false, true) => put_across(rows, x.ld, numbers, to, true),
                (false, false) => {
                    if !to.sums.0.is_null() {
                        put_across(rows, x.ld, numbers, to, false);
                    }
                    put_turned(rows, x.ld, numbers, to);
                }
                (true, true) => put_pairs(rows, x.ld, numbers, to),
                (true, false) => put_rows(rows, x.ld, numbers, to),
            }
        }
        return;
    }
    // SAFETY: the caller's word.
    unsafe {
        block(token, view, across, to.start, to.ld, to.stream, to.sums);
        let behind = View { other: other + 16, ..view };
        block(token, behind, across, to.start.add(to.second), to.ld, to.stream, to.sums.from(16));
    }
}

/// The mask of the first `n` of 32 numbers.
#[inline(always)]
fn first_of_32(n: usize) -> __mmask32 {
    ((1u64 << n.min(32)) - 1) as __mmask32
}

/// Puts the first `n` numbers of 32 rows as lines, zeros behind them.
///
/// # Safety
/// There are 32 rows of `n` numbers at `rows`, `ld` apart; and as for [`blocks`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn put_rows(rows: *const bf16, ld: usize, n: usize, to: Lines) {
    debug_assert!(to.sums.0.is_null(), "pairs lie along the columns");
    let mask = first_of_32(n);
    for i in 0..32 {
        // SAFETY: the caller's word, and the mask keeps the load within the row.
        unsafe {
            let v = _mm512_maskz_loadu_epi16(mask, rows.add(i * ld).cast());
            put(to.start.add(i / 16 * to.second + i % 16 * to.ld), v, to.stream);
        }
    }
}

/// Puts the first `n` numbers, a multiple of 8, of 32 rows as pairs across: line `p` has pair `p` of all rows; zeros behind the last.
///
/// # Safety
/// As [`put_rows`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn put_pairs(rows: *const bf16, ld: usize, n: usize, to: Lines) {
    debug_assert!(to.sums.0.is_null(), "pairs lie along the columns");
    for half in 0..2 {
        let start = to.start.wrapping_add(half * to.second);
        for q in 0..4 {
            let line = start.wrapping_add(4 * q * to.ld);
            if 8 * q >= n {
                for p in 0..4 {
                    // SAFETY: the caller's word.
                    unsafe { put(line.add(p * to.ld), _mm512_setzero_si512(), to.stream) };
                }
                continue;
            }
            // Four pairs of each of 16 rows. Loads put rows 4, 8 and 12 further down beside a row, so that nothing goes across 128 bits
            // afterwards.
            let mut v = [_mm512_setzero_si512(); 4];
            for (r, v) in v.iter_mut().enumerate() {
                // SAFETY: the caller's word.
                unsafe {
                    let x = rows.add((16 * half + r) * ld + 8 * q);
                    *v = _mm512_castsi128_si512(_mm_loadu_si128(x.cast()));
                    *v = _mm512_inserti32x4::<1>(*v, _mm_loadu_si128(x.add(4 * ld).cast()));
                    *v = _mm512_inserti32x4::<2>(*v, _mm_loadu_si128(x.add(8 * ld).cast()));
                    *v = _mm512_inserti32x4::<3>(*v, _mm_loadu_si128(x.add(12 * ld).cast()));
                }
            }
            for (p, v) in turned_pairs(v).into_iter().enumerate() {
                // SAFETY: the caller's word.
                unsafe { put(line.add(p * to.ld), v, to.stream) };
            }
        }
    }
}

/// Pairs of four vectors, of which each has those of four rows, by pairs: vector `p` has pair `p` of all 16 rows.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn turned_pairs(v: [__m512i; 4]) -> [__m512i; 4] {
    let [a, b] = [_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1])];
    let [c, d] = [_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3])];
    [_mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)]
}

/// Puts 32 rows of `n` numbers, with zeros behind these, as pairs, if they are to be put, and adds the numbers of each column to its sum.
///
/// # Safety
/// As [`put_rows`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn put_across(rows: *const bf16, ld: usize, n: usize, to: Lines, puts: bool) {
    let mask = first_of_32(n);
    // Numbers of the first row at even places, those of the second, which count from 32, at odd ones.
    let first =
        _mm512_add_epi16(_mm512_set1_epi32(32 << 16), _mm512_mullo_epi32(counting(), _mm512_set1_epi32(0x1_0001)));
    let after = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    // The bits of 1 in bf16, twice.
    let ones = bf16s(_mm512_set1_epi32(0x3f80_3f80));
    // Of even pairs and of odd ones.
    let mut sums = [[_mm512_setzero_ps(); 2]; 2];
    for i in 0..8 {
        for (odd, sums) in sums.iter_mut().enumerate() {
            let i = 2 * i + odd;
            // SAFETY: the caller's word; asking for what comes next along the depth, perhaps beyond the end, reads nothing that a
            // program sees.
            unsafe {
                let row = rows.add(2 * i * ld);
                let [a, b] = [row, row.add(ld)].map(|row| _mm512_maskz_loadu_epi16(mask, row.cast()));
                let (low, high) = (_mm512_permutex2var_epi16(a, first, b), _mm512_permutex2var_epi16(a, after, b));
                if puts {
                    let next = row.wrapping_add(32 * ld);
                    _mm_prefetch::<_MM_HINT_T0>(next.cast());
                    _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(ld).cast());
                    put(to.start.add(i * to.ld), low, to.stream);
                    put(to.start.add(to.second + i * to.ld), high, to.stream);
                }
                if !to.sums.0.is_null() {
                    sums[0] = _mm512_dpbf16_ps(sums[0], bf16s(low), ones);
                    sums[1] = _mm512_dpbf16_ps(sums[1], bf16s(high), ones);
                }
            }
        }
    }
    if !to.sums.0.is_null() {
        let [even, odd] = sums;
        for j in 0..2 {
            // SAFETY: the caller's word. Sums of a step are added as one number, so that they are the same whether those of many
            // steps are added here or later.
            unsafe {
                let sum = to.sums.0.add(16 * j);
                _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), _mm512_add_ps(even[j], odd[j])));
            }
        }
    }
}

/// Puts the first `n` columns, a multiple of 8, of 32 rows as lines, and zeros for what is left of 32.
///
/// # Safety
/// As [`put_rows`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn put_turned(rows: *const bf16, ld: usize, n: usize, to: Lines) {
    // Eight columns at a time. Loads put rows 8, 16 and 24 further down beside a row, so that nothing goes across 128 bits afterwards.
    let line = 2 * ld;
    for q in 0..4 {
        let mut to_line = to.start.wrapping_add(q / 2 * to.second + 8 * (q % 2) * to.ld);
        if 8 * q >= n {
            for _ in 0..8 {
                // SAFETY: the caller's word.
                unsafe { put(to_line, _mm512_setzero_si512(), to.stream) };
                to_line = to_line.wrapping_add(to.ld);
            }
            continue;
        }
        let mut v = [_mm512_setzero_si512(); 8];
        let mut row = rows.cast::<u8>().wrapping_add(16 * q);
        let (mut far, near) = (row.wrapping_add(16 * line), 8 * line);
        // What comes next along the depth.
        let mut next = rows.cast::<u8>().wrapping_add((32 + 8 * q) * line);
        for v in &mut v {
            // SAFETY: the caller's word; asking reads nothing that a program sees.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                *v = _mm512_castsi128_si512(_mm_loadu_si128(row.cast()));
                *v = _mm512_inserti32x4::<1>(*v, _mm_loadu_si128(row.wrapping_add(near).cast()));
                *v = _mm512_inserti32x4::<2>(*v, _mm_loadu_si128(far.cast()));
                *v = _mm512_inserti32x4::<3>(*v, _mm_loadu_si128(far.wrapping_add(near).cast()));
            }
            row = row.wrapping_add(line);
            far = far.wrapping_add(line);
            next = next.wrapping_add(line);
        }
        // Single numbers, pairs, fours.
        let mut t = v;
        for i in 0..4 {
            t[2 * i] = _mm512_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
            t[2 * i + 1] = _mm512_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
        }
        for i in 0..2 {
            v[4 * i] = _mm512_unpacklo_epi32(t[4 * i], t[4 * i + 2]);
            v[4 * i + 1] = _mm512_unpackhi_epi32(t[4 * i], t[4 * i + 2]);
            v[4 * i + 2] = _mm512_unpacklo_epi32(t[4 * i + 1], t[4 * i + 3]);
            v[4 * i + 3] = _mm512_unpackhi_epi32(t[4 * i + 1], t[4 * i + 3]);
        }
        for i in 0..4 {
            t[2 * i] = _mm512_unpacklo_epi64(v[i], v[i + 4]);
            t[2 * i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 4]);
        }
        for t in t {
            // SAFETY: the caller's word.
            unsafe { put(to_line, t, to.stream) };
            to_line = to_line.wrapping_add(to.ld);
        }
    }
}

/// 32 numbers of bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16s(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
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
/// Nobody else uses the 16 lines of 32 numbers that begin `ld` apart at `to` meanwhile, nor the 16 sums, if any. (The token proves
/// the instructions.) Lines are those of memory if they `stream`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[allow(clippy::too_many_arguments)]
unsafe fn block<T: Number>(
    _: Avx512Bf16,
    view: View<'_, T>,
    across: bool,
    to: *mut bf16,
    ld: usize,
    stream: bool,
    sums: Sums,
) {
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
    debug_assert!(stored_across || sums.0.is_null(), "pairs lie along the columns");
    // SAFETY: the caller's word.
    unsafe { add_pairs(sums, &v) };
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
