//! Steps of negative sampling and hierarchical softmax.
//!
//! Both are logistic regressions of outputs (a word and words drawn as noise, or the inner nodes on a word's way through a
//! Huffman tree) on inputs (vectors of words, or a mean of some), [Mikolov et al. 2013](https://arxiv.org/abs/1310.4546).
//! Taking all inputs of a window together with the same outputs turns vector products into small matrix products,
//! [Ji et al. 2016](https://arxiv.org/abs/1604.04661): an output row is read and written once for all of them.

use super::{Line, SharedRows, rows::WIDTH};
use crate::simd::{Simd, math, simd_fn};

/// Outputs that are worked on at a time: their products with two inputs, or their old and new lines, fit in sixteen
/// registers.
const TILE: usize = 6;

/// The outputs of a step.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    /// Their vectors, which are changed.
    pub rows: &'a SharedRows,
    /// Which rows.
    pub ids: &'a [u32],
    /// What each should say, 1 or 0.
    pub labels: &'a [f32],
}

simd_fn! {
    /// One step of gradient descent on `-log σ(±x[i]·o[j])`, + where `labels[j]` is 1 and - where it is 0.
    ///
    /// `g[i, j] = rate * (labels[j] - σ(x[i]·o[j]))`, `o[j] += sum_i g[i, j] x[i]` in place and `dx[i] += sum_j g[i, j] o[j]`
    /// with the old `o[j]`; who calls adds `dx` to the inputs. `x` and `dx` have rows of [`SharedRows::stride`], as many as
    /// fit. An output that is named twice is updated twice, the second time from what the first one left;
    /// so are all of them where there are more than 32 inputs.
    /// Sums are in `f32`.
    pub fn step(s, out: Outputs<'_>, rate: f32, x: &[f32], dx: &mut [f32]) {
        let lines = out.rows.stride() / WIDTH;
        let ((x, _), (dx, _)) = (x.as_chunks::<WIDTH>(), dx.as_chunks_mut::<WIDTH>());
        let (mut ids, mut labels) = (out.ids, out.labels);
        while !ids.is_empty() {
            let n = distinct(ids);
            let ((now, later), (now_labels, later_labels)) = (ids.split_at(n), labels.split_at(n));
            let block = Block { rows: out.rows, rate, x, lines };
            match n {
                1 => tile::<S, 1>(s, block, now, now_labels, dx),
                2 => tile::<S, 2>(s, block, now, now_labels, dx),
                3 => tile::<S, 3>(s, block, now, now_labels, dx),
                4 => tile::<S, 4>(s, block, now, now_labels, dx),
                5 => tile::<S, 5>(s, block, now, now_labels, dx),
                _ => tile::<S, TILE>(s, block, now, now_labels, dx),
            }
            (ids, labels) = (later, later_labels);
        }
    }
}

/// How many of the first ids, at most a tile, are all different.
#[inline(always)]
fn distinct(ids: &[u32]) -> usize {
    let most = ids.len().min(TILE);
    (1..most).find(|&n| ids[..n].contains(&ids[n])).unwrap_or(most)
}

#[derive(Clone, Copy)]
struct Block<'a> {
    rows: &'a SharedRows,
    rate: f32,
    x: &'a [[f32; WIDTH]],
    lines: usize,
}

/// Inputs whose products are held before they are turned into gradients.
const INPUTS: usize = 32;

#[inline(always)]
fn tile<S: Simd, const N: usize>(s: S, b: Block<'_>, ids: &[u32], labels: &[f32], dx: &mut [[f32; WIDTH]]) {
    let rows: [&[Line]; N] = std::array::from_fn(|j| &b.rows.row(ids[j])[..b.lines]);
    let labels: [f32; N] = std::array::from_fn(|j| labels[j]);
    for (x, dx) in b.x.chunks(INPUTS * b.lines).zip(dx.chunks_mut(INPUTS * b.lines)) {
        let n = x.len() / b.lines;
        // Whole vectors, so that the sigmoid needs no rests.
        let mut g = [[0.0f32; N]; INPUTS];
        let mut i = 0;
        while i + 2 <= n {
            let pair: [&[[f32; WIDTH]]; 2] = std::array::from_fn(|k| &x[(i + k) * b.lines..][..b.lines]);
            let products = dots::<S, 2, N>(s, pair, rows);
            g[i..i + 2].copy_from_slice(&products);
            i += 2;
        }
        if i < n {
            g[i] = dots::<S, 1, N>(s, [&x[i * b.lines..][..b.lines]], rows)[0];
        }
        gradients(s, &mut g, n, labels, b.rate);
        update(s, &g[..n], x, rows, dx, b.lines);
    }
}

