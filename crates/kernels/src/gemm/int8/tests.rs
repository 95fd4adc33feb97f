//! Against sums of integers in plain Rust, and against products of the numbers before they were rounded.

use half::bf16;

use super::*;
use crate::{
    gemm::{Activation, tests::numbers},
    pool,
};

/// The step and the zero of a row, and its numbers, by the definition.
fn quantised_row(x: &[f32]) -> (f32, i32, Vec<u8>) {
    if x.iter().any(|x| !x.is_finite()) {
        return (f32::NAN, 0, vec![0; x.len()]);
    }
    let high = x.iter().fold(0.0f32, |m, x| m.max(*x));
    let low = x.iter().fold(0.0f32, |m, x| m.max(-x));
    let scale = high / 255.0 + low / 255.0;
    if scale < 1e-36 {
        return (0.0, 0, vec![0; x.len()]);
    }
    let zero = (low * (1.0 / scale)).round_ties_even().min(255.0);
    let q = x.iter().map(|x| ((x * (1.0 / scale)).round_ties_even() + zero).clamp(0.0, 255.0) as u8).collect();
    (scale, zero as i32, q)
}

/// The step of a column, and its numbers, by the definition.
fn quantised_column(w: &[f32]) -> (f32, Vec<i8>) {
    let scale = w.iter().fold(0.0f32, |m, w| m.max(w.abs())) / 127.0;
    if w.iter().any(|w| !w.is_finite()) {
        return (f32::NAN, vec![0; w.len()]);
    }
    if scale < 1e-36 {
        return (0.0, vec![0; w.len()]);
    }
    (scale, w.iter().map(|w| (w * (1.0 / scale)).round_ties_even() as i8).collect())
}

/// `x [m, k]` by `w [n, k]` transposed, exactly but for the last two roundings.
fn reference(x: &[f32], w: &[f32], k: usize) -> Vec<f32> {
    let rows: Vec<_> = (0..x.len() / k.max(1)).map(|i| quantised_row(&x[i * k..(i + 1) * k])).collect();
    let columns: Vec<_> = (0..w.len() / k.max(1)).map(|i| quantised_column(&w[i * k..(i + 1) * k])).collect();
    let mut y = Vec::new();
    for (sx, zero, a) in &rows {
        for (sw, b) in &columns {
            let sum: i64 = a.iter().zip(b).map(|(&a, &b)| (i64::from(a) - i64::from(*zero)) * i64::from(b)).sum();
            y.push(i32::try_from(sum).unwrap() as f32 * (sx * sw));
        }
    }
    y
}

fn transposed(w: &[f32], n: usize, k: usize) -> Vec<f32> {
    (0..n * k).map(|i| w[i % n * k + i / n]).collect()
}

/// Whether both are the same bits, or both NaN.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

#[track_caller]
fn check_numbers(x: &[f32], w: &[f32], m: usize, n: usize, k: usize) {
    let want = if k == 0 { vec![0.0; m * n] } else { reference(x, w, k) };
    let wt = transposed(w, n, k);
    for w in [Int8Panels::pack(Mat::t(w, k), k, n), Int8Panels::pack(Mat::new(&wt, n), k, n)] {
        for isa in Isa::available() {
            let ldc = n + 3;
            let start = numbers(m * ldc, 5);
            let mut c = start.clone();
            gemm_int8(isa, &Int8Rows::quantise(isa, x, m, k), &w, &mut c, ldc, Epilogue::default());
            for r in 0..m {
                let (got, beyond) = c[r * ldc..(r + 1) * ldc].split_at(n);
                assert!(same(got, &want[r * n..(r + 1) * n]), "{isa} {m} {n} {k} row {r}");
                assert_eq!(beyond, &start[r * ldc + n..(r + 1) * ldc], "written beyond the row");
            }
        }
    }
}

#[track_caller]
fn check(m: usize, n: usize, k: usize) {
    check_numbers(&numbers(m * k, 1), &numbers(n * k, 2), m, n, k);
}

#[test]
fn odd_shapes_are_exact() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 0),
        (3, 5, 7),
        (13, 33, 17),
        (12, 32, 32),
        (4, 64, 65),
        (25, 70, 301),
        (1, 130, 64),
        (64, 96, 600),
        (33, 31, 33),
        (100, 300, 40),
        (7, 257, 1030),
    ] {
        check(m, n, k);
    }
}

#[test]
fn the_largest_sums_fit() {
    // All at the end of the range: pairs of these overflow 16 bits, and the deepest sums nearly 32.
    for k in [64, Int8Panels::MAX_DEPTH] {
        for (x, w) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            check_numbers(&vec![x; 2 * k], &vec![w; 3 * k], 2, 3, k);
        }
        let x: Vec<f32> = (0..2 * k).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        check_numbers(&x, &x[..k], 2, 1, k);
    }
}

#[test]
fn rows_and_columns_of_zeros_and_of_tiny_and_huge_numbers() {
    let (m, n, k) = (6, 5, 37);
    let (mut x, mut w) = (numbers(m * k, 1), numbers(n * k, 2));
    for (i, factor) in [0.0, 1e-40, 1e-30, 3e38, -0.0].into_iter().enumerate() {
        x[i * k..(i + 1) * k].iter_mut().for_each(|x| *x *= factor);
        w[i * k..(i + 1) * k].iter_mut().for_each(|w| *w *= f32::min(factor, 1e3));
    }
    check_numbers(&x, &w, m, n, k);
}

