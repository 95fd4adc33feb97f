//! The same on numbers of bf16, with products by the instructions for them.
//!
//! Queries go past blocks of keys, with a running softmax, as in f32, but scores are computed transposed, keys by queries: probabilities
//! then need only numbers of their columns. Backwards they are left operands of the gradients of values and keys as they are; the gradient
//! of the queries is computed transposed as well, from pairs of keys.

use std::{f32::consts::LOG2_E, ops::Range};

use half::bf16;

use super::{Attention, AttentionGrads, Heads, backward};
use crate::{
    gemm::{
        Mat,
        half::{
            KR, NR, pack,
            tile::{Block, HalfTile, Lines, Next, Start, block_len},
            token,
        },
    },
    isa::{Avx512Bf16, Isa},
    mem::Buf,
    out::Out,
    pool, profile,
    simd::{Simd, dot, half_fn, math},
};

/// Keys of a block forwards, queries of one backwards.
const COLUMNS: usize = 128;
/// Keys of a block backwards. A multiple of every micro-kernel's rows.
const ROWS: usize = 96;
/// Vectors that may be needed for 32 numbers.
const VECTORS: usize = 4;

impl Attention<'_> {
    /// First and end of the queries that see key `j`, before padding.
    #[inline(always)]
    fn queries(&self, j: usize) -> (usize, usize) {
        // Key j stands at query j + tq - tk.
        let at = (j + self.tq) as isize - self.tk as isize;
        let (mut from, mut to) = (0, self.tq as isize);
        if self.causal {
            from = from.max(at);
        }
        if let Some(w) = self.window {
            from = from.max(at - w as isize + 1);
            to = to.min(at + w as isize);
        }
        (from.clamp(0, self.tq as isize) as usize, to.clamp(0, self.tq as isize) as usize)
    }
}

/// [`super::attention`] on bf16: `out` and `lse` are overwritten.
///
/// # Panics
/// If `isa` has no products of bf16 or [`Attention::has_half`] says no.
pub fn attention_half(
    isa: Isa,
    a: &Attention<'_>,
    out: &mut [bf16],
    lse: &mut [f32],
    q: Heads<'_, bf16>,
    k: Heads<'_, bf16>,
    v: Heads<'_, bf16>,
) {
    let _time = profile::scope(profile::Kind::Attention);
    assert!(a.has_half(), "{a:?}");
    a.check(&q.layout(), q.data.len(), &k, &v);
    let width = a.heads * a.d;
    assert!(out.len() >= a.b * a.tq * width && lse.len() >= a.b * a.heads * a.tq);
    if a.b * a.heads * a.tq * a.d == 0 {
        return;
    }
    let half = token(isa);
    let sizes = Sizes::of(a);
    let each = sizes.key_rows() + sizes.value_rows();
    let pack = |unit: usize, to: &mut [bf16]| {
        let (b, h) = (unit / a.kv_heads, unit % a.kv_heads);
        let (keys, values) = to.split_at_mut(sizes.key_rows());
        pack::rows_of(half, keys, k.head(b, h, a.d), a.tk, a.d, 0);
        pack::rows_of(half, values, v.head(b, h, a.d).t_view(), a.d, a.tk, 0);
    };
    let (out, lse) = (Out::new(out, width), Out::new(lse, 1));
    let attend = |(b, h): (usize, usize), range: Range<usize>, packed: &[bf16]| {
        for q0 in range.step_by(NR) {
            let place = Place { b, h, q0 };
            match isa.amx() {
                Some(amx) => queries(half, amx, half, a, place, packed, out, lse, q),
                None => queries(half, half, half, a, place, packed, out, lse, q),
            }
        }
    };
    let units = a.b * a.kv_heads;
    if units >= MANY * pool::threads() {
        // What is packed stays in the caches of the thread that needs it.
        return pool::for_each(units, |unit| {
            let mut packed = Buf::for_overwrite(each);
            pack(unit, &mut packed);
            let (b, kv) = (unit / a.kv_heads, unit % a.kv_heads);
            (0..a.group()).for_each(|i| attend((b, kv * a.group() + i), 0..a.tq, &packed));
        });
    }
    let mut packed = Buf::for_overwrite(units * each);
    pool::for_chunks(&mut packed, each, pack);
    let tasks = a.tq.div_ceil(QUERIES);
    pool::for_each(a.b * a.heads * tasks, |task| {
        let (unit, from) = (task / tasks, task % tasks * QUERIES);
        let (b, h) = (unit / a.heads, unit % a.heads);
        let packed = &packed[(b * a.kv_heads + h / a.group()) * each..][..each];
        attend((b, h), from..a.tq.min(from + QUERIES), packed);
    });
}

/// From so many heads of keys a thread on each is a task's alone.
const MANY: usize = 8;

/// Queries of a task.
const QUERIES: usize = 4 * NR;

