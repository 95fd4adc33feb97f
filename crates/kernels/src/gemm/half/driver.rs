//! Blocks, threads, epilogues.
//!
//! A task takes a block of `C`. It goes through the depth in parts short enough that a panel stays in the first cache
//! while all rows of the block pass by; sums are collected in a scratch that stays in the second cache, and written
//! through the epilogue once.

use half::bf16;

use super::{
    KR, NR, Panels, Rows, Term, pack,
    tile::{Block, HalfTile, block_len},
    token,
};
use crate::{
    gemm::{
        Mat,
        epilogue::{Block as Place, Epilogue},
        tasks,
    },
    isa::Isa,
    mem::Buf,
    number::Number,
    out::Out,
    simd::simd_fn,
};

pub(super) fn gemm<C: Number>(
    isa: Isa,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    let half = token(isa);
    match isa.amx() {
        Some(amx) => run(isa, amx, half, m, n, terms, out, epilogue),
        None => run(isa, half, half, m, n, terms, out, epilogue),
    }
}

fn run<C: Number, K: HalfTile>(
    isa: Isa,
    kernel: K,
    half: crate::isa::Avx512Bf16,
    m: usize,
    n: usize,
    terms: &[Term<'_>],
    out: Out<'_, C>,
    epilogue: &Epilogue<'_, C>,
) {
    tasks::for_each_block(m, n, tasks::size(m, n, K::MR, NR, tasks::LARGEST), |place| {
        let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
        let mut acc = Buf::<f32>::for_overwrite(row_tiles * panels * block_len(K::MR));
        let mut start = true;
        for term in terms {
            let copy = copy_of::<K>(half, term.a, m, term.b.k, place);
            let a = match &copy {
                Some(copy) => Rows { data: copy, ld: term.b.k.next_multiple_of(KR) },
                None => Rows { data: &term.a.data[place.row * term.a.ld..], ld: term.a.ld },
            };
            // SAFETY: `gemm_half` checked the operands against the shape, and `copy_of` saw to what the kernel needs.
            unsafe { sum(kernel, a, term.b, place, &mut acc, start) };
            start = false;
        }
        write_tiles(isa, &acc, K::MR, place, out, epilogue);
    });
}

/// The block's rows in the form that the kernel needs; `None` if they have it.
fn copy_of<K: HalfTile>(
    half: crate::isa::Avx512Bf16,
    a: Rows<'_>,
    m: usize,
    k: usize,
    place: Place,
) -> Option<Buf<bf16>> {
    let fits = if K::WHOLE {
        let rows = place.rows.next_multiple_of(K::MR);
        let readable = (place.row + rows - 1) * a.ld + k <= a.data.len();
        readable && k.is_multiple_of(KR) && a.ld.is_multiple_of(KR) && (a.data.as_ptr() as usize).is_multiple_of(64)
    } else {
        k.is_multiple_of(2)
    };
    if fits {
        return None;
    }
    let mut copy = Buf::for_overwrite(place.rows.next_multiple_of(32) * k.next_multiple_of(KR));
    let rows = m.min(place.row + place.rows);
    pack::rows_of(half, &mut copy, Mat::new(a.data, a.ld), rows, k, place.row);
    Some(copy)
}

/// Adds a term to the block's sums.
///
/// # Safety
/// `a` begins with the block's rows and has what [`HalfTile::tile`] asks of rows; the block lies within `b`'s columns.
unsafe fn sum<K: HalfTile>(kernel: K, a: Rows<'_>, b: &Panels, place: Place, acc: &mut [f32], start: bool) {
    let (row_tiles, panels) = (place.rows.div_ceil(K::MR), place.cols.div_ceil(NR));
    let depth = b.k.next_multiple_of(KR);
    if depth == 0 {
        if start {
            acc.fill(0.0);
        }
        return;
    }
    // Parts of about equal depth.
    let kc = depth.div_ceil(depth.div_ceil(K::KC)).next_multiple_of(KR);
    assert!(acc.len() >= row_tiles * panels * block_len(K::MR) && place.col.is_multiple_of(NR));
    assert!(b.data.len() >= (place.col / NR + panels) * NR * depth);
    for p in (0..depth).step_by(kc) {
        let pairs = kc.min(b.k - p).div_ceil(2);
        for j in 0..panels {
            let panel = b.data[((place.col / NR + j) * depth + p) * NR..].as_ptr();
            for i in 0..row_tiles {
                let row = i * K::MR;
                let block = Block {
                    // SAFETY: the row is one of the block's.
                    a: unsafe { a.data.as_ptr().add(row * a.ld + p) },
                    lda: a.ld,
                    b: panel,
                    pairs,
                    acc: acc[(j * row_tiles + i) * block_len(K::MR)..].as_mut_ptr(),
                };
                // SAFETY: the caller's word for the rows; panel and sums were checked above.
                unsafe { kernel.tile(block, K::MR.min(place.rows - row), start && p == 0) };
            }
        }
    }
}

simd_fn! {
    /// Writes a task's sums through the epilogue.
    fn write_tiles<[C: Number]>(
        s, acc: &[f32], mr: usize, place: Place, out: Out<'_, C>, epilogue: &Epilogue<'_, C>,
    ) {
        let row_tiles = place.rows.div_ceil(mr);
        for j in 0..place.cols.div_ceil(NR) {
            for i in 0..row_tiles {
                let (row, col) = (i * mr, j * NR);
                let part = Place {
                    row: place.row + row,
                    col: place.col + col,
                    rows: mr.min(place.rows - row),
                    cols: NR.min(place.cols - col),
                };
                let sums = &acc[(j * row_tiles + i) * block_len(mr)..][..block_len(mr)];
                // SAFETY: the blocks of the tasks, and the parts within them, cover `C` without overlap.
                unsafe { epilogue.write(s, sums, NR, part, &out) };
            }
        }
    }
}
