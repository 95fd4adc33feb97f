//! Aligned buffers that are recycled instead of returned to the system.
//!
//! A training step asks for the same sizes again and again. Memory fresh from the system costs a page fault for every
//! 4 KiB at its first touch, so freed buffers wait in lists by size for their next use.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::RefCell,
    collections::BTreeMap,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytemuck::Pod;

use super::region::{self, Region};

/// A cache line, and a row of an AMX tile.
const ALIGN: usize = 64;
/// From here on a buffer starts on a huge page's border, and the system is asked to back it with such pages.
const HUGE: usize = 2 << 20;

/// A fixed-size slice of plain numbers in memory aligned to 64 bytes, recycled when dropped.
pub struct Buf<T: Pod> {
    ptr: NonNull<u8>,
    len: usize,
    class: usize,
    kind: PhantomData<T>,
}

// SAFETY: a `Buf` owns its memory alone, as a `Vec` of plain numbers does.
unsafe impl<T: Pod> Send for Buf<T> {}
// SAFETY: shared access gives only shared slices.
unsafe impl<T: Pod> Sync for Buf<T> {}

impl<T: Pod> Buf<T> {
    /// `len` numbers with whatever values an earlier use left there, for those who overwrite them all.
    ///
    /// # Panics
    /// If they are more than memory can be addressed; whoever takes sizes from a user checks them before.
    pub fn for_overwrite(len: usize) -> Self {
        const { assert!(align_of::<T>() <= ALIGN) };
        let bytes = len.checked_mul(size_of::<T>()).filter(|&b| b <= isize::MAX as usize / 2);
        let class = class_of(bytes.unwrap_or_else(|| panic!("{len} numbers are more than memory can hold")));
        let (ptr, class) = take(class);
        Self { ptr, len, class, kind: PhantomData }
    }

    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mut buf = Self::for_overwrite(len);
        bytemuck::fill_zeroes(&mut buf);
        buf
    }

    /// A copy of `x`.
    pub fn copy_of(x: &[T]) -> Self {
        let mut buf = Self::for_overwrite(x.len());
        buf.copy_from_slice(x);
        buf
    }
}

impl<T: Pod> Deref for Buf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `take` gave at least `class >= len * size_of::<T>()` initialised bytes at 64-byte alignment, which
        // `for_overwrite` asserted to suffice for `T`; `Pod` makes every bit pattern a value.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> DerefMut for Buf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> Drop for Buf<T> {
    fn drop(&mut self) {
        // A thread that is about to end keeps nothing.
        let kept = OWN.try_with(|own| own.borrow_mut().keep(self.class, self.ptr)).unwrap_or(false);
        if !kept {
            give_back(self.class, self.ptr);
        }
    }
}

/// Bytes held by buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In use now.
    pub live: usize,
    /// The most that was ever in use.
    pub peak: usize,
    /// Waiting for their next use.
    pub recycled: usize,
}

/// What buffers hold in this process.
pub fn usage() -> Usage {
    Usage { live: LIVE.load(Relaxed), peak: PEAK.load(Relaxed), recycled: lists().bytes }
}

/// Hands memory on to whoever asks next.
fn give_back(class: usize, ptr: NonNull<u8>) {
    LIVE.fetch_sub(class, Relaxed);
    let mut lists = lists();
    lists.bytes += class;
    lists.free.entry(class).or_default().push(Free { ptr, held: true });
}

/// Small memory that a thread has used and will use again: tasks ask for some all the time, and would wait for each other at the
/// lists that all threads share. It counts as in use.
struct Own(Vec<(usize, NonNull<u8>)>);

impl Own {
    /// Memory up to this size is kept,
    const LARGEST: usize = 256 << 10;
    /// and so many pieces of it.
    const MOST: usize = 16;

    /// Keeps a piece that is small enough; where there is no room, the oldest goes.
    fn keep(&mut self, class: usize, ptr: NonNull<u8>) -> bool {
        if class > Self::LARGEST {
            return false;
        }
        if self.0.len() == Self::MOST {
            let (class, ptr) = self.0.remove(0);
            give_back(class, ptr);
        }
        self.0.push((class, ptr));
        true
    }

