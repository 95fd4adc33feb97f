//! AVX2 and AVX-512. Every intrinsic below is called behind the token that proves its features.

use std::{
    arch::{asm, x86_64::*},
    sync::atomic::AtomicU32,
};

use half::bf16;

use super::Simd;
use crate::{
    gemm::{Left, tile},
    isa::{Avx2, Avx512},
    words::Line,
};

/// The call of an intrinsic, proven by the token `self`.
macro_rules! proven {
    ($e:expr) => {
        // SAFETY: the token proves the features; loads and stores are of slices checked to be long enough.
        unsafe { $e }
    };
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    const MR: usize = 12;
    const NV: usize = 2;

    #[inline(always)]
    fn tile(self, a: Left<'_>, b: &[f32], acc: &mut [f32], ld: usize, start: bool) {
        tile::<Self, 12, 2>(self, a, b, acc, ld, start);
    }
    #[inline(always)]
    fn transpose_8x8(self, to: &mut [f32], to_ld: usize, from: &[f32], from_ld: usize) {
        proven!(transpose_8x8(to, to_ld, from, from_ld))
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        proven!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        let x = &x[..16];
        proven!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, y: &mut [f32], v: __m512) {
        let y = &mut y[..16];
        proven!(_mm512_storeu_ps(y.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> __m512 {
        debug_assert!(x.len() < 16);
        // The mask keeps the load inside `x`.
        proven!(_mm512_maskz_loadu_ps(first(x.len()), x.as_ptr()))
    }
    #[inline(always)]
    fn store_part(self, y: &mut [f32], v: __m512) {
        debug_assert!(y.len() < 16);
        proven!(_mm512_mask_storeu_ps(y.as_mut_ptr(), first(y.len()), v))
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> __m512 {
        let x = &x[..16];
        proven!(widen_512(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_bf16(self, y: &mut [bf16], v: __m512) {
        let y = &mut y[..16];
        proven!(_mm256_storeu_si256(y.as_mut_ptr().cast(), narrow_512(v)))
    }
    #[inline(always)]
    fn load_part_bf16(self, x: &[bf16]) -> __m512 {
        debug_assert!(x.len() < 16);
        proven!(widen_512(_mm256_maskz_loadu_epi16(first(x.len()), x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_part_bf16(self, y: &mut [bf16], v: __m512) {
        // Not by a masked store: with a mask that it knows to be 1, the compiler (LLVM 22) stores four bytes for two.
        let mut all = [bf16::ZERO; 16];
        self.store_bf16(&mut all, v);
        y.copy_from_slice(&all[..y.len()]);
    }
    #[inline(always)]
    fn load_cells(self, line: &Line, at: usize) -> __m512 {
        proven!(load_cells_512(&line[at..at + 16]))
    }
    #[inline(always)]
    fn store_cells(self, line: &Line, at: usize, v: __m512) {
        proven!(store_cells_512(&line[at..at + 16], v))
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        proven!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        proven!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        proven!(_mm512_sqrt_ps(a))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        proven!(_mm512_abs_ps(a))
    }
    #[inline(always)]
    fn copysign(self, a: __m512, sign: __m512) -> __m512 {
        proven!({
            let bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_andnot_ps(bit, a), _mm512_and_ps(bit, sign))
        })
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        proven!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn mul_exp2(self, x: __m512, n: __m512) -> __m512 {
        proven!({
            let n = _mm512_slli_epi32::<23>(_mm512_cvtps_epi32(n));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x), n))
        })
    }
    #[inline(always)]
    fn last_as_exponent(self, x: __m512) -> __m512 {
        proven!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(x))))
    }
    #[inline(always)]
    fn select_lt(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        proven!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes))
    }
    #[inline(always)]
    fn lookup(self, table: &[f32; 32], at: __m512) -> __m512 {
        let (low, high) = (self.load(&table[..16]), self.load(&table[16..]));
        proven!(_mm512_permutex2var_ps(low, _mm512_castps_si512(at), high))
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        proven!({
            let half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            sum_256(half)
        })
    }
    #[inline(always)]
    fn max_lane(self, a: __m512) -> f32 {
        proven!(_mm512_reduce_max_ps(a))
    }
}

/// bf16 is the upper half of f32.
///
/// # Safety
/// AVX-512 must be present.
#[inline(always)]
unsafe fn widen_512(x: __m256i) -> __m512 {
    // SAFETY: the caller proves AVX-512.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))) }
}

/// Rounds to the nearest bf16, halves to even; what is not a number stays none.
///
/// # Safety
/// AVX-512 must be present.
#[inline(always)]
unsafe fn narrow_512(v: __m512) -> __m256i {
    // SAFETY: the caller proves AVX-512.
    unsafe {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x40_0000));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(rounded, nan, quiet)))
    }
}

