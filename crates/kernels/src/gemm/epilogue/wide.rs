//! Blocks of 32 columns, as products of bf16 have them.
//!
//! Such a product takes its kernel so little time that what follows must be a handful of instructions a row: nothing is
//! looked at twice, and each of the common forms has a loop of its own.

use super::{Activation, Block, Epilogue, Kept, Step};
use crate::{number::Number, out::Out, simd::Simd};

/// Columns of a block.
const WIDE: usize = 32;
/// Vectors that may be needed for as many numbers.
const VECTORS: usize = 4;

/// Forms of epilogues, common ones first.
mod form {
    /// The product and a bias.
    pub(super) const BIAS: u8 = 0;
    /// With a residual.
    pub(super) const RESIDUAL: u8 = 1;
    /// Added to what is there.
    pub(super) const ACCUMULATE: u8 = 2;
    /// Times factors, and perhaps a residual.
    pub(super) const FACTORS: u8 = 3;
    /// Any other.
    pub(super) const ANY: u8 = 4;
}

/// How the rows of a block meet memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::gemm) struct Memory {
    /// Results go past the caches.
    pub(in crate::gemm) stream: bool,
    /// What the block on the right will read is asked for: 32 rows are more than a processor follows by itself. Where a product is so deep
    /// that blocks come seldom, it only stands in the way.
    pub(in crate::gemm) ahead: bool,
}

/// The first numbers of `x`.
#[inline(always)]
fn array<T>(x: &[T]) -> &[T; WIDE] {
    x.first_chunk().expect("as many numbers as a block is wide")
}

/// Two vectors, past the caches if they `stream`.
#[inline(always)]
fn put<S: Simd, C: Number>(s: S, y: &mut [C], v: S::V, w: S::V, stream: bool) {
    match stream {
        true => C::stream_two(s, y, v, w),
        false => C::store_two(s, y, v, w),
    }
}

