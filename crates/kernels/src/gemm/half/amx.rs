//! The micro-kernel of AMX: four tiles, 32 rows and 32 columns.

use std::{arch::asm, cell::Cell};

use half::bf16;

use super::{
    NR,
    passes::Sums,
    tile::{Block, HalfTile, Lines},
};
use crate::{isa::Amx, number::Number, simd::Simd};

impl HalfTile for Amx {
    const MR: usize = 32;
    const KC: usize = 288;
    const WHOLE: bool = true;

    #[inline(always)]
    unsafe fn tile(self, block: Block, _rows: usize, start: bool) {
        configure(self);
        let Block { a, b, pairs, acc } = block;
        // SAFETY: the token proves the instructions, and this thread's tiles are configured. Reads and writes are those
        // that the caller's word covers: 32 rows of `a`, 16 lines of 128 bytes of `b` a step, 32 lines of `acc`.
        unsafe {
            begin(self, acc, start);
            for i in 0..steps(pairs) {
                step(self, a, b, i);
            }
            end(self, acc);
        }
    }

    #[inline(always)]
    unsafe fn tile_beside<S: Simd, C: Number>(
        self,
        s: S,
        block: Block,
        rows: usize,
        start: bool,
        sums: &mut Option<Sums<'_, C>>,
    ) {
        let Some(sums) = sums else {
            // SAFETY: the caller's word.
            return unsafe { self.tile(block, rows, start) };
        };
        configure(self);
        let Block { a, b, pairs, acc } = block;
        let steps = steps(pairs);
        let each = Self::MR.div_ceil(steps);
        // SAFETY: as above.
        unsafe {
            begin(self, acc, start);
            for i in 0..steps {
                step(self, a, b, i);
                sums.write(s, each);
            }
            end(self, acc);
        }
    }
}

/// Adds the products of the pass `i` over 16 pairs to the sums in tiles, which stay there from one statement to the next: no code of
/// the compiler has any use for tiles, and nothing that is called in between has either.
///
/// # Safety
/// 32 rows of `a` and 16 lines of `b` are there for the pass, and this thread's tiles are configured.
#[inline(always)]
unsafe fn step(_: Amx, a: Lines, b: *const bf16, i: usize) {
    // SAFETY: the token proves the instructions; the rest is the caller's word.
    unsafe {
        let (b, above) = (b.add(i * 32 * NR), a.start.add(i * a.step));
        asm!(
            "tileloadd tmm4, [{above} + {lda}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{below} + {lda}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            line = in(reg) 4 * NR,
            above = in(reg) above,
            below = in(reg) above.add(a.below),
            lda = in(reg) 2 * a.ld,
            b = in(reg) b,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Passes over 16 pairs of the depth.
#[inline(always)]
fn steps(pairs: usize) -> usize {
    pairs.div_ceil(16).max(1)
}

/// Sums into tiles, or zeros at the start.
///
/// # Safety
/// `acc` has 32 lines of 128 bytes, and this thread's tiles are configured.
#[inline(always)]
unsafe fn begin(_: Amx, acc: *const f32, start: bool) {
    // SAFETY: the token proves the instructions; the rest is the caller's word.
    unsafe {
        if start {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem),
            );
        } else {
            asm!(
                "tileloadd tmm0, [{acc} + {line}*1]",
                "tileloadd tmm1, [{acc} + {line}*1 + 64]",
                "tileloadd tmm2, [{acc} + {line}*1 + 2048]",
                "tileloadd tmm3, [{acc} + {line}*1 + 2112]",
                acc = in(reg) acc,
                line = in(reg) 4 * NR,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, readonly),
            );
        }
    }
}

/// Tiles into sums.
///
/// # Safety
/// As [`begin`].
#[inline(always)]
unsafe fn end(_: Amx, acc: *mut f32) {
    // SAFETY: as above.
    unsafe {
        asm!(
            "tilestored [{acc} + {line}*1], tmm0",
            "tilestored [{acc} + {line}*1 + 64], tmm1",
            "tilestored [{acc} + {line}*1 + 2048], tmm2",
            "tilestored [{acc} + {line}*1 + 2112], tmm3",
            acc = in(reg) acc,
            line = in(reg) 4 * NR,
            options(nostack),
        );
    }
}

/// The operand of `ldtilecfg`: palette 1, eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Configures this thread's tiles, once.
#[inline(always)]
fn configure(_: Amx) {
    thread_local! { static CONFIGURED: Cell<bool> = const { Cell::new(false) } }
    if !CONFIGURED.get() {
        // SAFETY: the token proves the instruction; the operand is 64 bytes in the form of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
        CONFIGURED.set(true);
    }
}
