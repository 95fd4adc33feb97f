//! Regions of huge pages, which buffers are cut from.
//!
//! A buffer that is read by rows far apart needs another page for each of them, and a processor has at hand where a few hundred pages
//! lie; a cache that is indexed by physical addresses keeps less of small pages, which lie anywhere, than it could. So buffers that are
//! too small for huge pages of their own share them.

use std::{
    alloc::{Layout, alloc_zeroed, handle_alloc_error},
    ops::RangeInclusive,
    ptr::NonNull,
};

/// A huge page.
pub(super) const HUGE: usize = 2 << 20;
/// A region.
const BYTES: usize = 64 << 20;
/// A page, and the unit of pieces.
const PAGE: usize = 4 << 10;
/// Sizes of pieces. Smaller ones lie on few pages anyway, larger ones have huge pages of their own.
pub(super) const PIECES: RangeInclusive<usize> = 64 << 10..=16 << 20;

/// What is left of the last region. Regions stay: their pieces are recycled.
pub(super) struct Region {
    next: usize,
    end: usize,
}

impl Region {
    pub(super) const NONE: Region = Region { next: 0, end: 0 };

    /// A piece of zeros, at least `bytes` long, which begins at a page.
    pub(super) fn cut(&mut self, bytes: usize) -> NonNull<u8> {
        debug_assert!(PIECES.contains(&bytes));
        let bytes = bytes.next_multiple_of(PAGE);
        if self.end - self.next < bytes {
            let start = huge(BYTES).as_ptr().expose_provenance();
            *self = Region { next: start, end: start + BYTES };
        }
        let piece = std::ptr::with_exposed_provenance_mut(self.next);
        self.next += bytes;
        NonNull::new(piece).expect("a region does not begin at address 0")
    }
}

/// Zeros on huge pages, where the system gives them.
pub(super) fn huge(bytes: usize) -> NonNull<u8> {
    let layout = layout(bytes);
    // SAFETY: the layout is not empty.
    let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
    #[cfg(target_os = "linux")]
    // SAFETY: the range was just allocated. The advice changes no contents; refusal costs speed only.
    unsafe {
        libc::madvise(ptr.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE)
    };
    ptr
}

/// The layout of [`huge`] memory.
pub(super) fn layout(bytes: usize) -> Layout {
    // Only a size near the whole address space fails here, which no allocation could serve.
    Layout::from_size_align(bytes, HUGE).map(|l| l.pad_to_align()).expect("a buffer smaller than the address space")
}

/// Gives the pages of a piece back to the system, which puts zeros in their place when it is used again.
///
/// # Safety
/// The piece was cut from a region and nobody uses it meanwhile.
pub(super) unsafe fn give_pages(piece: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: pieces begin and end at pages, and the memory is the caller's. Elsewhere, and if refused, memory stays in use.
    unsafe {
        libc::madvise(piece.as_ptr().cast(), bytes.next_multiple_of(PAGE), libc::MADV_DONTNEED)
    };
    #[cfg(not(target_os = "linux"))]
    let _ = (piece, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_apart_and_begin_as_zeros() {
        let mut region = Region::NONE;
        let sizes = [64 << 10, (64 << 10) + 1, 16 << 20, 1 << 20, 16 << 20, 16 << 20, 16 << 20, 3 << 20];
        let pieces: Vec<_> = sizes.map(|n| (region.cut(n).as_ptr(), n)).into();
        for (i, &(p, n)) in pieces.iter().enumerate() {
            assert!((p as usize).is_multiple_of(PAGE));
            for &(q, m) in &pieces[..i] {
                assert!(p as usize + n <= q as usize || q as usize + m <= p as usize, "pieces overlap");
            }
            // SAFETY: pieces are as long as they were asked for, and this test's alone.
            let piece = unsafe { std::slice::from_raw_parts_mut(p, n) };
            assert!(piece.iter().all(|&x| x == 0));
            piece.fill(7);
            // SAFETY: nobody uses the piece meanwhile.
            unsafe { give_pages(NonNull::new(p).unwrap(), n) };
            assert!(cfg!(not(target_os = "linux")) || piece.iter().all(|&x| x == 0));
        }
    }
}
