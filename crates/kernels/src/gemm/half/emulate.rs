//! AMX in software, for tests on machines without it: a handler of the signal that an unknown instruction raises.
//!
//! Follows the description of LDTILECFG, TILELOADD, TILELOADDT1, TILESTORED, TILEZERO and TDPBF16PS in the Intel 64 and IA-32
//! Architectures Software Developer's Manual, volume 2. An instruction that faults on real tiles (no configuration, tiles
//! that do not fit each other) is fatal here too.

use std::{cell::UnsafeCell, mem, ptr, sync::Once};

use half::bf16;

const ROWS: usize = 16;
const LINE: usize = 64;

/// The tiles of a thread.
struct Tiles {
    /// Rows and bytes a row, once configured.
    sizes: [(usize, usize); 8],
    data: [[[u8; LINE]; ROWS]; 8],
}

thread_local! {
    static TILES: UnsafeCell<Tiles> =
        const { UnsafeCell::new(Tiles { sizes: [(0, 0); 8], data: [[[0; LINE]; ROWS]; 8] }) };
}

/// From here on this process executes the instructions.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: a zeroed `sigaction` is a value; the handler has the form that `SA_SIGINFO` asks for, and it is
        // installed for a signal that nothing else in these tests handles.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_unknown as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            assert_eq!(libc::sigaction(libc::SIGILL, &action, ptr::null_mut()), 0);
        }
    });
}

extern "C" fn on_unknown(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with `SA_SIGINFO` the third argument is this thread's `ucontext_t`, and its instruction pointer is at the
    // bytes of an instruction, which are at most 15; the code we decode is followed by more code.
    unsafe {
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        let code = registers[libc::REG_RIP as usize] as *const u8;
        let length = TILES.with(|tiles| execute(&mut *tiles.get(), code, registers));
        match length {
            Some(length) => registers[libc::REG_RIP as usize] += length as i64,
            // Not one of ours: it comes again, and ends the process.
            None => _ = libc::signal(libc::SIGILL, libc::SIG_DFL),
        }
    }
}

