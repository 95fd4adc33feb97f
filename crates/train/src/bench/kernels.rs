//! The speed of single kernels on every instruction set, at the shapes that training and inference bring.

use std::time::{Duration, Instant};

use bedstone_kernels::{
    Isa,
    attention::{Attention, Heads, attention},
    bf16,
    gemm::{
        ColumnSums, Cross, Epilogue, Gemm, HalfLeft, Int8Panels, Int8Rows, Mat, Panels, Rows, Term, cross_half, gemm,
        gemm_half, gemm_int8,
    },
    loss::{CrossEntropy, cross_entropy},
    mem::Buf,
    norm::{self, Norm, norm},
    optim::{self, adamw},
};
use serde::Serialize;

/// One kernel at one shape on one instruction set.
#[derive(Clone, Debug, Serialize)]
pub struct KernelRow {
    /// What is computed.
    pub kernel: &'static str,
    /// Of which size; of products rows, columns and depth.
    pub shape: String,
    /// On which numbers.
    pub precision: &'static str,
    /// With which instructions.
    pub isa: String,
    /// The best time, in milliseconds.
    pub ms: f64,
    /// 10⁹ operations a second, of products and attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// 10⁹ bytes read and written a second, of what memory bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
}

/// Products by what they are in a model; weights lie `[out, in]`.
const PRODUCTS: [(&str, Operands, Gemm); 15] = [
    ("linear", Operands::Forward, Gemm { m: 2048, n: 1152, k: 288 }),
    ("linear", Operands::Forward, Gemm { m: 2048, n: 384, k: 1536 }),
    ("linear", Operands::Forward, Gemm { m: 1024, n: 3072, k: 768 }),
    ("head", Operands::Forward, Gemm { m: 512, n: 50304, k: 768 }),
    ("input gradient", Operands::Input, Gemm { m: 1024, n: 768, k: 3072 }),
    ("weight gradient", Operands::Weight, Gemm { m: 1536, n: 384, k: 2048 }),
    ("weight gradient", Operands::Weight, Gemm { m: 3072, n: 768, k: 1024 }),
    ("one token", Operands::Forward, Gemm { m: 1, n: 3072, k: 768 }),
    ("one token, [in, out]", Operands::Input, Gemm { m: 1, n: 3072, k: 768 }),
    ("four tokens", Operands::Forward, Gemm { m: 4, n: 3072, k: 768 }),
    ("a line", Operands::Forward, Gemm { m: 16, n: 1536, k: 384 }),
    ("a line, [in, out]", Operands::Input, Gemm { m: 16, n: 1536, k: 384 }),
    ("a line", Operands::Forward, Gemm { m: 32, n: 3072, k: 768 }),
    ("a picture", Operands::Forward, Gemm { m: 197, n: 3072, k: 768 }),
    ("a picture", Operands::Forward, Gemm { m: 197, n: 768, k: 3072 }),
];

/// How the operands of a product lie.
#[derive(Clone, Copy)]
enum Operands {
    /// Rows by the transpose of a weight.
    Forward,
    /// Rows by a weight.
    Input,
    /// The transpose of rows by rows.
    Weight,
}

impl Operands {
    fn mats<'a, T: Copy>(self, shape: Gemm, a: &'a [T], b: &'a [T]) -> (Mat<'a, T>, Mat<'a, T>) {
        let Gemm { m, n, k } = shape;
        match self {
            Operands::Forward => (Mat::new(a, k), Mat::t(b, k)),
            Operands::Input => (Mat::new(a, k), Mat::new(b, n)),
            Operands::Weight => (Mat::t(a, m), Mat::new(b, n)),
        }
    }
}

