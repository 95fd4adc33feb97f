//! Rows times numbers of their columns: scales of layers, batch norms with fixed statistics.

use crate::{
    elementwise::rows_of,
    gemm::Activation,
    isa::Isa,
    mem::Buf,
    number::{Lanes, Number},
    out::Out,
    pool, profile,
    simd::simd_fn,
};

/// What happens to each row.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// One number a column.
    pub scale: &'a [f32],
    /// One number a column; zeros if `None`.
    pub shift: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

/// `y[r, c] = activation(scale[c] x[r, c] + shift[c] + residual[r, c])`; overwrites all of `y`.
///
/// # Panics
/// If lengths differ from the shapes.
pub fn affine<T: Number, U: Number>(isa: Isa, a: Affine<'_>, y: &mut [U], x: &[T], residual: Option<&[f32]>) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let width = a.scale.len();
    assert!(y.len() == x.len() && residual.is_none_or(|r| r.len() == x.len()));
    assert!(x.len().is_multiple_of(width.max(1)) && a.shift.is_none_or(|s| s.len() == width));
    rows_of(y, width, |r, y| {
        let row = r * width..(r + 1) * width;
        affine_row(isa, a, y, &x[row.clone()], residual.map(|r| &r[row]));
    });
}

simd_fn! {
    fn affine_row<[T: Number, U: Number]>(s, a: Affine<'_>, y: &mut [U], x: &[T], residual: Option<&[f32]>) {
        let mut i = 0;
        while i < y.len() {
            let shift = a.shift.map_or(s.zero(), |b| f32::at(s, b, i));
            let mut v = s.fma(T::at(s, x, i), f32::at(s, a.scale, i), shift);
            if let Some(r) = residual {
                v = s.add(v, f32::at(s, r, i));
            }
            U::put(s, y, i, a.activation.apply(s, v));
            i += S::LANES;
        }
    }
}

/// Gradients of [`affine`] before its activation.
pub struct AffineGrads<'a, T> {
    /// Of the input, overwritten: `scale[c] dy[r, c]`.
    pub dx: &'a mut [T],
    /// Added to: `Σ_r dy[r, c] (x[r, c] - center[c])`.
    pub dscale: &'a mut [f32],
    /// Added to: `Σ_r dy[r, c]`.
    pub dshift: &'a mut [f32],
}

/// The gradients from `dy`, that of the sum under the activation; sums follow a fixed tree over groups of rows.
///
/// # Panics
/// If lengths differ from the shapes.
pub fn affine_backward<T: Number>(
    isa: Isa,
    to: AffineGrads<'_, T>,
    dy: &[f32],
    x: &[T],
    scale: &[f32],
    center: Option<&[f32]>,
) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let (width, AffineGrads { dx, dscale, dshift }) = (scale.len(), to);
    assert!(dx.len() == x.len() && dy.len() == x.len() && x.len().is_multiple_of(width.max(1)));
    assert!(dscale.len() == width && dshift.len() == width && center.is_none_or(|c| c.len() == width));
    let rows = x.len().checked_div(width).unwrap_or(0);
    let per_task = (pool::SMALL / width.max(1)).clamp(1, 512);
    let tasks = rows.div_ceil(per_task);
    let mut partial = Buf::zeroed(tasks * 2 * width);
    let (out, parts) = (Out::new(dx, width), Out::new(&mut partial, 2 * width));
    pool::for_each(tasks, |task| {
        // SAFETY: each task has its own part.
        let part = unsafe { parts.row(task, 0, 2 * width) };
        let (dscale, dshift) = part.split_at_mut(width);
        for r in task * per_task..((task + 1) * per_task).min(rows) {
            // SAFETY: each row is one task's.
            let dx = unsafe { out.row(r, 0, width) };
            let row = r * width..(r + 1) * width;
            affine_backward_row(isa, dx, dscale, dshift, &dy[row.clone()], &x[row], scale, center);
        }
    });
    pool::tree_add_rows(&mut partial, 2 * width);
    if tasks > 0 {
        dscale.iter_mut().zip(&partial[..width]).for_each(|(to, from)| *to += from);
        dshift.iter_mut().zip(&partial[width..2 * width]).for_each(|(to, from)| *to += from);
    }
}

