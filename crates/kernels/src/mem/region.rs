//! Regions of huge pages, which buffers are cut from.
//!
//! A buffer that is read by rows far apart needs another page for each of them, and a processor has at hand where a few hundred pages
//! lie; a cache that is indexed by physical addresses keeps less of small pages, which lie anywhere, than it could. So buffers that are
//! too small for huge pages of their own share them, where the system gives such pages on demand: on Linux.

use std::{ops::Range, ptr::NonNull};

/// A huge page.
const HUGE: usize = 2 << 20;
/// A region.
const BYTES: usize = 64 << 20;
/// The unit of pieces.
const UNIT: usize = 4 << 10;
/// Sizes of pieces. Smaller ones lie on few pages anyway, larger ones have huge pages of their own.
const PIECES: Range<usize> = 64 << 10..(16 << 20) + 1;

/// Whether buffers of that size are pieces of regions.
pub(super) fn has(bytes: usize) -> bool {
    cfg!(target_os = "linux") && PIECES.contains(&bytes)
}

/// What is left of the last region. Regions stay, their pieces are recycled; what the last piece did not fit into is never touched, so
/// that it takes addresses only.
pub(super) struct Region(Option<(NonNull<u8>, usize)>);

// SAFETY: what is left of a region is nobody else's.
unsafe impl Send for Region {}

impl Region {
    pub(super) const NONE: Region = Region(None);

    /// A piece of zeros, at least `bytes` long; none if the system has no more memory.
    pub(super) fn cut(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        debug_assert!(has(bytes));
        let bytes = bytes.next_multiple_of(UNIT);
        let (piece, left) = match self.0 {
            Some(last) if last.1 >= bytes => last,
            _ => (open()?, BYTES),
        };
        // SAFETY: the piece ends within the region.
        self.0 = Some((unsafe { piece.add(bytes) }, left - bytes));
        Some(piece)
    }
}

/// A region: private memory of zeros that begins at a huge page.
#[cfg(target_os = "linux")]
fn open() -> Option<NonNull<u8>> {
    let mut map = std::mem::ManuallyDrop::new(memmap2::MmapMut::map_anon(BYTES + HUGE).ok()?);
    // Before it is touched. A refusal costs speed only.
    let _ = map.advise(memmap2::Advice::HugePage);
    let start = map.as_mut_ptr();
    // SAFETY: the map has room for that, and it stays.
    NonNull::new(unsafe { start.add(start.align_offset(HUGE)) })
}

#[cfg(not(target_os = "linux"))]
fn open() -> Option<NonNull<u8>> {
    None
}

/// Gives huge pages that lie wholly within `pieces` back to the system, which puts zeros in their place when they are used again, and
/// returns where they lay. The rest stays: parts of huge pages would be small ones from then on.
///
/// # Safety
/// All are pieces of regions, by address and size, that nobody uses meanwhile.
pub(super) unsafe fn give_back(mut pieces: Vec<(NonNull<u8>, usize)>) -> Vec<Range<usize>> {
    pieces.sort_unstable();
    let mut given = Vec::new();
    for run in pieces.chunk_by(|a, b| a.0.addr().get() + a.1.next_multiple_of(UNIT) == b.0.addr().get()) {
        let (first, last) = (run[0].0, run[run.len() - 1]);
        let from = first.addr().get();
        let (start, end) = (from.next_multiple_of(HUGE), (last.0.addr().get() + last.1) / HUGE * HUGE);
        // SAFETY: these huge pages are private memory without a file, as regions are, and part of the caller's pieces.
        if start < end && unsafe { discard(first.as_ptr().wrapping_add(start - from), end - start) } {
            given.push(start..end);
        }
    }
    given
}

/// Whether the system took the pages.
///
/// # Safety
/// They are the caller's, of private memory without a file.
#[cfg(target_os = "linux")]
unsafe fn discard(start: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller's word; plain numbers may become zeros.
    unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) == 0 }
}

#[cfg(not(target_os = "linux"))]
unsafe fn discard(_: *mut u8, _: usize) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_apart_and_whole_huge_pages_are_given_back() {
        let mut region = Region::NONE;
        let sizes = [64 << 10, (64 << 10) + 1, 16 << 20, 1 << 20, 16 << 20, 16 << 20, 16 << 20, 3 << 20];
        let pieces: Vec<_> = sizes.iter().map(|&n| (region.cut(n).unwrap(), n)).collect();
        for (i, &(p, n)) in pieces.iter().enumerate() {
            for &(q, m) in &pieces[..i] {
                let (p, q) = (p.addr().get(), q.addr().get());
                assert!(p.is_multiple_of(UNIT) && (p + n <= q || q + m <= p), "pieces overlap");
            }
            // SAFETY: pieces are as long as they were asked for, and this test's alone.
            let piece = unsafe { std::slice::from_raw_parts_mut(p.as_ptr(), n) };
            assert!(piece.iter().all(|&x| x == 0));
            piece.fill(7);
        }
        // Of the first four, which lie side by side, all but the third.
        let some = vec![pieces[3], pieces[1], pieces[0]];
        // SAFETY: nobody uses the pieces.
        assert!(unsafe { give_back(some) }.is_empty(), "none of them has a whole huge page");
        // SAFETY: as above.
        let given = unsafe { give_back(pieces[..4].to_vec()) };
        let bytes: usize = given.iter().map(|r| r.end - r.start).sum();
        assert!(given.len() == 1 && bytes >= 14 << 20 && given[0].start.is_multiple_of(HUGE), "{given:?}");
        for (p, n) in pieces {
            // SAFETY: as above.
            let piece = unsafe { std::slice::from_raw_parts(p.as_ptr(), n) };
            let whole = piece.iter().zip(p.addr().get()..).all(|(&x, at)| (x == 0) == given[0].contains(&at));
            assert!(whole, "just these pages are zeros");
        }
    }
}
