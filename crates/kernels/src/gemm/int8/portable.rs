//! The micro-kernel in plain Rust.
//!
//! It multiplies and adds in f32, which compilers turn into vectors and plain processors are fast at; the sums of a pass
//! are integers below 2²⁴, so they are exact.

use super::{
    KR, NR,
    tile::{Block, Int8Tile},
};
use crate::simd::Portable;

/// Fours of a pass: 16 KiB of widened numbers, and sums of at most `255 · 127 · 4 · 32`.
const FOURS: usize = 32;

/// A line of a panel as f32: the numbers of all columns at each of the four places.
type Wide = [[f32; NR]; KR];

impl Int8Tile for Portable {
    const MR: usize = 12;

    unsafe fn tile(self, block: Block, rows: usize, start: bool) {
        let Block { a, lda, b, fours, acc } = block;
        // SAFETY: the caller's word: 128 numbers for each four, and `MR` rows of sums that are ours.
        let (b, acc) = unsafe {
            (std::slice::from_raw_parts(b, KR * NR * fours), std::slice::from_raw_parts_mut(acc, Self::MR * NR))
        };
        if start {
            acc.fill(0);
        }
        let mut wide = [[[0.0; NR]; KR]; FOURS];
        for (pass, lines) in b.chunks(KR * NR * FOURS).enumerate() {
            for (wide, line) in wide.iter_mut().zip(lines.chunks_exact(KR * NR)) {
                widen(wide, line);
            }
            for (r, acc) in acc.chunks_exact_mut(NR).take(rows).enumerate() {
                // SAFETY: the caller's word: each row has `4 · fours` numbers, and this pass `lines.len() / 32` of them.
                let a = unsafe { std::slice::from_raw_parts(a.add(r * lda + pass * KR * FOURS), lines.len() / NR) };
                add(acc, a, &wide);
            }
        }
    }
}

/// Integers as f32, each place of the fours by itself.
fn widen(wide: &mut Wide, line: &[i8]) {
    let fours: &[[i8; KR]] = bytemuck::cast_slice(line);
    let mut words = [0i32; NR];
    for (word, four) in words.iter_mut().zip(fours) {
        *word = i32::from_le_bytes(bytemuck::cast(*four));
    }
    // Shifts up and down again carry the sign along.
    for (i, wide) in wide.iter_mut().enumerate() {
        for (wide, word) in wide.iter_mut().zip(words) {
            *wide = ((word << (24 - 8 * i)) >> 24) as f32;
        }
    }
}

/// Adds the products of a pass to a row's sums.
fn add(acc: &mut [i32], a: &[u8], wide: &[Wide]) {
    let mut sums = [0.0f32; NR];
    for (x, wide) in a.chunks_exact(KR).zip(wide) {
        for (&x, wide) in x.iter().zip(wide) {
            let x = f32::from(x);
            for (sum, w) in sums.iter_mut().zip(wide) {
                *sum += x * w;
            }
        }
    }
    for (acc, sum) in acc.iter_mut().zip(sums) {
        *acc += sum as i32;
    }
}
