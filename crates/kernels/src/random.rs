//! Random numbers from counters: the same place always gets the same number, whoever asks and in which order.
//!
//! Philox 4×32-10, [Salmon et al. 2011](https://doi.org/10.1145/2063384.2063405).

use crate::{isa::Isa, out::Out, pool, simd::simd_fn};

/// Names a stream of random rows: a key (seed and step), a sample and a place in the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// From [`key`].
    pub key: u64,
    /// Number of the sample within the step, whatever the batches.
    pub sample: u32,
    /// Number of the operation within the computation.
    pub place: u32,
}

/// The key of `seed` at `step`.
pub fn key(seed: u64, step: u64) -> u64 {
    // One round of splitmix64 a part spreads neighbouring seeds and steps over all bits.
    mix(mix(seed).wrapping_add(step))
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Ten rounds on the 128-bit counter.
#[inline(always)]
fn philox(key: u64, mut c: [u32; 4]) -> [u32; 4] {
    let (mut k0, mut k1) = (key as u32, (key >> 32) as u32);
    for _ in 0..10 {
        let (a, b) = (0xd251_1f53_u64 * c[0] as u64, 0xcd9e_8d57_u64 * c[2] as u64);
        c = [(b >> 32) as u32 ^ c[1] ^ k0, b as u32, (a >> 32) as u32 ^ c[3] ^ k1, a as u32];
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    c
}

impl Draw {
    /// Bits of the numbers `col..col + out.len()` of a row; `col` is a multiple of 4.
    #[inline(always)]
    pub(crate) fn fill(&self, row: u32, col: usize, out: &mut [u32]) {
        debug_assert!(col.is_multiple_of(4));
        for (i, out) in out.chunks_mut(4).enumerate() {
            let bits = philox(self.key, [(col / 4 + i) as u32, row, self.sample, self.place]);
            out.copy_from_slice(&bits[..out.len()]);
        }
    }

    /// Number `col` of `row`, as 64 random bits.
    pub fn bits(&self, row: u32, col: u32) -> u64 {
        let c = philox(self.key, [col, row, self.sample, self.place]);
        c[0] as u64 | (c[1] as u64) << 32
    }

    /// Number `col` of `row`, uniform in `0..1`.
    pub fn uniform(&self, row: u32, col: u32) -> f64 {
        (self.bits(row, col) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills `out` with standard normal numbers by the Box–Muller transform.
    pub fn normal(&self, out: &mut [f32]) {
        pool::for_chunks(out, pool::SMALL, |chunk, out| {
            for (i, pair) in out.chunks_mut(2).enumerate() {
                let c = philox(self.key, [i as u32, chunk as u32, self.sample, self.place]);
                // In (0, 1], so that the logarithm is finite.
                let u = (((c[0] as u64 | (c[1] as u64) << 32) >> 11) + 1) as f64 / (1u64 << 53) as f64;
                let (radius, angle) = ((-2.0 * u.ln()).sqrt(), c[2] as f64 / 4_294_967_296.0 * std::f64::consts::TAU);
                let values = [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32];
                pair.copy_from_slice(&values[..pair.len()]);
            }
        });
    }
}

/// Which numbers a dropout zeroes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The stream of the batch's first sample; sample `b` of the batch has the number `draw.sample + b`.
    pub draw: Draw,
    /// The probability of zero, below 1. What stays is multiplied by `1 / (1 - p)`.
    pub p: f32,
}

impl Dropout {
    /// Numbers below this are dropped.
    #[inline(always)]
    pub(crate) fn threshold(&self) -> u32 {
        (self.p as f64 * 4_294_967_296.0) as u32
    }

    #[inline(always)]
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (1.0 - self.p)
    }
}

/// `y = dropout(y)` in place for `y: [samples, rows, cols]`; the gradient is the same function of the gradient.
///
/// [Srivastava et al. 2014](https://jmlr.org/papers/v15/srivastava14a.html).
pub fn dropout(isa: Isa, dropout: Dropout, y: &mut [f32], rows: usize, cols: usize) {
    if cols == 0 || rows == 0 {
        return;
    }
    let total = y.len() / cols;
    let per_task = (pool::SMALL / cols).max(1);
    let out = Out::new(y, cols);
    pool::for_each(total.div_ceil(per_task), |task| {
        for r in task * per_task..((task + 1) * per_task).min(total) {
            // SAFETY: each row is one task's.
            let y = unsafe { out.row(r, 0, cols) };
            dropout_row(isa, dropout, (r / rows) as u32, (r % rows) as u32, 0, y);
        }
    });
}

simd_fn! {
    /// Applies the mask of columns `col..` of one row; `col` is a multiple of 4.
    pub(crate) fn dropout_row(s, dropout: Dropout, sample: u32, row: u32, col: usize, y: &mut [f32]) {
        let _ = s;
        drop_row(dropout, sample, row, col, y);
    }
}

/// [`dropout_row`] inside a kernel.
#[inline(always)]
pub(crate) fn drop_row(dropout: Dropout, sample: u32, row: u32, col: usize, y: &mut [f32]) {
    let draw = Draw { sample: dropout.draw.sample.wrapping_add(sample), ..dropout.draw };
    let (threshold, scale) = (dropout.threshold(), dropout.scale());
    let mut bits = [0; 64];
    for (i, y) in y.chunks_mut(64).enumerate() {
        draw.fill(row, col + i * 64, &mut bits[..y.len()]);
        for (y, bits) in y.iter_mut().zip(bits) {
            *y = if bits < threshold { 0.0 } else { *y * scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the reference implementation (Random123, `philox4x32_10`).
    #[test]
    fn known_answers() {
        assert_eq!(philox(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn a_sample_is_dropped_alike_in_any_batch() {
        let draw = Draw { key: key(1, 2), sample: 0, place: 3 };
        let (rows, cols) = (5, 37);
        for isa in Isa::available() {
            let mut whole = vec![1.0; 3 * rows * cols];
            dropout(isa, Dropout { draw, p: 0.25 }, &mut whole, rows, cols);
            let mut last = vec![1.0; rows * cols];
            dropout(isa, Dropout { draw: Draw { sample: 2, ..draw }, p: 0.25 }, &mut last, rows, cols);
            assert_eq!(whole[2 * rows * cols..], last);
        }
    }

    #[test]
    fn the_share_dropped_is_p() {
        let draw = Draw { key: key(7, 0), sample: 0, place: 0 };
        let mut y = vec![1.0; 200_000];
        dropout(Isa::detect(), Dropout { draw, p: 0.3 }, &mut y, 200, 1000);
        let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - 0.3).abs() < 0.005, "{dropped}");
        assert!((y.iter().map(|&y| y as f64).sum::<f64>() / y.len() as f64 - 1.0).abs() < 0.01);
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut x = vec![0.0; 100_001];
        Draw { key: key(3, 0), sample: 0, place: 0 }.normal(&mut x);
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| x as f64).sum::<f64>() / n;
        let var = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.02, "{mean} {var}");
    }
}
