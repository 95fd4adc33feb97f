//! One way to write a vector kernel for every instruction set.
//!
//! A kernel is written once over [`Simd`], the operations on a vector of `f32`; [`simd_fn!`] compiles it for AVX-512,
//! AVX2 and plain Rust, and picks by the caller's [`Isa`](crate::isa::Isa). Sums go over lanes, so results differ between
//! instruction sets in the last bits, and never within one.

#[cfg(target_arch = "x86_64")]
mod avx512bf16;
pub(crate) mod math;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::bf16;
pub(crate) use portable::Portable;

use crate::{gemm::Left, number::Lanes, words::Line};

/// Operations on one vector register of `f32`. Implemented by tokens that prove the instructions.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`Self::LANES`] numbers.
    type V: Copy;
    /// Numbers a vector.
    const LANES: usize;
    /// The register tile of a matrix product: `MR` rows of `NV` vectors, as many accumulators as the registers hold
    /// beside the operands.
    const MR: usize;
    /// Vectors in a row of the register tile.
    const NV: usize;
    /// [`tile`](crate::gemm::tile) at that size.
    fn tile(self, a: Left<'_>, b: &[f32], acc: &mut [f32], ld: usize, start: bool);

    /// `to[p * to_ld + j] = from[j * from_ld + p]` for `p` and `j` up to 8.
    fn transpose_8x8(self, to: &mut [f32], to_ld: usize, from: &[f32], from_ld: usize) {
        for p in 0..8 {
            for j in 0..8 {
                to[p * to_ld + j] = from[j * from_ld + p];
            }
        }
    }

    fn splat(self, x: f32) -> Self::V;
    /// The first [`Self::LANES`] numbers of `x`.
    fn load(self, x: &[f32]) -> Self::V;
    fn store(self, y: &mut [f32], v: Self::V);
    /// The first `x.len()` lanes from `x`, zeros behind them; `x` is shorter than a vector.
    fn load_part(self, x: &[f32]) -> Self::V;
    /// The first `y.len()` lanes; `y` is shorter than a vector.
    fn store_part(self, y: &mut [f32], v: Self::V);

    /// The first [`Self::LANES`] numbers of `x`.
    fn load_bf16(self, x: &[bf16]) -> Self::V;
    /// Rounds to the nearest, halves to even.
    fn store_bf16(self, y: &mut [bf16], v: Self::V);
    /// Two vectors, one after the other.
    #[inline(always)]
    fn store_two_bf16(self, y: &mut [bf16], v: Self::V, w: Self::V) {
        self.store_bf16(y, v);
        self.store_bf16(&mut y[Self::LANES..], w);
    }
    /// The lanes of `v` and `w` in turn.
    #[inline(always)]
    fn store_pairs_bf16(self, y: &mut [bf16], v: Self::V, w: Self::V) {
        let (mut a, mut b) = ([bf16::ZERO; 16], [bf16::ZERO; 16]);
        self.store_bf16(&mut a, v);
        self.store_bf16(&mut b, w);
        for (i, y) in y[..2 * Self::LANES].iter_mut().enumerate() {
            *y = if i % 2 == 0 { a[i / 2] } else { b[i / 2] };
        }
    }
    /// [`Self::store`] past the caches, where `y` begins a line of memory and a vector fills it.
    #[inline(always)]
    fn stream(self, y: &mut [f32], v: Self::V) {
        self.store(y, v);
    }
    /// [`Self::store_two_bf16`] past the caches, where `y` begins a line of memory and two vectors fill it.
    #[inline(always)]
    fn stream_two_bf16(self, y: &mut [bf16], v: Self::V, w: Self::V) {
        self.store_two_bf16(y, v, w)
    }
    /// As [`Self::load_part`].
    fn load_part_bf16(self, x: &[bf16]) -> Self::V;
    /// As [`Self::store_part`].
    fn store_part_bf16(self, y: &mut [bf16], v: Self::V);

    /// The [`Self::LANES`] numbers of `line` from `at` on, a multiple of that: of each, a relaxed atomic load.
    fn load_cells(self, line: &Line, at: usize) -> Self::V;
    /// Of each, a relaxed atomic store.
    fn store_cells(self, line: &Line, at: usize, v: Self::V);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instructions have it.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `b` where either is not a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// As [`Self::max`].
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// The sign of `sign` on the magnitude of `a`.
    fn copysign(self, a: Self::V, sign: Self::V) -> Self::V;
    /// To the nearest integer, halves to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `x · 2^n` for integers `n`, given as f32, where `x` and the result are normal numbers; what is not a number stays none if
    /// both are none.
    fn mul_exp2(self, x: Self::V, n: Self::V) -> Self::V;
    /// The number whose sign and exponent are the last nine bits of `x`, with nothing behind them.
    fn last_as_exponent(self, x: Self::V) -> Self::V;
    /// Lane by lane: `a < b ? yes : no`.
    fn select_lt(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// The sum of the lanes, in a fixed order.
    fn sum(self, a: Self::V) -> f32;
    /// Numbers of `table`, at the places that the last five bits of each lane's are.
    #[inline(always)]
    fn lookup(self, table: &[f32; 32], at: Self::V) -> Self::V {
        let mut lanes = [0.0f32; 16];
        self.store(&mut lanes, at);
        self.load(&lanes.map(|at| table[at.to_bits() as usize % 32]))
    }
    /// The largest lane.
    fn max_lane(self, a: Self::V) -> f32;

    /// Ends what went past the caches.
    #[inline(always)]
    fn fence(self) {}

    /// Says that the line of memory at `x`, which need not be there, will be wanted.
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}

    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
}