/// Sizes of packed operands.
#[derive(Clone, Copy)]
struct Sizes {
    /// Depth of products over a head's width, padded.
    depth: usize,
    /// Panels of a head's width.
    wide: usize,
    /// Panels of the keys.
    keys: usize,
}

impl Sizes {
    fn of(a: &Attention<'_>) -> Self {
        Sizes { depth: a.d.next_multiple_of(KR), wide: a.d.div_ceil(NR), keys: a.tk.div_ceil(NR) }
    }

    /// Keys as left operand `[keys, d]`.
    fn key_rows(&self) -> usize {
        self.keys * NR * self.depth
    }

    /// Values, or keys, as left operand `[d, keys]`.
    fn value_rows(&self) -> usize {
        self.wide * NR * self.keys * NR
    }
}

/// A head as a matrix, a token a row.
impl<'a> Heads<'a, bf16> {
    fn head(&self, b: usize, h: usize, d: usize) -> Mat<'a, bf16> {
        Mat::new(&self.data[self.layout().start(b, h, d)..], self.token)
    }
}

/// `acc (+)= A B` for `rows` rows of `a` and `count` panels of `b`, `stride` apart.
///
/// `start(rows of a tile, panel)` says whether there are no sums yet, and `depths` which part of the depth counts there, beginning at a multiple of 32: what masks make
/// void is left out. Where none does, a first product leaves sums of an earlier use, which the caller does not read. Block
/// `(i, j)` of rows and panel is number `j · tiles + i`.
///
/// # Safety
/// `a` has what [`HalfTile::tile`] asks of all rows, up to a multiple of `MR`.
#[inline(always)]
unsafe fn product<K: HalfTile>(
    kernel: K,
    (a, lda): (*const bf16, usize),
    rows: usize,
    (b, stride, count): (&[bf16], usize, usize),
    depths: impl Fn(Range<usize>, usize) -> Range<usize>,
    acc: &mut [f32],
    start: impl Fn(Range<usize>, usize) -> bool,
) {
    let tiles = rows.div_ceil(K::MR);
    assert!(acc.len() >= tiles * count * block_len(K::MR));
    let acc = acc.as_mut_ptr();
    let mut coming: Option<(Block, usize)> = None;
    let mut held = false;
    // The one that comes next knows what follows it.
    let mut follow = |next: Option<(Block, usize)>| {
        let following = next
            .filter(|_| K::HOLDS)
            .map(|(next, _)| Next { acc: next.acc, zeros: matches!(next.start, Start::Zeros) });
        if let Some((block, rows)) = std::mem::replace(&mut coming, next) {
            let begin = if held { Start::Held } else { block.start };
            held = following.is_some();
            // SAFETY: the caller's word, and the slices below; sums that are held are those of the block before, which was told of this
            // one.
            unsafe { kernel.tile(Block { start: begin, next: following, ..block }, rows) };
        }
    };
    for j in 0..count {
        for i in 0..tiles {
            let row = i * K::MR;
            let tile = row..rows.min(row + K::MR);
            let depth = depths(tile.clone(), j);
            if depth.is_empty() {
                continue;
            }
            debug_assert!(depth.start.is_multiple_of(KR));
            let panel = &b[j * stride + depth.start * NR..][..depth.len().next_multiple_of(KR) * NR];
            let block = Block {
                a: Lines {
                    // SAFETY: the row is one of those that the caller names.
                    start: unsafe { a.add(row * lda + depth.start) },
                    ld: lda,
                    step: KR,
                    below: 16 * lda,
                },
                b: panel.as_ptr(),
                pairs: depth.len().div_ceil(2),
                // SAFETY: one of as many blocks as there are.
                acc: unsafe { acc.add((j * tiles + i) * block_len(K::MR)) },
                once: false,
                start: if start(tile, j) { Start::Zeros } else { Start::Sums },
                next: None,
            };
            follow(Some((block, K::MR.min(rows - row))));
        }
    }
    follow(None);
}

/// The part of `0..limit` that `from..to`, counted from `origin`, covers, widened to begin at a multiple of 32.
#[inline(always)]
fn part(from: usize, to: usize, origin: usize, limit: usize) -> Range<usize> {
    let (from, to) = (from.saturating_sub(origin), to.saturating_sub(origin).min(limit));
    if from >= to { 0..0 } else { from / KR * KR..to }
}

/// Row `r` of the blocks of panel `j`.
#[inline(always)]
fn line<K: HalfTile>(acc: &mut [f32], tiles: usize, r: usize, j: usize) -> &mut [f32; NR] {
    let at = (j * tiles + r / K::MR) * block_len(K::MR) + r % K::MR * NR;
    acc[at..].first_chunk_mut().expect("a row of the blocks")
}

#[derive(Clone, Copy)]
struct Place {
    b: usize,
    h: usize,
    q0: usize,
}

