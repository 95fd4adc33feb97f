//! Packed forms of a weight, written again block by block while the weight changes.

use half::bf16;

use super::{KR, NR, Panels};
#[cfg(target_arch = "x86_64")]
use super::{
    pack,
    square::{SQUARE, Square},
    token,
};
use crate::{gemm::epilogue::Block, isa::Isa, out::Out};

/// The packed forms of a weight `[rows, cols]` that somebody keeps: as it is stored, and its transpose.
#[derive(Default)]
pub struct PackedForms<'a> {
    /// What [`Panels::pack`] makes of the weight.
    pub stored: Option<&'a mut Panels>,
    /// What it makes of the transpose.
    pub transposed: Option<&'a mut Panels>,
}

impl<'a> PackedForms<'a> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stored.is_none() && self.transposed.is_none()
    }

    /// For the weight `w`.
    ///
    /// # Panics
    /// If a form has another shape, or there is one and `isa` has no products of bf16.
    pub(crate) fn of(self, isa: Isa, w: Out<'a>, rows: usize, cols: usize) -> Forms<'a> {
        let open = |form: Option<&'a mut Panels>, k: usize, n: usize| {
            form.map(|p| {
                assert_eq!([p.k, p.n], [k, n], "a packed form of another weight");
                Out::new(&mut p.data[..], 1)
            })
        };
        let stored = open(self.stored, rows, cols);
        let transposed = open(self.transposed, cols, rows);
        #[cfg(target_arch = "x86_64")]
        let half = (stored.is_some() || transposed.is_some()).then(|| token(isa));
        #[cfg(not(target_arch = "x86_64"))]
        assert!(stored.is_none() && transposed.is_none(), "{isa} has no products of bf16");
        Forms {
            #[cfg(target_arch = "x86_64")]
            half,
            w,
            rows,
            cols,
            stored,
            transposed,
        }
    }
}

/// [`PackedForms`] of a weight that tasks change.
#[derive(Clone, Copy)]
pub(crate) struct Forms<'a> {
    #[cfg(target_arch = "x86_64")]
    half: Option<crate::isa::Avx512Bf16>,
    w: Out<'a>,
    rows: usize,
    cols: usize,
    stored: Option<Out<'a, bf16>>,
    transposed: Option<Out<'a, bf16>>,
}

impl Forms<'_> {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.stored.is_some() || self.transposed.is_some()
    }

    /// Packs a block of at most 32 rows and columns, which begins at multiples of 32.
    ///
    /// # Safety
    /// Nobody else uses the weights of the block, nor any other block at the same place, meanwhile.
    pub(crate) unsafe fn write(&self, place: Block) {
        #[cfg(target_arch = "x86_64")]
        if let Some(half) = self.half {
            let Block { row, col, rows, cols } = place;
            debug_assert!(row.is_multiple_of(KR) && col.is_multiple_of(NR) && rows <= KR && cols <= NR);
            // 32 by 32 numbers of either form lie together, at a place of their own.
            let at = |panel: usize, depth: usize, from: usize| (panel / NR * depth.next_multiple_of(KR) + from) * NR;
            let (start, ld) = (row * self.w.ld() + col, self.w.ld());
            assert!(start + rows.saturating_sub(1) * ld + cols <= self.w.len(), "a block of the weight");
            // SAFETY: the assertion and the caller's word; the token proves the instructions.
            unsafe {
                let square = Square::of(half, self.w.ptr().add(start), ld, rows, cols);
                if let Some(form) = &self.stored {
                    square.put_down(half, form.row(at(col, self.rows, row), 0, SQUARE));
                }
                if let Some(form) = &self.transposed {
                    square.put_across(half, form.row(at(row, self.cols, col), 0, SQUARE));
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (place, KR, NR);
    }

    /// Ends a task: what it has packed went past the caches.
    pub(crate) fn end(&self) {
        #[cfg(target_arch = "x86_64")]
        if self.half.is_some() {
            pack::fence();
        }
    }
}
