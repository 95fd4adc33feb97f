//! Normalisation of rows.

use crate::{
    isa::Isa,
    mem::Buf,
    number::{Lanes, Number},
    out::Out,
    pool, profile,
    simd::{Simd, rounding_fn},
};

/// Where rows of equal width lie in a slice: groups of `inner` adjacent rows, each group `ld` after the last, the first
/// one `first` numbers into it. The heads of a projection are such rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Groups.
    pub outer: usize,
    /// From group to group.
    pub ld: usize,
    /// Start of the rows within a group.
    pub first: usize,
    /// Rows a group.
    pub inner: usize,
    /// Numbers a row.
    pub width: usize,
}

impl Rows {
    /// Rows without gaps.
    pub fn dense(rows: usize, width: usize) -> Self {
        Rows { outer: rows, ld: width, first: 0, inner: 1, width }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }

    /// Where row `r` starts.
    #[inline(always)]
    fn start(&self, r: usize) -> usize {
        (r / self.inner) * self.ld + self.first + (r % self.inner) * self.width
    }

    /// Rows a task, by shape alone.
    fn chunk(&self) -> usize {
        (pool::SMALL / self.width.max(1)).clamp(1, 512)
    }

    fn check(&self, len: usize) {
        let end = if self.count() == 0 { 0 } else { self.start(self.count() - 1) + self.width };
        assert!(self.inner * self.width <= self.ld && len >= end, "rows {self:?} in {len} numbers");
    }

    fn tasks(&self) -> usize {
        self.count().div_ceil(self.chunk())
    }

    fn of_task(&self, task: usize) -> std::ops::Range<usize> {
        task * self.chunk()..((task + 1) * self.chunk()).min(self.count())
    }
}

/// What a normalisation does to each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Norm {
    /// `y = (x - mean(x)) / sqrt(var(x) + eps) * w + b`, [Ba et al. 2016](https://arxiv.org/abs/1607.06450).
    Layer {
        /// Added to the variance.
        eps: f32,
    },
    /// `y = x / sqrt(mean(x²) + eps) * (offset + w)`, [Zhang & Sennrich 2019](https://arxiv.org/abs/1910.07467).
    Rms {
        /// Added to the mean square.
        eps: f32,
        /// Added to each weight: 1 in Gemma, else 0.
        offset: f32,
    },
}

/// Normalises each of `rows`; `y` and `x` have the same layout, and only the rows of `y` are written.
///
/// `stats` receives mean and reciprocal deviation of each row, which the gradient needs. Without `w` the weights are
/// one, without `b` the biases zero. Accumulates in f32.
pub fn norm<T: Number, U: Number>(
    isa: Isa,
    norm: Norm,
    rows: Rows,
    y: &mut [U],
    x: &[T],
    w: Option<&[f32]>,
    b: Option<&[f32]>,
    stats: &mut [f32],
) {
    let _time = profile::scope(profile::Kind::Norm);
    rows.check(x.len());
    rows.check(y.len());
    assert!(stats.len() >= 2 * rows.count());
    assert!(w.is_none_or(|w| w.len() >= rows.width) && b.is_none_or(|b| b.len() >= rows.width));
    let (y, stats) = (Out::new(y, 1), Out::new(stats, 2));
    pool::for_each(rows.tasks(), |task| {
        for r in rows.of_task(task) {
            let start = rows.start(r);
            // SAFETY: each row, and its pair of numbers, is one task's.
            let (y, stats) = unsafe { (y.row(start, 0, rows.width), stats.row(r, 0, 2)) };
            row_forward(isa, norm, y, &x[start..start + rows.width], w, b, stats);
        }
    });
}

rounding_fn! {
    fn row_forward<[T: Number, U: Number]>(
        s, norm: Norm, y: &mut [U], x: &[T], w: Option<&[f32]>, b: Option<&[f32]>, stats: &mut [f32],
    ) {
        let n = x.len() as f32;
        let (mean, rstd, offset) = match norm {
            Norm::Layer { eps } => {
                let mean = sum(s, x) / n;
                (mean, 1.0 / (sum_squares_about(s, x, mean) / n + eps).sqrt(), 0.0)
            }
            Norm::Rms { eps, offset } => (0.0, 1.0 / (crate::simd::dot(s, x, x) / n + eps).sqrt(), offset),
        };
        stats.copy_from_slice(&[mean, rstd]);
        let (mean, rstd, offset) = (s.splat(mean), s.splat(rstd), s.splat(offset));
        let n = x.len();
        let mut i = 0;
        while i < n {
            let mut v = s.mul(s.sub(T::at(s, x, i), mean), rstd);
            if let Some(w) = w {
                v = s.mul(v, s.add(offset, f32::at(s, &w[..n], i)));
            }
            if let Some(b) = b {
                v = s.add(v, f32::at(s, &b[..n], i));
            }
            U::put(s, y, i, v);
            i += S::LANES;
        }
    }
}

