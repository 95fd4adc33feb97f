//! Element by element: sums, gates, tables.

use half::bf16;

use crate::{
    gemm::Activation,
    isa::Isa,
    number::{Lanes, Number},
    out::Out,
    pool, profile,
    simd::{each, each2, math, rounding_fn, simd_fn},
};

/// `y += x`, in f32 whatever the numbers.
///
/// # Panics
/// If the lengths differ.
pub fn add<T: Number, U: Number>(isa: Isa, y: &mut [U], x: &[T]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), x.len());
    pool::for_chunks(y, pool::SMALL, |i, part| add_part(isa, part, &x[i * pool::SMALL..][..part.len()]));
}

rounding_fn! {
    fn add_part<[T: Number, U: Number]>(s, y: &mut [U], x: &[T]) {
        let mut i = 0;
        while i < y.len() {
            let sum = s.add(U::at(s, y, i), T::at(s, x, i));
            U::put(s, y, i, sum);
            i += S::LANES;
        }
    }
}

/// `y = 0`.
pub fn zero(y: &mut [f32]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    pool::for_chunks(y, 8 * pool::SMALL, |_, part| part.fill(0.0));
}

/// `y *= a`.
pub fn scale(isa: Isa, y: &mut [f32], a: f32) {
    let _time = profile::scope(profile::Kind::Elementwise);
    pool::for_chunks(y, pool::SMALL, |_, part| scale_part(isa, part, a));
}

simd_fn! {
    fn scale_part(s, y: &mut [f32], a: f32) {
        let a = s.splat(a);
        each!(s, y, |y| s.mul(y, a));
    }
}

/// `y *= x`.
///
/// # Panics
/// If the lengths differ.
pub fn multiply<T: Number>(isa: Isa, y: &mut [T], x: &[T]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), x.len());
    pool::for_chunks(y, pool::SMALL, |i, part| multiply_part(isa, part, &x[i * pool::SMALL..][..part.len()]));
}

rounding_fn! {
    fn multiply_part<[T: Number]>(s, y: &mut [T], x: &[T]) {
        let mut i = 0;
        while i < y.len() {
            T::put(s, y, i, s.mul(T::at(s, y, i), T::at(s, x, i)));
            i += S::LANES;
        }
    }
}

/// `y = cap · tanh(y / cap)`, as Gemma 2 limits logits.
pub fn softcap(isa: Isa, y: &mut [f32], cap: f32) {
    pool::for_chunks(y, pool::SMALL, |_, part| softcap_part(isa, part, cap));
}

simd_fn! {
    fn softcap_part(s, y: &mut [f32], cap: f32) {
        each!(s, y, |y| s.mul(s.splat(cap), math::tanh(s, s.mul(y, s.splat(1.0 / cap)))));
    }
}

/// `dy *= 1 - (y / cap)²`, the gradient of [`softcap`] from its result `y`.
pub fn softcap_backward(isa: Isa, dy: &mut [f32], y: &[f32], cap: f32) {
    assert_eq!(dy.len(), y.len());
    pool::for_chunks(dy, pool::SMALL, |i, part| {
        softcap_backward_part(isa, part, &y[i * pool::SMALL..][..part.len()], cap);
    });
}

simd_fn! {
    fn softcap_backward_part(s, dy: &mut [f32], y: &[f32], cap: f32) {
        let (one, c) = (s.splat(1.0), s.splat(1.0 / (cap * cap)));
        each2!(s, dy, y, |d, y| s.mul(d, s.sub(one, s.mul(s.mul(y, y), c))));
    }
}

/// `y[r] = activation(x[r, ..width]) · x[r, width..]` for rows of `2 width`: the gate of GLU variants,
/// [Shazeer 2020](https://arxiv.org/abs/2002.05202).
pub fn gated<T: Number>(isa: Isa, activation: Activation, y: &mut [T], x: &[T], width: usize) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(x.len(), 2 * y.len());
    rows_of(y, width, |r, y| {
        let (gate, up) = x[2 * r * width..2 * (r + 1) * width].split_at(width);
        gated_row(isa, activation, y, gate, up);
    });
}

rounding_fn! {
    fn gated_row<[T: Number]>(s, activation: Activation, y: &mut [T], gate: &[T], up: &[T]) {
        let mut i = 0;
        while i < y.len() {
            T::put(s, y, i, s.mul(activation.apply(s, T::at(s, gate, i)), T::at(s, up, i)));
            i += S::LANES;
        }
    }
}

/// The gradient of [`gated`]: `dx` (overwritten) from `dy` and the input `x`.
pub fn gated_backward<T: Number>(isa: Isa, activation: Activation, dx: &mut [T], dy: &[T], x: &[T], width: usize) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert!(dx.len() == 2 * dy.len() && x.len() == dx.len());
    rows_of(dx, 2 * width, |r, dx| {
        let (gate, up) = x[2 * r * width..2 * (r + 1) * width].split_at(width);
        let (d_gate, d_up) = dx.split_at_mut(width);
        gated_backward_row(isa, activation, d_gate, d_up, &dy[r * width..(r + 1) * width], gate, up);
    });
}

rounding_fn! {
    fn gated_backward_row<[T: Number]>(
        s, activation: Activation, d_gate: &mut [T], d_up: &mut [T], dy: &[T], gate: &[T], up: &[T],
    ) {
        let mut i = 0;
        while i < dy.len() {
            let (d, g) = (T::at(s, dy, i), T::at(s, gate, i));
            T::put(s, d_up, i, s.mul(d, activation.apply(s, g)));
            T::put(s, d_gate, i, activation.backward(s, s.mul(d, T::at(s, up, i)), g));
            i += S::LANES;
        }
    }
}

