//! Rows of numbers that many threads read and write at once.

use std::sync::atomic::Ordering::Relaxed;

use super::Line;
use crate::{mem::Buf, simd::simd_fn};

/// Numbers a line.
pub(super) const WIDTH: usize = 16;

/// A matrix of f32 that threads change without locks; all zeros at first.
///
/// Rows begin at cache lines and are padded with zeros to whole ones ([`SharedRows::stride`]). Each number is read and
/// written as one relaxed atomic: a reader sees some value that a thread has written there, of each number by itself, and
/// an update that another thread overwrites is lost. That is all that training in the manner of Hogwild
/// ([Recht et al. 2011](https://arxiv.org/abs/1106.5730)) asks for.
pub struct SharedRows {
    // Owns the memory; read and written through `lines` only.
    buf: Buf<u32>,
    lines: *const Line,
    rows: usize,
    cols: usize,
}

// SAFETY: with a shared reference the memory is reached as atomics only.
unsafe impl Sync for SharedRows {}
// SAFETY: the memory is owned, as that of a `Vec` is.
unsafe impl Send for SharedRows {}

impl SharedRows {
    /// `rows` rows of `cols` zeros.
    ///
    /// # Panics
    /// If they are more than memory can be addressed, as [`Buf`].
    pub fn zeroed(rows: usize, cols: usize) -> Self {
        let numbers = rows.saturating_mul(Self::padded(cols));
        let mut buf = Buf::<u32>::zeroed(numbers);
        let lines = buf.as_mut_ptr().cast::<Line>().cast_const();
        Self { buf, lines, rows, cols }
    }

    /// `cols`, rounded up to whole lines: the numbers from one row to the next.
    pub fn padded(cols: usize) -> usize {
        cols.max(1).next_multiple_of(WIDTH)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Numbers from one row to the next.
    pub fn stride(&self) -> usize {
        Self::padded(self.cols)
    }

    /// The lines of one row.
    #[inline(always)]
    pub(super) fn row(&self, row: u32) -> &[Line] {
        let lines = self.stride() / WIDTH;
        let row = row as usize;
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: `row < rows`, and the buffer has `rows * lines` lines, aligned to 64 bytes and initialised. Other
        // references reach them as atomics as well; exclusive ones borrow all of `self`.
        unsafe { std::slice::from_raw_parts(self.lines.add(row * lines), lines) }
    }

    /// All numbers, row after row, each row with its padding.
    pub fn numbers_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.buf)
    }

    /// Overwrites row `row` by the first numbers of `x`.
    ///
    /// # Panics
    /// If there is no such row, or `x` is shorter.
    pub fn set(&self, row: usize, x: &[f32]) {
        let x = &x[..self.cols];
        for (cell, x) in self.row(index(row)).as_flattened().iter().zip(x) {
            cell.store(x.to_bits(), Relaxed);
        }
    }

    /// Copies the numbers of row `row`.
    ///
    /// # Panics
    /// If there is no such row, or `x` is not [`SharedRows::cols`] long.
    pub fn get(&self, row: usize, x: &mut [f32]) {
        assert_eq!(x.len(), self.cols);
        for (x, cell) in x.iter_mut().zip(self.row(index(row)).as_flattened()) {
            *x = f32::from_bits(cell.load(Relaxed));
        }
    }

    /// Asks for a row that will be used soon.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        #[cfg(target_arch = "x86_64")]
        for line in self.row(row) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: SSE is there on every x86-64 processor, and the advice changes nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }
}

fn index(row: usize) -> u32 {
    // Rows are numbered by word ids, of 32 bits everywhere.
    u32::try_from(row).unwrap_or(u32::MAX)
}

simd_fn! {
    /// `x[i] = rows[ids[i]]`, each with its padding: `x` has `ids.len()` rows of [`SharedRows::stride`].
    pub fn gather(s, x: &mut [f32], rows: &SharedRows, ids: &[u32]) {
        let (x, _) = x.as_chunks_mut::<WIDTH>();
        let lines = rows.stride() / WIDTH;
        for (x, &id) in x.chunks_exact_mut(lines).zip(ids) {
            for (x, line) in x.iter_mut().zip(rows.row(id)) {
                for at in (0..WIDTH).step_by(S::LANES) {
                    s.store(&mut x[at..], s.load_cells(line, at));
                }
            }
        }
    }
}