simd_fn! {
    fn affine_backward_row<[T: Number]>(
        s, dx: &mut [T], dscale: &mut [f32], dshift: &mut [f32], dy: &[f32], x: &[T], scale: &[f32],
        center: Option<&[f32]>,
    ) {
        let mut i = 0;
        while i < dy.len() {
            let d = f32::at(s, dy, i);
            let x = s.sub(T::at(s, x, i), center.map_or(s.zero(), |c| f32::at(s, c, i)));
            let sum = s.fma(d, x, f32::at(s, dscale, i));
            f32::put(s, dscale, i, sum);
            let sum = s.add(d, f32::at(s, dshift, i));
            f32::put(s, dshift, i, sum);
            T::put(s, dx, i, s.mul(d, f32::at(s, scale, i)));
            i += S::LANES;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    fn numbers(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin() * 2.0).collect()
    }

    fn check<T: Number>(rows: usize, width: usize) {
        let x: Vec<T> = numbers(rows * width, 0.7).into_iter().map(T::from_f32).collect();
        let (residual, dy) = (numbers(rows * width, 0.3), numbers(rows * width, 1.1));
        let (scale, shift, center) = (numbers(width, 0.9), numbers(width, 0.4), numbers(width, 0.2));
        let at = |i: usize| x[i].to_f32() as f64;
        for isa in Isa::available() {
            for (shift, residual, activation) in [
                (None, None, Activation::None),
                (Some(&shift[..]), None, Activation::Relu),
                (Some(&shift[..]), Some(&residual[..]), Activation::Relu),
            ] {
                let mut y = vec![9.0f32; rows * width];
                affine(isa, Affine { scale: &scale, shift, activation }, &mut y, &x, residual);
                for (i, y) in y.iter().enumerate() {
                    let c = i % width;
                    let sum = at(i) * scale[c] as f64 + shift.map_or(0.0, |s| s[c] as f64);
                    let sum = sum + residual.map_or(0.0, |r| r[i] as f64);
                    let want = if activation == Activation::Relu { sum.max(0.0) } else { sum };
                    assert!((*y as f64 - want).abs() < 1e-5, "{isa} {rows} {width} {i}: {y} {want}");
                }
            }
            let (mut dx, mut dscale, mut dshift) =
                (vec![T::from_f32(9.0); rows * width], vec![0.0; width], vec![0.0; width]);
            let to = AffineGrads { dx: &mut dx, dscale: &mut dscale, dshift: &mut dshift };
            affine_backward(isa, to, &dy, &x, &scale, Some(&center));
            for c in 0..width {
                let sum = |f: &dyn Fn(usize) -> f64| (0..rows).map(|r| f(r * width + c)).sum::<f64>();
                let (a, b) = (sum(&|i| dy[i] as f64 * (at(i) - center[c] as f64)), sum(&|i| dy[i] as f64));
                assert!((dscale[c] as f64 - a).abs() < 1e-3 && (dshift[c] as f64 - b).abs() < 1e-3, "{isa} {c}");
                for r in 0..rows {
                    let want = T::from_f32(dy[r * width + c] * scale[c]).to_f32();
                    assert_eq!(dx[r * width + c].to_f32(), want, "{isa} {r} {c}");
                }
            }
        }
    }

    #[test]
    fn both_ways_match_the_formula() {
        for (rows, width) in [(1, 1), (3, 7), (40, 33), (700, 16)] {
            check::<f32>(rows, width);
            check::<bf16>(rows, width);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (rows, width) = (5000, 24);
        let (x, dy, scale) = (numbers(rows * width, 0.7), numbers(rows * width, 1.1), numbers(width, 0.9));
        let run = |threads| {
            pool::with_threads(threads, || {
                let (mut dx, mut a, mut b) = (vec![0.0f32; rows * width], vec![0.0; width], vec![0.0; width]);
                let to = AffineGrads { dx: &mut dx, dscale: &mut a, dshift: &mut b };
                affine_backward(Isa::detect(), to, &dy, &x, &scale, None);
                (dx, a, b)
            })
            .unwrap()
        };
        assert!(run(1) == run(3));
    }
}
