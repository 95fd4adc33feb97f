//! Elementary functions of a vector: relative errors below 4e-7 (exp, exp2, sigmoid), absolute below 3e-7 (tanh, erf).
//!
//! What is not a number stays none: `max` and `min` give their second operand then, and so does every comparison here.

use super::Simd;

/// `e^x`; 0 below the smallest normal number's logarithm, infinity above the largest's.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r. ln 2 in two parts keeps r exact.
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let (low, high) = (s.splat(-87.3), s.splat(88.72));
    let clamped = s.min(high, s.max(low, x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HI), clamped);
    let r = s.fma(n, s.splat(-LN2_LO), r);
    // Taylor's series to r^7: the next term is below 1e-8 at |r| = 0.35.
    let p = polynomial(s, r, [1.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0]);
    // At the upper end n is 128 and p below 1, so that the result is finite.
    let y = s.mul_exp2(p, n);
    let y = s.select_lt(x, low, s.zero(), y);
    s.select_lt(high, x, s.splat(f32::INFINITY), y)
}

/// `2^x` for `x` up to 127, no number that means anything above; 0 below -126.5. Half the instructions of [`exp`], for the
/// probabilities of a softmax.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::V) -> S::V {
    // The sum has no bits for a fraction: its last ones are 127 plus the integer, which is the exponent of 2^integer. For
    // -127 that is 0, and so is the power.
    let shift = s.splat(12_582_912.0 + 127.0);
    let x = s.max(s.splat(-127.0), x);
    let shifted = s.add(x, shift);
    let rest = s.sub(x, s.sub(shifted, shift));
    // Fitted to the smallest relative error on [-1/2, 1/2] among those with the value and slope of 2^x at 0: 1e-7 in exact
    // arithmetic.
    const P: [f32; 6] = [1.0, std::f32::consts::LN_2, 0.240_222_83, 0.055_505_585, 0.009_669_691, 0.001_330_060_5];
    s.mul(polynomial(s, rest, P), s.last_as_exponent(shifted))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    // Fitted to the smallest relative error, 1e-9 in exact arithmetic.
    const P: [f32; 6] = [1.0, 0.136_808_32, 0.003_869_476_3, 2.803_066_5e-5, 3.064_095_4e-8, -1.224_508e-11];
    const Q: [f32; 5] = [1.0, 0.470_141_65, 0.027_250_042, 3.940_657_2e-4, 1.288_989_7e-6];
    odd_ratio(s, x, 9.0, P, Q)
}

/// The error function.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    // Fitted to the smallest relative error, 2e-9 in exact arithmetic.
    const P: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        0.185_143_53,
        0.054_249_51,
        0.003_839_526,
        3.769_594_8e-4,
        4.614_497e-6,
        -1.282_827_2e-8,
    ];
    const Q: [f32; 6] = [1.0, 0.497_412_6, 0.113_881_09, 0.015_432_566, 0.001_301_976, 6.244_861e-5];
    odd_ratio(s, x, 3.925, P, Q)
}

/// `x P(x²) / Q(x²)` up to `end` in magnitude, 1 with the sign of `x` beyond.
#[inline(always)]
fn odd_ratio<S: Simd, const N: usize, const M: usize>(s: S, x: S::V, end: f32, p: [f32; N], q: [f32; M]) -> S::V {
    let (a, end) = (s.abs(x), s.splat(end));
    let inside = s.min(end, a);
    let z = s.mul(inside, inside);
    let y = s.div(s.mul(inside, polynomial(s, z, p)), polynomial(s, z, q));
    s.copysign(s.select_lt(end, a, s.splat(1.0), y), x)
}

/// `c[0] + c[1] x + …`
#[inline(always)]
pub(crate) fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, c: [f32; N]) -> S::V {
    let mut y = s.splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = s.fma(y, x, s.splat(c[i]));
    }
    y
}

#[cfg(test)]
mod tests {
    use crate::{isa::Isa, simd::simd_fn};

    simd_fn! {
        fn apply(s, f: &str, y: &mut [f32], x: &[f32]) {
            for (y, x) in y.iter_mut().zip(x) {
                let v = s.splat(*x);
                let v = match f {
                    "exp" => super::exp(s, v),
                    "exp2" => super::exp2(s, v),
                    "tanh" => super::tanh(s, v),
                    "erf" => super::erf(s, v),
                    _ => super::sigmoid(s, v),
                };
                let mut lanes = [0.0; 16];
                s.store(&mut lanes, v);
                *y = lanes[0];
            }
        }
    }

    /// Largest errors over a grid: relative, or absolute where the value is small.
    #[track_caller]
    fn check(f: &str, range: f32, tolerance: f64, want: impl Fn(f64) -> f64) {
        let x: Vec<f32> = (-4000..=4000).map(|i| i as f32 / 4000.0 * range).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            apply(isa, f, &mut y, &x);
            for (&x, &y) in x.iter().zip(&y) {
                let w = want(x as f64);
                let scale = if ["exp", "exp2", "sigmoid"].contains(&f) { w.abs() } else { 1.0 };
                assert!((y as f64 - w).abs() <= tolerance * scale, "{isa} {f}({x}) = {y}, want {w}");
            }
        }
    }

    #[test]
    fn functions_match_double_precision() {
        check("exp", 87.0, 4e-7, f64::exp);
        check("exp2", 0.5, 2e-7, f64::exp2);
        check("exp2", 126.0, 2e-7, f64::exp2);
        check("sigmoid", 20.0, 5e-7, |x| 1.0 / (1.0 + (-x).exp()));
        check("tanh", 0.5, 2e-7, f64::tanh);
        check("tanh", 12.0, 3e-7, f64::tanh);
        check("erf", 0.5, 2e-7, erf64);
        check("erf", 3.0, 3e-7, erf64);
    }

    #[test]
    fn special_values() {
        for isa in Isa::available() {
            let x = [88.3, 88.5, 88.71, -87.2];
            let mut y = [0.0; 4];
            apply(isa, "exp", &mut y, &x);
            for (x, y) in x.iter().zip(y) {
                assert!((f64::from(y) / f64::from(*x).exp() - 1.0).abs() < 4e-7, "{isa} exp({x}) = {y}");
            }
            let x = [f32::NEG_INFINITY, -200.0, 0.0, 200.0, f32::INFINITY, f32::NAN];
            let mut y = [0.0; 6];
            for f in ["exp", "exp2", "tanh", "erf", "sigmoid"] {
                apply(isa, f, &mut y, &x);
                assert!(y[5].is_nan(), "{isa} {f}");
            }
            apply(isa, "exp", &mut y, &x);
            assert_eq!(y[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY], "{isa}");
            apply(isa, "tanh", &mut y, &x);
            assert_eq!(y[..5], [-1.0, -1.0, 0.0, 1.0, 1.0], "{isa}");
            apply(isa, "erf", &mut y, &x);
            assert_eq!(y[..5], [-1.0, -1.0, 0.0, 1.0, 1.0], "{isa}");
            // What a softmax rests on.
            let (x, mut y) = ([f32::NEG_INFINITY, -200.0, -126.6, 0.0, 1.0, 127.0], [0.5; 6]);
            apply(isa, "exp2", &mut y, &x);
            assert_eq!(y, [0.0, 0.0, 0.0, 1.0, 2.0, f32::exp2(127.0)], "{isa}");
        }
    }

    /// The error function by its series, in double precision.
    fn erf64(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }
}
