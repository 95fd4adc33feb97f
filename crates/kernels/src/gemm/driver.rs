//! The own driver: packing, blocking, threads.
//!
//! `B` is packed once into panels of `NR` columns. Then each task takes a block of `C`, packs its rows of `A` into panels
//! of `MR`, and goes through `k` in blocks short enough that a panel of `B` stays in the first cache. The block is
//! collected in a scratch that stays in the second cache, and written through the epilogue once.

use super::{
    Gemm, Mat,
    epilogue::{Block, Epilogue},
    tasks,
};
use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool,
    simd::{Simd, simd_fn},
};

/// Depth of one pass over a block: 32 columns of `B` are then 32 KiB.
const KC: usize = 256;
/// Panels of rows in a task.
const ROW_PANELS: usize = 12;
/// Columns of a task, about.
const NC: usize = 256;

pub(super) fn gemm(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, out: Out<'_>, epilogue: &Epilogue<'_>) {
    let Gemm { m, n, k } = shape;
    let TileSize { mr, nr } = tile_size(isa);
    let (mc, nc) = (mr * ROW_PANELS, (NC / nr).max(1) * nr);
    let mut packed = Buf::for_overwrite(n.div_ceil(nr) * nr * k);
    pool::for_chunks(&mut packed, (nr * k).max(1), |j, panel| pack(panel, nr, b.strides(), b.data, j * nr, n, k));
    tasks::for_each_block(m, n, (mc, nc), |block| {
        let mut rows = Buf::for_overwrite(block.rows.div_ceil(mr) * mr * k);
        let (rs, cs) = a.strides();
        for (i, panel) in rows.chunks_mut((mr * k).max(1)).enumerate() {
            pack(panel, mr, (cs, rs), a.data, block.row + i * mr, m, k);
        }
        let mut acc = Buf::for_overwrite(mc * nc);
        run_block(isa, &rows, &packed[block.col * k..], k, &mut acc, block, out, epilogue);
    });
}

/// Rows and columns of the register tile.
struct TileSize {
    mr: usize,
    nr: usize,
}

fn tile_size(isa: Isa) -> TileSize {
    let mut size = TileSize { mr: 0, nr: 0 };
    read_tile_size(isa, &mut size);
    size
}

simd_fn! {
    fn read_tile_size(s, size: &mut TileSize) {
        fn of<S: Simd>(_: S) -> TileSize {
            TileSize { mr: S::MR, nr: S::NV * S::LANES }
        }
        *size = of(s);
    }
}

/// Packs `width` columns of a `k`-row operand from `col` on: `panel[p * width + j] = x[p, col + j]`, zeros beyond `cols`.
fn pack(panel: &mut [f32], width: usize, (rs, cs): (usize, usize), x: &[f32], col: usize, cols: usize, k: usize) {
    let have = width.min(cols - col);
    if have < width {
        panel.fill(0.0);
    }
    if cs == 1 {
        for (p, row) in panel.chunks_exact_mut(width).enumerate() {
            let start = p * rs + col;
            row[..have].copy_from_slice(&x[start..start + have]);
        }
    } else {
        // Along the source's contiguous index, a few rows of the panel at a time so that both sides stay in the cache.
        for p0 in (0..k).step_by(16) {
            for j in 0..have {
                let column = &x[(col + j) * cs..];
                for p in p0..(p0 + 16).min(k) {
                    panel[p * width + j] = column[p * rs];
                }
            }
        }
    }
}

simd_fn! {
    /// One block of the result, from packed rows of `A` and all of `B`'s panels from the block's first column on.
    fn run_block(
        s, a: &[f32], b: &[f32], k: usize, acc: &mut [f32], block: Block, out: Out<'_>, epilogue: &Epilogue<'_>,
    ) {
        block_of_tiles(s, a, b, k, acc, block, out, epilogue);
    }
}

#[inline(always)]
fn block_of_tiles<S: Simd>(
    s: S,
    a: &[f32],
    b: &[f32],
    k: usize,
    acc: &mut [f32],
    block: Block,
    out: Out<'_>,
    epilogue: &Epilogue<'_>,
) {
    let (mr, nr) = (S::MR, S::NV * S::LANES);
    let (row_panels, col_panels) = (block.rows.div_ceil(mr), block.cols.div_ceil(nr));
    let mut p = 0;
    loop {
        let kc = KC.min(k - p);
        for j in 0..col_panels {
            let b = &b[(j * k + p) * nr..][..kc * nr];
            for i in 0..row_panels {
                let a = &a[(i * k + p) * mr..][..kc * mr];
                s.tile(a, b, &mut acc[(j * row_panels + i) * mr * nr..][..mr * nr], p == 0);
            }
        }
        p += kc;
        if p >= k {
            break;
        }
    }
    for j in 0..col_panels {
        for i in 0..row_panels {
            let (row, col) = (i * mr, j * nr);
            let part = Block {
                row: block.row + row,
                col: block.col + col,
                rows: mr.min(block.rows - row),
                cols: nr.min(block.cols - col),
            };
            let tile = &acc[(j * row_panels + i) * mr * nr..][..mr * nr];
            // SAFETY: the blocks of the tasks, and the tiles within them, cover `C` without overlap.
            unsafe { epilogue.write(s, tile, nr, part, &out) };
        }
    }
}