#[test]
fn what_is_not_finite_makes_its_row_and_its_column_nan() {
    let (m, n, k) = (14, 35, 70);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 5, 69] {
            let (mut x, mut w) = (numbers(m * k, 1), numbers(n * k, 2));
            x[3 * k + place] = bad;
            w[33 * k + place] = bad;
            check_numbers(&x, &w, m, n, k);
            let want = reference(&x, &w, k);
            for (i, y) in want.iter().enumerate() {
                assert_eq!(y.is_nan(), i / n == 3 || i % n == 33, "{bad} at {place}: {i}");
            }
        }
    }
}

#[test]
fn rounding_is_within_half_a_step() {
    for seed in 0..200 {
        let k = 1 + seed as usize % 90;
        let shift = (seed % 5) as f32 / 2.0 - 1.0;
        let x: Vec<f32> = numbers(k, seed).iter().map(|x| (x + shift) * 10f32.powi(seed as i32 % 9 - 4)).collect();
        for isa in Isa::available() {
            let rows = Int8Rows::quantise(isa, &x, 1, k);
            let (scale, zero, q) = quantised_row(&x);
            assert_eq!((rows.scales[0], rows.zeros[0], &rows.data[..k]), (scale, zero, &q[..]), "{isa} {seed}");
        }
        let (scale, zero, q) = quantised_row(&x);
        for (x, q) in x.iter().zip(q) {
            let got = scale * (i32::from(q) - zero) as f32;
            // One end of the range may be half a step beyond the last number.
            assert!((x - got).abs() <= 1.001 * scale, "{seed}: {x} became {got}, step {scale}");
            assert!(*x != 0.0 || got == 0.0, "zero is exact");
            let end = matches!(q, 0 | 255);
            assert!(end || (x - got).abs() <= 0.501 * scale, "{seed}: {x} became {got}, step {scale}");
        }
    }
}

#[test]
fn the_error_is_that_of_rounding() {
    for (m, n, k, shift) in [(9, 40, 64, 0.0), (5, 33, 300, 0.7), (3, 64, 1536, -0.4)] {
        let x: Vec<f32> = numbers(m * k, 1).iter().map(|x| x + shift).collect();
        let w = numbers(n * k, 2);
        let y = reference(&x, &w, k);
        for r in 0..m {
            let x = &x[r * k..(r + 1) * k];
            let (sx, ..) = quantised_row(x);
            for c in 0..n {
                let w = &w[c * k..(c + 1) * k];
                let (sw, _) = quantised_column(w);
                let (mut want, mut allowed) = (0.0, 1e-5);
                for (&x, &w) in x.iter().zip(w) {
                    want += f64::from(x) * f64::from(w);
                    // Of the activation a step, of the weight half of one.
                    allowed += f64::from(sx * w.abs() + (x.abs() + sx) * sw / 2.0);
                }
                let error = (f64::from(y[r * n + c]) - want).abs();
                assert!(error <= allowed, "({r},{c}): error {error}, allowed {allowed}");
                // And in practice far less, since errors have both signs.
                assert!(error <= 12.0 * allowed / (k as f64).sqrt(), "({r},{c}): error {error}, allowed {allowed}");
            }
        }
    }
}

#[test]
fn rows_of_bf16_are_those_of_their_numbers() {
    let half: Vec<bf16> = numbers(7 * 45, 3).into_iter().map(bf16::from_f32).collect();
    let full: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
    for isa in Isa::available() {
        let (a, b) = (Int8Rows::quantise(isa, &half, 7, 45), Int8Rows::quantise(isa, &full, 7, 45));
        assert!(a.data[..] == b.data[..] && a.scales[..] == b.scales[..] && a.zeros[..] == b.zeros[..], "{isa}");
    }
}

#[test]
fn epilogues() {
    let (m, n, k) = (37, 45, 50);
    let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
    let (bias, residual) = (numbers(n, 3), numbers(m * n, 4));
    let plain = reference(&x, &w, k);
    let panels = Int8Panels::pack(Mat::t(&w, k), k, n);
    for isa in Isa::available() {
        let rows = Int8Rows::quantise(isa, &x, m, k);
        let epilogue = || Epilogue::default().bias(Some(&bias)).activation(Activation::Relu);
        let (mut full, mut half) = (vec![0.0f32; m * n], vec![bf16::ZERO; m * n]);
        gemm_int8(isa, &rows, &panels, &mut full, n, epilogue().residual(&residual, n));
        gemm_int8(isa, &rows, &panels, &mut half, n, Epilogue::default().bias(Some(&bias)));
        for i in 0..m * n {
            let before = plain[i] + bias[i % n];
            assert_eq!(full[i], before.max(0.0) + residual[i], "{isa}");
            assert_eq!(half[i], bf16::from_f32(before), "{isa}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (m, n, k) in [(128, 512, 300), (257, 129, 777), (1, 3000, 700)] {
        let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
        for isa in Isa::available() {
            let run = |threads| {
                let mut c = vec![0.0f32; m * n];
                pool::with_threads(threads, || {
                    let panels = Int8Panels::pack(Mat::t(&w, k), k, n);
                    gemm_int8(isa, &Int8Rows::quantise(isa, &x, m, k), &panels, &mut c, n, Epilogue::default());
                })
                .unwrap();
                c
            };
            let one = run(1);
            assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one), "{isa} {m} {n} {k}");
        }
    }
}