/// As [`widen_512`].
///
/// # Safety
/// AVX2 must be present.
#[inline(always)]
unsafe fn widen_256(x: __m128i) -> __m256 {
    // SAFETY: the caller proves AVX2.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(x))) }
}

/// As [`narrow_512`].
///
/// # Safety
/// AVX2 must be present.
#[inline(always)]
unsafe fn narrow_256(v: __m256) -> __m128i {
    // SAFETY: the caller proves AVX2.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let halves = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
        // Each half of the register packs its own four numbers, twice.
        let packed = _mm256_packus_epi32(halves, halves);
        _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(packed))
    }
}

/// The mask of the first `n` of 16 lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

/// Transposes a square of eight by eight numbers, rows `to_ld` and `from_ld` apart.
///
/// # Safety
/// AVX2 must be present.
#[inline(always)]
unsafe fn transpose_8x8(to: &mut [f32], to_ld: usize, from: &[f32], from_ld: usize) {
    assert!(to.len() >= 7 * to_ld + 8 && from.len() >= 7 * from_ld + 8);
    let (to, from) = (to.as_mut_ptr(), from.as_ptr());
    // SAFETY: the caller proves AVX2, and the assertion that all numbers lie within the slices.
    unsafe {
        // Halves of rows `j` and `j + 4` side by side, so that what follows stays within the halves of registers.
        let mut x = [_mm256_setzero_ps(); 8];
        for j in 0..4 {
            for half in 0..2 {
                let low = _mm_loadu_ps(from.add(j * from_ld + 4 * half));
                let high = _mm_loadu_ps(from.add((j + 4) * from_ld + 4 * half));
                x[4 * half + j] = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high);
            }
        }
        for half in 0..2 {
            let x = &x[4 * half..4 * half + 4];
            let (a, b) = (_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
            let (c, d) = (_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
            let to = to.add(4 * half * to_ld);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(a, c));
            _mm256_storeu_ps(to.add(to_ld), _mm256_shuffle_ps::<0b11_10_11_10>(a, c));
            _mm256_storeu_ps(to.add(2 * to_ld), _mm256_shuffle_ps::<0b01_00_01_00>(b, d));
            _mm256_storeu_ps(to.add(3 * to_ld), _mm256_shuffle_ps::<0b11_10_11_10>(b, d));
        }
    }
}

