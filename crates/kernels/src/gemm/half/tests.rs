//! Against sums in double precision of the numbers as bf16 has them.

use super::*;
use crate::{
    gemm::{Activation, activate, activate_backward, tests::numbers},
    optim, pool,
};

fn halves(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|&x| bf16::from_f32(x)).collect()
}

/// A matrix with gaps between its rows, as f32 and as bf16.
struct Stored {
    full: Vec<f32>,
    half: Vec<bf16>,
    ld: usize,
    transposed: bool,
}

impl Stored {
    fn new(rows: usize, cols: usize, transposed: bool, pad: usize, seed: u32) -> Self {
        let (r, c) = if transposed { (cols, rows) } else { (rows, cols) };
        let full = numbers(r * (c + pad), seed);
        Stored { half: halves(&full), full, ld: c + pad, transposed }
    }

    fn at(&self, r: usize, c: usize) -> f64 {
        let i = if self.transposed { c * self.ld + r } else { r * self.ld + c };
        self.half[i].to_f64()
    }
}

/// Of rows without gaps.
fn cross<'a>((m, n, k): (usize, usize, usize), left: &'a [bf16], right: &'a [bf16], sums: ColumnSums<'a>) -> Cross<'a> {
    Cross { left: Rows { data: left, ld: m }, right: Rows { data: right, ld: n }, m, n, k, sums }
}

fn left<'a>(data: &'a [bf16], s: &Stored) -> Left<'a> {
    let rows = Rows { data, ld: s.ld };
    if s.transposed { Left::Transposed(rows) } else { Left::Rows(rows) }
}

fn mat<'a, T>(x: &'a [T], s: &Stored) -> Mat<'a, T> {
    Mat { data: x, ld: s.ld, transposed: s.transposed }
}

#[track_caller]
fn check(m: usize, n: usize, k: usize) {
    for (ta, tb, pad) in [(false, false, 0), (false, true, 3), (true, false, 5), (true, true, 0), (false, false, 32)] {
        let (a, b) = (Stored::new(m, k, ta, pad, 1), Stored::new(k, n, tb, pad, 2));
        let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|p| a.at(i / n, p) * b.at(p, i % n)).sum()).collect();
        // With a number more before, which only the last of the operands below begins behind.
        let mut shifted = vec![bf16::ONE];
        shifted.extend_from_slice(&a.half);
        let (lines, shifted) = (Buf::copy_of(&a.half), Buf::copy_of(&shifted));
        let tolerance = |w: f64| 2e-6 * (k as f64 + 4.0) + w.abs() * 1e-6;
        for isa in Isa::with_half() {
            // Packed from either kind of numbers, the operands are the same.
            let panels = Panels::pack(isa, mat(&b.full, &b), k, n);
            assert!(panels.data[..] == Panels::pack(isa, mat(&b.half, &b), k, n).data[..], "{isa} {m} {n} {k}");
            // Where a line of memory begins, or not.
            for data in [&lines[..], &shifted[1..]] {
                let a = left(data, &a);
                let ldc = n + pad;
                let start = numbers(m * ldc, 5);
                for (accumulate, terms) in [(false, 1), (true, 1), (false, 2)] {
                    let mut c = start.clone();
                    let all = [Term { a, b: &panels }; 2];
                    let epilogue = Epilogue::default().accumulate(accumulate);
                    gemm_half(isa, m, &all[..terms], &mut c, ldc, epilogue);
                    for (i, (&got, &before)) in c.iter().zip(&start).enumerate() {
                        let (r, col) = (i / ldc, i % ldc);
                        if col >= n {
                            assert_eq!(got, before, "written beyond the row");
                            continue;
                        }
                        let w = want[r * n + col] * terms as f64 + if accumulate { before as f64 } else { 0.0 };
                        let error = (got as f64 - w).abs();
                        assert!(error <= tolerance(w), "{isa} {m} {n} {k} {ta} {tb} ({r},{col}): {got} want {w}");
                    }
                }
            }
        }
    }
}

#[test]
fn odd_shapes_match_the_sum() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 1, 0),
        (3, 5, 7),
        (13, 33, 17),
        (12, 32, 32),
        (32, 32, 64),
        (25, 70, 301),
        (1, 130, 64),
        (64, 96, 600),
        (33, 31, 33),
        (100, 300, 40),
        (7, 257, 530),
        (33, 40, 4100),
    ] {
        check(m, n, k);
    }
}