/// Multiplies each row of 32 numbers by `factors`, of which each query has one.
#[inline(always)]
fn scale_lanes<S: Simd>(s: S, rows: &mut [f32], factors: &[S::V; VECTORS]) {
    for y in rows.chunks_exact_mut(NR) {
        let mut i = 0;
        while i < NR {
            let v = s.mul(s.load(&y[i..]), factors[i / S::LANES]);
            s.store(&mut y[i..], v);
            i += S::LANES;
        }
    }
}

/// Rows of 32 numbers, a query a lane, as 32 rows of `ld` numbers, a multiple of 8.
#[inline(always)]
fn from_lanes<S: Simd>(s: S, to: &mut [f32], ld: usize, lanes: &[f32]) {
    for r in (0..ld).step_by(8) {
        for i in (0..NR).step_by(8) {
            s.transpose_8x8(&mut to[i * ld + r..], ld, &lanes[r * NR + i..], NR);
        }
    }
}

/// What queries `i..` of a panel know of the softmax, and what to multiply by.
#[derive(Clone, Copy)]
struct Softmax<'a, S: Simd> {
    lse: &'a [f32; NR],
    delta: &'a [f32; NR],
    factor: S::V,
    scale: S::V,
}

impl<S: Simd> Softmax<'_, S> {
    /// Probabilities, and gradients of the scores, of one key and the queries `i..`; zeros but for those of `from..to`.
    #[inline(always)]
    fn at(&self, s: S, x: &[f32; NR], slopes: &[f32; NR], i: usize, (from, to): (usize, usize)) -> (S::V, S::V) {
        let p = math::exp2(s, s.sub(s.mul(s.load(&x[i..]), self.factor), s.load(&self.lse[i..])));
        let d = s.mul(s.mul(p, s.sub(s.load(&slopes[i..]), s.load(&self.delta[i..]))), self.scale);
        if from == 0 && to >= NR {
            return (p, d);
        }
        let (lane, zero) = (s.load(&LANE[i..]), s.zero());
        let (from, to) = (s.splat(from as f32), s.splat(to as f32));
        let only = |v: S::V| s.select_lt(lane, from, zero, s.select_lt(lane, to, v, zero));
        (only(p), only(d))
    }
}

/// The number of each lane.
static LANE: [f32; NR] = {
    let mut lane = [0.0; NR];
    let mut i = 0;
    while i < NR {
        lane[i] = i as f32;
        i += 1;
    }
    lane
};

