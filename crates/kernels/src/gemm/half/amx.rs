//! The micro-kernel of AMX: four tiles, 32 rows and 32 columns.

use std::{arch::asm, cell::Cell};

use super::{
    NR,
    passes::Sums,
    tile::{Block, HalfTile, Next, Start},
};
use crate::{isa::Amx, number::Number, simd::Simd};

impl HalfTile for Amx {
    const MR: usize = 32;
    const PANELS: usize = 4;
    const WHOLE: bool = true;
    const HOLDS: bool = true;

    fn most(depth: usize, once: bool) -> usize {
        match (once, depth) {
            (false, _) => 288,
            // Rows of 48 KiB, all of the first cache, are still faster than sums that come and go.
            (true, ..=768) => 768,
            (true, _) => 576,
        }
    }

    #[inline(always)]
    unsafe fn tile(self, block: Block, _rows: usize) {
        configure(self);
        // SAFETY: the token proves the instructions, and this thread's tiles are configured. Reads and writes are those
        // that the caller's word covers: 32 rows of `a`, 16 lines of 128 bytes of `b` a step, 32 lines of `acc` and of the next block's; so
        // are sums that are held.
        unsafe {
            begin(self, block);
            for i in 0..steps(block.pairs) {
                step(self, block, i);
            }
            end(self, block);
        }
    }

    #[inline(always)]
    unsafe fn tile_beside<S: Simd, C: Number>(self, s: S, block: Block, rows: usize, sums: &mut Option<Sums<'_, C>>) {
        let Some(sums) = sums else {
            // SAFETY: the caller's word.
            return unsafe { self.tile(block, rows) };
        };
        configure(self);
        let steps = steps(block.pairs);
        let each = Self::MR.div_ceil(steps);
        // SAFETY: as above.
        unsafe {
            begin(self, block);
            for i in 0..steps {
                step(self, block, i);
                sums.write(s, each);
            }
            end(self, block);
        }
    }
}

/// Adds the products of the pass `i` over 16 pairs to the sums in tiles, which stay there from one statement to the next, and
/// from one block to the next: no code of the compiler has any use for tiles, and nothing that is called in between has either.
///
/// # Safety
/// 32 rows of `a` and 16 lines of `b` are there for the pass, and this thread's tiles are configured.
#[inline(always)]
unsafe fn step(_: Amx, block: Block, i: usize) {
    // The instructions with the one for loads of the right operand.
    macro_rules! step {
        ($load:literal, $a:ident, $above:ident, $b:ident) => {
            asm!(
                "tileloadd tmm4, [{above} + {lda}*1]",
                concat!($load, " tmm6, [{b} + {line}*1]"),
                "tdpbf16ps tmm0, tmm4, tmm6",
                concat!($load, " tmm7, [{b} + {line}*1 + 64]"),
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{below} + {lda}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                line = in(reg) 4 * NR,
                above = in(reg) $above,
                below = in(reg) $above.add($a.below),
                lda = in(reg) 2 * $a.ld,
                b = in(reg) $b,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }
    let Block { a, b, once, .. } = block;
    // SAFETY: the token proves the instructions; the rest is the caller's word.
    unsafe {
        let (b, above) = (b.add(i * 32 * NR), a.start.add(i * a.step));
        if once { step!("tileloaddt1", a, above, b) } else { step!("tileloadd", a, above, b) }
    }
}

/// Passes over 16 pairs of the depth.
#[inline(always)]
fn steps(pairs: usize) -> usize {
    pairs.div_ceil(16).max(1)
}

/// What a block's sums begin with, into tiles.
///
/// # Safety
/// `acc` has 32 lines of 128 bytes, and this thread's tiles are configured.
#[inline(always)]
unsafe fn begin(_: Amx, block: Block) {
    // SAFETY: the token proves the instructions; the rest is the caller's word.
    unsafe {
        match block.start {
            Start::Held => {}
            Start::Zeros => asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem),
            ),
            Start::Sums => asm!(
                "tileloadd tmm0, [{acc} + {line}*1]",
                "tileloadd tmm1, [{acc} + {line}*1 + 64]",
                "tileloadd tmm2, [{acc} + {line}*1 + 2048]",
                "tileloadd tmm3, [{acc} + {line}*1 + 2112]",
                acc = in(reg) block.acc,
                line = in(reg) 4 * NR,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, readonly),
            ),
        }
    }
}

/// Tiles into sums, and what the next block's sums begin with into tiles: one by one, since a tile that is to be loaded waits until what
/// it had is stored, and stores wait for the products before them.
///
/// # Safety
/// As [`begin`], for the next block, too.
#[inline(always)]
unsafe fn end(_: Amx, block: Block) {
    let acc = block.acc;
    // SAFETY: as above.
    unsafe {
        match block.next {
            None => asm!(
                "tilestored [{acc} + {line}*1], tmm0",
                "tilestored [{acc} + {line}*1 + 64], tmm1",
                "tilestored [{acc} + {line}*1 + 2048], tmm2",
                "tilestored [{acc} + {line}*1 + 2112], tmm3",
                acc = in(reg) acc,
                line = in(reg) 4 * NR,
                options(nostack),
            ),
            // The sums go on.
            Some(Next { acc: next, zeros: false }) if next == acc => {}
            Some(Next { zeros: true, .. }) => asm!(
                "tilestored [{acc} + {line}*1], tmm0",
                "tilezero tmm0",
                "tilestored [{acc} + {line}*1 + 64], tmm1",
                "tilezero tmm1",
                "tilestored [{acc} + {line}*1 + 2048], tmm2",
                "tilezero tmm2",
                "tilestored [{acc} + {line}*1 + 2112], tmm3",
                "tilezero tmm3",
                acc = in(reg) acc,
                line = in(reg) 4 * NR,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack),
            ),
            Some(Next { acc: next, zeros: false }) => asm!(
                "tilestored [{acc} + {line}*1], tmm0",
                "tileloadd tmm0, [{next} + {line}*1]",
                "tilestored [{acc} + {line}*1 + 64], tmm1",
                "tileloadd tmm1, [{next} + {line}*1 + 64]",
                "tilestored [{acc} + {line}*1 + 2048], tmm2",
                "tileloadd tmm2, [{next} + {line}*1 + 2048]",
                "tilestored [{acc} + {line}*1 + 2112], tmm3",
                "tileloadd tmm3, [{next} + {line}*1 + 2112]",
                acc = in(reg) acc,
                next = in(reg) next,
                line = in(reg) 4 * NR,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack),
            ),
        }
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
