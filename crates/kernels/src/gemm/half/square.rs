//! A block of 32 by 32 numbers, and what it is in the packed forms of a weight and of its transpose.

use std::arch::x86_64::*;

use half::bf16;

use super::{KR, NR, pack::turned_pairs};
use crate::isa::Avx512Bf16;

/// 32 rows of 32 numbers, rounded; zeros where there are none.
#[repr(C, align(64))]
pub(super) struct Square([[bf16; NR]; KR]);

/// Numbers of a [`Square`].
pub(super) const SQUARE: usize = NR * KR;

impl Square {
    /// Rounds `rows` rows of `cols` numbers.
    ///
    /// # Safety
    /// There are at most 32 rows of at most 32 numbers each at `x`, `ld` apart, which nobody writes meanwhile. (The token proves the
    /// instructions.)
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    pub(super) unsafe fn of(_: Avx512Bf16, x: *const f32, ld: usize, rows: usize, cols: usize) -> Self {
        let mut square = Square([[bf16::ZERO; NR]; KR]);
        let columns = if cols < NR { (1u32 << cols) - 1 } else { u32::MAX };
        for (r, to) in square.0.iter_mut().enumerate().take(rows) {
            // SAFETY: the caller's word, and the masks keep the loads within the row.
            unsafe {
                let x = x.add(r * ld);
                let low = _mm512_maskz_loadu_ps(columns as u16, x);
                let high = _mm512_maskz_loadu_ps((columns >> 16) as u16, x.wrapping_add(16));
                let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_store_si512(to.as_mut_ptr().cast(), both);
            }
        }
        square
    }

    /// Pairs of neighbours down: line `p` has those of rows `2 p` and `2 p + 1`. Past the caches; see [`super::pack::fence`].
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn put_down(&self, _: Avx512Bf16, to: &mut [bf16]) {
        let to = &mut to[..SQUARE];
        // Numbers of the first row at even places, those of the second, which count from 32, at odd ones.
        let counting = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let first =
            _mm512_add_epi16(_mm512_set1_epi32(32 << 16), _mm512_mullo_epi32(counting, _mm512_set1_epi32(0x1_0001)));
        let after = _mm512_add_epi16(first, _mm512_set1_epi16(16));
        for p in 0..KR / 2 {
            // SAFETY: a square's rows begin on lines of 64 bytes.
            let [a, b] = [0, 1].map(|i| unsafe { _mm512_load_si512(self.0[2 * p + i].as_ptr().cast()) });
            let line = &mut to[p * 2 * NR..][..2 * NR];
            put(line, 0, _mm512_permutex2var_epi16(a, first, b));
            put(line, NR, _mm512_permutex2var_epi16(a, after, b));
        }
    }

    /// Pairs of neighbours across, which makes it the transpose: line `p` has numbers `2 p` and `2 p + 1` of all rows. Past the caches.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn put_across(&self, _: Avx512Bf16, to: &mut [bf16]) {
        let to = &mut to[..SQUARE];
        for (half, rows) in self.0.chunks_exact(16).enumerate() {
            // Four pairs of each of 16 rows at a time. Loads put rows 4, 8 and 12 further down beside a row, so that nothing goes across
            // 128 bits afterwards.
            for q in 0..4 {
                let mut v = [_mm512_setzero_si512(); 4];
                for (r, v) in v.iter_mut().enumerate() {
                    // SAFETY: 8 numbers of a row that has 32.
                    let four = |i: usize| unsafe { _mm_load_si128(rows[r + 4 * i][8 * q..].as_ptr().cast()) };
                    *v = _mm512_castsi128_si512(four(0));
                    *v = _mm512_inserti32x4::<1>(*v, four(1));
                    *v = _mm512_inserti32x4::<2>(*v, four(2));
                    *v = _mm512_inserti32x4::<3>(*v, four(3));
                }
                for (p, v) in turned_pairs(v).into_iter().enumerate() {
                    put(&mut to[(4 * q + p) * 2 * NR..][..2 * NR], half * NR, v);
                }
            }
        }
    }
}

/// 32 numbers of `to` from `at` on, past the caches where they are a line of memory.
#[inline]
#[target_feature(enable = "avx512f")]
fn put(to: &mut [bf16], at: usize, v: __m512i) {
    let to = &mut to[at..at + NR];
    let to = to.as_mut_ptr();
    // SAFETY: 32 numbers of two bytes are 64 bytes.
    unsafe {
        match (to as usize).is_multiple_of(64) {
            true => _mm512_stream_si512(to.cast(), v),
            false => _mm512_storeu_si512(to.cast(), v),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    #[test]
    fn pairs_go_down_and_across() {
        let Some(half) = Isa::detect().avx512_bf16() else { return };
        let ld = 45;
        let x: Vec<f32> = (0..32 * ld).map(|i| i as f32 * 1.003 - 700.0).collect();
        for (rows, cols) in [(32, 32), (32, 9), (17, 32), (5, 20), (1, 1), (0, 7), (31, 16)] {
            let at = |r: usize, c: usize| if r < rows && c < cols { bf16::from_f32(x[r * ld + c]) } else { bf16::ZERO };
            let (mut down, mut across) = ([bf16::ONE; SQUARE + 1], [bf16::ONE; SQUARE]);
            // SAFETY: there are 32 rows of 32 numbers, and the token proves the instructions.
            unsafe {
                let square = Square::of(half, x.as_ptr(), ld, rows, cols);
                square.put_down(half, &mut down[1..]);
                square.put_across(half, &mut across);
            }
            for p in 0..16 {
                for i in 0..32 {
                    for k in 0..2 {
                        let place = p * 64 + 2 * i + k;
                        assert_eq!(down[1 + place], at(2 * p + k, i), "{rows} {cols} down {p} {i}");
                        assert_eq!(across[place], at(i, 2 * p + k), "{rows} {cols} across {p} {i}");
                    }
                }
            }
        }
    }
}
