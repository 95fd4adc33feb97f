//! Passes of a kernel over the tiles of a block, and what becomes of their sums meanwhile.

use super::{
    Forms, NR,
    parts::{Part, Tiles},
    tile::{Block, HalfTile, Lines, Next, Start, block_len},
};
use crate::{
    gemm::epilogue::{Block as Place, Epilogue, Memory},
    number::Number,
    out::Out,
    simd::Simd,
};

/// What becomes of sums.
pub(super) struct Work<'a, C: Number> {
    pub(super) out: Out<'a, C>,
    pub(super) epilogue: &'a Epilogue<'a, C>,
    pub(super) memory: Memory,
    /// Packed forms of the result.
    pub(super) forms: Option<&'a Forms<'a>>,
}

/// Passes of a kernel over the tiles of a block, whose sums lie in slots.
pub(super) struct Passes<'a, C: Number> {
    place: Place,
    work: &'a Work<'a, C>,
    acc: *mut f32,
    /// The pass that comes next: a kernel that knows the one after it brings its sums on the way.
    coming: Option<Pass>,
    /// Whether the kernel holds the sums of the pass that comes next.
    held: bool,
    /// A tile whose sums are whole and not written yet, and its slot.
    done: Option<((usize, usize), usize)>,
}

/// A part of the depth for the sums of a tile.
pub(super) struct Pass {
    block: Block,
    rows: usize,
    /// Row and column among the tiles.
    tile: (usize, usize),
    /// Where the sums lie.
    slot: usize,
    /// Whether the sums are whole afterwards.
    end: bool,
}

impl<'a, C: Number> Passes<'a, C> {
    /// Over the block at `place`, whose slots are at `acc`.
    pub(super) fn new(place: Place, work: &'a Work<'a, C>, acc: *mut f32) -> Self {
        Passes { place, work, acc, coming: None, held: false, done: None }
    }

    /// A part of the depth for a tile, of which it is the first where `start` says so.
    #[inline(always)]
    pub(super) fn pass<K: HalfTile>(
        &self,
        part: &Part,
        left: Tiles,
        (i, j): (usize, usize),
        slot: usize,
        (start, end): (bool, bool),
    ) -> Pass {
        let block = Block {
            // SAFETY: the rows are some of the block's, of which a part has all.
            a: Lines { start: unsafe { left.lines.start.add(i * left.next) }, ..left.lines },
            // SAFETY: the panel is one of the block's, of which a part has all.
            b: unsafe { part.b.add(j * part.panel) },
            pairs: part.k.div_ceil(2),
            // SAFETY: one of the slots.
            acc: unsafe { self.acc.add(slot * block_len(K::MR)) },
            once: part.once,
            start: if start { Start::Zeros } else { Start::Sums },
            next: None,
        };
        Pass { block, rows: K::MR.min(self.place.rows - i * K::MR), tile: (i, j), slot, end }
    }

    /// Takes the pass that came before, and what follows it in, and writes the sums of the tile that was done before meanwhile: a kernel
    /// leaves most of a processor idle. The last pass of operands has none that follows it. A pass has another slot than the tile that is
    /// done when it comes.
    #[inline(always)]
    pub(super) fn follow<S: Simd, K: HalfTile>(&mut self, s: S, kernel: K, next: Option<Pass>) {
        let Some(Pass { mut block, rows, tile, slot, end }) = std::mem::replace(&mut self.coming, next) else { return };
        if std::mem::take(&mut self.held) {
            block.start = Start::Held;
        }
        if let Some(next) = self.coming.as_ref().filter(|_| K::HOLDS) {
            block.next = Some(Next { acc: next.block.acc, zeros: matches!(next.block.start, Start::Zeros) });
            self.held = true;
        }
        debug_assert!(self.done.is_none_or(|(_, other)| other != slot), "sums that are still on their way");
        let mut sums = self.done.take().map(|(tile, slot)| self.sums::<K>(tile, slot));
        // SAFETY: parts are made of checked operands and of copies in the form that the kernel needs; slots are those of this block, and
        // that of the tile on its way is another one by the caller's word; what is held is what the pass before was told, and this thread
        // runs no other pass in between.
        unsafe { kernel.tile_beside(s, block, rows, &mut sums) };
        if let Some(sums) = &mut sums {
            sums.write(s, K::MR);
        }
        if end {
            self.done = Some((tile, slot));
        }
    }

