//! The optimizer's arithmetic.

use crate::{
    gemm::{Block, PackedForms},
    isa::Isa,
    out::Out,
    pool, profile,
    simd::{Simd, simd_fn},
};

/// One step of AdamW, [Loshchilov & Hutter 2017](https://arxiv.org/abs/1711.05101), as PyTorch computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled: `w -= lr · weight_decay · w`.
    pub weight_decay: f32,
    /// Number of this step, from 1 on.
    pub step: u64,
    /// Gradients are multiplied by this first (clipping).
    pub grad_scale: f32,
}

impl AdamW {
    /// What of a step is the same for all numbers.
    pub(crate) fn scalars(&self) -> Scalars {
        // The corrections in double precision: 1 - beta^step loses digits in single.
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correct1 = 1.0 - (self.beta1 as f64).powi(step);
        let correct2 = 1.0 - (self.beta2 as f64).powi(step);
        Scalars {
            b1: self.beta1,
            b2: self.beta2,
            a1: 1.0 - self.beta1,
            a2: 1.0 - self.beta2,
            eps: self.eps,
            decay: 1.0 - self.lr * self.weight_decay,
            scale: self.grad_scale,
            size: -(self.lr as f64 / correct1) as f32,
            root: (1.0 / correct2.sqrt()) as f32,
        }
    }
}

/// Updates `w` and the moments `m`, `v` from the gradient `g`.
pub fn adamw(isa: Isa, options: AdamW, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let _time = profile::scope(profile::Kind::Optimizer);
    let n = w.len();
    assert!(g.len() == n && m.len() == n && v.len() == n);
    let (chunk, scalars) = (4 * pool::SMALL, options.scalars());
    let (w, m, v) = (Out::new(w, 1), Out::new(m, 1), Out::new(v, 1));
    pool::for_each(n.div_ceil(chunk), |task| {
        let (start, len) = (task * chunk, chunk.min(n - task * chunk));
        // SAFETY: each part is one task's.
        let (w, m, v) = unsafe { (w.row(start, 0, len), m.row(start, 0, len), v.row(start, 0, len)) };
        adamw_part(isa, scalars, w, &g[start..start + len], m, v);
    });
}

/// [`adamw`] for a matrix `[rows, cols]` of which products of bf16 keep packed `forms`: these are written again while the weights
/// are in the cache.
pub fn adamw_packed(
    isa: Isa,
    options: AdamW,
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    [rows, cols]: [usize; 2],
    forms: PackedForms<'_>,
) {
    let _time = profile::scope(profile::Kind::Optimizer);
    let n = w.len();
    assert!(g.len() == n && m.len() == n && v.len() == n && rows * cols == n);
    let scalars = options.scalars();
    let (w, m, v) = (Out::new(w, cols), Out::new(m, 1), Out::new(v, 1));
    let forms = forms.of(isa, w, rows, cols);
    let group = 32 * cols;
    pool::for_each(rows.div_ceil(32), |task| {
        let (start, len) = (task * group, group.min(n - task * group));
        // SAFETY: each part is one task's.
        let (w, m, v) = unsafe { (w.row(32 * task, 0, len), m.row(start, 0, len), v.row(start, 0, len)) };
        adamw_part(isa, scalars, w, &g[start..start + len], m, v);
        for col in (0..cols).step_by(32) {
            let place = Block { row: 32 * task, col, rows: len / cols, cols: 32.min(cols - col) };
            // SAFETY: as above; the slices are not used any more.
            unsafe { forms.write(place) };
        }
        forms.end();
    });
}

/// [`adamw`] for a table of rows of `width` numbers, of which only those that `ids` names, in ascending order, have a gradient, each a row
/// of `g`; that of all others is zero.
///
/// # Panics
/// If a row lies beyond the table or lengths do not fit.
#[allow(clippy::too_many_arguments)]
pub fn adamw_rows(
    isa: Isa,
    options: AdamW,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    width: usize,
    ids: &[usize],
    g: &[f32],
) {
    let _time = profile::scope(profile::Kind::Optimizer);
    let n = w.len();
    if n == 0 {
        return;
    }
    assert!(m.len() == n && v.len() == n && n.is_multiple_of(width) && g.len() == ids.len() * width);
    assert!(
        ids.is_sorted_by(|a, b| a < b) && ids.last().is_none_or(|&id| id < n / width),
        "rows of the table, each once"
    );
    let (rows, scalars) = (n / width, options.scalars());
    let group = (4 * pool::SMALL / width).max(1);
    let none = vec![0.0; width];
    let (w, m, v) = (Out::new(w, width), Out::new(m, width), Out::new(v, width));
    pool::for_each(rows.div_ceil(group), |task| {
        let all = task * group..rows.min((task + 1) * group);
        let mut next = ids.partition_point(|&id| id < all.start);
        for row in all {
            let mut grad = &none[..];
            if ids.get(next) == Some(&row) {
                grad = &g[next * width..(next + 1) * width];
                next += 1;
            }
            // SAFETY: each row is one task's.
            let (w, m, v) = unsafe { (w.row(row, 0, width), m.row(row, 0, width), v.row(row, 0, width)) };
            adamw_part(isa, scalars, w, grad, m, v);
        }
    });
}

simd_fn! {
    fn adamw_part(s, scalars: Scalars, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let c = scalars.vectors(s);
        let mut i = 0;
        while i + S::LANES <= w.len() {
            let old = [s.load(&w[i..]), s.load(&g[i..]), s.load(&m[i..]), s.load(&v[i..])];
            let new = c.step(s, old);
            s.store(&mut w[i..], new[0]);
            s.store(&mut m[i..], new[1]);
            s.store(&mut v[i..], new[2]);
            i += S::LANES;
        }
        if i < w.len() {
            let old = [s.load_part(&w[i..]), s.load_part(&g[i..]), s.load_part(&m[i..]), s.load_part(&v[i..])];
            let new = c.step(s, old);
            s.store_part(&mut w[i..], new[0]);
            s.store_part(&mut m[i..], new[1]);
            s.store_part(&mut v[i..], new[2]);
        }
    }
}

