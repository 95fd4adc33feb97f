//! What a micro-kernel is.

use half::bf16;

use super::{NR, passes::Sums};
use crate::{number::Number, simd::Simd};

/// A block of at most [`Self::MR`] rows and 32 columns of a product. Implemented by tokens that prove the instructions.
pub(crate) trait HalfTile: Copy + Send + Sync + 'static {
    /// Rows of a block.
    const MR: usize;
    /// Depth of one pass over a block's panels, so that a panel stays in the first cache.
    const KC: usize;
    /// Whether rows must be readable up to a multiple of 32 numbers, all `MR` of them, and begin on a cache line.
    const WHOLE: bool;

    /// `acc[r, c] (+)= Σ_p a[r, p] b[p, c]` over `2 · pairs` numbers; rows of `acc` are 32 apart.
    ///
    /// `start` says that `acc` holds nothing yet.
    ///
    /// # Safety
    /// `rows` (at most `MR`) rows can be read at `a`, each `2 · pairs` numbers; `MR` rows up to a multiple of 16 pairs where
    /// [`Self::WHOLE`], and elsewhere `a` is [`Lines::of`] rows. `b` has 64 numbers for each pair, up to a multiple of 16 pairs. `acc`
    /// has `MR · 32` numbers, which nobody else uses meanwhile.
    unsafe fn tile(self, block: Block, rows: usize, start: bool);

    /// [`Self::tile`], and meanwhile some of another tile's `sums` are written, if that is of use.
    ///
    /// # Safety
    /// As [`Self::tile`].
    #[inline(always)]
    unsafe fn tile_beside<S: Simd, C: Number>(
        self,
        _: S,
        block: Block,
        rows: usize,
        start: bool,
        _: &mut Option<Sums<'_, C>>,
    ) {
        // SAFETY: the caller's word.
        unsafe { self.tile(block, rows, start) }
    }
}

/// Operands and result of a block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) a: Lines,
    pub(crate) b: *const bf16,
    pub(crate) pairs: usize,
    pub(crate) acc: *mut f32,
}

/// Where the rows of a left operand lie.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) start: *const bf16,
    /// From a row to the next.
    pub(crate) ld: usize,
    /// From 32 numbers of a row to the next 32.
    pub(crate) step: usize,
    /// From the first of 16 rows to the first below them.
    pub(crate) below: usize,
}

impl Lines {
    /// Rows `ld` apart.
    pub(crate) fn of(x: &[bf16], ld: usize) -> Self {
        Lines { start: x.as_ptr(), ld, step: 32, below: 16 * ld }
    }
}

/// Numbers of a result's block.
pub(crate) const fn block_len(rows: usize) -> usize {
    rows * NR
}