    /// The sums of a tile, on their way.
    #[inline(always)]
    fn sums<K: HalfTile>(&self, (i, j): (usize, usize), slot: usize) -> Sums<'a, C> {
        let Work { out, epilogue, memory, forms } = *self.work;
        // SAFETY: as many sums as a slot has, which nobody writes before they are on their way.
        let sums = unsafe { std::slice::from_raw_parts(self.acc.add(slot * block_len(K::MR)), block_len(K::MR)) };
        Sums { sums, place: tile_of::<K>(self.place, i, j), row: 0, out, epilogue, memory, forms }
    }

    /// Writes all tiles of a product without depth: no sums.
    #[inline(always)]
    pub(super) fn without_depth<S: Simd, K: HalfTile>(&mut self, s: S, kernel: K, row_tiles: usize, panels: usize) {
        // SAFETY: the first slot, which nobody else uses.
        unsafe { std::slice::from_raw_parts_mut(self.acc, block_len(K::MR)) }.fill(0.0);
        for tile in 0..row_tiles * panels {
            self.write(s, kernel, (tile / panels, tile % panels), 0);
        }
    }

    /// Writes the sums of a tile.
    #[inline(always)]
    fn write<S: Simd, K: HalfTile>(&mut self, s: S, _: K, tile: (usize, usize), slot: usize) {
        self.sums::<K>(tile, slot).write(s, K::MR);
    }

    /// Writes what is left.
    #[inline(always)]
    pub(super) fn end<S: Simd, K: HalfTile>(mut self, s: S, kernel: K) {
        debug_assert!(self.coming.is_none() && !self.held, "a pass that nobody took");
        if let Some((tile, slot)) = self.done.take() {
            self.write(s, kernel, tile, slot);
        }
        if self.work.memory.stream {
            // Others see what went past the caches when they see that this task is done.
            s.fence();
        }
        if let Some(forms) = self.work.forms {
            forms.end();
        }
    }
}

/// Where tile `(i, j)` of a block stands.
#[inline(always)]
fn tile_of<K: HalfTile>(place: Place, i: usize, j: usize) -> Place {
    let (row, col) = (i * K::MR, j * NR);
    Place {
        row: place.row + row,
        col: place.col + col,
        rows: K::MR.min(place.rows - row),
        cols: NR.min(place.cols - col),
    }
}

/// The sums of a tile on their way through the epilogue.
pub(crate) struct Sums<'a, C: Number> {
    sums: &'a [f32],
    place: Place,
    /// The first row that is not written yet.
    row: usize,
    out: Out<'a, C>,
    epilogue: &'a Epilogue<'a, C>,
    memory: Memory,
    forms: Option<&'a Forms<'a>>,
}

impl<C: Number> Sums<'_, C> {
    /// Writes the next rows, at most `count`.
    #[inline(always)]
    pub(super) fn write<S: Simd>(&mut self, s: S, count: usize) {
        let rows = count.min(self.place.rows - self.row);
        if rows == 0 {
            return;
        }
        let place = Place { row: self.place.row + self.row, rows, ..self.place };
        // SAFETY: tiles cover `C` without overlap, and the entries checked the epilogue against it.
        unsafe { self.epilogue.write_wide(s, &self.sums[self.row * NR..], place, &self.out, self.memory) };
        self.row += rows;
        if self.row == self.place.rows
            && let Some(forms) = self.forms
        {
            // SAFETY: the tile is this task's.
            unsafe { forms.write(self.place) };
        }
    }
}