#[test]
fn epilogues() {
    let (m, n, k) = (37, 45, 50);
    let (a, b) = (Stored::new(m, k, false, 0, 1), Stored::new(k, n, false, 0, 2));
    let (bias, residual, kept) = (numbers(n, 3), numbers(m * n, 4), halves(&numbers(m * n, 6)));
    for isa in Isa::with_half() {
        let panels = Panels::pack(isa, mat(&b.half, &b), k, n);
        let terms = [Term { a: left(&a.half, &a), b: &panels }];
        let mut plain = vec![0.0f32; m * n];
        gemm_half(isa, m, &terms, &mut plain, n, Epilogue::default());
        let (mut c, mut keep) = (vec![bf16::ZERO; m * n], vec![bf16::ZERO; m * n]);
        let epilogue = Epilogue::default().bias(Some(&bias)).activation(Activation::Relu).residual(&residual, n);
        gemm_half(isa, m, &terms, &mut c, n, epilogue.keep(&mut keep, n));
        let mut sloped = vec![bf16::ZERO; m * n];
        gemm_half(isa, m, &terms, &mut sloped, n, Epilogue::default().times(&kept, n));
        for i in 0..m * n {
            let before = plain[i] + bias[i % n];
            assert_eq!(keep[i], bf16::from_f32(before));
            assert_eq!(c[i], bf16::from_f32(before.max(0.0) + residual[i]));
            assert_eq!(sloped[i], bf16::from_f32(plain[i] * kept[i].to_f32()));
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (m, n, k) in [(128, 512, 300), (257, 129, 777), (1, 3000, 700), (420, 650, 1000)] {
        let (a, b) = (Stored::new(m, k, true, 0, 1), Stored::new(k, n, true, 0, 2));
        let right = halves(&numbers(k * n, 4));
        for isa in Isa::with_half() {
            let run = |threads| {
                let mut c = vec![0.0f32; m * n];
                pool::with_threads(threads, || {
                    let panels = Panels::pack(isa, mat(&b.full, &b), k, n);
                    gemm_half(isa, m, &[Term { a: left(&a.half, &a), b: &panels }], &mut c, n, Epilogue::default());
                })
                .unwrap();
                c
            };
            let one = run(1);
            assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one), "{isa} {m} {n} {k}");
            let options =
                AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 1, grad_scale: 1.0 };
            let step = |threads| {
                let mut learned = [numbers(m * n, 3), vec![0.0; m * n], vec![0.0; m * n]];
                let mut form = Panels::for_overwrite(m, n);
                let mut sums = vec![0.0; n];
                pool::with_threads(threads, || {
                    let [w, first, second] = &mut learned;
                    let forms = PackedForms { stored: can_renew(isa).then_some(&mut form), transposed: None };
                    let learned = Learned { w, m: first, v: second, forms };
                    adamw_half(isa, cross((m, n, k), &a.half, &right, ColumnSums::Right(&mut sums)), learned, options);
                })
                .unwrap();
                (learned, sums, if can_renew(isa) { bits(&form) } else { Vec::new() })
            };
            let one = step(1);
            assert!([2, 3, 5].into_iter().all(|threads| step(threads) == one), "{isa} {m} {n} {k}: a step");
        }
    }
}

/// `n` numbers that begin a line of memory, as tensors do: such operands are read in place.
fn lines(n: usize, seed: u32) -> Buf<bf16> {
    Buf::copy_of(&halves(&numbers(n, seed)))
}