impl<C: Number> Epilogue<'_, C> {
    /// Whether results of `least` bytes or more may go past the caches: rows are whole lines of memory, and nothing is added.
    pub(in crate::gemm) fn streams(&self, out: &Out<'_, C>, least: usize) -> bool {
        let lines = |out: &Out<'_, C>| out.ld().is_multiple_of(WIDE) && (out.ptr() as usize).is_multiple_of(64);
        let large = out.len() * size_of::<C>() >= least;
        large && !self.accumulate && lines(out) && self.keep.as_ref().is_none_or(|(_, kept)| lines(kept))
    }

    /// [`Self::write`] for rows of 32 sums, one after another.
    ///
    /// # Safety
    /// As [`Self::write`].
    #[inline(always)]
    pub(in crate::gemm) unsafe fn write_wide<S: Simd>(
        &self,
        s: S,
        acc: &[f32],
        block: Block,
        out: &Out<'_, C>,
        memory: Memory,
    ) {
        // SAFETY: the caller's word.
        unsafe {
            if block.cols < WIDE {
                self.write(s, acc, WIDE, block, out);
            } else if let Some(step) = &self.step {
                self.step(s, step, acc, block, out);
            } else if self.activation != Activation::None || self.keep.is_some() {
                self.rows::<S, { form::ANY }>(s, acc, block, out, memory);
            } else if self.factors.is_some() {
                self.rows::<S, { form::FACTORS }>(s, acc, block, out, memory);
            } else if self.residual.is_some() {
                self.rows::<S, { form::RESIDUAL }>(s, acc, block, out, memory);
            } else if self.accumulate {
                self.rows::<S, { form::ACCUMULATE }>(s, acc, block, out, memory);
            } else {
                self.rows::<S, { form::BIAS }>(s, acc, block, out, memory);
            }
        }
    }

    /// Weights and moments are new each time and come from memory: those of the next block's rows are asked for meanwhile.
    ///
    /// # Safety
    /// As [`Self::write`], for a block of 32 columns.
    #[inline(always)]
    unsafe fn step<S: Simd>(&self, s: S, step: &Step<'_>, acc: &[f32], block: Block, out: &Out<'_, C>) {
        let Block { row, col, rows, .. } = block;
        let (acc, c) = (&acc[..rows * WIDE], step.scalars.vectors(s));
        for r in 0..rows {
            let at = |ld: usize| (row + r) * ld + col;
            let g = array(&acc[r * WIDE..]);
            // SAFETY: the block lies within the result, and within the moments, which have its shape, by the caller's word.
            let (w, m, v) = unsafe {
                (
                    &mut *out.ptr().add(at(out.ld())).cast::<[C; WIDE]>(),
                    &mut *step.m.ptr().add(at(step.m.ld())).cast::<[f32; WIDE]>(),
                    &mut *step.v.ptr().add(at(step.v.ld())).cast::<[f32; WIDE]>(),
                )
            };
            for ahead in [w.as_ptr().cast::<f32>(), m.as_ptr(), v.as_ptr()] {
                s.prefetch(ahead.wrapping_add(WIDE));
                s.prefetch(ahead.wrapping_add(WIDE + 16));
            }
            let mut i = 0;
            while i < WIDE {
                let new = c.step(s, [C::load(s, &w[i..]), s.load(&g[i..]), s.load(&m[i..]), s.load(&v[i..])]);
                C::put(s, w, i, new[0]);
                s.store(&mut m[i..], new[1]);
                s.store(&mut v[i..], new[2]);
                i += S::LANES;
            }
        }
    }

    /// # Safety
    /// As [`Self::write`], for a block of 32 columns and an epilogue of the form.
    #[inline(always)]
    unsafe fn rows<S: Simd, const FORM: u8>(&self, s: S, acc: &[f32], block: Block, out: &Out<'_, C>, memory: Memory) {
        let (Block { row, col, rows, .. }, Memory { stream, ahead }) = (block, memory);
        let acc = &acc[..rows * WIDE];
        let mut bias = [s.zero(); VECTORS];
        if let Some(x) = self.bias {
            let (x, mut i) = (array(&x[col..]), 0);
            while i < WIDE {
                bias[i / S::LANES] = s.load(&x[i..]);
                i += S::LANES;
            }
        }
        for r in 0..rows {
            let at = |ld: usize| (row + r) * ld + col;
            let p = array(&acc[r * WIDE..]);
            // SAFETY: the block lies within the result, and within whatever else has its shape, by the caller's word.
            unsafe {
                let y = &mut *out.ptr().add(at(out.ld())).cast::<[C; WIDE]>();
                let residual = match FORM {
                    form::RESIDUAL | form::FACTORS | form::ANY => {
                        self.residual.map(|(x, ld)| &*x.as_ptr().add(at(ld)).cast::<[f32; WIDE]>())
                    }
                    _ => None,
                };
                let factors = match FORM {
                    form::FACTORS | form::ANY => {
                        self.factors.map(|(x, ld)| &*x.as_ptr().add(at(ld)).cast::<[C; WIDE]>())
                    }
                    _ => None,
                };
                if let Some(residual) = residual.filter(|_| ahead) {
                    s.prefetch(residual.as_ptr().wrapping_add(WIDE));
                    s.prefetch(residual.as_ptr().wrapping_add(WIDE + 16));
                }
                if let Some(factors) = factors.filter(|_| ahead) {
                    s.prefetch(factors.as_ptr().wrapping_add(WIDE).cast());
                }
                let mut keep = match (FORM, &self.keep) {
                    (form::ANY, Some((_, k))) => Some(&mut *k.ptr().add(at(k.ld())).cast::<[C; WIDE]>()),
                    _ => None,
                };
                let mut i = 0;
                while i < WIDE {
                    let j = i + S::LANES;
                    let mut v = s.add(s.load(&p[i..]), bias[i / S::LANES]);
                    let mut w = s.add(s.load(&p[j..]), bias[j / S::LANES]);
                    if FORM == form::ANY {
                        let (x, y) = (v, w);
                        let (slope_v, slope_w);
                        ((v, slope_v), (w, slope_w)) = (self.activate(s, x), self.activate(s, y));
                        match (&mut keep, &self.keep) {
                            (Some(keep), Some((Kept::Slope, _))) => put(s, &mut keep[i..], slope_v, slope_w, stream),
                            (Some(keep), _) => put(s, &mut keep[i..], x, y, stream),
                            _ => {}
                        }
                    }
                    if let Some(factors) = factors {
                        v = s.mul(v, C::load(s, &factors[i..]));
                        w = s.mul(w, C::load(s, &factors[j..]));
                    }
                    if let Some(residual) = residual {
                        v = s.add(v, s.load(&residual[i..]));
                        w = s.add(w, s.load(&residual[j..]));
                    }
                    if FORM == form::ACCUMULATE {
                        v = s.add(v, C::load(s, &y[i..]));
                        w = s.add(w, C::load(s, &y[j..]));
                    }
                    put(s, &mut y[i..], v, w, stream);
                    i += 2 * S::LANES;
                }
            }
        }
    }
}
