//! The micro-kernel of AVX512-BF16: 12 rows of two vectors in registers.

use std::arch::x86_64::*;

use super::{
    NR,
    tile::{Block, HalfTile, Lines, Start},
};
use crate::isa::Avx512Bf16;

impl HalfTile for Avx512Bf16 {
    const MR: usize = 12;
    const PANELS: usize = 2;
    const WHOLE: bool = false;
    const HOLDS: bool = false;

    /// A panel of 16 KiB.
    fn most(_: usize, _: bool) -> usize {
        256
    }

    #[inline(always)]
    unsafe fn tile(self, block: Block, rows: usize) {
        // SAFETY: the token proves the instructions; the rest is the caller's word.
        unsafe {
            match rows {
                12 => tile::<12>(block),
                11 => tile::<11>(block),
                10 => tile::<10>(block),
                9 => tile::<9>(block),
                8 => tile::<8>(block),
                7 => tile::<7>(block),
                6 => tile::<6>(block),
                5 => tile::<5>(block),
                4 => tile::<4>(block),
                3 => tile::<3>(block),
                2 => tile::<2>(block),
                1 => tile::<1>(block),
                _ => unreachable!("1 to 12 rows"),
            }
        }
    }
}

/// # Safety
/// As [`HalfTile::tile`] for `R` rows; AVX512-BF16 is present.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile<const R: usize>(block: Block) {
    let Block { a: Lines { start: a, ld: lda, .. }, b, pairs, acc, start, .. } = block;
    // SAFETY: the caller's word; every read and write below stays within what it names.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); 2]; R];
        if !matches!(start, Start::Zeros) {
            for (r, c) in c.iter_mut().enumerate() {
                *c = [_mm512_loadu_ps(acc.add(r * NR)), _mm512_loadu_ps(acc.add(r * NR + 16))];
            }
        }
        // One pointer for three rows keeps the pointers in registers.
        let mut row = [a; 4];
        for (i, row) in row.iter_mut().enumerate() {
            *row = a.add((3 * i).min(R - 1) * lda);
        }
        let mut b = b;
        for _ in 0..pairs {
            let panel = [pairs_of(_mm512_loadu_si512(b.cast())), pairs_of(_mm512_loadu_si512(b.add(NR).cast()))];
            for r in 0..R {
                let x = row[r / 3].add(r % 3 * lda).cast::<i32>().read_unaligned();
                let x = pairs_of(_mm512_set1_epi32(x));
                c[r][0] = _mm512_dpbf16_ps(c[r][0], x, panel[0]);
                c[r][1] = _mm512_dpbf16_ps(c[r][1], x, panel[1]);
            }
            row = row.map(|r| r.add(2));
            b = b.add(2 * NR);
        }
        for (r, c) in c.iter().enumerate() {
            _mm512_storeu_ps(acc.add(r * NR), c[0]);
            _mm512_storeu_ps(acc.add(r * NR + 16), c[1]);
        }
    }
}

/// The same bits as pairs of bf16.
#[inline]
#[target_feature(enable = "avx512f")]
fn pairs_of(x: __m512i) -> __m512bh {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(x) }
}