/// Sums of vectors that are added beside each other: one alone would wait for itself.
const SUMS: usize = 4;

/// `Σ x`.
#[inline(always)]
fn sum<S: Simd, T: Number>(s: S, x: &[T]) -> f32 {
    let (mut acc, mut i) = ([s.zero(); SUMS], 0);
    while i + SUMS * S::LANES <= x.len() {
        for (k, acc) in acc.iter_mut().enumerate() {
            *acc = s.add(*acc, T::load(s, &x[i + k * S::LANES..]));
        }
        i += SUMS * S::LANES;
    }
    while i + S::LANES <= x.len() {
        acc[0] = s.add(acc[0], T::load(s, &x[i..]));
        i += S::LANES;
    }
    if i < x.len() {
        acc[1] = s.add(acc[1], T::load_part(s, &x[i..]));
    }
    s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
}

/// `Σ (x - mean)²`.
#[inline(always)]
fn sum_squares_about<S: Simd, T: Number>(s: S, x: &[T], mean: f32) -> f32 {
    let (m, mut acc, mut i) = (s.splat(mean), [s.zero(); SUMS], 0);
    while i + SUMS * S::LANES <= x.len() {
        for (k, acc) in acc.iter_mut().enumerate() {
            let d = s.sub(T::load(s, &x[i + k * S::LANES..]), m);
            *acc = s.fma(d, d, *acc);
        }
        i += SUMS * S::LANES;
    }
    while i + S::LANES <= x.len() {
        let d = s.sub(T::load(s, &x[i..]), m);
        acc[0] = s.fma(d, d, acc[0]);
        i += S::LANES;
    }
    let acc = s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3]));
    if i == x.len() {
        return s.sum(acc);
    }
    // Beyond the row there is no distance from the mean.
    let (mut d, n) = ([0.0; 16], x.len() - i);
    s.store(&mut d, s.sub(T::load_part(s, &x[i..]), m));
    s.sum(acc) + d[..n].iter().map(|d| d * d).sum::<f32>()
}

/// Gradients that a normalisation writes.
pub struct NormGrads<'a, T = f32> {
    /// Of the input, in its layout; only its rows are written.
    pub dx: &'a mut [T],
    /// Whether `dx` is added to instead of overwritten.
    pub accumulate: bool,
    /// Of the weights, added to.
    pub dw: Option<&'a mut [f32]>,
    /// Of the biases, added to.
    pub db: Option<&'a mut [f32]>,
}

/// The gradients of [`norm`], from `dy` in the layout of `y`, the input `x`, and the `stats` that the forward pass kept.
pub fn norm_backward<T: Number, U: Number>(
    isa: Isa,
    norm: Norm,
    rows: Rows,
    grads: NormGrads<'_, T>,
    dy: &[U],
    x: &[T],
    w: Option<&[f32]>,
    stats: &[f32],
) {
    let _time = profile::scope(profile::Kind::Norm);
    let NormGrads { dx, accumulate, dw, db } = grads;
    rows.check(x.len());
    rows.check(dy.len());
    rows.check(dx.len());
    assert!(stats.len() >= 2 * rows.count());
    let (width, tasks) = (rows.width, rows.tasks());
    // Weights' and biases' gradients of each task, then their sum as a fixed tree.
    let mut partial = Buf::zeroed(tasks * 2 * width);
    let (out, parts) = (Out::new(dx, 1), Out::new(&mut partial, 2 * width));
    pool::for_each(tasks, |task| {
        // SAFETY: each task has its own part, and its own rows.
        let part = unsafe { parts.row(task, 0, 2 * width) };
        let (dw, db) = part.split_at_mut(width);
        for r in rows.of_task(task) {
            let start = rows.start(r);
            // SAFETY: as above.
            let dx = unsafe { out.row(start, 0, width) };
            let row = start..start + width;
            row_backward(isa, norm, dx, accumulate, dw, db, &dy[row.clone()], &x[row], w, &stats[2 * r..2 * r + 2]);
        }
    });
    pool::tree_add_rows(&mut partial, 2 * width);
    for (to, from) in [(dw, 0), (db, width)] {
        if let (Some(to), true) = (to, tasks > 0) {
            to.iter_mut().zip(&partial[from..from + width]).for_each(|(to, from)| *to += from);
        }
    }
}

