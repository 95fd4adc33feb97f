//! What a micro-kernel is.

use super::NR;

/// A block of at most [`Self::MR`] rows and 32 columns of a product. Implemented by tokens that prove the instructions.
pub(super) trait Int8Tile: Copy + Send + Sync + 'static {
    /// Rows of a block.
    const MR: usize;

    /// `acc[r, c] (+)= Σ_p a[r, p] b[p, c]` over `4 · fours` numbers; rows of `acc` are 32 apart. Sums are exact.
    ///
    /// `start` says that `acc` holds nothing yet.
    ///
    /// # Safety
    /// `rows` (1 to `MR`) rows, `lda` apart, can be read from `a` on, each `4 · fours` numbers; `b` has 128 numbers for each
    /// four; `acc` has `MR · 32` numbers, which nobody else uses meanwhile.
    unsafe fn tile(self, block: Block, rows: usize, start: bool);
}

/// Operands and result of a block.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) a: *const u8,
    pub(super) lda: usize,
    pub(super) b: *const i8,
    pub(super) fours: usize,
    pub(super) acc: *mut i32,
}

/// Numbers of a result's block.
pub(super) const fn block_len(rows: usize) -> usize {
    rows * NR
}

/// `tile::<rows>(block, start)` for the count of rows that the last row tile has.
macro_rules! by_rows {
    ($rows:expr, [$($n:literal),+], $tile:ident, $block:expr, $start:expr) => {
        match $rows {
            $($n => $tile::<$n>($block, $start),)+
            _ => unreachable!("more rows than a tile has"),
        }
    };
}
pub(super) use by_rows;