/// Times every kernel on each of `isas`, and hands over the rows as they come. `each` is the time a row takes.
pub fn bench_kernels(isas: &[Isa], each: Duration, mut row: impl FnMut(KernelRow)) {
    let numbers = |n: usize| -> Vec<f32> { (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect() };
    for (kernel, operands, shape) in PRODUCTS {
        let Gemm { m, n, k } = shape;
        let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
        let half: Vec<_> = a.iter().map(|&x| bf16::from_f32(x)).collect();
        let right: Vec<_> = b.iter().map(|&x| bf16::from_f32(x)).collect();
        let ((a, b), half, right) = (operands.mats(shape, &a, &b), Buf::copy_of(&half), Buf::copy_of(&right));
        let mut put = |isa: Isa, precision, seconds: f64| {
            let gflops = Some(2e-9 * (m * n * k) as f64 / seconds);
            let shape = format!("{m}x{n}x{k}");
            row(KernelRow {
                kernel,
                shape,
                precision,
                isa: isa.to_string(),
                ms: 1e3 * seconds,
                gflops,
                gb_per_s: None,
            });
        };
        for &isa in isas {
            let seconds = best(each, || gemm(isa, shape, a, b, &mut c, n, Epilogue::default()));
            put(isa, "f32", seconds);
            if isa.has_bf16() {
                let seconds = match operands {
                    Operands::Weight => best(each, || {
                        let (left, right) = (Rows { data: &half, ld: m }, Rows { data: &right, ld: n });
                        let cross = Cross { left, right, m, n, k, sums: ColumnSums::None };
                        cross_half(isa, cross, &mut c, false);
                    }),
                    _ => {
                        // A weight is packed once for many products.
                        let panels = Panels::pack(isa, b, k, n);
                        best(each, || {
                            let terms = [Term { a: HalfLeft::Rows(Rows { data: &half, ld: k }), b: &panels }];
                            gemm_half(isa, m, &terms, &mut c, n, Epilogue::default());
                        })
                    }
                };
                put(isa, "bf16", seconds);
            }
            if !matches!(operands, Operands::Weight) {
                // The weight is rounded once, the rows for each product.
                let panels = Int8Panels::pack(b, k, n);
                let seconds = best(each, || {
                    let rows = Int8Rows::quantise(isa, a.data, m, k);
                    gemm_int8(isa, &rows, &panels, &mut c, n, Epilogue::default());
                });
                put(isa, "int8", seconds);
            }
        }
    }
    for &isa in isas {
        others(isa, each, &numbers, &mut row);
    }
}

/// What is no product of matrices.
fn others(isa: Isa, each: Duration, numbers: &dyn Fn(usize) -> Vec<f32>, row: &mut dyn FnMut(KernelRow)) {
    let mut put = |kernel, shape: String, seconds: f64, gflops: Option<f64>, gb_per_s: Option<f64>| {
        row(KernelRow { kernel, shape, precision: "f32", isa: isa.to_string(), ms: 1e3 * seconds, gflops, gb_per_s });
    };
    let (b, heads, t, d) = (2, 12, 512, 64);
    let width = heads * d;
    let qkv = numbers(b * t * 3 * width);
    let (mut out, mut lse) = (vec![0.0; b * t * width], vec![0.0; b * heads * t]);
    let part = |i| Heads { data: &qkv[..], batch: 3 * width * t, token: 3 * width, first: i * width };
    let spec =
        Attention { b, heads, kv_heads: heads, tq: t, tk: t, d, scale: 0.125, causal: true, ..Default::default() };
    let seconds = best(each, || attention(isa, &spec, &mut out, Some(&mut lse), part(0), part(1), part(2)));
    let operations = 2e-9 * (b * heads * t * t * d) as f64;
    put("causal attention", format!("{b}x{heads}x{t}x{d}"), seconds, Some(operations / seconds), None);

    let bytes = |n: usize, seconds: f64| Some(4e-9 * n as f64 / seconds);
    let (rows, width) = (1024, 768);
    let (x, mut y, w, mut stats) =
        (numbers(rows * width), vec![0.0; rows * width], numbers(width), vec![0.0; 2 * rows]);
    let kind = Norm::Layer { eps: 1e-5 };
    let dense = norm::Rows::dense(rows, width);
    let seconds = best(each, || norm::<f32, f32>(isa, kind, dense, &mut y, &x, Some(&w), Some(&w), &mut stats));
    put("layer norm", format!("{rows}x{width}"), seconds, None, bytes(2 * rows * width, seconds));

    let (rows, classes) = (128, 50304);
    let labels: Vec<i32> = (0..rows as i32).collect();
    let (mut logits, mut losses) = (numbers(rows * classes), vec![0.0; rows]);
    let options = CrossEntropy { gradient: Some(1.0), ..Default::default() };
    let seconds = best(each, || cross_entropy(isa, options, &mut logits, classes, &labels, &mut losses));
    put("cross-entropy", format!("{rows}x{classes}"), seconds, None, bytes(2 * rows * classes, seconds));

    let n = 8 << 20;
    let (mut w, g) = (Buf::<f32>::zeroed(n), Buf::<f32>::zeroed(n));
    let (mut m, mut v) = (Buf::<f32>::zeroed(n), Buf::<f32>::zeroed(n));
    let options =
        optim::AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, step: 1, grad_scale: 1.0 };
    let seconds = best(each, || adamw(isa, options, &mut w, &g, &mut m, &mut v));
    put("AdamW", format!("{n}"), seconds, None, bytes(7 * n, seconds));
}

/// Seconds of the fastest of four runs or more within about `time`; of one if that is nothing.
pub(crate) fn best(time: Duration, mut run: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    for round in 1.. {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        if time.is_zero() || (round > 3 && begin.elapsed() > time) {
            break;
        }
    }
    best
}
