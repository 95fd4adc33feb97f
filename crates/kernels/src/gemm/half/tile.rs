//! What a micro-kernel is.

use half::bf16;

use super::{NR, passes::Sums};
use crate::{number::Number, simd::Simd};

/// A block of at most [`Self::MR`] rows and 32 columns of a product. Implemented by tokens that prove the instructions.
pub(crate) trait HalfTile: Copy + Send + Sync + 'static {
    /// Rows of a block.
    const MR: usize;
    /// Panels that meet a part of the depth of some rows one after another, where these stay in the first cache.
    const PANELS: usize;
    /// Whether rows must be readable up to a multiple of 32 numbers, all `MR` of them, and begin on a cache line.
    const WHOLE: bool;
    /// Whether sums are held from one block to the [next](Block::next): those of the one leave while those of the other come.
    const HOLDS: bool;

    /// The depth of one pass, at most, of all `depth`: where panels stay in the first cache, or where they are read [once](Block::once)
    /// while rows stay.
    fn most(depth: usize, once: bool) -> usize;

    /// `acc[r, c] (+)= Σ_p a[r, p] b[p, c]` over `2 · pairs` numbers; rows of `acc` are 32 apart.
    ///
    /// # Safety
    /// `rows` (at most `MR`) rows can be read at `a`, each `2 · pairs` numbers; `MR` rows up to a multiple of 16 pairs where
    /// [`Self::WHOLE`], and elsewhere `a` is [`Lines::of`] rows. `b` has 64 numbers for each pair, up to a multiple of 16 pairs. `acc`
    /// has `MR · 32` numbers, which nobody else uses meanwhile, and so has that of `next`. Sums that are [`Start::Held`] are those of this
    /// thread's last block, whose `next` was this one: between the two it runs no other block.
    unsafe fn tile(self, block: Block, rows: usize);

    /// [`Self::tile`], and meanwhile some of another tile's `sums` are written, if that is of use.
    ///
    /// # Safety
    /// As [`Self::tile`].
    #[inline(always)]
    unsafe fn tile_beside<S: Simd, C: Number>(self, _: S, block: Block, rows: usize, _: &mut Option<Sums<'_, C>>) {
        // SAFETY: the caller's word.
        unsafe { self.tile(block, rows) }
    }
}

/// Operands and result of a block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) a: Lines,
    pub(crate) b: *const bf16,
    pub(crate) pairs: usize,
    pub(crate) acc: *mut f32,
    /// Whether `b` comes from the second cache and is not wanted again soon: it leaves `a` in the first one.
    pub(crate) once: bool,
    pub(crate) start: Start,
    /// The block whose sums are held when this one is done, if any. If it goes on with the same sums, `acc` does not get them.
    pub(crate) next: Option<Next>,
}

/// What a block's sums begin with.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Nothing.
    Zeros,
    /// What `acc` has.
    Sums,
    /// What the kernel holds since the block before; `acc` may have less.
    Held,
}

/// Where the sums of the next block are, and whether it begins with zeros.
#[derive(Clone, Copy)]
pub(crate) struct Next {
    pub(crate) acc: *mut f32,
    pub(crate) zeros: bool,
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
