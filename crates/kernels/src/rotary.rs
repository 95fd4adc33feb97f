//! Rotary position embeddings, [Su et al. 2021](https://arxiv.org/abs/2104.09864).

use crate::{
    isa::Isa,
    norm::Rows,
    number::Number,
    out::Out,
    pool, profile,
    simd::{Simd, simd_fn},
};

/// Cosines and sines by position: `[positions, half]` each.
#[derive(Clone, Copy, Debug)]
pub struct Angles<'a> {
    /// `cos(position · frequency)`, times the attention factor where the scaling has one.
    pub cos: &'a [f32],
    /// The sines, likewise.
    pub sin: &'a [f32],
    /// Frequencies: half of the rotated width.
    pub half: usize,
}

/// Rotates the first `2 half` numbers of each row in place: number `i` with number `i + half`.
///
/// Group `g` of `rows` (a token) stands at position `positions[g]`. `inverse` rotates backwards, which is the gradient.
///
/// # Panics
/// If a position has no angles.
pub fn rotate<T: Number>(isa: Isa, x: &mut [T], rows: Rows, angles: Angles<'_>, positions: &[i32], inverse: bool) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let Angles { cos, sin, half } = angles;
    assert!(2 * half <= rows.width && positions.len() >= rows.outer);
    assert!(rows.inner * rows.width + rows.first <= rows.ld && x.len() >= rows.outer.saturating_sub(1) * rows.ld);
    let out = Out::new(x, rows.ld);
    let tokens = (pool::SMALL / (rows.inner * rows.width).max(1)).max(1);
    pool::for_each(rows.outer.div_ceil(tokens), |task| {
        for t in task * tokens..((task + 1) * tokens).min(rows.outer) {
            let p = positions[t] as usize * half;
            let (cos, sin) = (&cos[p..p + half], &sin[p..p + half]);
            // SAFETY: each token is one task's.
            let heads = unsafe { out.row(t, rows.first, rows.inner * rows.width) };
            rotate_token(isa, heads, rows.width, cos, sin, if inverse { -1.0 } else { 1.0 });
        }
    });
}

simd_fn! {
    fn rotate_token<[T: Number]>(s, heads: &mut [T], width: usize, cos: &[f32], sin: &[f32], sign: f32) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(width) {
            let (x, y) = head[..2 * half].split_at_mut(half);
            let mut i = 0;
            while i + S::LANES <= half {
                let n = s.mul(s.load(&sin[i..]), s.splat(sign));
                let (a, b) = turn(s, T::load(s, &x[i..]), T::load(s, &y[i..]), s.load(&cos[i..]), n);
                T::store(s, &mut x[i..], a);
                T::store(s, &mut y[i..], b);
                i += S::LANES;
            }
            if i < half {
                let n = s.mul(s.load_part(&sin[i..]), s.splat(sign));
                let (a, b) = turn(s, T::load_part(s, &x[i..]), T::load_part(s, &y[i..]), s.load_part(&cos[i..]), n);
                T::store_part(s, &mut x[i..], a);
                T::store_part(s, &mut y[i..], b);
            }
        }
    }
}

/// The point `(x, y)` turned by the angle of cosine `c` and sine `n`.
#[inline(always)]
fn turn<S: Simd>(s: S, x: S::V, y: S::V, c: S::V, n: S::V) -> (S::V, S::V) {
    (s.sub(s.mul(x, c), s.mul(y, n)), s.fma(x, n, s.mul(y, c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tokens: usize, heads: usize, width: usize, half: usize) {
        let rows = Rows { outer: tokens, ld: heads * width + 3, first: 2, inner: heads, width };
        let angle = |p: usize, i: usize| p as f64 * 0.3 / (i + 1) as f64;
        let table = |f: fn(f64) -> f64| -> Vec<f32> {
            (0..tokens * half).map(|j| f(angle(j / half, j % half)) as f32).collect()
        };
        let (cos, sin) = (table(f64::cos), table(f64::sin));
        let angles = Angles { cos: &cos, sin: &sin, half };
        let positions: Vec<i32> = (0..tokens as i32).rev().collect();
        let x: Vec<f32> = (0..tokens * rows.ld).map(|i| (i % 19) as f32 - 9.0).collect();
        for isa in Isa::available() {
            let mut y = x.clone();
            rotate(isa, &mut y, rows, angles, &positions, false);
            for (t, &p) in positions.iter().enumerate() {
                for h in 0..heads {
                    let at = t * rows.ld + rows.first + h * width;
                    for i in 0..half {
                        let (a, b, w) = (x[at + i] as f64, x[at + half + i] as f64, angle(p as usize, i));
                        assert!((y[at + i] as f64 - (a * w.cos() - b * w.sin())).abs() < 1e-5);
                        assert!((y[at + half + i] as f64 - (b * w.cos() + a * w.sin())).abs() < 1e-5);
                    }
                    assert_eq!(y[at + 2 * half..at + width], x[at + 2 * half..at + width]);
                }
            }
            rotate(isa, &mut y, rows, angles, &positions, true);
            assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-5), "there and back");
        }
    }

    #[test]
    fn odd_widths_match_the_formula() {
        check(5, 2, 8, 4);
        check(3, 3, 70, 33);
        check(4, 1, 64, 16);
        check(2, 2, 2, 1);
    }
}
