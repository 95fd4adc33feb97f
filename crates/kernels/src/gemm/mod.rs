//! Matrix products: `C (+)= op(A) op(B)`, and what is done to `C` while it is at hand.
//!
//! There is one entry, [`gemm()`], and one description of what follows the product, [`Epilogue`]. Behind it stand the
//! `gemm` crate, which always takes the best instructions that the processor has, and the project's own driver with
//! a micro-kernel for each instruction set; `choose` says which serves. Micro-kernels for other number formats plug
//! into the same driver: they bring a tile product and a packing, and share blocking, threads and epilogues.

mod driver;
mod epilogue;
mod few;
pub(crate) mod half;
mod int8;
mod pack;
mod tasks;
mod tile;

pub(crate) use epilogue::Block;
pub use epilogue::{Activation, Epilogue, activate, activate_backward};
pub use half::{
    ColumnSums, Cross, Learned, Left as HalfLeft, PackedForms, Panels, Rows, Term, adamw_half, can_renew, cross_half,
    gemm_half,
};
pub use int8::{Int8Panels, Int8Rows, gemm_int8, int8_instruction};
pub(crate) use tile::{Left, accumulate, tile};

use crate::{
    isa::{Isa, Level},
    out::Out,
    profile,
};

/// Rows, columns and depth of a product, as in BLAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gemm {
    /// Rows of `C`.
    pub m: usize,
    /// Columns of `C`.
    pub n: usize,
    /// Columns of `op(A)`, rows of `op(B)`.
    pub k: usize,
}

/// A matrix in a slice, stored by rows: element `(r, c)` is `data[r * ld + c]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T = f32> {
    /// The numbers; the last row may end before `ld`.
    pub data: &'a [T],
    /// From the start of a row to the start of the next.
    pub ld: usize,
    /// Whether the operand is the transpose of what is stored.
    pub transposed: bool,
}

impl<'a, T: Copy> Mat<'a, T> {
    /// The matrix as it is stored.
    pub fn new(data: &'a [T], ld: usize) -> Self {
        Mat { data, ld, transposed: false }
    }

    /// The transpose of what is stored.
    pub fn t(data: &'a [T], ld: usize) -> Self {
        Mat { data, ld, transposed: true }
    }

    /// The transpose of the operand.
    pub(crate) fn t_view(self) -> Self {
        Mat { transposed: !self.transposed, ..self }
    }

    /// Row and column strides of the operand.
    fn strides(&self) -> (usize, usize) {
        if self.transposed { (1, self.ld) } else { (self.ld, 1) }
    }

    /// Panics unless an operand of `rows × cols` lies within the slice.
    fn check(&self, what: &str, rows: usize, cols: usize) {
        let (stored_rows, stored_cols) = if self.transposed { (cols, rows) } else { (rows, cols) };
        let wanted = if stored_rows == 0 { 0 } else { (stored_rows - 1) * self.ld + stored_cols };
        assert!(
            stored_cols <= self.ld || stored_rows <= 1,
            "{what}: rows of {stored_cols} overlap at stride {}",
            self.ld
        );
        assert!(self.data.len() >= wanted, "{what}: got {} numbers, wanted {wanted}", self.data.len());
    }
}

/// `C = epilogue(op(A) op(B))` in f32; `c` is stored by rows, `ldc` apart.
///
/// # Panics
/// If a slice is too short for the shape, which is a mistake of the calling code.
pub fn gemm(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, c: &mut [f32], ldc: usize, epilogue: Epilogue<'_>) {
    let _time = profile::scope(profile::Kind::Product);
    let Gemm { m, n, k } = shape;
    a.check("A", m, k);
    b.check("B", k, n);
    epilogue.check(m, n);
    assert!(!epilogue.is_step(), "steps are taken by products of bf16");
    assert!(n <= ldc || m <= 1, "C: rows of {n} overlap at stride {ldc}");
    if m == 0 || n == 0 {
        return;
    }
    assert!(c.len() >= (m - 1) * ldc + n, "C: got {} numbers, wanted {}", c.len(), (m - 1) * ldc + n);
    let out = Out::new(c, ldc);
    match choose(isa, m, b.transposed) {
        Chosen::Few => few::gemm(isa, shape, a, b, out, &epilogue),
        Chosen::Crate => by_crate(isa, shape, a, b, out, &epilogue),
        Chosen::Driver => driver::gemm(isa, shape, a, b, out, &epilogue),
    }
}

/// Which implementation serves a product.
enum Chosen {
    /// The own kernel for few rows.
    Few,
    /// The `gemm` crate.
    Crate,
    /// The own driver.
    Driver,
}

/// The table of implementations by shape class and instruction set, filled by `bedstone bench kernels` (`bench/kernels`):
///
/// | rows | `B` in memory | AVX-512 | AVX2 | portable |
/// |---|---|---|---|---|
/// | up to 4 | either | few | few | few |
/// | up to 8 | either | `[n, k]`: few, `[k, n]`: crate | few | driver |
/// | up to 16 | `[n, k]` | few | driver | driver |
/// | up to 256 | `[n, k]` | driver | driver | driver |
/// | up to 256 | `[k, n]` | crate | driver | driver |
/// | more | either | crate | driver | driver |
///
/// With few rows the time is that of reading the weights, and packing them costs up to ten times as much. On AVX-512 the driver turns
/// the product of 17 to 256 rows and a weight round, so that the weight is read in place: 280 to 346 GFLOP/s on a Xeon, the crate
/// 147 to 290, the kernel for few rows 180 to 198. With more rows, and for `[k, n]`, driver and crate are within a tenth of each other.
fn choose(isa: Isa, m: usize, transposed: bool) -> Chosen {
    let few = match isa.level() {
        Level::Portable => 4,
        Level::Avx2 => 8,
        _ if !transposed => 4,
        _ => 16,
    };
    if m <= few {
        Chosen::Few
    } else if isa.level() >= Level::Avx512 && !(transposed && m <= 256) {
        Chosen::Crate
    } else {
        Chosen::Driver
    }
}