#[test]
fn operands_in_place_and_results_past_the_caches() {
    // Several parts of the depth, slices of it, tiles, panels, and groups of panels of which the last has one; results of less and of more
    // than what goes past the caches.
    for (m, n, k) in [(64, 96, 320), (96, 64, 8224), (1056, 1024, 32), (544, 2048, 320), (1536, 288, 800)] {
        let (a, b) = (lines(m * k, 1), lines(k * n, 2));
        let (bias, residual, factors) = (numbers(n, 3), numbers(m * n, 4), lines(m * n, 5));
        for isa in Isa::with_half() {
            let panels = Panels::pack(isa, Mat::new(&b, n), k, n);
            let term = [Term { a: Left::Rows(Rows { data: &a, ld: k }), b: &panels }];
            let mut plain = Buf::<f32>::zeroed(m * n);
            gemm_half(isa, m, &term, &mut plain, n, Epilogue::default());
            for at in [0, m * n / 2 + 7, m * n - 1] {
                let (i, j) = (at / n, at % n);
                let want: f64 = (0..k).map(|p| a[i * k + p].to_f64() * b[p * n + j].to_f64()).sum();
                assert!((f64::from(plain[at]) - want).abs() < 2e-6 * (k as f64 + 4.0), "{isa} {m} {n} {k} {i} {j}");
            }
            let near = |what: &str, got: f32, want: f32, i: usize| {
                let error = (got - want).abs();
                assert!(error <= 1e-4 + 8e-3 * want.abs(), "{isa} {m} {n} {k} {what} {i}: {got} want {want}");
            };
            let mut full = Buf::<f32>::zeroed(m * n);
            gemm_half(isa, m, &term, &mut full, n, Epilogue::default().bias(Some(&bias)).residual(&residual, n));
            let (mut c, mut slopes) = (Buf::<bf16>::zeroed(m * n), Buf::<bf16>::zeroed(m * n));
            let activated = || Epilogue::default().bias(Some(&bias)).activation(Activation::GeluTanh);
            gemm_half(isa, m, &term, &mut c, n, activated().keep_slope(&mut slopes, n));
            let mut alone = Buf::<bf16>::zeroed(m * n);
            gemm_half(isa, m, &term, &mut alone, n, activated());
            assert!(c[..] == alone[..], "{isa} {m} {n} {k}: other values where slopes are not kept");
            let mut sloped = Buf::<bf16>::zeroed(m * n);
            gemm_half(isa, m, &term, &mut sloped, n, Epilogue::default().times(&factors, n));
            let x: Vec<f32> = (0..m * n).map(|i| plain[i] + bias[i % n]).collect();
            let (mut want, mut want_slopes) = (vec![0.0; m * n], vec![1.0; m * n]);
            activate(isa, Activation::GeluTanh, &mut want, &x);
            activate_backward(isa, Activation::GeluTanh, &mut want_slopes, &x);
            for i in 0..m * n {
                near("residual", full[i], x[i] + residual[i], i);
                near("value", c[i].to_f32(), want[i], i);
                near("slope", slopes[i].to_f32(), want_slopes[i], i);
                near("factors", sloped[i].to_f32(), plain[i] * factors[i].to_f32(), i);
            }
        }
    }
}

