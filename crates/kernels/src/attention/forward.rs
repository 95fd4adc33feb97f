//! The forward pass.

use super::{
    Attention, BK, BQ, Heads, Panels, keys_at, padded,
    product::{Product, Right},
    rows_at,
    scores::{exponentials, padding},
    transpose,
};
use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool, profile,
    random::drop_row,
    simd::{dot, each, each2, simd_fn},
};

/// Up to this many queries a sequence, products of single rows beat preparing the keys for blocks.
const FEW: usize = 4;

/// `out: [b, tq, heads · d]` (overwritten) from queries, keys and values.
///
/// `lse: [b, heads, tq]` receives the logarithm to base 2 of each softmax' sum, which the gradient needs; infinity where a
/// query sees no key, whose output is 0.
pub fn attention(
    isa: Isa,
    a: &Attention<'_>,
    out: &mut [f32],
    lse: Option<&mut [f32]>,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
) {
    let _time = profile::scope(profile::Kind::Attention);
    a.check(&q.layout(), q.data.len(), &k, &v);
    let width = a.heads * a.d;
    assert!(out.len() >= a.b * a.tq * width && lse.as_ref().is_none_or(|l| l.len() >= a.b * a.heads * a.tq));
    if a.b * a.heads * a.tq * a.d == 0 {
        return;
    }
    let mut spare = Buf::for_overwrite(if lse.is_some() { 0 } else { a.b * a.heads * a.tq });
    let (out, lse) = (Out::new(out, width), Out::new(lse.unwrap_or(&mut spare), 1));
    if a.tq <= FEW && a.dropout.is_none() {
        pool::for_each(a.b * a.heads, |unit| {
            let padding = padding(a, unit / a.heads);
            let mut scores = Buf::for_overwrite(a.tk);
            few_queries(isa, a, unit, padding.as_deref(), &mut scores, out, lse, q, k, v);
        });
        return;
    }
    let blocks = a.tq.div_ceil(BQ);
    // Keys that a single task reads are transposed by that task, and values that it reads need no panels.
    let shared = (blocks > 1 || a.group() > 1).then(|| (Panels::transposed(isa, &k, a), Panels::gathered(isa, &v, a)));
    let own = if shared.is_some() { 0 } else { padded(a) * a.d };
    pool::for_each(a.b * a.heads * blocks, |task| {
        let (unit, q0) = (task / blocks, task % blocks * BQ);
        let (b, h) = (unit / a.heads, unit % a.heads);
        let padding = padding(a, b);
        let mut scratch = Buf::for_overwrite(own + BQ * BK + BQ * a.d);
        let (own, scratch) = scratch.split_at_mut(own);
        let kv = b * a.kv_heads + h / a.group();
        let (keys, values) = match &shared {
            Some((keys, values)) => (keys.of(kv), Some(values.of(kv))),
            None => {
                transpose(isa, own, &k, a, b, h);
                (&*own, None)
            }
        };
        query_block(isa, a, unit, q0, padding.as_deref(), scratch, out, lse, q, keys, values, v);
    });
}

