//! Resizing of grids of vectors, such as position embeddings.

use crate::{
    elementwise::rows_of,
    isa::Isa,
    profile,
    simd::{each2, simd_fn},
};

/// What each new place along an axis is made of: old places with their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps(Vec<Vec<(usize, f32)>>);

impl Taps {
    /// Cubic convolution with `a = -0.75`, from `from` places to `to`: both rows of places cover the same length, no
    /// smoothing where there are fewer, and beyond the ends the last place counts again. PyTorch's bicubic
    /// `interpolate` with `align_corners=False`.
    ///
    /// [Keys 1981](https://doi.org/10.1109/TASSP.1981.1163711).
    pub fn bicubic(from: usize, to: usize) -> Self {
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        let taps = |i: usize| {
            let center = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
            let (first, t) = (center.floor(), center - center.floor());
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            let at = |k: usize| (first as i64 + k as i64 - 1).clamp(0, from as i64 - 1) as usize;
            let used = weights.into_iter().enumerate().filter(|(_, w)| *w != 0.0);
            used.map(|(k, w)| (at(k), w as f32)).collect()
        };
        Taps((0..to).map(taps).collect())
    }

    /// New places.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The way back, to `from` old places: for gradients.
    pub fn transposed(&self, from: usize) -> Self {
        let mut back = vec![Vec::new(); from];
        for (to, taps) in self.0.iter().enumerate() {
            taps.iter().for_each(|&(from, w)| back[from].push((to, w)));
        }
        Taps(back)
    }
}

/// A grid of rows that other rows stand around.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// Rows before the grid, which stay as they are.
    pub before: usize,
    /// Rows after it, which stay too.
    pub after: usize,
    /// Columns of the old grid.
    pub across: usize,
    /// Rows of the old grid.
    pub down: usize,
    /// What new rows of the grid are made of.
    pub rows: &'a Taps,
    /// What new columns are made of.
    pub columns: &'a Taps,
}

impl Grid<'_> {
    /// Rows before resizing.
    fn rows_before(&self) -> usize {
        self.before + self.down * self.across + self.after
    }

    /// Rows after resizing.
    fn rows_after(&self) -> usize {
        self.before + self.rows.len() * self.columns.len() + self.after
    }
}

/// `y[p, q] = Σ_i Σ_j rows[p, i] columns[q, j] x[i, j]` for vectors of `width` numbers, between rows that are copied;
/// for as many such grids as there are in `x`.
///
/// Overwrites all of `y`; adds in the order of taps.
///
/// # Panics
/// If lengths differ from the shapes.
pub fn resize(isa: Isa, y: &mut [f32], x: &[f32], grid: Grid<'_>, width: usize) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let (old, new) = (grid.rows_before(), grid.rows_after());
    assert!(x.len() * new == y.len() * old);
    rows_of(y, width, |r, y| {
        let (layer, i) = (r / new, r % new);
        let x = &x[layer * old * width..(layer + 1) * old * width];
        let row = |i: usize| &x[i * width..(i + 1) * width];
        if i < grid.before {
            return y.copy_from_slice(row(i));
        }
        let place = i - grid.before;
        let across = grid.columns.len();
        if place >= grid.rows.len() * across {
            return y.copy_from_slice(row(old + i - new));
        }
        y.fill(0.0);
        for &(p, a) in &grid.rows.0[place / across] {
            for &(q, b) in &grid.columns.0[place % across] {
                add_scaled(isa, y, row(grid.before + p * grid.across + q), a * b);
            }
        }
    });
}

simd_fn! {
    fn add_scaled(s, y: &mut [f32], x: &[f32], a: f32) {
        let a = s.splat(a);
        each2!(s, y, x, |y, x| s.fma(a, x, y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_of_cubic_convolution() {
        // Twice as many: weights at a quarter and three quarters, as PyTorch gives them.
        let taps = Taps::bicubic(4, 8);
        let near = |a: &[(usize, f32)], b: &[(usize, f32)]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-6)
        };
        let want = [(0, -0.10546875), (1, 0.87890625), (2, 0.26171875), (3, -0.03515625)];
        assert!(near(&taps.0[3], &want), "{:?}", taps.0[3]);
        // The first place reaches beyond the end.
        let want = [(0, -0.03515625), (0, 0.26171875), (0, 0.87890625), (1, -0.10546875)];
        assert!(near(&taps.0[0], &want), "{:?}", taps.0[0]);
        for (from, to) in [(1, 1), (5, 5), (3, 7), (9, 2), (1, 4)] {
            let taps = Taps::bicubic(from, to);
            for taps in &taps.0 {
                assert!((taps.iter().map(|t| t.1).sum::<f32>() - 1.0).abs() < 1e-6);
            }
            if from == to {
                assert!(taps.0.iter().enumerate().all(|(i, t)| t[..] == [(i, 1.0)]));
            }
        }
    }

    #[test]
    fn both_ways_match_the_definition() {
        for ([h, w], [p, q], before, after, layers, width) in
            [([2, 3], [4, 5], 1, 0, 1, 1), ([5, 4], [3, 7], 2, 3, 2, 33), ([1, 6], [1, 2], 0, 1, 3, 7)]
        {
            let (rows, columns) = (Taps::bicubic(h, p), Taps::bicubic(w, q));
            let grid = Grid { before, after, down: h, across: w, rows: &rows, columns: &columns };
            let x: Vec<f32> = (0..layers * grid.rows_before() * width).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut want = vec![0.0f64; layers * grid.rows_after() * width];
            for (i, want) in want.iter_mut().enumerate() {
                let (c, r, layer) = (i % width, i / width % grid.rows_after(), i / width / grid.rows_after());
                let x = |r: usize| x[(layer * grid.rows_before() + r) * width + c] as f64;
                *want = match r.checked_sub(before) {
                    None => x(r),
                    Some(r) if r >= p * q => x(before + h * w + r - p * q),
                    Some(r) => {
                        let weight = |taps: &[(usize, f32)], i: usize| -> f64 {
                            taps.iter().filter(|t| t.0 == i).map(|t| t.1 as f64).sum()
                        };
                        let places = (0..h * w).map(|at| {
                            weight(&rows.0[r / q], at / w) * weight(&columns.0[r % q], at % w) * x(before + at)
                        });
                        places.sum()
                    }
                };
            }
            for isa in Isa::available() {
                let mut y = vec![9.0; want.len()];
                resize(isa, &mut y, &x, grid, width);
                assert!(y.iter().zip(&want).all(|(&y, want)| (y as f64 - want).abs() < 1e-5), "{isa} {h} {w}");
                // The way back is adjoint: ⟨resize(x), y⟩ = ⟨x, back(y)⟩.
                let (up, left) = (rows.transposed(h), columns.transposed(w));
                let back = Grid { down: p, across: q, rows: &up, columns: &left, ..grid };
                let dy: Vec<f32> = (0..want.len()).map(|i| (i as f32 * 0.61).cos()).collect();
                let mut dx = vec![9.0; x.len()];
                resize(isa, &mut dx, &dy, back, width);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
                assert!((dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-3, "{isa} {h} {w}");
            }
        }
    }
}
