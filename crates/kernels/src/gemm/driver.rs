//! The own driver: packing, blocking, threads.
//!
//! `B` is packed once into panels of `NR` columns. Then each task takes a block of `C` and goes through `k` in parts short enough that
//! a panel of `B` stays in the second cache while the rows of the block pass by. Rows of `A` are read where they lie; only the transpose of what is
//! stored is packed. Sums are collected in a scratch that stays in the second cache, and written through the epilogue once.
//!
//! Where `B` is the larger one and lies by columns, as weights do before a few rows, the transpose is computed: the columns of `B`
//! are the rows that are read where they lie, and each block is turned before it is written.

use super::{
    Gemm, Mat,
    epilogue::{Block, Epilogue},
    pack, tasks,
    tile::Left,
};
use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool,
    simd::{Simd, simd_fn},
};

/// Depth of one pass over a block, at most. A panel of it does not fit the first cache, but a tile takes six cycles for each
/// line of the panel, and so much the second cache gives; more passes read and write the sums more often.
const KC: usize = 1024;
/// Products up to this many multiplications take less time than sharing them among threads.
const SMALL: usize = 256 * 1024;
/// Columns of `B` that are packed at a time, a multiple of every tile's: so much of a row, and not a line of it, is read at once.
const PACKED: usize = 128;

pub(super) fn gemm(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, out: Out<'_>, epilogue: &Epilogue<'_>) {
    match !a.transposed && b.transposed && shape.m < shape.n {
        true => {
            let turned = Gemm { m: shape.n, n: shape.m, k: shape.k };
            run(isa, turned, b.t_view(), a.t_view(), true, out, epilogue)
        }
        false => run(isa, shape, a, b, false, out, epilogue),
    }
}

/// `C`, or its transpose if it is `turned`, as the product of `a` and `b`.
fn run(isa: Isa, shape: Gemm, a: Mat<'_>, b: Mat<'_>, turned: bool, out: Out<'_>, epilogue: &Epilogue<'_>) {
    let Gemm { m, n, k } = shape;
    let TileSize { mr, nr } = tile_size(isa);
    let small = m * n * k <= SMALL;
    let mut packed = Buf::for_overwrite(n.div_ceil(nr) * nr * k);
    let group = if small { n } else { PACKED };
    let pack = |i: usize, panels: &mut [f32]| pack::panels(isa, panels, nr, b, i * group, n, k);
    match small {
        true => pack(0, &mut packed),
        false => pool::for_chunks(&mut packed, (group * k).max(1), pack),
    }
    // Rows that must be packed are packed for every task that has them: for few, if tasks are wide.
    let largest = if a.transposed { (48, 1024) } else { tasks::LARGEST };
    let size = if small { (m, n) } else { tasks::size(m, n, mr, nr, largest) };
    tasks::for_each_block(m, n, size, |block| {
        let copy = a.transposed.then(|| {
            let mut rows = Buf::for_overwrite(block.rows.div_ceil(mr) * mr * k);
            pack::panels(isa, &mut rows, mr, a.t_view(), block.row, m, k);
            rows
        });
        let rows = match &copy {
            Some(copy) => Rows::Packed(copy),
            None => Rows::Lying(a),
        };
        // Squares of eight by eight are turned.
        let numbers = (block.rows.div_ceil(mr) * mr).next_multiple_of(8) * block.cols.div_ceil(nr) * nr;
        let mut sums = Buf::for_overwrite(numbers * if turned { 2 } else { 1 });
        let (sums, turned) = sums.split_at_mut(numbers);
        run_block(isa, rows, &packed[block.col * k..], k, sums, turned, block, out, epilogue);
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

/// The rows of a block.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// Panels of `MR` of them.
    Packed(&'a [f32]),
    /// In the operand.
    Lying(Mat<'a>),
}

simd_fn! {
    /// One block of the result, from its rows and all of `B`'s panels from the block's first column on; turned, if there is room for it.
    fn run_block(
        s, a: Rows<'_>, b: &[f32], k: usize, acc: &mut [f32], turned: &mut [f32], block: Block, out: Out<'_>,
        epilogue: &Epilogue<'_>,
    ) {
        let (mr, nr) = (S::MR, S::NV * S::LANES);
        let (row_panels, col_panels) = (block.rows.div_ceil(mr), block.cols.div_ceil(nr));
        let ld = col_panels * nr;
        // Parts of about equal depth.
        let parts = k.div_ceil(KC).max(1);
        let kc = k.div_ceil(parts);
        for part in 0..parts {
            let (p, end) = (part * kc, ((part + 1) * kc).min(k));
            for j in 0..col_panels {
                let b = &b[(j * k + p) * nr..(j * k + end) * nr];
                for i in 0..row_panels {
                    let rows = mr.min(block.rows - i * mr);
                    let a = match a {
                        Rows::Packed(a) => Left { data: &a[(i * k + p) * mr..], row: 1, rows, packed: true },
                        Rows::Lying(a) => {
                            Left { data: &a.data[(block.row + i * mr) * a.ld + p..], row: a.ld, rows, packed: false }
                        }
                    };
                    s.tile(a, b, &mut acc[i * mr * ld + j * nr..], ld, part == 0);
                }
            }
        }
        let (sums, ld, block) = match turned.is_empty() {
            true => (acc, ld, block),
            false => {
                let rows = block.rows.next_multiple_of(8);
                for row in (0..rows).step_by(8) {
                    for col in (0..block.cols).step_by(8) {
                        s.transpose_8x8(&mut turned[col * rows + row..], rows, &acc[row * ld + col..], ld);
                    }
                }
                (turned, rows, Block { row: block.col, col: block.row, rows: block.cols, cols: block.rows })
            }
        };
        // SAFETY: the blocks of the tasks cover `C` without overlap.
        unsafe { epilogue.write(s, sums, ld, block, &out) };
    }
}
