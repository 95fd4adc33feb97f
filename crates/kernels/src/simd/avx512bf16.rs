//! AVX-512 with instructions that round to bf16, which take numbers too small to be normal for zero, as products of bf16 do.

use std::arch::x86_64::*;

use half::bf16;

use super::Simd;
use crate::{
    gemm::Left,
    isa::{Avx512, Avx512Bf16},
    words::Line,
};

/// Methods that are those of [`Avx512`].
macro_rules! as_avx512 {
    ($(fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $ty),*) $(-> $ret)? {
            self.avx512().$name($($arg),*)
        }
    )*};
}

impl Simd for Avx512Bf16 {
    type V = __m512;
    const LANES: usize = Avx512::LANES;
    const MR: usize = Avx512::MR;
    const NV: usize = Avx512::NV;

    #[inline(always)]
    fn store_bf16(self, y: &mut [bf16], v: __m512) {
        let y = &mut y[..16];
        // SAFETY: the token proves the instructions; 16 numbers of two bytes are written.
        unsafe {
            _mm256_storeu_si256(y.as_mut_ptr().cast(), std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v)))
        }
    }

    #[inline(always)]
    fn store_two_bf16(self, y: &mut [bf16], v: __m512, w: __m512) {
        let y = &mut y[..32];
        // SAFETY: as above, for 32 numbers.
        unsafe {
            _mm512_storeu_si512(
                y.as_mut_ptr().cast(),
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(w, v)),
            )
        }
    }

    #[inline(always)]
    fn store_pairs_bf16(self, y: &mut [bf16], v: __m512, w: __m512) {
        let y = &mut y[..32];
        // SAFETY: the token proves the instructions; 32 numbers of two bytes are written.
        unsafe {
            let places = _mm512_setr_epi32(
                16 << 16,
                1 | 17 << 16,
                2 | 18 << 16,
                3 | 19 << 16,
                4 | 20 << 16,
                5 | 21 << 16,
                6 | 22 << 16,
                7 | 23 << 16,
                8 | 24 << 16,
                9 | 25 << 16,
                10 | 26 << 16,
                11 | 27 << 16,
                12 | 28 << 16,
                13 | 29 << 16,
                14 | 30 << 16,
                15 | 31 << 16,
            );
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(w, v));
            _mm512_storeu_si512(y.as_mut_ptr().cast(), _mm512_permutexvar_epi16(places, both));
        }
    }

    #[inline(always)]
    fn stream(self, y: &mut [f32], v: __m512) {
        let y = &mut y[..16];
        assert!((y.as_ptr() as usize).is_multiple_of(64), "a line of memory");
        // SAFETY: the token proves the instructions; 16 numbers of four bytes are written, which begin a line of memory.
        unsafe { _mm512_stream_ps(y.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn stream_two_bf16(self, y: &mut [bf16], v: __m512, w: __m512) {
        let y = &mut y[..32];
        assert!((y.as_ptr() as usize).is_multiple_of(64), "a line of memory");
        // SAFETY: as above, for 32 numbers, which begin a line of memory.
        unsafe {
            _mm512_stream_si512(
                y.as_mut_ptr().cast(),
                std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(w, v)),
            )
        }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: every x86-64 processor has it.
        unsafe { _mm_sfence() };
    }

    #[inline(always)]
    fn prefetch(self, x: *const f32) {
        // SAFETY: every x86-64 processor has it, and it reads nothing that a program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.cast()) };
    }

    as_avx512! {
        fn tile(a: Left<'_>, b: &[f32], acc: &mut [f32], ld: usize, start: bool);
        fn transpose_8x8(to: &mut [f32], to_ld: usize, from: &[f32], from_ld: usize);
        fn splat(x: f32) -> __m512;
        fn load(x: &[f32]) -> __m512;
        fn store(y: &mut [f32], v: __m512);
        fn load_part(x: &[f32]) -> __m512;
        fn store_part(y: &mut [f32], v: __m512);
        fn load_bf16(x: &[bf16]) -> __m512;
        fn load_part_bf16(x: &[bf16]) -> __m512;
        fn load_cells(line: &Line, at: usize) -> __m512;
        fn store_cells(line: &Line, at: usize, v: __m512);
        fn add(a: __m512, b: __m512) -> __m512;
        fn sub(a: __m512, b: __m512) -> __m512;
        fn mul(a: __m512, b: __m512) -> __m512;
        fn div(a: __m512, b: __m512) -> __m512;
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512;
        fn max(a: __m512, b: __m512) -> __m512;
        fn min(a: __m512, b: __m512) -> __m512;
        fn sqrt(a: __m512) -> __m512;
        fn abs(a: __m512) -> __m512;
        fn copysign(a: __m512, sign: __m512) -> __m512;
        fn round(a: __m512) -> __m512;
        fn mul_exp2(x: __m512, n: __m512) -> __m512;
        fn last_as_exponent(x: __m512) -> __m512;
        fn select_lt(a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512;
        fn lookup(table: &[f32; 32], at: __m512) -> __m512;
        fn sum(a: __m512) -> f32;
        fn max_lane(a: __m512) -> f32;
    }

    #[inline(always)]
    fn store_part_bf16(self, y: &mut [bf16], v: __m512) {
        // As for AVX-512.
        let mut all = [bf16::ZERO; 16];
        self.store_bf16(&mut all, v);
        y.copy_from_slice(&all[..y.len()]);
    }
}
