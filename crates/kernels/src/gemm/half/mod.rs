//! Products of bf16 numbers, accumulated in f32.
//!
//! ```text
//! mod.rs      operands, the entry
//! pack.rs     from matrices to operands: two ways to load, an optional transpose
//! forms.rs    packed forms of a weight that changes
//! square.rs   a block of these
//! driver.rs   tasks, and the order in which they go through the operands
//! parts.rs    parts of the depth, rows and panels as a block takes them
//! passes.rs   a kernel's passes over the tiles of a block, epilogues beside it
//! tile.rs     what a micro-kernel is
//! avx512.rs   the micro-kernel of AVX512-BF16
//! amx.rs      the micro-kernel of AMX
//! ```
//!
//! Both instruction sets multiply pairs of neighbours along the depth `k`, so they share their operands: the left one is
//! rows as tensors have them, `k` contiguous, or the transpose of such rows, which are turned on the way; the right one is packed into panels
//! of 32 columns whose pairs lie side by side.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod driver;
mod forms;
#[cfg(target_arch = "x86_64")]
pub(crate) mod pack;
#[cfg(target_arch = "x86_64")]
mod parts;
#[cfg(target_arch = "x86_64")]
mod passes;
#[cfg(target_arch = "x86_64")]
mod square;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tile;

use half::bf16;

use super::{Epilogue, Mat};
use crate::{isa::Isa, mem::Buf, number::Number, optim::AdamW, out::Out, profile};
pub(crate) use forms::Forms;
pub use forms::PackedForms;

/// Columns of a panel.
pub(crate) const NR: usize = 32;
/// Depth is padded to a multiple of this, with zeros: a tile's row of AMX.
pub(crate) const KR: usize = 32;

/// A right operand `[k, n]`, packed.
///
/// Panel `j` has the columns `32 j..32 (j + 1)`; in it the pair `p` of column `c` is numbers `2 c` and `2 c + 1` of line
/// `p`. Zeros fill the last panel and the depth up to a multiple of 32.
pub struct Panels {
    data: Buf<bf16>,
    k: usize,
    n: usize,
}

impl Panels {
    /// Packs an operand of `k` rows and `n` columns.
    ///
    /// # Panics
    /// If the numbers are too few, or `isa` has no products of bf16.
    pub fn pack<T: Number>(isa: Isa, x: Mat<'_, T>, k: usize, n: usize) -> Self {
        let _time = profile::scope(profile::Kind::Pack);
        x.check("B", k, n);
        let mut panels = Panels::for_overwrite(k, n);
        #[cfg(target_arch = "x86_64")]
        pack::panels(token(isa), &mut panels.data, x, k, n, &mut []);
        #[cfg(not(target_arch = "x86_64"))]
        unsupported(isa, &mut panels);
        panels
    }

    /// Memory for an operand of `k` rows and `n` columns, whose numbers are arbitrary.
    pub fn for_overwrite(k: usize, n: usize) -> Self {
        Panels { data: Buf::for_overwrite(n.div_ceil(NR) * NR * k.next_multiple_of(KR)), k, n }
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
        self.data.len() * 2
    }
}

/// A matrix of bf16, stored by rows `ld` apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The numbers; the last row may end before `ld`.
    pub data: &'a [bf16],
    /// From the start of a row to the start of the next.
    pub ld: usize,
}

/// A left operand `[m, k]`.
#[derive(Clone, Copy, Debug)]
pub enum Left<'a> {
    /// As it is stored, read where it lies.
    Rows(Rows<'a>),
    /// The transpose of what is stored, `[k, m]`, which is turned on the way.
    Transposed(Rows<'a>),
}

impl Left<'_> {
    /// Panics unless an operand of `m × k` lies within the slice.
    fn check(&self, m: usize, k: usize) {
        match self {
            Left::Rows(x) => Mat::new(x.data, x.ld).check("A", m, k),
            Left::Transposed(x) => Mat::t(x.data, x.ld).check("A", m, k),
        }
    }
}

/// One product of a sum of products: `[m, k] [k, n]`.
#[derive(Clone, Copy)]
pub struct Term<'a> {
    /// Left operand.
    pub a: Left<'a>,
    /// Right operand; it has `k` and `n`.
    pub b: &'a Panels,
}

/// `C = epilogue(Σ A B)` over `terms`, which all have the columns of `C`; `c` is stored by rows, `ldc` apart.
///
/// # Panics
/// If a slice is too short, columns differ, or `isa` has no products of bf16: mistakes of the calling code.
pub fn gemm_half<C: Number>(
    isa: Isa,
    m: usize,
    terms: &[Term<'_>],
    c: &mut [C],
    ldc: usize,
    mut epilogue: Epilogue<'_, C>,
) {
    let _time = profile::scope(profile::Kind::Product);
    let n = check(m, terms);
    epilogue.check(m, n);
    epilogue.paired = true;
    assert!(n <= ldc || m <= 1, "C: rows of {n} overlap at stride {ldc}");
    if m == 0 || n == 0 {
        return;
    }
    assert!(c.len() >= (m - 1) * ldc + n, "C: got {} numbers, wanted {}", c.len(), (m - 1) * ldc + n);
    #[cfg(target_arch = "x86_64")]
    driver::gemm(isa, m, n, terms, Out::new(c, ldc), &epilogue);
    #[cfg(not(target_arch = "x86_64"))]
    unsupported(isa, c);
}

/// `Lᵀ R`: the gradient of a weight, where one operand is the input and the other the gradient of the output.
pub struct Cross<'a> {
    /// `[k, m]`.
    pub left: Rows<'a>,
    /// `[k, n]`.
    pub right: Rows<'a>,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Rows of both operands.
    pub k: usize,
    /// Sums of an operand's columns, to be written on the way: the gradient of a bias. Zeros where the result has no numbers.
    pub sums: ColumnSums<'a>,
}