    /// The last piece kept of those that serve `class` bytes and waste at most half as much again.
    fn take(&mut self, class: usize) -> Option<(NonNull<u8>, usize)> {
        let i = self.0.iter().rposition(|(size, _)| (class..=class + class / 2).contains(size))?;
        let (size, ptr) = self.0.remove(i);
        Some((ptr, size))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|(class, ptr)| give_back(class, ptr));
    }
}

thread_local! { static OWN: RefCell<Own> = const { RefCell::new(Own(Vec::new())) } }

/// Returns waiting memory to the system, but for the little that threads keep for themselves and what shares a huge page with memory
/// in use.
pub fn trim() {
    let mut lists = lists();
    let Lists { free, bytes, .. } = &mut *lists;
    let mut pieces = Vec::new();
    free.retain(|&class, list| {
        if region::has(class) {
            pieces.extend(list.iter().map(|waiting| (waiting.ptr, class)));
            return true;
        }
        for Free { ptr, .. } in list {
            *bytes -= class;
            // SAFETY: `take` got it with this very layout, and it leaves the lists.
            unsafe { dealloc(ptr.as_ptr(), layout(class)) };
        }
        false
    });
    // SAFETY: these are pieces of regions, by their sizes, that wait in the lists, which are locked.
    let given = unsafe { region::give_back(pieces) };
    for (&class, list) in free {
        for Free { ptr, held } in list {
            let (from, to) = (ptr.addr().get(), ptr.addr().get() + class);
            if *held && given.iter().any(|range| range.start <= from && to <= range.end) {
                *held = false;
                *bytes -= class;
            }
        }
    }
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LISTS: Mutex<Lists> = Mutex::new(Lists { free: BTreeMap::new(), bytes: 0, region: Region::NONE });

struct Lists {
    free: BTreeMap<usize, Vec<Free>>,
    /// Of all that have pages.
    bytes: usize,
    region: Region,
}

impl Lists {
    /// The smallest that serves `class` bytes and wastes at most half as much again.
    fn take(&mut self, class: usize) -> Option<(NonNull<u8>, usize)> {
        let (&size, list) = self.free.range_mut(class..=class + class / 2).next()?;
        let Free { ptr, held } = list.pop()?;
        if list.is_empty() {
            self.free.remove(&size);
        }
        self.bytes -= if held { size } else { 0 };
        Some((ptr, size))
    }
}

/// Memory that waits.
struct Free {
    ptr: NonNull<u8>,
    /// Whether it has pages: [`trim`] gives away those of regions.
    held: bool,
}

// SAFETY: free memory belongs to whoever takes it from the list.
unsafe impl Send for Free {}

fn lists() -> MutexGuard<'static, Lists> {
    // A panic elsewhere cannot leave the lists half changed: no code of others runs under the lock.
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of memory that serves `bytes`: eight steps from each power of two to the next, so that at most an eighth
/// is wasted and close sizes share a list.
fn class_of(bytes: usize) -> usize {
    let bytes = bytes.max(ALIGN);
    let step = (bytes.next_power_of_two() / 16).max(ALIGN);
    bytes.div_ceil(step) * step
}

/// The layout of memory that is no piece of a region.
fn layout(class: usize) -> Layout {
    let align = if class >= HUGE { HUGE } else { ALIGN };
    // Only a size near the whole address space fails here, which no allocation could serve.
    Layout::from_size_align(class, align).expect("a buffer smaller than the address space")
}

/// Memory of `class` bytes or somewhat more, and how many.
fn take(class: usize) -> (NonNull<u8>, usize) {
    if class <= Own::LARGEST
        && let Some(own) = OWN.try_with(|own| own.borrow_mut().take(class)).ok().flatten()
    {
        return own;
    }
    let recycled = lists().take(class);
    let size = recycled.map_or(class, |(_, size)| size);
    let live = LIVE.fetch_add(size, Relaxed) + size;
    PEAK.fetch_max(live, Relaxed);
    if let Some(found) = recycled {
        return found;
    }
    if region::has(class) {
        let piece = lists().region.cut(class);
        return (piece.unwrap_or_else(|| handle_alloc_error(layout(class))), class);
    }
    let layout = layout(class);
    // SAFETY: the layout is not empty: the smallest class is `ALIGN`.
    let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
    #[cfg(target_os = "linux")]
    if class >= HUGE {
        // SAFETY: the range was just allocated. The advice changes no contents; refusal costs speed only.
        unsafe { libc::madvise(ptr.as_ptr().cast(), class, libc::MADV_HUGEPAGE) };
    }
    (ptr, class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_sized() {
        for len in [0, 1, 15, 16, 17, 1000, 1 << 20] {
            let buf = Buf::<f32>::zeroed(len);
            assert_eq!(buf.len(), len);
            assert_eq!(buf.as_ptr() as usize % ALIGN, 0);
            assert!(buf.iter().all(|&x| x == 0.0));
        }
    }

    #[test]
    fn a_thread_uses_its_own_again_and_leaves_nothing_behind() {
        std::thread::spawn(|| {
            // Sizes that nobody asks for again do not stay in the way.
            for i in 0..3 * Own::MOST {
                drop(Buf::<f32>::zeroed(100 + 100 * i));
            }
            let buf = Buf::<f32>::zeroed(30_000);
            let at = buf.as_ptr();
            drop(buf);
            let again = Buf::<f32>::for_overwrite(29_500);
            assert_eq!(again.as_ptr(), at);
            // Another thread may drop it.
            std::thread::spawn(move || drop(again)).join().unwrap();
            OWN.with(|own| {
                let own = own.borrow();
                assert!(own.0.len() <= Own::MOST && own.0.iter().all(|(size, _)| *size < class_of(4 * 29_500)));
            });
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_is_trimmed_is_used_again_and_counts_once() {
        let mut lists = Lists { free: BTreeMap::new(), bytes: 0, region: Region::NONE };
        let ptr = Buf::<u8>::zeroed(1 << 20).ptr;
        for held in [true, false] {
            lists.bytes += if held { 1 << 20 } else { 0 };
            lists.free.entry(1 << 20).or_default().push(Free { ptr, held });
        }
        assert_eq!(lists.take(1 << 20), Some((ptr, 1 << 20)));
        assert_eq!(lists.bytes, 1 << 20, "pages that were given away are not counted");
        assert_eq!(lists.take(1 << 20), Some((ptr, 1 << 20)));
        assert_eq!((lists.bytes, lists.take(1 << 20)), (0, None));
    }

    #[test]
    fn trimming_leaves_what_is_in_use() {
        // All kinds of memory, used and waiting; twice, so that pages are given away of which some were before.
        for _ in 0..2 {
            let sizes = [100, 300_000, 5 << 20, 20 << 20];
            let kept = sizes.map(|n| Buf::copy_of(&vec![7u8; n]));
            sizes.iter().for_each(|&n| drop(Buf::copy_of(&vec![9u8; n])));
            trim();
            let again = sizes.map(|n| Buf::copy_of(&vec![5u8; n]));
            assert!(kept.iter().all(|buf| buf.iter().all(|&x| x == 7)));
            assert!(again.iter().all(|buf| buf.iter().all(|&x| x == 5)));
        }
    }

    #[test]
    fn zeroed_after_use() {
        drop(Buf::copy_of(&[7u32; 100]));
        assert!(Buf::<u32>::zeroed(100).iter().all(|&x| x == 0));
    }

    #[test]
    fn classes_waste_at_most_an_eighth() {
        for bytes in (1..100_000).chain([1 << 30, (1 << 30) + 1]) {
            let class = class_of(bytes);
            assert!(class >= bytes && class.is_multiple_of(ALIGN) && class_of(class) == class, "{bytes}");
            assert!(class - bytes <= (bytes / 8).max(ALIGN), "{bytes} -> {class}");
        }
    }
}