fn by_crate(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, out: Out<'_>, epilogue: &Epilogue<'_>) {
    let Gemm { m, n, k } = shape;
    let ((a_rs, a_cs), (b_rs, b_cs)) = (a.strides(), b.strides());
    // Sharing a product of this size among threads takes longer than the product.
    let parallelism = if m * n * k <= 48 * 48 * 256 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) };
    // SAFETY: `check` proved that both operands, and the caller that `out`, lie within their slices at these strides;
    // `out` is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.ptr(),
            1,
            out.ld() as isize,
            epilogue.accumulate,
            a.data.as_ptr(),
            a_cs as isize,
            a_rs as isize,
            b.data.as_ptr(),
            b_cs as isize,
            b_rs as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    if !epilogue.is_plain() {
        epilogue.apply_in_place(isa, m, n, out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pool;

    /// Numbers in -1..1 that depend on nothing but their place.
    pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f32> {
        let mut x = seed.wrapping_mul(2_654_435_761) | 1;
        (0..n)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                (x >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn reference(shape: Gemm, a: Mat<'_>, b: Mat<'_>) -> Vec<f64> {
        let ((ar, ac), (br, bc)) = (a.strides(), b.strides());
        let mut c = Vec::with_capacity(shape.m * shape.n);
        for i in 0..shape.m {
            for j in 0..shape.n {
                c.push(
                    (0..shape.k).map(|p| a.data[i * ar + p * ac] as f64 * b.data[p * br + j * bc] as f64).sum::<f64>(),
                );
            }
        }
        c
    }

    #[track_caller]
    fn check(m: usize, n: usize, k: usize) {
        let shape = Gemm { m, n, k };
        for (ta, tb, pad) in [(false, false, 0), (false, true, 3), (true, false, 5), (true, true, 0)] {
            let (lda, ldb, ldc) = (if ta { m } else { k } + pad, if tb { k } else { n } + pad, n + pad);
            let (a, b) = (numbers(lda * m.max(k), 1), numbers(ldb * n.max(k), 2));
            let a = Mat { data: &a, ld: lda, transposed: ta };
            let b = Mat { data: &b, ld: ldb, transposed: tb };
            let want = reference(shape, a, b);
            let (bias, residual) = (numbers(n, 3), numbers(m * n, 4));
            for isa in Isa::available() {
                for (accumulate, all) in [(false, false), (true, false), (false, true)] {
                    let start = numbers(m * ldc, 5);
                    let mut c = start.clone();
                    let mut kept = vec![0.0; m * n];
                    let mut epilogue = Epilogue::default().accumulate(accumulate);
                    if all {
                        epilogue = epilogue.bias(Some(&bias)).activation(Activation::Relu);
                        epilogue = epilogue.residual(&residual, n).keep(&mut kept, n);
                    }
                    gemm(isa, shape, a, b, &mut c, ldc, epilogue);
                    for i in 0..m {
                        for j in 0..ldc {
                            let got = c[i * ldc + j] as f64;
                            if j >= n {
                                assert_eq!(c[i * ldc + j], start[i * ldc + j], "written beyond the row");
                                continue;
                            }
                            let mut w = want[i * n + j];
                            if accumulate {
                                w += start[i * ldc + j] as f64;
                            }
                            if all {
                                w += bias[j] as f64;
                                assert!((kept[i * n + j] as f64 - w).abs() < 1e-5 * (k as f64 + 4.0), "kept");
                                w = w.max(0.0) + residual[i * n + j] as f64;
                            }
                            assert!(
                                (got - w).abs() < 1e-6 * (k as f64 + 4.0),
                                "{isa} {shape:?} {ta} {tb} ({i},{j}): {got} want {w}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn odd_shapes_match_the_sum() {
        for (m, n, k) in [(1, 1, 1), (1, 1, 0), (3, 5, 7), (13, 33, 17), (12, 32, 1), (25, 70, 300), (1, 130, 64)] {
            check(m, n, k);
        }
        for (m, n, k) in
            [(1, 200, 33), (2, 70, 65), (4, 64, 100), (5, 63, 16), (7, 129, 31), (32, 66, 50), (33, 66, 50)]
        {
            check(m, n, k);
        }
        // Behind the boundaries of the kernel for few rows, in rows and in depth.
        for (m, n, k) in [(200, 300, 40), (256, 67, 30), (257, 67, 30), (3, 66, 1025), (34, 5, 2100)] {
            check(m, n, k);
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        for (m, n, k) in [
            (128, 512, 300),
            (257, 129, 777),
            (64, 1000, 64),
            (1000, 48, 500),
            (1, 3000, 700),
            (6, 900, 80),
            (50, 200, 1100),
        ] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            for isa in Isa::available() {
                for (ta, tb) in [(false, false), (true, true)] {
                    let run = |threads| {
                        let mut c = vec![0.0; m * n];
                        let a = Mat { data: &a, ld: if ta { m } else { k }, transposed: ta };
                        let b = Mat { data: &b, ld: if tb { k } else { n }, transposed: tb };
                        let shape = Gemm { m, n, k };
                        pool::with_threads(threads, || gemm(isa, shape, a, b, &mut c, n, Epilogue::default())).unwrap();
                        c
                    };
                    let one = run(1);
                    for threads in [2, 3, 5] {
                        assert!(one == run(threads), "{isa} {m} {n} {k}, {threads} threads");
                    }
                }
            }
        }
    }
}