/// `y[t] (+)= table[ids[t]]` for rows of `width`.
///
/// # Panics
/// If an id has no row: callers check ids, with better words.
pub fn gather(isa: Isa, y: &mut [f32], table: &[f32], ids: &[i32], width: usize, accumulate: bool) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), ids.len() * width);
    rows_of(y, width, |t, y| {
        let row = &table[ids[t] as usize * width..][..width];
        if accumulate {
            add_part(isa, y, row);
        } else {
            y.copy_from_slice(row);
        }
    });
}

/// `table[ids[t]] += dy[t]`, in the order of `t` whatever the threads: each of them takes some columns of all rows.
pub fn scatter_add<T: Number>(isa: Isa, table: &mut [f32], dy: &[T], ids: &[i32], width: usize) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(dy.len(), ids.len() * width);
    const COLUMNS: usize = 128;
    let out = Out::new(table, width.max(1));
    let tasks = if ids.len() * width <= pool::SMALL { 1 } else { width.div_ceil(COLUMNS) };
    let columns = width.div_ceil(tasks.max(1));
    pool::for_each(tasks, |task| {
        let (from, to) = (task * columns, ((task + 1) * columns).min(width));
        for (t, &id) in ids.iter().enumerate() {
            // SAFETY: these columns are this task's.
            let row = unsafe { out.row(id as usize, from, to - from) };
            add_part(isa, row, &dy[t * width + from..t * width + to]);
        }
    });
}

/// `sums[c] += Σ_r x[r, c]`, as a fixed tree over groups of rows: the gradient of a bias.
pub fn sum_rows<T: Number>(isa: Isa, sums: &mut [f32], x: &[T], ld: usize) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let width = sums.len();
    let rows = if x.is_empty() { 0 } else { (x.len() - width) / ld + 1 };
    sum_groups(isa, sums, rows, |r, sums| add_part(isa, sums, &x[r * ld..r * ld + width]));
}

/// `y = x`, rounded, and what [`sum_rows`] does with the rows of `x`, which are as wide as `sums`: `x` is read once.
pub fn round_and_sum(isa: Isa, y: &mut [bf16], sums: &mut [f32], x: &[f32]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), x.len());
    let width = sums.len();
    let out = Out::new(y, width.max(1));
    sum_groups(isa, sums, x.len().checked_div(width).unwrap_or(0), |r, sums| {
        // SAFETY: each row is one task's.
        let y = unsafe { out.row(r, 0, width) };
        round_and_add_part(isa, y, sums, &x[r * width..(r + 1) * width]);
    });
}

rounding_fn! {
    fn round_and_add_part(s, y: &mut [bf16], sums: &mut [f32], x: &[f32]) {
        let mut i = 0;
        while i < x.len() {
            let v = f32::at(s, x, i);
            bf16::put(s, y, i, v);
            let sum = s.add(f32::at(s, sums, i), v);
            f32::put(s, sums, i, sum);
            i += S::LANES;
        }
    }
}

/// Has `add(r, sums)` add each of `rows` to sums of its group, and adds those to `sums` as a fixed tree.
fn sum_groups(isa: Isa, sums: &mut [f32], rows: usize, add: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let width = sums.len();
    let per_task = (pool::SMALL / width.max(1)).clamp(16, 512);
    let tasks = rows.div_ceil(per_task);
    let mut partial = crate::mem::Buf::zeroed(tasks * width);
    pool::for_chunks(&mut partial, width.max(1), |task, part| {
        for r in task * per_task..((task + 1) * per_task).min(rows) {
            add(r, part);
        }
    });
    pool::tree_add_rows(&mut partial, width);
    if tasks > 0 {
        add_part(isa, sums, &partial[..width]);
    }
}

/// Runs `task(r, row)` for the rows of `y`.
pub(crate) fn rows_of<T: Send>(y: &mut [T], width: usize, task: impl Fn(usize, &mut [T]) + Send + Sync) {
    let width = width.max(1);
    let per_task = (pool::SMALL / width).max(1);
    pool::for_chunks(y, per_task * width, |i, part| {
        for (j, row) in part.chunks_mut(width).enumerate() {
            task(i * per_task + j, row);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_numbers_and_exact_sums() {
        for isa in Isa::available() {
            for (rows, width) in [(0, 3), (1, 1), (5, 33), (700, 70)] {
                let x: Vec<f32> = (0..rows * width).map(|i| (i * 7919 % 1013) as f32 / 7.0).collect();
                let (mut y, mut sums, mut want) = (vec![bf16::ZERO; x.len()], vec![0.5; width], vec![0.5; width]);
                round_and_sum(isa, &mut y, &mut sums, &x);
                sum_rows(isa, &mut want, &x, width);
                assert!(
                    sums == want && y.iter().zip(&x).all(|(y, x)| *y == bf16::from_f32(*x)),
                    "{isa} {rows} {width}"
                );
            }
        }
    }

    #[test]
    fn sums_are_f32() {
        for isa in Isa::available() {
            let x: Vec<bf16> = (0..77).map(|i| bf16::from_f32(i as f32)).collect();
            let mut y = vec![0.5f32; 77];
            add(isa, &mut y, &x);
            assert!(y.iter().enumerate().all(|(i, &y)| y == i as f32 + 0.5));
        }
    }
}
