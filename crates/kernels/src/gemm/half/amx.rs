//! The micro-kernel of AMX: four tiles, 32 rows and 32 columns.

use std::{arch::asm, cell::Cell};

use super::{
    NR,
    tile::{Block, HalfTile},
};
use crate::isa::Amx;

impl HalfTile for Amx {
    const MR: usize = 32;
    const KC: usize = 512;
    const WHOLE: bool = true;

    #[inline(always)]
    unsafe fn tile(self, block: Block, _rows: usize, start: bool) {
        configure(self);
        let Block { a, lda, b, pairs, acc } = block;
        // SAFETY: the caller names 32 readable rows.
        let below = unsafe { a.add(16 * lda) };
        // SAFETY: the token proves the instructions, and this thread's tiles are configured. Reads and writes are those
        // that the caller's word covers: 32 rows of `a`, `16` lines of 128 bytes of `b` a step, 32 lines of `acc`.
        unsafe {
            asm!(
                "test {start:e}, {start:e}",
                "jnz 2f",
                "tileloadd tmm0, [{acc} + {line}*1]",
                "tileloadd tmm1, [{acc} + {line}*1 + 64]",
                "tileloadd tmm2, [{acc} + {line}*1 + 2048]",
                "tileloadd tmm3, [{acc} + {line}*1 + 2112]",
                "jmp 3f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                "tileloadd tmm4, [{a} + {lda}*1]",
                "tileloadd tmm6, [{b} + {line}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {line}*1 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{below} + {lda}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 64",
                "add {below}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 3b",
                "tilestored [{acc} + {line}*1], tmm0",
                "tilestored [{acc} + {line}*1 + 64], tmm1",
                "tilestored [{acc} + {line}*1 + 2048], tmm2",
                "tilestored [{acc} + {line}*1 + 2112], tmm3",
                start = in(reg) u32::from(start),
                acc = in(reg) acc,
                line = in(reg) 4 * NR,
                a = inout(reg) a => _,
                below = inout(reg) below => _,
                lda = in(reg) 2 * lda,
                b = inout(reg) b => _,
                steps = inout(reg) pairs.div_ceil(16).max(1) => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
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
