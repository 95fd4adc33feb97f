//! A result that several threads write, each its own part.

use std::marker::PhantomData;

/// A matrix by rows, handed to tasks that write disjoint parts of it.
pub(crate) struct Out<'a, T = f32> {
    ptr: *mut T,
    len: usize,
    ld: usize,
    exclusive: PhantomData<&'a mut [T]>,
}

// SAFETY: memory is reached through `Out::row` and `Out::ptr` only, whose callers prove that no two threads share a part.
unsafe impl<T: Send> Send for Out<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Out<'_, T> {}

impl<T> Clone for Out<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<'_, T> {}

impl<'a, T> Out<'a, T> {
    /// Rows that start `ld` apart in `data`.
    pub(crate) fn new(data: &'a mut [T], ld: usize) -> Self {
        Out { ptr: data.as_mut_ptr(), len: data.len(), ld, exclusive: PhantomData }
    }

    pub(crate) fn ptr(&self) -> *mut T {
        self.ptr
    }

    pub(crate) fn ld(&self) -> usize {
        self.ld
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// `cols` numbers of `row` from `col` on.
    ///
    /// # Safety
    /// Nobody else holds any of them meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn row(&self, row: usize, col: usize, cols: usize) -> &'a mut [T] {
        let start = row.checked_mul(self.ld).and_then(|s| s.checked_add(col));
        let start = start.filter(|&s| s <= self.len && cols <= self.len - s).expect("a part of the result");
        // SAFETY: within the slice by the line above; exclusive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), cols) }
    }
}
