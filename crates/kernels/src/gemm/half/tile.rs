//! What a micro-kernel is.

use half::bf16;

use super::NR;

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
    /// `rows` (at most `MR`) rows, `lda` apart, can be read from `a` on, each `2 · pairs` numbers; `MR` rows up to a
    /// multiple of 16 pairs where [`Self::WHOLE`]. `b` has 64 numbers for each pair, up to a multiple of 16 pairs. `acc`
    /// has `MR · 32` numbers, which nobody else uses meanwhile.
    unsafe fn tile(self, block: Block, rows: usize, start: bool);
}

/// Operands and result of a block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) a: *const bf16,
    pub(crate) lda: usize,
    pub(crate) b: *const bf16,
    pub(crate) pairs: usize,
    pub(crate) acc: *mut f32,
}

/// Numbers of a result's block.
pub(crate) const fn block_len(rows: usize) -> usize {
    rows * NR
}