rounding_fn! {
    fn row_backward<[T: Number, U: Number]>(
        s, norm: Norm, dx: &mut [T], accumulate: bool, dw: &mut [f32], db: &mut [f32], dy: &[U], x: &[T],
        w: Option<&[f32]>, stats: &[f32],
    ) {
        let n = x.len();
        let (mean, rstd) = (s.splat(stats[0]), s.splat(stats[1]));
        let offset = s.splat(if let Norm::Rms { offset, .. } = norm { offset } else { 0.0 });
        // With h the normalised row and g = dy w: dx = rstd (g - h mean(g h) [- mean(g), for layer norm]).
        let (mut sum_g, mut sum_gh) = (s.zero(), s.zero());
        let mut i = 0;
        while i < n {
            let h = s.mul(s.sub(T::at(s, x, i), mean), rstd);
            let d = U::at(s, dy, i);
            let g = match w {
                Some(w) => s.mul(d, s.add(offset, f32::at(s, &w[..n], i))),
                None => d,
            };
            // Beyond the row `d` is zero, and so is `g`.
            sum_g = s.add(sum_g, g);
            sum_gh = s.fma(g, h, sum_gh);
            let v = s.fma(d, h, f32::at(s, dw, i));
            f32::put(s, dw, i, v);
            let v = s.add(d, f32::at(s, db, i));
            f32::put(s, db, i, v);
            i += S::LANES;
        }
        let mean_g = if matches!(norm, Norm::Layer { .. }) { s.sum(sum_g) / n as f32 } else { 0.0 };
        let (mean_g, mean_gh) = (s.splat(mean_g), s.splat(s.sum(sum_gh) / n as f32));
        let mut i = 0;
        while i < n {
            let h = s.mul(s.sub(T::at(s, x, i), mean), rstd);
            let d = U::at(s, dy, i);
            let g = match w {
                Some(w) => s.mul(d, s.add(offset, f32::at(s, &w[..n], i))),
                None => d,
            };
            let mut v = s.mul(rstd, s.sub(s.sub(g, mean_g), s.mul(h, mean_gh)));
            if accumulate {
                v = s.add(T::at(s, dx, i), v);
            }
            T::put(s, dx, i, v);
            i += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the formula in double precision, with the heads' layout.
    #[track_caller]
    fn check(norm_kind: Norm, outer: usize, inner: usize, width: usize) {
        let rows = Rows { outer, ld: inner * width + 5, first: 3, inner, width };
        let len = outer * rows.ld;
        let x: Vec<f32> = (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 23.0).collect();
        let w: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 / 10.0).collect();
        let b: Vec<f32> = (0..width).map(|i| i as f32 / 7.0).collect();
        let layer = matches!(norm_kind, Norm::Layer { .. });
        for isa in Isa::available() {
            let (mut y, mut stats) = (vec![9.0; len], vec![0.0; 2 * rows.count()]);
            norm(isa, norm_kind, rows, &mut y, &x, Some(&w), layer.then_some(&b[..]), &mut stats);
            let mut written = vec![false; len];
            for r in 0..rows.count() {
                let x = &x[rows.start(r)..][..width];
                let n = width as f64;
                let (mean, eps, offset) = match norm_kind {
                    Norm::Layer { eps } => (x.iter().map(|&x| x as f64).sum::<f64>() / n, eps as f64, 0.0),
                    Norm::Rms { eps, offset } => (0.0, eps as f64, offset as f64),
                };
                let rstd = 1.0 / (x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n + eps).sqrt();
                for i in 0..width {
                    let bias = if layer { b[i] as f64 } else { 0.0 };
                    let want = (x[i] as f64 - mean) * rstd * (offset + w[i] as f64) + bias;
                    let at = rows.start(r) + i;
                    written[at] = true;
                    assert!((y[at] as f64 - want).abs() < 1e-5 * (1.0 + want.abs()), "{isa} {r} {i}: {} {want}", y[at]);
                }
            }
            assert!(y.iter().zip(&written).all(|(&y, &w)| w || y == 9.0), "written outside the rows");
        }
    }

    #[test]
    fn odd_widths_match_the_formula() {
        for width in [1, 2, 7, 16, 33, 100] {
            check(Norm::Layer { eps: 1e-5 }, 5, 1, width);
            check(Norm::Rms { eps: 1e-6, offset: 0.0 }, 3, 4, width);
            check(Norm::Rms { eps: 1e-6, offset: 1.0 }, 40, 2, width);
        }
    }
}