/// The numbers as they are stored: none equals one that is not a number.
fn bits(panels: &Panels) -> Vec<u16> {
    panels.data.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_step_within_the_product_is_the_step_after_it() {
    let options = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step: 3, grad_scale: 0.5 };
    // Whole tiles; ends of rows, columns and depth; several tasks, parts of the depth and blocks.
    for (m, n, k) in [
        (64, 96, 64),
        (1, 1, 1),
        (37, 45, 51),
        (70, 33, 700),
        (800, 400, 40),
        (33, 900, 900),
        (40, 70, 1100),
        (40, 70, 2100),
    ] {
        let (dy, x) = (halves(&numbers(k * m, 1)), halves(&numbers(k * n, 2)));
        let start = [numbers(m * n, 3), numbers(m * n, 4), numbers(m * n, 5).iter().map(|v| v.abs()).collect()];
        for isa in Isa::with_half() {
            let (mut g, mut want) = (vec![0.0; m * n], start.clone());
            let mut sums = vec![0.0; m];
            cross_half(isa, cross((m, n, k), &dy, &x, ColumnSums::Left(&mut sums)), &mut g, false);
            let [w, first, second] = &mut want;
            optim::adamw(isa, options, w, &g, first, second);
            let packed = [Panels::pack(isa, Mat::new(w, n), m, n), Panels::pack(isa, Mat::t(w, n), n, m)];
            for renewed in [false, true] {
                if renewed && !can_renew(isa) {
                    continue;
                }
                let mut forms = [Panels::for_overwrite(m, n), Panels::for_overwrite(n, m)];
                for fused in [true, false] {
                    let mut got = start.clone();
                    let [w, m1, m2] = &mut got;
                    let [stored, transposed] = &mut forms;
                    for form in [&mut stored.data, &mut transposed.data] {
                        form.fill(bf16::NAN);
                    }
                    let forms = match renewed {
                        true => PackedForms { stored: Some(&mut *stored), transposed: Some(&mut *transposed) },
                        false => PackedForms::default(),
                    };
                    let mut bias = vec![f32::NAN; m];
                    let product = cross((m, n, k), &dy, &x, ColumnSums::Left(&mut bias));
                    match fused {
                        true => adamw_half(isa, product, Learned { w, m: m1, v: m2, forms }, options),
                        false => optim::adamw_packed(isa, options, w, &g, m1, m2, [m, n], forms),
                    }
                    assert!(got == want, "{isa} {m} {n} {k} {renewed} {fused}");
                    assert!(!fused || bias == sums, "{isa} {m} {n} {k} {renewed}: other sums");
                    if renewed {
                        assert!(bits(stored) == bits(&packed[0]), "{isa} {m} {n} {k} {fused}: as it is stored");
                        assert!(bits(transposed) == bits(&packed[1]), "{isa} {m} {n} {k} {fused}: its transpose");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_weights_and_biases_are_sums() {
    for (m, n, k, pad) in
        [(1, 1, 0, 0), (1, 1, 1, 3), (37, 45, 51, 0), (33, 70, 700, 7), (64, 96, 64, 32), (400, 500, 1300, 0)]
    {
        let (left, right) = (Stored::new(k, m, false, pad, 1), Stored::new(k, n, false, pad, 2));
        let rows = |x: &'_ Stored| -> Vec<bf16> { x.half.clone() };
        let (l, r) = (rows(&left), rows(&right));
        let start = numbers(m * n, 3);
        for isa in Isa::with_half() {
            for accumulate in [false, true] {
                for of_left in [false, true] {
                    let (mut c, mut sums) = (start.clone(), vec![f32::NAN; if of_left { m } else { n }]);
                    let wanted = if of_left { ColumnSums::Left(&mut sums) } else { ColumnSums::Right(&mut sums) };
                    let (left_rows, right_rows) = (Rows { data: &l, ld: m + pad }, Rows { data: &r, ld: n + pad });
                    cross_half(
                        isa,
                        Cross { left: left_rows, right: right_rows, m, n, k, sums: wanted },
                        &mut c,
                        accumulate,
                    );
                    for at in (0..m * n).step_by(1 + m * n / 700) {
                        let (i, j) = (at / n, at % n);
                        let want: f64 = (0..k).map(|p| left.at(p, i) * right.at(p, j)).sum();
                        let want = want + if accumulate { f64::from(start[at]) } else { 0.0 };
                        let error = (f64::from(c[at]) - want).abs();
                        assert!(error < 2e-6 * (k as f64 + 4.0), "{isa} {m} {n} {k} {i} {j}: {} want {want}", c[at]);
                    }
                    let of = if of_left { &left } else { &right };
                    for (j, sum) in sums.iter().enumerate() {
                        let want: f64 = (0..k).map(|p| of.at(p, j)).sum();
                        let error = (f64::from(*sum) - want).abs();
                        assert!(error < 2e-6 * (k as f64 + 4.0), "{isa} {m} {n} {k} sum {j}: {sum} want {want}");
                    }
                }
            }
        }
    }
}

/// The operand `[k, n]` as panels, or turned, as tiles or rows; the sums of its columns, if they are `summed`.
fn packed<T: Number>(way: usize, x: Mat<'_, T>, (k, n): (usize, usize), summed: bool) -> (Vec<bf16>, Vec<f32>) {
    let half = token(Isa::detect());
    let mut to = vec![bf16::ONE; n.next_multiple_of(32) * k.next_multiple_of(32)];
    let mut sums = vec![0.5; if summed { n.next_multiple_of(32) } else { 0 }];
    match way {
        0 => pack::panels_of(half, &mut to, x, (k, n), 0, &mut sums),
        1 => pack::tiles_of(half, &mut to, x.t_view(), (n, k), 0, &mut sums),
        _ => pack::rows_summed(half, &mut to, x.t_view(), (n, k), 0, &mut sums),
    }
    (to, sums)
}

#[test]
fn blocks_of_halves_are_packed_and_turned_as_those_of_singles() {
    if Isa::detect().avx512_bf16().is_none() {
        return;
    }
    // Neighbours differ, as bf16, too. Blocks of 32 by 32, and what is left of them.
    let (depth, others, ld) = (150, 90, 101);
    let numbers = (0..depth * ld).map(|i| (i * 131 % 16_411) as f32);
    let singles: Vec<f32> = numbers.map(|x| bf16::from_f32(x).to_f32()).collect();
    let halves = halves(&singles);
    for (k, n) in [(depth, others), (64, 64), (33, 31)] {
        for (way, summed) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
            let want = packed(way, Mat::new(&singles, ld), (k, n), summed);
            let got = packed(way, Mat::new(&halves, ld), (k, n), summed);
            assert!(want == got, "way {way}, {k} by {n}, sums {summed}");
            if way == 2 {
                let (rows, line) = (got.0, k.next_multiple_of(32));
                assert!((0..k).all(|p| (0..n).all(|c| rows[c * line + p] == halves[p * ld + c])), "{k} by {n}");
            }
        }
    }
}
