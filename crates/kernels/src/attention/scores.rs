//! From products of queries and keys to masked scores: what forward and backward pass have in common.

use std::f32::consts::LOG2_E;

use super::{Attention, BK};
use crate::simd::{Simd, each, math};

/// What the padding mask adds to the scores of one sequence: 0 or -infinity a key.
pub(super) fn padding(a: &Attention<'_>, b: usize) -> Option<Vec<f32>> {
    let mask = &a.mask?[b * a.tk..(b + 1) * a.tk];
    mask.contains(&0).then(|| mask.iter().map(|&m| if m == 0 { f32::NEG_INFINITY } else { 0.0 }).collect())
}

impl Attention<'_> {
    /// Turns the products of query `i` of head `h` with keys `k0..k0 + x.len()` into scores, -infinity where the query
    /// does not see the key, and returns the positive factor that makes powers of two of them.
    #[inline(always)]
    pub(super) fn score<S: Simd>(
        &self,
        s: S,
        x: &mut [f32],
        h: usize,
        i: usize,
        k0: usize,
        padding: Option<&[f32]>,
    ) -> f32 {
        // A scale alone needs no pass of its own.
        let alone = self.bias.is_none() && self.softcap.is_none() && self.scale > 0.0;
        if !alone {
            let scale = s.splat(self.scale);
            each!(s, x, |x| s.mul(x, scale));
        }
        if let Some(bias) = self.bias {
            let at = (h * self.tq + i) * self.tk + k0;
            for (x, b) in x.iter_mut().zip(&bias[at..]) {
                *x += b;
            }
        }
        if let Some(cap) = self.softcap {
            let inverse = s.splat(1.0 / cap);
            each!(s, x, |x| s.mul(s.splat(cap), math::tanh(s, s.mul(x, inverse))));
        }
        if let Some(padding) = padding {
            for (x, p) in x.iter_mut().zip(&padding[k0..]) {
                *x += p;
            }
        }
        let (from, to) = self.row(i);
        let n = x.len();
        x[..from.saturating_sub(k0).min(n)].fill(f32::NEG_INFINITY);
        x[to.saturating_sub(k0).min(n)..].fill(f32::NEG_INFINITY);
        LOG2_E * if alone { self.scale } else { 1.0 }
    }

    /// The blocks of keys that cover `keys`: start and length.
    pub(super) fn key_blocks(keys: std::ops::Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        // On a grid of their own, so that a query's blocks do not depend on its neighbours.
        let first = keys.start / BK * BK;
        (first..keys.end).step_by(BK).map(move |k0| (k0, BK.min(keys.end - k0)))
    }
}

/// `2^(factor · x - top)` in place of each `x`; returns their sum.
///
/// Where `top` is the product of `factor` and an `x`, that one becomes 1, however large it is: its product is rounded as `top` was.
#[inline(always)]
pub(super) fn exponentials<S: Simd>(s: S, x: &mut [f32], factor: f32, top: f32) -> f32 {
    let (factor, top) = (s.splat(factor), s.splat(top));
    let (mut sum, whole) = (s.zero(), x.len() / S::LANES * S::LANES);
    let (x, rest) = x.split_at_mut(whole);
    for x in x.chunks_exact_mut(S::LANES) {
        let y = math::exp2(s, s.sub(s.mul(s.load(x), factor), top));
        s.store(x, y);
        sum = s.add(sum, y);
    }
    if !rest.is_empty() {
        let y = math::exp2(s, s.sub(s.mul(s.load_part(rest), factor), top));
        s.store_part(rest, y);
        // Read again, with zeros behind the end.
        sum = s.add(sum, s.load_part(rest));
    }
    s.sum(sum)
}