/// Defines `fn name(isa, args…)` from a body over a [`Simd`] token, compiled once for each instruction set.
///
/// `fn name<[T: Number]>(…)` is generic over `T` as well.
macro_rules! simd_fn {
    (
        $(#[$meta:meta])* $vis:vis fn $name:ident $(<[$($g:ident: $bound:path),+]>)? (
            $s:ident $(, $arg:ident: $ty:ty)* $(,)?
        ) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(unused_mut)]
        $vis fn $name $(<$($g: $bound),+>)? (isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<S: $crate::simd::Simd $(, $($g: $bound),+)?>($s: S, $($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                fn avx512 $(<$($g: $bound),+>)? (s: $crate::isa::Avx512, $($arg: $ty),*) $(-> $ret)? {
                    body(s, $($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2 $(<$($g: $bound),+>)? (s: $crate::isa::Avx2, $($arg: $ty),*) $(-> $ret)? {
                    body(s, $($arg),*)
                }
                if let Some(s) = isa.avx512() {
                    // SAFETY: the token proves that the features are present.
                    return unsafe { avx512(s, $($arg),*) };
                }
                if let Some(s) = isa.avx2() {
                    // SAFETY: the token proves that the features are present.
                    return unsafe { avx2(s, $($arg),*) };
                }
            }
            let _ = isa;
            body($crate::simd::Portable, $($arg),*)
        }
    };
}
pub(crate) use simd_fn;

/// Defines `fn name(half, args…)` as [`simd_fn!`] does, for AVX512-BF16 alone, which the token `half` proves: the kernels around
/// products of bf16.
#[cfg(target_arch = "x86_64")]
macro_rules! half_fn {
    (
        $(#[$meta:meta])* $vis:vis fn $name:ident $(<[$($g:ident: $bound:path),+]>)? (
            $s:ident $(, $arg:ident: $ty:ty)* $(,)?
        ) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(unused_mut)]
        $vis fn $name $(<$($g: $bound),+>)? (half: $crate::isa::Avx512Bf16, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body<S: $crate::simd::Simd $(, $($g: $bound),+)?>($s: S, $($arg: $ty),*) $(-> $ret)? $body

            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
            fn avx512bf16 $(<$($g: $bound),+>)? (s: $crate::isa::Avx512Bf16, $($arg: $ty),*) $(-> $ret)? {
                body(s, $($arg),*)
            }
            // SAFETY: the token proves that the features are present.
            unsafe { avx512bf16(half, $($arg),*) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use half_fn;

/// Defines `fn name(isa, args…)` as [`simd_fn!`] does, and for AVX512-BF16 as well, which rounds by one instruction where others take ten:
/// for results of bf16 within a pass, where numbers too small to be normal may be zeros.
macro_rules! rounding_fn {
    (
        $(#[$meta:meta])* $vis:vis fn $name:ident $(<[$($g:ident: $bound:path),+]>)? (
            $s:ident $(, $arg:ident: $ty:ty)* $(,)?
        ) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$($g: $bound),+>)? (isa: $crate::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            if let Some(half) = isa.avx512_bf16() {
                $crate::simd::half_fn! {
                    fn rounding $(<[$($g: $bound),+]>)? ($s $(, $arg: $ty)*) $(-> $ret)? $body
                }
                return rounding(half, $($arg),*);
            }
            $crate::simd::simd_fn! {
                fn other $(<[$($g: $bound),+]>)? ($s $(, $arg: $ty)*) $(-> $ret)? $body
            }
            other(isa, $($arg),*)
        }
    };
}
pub(crate) use rounding_fn;

/// `each!(s, y, |v| f(v))`: `y[i] = f(y[i])` by vectors.
///
/// A macro and not a function that takes a closure: a closure is compiled without the instruction set of the function it
/// stands in, and every operation in it would become a call.
macro_rules! each {
    ($s:expr, $y:expr, |$v:ident| $f:expr) => {{
        let (s, y): (S, &mut [f32]) = ($s, $y);
        let mut i = 0;
        while i + S::LANES <= y.len() {
            let $v = s.load(&y[i..]);
            let r = $f;
            s.store(&mut y[i..], r);
            i += S::LANES;
        }
        if i < y.len() {
            let $v = s.load_part(&y[i..]);
            let r = $f;
            s.store_part(&mut y[i..], r);
        }
    }};
}
pub(crate) use each;

/// `each2!(s, y, x, |v, w| f(v, w))`: `y[i] = f(y[i], x[i])` by vectors; see [`each`].
macro_rules! each2 {
    ($s:expr, $y:expr, $x:expr, |$v:ident, $w:ident| $f:expr) => {{
        let (s, y, x): (S, &mut [f32], &[f32]) = ($s, $y, $x);
        let n = y.len().min(x.len());
        let (y, x) = (&mut y[..n], &x[..n]);
        let mut i = 0;
        while i + S::LANES <= n {
            let ($v, $w) = (s.load(&y[i..]), s.load(&x[i..]));
            let r = $f;
            s.store(&mut y[i..], r);
            i += S::LANES;
        }
        if i < n {
            let ($v, $w) = (s.load_part(&y[i..]), s.load_part(&x[i..]));
            let r = $f;
            s.store_part(&mut y[i..], r);
        }
    }};
}
pub(crate) use each2;

/// The sum of `x`, over lanes and then across them.
#[inline(always)]
pub(crate) fn sum<S: Simd, T: Lanes>(s: S, x: &[T]) -> f32 {
    let (mut acc, mut i) = (s.zero(), 0);
    while i + S::LANES <= x.len() {
        acc = s.add(acc, T::load(s, &x[i..]));
        i += S::LANES;
    }
    if i < x.len() {
        acc = s.add(acc, T::load_part(s, &x[i..]));
    }
    s.sum(acc)
}

/// The sum of `a[i] * b[i]`.
#[inline(always)]
pub(crate) fn dot<S: Simd, T: Lanes, U: Lanes>(s: S, a: &[T], b: &[U]) -> f32 {
    let (mut acc, n) = (s.zero(), a.len().min(b.len()));
    let (a, b) = (&a[..n], &b[..n]);
    let mut i = 0;
    while i + S::LANES <= n {
        acc = s.fma(T::load(s, &a[i..]), U::load(s, &b[i..]), acc);
        i += S::LANES;
    }
    if i < n {
        acc = s.fma(T::load_part(s, &a[i..]), U::load_part(s, &b[i..]), acc);
    }
    s.sum(acc)
}
