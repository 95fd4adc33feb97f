//! Operands of f32 products in the order in which a tile reads them.

use super::Mat;
use crate::simd::{Simd, simd_fn};

simd_fn! {
    /// Packs columns of an operand of `k` rows and `cols` columns from `col` on, into panels of `width` columns: as many as `to` holds.
    /// `panel[p * width + j] = x[p, c + j]` for the panel's first column `c`, zeros beyond `cols`.
    pub(super) fn panels(s, to: &mut [f32], width: usize, x: Mat<'_>, col: usize, cols: usize, k: usize) {
        let panels = to.len() / (width * k).max(1);
        let whole = ((cols - col) / width).min(panels);
        if x.transposed {
            for (i, panel) in to.chunks_exact_mut((width * k).max(1)).enumerate() {
                let c = col + i * width;
                columns(s, panel, width, x, c, width.min(cols - c), k);
            }
        } else {
            // Row by row through all panels, since a row's numbers are neighbours.
            match width {
                6 => rows::<6>(to, whole, x, col, k),
                12 => rows::<12>(to, whole, x, col, k),
                16 => rows::<16>(to, whole, x, col, k),
                32 => rows::<32>(to, whole, x, col, k),
                _ => (0..whole).for_each(|i| part_of_rows(&mut to[i * width * k..], width, x, col + i * width, width, k)),
            }
            for i in whole..panels {
                let c = col + i * width;
                part_of_rows(&mut to[i * width * k..], width, x, c, cols - c, k);
            }
        }
    }
}

/// Whole panels of a width that the compiler knows.
#[inline(always)]
fn rows<const W: usize>(to: &mut [f32], panels: usize, x: Mat<'_>, col: usize, k: usize) {
    for p in 0..k {
        let from = &x.data[p * x.ld + col..][..panels * W];
        for (i, from) in from.as_chunks::<W>().0.iter().enumerate() {
            to[(i * k + p) * W..][..W].copy_from_slice(from);
        }
    }
}

/// A panel of which `have` columns are there.
#[inline(always)]
fn part_of_rows(panel: &mut [f32], width: usize, x: Mat<'_>, col: usize, have: usize, k: usize) {
    for (p, to) in panel.chunks_exact_mut(width).take(k).enumerate() {
        let start = p * x.ld + col;
        to[..have].copy_from_slice(&x.data[start..start + have]);
        to[have..].fill(0.0);
    }
}

/// A panel where the operand is the transpose of what is stored: squares of eight by eight, and what they leave number by number.
#[inline(always)]
fn columns<S: Simd>(s: S, panel: &mut [f32], width: usize, x: Mat<'_>, col: usize, have: usize, k: usize) {
    if have < width {
        panel.fill(0.0);
    }
    let whole = have / 8 * 8;
    for p0 in (0..k).step_by(8) {
        let square = p0 + 8 <= k;
        if square {
            for j in (0..whole).step_by(8) {
                s.transpose_8x8(&mut panel[p0 * width + j..], width, &x.data[(col + j) * x.ld + p0..], x.ld);
            }
        }
        for j in if square { whole } else { 0 }..have {
            for p in p0..(p0 + 8).min(k) {
                panel[p * width + j] = x.data[(col + j) * x.ld + p];
            }
        }
    }
}