simd_fn! {
    /// `x = scale * sum_i rows[ids[i]]`, with its padding: [`SharedRows::stride`] numbers, all overwritten.
    pub fn gather_sum(s, x: &mut [f32], rows: &SharedRows, ids: &[u32], scale: f32) {
        let (x, _) = x.as_chunks_mut::<WIDTH>();
        x.as_flattened_mut().fill(0.0);
        let scale = s.splat(scale);
        for (i, &id) in ids.iter().enumerate() {
            let last = i + 1 == ids.len();
            for (x, line) in x.iter_mut().zip(rows.row(id)) {
                for at in (0..WIDTH).step_by(S::LANES) {
                    let sum = s.add(s.load(&x[at..]), s.load_cells(line, at));
                    s.store(&mut x[at..], if last { s.mul(sum, scale) } else { sum });
                }
            }
        }
    }
}

simd_fn! {
    /// `rows[ids[i]] += dx[i]`, one after the other, where `dx` has a row of [`SharedRows::stride`] for each; with one row
    /// in `dx` and several ids, all take that one.
    pub fn scatter_add(s, rows: &SharedRows, ids: &[u32], dx: &[f32]) {
        let (dx, _) = dx.as_chunks::<WIDTH>();
        let lines = rows.stride() / WIDTH;
        let one = dx.len() == lines;
        for (i, &id) in ids.iter().enumerate() {
            let dx = if one { dx } else { &dx[i * lines..(i + 1) * lines] };
            for (line, dx) in rows.row(id).iter().zip(dx) {
                for at in (0..WIDTH).step_by(S::LANES) {
                    s.store_cells(line, at, s.add(s.load_cells(line, at), s.load(&dx[at..])));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    fn filled(rows: usize, cols: usize) -> SharedRows {
        let shared = SharedRows::zeroed(rows, cols);
        for r in 0..rows {
            let x: Vec<f32> = (0..cols).map(|c| (r * 100 + c) as f32).collect();
            shared.set(r, &x);
        }
        shared
    }

    #[test]
    fn rows_are_read_back_and_padded_with_zeros() {
        for cols in [1, 15, 16, 17, 50, 100] {
            let mut shared = filled(3, cols);
            let mut x = vec![0.0; cols];
            shared.get(2, &mut x);
            assert_eq!(x[cols - 1], (200 + cols - 1) as f32);
            let stride = shared.stride();
            assert!(stride >= cols && stride.is_multiple_of(16));
            let all = shared.numbers_mut();
            assert_eq!(all.len(), 3 * stride);
            assert!(all[cols..stride].iter().all(|&x| x == 0.0));
            assert_eq!(all[stride], 100.0);
        }
    }

    #[test]
    fn gather_and_scatter_on_every_instruction_set() {
        for isa in Isa::available() {
            for cols in [3, 16, 40] {
                let shared = filled(5, cols);
                let stride = shared.stride();
                let mut x = vec![9.0; 2 * stride];
                gather(isa, &mut x, &shared, &[4, 1]);
                assert_eq!((x[0], x[cols - 1], x[stride]), (400.0, (400 + cols - 1) as f32, 100.0));
                assert!(x[cols..stride].iter().all(|&x| x == 0.0));
                let mut mean = vec![9.0; stride];
                gather_sum(isa, &mut mean, &shared, &[1, 3, 2], 1.0 / 3.0);
                assert!((mean[1] - 201.0).abs() < 1e-3, "{}", mean[1]);
                gather_sum(isa, &mut mean, &shared, &[], 1.0);
                assert_eq!(mean[1], 0.0);
                // A row that is named twice takes both.
                scatter_add(isa, &shared, &[4, 4], &x);
                let mut row = vec![0.0; cols];
                shared.get(4, &mut row);
                assert_eq!(row[1], 401.0 + 401.0 + 101.0);
                scatter_add(isa, &shared, &[0, 2], &x[..stride]);
                shared.get(2, &mut row);
                assert_eq!(row[1], 201.0 + 401.0);
            }
        }
    }

    #[test]
    fn threads_change_rows_at_once() {
        let shared = SharedRows::zeroed(64, 20);
        let one = vec![1.0; shared.stride()];
        crate::pool::for_each(64, |row| {
            for _ in 0..100 {
                scatter_add(Isa::detect(), &shared, &[row as u32], &one);
            }
        });
        let mut x = vec![0.0; 20];
        for row in 0..64 {
            shared.get(row, &mut x);
            assert!(x.iter().all(|&x| x == 100.0), "{row}");
        }
    }

    #[test]
    #[should_panic(expected = "row 3 of 3")]
    fn no_such_row() {
        filled(3, 4).get(3, &mut [0.0; 4]);
    }
}
