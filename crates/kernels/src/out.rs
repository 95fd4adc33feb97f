//! A result that several threads write, each its own part.

use std::marker::PhantomData;

/// A matrix by rows, handed to tasks that write disjoint parts of it.
#[derive(Clone, Copy)]
pub(crate) struct Out<'a> {
    ptr: *mut f32,
    len: usize,
    ld: usize,
    exclusive: PhantomData<&'a mut [f32]>,
}

// SAFETY: memory is reached through `Out::row` only, whose callers prove that no two threads share a part.
unsafe impl Send for Out<'_> {}
// SAFETY: as above.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    /// Rows that start `ld` apart in `data`.
    pub(crate) fn new(data: &'a mut [f32], ld: usize) -> Self {
        Out { ptr: data.as_mut_ptr(), len: data.len(), ld, exclusive: PhantomData }
    }

    pub(crate) fn ptr(&self) -> *mut f32 {
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
    pub(crate) unsafe fn row(&self, row: usize, col: usize, cols: usize) -> &'a mut [f32] {
        let start = row.checked_mul(self.ld).and_then(|s| s.checked_add(col));
        let start = start.filter(|&s| s <= self.len && cols <= self.len - s).expect("a part of the result");
        // SAFETY: within the slice by the line above; exclusive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(start), cols) }
    }
}