half_fn! {
    /// 32 queries of one head, from keys `[keys, d]` and values `[d, keys]`.
    ///
    /// All is computed transposed, a query a lane: what softmax does to one it does to all, and nothing goes across lanes.
    fn queries<[K: HalfTile]>(
        s, kernel: K, half: Avx512Bf16, a: &Attention<'_>, place: Place, packed: &[bf16], out: Out<'_, bf16>,
        lse: Out<'_>, q: Heads<'_, bf16>,
    ) {
        let Place { b, h, q0 } = place;
        let sizes = Sizes::of(a);
        let (keys, values) = packed.split_at(sizes.key_rows());
        let count = NR.min(a.tq - q0);
        let mut right = Buf::<bf16>::for_overwrite(NR * sizes.depth);
        pack::panels_of(half, &mut right, q.head(b, h, a.d).t_view(), (a.d, a.tq), q0, &mut []);
        // Which keys each query sees, and which all of them see.
        let seen = a.keys(q0, q0 + count);
        let (mut first, mut end, mut all) = ([0.0f32; NR], [0.0f32; NR], seen.clone());
        for i in 0..NR {
            let (from, to) = a.row(q0 + i.min(count - 1));
            (first[i], end[i]) = (from as f32, to as f32);
            all = all.start.max(from)..all.end.min(to);
        }
        let padding = a.mask.map(|m| &m[b * a.tk..(b + 1) * a.tk]);
        let hidden = |key: usize| padding.is_some_and(|m| m[key] == 0);
        let mut scores = Buf::<f32>::for_overwrite(COLUMNS.next_multiple_of(K::MR) * NR);
        let mut powers = Buf::<bf16>::for_overwrite(COLUMNS * NR);
        let mut sums = Buf::<f32>::zeroed(a.d.next_multiple_of(K::MR).next_multiple_of(8) * NR);
        let (factor, nothing) = (s.splat(a.scale * LOG2_E), s.splat(f32::NEG_INFINITY));
        let (mut top, mut total) = ([nothing; VECTORS], [s.zero(); VECTORS]);
        let mut begun = false;
        for k0 in (seen.start / COLUMNS * COLUMNS..seen.end).step_by(COLUMNS) {
            let n = COLUMNS.min(seen.end - k0);
            let from = seen.start.saturating_sub(k0);
            let some = |r: Range<usize>, _: usize| if r.end <= from { 0..0 } else { 0..a.d };
            let left = (keys[k0 * sizes.depth..].as_ptr(), sizes.depth);
            // SAFETY: the packed keys go on to a multiple of 32.
            unsafe { product(kernel, left, n, (&*right, 0, 1), some, &mut scores, |_, _| true) };
            let mut new = [nothing; VECTORS];
            for r in from..n {
                let x: &mut [f32; NR] = scores[r * NR..].first_chunk_mut().expect("a key's scores");
                let key = k0 + r;
                if hidden(key) {
                    x.fill(f32::NEG_INFINITY);
                    continue;
                }
                let masked = !all.contains(&key);
                let key = s.splat(key as f32);
                let mut i = 0;
                while i < NR {
                    let mut v = s.load(&x[i..]);
                    if masked {
                        v = s.select_lt(key, s.load(&first[i..]), nothing, v);
                        v = s.select_lt(key, s.load(&end[i..]), v, nothing);
                        s.store(&mut x[i..], v);
                    }
                    // Where either is not a number, what was the largest before.
                    new[i / S::LANES] = s.max(v, new[i / S::LANES]);
                    i += S::LANES;
                }
            }
            let (mut base, mut shrink) = ([s.zero(); VECTORS], [s.zero(); VECTORS]);
            for v in 0..NR / S::LANES {
                new[v] = s.max(s.mul(new[v], factor), top[v]);
                // Of a query that sees nothing yet, all powers are 0.
                base[v] = s.select_lt(s.splat(-f32::MAX), new[v], new[v], s.zero());
                shrink[v] = math::exp2(s, s.sub(top[v], base[v]));
                total[v] = s.mul(total[v], shrink[v]);
            }
            top = new;
            // Pairs of keys, as the right operand of the values has them.
            let begin = from / KR * KR;
            for r in (begin..n.next_multiple_of(KR)).step_by(2) {
                let y: &mut [bf16; 2 * NR] = powers[r * NR..].first_chunk_mut().expect("a pair of keys");
                if r + 1 < from || r >= n {
                    y.fill(bf16::ZERO);
                    continue;
                }
                let x: &[f32; 2 * NR] = scores[r * NR..].first_chunk().expect("a pair of keys");
                let mut i = 0;
                while i < NR {
                    let v = i / S::LANES;
                    let mut e = math::exp2(s, s.sub(s.mul(s.load(&x[i..]), factor), base[v]));
                    let mut f = math::exp2(s, s.sub(s.mul(s.load(&x[NR + i..]), factor), base[v]));
                    if r < from {
                        e = s.zero();
                    }
                    if r + 1 >= n {
                        f = s.zero();
                    }
                    total[v] = s.add(total[v], s.add(e, f));
                    s.store_pairs_bf16(&mut y[2 * i..], e, f);
                    i += S::LANES;
                }
            }
            if begun {
                scale_lanes(s, &mut sums[..a.d * NR], &shrink);
            }
            let left = (values[k0..].as_ptr(), sizes.keys * NR);
            // SAFETY: the packed values have rows up to a multiple of 32, and keys too.
            unsafe { product(kernel, left, a.d, (&*powers, 0, 1), |_, _| begin..n, &mut sums, |_, _| !begun) };
            begun = true;
        }
        let ld = a.d.next_multiple_of(8);
        let mut rows = Buf::<f32>::for_overwrite(NR * ld);
        let (mut largest, mut totals) = ([0.0f32; NR], [0.0f32; NR]);
        for v in 0..NR / S::LANES {
            s.store(&mut largest[v * S::LANES..], top[v]);
            s.store(&mut totals[v * S::LANES..], total[v]);
            // 0 where nothing is seen; what is not a number stays none.
            let inverse = s.div(s.splat(1.0), total[v]);
            total[v] = s.select_lt(s.zero(), total[v], inverse, total[v]);
        }
        scale_lanes(s, &mut sums[..a.d * NR], &total);
        from_lanes(s, &mut rows, ld, &sums);
        for i in 0..count {
            // SAFETY: the output of a query's head is one task's, and so is its sum.
            let (y, lse) = unsafe {
                (out.row(b * a.tq + q0 + i, h * a.d, a.d), lse.row((b * a.heads + h) * a.tq + q0 + i, 0, 1))
            };
            lse[0] = if totals[i] > 0.0 { largest[i] + totals[i].log2() } else { f32::INFINITY };
            crate::number::convert_row(s, y, &rows[i * ld..]);
        }
    }
}

/// The gradients of [`attention_half`]; those of queries, keys and values are overwritten.
///
/// # Panics
/// As [`attention_half`]; if there is a place for the gradient of a bias.
pub fn attention_half_backward(
    isa: Isa,
    a: &Attention<'_>,
    grads: AttentionGrads<'_, bf16>,
    dout: &[bf16],
    out: &[bf16],
    lse: &[f32],
    q: Heads<'_, bf16>,
    k: Heads<'_, bf16>,
    v: Heads<'_, bf16>,
) {
    let _time = profile::scope(profile::Kind::AttentionBackward);
    assert!(a.has_half() && grads.dbias.is_none(), "{a:?}");
    let places = backward::places(a, grads, dout.len(), out.len(), lse.len(), &q.layout(), q.data.len(), &k, &v);
    let half = token(isa);
    let task = Task { a, places, dout, out, lse, q, k, v };
    pool::for_each(a.b * a.kv_heads, |unit| {
        let (b, kv) = (unit / a.kv_heads, unit % a.kv_heads);
        match isa.amx() {
            Some(amx) => key_head(half, amx, half, &task, b, kv),
            None => key_head(half, half, half, &task, b, kv),
        }
    });
}

