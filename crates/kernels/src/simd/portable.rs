//! Plain Rust: vectors are arrays, which the compiler turns into what its target has.

use std::sync::atomic::Ordering::Relaxed;

use half::bf16;

use super::Simd;
use crate::{
    gemm::{Left, tile},
    words::Line,
};

/// Needs no proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

const N: usize = 8;
type V = [f32; N];

#[inline(always)]
fn map(a: V, f: impl Fn(f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i]))
}

#[inline(always)]
fn zip(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    type V = V;
    const LANES: usize = N;

    const MR: usize = 4;
    const NV: usize = 1;

    #[inline(always)]
    fn tile(self, a: Left<'_>, b: &[f32], acc: &mut [f32], ld: usize, start: bool) {
        tile::<Self, 4, 1>(self, a, b, acc, ld, start);
    }
    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; N]
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> V {
        let x = &x[..N];
        std::array::from_fn(|i| x[i])
    }
    #[inline(always)]
    fn store(self, y: &mut [f32], v: V) {
        y[..N].copy_from_slice(&v);
    }
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> V {
        let mut v = [0.0; N];
        v[..x.len()].copy_from_slice(x);
        v
    }
    #[inline(always)]
    fn store_part(self, y: &mut [f32], v: V) {
        y.copy_from_slice(&v[..y.len()]);
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> V {
        let x = &x[..N];
        std::array::from_fn(|i| x[i].to_f32())
    }
    #[inline(always)]
    fn store_bf16(self, y: &mut [bf16], v: V) {
        self.store_part_bf16(&mut y[..N], v);
    }
    #[inline(always)]
    fn load_part_bf16(self, x: &[bf16]) -> V {
        std::array::from_fn(|i| x.get(i).map_or(0.0, |x| x.to_f32()))
    }
    #[inline(always)]
    fn store_part_bf16(self, y: &mut [bf16], v: V) {
        for (y, v) in y.iter_mut().zip(v) {
            *y = bf16::from_f32(v);
        }
    }
    #[inline(always)]
    fn load_cells(self, line: &Line, at: usize) -> V {
        let cells = &line[at..at + N];
        std::array::from_fn(|i| f32::from_bits(cells[i].load(Relaxed)))
    }
    #[inline(always)]
    fn store_cells(self, line: &Line, at: usize, v: V) {
        for (cell, v) in line[at..at + N].iter().zip(v) {
            cell.store(v.to_bits(), Relaxed);
        }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        zip(a, b, |a, b| a / b)
    }
    // Two roundings: a single one would be a call of the C library in each lane.
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    // As the x86 instructions do: the second operand where one is not a number.
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        map(a, f32::sqrt)
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        map(a, f32::abs)
    }
    #[inline(always)]
    fn copysign(self, a: V, sign: V) -> V {
        zip(a, sign, f32::copysign)
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        // Adding 1.5 * 2^23 leaves no bits for the fraction; exact for |a| < 2^22, beyond which exponents overflow anyway.
        const MAGIC: f32 = 12_582_912.0;
        map(a, |a| (a + MAGIC) - MAGIC)
    }
    #[inline(always)]
    fn mul_exp2(self, x: V, n: V) -> V {
        zip(x, n, |x, n| f32::from_bits(x.to_bits().wrapping_add(((n as i32) << 23) as u32)))
    }
    #[inline(always)]
    fn last_as_exponent(self, x: V) -> V {
        map(x, |x| f32::from_bits(x.to_bits() << 23))
    }
    #[inline(always)]
    fn select_lt(self, a: V, b: V, yes: V, no: V) -> V {
        std::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn sum(self, a: V) -> f32 {
        ((a[0] + a[4]) + (a[1] + a[5])) + ((a[2] + a[6]) + (a[3] + a[7]))
    }
    #[inline(always)]
    fn max_lane(self, a: V) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
}
