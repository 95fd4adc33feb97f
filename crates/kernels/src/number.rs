//! The two kinds of numbers that activations have: f32, and bf16 where products take it.

use bytemuck::Pod;
use half::bf16;

use crate::{
    isa::Isa,
    pool, profile,
    simd::{Simd, simd_fn},
};

/// f32 or bf16; kernels compute in f32 whatever they load and store.
#[allow(private_bounds)]
pub trait Number: Pod + Lanes {
    /// Whether it is bf16.
    const IS_BF16: bool;
}

impl Number for f32 {
    const IS_BF16: bool = false;
}

impl Number for bf16 {
    const IS_BF16: bool = true;
}

/// Loads and stores as vectors of f32.
pub(crate) trait Lanes: Copy + Send + Sync {
    fn load<S: Simd>(s: S, x: &[Self]) -> S::V;
    fn store<S: Simd>(s: S, y: &mut [Self], v: S::V);
    /// Two vectors, one after the other.
    fn store_two<S: Simd>(s: S, y: &mut [Self], v: S::V, w: S::V);
    /// The same past the caches, where `y` begins a line of memory; [`Simd::fence`] before others read it.
    fn stream_two<S: Simd>(s: S, y: &mut [Self], v: S::V, w: S::V);
    fn load_part<S: Simd>(s: S, x: &[Self]) -> S::V;
    fn store_part<S: Simd>(s: S, y: &mut [Self], v: S::V);

    fn from_f32(x: f32) -> Self;
    fn to_f32(self) -> f32;

    /// The vector at `i` of `x`, zeros beyond its end.
    #[inline(always)]
    fn at<S: Simd>(s: S, x: &[Self], i: usize) -> S::V {
        if i + S::LANES <= x.len() { Self::load(s, &x[i..]) } else { Self::load_part(s, &x[i..]) }
    }

    /// Stores a vector at `i` of `y`, as far as that goes.
    #[inline(always)]
    fn put<S: Simd>(s: S, y: &mut [Self], i: usize, v: S::V) {
        if i + S::LANES <= y.len() { Self::store(s, &mut y[i..], v) } else { Self::store_part(s, &mut y[i..], v) }
    }
}

impl Lanes for f32 {
    fn from_f32(x: f32) -> f32 {
        x
    }
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[f32]) -> S::V {
        s.load(x)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, y: &mut [f32], v: S::V) {
        s.store(y, v)
    }
    #[inline(always)]
    fn store_two<S: Simd>(s: S, y: &mut [f32], v: S::V, w: S::V) {
        s.store(y, v);
        s.store(&mut y[S::LANES..], w);
    }
    #[inline(always)]
    fn stream_two<S: Simd>(s: S, y: &mut [f32], v: S::V, w: S::V) {
        s.stream(y, v);
        s.stream(&mut y[S::LANES..], w);
    }
    #[inline(always)]
    fn load_part<S: Simd>(s: S, x: &[f32]) -> S::V {
        s.load_part(x)
    }
    #[inline(always)]
    fn store_part<S: Simd>(s: S, y: &mut [f32], v: S::V) {
        s.store_part(y, v)
    }
}

impl Lanes for bf16 {
    fn from_f32(x: f32) -> bf16 {
        bf16::from_f32(x)
    }
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, x: &[bf16]) -> S::V {
        s.load_bf16(x)
    }
    #[inline(always)]
    fn store<S: Simd>(s: S, y: &mut [bf16], v: S::V) {
        s.store_bf16(y, v)
    }
    #[inline(always)]
    fn store_two<S: Simd>(s: S, y: &mut [bf16], v: S::V, w: S::V) {
        s.store_two_bf16(y, v, w)
    }
    #[inline(always)]
    fn stream_two<S: Simd>(s: S, y: &mut [bf16], v: S::V, w: S::V) {
        s.stream_two_bf16(y, v, w)
    }
    #[inline(always)]
    fn load_part<S: Simd>(s: S, x: &[bf16]) -> S::V {
        s.load_part_bf16(x)
    }
    #[inline(always)]
    fn store_part<S: Simd>(s: S, y: &mut [bf16], v: S::V) {
        s.store_part_bf16(y, v)
    }
}

/// `y = x` in another kind of numbers; to bf16 rounded to the nearest, halves to even.
///
/// # Panics
/// If the lengths differ.
pub fn convert<T: Number, U: Number>(isa: Isa, y: &mut [U], x: &[T]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), x.len());
    pool::for_chunks(y, pool::SMALL, |i, part| {
        let start = i * pool::SMALL;
        convert_part(isa, part, &x[start..start + part.len()]);
    });
}

simd_fn! {
    pub(crate) fn convert_part<[T: Number, U: Number]>(s, y: &mut [U], x: &[T]) {
        let mut i = 0;
        while i < y.len() {
            U::put(s, y, i, T::at(s, x, i));
            i += S::LANES;
        }
    }
}

/// [`convert`] inside a kernel: as many numbers as `y` has.
#[inline(always)]
pub(crate) fn convert_row<S: Simd, T: Lanes, U: Lanes>(s: S, y: &mut [U], x: &[T]) {
    let x = &x[..y.len()];
    let mut i = 0;
    while i < y.len() {
        U::put(s, y, i, T::at(s, x, i));
        i += S::LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_the_half_crate_does() {
        let mut x: Vec<f32> = (0..1000).map(|i| f32::from_bits(0x3f80_0000 + i * 0x333)).collect();
        x.extend([0.0, -0.0, 1e-40, -3e-39, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN]);
        x.extend((0..64).map(|i| f32::from_bits(0x4049_7ff0 + i)));
        x.push(f32::from_bits(0x7f80_0001));
        for isa in Isa::available() {
            for n in [x.len(), 7, 1, 0] {
                let x = &x[x.len() - n..];
                let mut y = vec![bf16::ZERO; n];
                convert(isa, &mut y, x);
                let mut back = vec![0.0f32; n];
                convert(isa, &mut back, &y);
                for ((&x, &y), &back) in x.iter().zip(&y).zip(&back) {
                    let want = bf16::from_f32(x);
                    assert!(y == want || y.is_nan() && want.is_nan(), "{isa}: {x} to {y}, want {want}");
                    assert!(back == y.to_f32() || back.is_nan() && y.is_nan(), "{isa}: {y} to {back}");
                }
            }
        }
    }
}
