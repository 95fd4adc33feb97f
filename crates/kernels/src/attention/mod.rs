//! Fused attention: `softmax(scale · Q Kᵀ + bias, masked) V` without the matrix of scores.
//!
//! Scores exist a block of queries by a block of keys at a time; the softmax is kept running over the blocks, as in
//! [Milakov & Gimelshein 2018](https://arxiv.org/abs/1805.02867) and [Dao et al. 2022](https://arxiv.org/abs/2205.14135),
//! and the backward pass computes the blocks again from one number a query, the logarithm of its softmax' sum.

mod backward;
mod disentangled;
mod forward;
#[cfg(target_arch = "x86_64")]
mod half;
mod product;
mod scores;

pub use backward::{AttentionGrads, attention_backward};
pub use disentangled::{Disentangled, DisentangledGrads, Tables, disentangled, disentangled_backward};
pub use forward::attention;
#[cfg(target_arch = "x86_64")]
pub use half::{attention_half, attention_half_backward};

use product::Right;

use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool,
    random::Dropout,
    simd::{Simd, simd_fn},
};

/// Shape and options of an attention. By default every query sees every key, with nothing added or dropped; the sizes are to be given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attention<'a> {
    /// Sequences.
    pub b: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` query heads in turn,
    /// [Ainslie et al. 2023](https://arxiv.org/abs/2305.13245).
    pub kv_heads: usize,
    /// Queries a sequence.
    pub tq: usize,
    /// Keys a sequence.
    pub tk: usize,
    /// Width of a head.
    pub d: usize,
    /// Multiplies the products of queries and keys.
    pub scale: f32,
    /// Query `i` sees keys up to `i + tk - tq` only.
    pub causal: bool,
    /// Query `i` sees only this many keys up to its own, itself included (and, where not causal, as many after it).
    pub window: Option<usize>,
    /// Scores are `cap · tanh(score / cap)`.
    pub softcap: Option<f32>,
    /// `[b, tk]`: 0 for keys that nobody sees (padding).
    pub mask: Option<&'a [u8]>,
    /// `[heads, tq, tk]`, added to the scores of every sequence; -infinity hides a key.
    pub bias: Option<&'a [f32]>,
    /// Of the probabilities; rows of the mask are `head · tq + query`.
    pub dropout: Option<Dropout>,
}

/// Where the heads of queries, keys or values lie: head `h` of token `t` of sequence `b` starts at
/// `b · batch + t · token + first + h · d`.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a, T = f32> {
    /// The numbers.
    pub data: &'a [T],
    /// From sequence to sequence.
    pub batch: usize,
    /// From token to token.
    pub token: usize,
    /// Start of head 0 within a token.
    pub first: usize,
}

/// Where gradients of heads go, laid out like [`Heads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// From sequence to sequence.
    pub batch: usize,
    /// From token to token.
    pub token: usize,
    /// Start of head 0 within a token.
    pub first: usize,
}

impl Layout {
    /// Where head `h` of sequence `b` starts.
    fn start(&self, b: usize, h: usize, d: usize) -> usize {
        b * self.batch + self.first + h * d
    }

    fn check(&self, what: &str, len: usize, b: usize, t: usize, heads: usize, d: usize) {
        let end = if b * t * heads == 0 { 0 } else { self.start(b - 1, heads, d) + (t - 1) * self.token };
        assert!(len >= end, "{what}: got {len} numbers, wanted {end}");
    }
}

impl<T> Heads<'_, T> {
    /// The layout alone.
    pub fn layout(&self) -> Layout {
        Layout { batch: self.batch, token: self.token, first: self.first }
    }
}

/// Queries a block.
const BQ: usize = 64;
/// Keys a block.
const BK: usize = 128;
/// Columns of the widest panel, that of AVX-512: a multiple of all.
const WIDEST: usize = 32;

impl Attention<'_> {
    /// Whether [`attention_half`] serves it; the others are computed in f32.
    pub fn has_half(&self) -> bool {
        let plain = self.bias.is_none() && self.dropout.is_none() && self.softcap.is_none();
        cfg!(target_arch = "x86_64") && plain && self.scale > 0.0 && self.tk > 0
    }

    /// Query heads a head of keys serves.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The keys that any of the queries `q0..q1` sees, before padding.
    fn keys(&self, q0: usize, q1: usize) -> std::ops::Range<usize> {
        let (from, _) = self.row(q0);
        let (_, to) = self.row(q1 - 1);
        from..to.max(from)
    }

    /// First and end of the keys that query `i` sees, before padding.
    #[inline(always)]
    fn row(&self, i: usize) -> (usize, usize) {
        // The last query stands at the last key, so caches need no other positions.
        let at = (i + self.tk) as isize - self.tq as isize;
        let (mut from, mut to) = (0, self.tk as isize);
        if self.causal {
            to = to.min(at + 1);
        }
        if let Some(w) = self.window {
            from = from.max(at + 1 - w as isize);
            to = to.min(at + w as isize);
        }
        (from.max(0) as usize, to.max(0) as usize)
    }

    fn check<T>(&self, q: &Layout, q_len: usize, k: &Heads<'_, T>, v: &Heads<'_, T>) {
        assert!(self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads), "{self:?}");
        q.check("queries", q_len, self.b, self.tq, self.heads, self.d);
        k.layout().check("keys", k.data.len(), self.b, self.tk, self.kv_heads, self.d);
        v.layout().check("values", v.data.len(), self.b, self.tk, self.kv_heads, self.d);
        assert!(self.mask.is_none_or(|m| m.len() >= self.b * self.tk), "mask");
        assert!(self.bias.is_none_or(|x| x.len() >= self.heads * self.tq * self.tk), "bias");
    }
}