/// `x[i] · rows[j]`.
#[inline(always)]
fn dots<S: Simd, const M: usize, const N: usize>(s: S, x: [&[[f32; WIDTH]]; M], rows: [&[Line]; N]) -> [[f32; N]; M] {
    let mut sums = [[s.zero(); N]; M];
    for l in 0..x[0].len() {
        for at in (0..WIDTH).step_by(S::LANES) {
            let mut inputs = [s.zero(); M];
            for i in 0..M {
                inputs[i] = s.load(&x[i][l][at..]);
            }
            for j in 0..N {
                let o = s.load_cells(&rows[j][l], at);
                for i in 0..M {
                    sums[i][j] = s.fma(inputs[i], o, sums[i][j]);
                }
            }
        }
    }
    let mut products = [[0.0; N]; M];
    for i in 0..M {
        for j in 0..N {
            products[i][j] = s.sum(sums[i][j]);
        }
    }
    products
}

/// `g[i, j] = rate * (labels[j] - σ(g[i, j]))`.
#[inline(always)]
fn gradients<S: Simd, const N: usize>(s: S, g: &mut [[f32; N]; INPUTS], n: usize, labels: [f32; N], rate: f32) {
    let flat = g.as_flattened_mut();
    let used = (n * N).next_multiple_of(S::LANES).min(flat.len());
    for part in flat[..used].chunks_exact_mut(S::LANES) {
        let v = math::sigmoid(s, s.load(part));
        s.store(part, v);
    }
    for row in &mut g[..n] {
        for j in 0..N {
            row[j] = rate * (labels[j] - row[j]);
        }
    }
}

