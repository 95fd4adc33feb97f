//! Micro-kernels without products of int8: numbers of 16 bits are multiplied in pairs (`vpmaddwd`), even places and odd ones.
//!
//! `vpmaddubsw`, which takes eight bits, saturates: `2 · 255 · 127` is more than 16 bits hold.

use std::arch::x86_64::*;

use super::{
    NR,
    tile::{Block, Int8Tile, by_rows},
};
use crate::isa::{Avx2, Avx512};

impl Int8Tile for Avx512 {
    const MR: usize = 12;

    #[inline(always)]
    unsafe fn tile(self, block: Block, rows: usize, start: bool) {
        // SAFETY: the token proves the instructions; the rest is the caller's word.
        unsafe { by_rows!(rows, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], avx512, block, start) }
    }
}

impl Int8Tile for Avx2 {
    const MR: usize = 4;

    #[inline(always)]
    unsafe fn tile(self, block: Block, rows: usize, start: bool) {
        // SAFETY: the token proves the instructions; the rest is the caller's word.
        unsafe { by_rows!(rows, [4, 3, 2, 1], avx2, block, start) }
    }
}

/// # Safety
/// As [`Int8Tile::tile`] for `R` rows; AVX-512 is present.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn avx512<const R: usize>(block: Block, start: bool) {
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
        let low = _mm512_set1_epi16(0xff);
        for p in 0..fours {
            let b = b.add(4 * NR * p);
            let panel = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(64).cast())];
            let mut even = panel;
            let mut odd = panel;
            for i in 0..2 {
                even[i] = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(panel[i]));
                odd[i] = _mm512_srai_epi16::<8>(panel[i]);
            }
            for r in 0..R {
                let x = _mm512_set1_epi32(a.add(r * lda + 4 * p).cast::<i32>().read_unaligned());
                let (x_even, x_odd) = (_mm512_and_si512(x, low), _mm512_srli_epi16::<8>(x));
                for i in 0..2 {
                    c[r][i] = _mm512_add_epi32(c[r][i], _mm512_madd_epi16(x_even, even[i]));
                    c[r][i] = _mm512_add_epi32(c[r][i], _mm512_madd_epi16(x_odd, odd[i]));
                }
            }
        }
        for (r, c) in c.iter().enumerate() {
            let acc = acc.add(r * NR);
            _mm512_storeu_si512(acc.cast(), c[0]);
            _mm512_storeu_si512(acc.add(16).cast(), c[1]);
        }
    }
}

/// # Safety
/// As [`Int8Tile::tile`] for `R` rows; AVX2 is present.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<const R: usize>(block: Block, start: bool) {
    let Block { a, lda, b, fours, acc } = block;
    // SAFETY: the caller's word; every read and write below stays within what it names.
    unsafe {
        // Half the columns at a time: their sums fill half of the registers.
        for half in 0..2 {
            let (b, acc) = (b.add(64 * half), acc.add(16 * half));
            let mut c = [[_mm256_setzero_si256(); 2]; R];
            if !start {
                for (r, c) in c.iter_mut().enumerate() {
                    let acc = acc.add(r * NR);
                    *c = [_mm256_loadu_si256(acc.cast()), _mm256_loadu_si256(acc.add(8).cast())];
                }
            }
            let low = _mm256_set1_epi16(0xff);
            for p in 0..fours {
                let b = b.add(4 * NR * p);
                let panel = [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(32).cast())];
                let mut even = panel;
                let mut odd = panel;
                for i in 0..2 {
                    even[i] = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(panel[i]));
                    odd[i] = _mm256_srai_epi16::<8>(panel[i]);
                }
                for r in 0..R {
                    let x = _mm256_set1_epi32(a.add(r * lda + 4 * p).cast::<i32>().read_unaligned());
                    let (x_even, x_odd) = (_mm256_and_si256(x, low), _mm256_srli_epi16::<8>(x));
                    for i in 0..2 {
                        c[r][i] = _mm256_add_epi32(c[r][i], _mm256_madd_epi16(x_even, even[i]));
                        c[r][i] = _mm256_add_epi32(c[r][i], _mm256_madd_epi16(x_odd, odd[i]));
                    }
                }
            }
            for (r, c) in c.iter().enumerate() {
                let acc = acc.add(r * NR);
                _mm256_storeu_si256(acc.cast(), c[0]);
                _mm256_storeu_si256(acc.add(8).cast(), c[1]);
            }
        }
    }
}