/// Where sums of an operand's columns go, in f32.
#[derive(Default)]
pub enum ColumnSums<'a> {
    /// Nobody wants them.
    #[default]
    None,
    /// Those of the left operand, `[m]`.
    Left(&'a mut [f32]),
    /// Those of the right operand, `[n]`.
    Right(&'a mut [f32]),
}

impl Cross<'_> {
    /// Writes what sums there are of no rows; panics unless all operands fit.
    fn begin(&mut self) {
        Mat::new(self.left.data, self.left.ld).check("left", self.k, self.m);
        Mat::new(self.right.data, self.right.ld).check("right", self.k, self.n);
        let (sums, n): (&mut [f32], usize) = match &mut self.sums {
            ColumnSums::None => return,
            ColumnSums::Left(sums) => (sums, self.m),
            ColumnSums::Right(sums) => (sums, self.n),
        };
        assert_eq!(sums.len(), n, "sums of columns");
        sums.fill(0.0);
    }
}

/// `C = Lᵀ R`, or `C += Lᵀ R`; `c` is stored by rows without gaps.
///
/// # Panics
/// If a slice is too short or `isa` has no products of bf16: mistakes of the calling code.
pub fn cross_half(isa: Isa, mut cross: Cross<'_>, c: &mut [f32], accumulate: bool) {
    let _time = profile::scope(profile::Kind::Product);
    cross.begin();
    let (m, n) = (cross.m, cross.n);
    assert_eq!(c.len(), m * n, "C");
    if m == 0 || n == 0 {
        return;
    }
    let epilogue = Epilogue::default().accumulate(accumulate);
    #[cfg(target_arch = "x86_64")]
    driver::cross(isa, cross, Out::new(c, n), &epilogue, None);
    #[cfg(not(target_arch = "x86_64"))]
    unsupported(isa, &mut (c, epilogue.is_step()));
}

/// Weights and what an optimizer knows of them, all stored by rows without gaps.
pub struct Learned<'a> {
    /// The weights.
    pub w: &'a mut [f32],
    /// First moments of their gradients.
    pub m: &'a mut [f32],
    /// Second moments.
    pub v: &'a mut [f32],
    /// Packed forms that are kept of them.
    pub forms: PackedForms<'a>,
}

/// A step of AdamW with the gradient `Lᵀ R`, `[m, n]`, which never stands in memory.
///
/// # Panics
/// As [`cross_half`]; or if there are packed forms and not [`can_renew`].
pub fn adamw_half(isa: Isa, mut cross: Cross<'_>, learned: Learned<'_>, options: AdamW) {
    let _time = profile::scope(profile::Kind::Product);
    cross.begin();
    let (m, n) = (cross.m, cross.n);
    let Learned { w, m: first, v: second, forms } = learned;
    assert!(w.len() == m * n && first.len() == m * n && second.len() == m * n, "weights and moments of [{m}, {n}]");
    let epilogue = Epilogue::default().adamw(options, first, second, n);
    epilogue.check(m, n);
    if m == 0 || n == 0 {
        return;
    }
    let w = Out::new(w, n);
    let forms = forms.of(isa, w, m, n);
    #[cfg(target_arch = "x86_64")]
    driver::cross(isa, cross, w, &epilogue, Some(&forms));
    #[cfg(not(target_arch = "x86_64"))]
    unsupported(isa, &mut (epilogue.is_step(), forms.end()));
}

/// Whether packed forms can be written while weights change: blocks of the result are those of the forms.
pub fn can_renew(isa: Isa) -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa.amx().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The columns of all terms, whose operands have `m` rows.
fn check(m: usize, terms: &[Term<'_>]) -> usize {
    let n = terms.first().map_or(0, |t| t.b.n);
    for t in terms {
        assert_eq!(t.b.n, n, "columns of the terms");
        t.a.check(m, t.b.k);
    }
    n
}

/// The proof that packing cites.
#[cfg(target_arch = "x86_64")]
#[track_caller]
pub(crate) fn token(isa: Isa) -> crate::isa::Avx512Bf16 {
    isa.avx512_bf16().unwrap_or_else(|| panic!("{isa} has no products of bf16"))
}

#[cfg(not(target_arch = "x86_64"))]
fn unsupported<T>(isa: Isa, _: &mut T) -> ! {
    panic!("{isa} has no products of bf16")
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod emulate;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