struct Task<'a> {
    a: &'a Attention<'a>,
    places: backward::Places<'a, bf16>,
    dout: &'a [bf16],
    out: &'a [bf16],
    lse: &'a [f32],
    q: Heads<'a, bf16>,
    k: Heads<'a, bf16>,
    v: Heads<'a, bf16>,
}

half_fn! {
    /// All queries that see one head of keys of one sequence.
    fn key_head<[K: HalfTile]>(s, kernel: K, half: Avx512Bf16, task: &Task<'_>, b: usize, kv: usize) {
        let a = task.a;
        let (sizes, width) = (Sizes::of(a), a.heads * a.d);
        // Keys and values as left operands, keys both ways; rows up to whole blocks.
        let padded = a.tk.next_multiple_of(ROWS);
        let mut left_keys = Buf::<bf16>::for_overwrite(padded * sizes.depth);
        let mut left_values = Buf::<bf16>::for_overwrite(padded * sizes.depth);
        let mut turned_keys = Buf::<bf16>::for_overwrite(sizes.value_rows());
        pack::rows_of(half, &mut left_keys, task.k.head(b, kv, a.d), a.tk, a.d, 0);
        pack::rows_of(half, &mut left_values, task.v.head(b, kv, a.d), a.tk, a.d, 0);
        pack::rows_of(half, &mut turned_keys, task.k.head(b, kv, a.d).t_view(), a.d, a.tk, 0);
        // A block of keys has sums of its own: `blocks` times `wide` panels of it.
        let blocks = padded / ROWS;
        let each = ROWS * sizes.wide * NR;
        // Sums begin with the first queries that see some of a tile's keys; keys that none sees have zeros.
        let seen_by = |keys: Range<usize>| (a.queries(keys.start).0, a.queries(keys.end - 1).1);
        let all_seen = (0..a.tk).step_by(K::MR).all(|k| {
            let (from, to) = seen_by(k..a.tk.min(k + K::MR));
            from < to
        });
        let sums = || if all_seen { Buf::<f32>::for_overwrite(blocks * each) } else { Buf::zeroed(blocks * each) };
        let (mut dk, mut dv) = (sums(), sums());
        // Queries and gradients of the output as right operands, both ways; COLUMNS are the depth the other way.
        let across = COLUMNS / NR * NR * sizes.depth;
        let down = sizes.wide * NR * COLUMNS;
        let mut right = Buf::<bf16>::for_overwrite(2 * across + 2 * down);
        // Of a panel of queries at a time, so that they stay in the first cache.
        let mut scores = Buf::<f32>::for_overwrite(ROWS * NR);
        let mut slopes = Buf::<f32>::for_overwrite(ROWS * NR);
        let mut p = Buf::<bf16>::zeroed(ROWS * COLUMNS);
        let mut ds = Buf::<bf16>::zeroed(ROWS * COLUMNS);
        // The gradients of scores as a right operand, a panel of queries after another, and what they give transposed, a query a lane.
        let mut ds_pairs = Buf::<bf16>::zeroed(ROWS * COLUMNS);
        let dq_rows = a.d.next_multiple_of(K::MR).next_multiple_of(8);
        let mut dq = Buf::<f32>::for_overwrite(COLUMNS * dq_rows);
        let mut query_rows = Buf::<f32>::for_overwrite(NR * a.d.next_multiple_of(8));
        let padding = a.mask.map(|m| &m[b * a.tk..(b + 1) * a.tk]);
        for h in kv * a.group()..(kv + 1) * a.group() {
            for q0 in (0..a.tq).step_by(COLUMNS) {
                let n = COLUMNS.min(a.tq - q0);
                let count = n.div_ceil(NR);
                let queries = task.q.head(b, h, a.d);
                let queries = Mat::new(&queries.data[q0 * queries.ld..], queries.ld);
                let at = (b * a.tq + q0) * width + h * a.d;
                let dout = Mat::new(&task.dout[at..], width);
                let (qt, rest) = right.split_at_mut(across);
                let (dot_t, rest) = rest.split_at_mut(across);
                let (qn, don) = rest.split_at_mut(down);
                pack::panels_of(half, &mut qt[..count * NR * sizes.depth], queries.t_view(), (a.d, n), 0, &mut []);
                pack::panels_of(half, &mut dot_t[..count * NR * sizes.depth], dout.t_view(), (a.d, n), 0, &mut []);
                let depth = n.next_multiple_of(KR);
                pack::panels_of(half, &mut qn[..sizes.wide * NR * depth], queries, (n, a.d), 0, &mut []);
                pack::panels_of(half, &mut don[..sizes.wide * NR * depth], dout, (n, a.d), 0, &mut []);
                let (mut lse, mut delta) = ([f32::INFINITY; COLUMNS], [0.0f32; COLUMNS]);
                for i in 0..n {
                    let row = at + i * width;
                    delta[i] = dot(s, &task.dout[row..row + a.d], &task.out[row..row + a.d]);
                    lse[i] = task.lse[(b * a.heads + h) * a.tq + q0 + i];
                }
                let seen = a.keys(q0, q0 + n);
                // The same for queries that see some keys.
                let sees = |j: usize| (a.row(q0 + j * NR).0, a.row(q0 + n.min((j + 1) * NR) - 1).1);
                let all_see = (0..count).all(|j| sees(j).0 < sees(j).1);
                if !all_see {
                    dq.fill(0.0);
                }
                for k0 in (seen.start / ROWS * ROWS..seen.end).step_by(ROWS) {
                    let rows = ROWS.min(a.tk - k0);
                    let left = |x: &Buf<bf16>| (x[k0 * sizes.depth..].as_ptr(), sizes.depth);
                    let stride = NR * sizes.depth;
                    let seers = |r: &Range<usize>| seen_by(k0 + r.start..k0 + r.end);
                    let mut visible = [(0, 0); ROWS];
                    for (r, visible) in visible[..rows].iter_mut().enumerate() {
                        let hidden = padding.is_some_and(|m| m[k0 + r] == 0);
                        *visible = if hidden { (0, 0) } else { a.queries(k0 + r) };
                    }
                    for j in 0..count {
                        let first = q0 + j * NR;
                        let whole = |r: Range<usize>, _: usize| {
                            let (from, to) = seers(&r);
                            if part(from, to, first, NR).is_empty() { 0..0 } else { 0..a.d }
                        };
                        let (qt, dot_t) = ((&qt[j * stride..], stride, 1), (&dot_t[j * stride..], stride, 1));
                        // SAFETY: the packed rows go on to the end of the block.
                        unsafe {
                            product(kernel, left(&left_keys), rows, qt, whole, &mut scores, |_, _| true);
                            product(kernel, left(&left_values), rows, dot_t, whole, &mut slopes, |_, _| true);
                        }
                        let lse: &[f32; NR] = lse[j * NR..].first_chunk().expect("a panel of queries");
                        let delta: &[f32; NR] = delta[j * NR..].first_chunk().expect("a panel of queries");
                        let (factor, scale) = (s.splat(a.scale * LOG2_E), s.splat(a.scale));
                        let softmax = Softmax { lse, delta, factor, scale };
                        let within = |r: usize| {
                            let (from, to) = if r < rows { visible[r] } else { (0, 0) };
                            (from.saturating_sub(first).min(NR), to.saturating_sub(first).min(NR))
                        };
                        for r in (0..rows).step_by(2) {
                            let [one, two] = [within(r), within(r + 1)];
                            let pairs: &mut [bf16; 2 * NR] =
                                ds_pairs[(j * ROWS + r) * NR..].first_chunk_mut().expect("a pair of keys");
                            let (p, ds) = (&mut p[r * COLUMNS + j * NR..], &mut ds[r * COLUMNS + j * NR..]);
                            if one.0 >= one.1 && two.0 >= two.1 {
                                for x in [p, ds] {
                                    x[..NR].fill(bf16::ZERO);
                                    x[COLUMNS..COLUMNS + NR].fill(bf16::ZERO);
                                }
                                pairs.fill(bf16::ZERO);
                                continue;
                            }
                            let x: &[f32; 2 * NR] = scores[r * NR..].first_chunk().expect("two keys' scores");
                            let dp: &[f32; 2 * NR] = slopes[r * NR..].first_chunk().expect("two keys' slopes");
                            let [x, y] = [x.first_chunk().expect("one"), x.last_chunk().expect("the other")];
                            let [dp, other_dp] = [dp.first_chunk().expect("one"), dp.last_chunk().expect("the other")];
                            let mut i = 0;
                            while i < NR {
                                let k = i + S::LANES;
                                let (e, d) = softmax.at(s, x, dp, i, one);
                                let (f, g) = softmax.at(s, x, dp, k, one);
                                s.store_two_bf16(&mut p[i..], e, f);
                                s.store_two_bf16(&mut ds[i..], d, g);
                                let (e, d2) = softmax.at(s, y, other_dp, i, two);
                                let (f, g2) = softmax.at(s, y, other_dp, k, two);
                                s.store_two_bf16(&mut p[COLUMNS + i..], e, f);
                                s.store_two_bf16(&mut ds[COLUMNS + i..], d2, g2);
                                s.store_pairs_bf16(&mut pairs[2 * i..], d, d2);
                                s.store_pairs_bf16(&mut pairs[2 * k..], g, g2);
                                i += 2 * S::LANES;
                            }
                        }
                    }
                    // Rows beyond the keys hold what was there before, which nobody reads; the kernel's sums of them
                    // are left out below.
                    let sums = k0 / ROWS * each..(k0 / ROWS + 1) * each;
                    let stride = NR * depth;
                    let some = |r: Range<usize>, _: usize| {
                        let (from, to) = seers(&r);
                        part(from, to, q0, n)
                    };
                    let first = |r: Range<usize>, _: usize| {
                        all_seen && h == kv * a.group() && seers(&r).0 / COLUMNS * COLUMNS == q0
                    };
                    // SAFETY: probabilities and slopes have all rows of the block.
                    unsafe {
                        let (p, ds) = ((p.as_ptr(), COLUMNS), (ds.as_ptr(), COLUMNS));
                        product(kernel, p, rows, (&*don, stride, sizes.wide), some, &mut dv[sums.clone()], first);
                        product(kernel, ds, rows, (&*qn, stride, sizes.wide), some, &mut dk[sums], first);
                    }
                    // The gradient of the queries, transposed. Keys beyond the last have no part in it: the left operand is zero there.
                    let (left, stride) = ((turned_keys[k0..].as_ptr(), sizes.keys * NR), ROWS * NR);
                    let some = |_: Range<usize>, j: usize| part(sees(j).0, sees(j).1, k0, rows);
                    let first = |_: Range<usize>, j: usize| all_see && sees(j).0 / ROWS * ROWS == k0;
                    // SAFETY: the packed rows are as many as a multiple of 32, and so are their numbers.
                    unsafe { product(kernel, left, a.d, (&*ds_pairs, stride, count), some, &mut dq, first) };
                }
                let l = task.places.q;
                let ld = a.d.next_multiple_of(8);
                let each = a.d.div_ceil(K::MR) * block_len(K::MR);
                for j in 0..count {
                    from_lanes(s, &mut query_rows, ld, &dq[j * each..]);
                    for i in 0..NR.min(n - j * NR) {
                        let start = l.start(b, h, a.d) + (q0 + j * NR + i) * l.token;
                        // SAFETY: the gradients of this head's queries are this task's.
                        let y = unsafe { task.places.dq.row(start, 0, a.d) };
                        crate::number::convert_row(s, y, &query_rows[i * ld..]);
                    }
                }
            }
        }
        for (sums, l) in [(&mut dk, task.places.k), (&mut dv, task.places.v)] {
            for t in 0..a.tk {
                let tiles = ROWS.min(a.tk - t / ROWS * ROWS).div_ceil(K::MR);
                let sums = &mut sums[t / ROWS * each..];
                // SAFETY: the gradients of this head of keys and values are this task's.
                let y = unsafe { task.places.dkv.row(l.start(b, kv, a.d) + t * l.token, 0, a.d) };
                for (j, y) in y.chunks_mut(NR).enumerate() {
                    crate::number::convert_row(s, y, line::<K>(sums, tiles, t % ROWS, j));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{Layout, attention, attention_backward};

    fn numbers(n: usize, seed: u32) -> Vec<bf16> {
        let mut x = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            bf16::from_f32((x >> 8) as f32 / (1 << 22) as f32 - 2.0)
        };
        (0..n).map(|_| next()).collect()
    }

    fn full(x: &[bf16]) -> Vec<f32> {
        x.iter().map(|x| x.to_f32()).collect()
    }

    #[track_caller]
    fn near(what: &str, got: &[f32], want: &[f32]) {
        let square = |x: &[f32]| x.iter().map(|x| (x * x) as f64).sum::<f64>();
        let error: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
        let (error, size) = (square(&error).sqrt(), square(want).sqrt());
        assert!(error <= 2e-2 * size + 1e-6, "{what}: {error} off, of {size}");
        for (i, (a, b)) in got.iter().zip(want).enumerate() {
            assert!((a - b).abs() < 0.1 * (1.0 + b.abs()), "{what}: [{i}] {a}, want {b}");
        }
    }

    /// Against the kernel for f32 on the same numbers.
    #[track_caller]
    fn check(b: usize, (heads, kv_heads): (usize, usize), (tq, tk): (usize, usize), d: usize, a: Attention<'_>) {
        let a = Attention { b, heads, kv_heads, tq, tk, d, scale: 1.0 / (d as f32).sqrt(), ..a };
        let (q_width, kv_width) = (heads * d, 2 * kv_heads * d);
        let (q, kv, dout) = (numbers(b * tq * q_width, 1), numbers(b * tk * kv_width, 2), numbers(b * tq * q_width, 3));
        let (q32, kv32, dout32) = (full(&q), full(&kv), full(&dout));
        let ql = Layout { batch: tq * q_width, token: q_width, first: 0 };
        let kl = Layout { batch: tk * kv_width, token: kv_width, first: 0 };
        let vl = Layout { first: kv_heads * d, ..kl };
        fn heads_of<T>(data: &[T], l: Layout) -> Heads<'_, T> {
            Heads { data, batch: l.batch, token: l.token, first: l.first }
        }
        for isa in Isa::with_half() {
            let what = |part: &str| format!("{isa} {part} of {a:?}");
            let (mut out, mut lse) = (vec![bf16::ZERO; q.len()], vec![0.0; b * heads * tq]);
            let (h, kh, vh) = (heads_of(&q, ql), heads_of(&kv, kl), heads_of(&kv, vl));
            attention_half(isa, &a, &mut out, &mut lse, h, kh, vh);
            let (mut out32, mut lse32) = (vec![0.0; q.len()], vec![0.0; lse.len()]);
            let (h32, kh32, vh32) = (heads_of(&q32, ql), heads_of(&kv32, kl), heads_of(&kv32, vl));
            attention(isa, &a, &mut out32, Some(&mut lse32), h32, kh32, vh32);
            near(&what("output"), &full(&out), &out32);
            for (a, b) in lse.iter().zip(&lse32) {
                assert!(a == b || (a - b).abs() < 1e-3, "{}: {a}, want {b}", what("lse"));
            }
            let (mut dq, mut dkv) = (vec![bf16::NAN; q.len()], vec![bf16::NAN; kv.len()]);
            let grads = AttentionGrads { dq: &mut dq, q: ql, dkv: Some(&mut dkv), k: kl, v: vl, dbias: None };
            attention_half_backward(isa, &a, grads, &dout, &out, &lse, h, kh, vh);
            let (mut dq32, mut dkv32) = (vec![0.0; q.len()], vec![0.0; kv.len()]);
            let grads = AttentionGrads { dq: &mut dq32, q: ql, dkv: Some(&mut dkv32), k: kl, v: vl, dbias: None };
            attention_backward(isa, &a, grads, &dout32, &out32, &lse32, h32, kh32, vh32);
            near(&what("gradient of queries"), &full(&dq), &dq32);
            near(&what("gradient of keys and values"), &full(&dkv), &dkv32);
        }
    }

    #[test]
    fn odd_shapes_match_f32() {
        for causal in [false, true] {
            for window in [None, Some(5), Some(40)] {
                let a = Attention { causal, window, ..Default::default() };
                check(1, (1, 1), (1, 1), 2, a);
                check(2, (4, 2), (7, 7), 5, a);
                check(1, (2, 2), (130, 130), 48, a);
                check(1, (2, 1), (97, 97), 64, a);
                check(1, (1, 1), (33, 100), 80, a);
            }
        }
        check(1, (1, 1), (300, 300), 32, Attention { causal: true, ..Default::default() });
        check(1, (2, 2), (40, 13), 16, Attention::default());
        // Some tokens that see all.
        check(2, (2, 2), (1, 197), 64, Attention::default());
        check(1, (3, 3), (2, 198), 48, Attention::default());
    }

    #[test]
    fn padding() {
        let mask: Vec<u8> = (0..2 * 70).map(|i| (i >= 3 && i % 70 != 50 && i < 130) as u8).collect();
        for causal in [false, true] {
            check(2, (2, 2), (70, 70), 24, Attention { causal, mask: Some(&mask), ..Default::default() });
        }
        check(2, (2, 2), (1, 70), 24, Attention { mask: Some(&mask), ..Default::default() });
        // Nobody sees anything.
        check(1, (1, 1), (5, 9), 8, Attention { mask: Some(&[0; 9]), ..Default::default() });
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let a = Attention {
            b: 2,
            heads: 4,
            kv_heads: 2,
            tq: 150,
            tk: 150,
            d: 40,
            scale: 0.2,
            causal: true,
            ..Default::default()
        };
        let x = numbers(2 * 150 * 8 * 40, 1);
        for isa in Isa::with_half() {
            let run = |threads| {
                pool::with_threads(threads, || {
                    let l = Layout { batch: 150 * 320, token: 320, first: 0 };
                    let part = |first| Heads { data: &x[..], batch: l.batch, token: l.token, first };
                    let (mut out, mut lse) = (vec![bf16::ZERO; 2 * 150 * 160], vec![0.0; 2 * 4 * 150]);
                    attention_half(isa, &a, &mut out, &mut lse, part(0), part(160), part(240));
                    let mut dx = vec![bf16::ZERO; x.len()];
                    let at = |first| Layout { first, ..l };
                    let grads =
                        AttentionGrads { dq: &mut dx, q: at(0), dkv: None, k: at(160), v: at(240), dbias: None };
                    let dout = numbers(out.len(), 2);
                    attention_half_backward(isa, &a, grads, &dout, &out, &lse, part(0), part(160), part(240));
                    (out, dx)
                })
                .unwrap()
            };
            assert!(run(1) == run(3), "{isa}");
        }
    }
}