/// Keys or values of every sequence and head as right operands, in panels as wide as the register tile.
struct Panels {
    data: Buf<f32>,
    /// Numbers of a head.
    each: usize,
}

impl Panels {
    /// For products with all keys: transposed, `[b, kv_heads, padded / width, d, width]`, zeros beyond `tk`.
    fn transposed(isa: Isa, x: &Heads<'_>, a: &Attention<'_>) -> Self {
        Self::new(padded(a) * a.d, a, |to, b, h| transpose(isa, to, x, a, b, h))
    }

    /// For sums over keys: `[b, kv_heads, d / width, tk, width]`, `d` rounded up; nobody reads what lies beyond it.
    fn gathered(isa: Isa, x: &Heads<'_>, a: &Attention<'_>) -> Self {
        Self::new(gathered(a.tk, a.d), a, |to, b, h| gather_head(isa, to, x, a, b, h))
    }

    fn new(each: usize, a: &Attention<'_>, fill: impl Fn(&mut [f32], usize, usize) + Sync) -> Self {
        let units = a.b * a.kv_heads;
        let mut data = Buf::for_overwrite(units * each);
        let out = Out::new(&mut data, 1);
        // Without keys there is nothing to lay out.
        pool::for_each(if each == 0 { 0 } else { units }, |unit| {
            // SAFETY: each unit is one task's.
            fill(unsafe { out.row(unit * each, 0, each) }, unit / a.kv_heads, unit % a.kv_heads);
        });
        Panels { data, each }
    }

    fn of(&self, unit: usize) -> &[f32] {
        &self.data[unit * self.each..(unit + 1) * self.each]
    }
}

/// Columns of transposed keys: whole panels on every instruction set.
fn padded(a: &Attention<'_>) -> usize {
    a.tk.next_multiple_of(WIDEST)
}

/// Room for [`gather`]: whole panels on every instruction set.
fn gathered(rows: usize, columns: usize) -> usize {
    rows * columns.next_multiple_of(WIDEST)
}

/// The keys from `k0` on, a multiple of [`BK`], in panels that [`transpose`] wrote.
#[inline(always)]
fn keys_at<S: Simd>(panels: &[f32], d: usize, k0: usize) -> Right<'_> {
    Right { data: &panels[k0 * d..], row: Right::width::<S>(), panel: d * Right::width::<S>() }
}

/// The rows from `row` on in panels of `rows` rows that [`gather`] wrote.
#[inline(always)]
fn rows_at<S: Simd>(panels: &[f32], rows: usize, row: usize) -> Right<'_> {
    let width = Right::width::<S>();
    Right { data: &panels[row * width..], row: width, panel: rows * width }
}

simd_fn! {
    /// `to: [padded / width, d, width]` from the keys (or values) of head `h` of sequence `b`, zeros beyond `tk`.
    fn transpose(s, to: &mut [f32], x: &Heads<'_>, a: &Attention<'_>, b: usize, h: usize) {
        let (width, start) = (Right::width::<S>(), x.layout().start(b, h, a.d));
        let squares = a.d / 8 * 8;
        for t0 in (0..padded(a)).step_by(8) {
            let have = a.tk.saturating_sub(t0).min(8);
            let from = if have == 8 { squares } else { 0 };
            let to = &mut to[t0 / width * width * a.d + t0 % width..];
            for i in (0..from).step_by(8) {
                s.transpose_8x8(&mut to[i * width..], width, &x.data[start + t0 * x.token + i..], x.token);
            }
            for i in from..a.d {
                for (j, y) in to[i * width..i * width + 8].iter_mut().enumerate() {
                    *y = if j < have { x.data[start + (t0 + j) * x.token + i] } else { 0.0 };
                }
            }
        }
    }
}

/// `to: [columns / width, rows, width]` from rows of `x` that begin `token` apart; what lies beyond the columns stays.
#[inline(always)]
fn gather<S: Simd>(to: &mut [f32], x: &[f32], token: usize, rows: usize, columns: usize) {
    let width = Right::width::<S>();
    for (panel, from) in to.chunks_exact_mut(rows * width).zip((0..columns).step_by(width)) {
        let n = width.min(columns - from);
        for (r, to) in panel.chunks_exact_mut(width).enumerate() {
            to[..n].copy_from_slice(&x[r * token + from..][..n]);
        }
    }
}

simd_fn! {
    /// The rows of head `h` of sequence `b`, as [`gather`] lays them.
    fn gather_head(_s, to: &mut [f32], x: &Heads<'_>, a: &Attention<'_>, b: usize, h: usize) {
        gather::<S>(to, &x.data[x.layout().start(b, h, a.d)..], x.token, a.tk, a.d);
    }
}

#[cfg(test)]
mod tests;
