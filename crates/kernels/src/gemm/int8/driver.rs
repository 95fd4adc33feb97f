//! Blocks, threads, epilogues: as for bf16, with sums of integers.

use super::{
    Int8Panels, Int8Rows, KR, NR,
    tile::{Block, Int8Tile, block_len},
};
use crate::{
    gemm::{
        epilogue::{Block as Place, Epilogue},
        tasks,
    },
    isa::Isa,
    mem::Buf,
    number::Number,
    out::Out,
    simd::{Portable, simd_fn},
};

/// Depth of one pass over a block's panels, so that a panel stays in the first cache: 16 KiB.
const KC: usize = 512;
/// The most rows that a tile has.
const MOST: usize = 12;

pub(super) fn gemm<C: Number>(isa: Isa, a: &Int8Rows, b: &Int8Panels, out: Out<'_, C>, epilogue: &Epilogue<'_, C>) {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(vnni) = isa.avx512_vnni() {
            return run(isa, vnni, a, b, out, epilogue);
        }
        if let Some(avx512) = isa.avx512() {
            return run(isa, avx512, a, b, out, epilogue);
        }
        if let Some(avx2) = isa.avx2() {
            return run(isa, avx2, a, b, out, epilogue);
        }
    }
    run(isa, Portable, a, b, out, epilogue);
}

fn run<C: Number, K: Int8Tile>(
    isa: Isa,
    kernel: K,
    a: &Int8Rows,
    b: &Int8Panels,
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    const { assert!(K::MR <= MOST) };
    let (m, n) = (a.m, b.n);
    tasks::for_each_block(m, n, tasks::size(m, n, K::MR, NR, tasks::LARGEST), |place| {
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        let mut acc = Buf::<i32>::for_overwrite(row_tiles * panels * block_len(K::MR));
        sum(kernel, a, b, place, &mut acc);
        write_tiles(isa, &acc, K::MR, a, b, place, out, epilogue);
    });
}

/// The block's sums.
fn sum<K: Int8Tile>(kernel: K, a: &Int8Rows, b: &Int8Panels, place: Place, acc: &mut [i32]) {
    let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
    let depth = b.k.next_multiple_of(KR);
    if depth == 0 {
        acc.fill(0);
        return;
    }
    // Parts of about equal depth.
    let kc = depth.div_ceil(depth.div_ceil(KC)).next_multiple_of(KR);
    assert!(acc.len() >= row_tiles * panels * block_len(K::MR) && place.col.is_multiple_of(NR));
    assert!(depth <= a.ld && a.data.len() >= (place.row + place.rows) * a.ld);
    for p in (0..depth).step_by(kc) {
        let fours = kc.min(depth - p) / KR;
        for j in 0..panels {
            let panel = &b.data[((place.col / NR + j) * depth + p) * NR..][..fours * KR * NR];
            for i in 0..row_tiles {
                let row = i * K::MR;
                let block = Block {
                    a: a.data[(place.row + row) * a.ld + p..].as_ptr(),
                    lda: a.ld,
                    b: panel.as_ptr(),
                    fours,
                    acc: acc[(j * row_tiles + i) * block_len(K::MR)..].as_mut_ptr(),
                };
                // SAFETY: rows, panel and sums lie within their slices: checked above, the panel by its slice.
                unsafe { kernel.tile(block, K::MR.min(place.rows - row), p == 0) };
            }
        }
    }
}

simd_fn! {
    /// Writes a task's sums, in f32, through the epilogue.
    fn write_tiles<[C: Number]>(
        s, acc: &[i32], mr: usize, a: &Int8Rows, b: &Int8Panels, place: Place, out: Out<'_, C>,
        epilogue: &Epilogue<'_, C>,
    ) {
        let row_tiles = place.rows.div_ceil(mr);
        let mut numbers = [0.0f32; MOST * NR];
        for j in 0..place.cols.div_ceil(NR) {
            let col = place.col + j * NR;
            let (scales, totals) = (&b.scales[col..col + NR], &b.sums[col..col + NR]);
            for i in 0..row_tiles {
                let row = place.row + i * mr;
                let part = Place {
                    row,
                    col,
                    rows: mr.min(place.rows - i * mr),
                    cols: NR.min(place.cols - j * NR),
                };
                let sums = &acc[(j * row_tiles + i) * block_len(mr)..][..block_len(mr)];
                for r in 0..part.rows {
                    let (scale, zero) = (a.scales[row + r], a.zeros[row + r]);
                    let (sums, y) = (&sums[r * NR..(r + 1) * NR], &mut numbers[r * NR..(r + 1) * NR]);
                    for c in 0..NR {
                        // Each of the three fits 32 bits up to the largest depth.
                        y[c] = (sums[c].wrapping_sub(zero.wrapping_mul(totals[c]))) as f32 * (scale * scales[c]);
                    }
                }
                // SAFETY: the blocks of the tasks, and the parts within them, cover `C` without overlap.
                unsafe { epilogue.write(s, &numbers, NR, part, &out) };
            }
        }
    }
}
