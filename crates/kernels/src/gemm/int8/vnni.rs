//! The micro-kernel of AVX512-VNNI: 12 rows of two vectors in registers.

use std::arch::x86_64::*;

use super::{
    NR,
    tile::{Block, Int8Tile, by_rows},
};
use crate::isa::Avx512Vnni;

impl Int8Tile for Avx512Vnni {
    const MR: usize = 12;

    #[inline(always)]
    unsafe fn tile(self, block: Block, rows: usize, start: bool) {
        // SAFETY: the token proves the instructions; the rest is the caller's word.
        unsafe { by_rows!(rows, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], tile, block, start) }
    }
}

/// # Safety
/// As [`Int8Tile::tile`] for `R` rows; AVX512-VNNI is present.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize>(block: Block, start: bool) {
    let Block { a, lda, b, fours, acc } = block;
    // SAFETY: the caller's word; every read and write below stays within what it names.
    unsafe {
        let mut c = [[_mm512_setzero_si512(); 2]; R];
        if !start {
            for (r, c) in c.iter_mut().enumerate() {
                let acc = acc.add(r * NR);
                *c = [_mm512_loadu_si512(acc.cast()), _mm512_loadu_si512(acc.add(16).cast())];
            }
        }
        // One pointer for three rows keeps the pointers in registers.
        let mut row = [a; 4];
        for (i, row) in row.iter_mut().enumerate() {
            *row = a.add((3 * i).min(R - 1) * lda);
        }
        let mut b = b;
        for _ in 0..fours {
            let panel = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(64).cast())];
            for r in 0..R {
                let x = _mm512_set1_epi32(row[r / 3].add(r % 3 * lda).cast::<i32>().read_unaligned());
                c[r][0] = _mm512_dpbusd_epi32(c[r][0], x, panel[0]);
                c[r][1] = _mm512_dpbusd_epi32(c[r][1], x, panel[1]);
            }
            row = row.map(|r| r.add(4));
            b = b.add(4 * NR);
        }
        for (r, c) in c.iter().enumerate() {
            let acc = acc.add(r * NR);
            _mm512_storeu_si512(acc.cast(), c[0]);
            _mm512_storeu_si512(acc.add(16).cast(), c[1]);
        }
    }
}