/// # Safety
/// AVX2 must be present.
#[inline(always)]
unsafe fn sum_256(a: __m256) -> f32 {
    // SAFETY: the caller proves AVX2.
    unsafe {
        let q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
        let d = _mm_add_ps(q, _mm_movehl_ps(q, q));
        _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
    }
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    const MR: usize = 6;
    const NV: usize = 2;

    #[inline(always)]
    fn tile(self, a: Left<'_>, b: &[f32], acc: &mut [f32], ld: usize, start: bool) {
        tile::<Self, 6, 2>(self, a, b, acc, ld, start);
    }
    #[inline(always)]
    fn transpose_8x8(self, to: &mut [f32], to_ld: usize, from: &[f32], from_ld: usize) {
        proven!(transpose_8x8(to, to_ld, from, from_ld))
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        proven!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> __m256 {
        let x = &x[..8];
        proven!(_mm256_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, y: &mut [f32], v: __m256) {
        let y = &mut y[..8];
        proven!(_mm256_storeu_ps(y.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> __m256 {
        let mut v = [0.0; 8];
        v[..x.len()].copy_from_slice(x);
        self.load(&v)
    }
    #[inline(always)]
    fn store_part(self, y: &mut [f32], v: __m256) {
        let mut all = [0.0; 8];
        self.store(&mut all, v);
        y.copy_from_slice(&all[..y.len()]);
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> __m256 {
        let x = &x[..8];
        proven!(widen_256(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_bf16(self, y: &mut [bf16], v: __m256) {
        let y = &mut y[..8];
        proven!(_mm_storeu_si128(y.as_mut_ptr().cast(), narrow_256(v)))
    }
    #[inline(always)]
    fn load_part_bf16(self, x: &[bf16]) -> __m256 {
        let mut v = [bf16::ZERO; 8];
        v[..x.len()].copy_from_slice(x);
        self.load_bf16(&v)
    }
    #[inline(always)]
    fn store_part_bf16(self, y: &mut [bf16], v: __m256) {
        let mut all = [bf16::ZERO; 8];
        self.store_bf16(&mut all, v);
        y.copy_from_slice(&all[..y.len()]);
    }
    #[inline(always)]
    fn load_cells(self, line: &Line, at: usize) -> __m256 {
        proven!(load_cells_256(&line[at..at + 8]))
    }
    #[inline(always)]
    fn store_cells(self, line: &Line, at: usize, v: __m256) {
        proven!(store_cells_256(&line[at..at + 8], v))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        proven!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        proven!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        proven!(_mm256_sqrt_ps(a))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        proven!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn copysign(self, a: __m256, sign: __m256) -> __m256 {
        proven!({
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign))
        })
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        proven!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn mul_exp2(self, x: __m256, n: __m256) -> __m256 {
        proven!({
            let n = _mm256_slli_epi32::<23>(_mm256_cvtps_epi32(n));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), n))
        })
    }
    #[inline(always)]
    fn last_as_exponent(self, x: __m256) -> __m256 {
        proven!(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(x))))
    }
    #[inline(always)]
    fn select_lt(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        proven!(_mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)))
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        proven!(sum_256(a))
    }
    #[inline(always)]
    fn max_lane(self, a: __m256) -> f32 {
        proven!({
            let q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let d = _mm_max_ps(q, _mm_movehl_ps(q, q));
            _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)))
        })
    }
}

/// A relaxed atomic load of each of 16 numbers; see [`crate::words`] for why by hand.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_cells_512(cells: &[AtomicU32]) -> __m512 {
    assert!(cells.len() == 16);
    let v: __m512;
    // SAFETY: reads the numbers of the slice and nothing else; changes no flags and no stack.
    unsafe {
        asm!("vmovups {v}, zmmword ptr [{p}]", p = in(reg) cells.as_ptr(), v = out(zmm_reg) v,
            options(readonly, nostack, preserves_flags));
    }
    v
}

/// A relaxed atomic store of each of 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_cells_512(cells: &[AtomicU32], v: __m512) {
    assert!(cells.len() == 16);
    // SAFETY: writes the numbers of the slice, which are atomics and so may be written through a shared reference, and
    // nothing else; changes no flags and no stack.
    unsafe {
        asm!("vmovups zmmword ptr [{p}], {v}", p = in(reg) cells.as_ptr(), v = in(zmm_reg) v,
            options(nostack, preserves_flags));
    }
}

/// A relaxed atomic load of each of 8 numbers; see [`crate::words`] for why by hand.
#[inline]
#[target_feature(enable = "avx")]
fn load_cells_256(cells: &[AtomicU32]) -> __m256 {
    assert!(cells.len() == 8);
    let v: __m256;
    // SAFETY: reads the numbers of the slice and nothing else; changes no flags and no stack.
    unsafe {
        asm!("vmovups {v}, ymmword ptr [{p}]", p = in(reg) cells.as_ptr(), v = out(ymm_reg) v,
            options(readonly, nostack, preserves_flags));
    }
    v
}

/// A relaxed atomic store of each of 8 numbers.
#[inline]
#[target_feature(enable = "avx")]
fn store_cells_256(cells: &[AtomicU32], v: __m256) {
    assert!(cells.len() == 8);
    // SAFETY: writes the numbers of the slice, which are atomics and so may be written through a shared reference, and
    // nothing else; changes no flags and no stack.
    unsafe {
        asm!("vmovups ymmword ptr [{p}], {v}", p = in(reg) cells.as_ptr(), v = in(ymm_reg) v,
            options(nostack, preserves_flags));
    }
}
