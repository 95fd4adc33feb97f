//! The micro-kernel in plain Rust.

use super::{
    NR,
    tile::{Block, Int8Tile},
};
use crate::simd::Portable;

impl Int8Tile for Portable {
    const MR: usize = 4;

    unsafe fn tile(self, block: Block, rows: usize, start: bool) {
        let Block { a, lda, b, fours, acc } = block;
        // SAFETY: the caller's word: 128 numbers for each four, and `MR` rows of sums that are ours.
        let (b, acc) = unsafe {
            (std::slice::from_raw_parts(b, 4 * NR * fours), std::slice::from_raw_parts_mut(acc, Self::MR * NR))
        };
        for (r, acc) in acc.chunks_exact_mut(NR).take(rows).enumerate() {
            // SAFETY: the caller's word: each row has `4 · fours` numbers.
            let a = unsafe { std::slice::from_raw_parts(a.add(r * lda), 4 * fours) };
            let mut sums = [0i32; NR];
            for (x, line) in a.chunks_exact(4).zip(b.chunks_exact(4 * NR)) {
                let x = [i16::from(x[0]), i16::from(x[1]), i16::from(x[2]), i16::from(x[3])].map(i32::from);
                for (sum, w) in sums.iter_mut().zip(line.chunks_exact(4)) {
                    *sum += (x[0] * i32::from(w[0]) + x[1] * i32::from(w[1]))
                        + (x[2] * i32::from(w[2]) + x[3] * i32::from(w[3]));
                }
            }
            for (acc, sum) in acc.iter_mut().zip(sums) {
                *acc = if start { sum } else { *acc + sum };
            }
        }
    }
}