/// Both updates in one pass over the lines.
#[inline(always)]
fn update<S: Simd, const N: usize>(
    s: S,
    g: &[[f32; N]],
    x: &[[f32; WIDTH]],
    rows: [&[Line]; N],
    dx: &mut [[f32; WIDTH]],
    lines: usize,
) {
    for l in 0..lines {
        for at in (0..WIDTH).step_by(S::LANES) {
            let (mut old, mut new) = ([s.zero(); N], [s.zero(); N]);
            for j in 0..N {
                old[j] = s.load_cells(&rows[j][l], at);
                new[j] = old[j];
            }
            for (i, g) in g.iter().enumerate() {
                let input = s.load(&x[i * lines + l][at..]);
                let dx = &mut dx[i * lines + l][at..];
                let mut d = s.load(dx);
                for j in 0..N {
                    let g = s.splat(g[j]);
                    d = s.fma(g, old[j], d);
                    new[j] = s.fma(g, input, new[j]);
                }
                s.store(dx, d);
            }
            for j in 0..N {
                s.store_cells(&rows[j][l], at, new[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{isa::Isa, random::Draw};

    struct Case {
        inputs: usize,
        cols: usize,
        ids: Vec<u32>,
        labels: Vec<f32>,
    }

    const ROWS: usize = 40;
    const RATE: f32 = 0.3;

    fn numbers(place: u32, n: usize) -> Vec<f32> {
        let mut x = vec![0.0; n];
        Draw { key: 5, sample: 0, place }.normal(&mut x);
        x.iter_mut().for_each(|x| *x *= 0.4);
        x
    }

    fn outputs(cols: usize) -> (SharedRows, Vec<Vec<f64>>) {
        let (shared, all) = (SharedRows::zeroed(ROWS, cols), numbers(1, ROWS * cols));
        for (r, row) in all.chunks(cols).enumerate() {
            shared.set(r, row);
        }
        (shared, all.chunks(cols).map(|r| r.iter().map(|&x| x as f64).collect()).collect())
    }

    fn padded(x: &[f32], cols: usize) -> Vec<f32> {
        let stride = SharedRows::padded(cols);
        x.chunks(cols).flat_map(|r| r.iter().copied().chain(std::iter::repeat_n(0.0, stride - cols))).collect()
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// The formula in double precision, tile by tile, as the function promises it for outputs named twice.
    fn reference(case: &Case, x: &[f32], out: &mut [Vec<f64>]) -> Vec<f64> {
        let mut dx = vec![0.0; x.len()];
        let mut at = 0;
        while at < case.ids.len() {
            let n = distinct(&case.ids[at..]);
            let mut old = out.to_vec();
            for (i, (x, dx)) in x.chunks(case.cols).zip(dx.chunks_mut(case.cols)).enumerate() {
                if i % INPUTS == 0 {
                    old = out.to_vec();
                }
                for j in at..at + n {
                    let o = &old[case.ids[j] as usize];
                    let dot: f64 = x.iter().zip(o).map(|(&a, &b)| a as f64 * b).sum();
                    let g = RATE as f64 * (case.labels[j] as f64 - sigmoid(dot));
                    for c in 0..case.cols {
                        dx[c] += g * o[c];
                        out[case.ids[j] as usize][c] += g * x[c] as f64;
                    }
                }
            }
            at += n;
        }
        dx
    }

    #[track_caller]
    fn check(isa: Isa, case: &Case) {
        let (shared, mut want) = outputs(case.cols);
        let x = numbers(2, case.inputs * case.cols);
        let mut dx = vec![0.0; case.inputs * shared.stride()];
        step(
            isa,
            Outputs { rows: &shared, ids: &case.ids, labels: &case.labels },
            RATE,
            &padded(&x, case.cols),
            &mut dx,
        );
        let want_dx = reference(case, &x, &mut want);
        let what = format!("{isa}, {} inputs, {} columns, {:?}", case.inputs, case.cols, case.ids);
        for (i, want) in want_dx.chunks(case.cols).enumerate() {
            let got = &dx[i * shared.stride()..];
            for c in 0..case.cols {
                assert!((got[c] as f64 - want[c]).abs() < 2e-5, "{what}: dx[{i}, {c}] {} {}", got[c], want[c]);
            }
            assert!(got[case.cols..shared.stride()].iter().all(|&x| x == 0.0), "{what}: padding");
        }
        let mut got = vec![0.0; case.cols];
        for (r, want) in want.iter().enumerate() {
            shared.get(r, &mut got);
            for c in 0..case.cols {
                assert!((got[c] as f64 - want[c]).abs() < 2e-5, "{what}: row {r}, {c}: {} {}", got[c], want[c]);
            }
        }
    }

    #[test]
    fn matches_the_formula_on_every_instruction_set() {
        for isa in Isa::available() {
            for cols in [1, 7, 16, 33, 100] {
                for (inputs, n) in [(1, 6), (2, 1), (3, 4), (7, 11), (10, 6), (33, 2), (1, 0)] {
                    let ids: Vec<u32> = (0..n).map(|j| (j * 7 + 3) % ROWS as u32).collect();
                    let labels = (0..n).map(|j| f32::from(u8::from(j % 3 == 0))).collect();
                    check(isa, &Case { inputs, cols, ids, labels });
                }
            }
            check(isa, &Case { inputs: 3, cols: 20, ids: vec![4, 9, 4, 4, 9], labels: vec![1.0, 0.0, 0.0, 1.0, 0.0] });
        }
    }

    /// `dx` and the change of the outputs are the loss's negative gradient times the rate.
    #[test]
    fn gradients_of_the_loss_by_finite_differences() {
        let (cols, ids, labels) = (5, [3u32, 8, 21], [1.0f32, 0.0, 0.0]);
        let (shared, out) = outputs(cols);
        let x: Vec<f64> = numbers(2, 2 * cols).iter().map(|&x| x as f64).collect();
        let loss = |x: &[f64], out: &[Vec<f64>]| -> f64 {
            let dot = |x: &[f64], id: u32| -> f64 { x.iter().zip(&out[id as usize]).map(|(a, b)| a * b).sum() };
            let term = |x: &[f64], j: usize| {
                let z = dot(x, ids[j]);
                -sigmoid(if labels[j] == 1.0 { z } else { -z }).ln()
            };
            x.chunks(cols).map(|x| (0..3).map(|j| term(x, j)).sum::<f64>()).sum()
        };
        let x32: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        let mut dx = vec![0.0; 2 * shared.stride()];
        step(Isa::detect(), Outputs { rows: &shared, ids: &ids, labels: &labels }, 1.0, &padded(&x32, cols), &mut dx);
        let h = 1e-5;
        for i in 0..x.len() {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += h;
            down[i] -= h;
            let want = -(loss(&up, &out) - loss(&down, &out)) / (2.0 * h);
            let got = dx[i / cols * shared.stride() + i % cols] as f64;
            assert!((got - want).abs() < 1e-4, "x[{i}]: {got} {want}");
        }
        let mut row = vec![0.0; cols];
        for &id in &ids {
            shared.get(id as usize, &mut row);
            for c in 0..cols {
                let (mut up, mut down) = (out.clone(), out.clone());
                up[id as usize][c] += h;
                down[id as usize][c] -= h;
                let want = -(loss(&x, &up) - loss(&x, &down)) / (2.0 * h);
                let got = row[c] as f64 - out[id as usize][c];
                assert!((got - want).abs() < 1e-4, "o[{id}][{c}]: {got} {want}");
            }
        }
    }
}