/// Executes the instruction at `code`; its length, or `None` for another or wrong one.
///
/// # Safety
/// `code` is an instruction, and executing it is sound.
unsafe fn execute(tiles: &mut Tiles, code: *const u8, registers: &[i64]) -> Option<usize> {
    // SAFETY: the caller's word.
    let byte = |i: usize| unsafe { code.add(i).read() } as usize;
    let (p1, p2, opcode, modrm) = (byte(1), byte(2), byte(3), byte(4));
    // Three-byte VEX, map 0F38, W0, 128 bits.
    if byte(0) != 0xc4 || p1 & 0x1f != 2 || p2 & 0x84 != 0 {
        return None;
    }
    let (prefix, other) = (p2 & 3, !(p2 >> 3) & 15);
    let (register, memory) = (modrm >> 3 & 7, modrm >> 6 != 3);
    match (opcode, prefix, memory) {
        (0x49, 0, true) => {
            let (config, _, length) = address(code, registers);
            // SAFETY: the operand is 64 readable bytes.
            let config = unsafe { (config as *const [u8; 64]).read_unaligned() };
            let reserved = config[2..16].iter().chain(&config[32..48]).chain(&config[56..]);
            if config[0] != 1 || config[1] != 0 || reserved.into_iter().any(|&b| b != 0) {
                return None;
            }
            for (i, size) in tiles.sizes.iter_mut().enumerate() {
                let bytes = u16::from_le_bytes([config[16 + 2 * i], config[17 + 2 * i]]) as usize;
                *size = (config[48 + i] as usize, bytes);
                if size.0 > ROWS || bytes > LINE {
                    return None;
                }
            }
            tiles.data = [[[0; LINE]; ROWS]; 8];
            Some(length)
        }
        (0x49, 3, false) if modrm & 7 == 0 => {
            configured(tiles, register)?;
            tiles.data[register] = [[0; LINE]; ROWS];
            Some(5)
        }
        // Only with an index, which is the distance of rows.
        (0x4b, 1..=3, true) if modrm & 7 == 4 => {
            let loads = prefix != 2;
            let (rows, bytes) = configured(tiles, register)?;
            let (base, stride, length) = address(code, registers);
            if loads {
                tiles.data[register] = [[0; LINE]; ROWS];
            }
            for row in 0..rows {
                let line = base.wrapping_add(stride.wrapping_mul(row as i64)) as *mut u8;
                let tile = tiles.data[register][row].as_mut_ptr();
                let (from, to) = if loads { (line.cast_const(), tile) } else { (tile.cast_const(), line) };
                // SAFETY: the memory is what the instruction would access.
                unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
            }
            Some(length)
        }
        (0x5c, 2, false) => {
            let (sum, a, b) = (register, modrm & 7, other);
            let [(rows, bytes), (a_rows, a_bytes), (b_rows, b_bytes)] =
                [configured(tiles, sum)?, configured(tiles, a)?, configured(tiles, b)?];
            if sum == a || sum == b || a == b || rows != a_rows || a_bytes != 4 * b_rows || bytes != b_bytes {
                return None;
            }
            let (a, b) = (tiles.data[a], tiles.data[b]);
            for m in 0..rows {
                for k in 0..a_bytes / 4 {
                    for n in 0..bytes / 4 {
                        let at = &mut tiles.data[sum][m][4 * n..][..4];
                        let mut x = f32::from_le_bytes([at[0], at[1], at[2], at[3]]);
                        for part in 0..2 {
                            x += half_at(&a[m], 2 * k + part) * half_at(&b[k], 2 * n + part);
                        }
                        at.copy_from_slice(&x.to_le_bytes());
                    }
                }
            }
            Some(5)
        }
        _ => None,
    }
}

fn configured(tiles: &Tiles, tile: usize) -> Option<(usize, usize)> {
    tiles.sizes.get(tile).copied().filter(|&(rows, bytes)| rows > 0 && bytes > 0)
}

fn half_at(line: &[u8; LINE], i: usize) -> f32 {
    bf16::from_le_bytes([line[2 * i], line[2 * i + 1]]).to_f32()
}

/// Base with displacement, scaled index, and the length of the instruction.
fn address(code: *const u8, registers: &[i64]) -> (i64, i64, usize) {
    // The order of numbers in instructions, as places in the context.
    const NUMBERED: [libc::c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    // SAFETY: bytes of an instruction with a memory operand.
    let byte = |i: usize| unsafe { code.add(i).read() };
    let register = |low: u8, high: bool| registers[NUMBERED[(low & 7) as usize + 8 * high as usize] as usize];
    let (high_index, high_base) = (byte(1) & 0x40 == 0, byte(1) & 0x20 == 0);
    let (mode, rm) = (byte(4) >> 6, byte(4) & 7);
    let (mut base, mut index, mut length) = (0, 0, 5);
    let mut no_base = mode == 0 && rm == 5;
    if rm == 4 {
        let sib = byte(5);
        length = 6;
        if sib >> 3 & 7 != 4 || high_index {
            index = register(sib >> 3, high_index) << (sib >> 6);
        }
        no_base = mode == 0 && sib & 7 == 5;
        if !no_base {
            base = register(sib, high_base);
        }
    } else if !no_base {
        base = register(rm, high_base);
    }
    if mode == 1 {
        base += byte(length) as i8 as i64;
        length += 1;
    } else if mode == 2 || no_base {
        base += i32::from_le_bytes([byte(length), byte(length + 1), byte(length + 2), byte(length + 3)]) as i64;
        length += 4;
        if no_base && rm == 5 {
            // Relative to the next instruction.
            base += code as i64 + length as i64;
        }
    }
    (base, index, length)
}