simd_fn! {
    /// Queries `q0..` of one head of one sequence.
    fn query_block(
        s, a: &Attention<'_>, unit: usize, q0: usize, padding: Option<&[f32]>, scratch: &mut [f32], out: Out<'_>,
        lse: Out<'_>, q: Heads<'_>, keys: &[f32], values: Option<&[f32]>, v: Heads<'_>,
    ) {
        let (b, h) = (unit / a.heads, unit % a.heads);
        let kv = h / a.group();
        let rows = BQ.min(a.tq - q0);
        let (scores, sums) = scratch.split_at_mut(BQ * BK);
        let sums = &mut sums[..rows * a.d];
        sums.fill(0.0);
        let (mut top, mut total) = ([f32::NEG_INFINITY; BQ], [0.0; BQ]);
        let queries = &q.data[q.layout().start(b, h, a.d) + q0 * q.token..];
        let v_start = v.layout().start(b, kv, a.d);
        for (k0, n) in Attention::key_blocks(a.keys(q0, q0 + rows)) {
            // Whole vectors: what stands behind the last key is masked as what a query does not see.
            let columns = n.next_multiple_of(S::LANES);
            let products = Product {
                m: rows, n: columns, k: a.d, a: queries, a_row: q.token, a_col: 1, b: keys_at::<S>(keys, a.d, k0),
                accumulate: false,
            };
            // SAFETY: the scratch is this task's.
            unsafe { products.run(s, &Out::new(scores, 1), 0, BK) };
            // The largest of all rows first: the exponentials of one row then need not wait for the end of the one before.
            let (mut factor, mut next) = (1.0, top);
            for (r, next) in next[..rows].iter_mut().enumerate() {
                let x = &mut scores[r * BK..r * BK + columns];
                factor = a.score(s, x, h, q0 + r, k0, padding);
                let mut highest = s.splat(f32::NEG_INFINITY);
                for i in (0..columns).step_by(S::LANES) {
                    highest = s.max(s.load(&x[i..]), highest);
                }
                *next = next.max(s.max_lane(highest) * factor);
            }
            for r in 0..rows {
                let x = &mut scores[r * BK..r * BK + columns];
                let new = next[r];
                if new == f32::NEG_INFINITY {
                    // A score that is not a number is never the largest, and must not look like a key that is not seen.
                    if x.iter().any(|x| x.is_nan()) {
                        (top[r], total[r]) = (0.0, f32::NAN);
                    }
                    x.fill(0.0);
                    continue;
                }
                let shrink = match top[r] {
                    top if top == new => 1.0,
                    f32::NEG_INFINITY => 0.0,
                    top => (top - new).exp2(),
                };
                total[r] = total[r] * shrink + exponentials(s, x, factor, new);
                top[r] = new;
                if shrink != 1.0 {
                    let f = s.splat(shrink);
                    each!(s, &mut sums[r * a.d..(r + 1) * a.d], |y| s.mul(y, f));
                }
                if let Some(dropout) = a.dropout {
                    drop_row(dropout, b as u32, (h * a.tq + q0 + r) as u32, k0, &mut x[..n]);
                }
            }
            let right = match values {
                Some(values) => rows_at::<S>(values, a.tk, k0),
                None => Right::rows::<S>(&v.data[v_start + k0 * v.token..], v.token),
            };
            let values = Product { m: rows, n: a.d, k: n, a: scores, a_row: BK, a_col: 1, b: right, accumulate: true };
            // SAFETY: as above.
            unsafe { values.run(s, &Out::new(sums, 1), 0, a.d) };
        }
        for r in 0..rows {
            // SAFETY: the output of a query's head is one task's, and so is its sum.
            let (y, lse) = unsafe {
                (out.row(b * a.tq + q0 + r, h * a.d, a.d), lse.row((b * a.heads + h) * a.tq + q0 + r, 0, 1))
            };
            let inverse = if total[r] > 0.0 { 1.0 / total[r] } else { 0.0 };
            let f = s.splat(inverse);
            each2!(s, y, &sums[r * a.d..(r + 1) * a.d], |_y, x| s.mul(x, f));
            lse[0] = if total[r] > 0.0 { top[r] + total[r].log2() } else { f32::INFINITY };
            // What is not a number must not look like a query without keys.
            if total[r].is_nan() {
                y.fill(f32::NAN);
            }
        }
    }
}

simd_fn! {
    /// All queries of one head of one sequence, one after the other.
    fn few_queries(
        s, a: &Attention<'_>, unit: usize, padding: Option<&[f32]>, scores: &mut [f32], out: Out<'_>, lse: Out<'_>,
        q: Heads<'_>, k: Heads<'_>, v: Heads<'_>,
    ) {
        let (b, h) = (unit / a.heads, unit % a.heads);
        let kv = h / a.group();
        let (q_start, k_start) = (q.layout().start(b, h, a.d), k.layout().start(b, kv, a.d));
        let v_start = v.layout().start(b, kv, a.d);
        for i in 0..a.tq {
            let query = &q.data[q_start + i * q.token..][..a.d];
            let keys = a.keys(i, i + 1);
            let x = &mut scores[..keys.len()];
            for (j, x) in keys.clone().zip(x.iter_mut()) {
                *x = dot(s, query, &k.data[k_start + j * k.token..][..a.d]);
            }
            let factor = a.score(s, x, h, i, keys.start, padding);
            let top = x.iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
            // SAFETY: the output of a query's head is one task's, and so is its sum.
            let (y, lse) = unsafe {
                (out.row(b * a.tq + i, h * a.d, a.d), lse.row((b * a.heads + h) * a.tq + i, 0, 1))
            };
            y.fill(0.0);
            if top == f32::NEG_INFINITY {
                lse[0] = f32::INFINITY;
                // A score that is not a number is never the largest.
                if x.iter().any(|x| x.is_nan()) {
                    y.fill(f32::NAN);
                }
                continue;
            }
            let top = top * factor;
            let total = exponentials(s, x, factor, top);
            for (j, &p) in keys.zip(x.iter()) {
                let p = s.splat(p / total);
                each2!(s, y, &v.data[v_start + j * v.token..][..a.d], |y, v| s.fma(p, v, y));
            }
            lse[0] = top + total.log2();
        }
    }
}