/// What a step needs beside weights, gradients and moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scalars {
    b1: f32,
    b2: f32,
    a1: f32,
    a2: f32,
    eps: f32,
    decay: f32,
    scale: f32,
    size: f32,
    root: f32,
}

impl Scalars {
    /// As vectors.
    #[inline(always)]
    pub(crate) fn vectors<S: Simd>(self, s: S) -> Constants<S::V> {
        Constants {
            b1: s.splat(self.b1),
            b2: s.splat(self.b2),
            a1: s.splat(self.a1),
            a2: s.splat(self.a2),
            eps: s.splat(self.eps),
            decay: s.splat(self.decay),
            scale: s.splat(self.scale),
            size: s.splat(self.size),
            root: s.splat(self.root),
        }
    }
}

/// [`Scalars`] as vectors.
#[derive(Clone, Copy)]
pub(crate) struct Constants<V> {
    b1: V,
    b2: V,
    a1: V,
    a2: V,
    eps: V,
    decay: V,
    scale: V,
    size: V,
    root: V,
}

impl<V: Copy> Constants<V> {
    /// New weights and moments from `[w, g, m, v]`.
    #[inline(always)]
    pub(crate) fn step<S: Simd<V = V>>(self, s: S, [w, g, m, v]: [V; 4]) -> [V; 3] {
        let g = s.mul(g, self.scale);
        let m = s.fma(self.a1, g, s.mul(self.b1, m));
        let v = s.fma(s.mul(self.a2, g), g, s.mul(self.b2, v));
        let d = s.fma(s.sqrt(v), self.root, self.eps);
        [s.fma(self.size, s.div(m, d), s.mul(w, self.decay)), m, v]
    }
}

/// `Σ x²` in double precision, as a fixed tree over parts.
pub fn sum_squares(isa: Isa, x: &[f32]) -> f64 {
    let chunk = pool::SMALL;
    pool::sum(x.len().div_ceil(chunk), |i| {
        let part = &x[i * chunk..((i + 1) * chunk).min(x.len())];
        // Short runs in single precision, their sum in double.
        part.chunks(1024).map(|run| squares(isa, run) as f64).sum()
    })
}

simd_fn! {
    fn squares(s, x: &[f32]) -> f32 {
        crate::simd::dot(s, x, x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_match_the_formula() {
        let o = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 1, grad_scale: 0.5 };
        for isa in Isa::available() {
            for n in [1, 15, 16, 37] {
                let start: Vec<f32> = (0..n).map(|i| i as f32 / 7.0 - 2.0).collect();
                let (mut w, mut m, mut v) = (start.clone(), vec![0.0; n], vec![0.0; n]);
                let (mut w64, mut m64, mut v64): (Vec<f64>, _, _) =
                    (start.iter().map(|&x| x as f64).collect(), vec![0.0; n], vec![0.0; n]);
                for step in 1..=5 {
                    let g: Vec<f32> = (0..n).map(|i| ((i * 7 + step * 3) % 11) as f32 - 5.0).collect();
                    adamw(isa, AdamW { step: step as u64, ..o }, &mut w, &g, &mut m, &mut v);
                    for i in 0..n {
                        let g = g[i] as f64 * 0.5;
                        m64[i] = 0.9 * m64[i] + 0.1 * g;
                        v64[i] = 0.95 * v64[i] + 0.05 * g * g;
                        let (c1, c2) = (1.0 - 0.9f64.powi(step as i32), 1.0 - 0.95f64.powi(step as i32));
                        w64[i] -= 1e-2 * 0.1 * w64[i];
                        w64[i] -= 1e-2 / c1 * m64[i] / ((v64[i] / c2).sqrt() + 1e-8);
                        assert!((w[i] as f64 - w64[i]).abs() < 1e-5, "{isa} {n} {i}: {} {}", w[i], w64[i]);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_without_a_gradient_take_a_step_of_zero() {
        let o = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 1.0 };
        let numbers = |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| (i * step % 97) as f32 / 48.0).collect() };
        for isa in Isa::available() {
            for (rows, width, ids) in [(1, 1, vec![0]), (5, 33, vec![]), (900, 100, vec![0, 7, 8, 655, 656, 899])] {
                let n = rows * width;
                let g = numbers(ids.len() * width, 41);
                let mut dense = vec![0.0; n];
                for (i, &id) in ids.iter().enumerate() {
                    dense[id * width..][..width].copy_from_slice(&g[i * width..][..width]);
                }
                let start = || [numbers(n, 37), numbers(n, 31), numbers(n, 29)];
                let ([mut w, mut m, mut v], [mut w1, mut m1, mut v1]) = (start(), start());
                adamw(isa, o, &mut w, &dense, &mut m, &mut v);
                adamw_rows(isa, o, &mut w1, &mut m1, &mut v1, width, &ids, &g);
                // Vectors begin at rows here and at any number there.
                assert!(w == w1 && m == m1 && v == v1, "{isa} {rows} {width}");
            }
        }
    }

    #[test]
    fn squares_sum() {
        for isa in Isa::available() {
            for n in [0, 1, 1000, 50_000] {
                let x: Vec<f32> = (0..n).map(|i| (i % 5) as f32).collect();
                let want: f64 = x.iter().map(|&x| (x * x) as f64).sum();
                assert_eq!(sum_squares(isa, &x), want);
            }
        }
    }
}
