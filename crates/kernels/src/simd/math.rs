//! Elementary functions of a vector: relative errors below 4e-7 (exp, sigmoid), absolute below 3e-7 (tanh, erf).

use super::Simd;

/// `e^x`; 0 below the smallest normal number's logarithm, infinity above the largest's.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r. ln 2 in two parts keeps r exact.
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let clamped = s.min(s.max(x, s.splat(-87.3)), s.splat(88.7));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HI), clamped);
    let r = s.fma(n, s.splat(-LN2_LO), r);
    // Taylor's series to r^7: the next term is below 1e-8 at |r| = 0.35.
    let mut p = s.splat(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = s.fma(p, r, s.splat(c));
    }
    // 2^n in two factors: n may be 128.
    let half = s.round(s.mul(n, s.splat(0.5)));
    let y = s.mul(s.mul(p, s.exp2_int(half)), s.exp2_int(s.sub(n, half)));
    let y = s.select_lt(x, s.splat(-87.3), s.zero(), y);
    let y = s.select_lt(s.splat(88.7), x, s.splat(f32::INFINITY), y);
    // The clamp would hide what is not a number: adding x - x brings it back, and infinities were decided above.
    let finite = s.sub(x, x);
    s.select_lt(s.splat(88.7), s.abs(x), y, s.add(y, finite))
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
    let (one, a) = (s.splat(1.0), s.abs(x));
    // Far from zero by the exponential, where 1 - small loses nothing.
    let e = exp(s, s.add(a, a));
    let far = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));
    // Near zero by the series x - x^3/3 + 2x^5/15 - 17x^7/315 + 62x^9/2835, which keeps the relative precision.
    let x2 = s.mul(x, x);
    let mut p = s.splat(62.0 / 2835.0);
    for c in [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0] {
        p = s.fma(p, x2, s.splat(c));
    }
    let near = s.fma(s.mul(p, x2), a, a);
    s.copysign(s.select_lt(a, s.splat(0.3), near, far), x)
}

/// The error function.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, a) = (s.splat(1.0), s.abs(x));
    let x2 = s.mul(x, x);
    // Abramowitz & Stegun 7.1.26, absolute error below 1.5e-7.
    let t = s.div(one, s.fma(s.splat(0.327_591_1), a, one));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        p = s.fma(p, t, s.splat(c));
    }
    let far = s.sub(one, s.mul(s.mul(p, t), exp(s, s.sub(s.zero(), x2))));
    // Near zero by the series 2/sqrt(pi) (x - x^3/3 + x^5/10 - x^7/42 + x^9/216 - x^11/1320).
    let mut q = s.splat(-1.0 / 1320.0);
    for c in [1.0 / 216.0, -1.0 / 42.0, 0.1, -1.0 / 3.0, 1.0] {
        q = s.fma(q, x2, s.splat(c));
    }
    let near = s.mul(s.mul(q, a), s.splat(std::f32::consts::FRAC_2_SQRT_PI));
    s.copysign(s.select_lt(a, s.splat(0.5), near, far), x)
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
                    "tanh" => super::tanh(s, v),
                    "erf" => super::erf(s, v),
                    _ => super::sigmoid(s, v),
                };
                *y = s.max_lane(v);
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
                let scale = if f == "exp" || f == "sigmoid" { w.abs() } else { 1.0 };
                assert!((y as f64 - w).abs() <= tolerance * scale, "{isa} {f}({x}) = {y}, want {w}");
            }
        }
    }

    #[test]
    fn functions_match_double_precision() {
        check("exp", 87.0, 4e-7, f64::exp);
        check("sigmoid", 20.0, 5e-7, |x| 1.0 / (1.0 + (-x).exp()));
        check("tanh", 12.0, 2e-7, f64::tanh);
        check("erf", 3.0, 3e-7, erf64);
    }

    #[test]
    fn special_values() {
        for isa in Isa::available() {
            let x = [f32::NEG_INFINITY, -200.0, 0.0, 200.0, f32::INFINITY, f32::NAN];
            let mut y = [0.0; 6];
            apply(isa, "exp", &mut y, &x);
            assert_eq!(y[..5], [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY], "{isa}");
            apply(isa, "tanh", &mut y, &x);
            assert_eq!(y[..5], [-1.0, -1.0, 0.0, 1.0, 1.0], "{isa}");
            apply(isa, "erf", &mut y, &x);
            assert_eq!(y[..5], [-1.0, -1.0, 0.0, 1.0, 1.0], "{isa}");
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
