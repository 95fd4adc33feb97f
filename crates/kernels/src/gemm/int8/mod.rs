//! Products of numbers rounded to eight bits, for inference.
//!
//! ```text
//! mod.rs        operands, the entry
//! quantise.rs   from f32 and bf16 to operands
//! driver.rs     blocks, threads, epilogues
//! vnni.rs       the micro-kernel of AVX512-VNNI
//! wide.rs       micro-kernels of AVX-512 and AVX2, which multiply 16-bit numbers
//! portable.rs   the micro-kernel in plain Rust
//! ```
//!
//! A weight is `w ≈ sw[n] · b` with `b` in -127..=127 and a scale for each column of the product; an activation is
//! `x ≈ sx[m] · (a - z[m])` with `a` in 0..=255 and scale and zero point for each row, found when the row is seen. Then
//!
//! ```text
//! Σ x w ≈ sx sw (Σ a b - z Σ b)
//! ```
//!
//! whose sums are integers, so they are the same on every instruction set, whatever the order; `Σ b` is known when the
//! weight is packed. Fours of neighbours along the depth `k` are multiplied and added at once.
//!
//! A row of activations, or a column of weights, that is not all finite gives NaN in all of its results.

mod driver;
mod portable;
mod quantise;
mod tile;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
mod wide;

use super::{Epilogue, Mat};
use crate::{isa::Isa, mem::Buf, number::Number, out::Out, profile};

/// Columns of a panel.
pub(crate) const NR: usize = 32;
/// Depth is padded to a multiple of this.
pub(crate) const KR: usize = 4;

/// A right operand `[k, n]` rounded to eight bits, packed.
///
/// Panel `j` has the columns `32 j..32 (j + 1)`; in it the four `q` of column `c` is numbers `4 c..4 (c + 1)` of line `q`.
/// Zeros fill the last panel and the depth up to a multiple of 4.
pub struct Int8Panels {
    data: Buf<i8>,
    /// Of each column, up to a multiple of 32: what a step is worth.
    scales: Buf<f32>,
    /// Of each column: the sum of its numbers.
    sums: Buf<i32>,
    k: usize,
    n: usize,
}

impl Int8Panels {
    /// The deepest product whose sums fit 32 bits: `255 · 127 · k < 2³¹`.
    pub const MAX_DEPTH: usize = 1 << 16;

    /// Rounds and packs an operand of `k` rows and `n` columns: the largest magnitude of each column becomes 127.
    ///
    /// # Panics
    /// If the numbers are too few, or `k` is above [`Self::MAX_DEPTH`].
    pub fn pack(x: Mat<'_>, k: usize, n: usize) -> Self {
        let _time = profile::scope(profile::Kind::Pack);
        x.check("B", k, n);
        assert!(k <= Self::MAX_DEPTH, "B: got depth {k}, wanted at most {}", Self::MAX_DEPTH);
        let width = n.next_multiple_of(NR);
        let mut panels = Int8Panels {
            data: Buf::for_overwrite(width * k.next_multiple_of(KR)),
            scales: Buf::for_overwrite(width),
            sums: Buf::for_overwrite(width),
            k,
            n,
        };
        quantise::panels(&mut panels, x);
        panels
    }

    /// Depth.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.data.len() + 4 * (self.scales.len() + self.sums.len())
    }
}

/// A left operand `[m, k]` rounded to eight bits, row by row.
pub struct Int8Rows {
    /// Rows `ld` apart; what stands behind each meets zeros of the panels.
    data: Buf<u8>,
    /// Of each row: what a step is worth.
    scales: Buf<f32>,
    /// Of each row: what stands for zero.
    zeros: Buf<i32>,
    m: usize,
    k: usize,
    ld: usize,
}

impl Int8Rows {
    /// Rounds `m` rows of `k` numbers, one after another: 255 steps from the smallest number of a row to its largest, zero
    /// included, which stays exact.
    ///
    /// # Panics
    /// If the numbers are too few.
    pub fn quantise<T: Number>(isa: Isa, x: &[T], m: usize, k: usize) -> Self {
        let _time = profile::scope(profile::Kind::Pack);
        assert!(x.len() >= m * k, "A: got {} numbers, wanted {}", x.len(), m * k);
        // Rows begin on cache lines.
        let ld = k.next_multiple_of(64);
        let mut rows = Int8Rows {
            data: Buf::for_overwrite(m * ld),
            scales: Buf::for_overwrite(m),
            zeros: Buf::for_overwrite(m),
            m,
            k,
            ld,
        };
        quantise::rows(isa, &mut rows, x);
        rows
    }
}

/// `C = epilogue(A B)`; `c` is stored by rows, `ldc` apart.
///
/// # Panics
/// If depths differ or a slice is too short: mistakes of the calling code.
pub fn gemm_int8<C: Number>(
    isa: Isa,
    a: &Int8Rows,
    b: &Int8Panels,
    c: &mut [C],
    ldc: usize,
    epilogue: Epilogue<'_, C>,
) {
    let _time = profile::scope(profile::Kind::Product);
    let (m, n) = (a.m, b.n);
    assert_eq!(a.k, b.k, "depths of the operands");
    epilogue.check(m, n);
    assert!(n <= ldc || m <= 1, "C: rows of {n} overlap at stride {ldc}");
    if m == 0 || n == 0 {
        return;
    }
    assert!(c.len() >= (m - 1) * ldc + n, "C: got {} numbers, wanted {}", c.len(), (m - 1) * ldc + n);
    driver::gemm(isa, a, b, Out::new(c, ldc), &epilogue);
}

/// What multiplies numbers of eight bits on `isa`, for people.
pub fn int8_instruction(isa: Isa) -> &'static str {
    match (isa.avx512_vnni(), isa.avx512(), isa.avx2()) {
        (Some(_), ..) => "vpdpbusd",
        (_, Some(_), _) => "vpmaddwd, 512 bits",
        (.., Some(_)) => "vpmaddwd, 256 bits",
        _ => "plain Rust",
    }
}

#[cfg(test)]
mod tests;
