//! The backward pass: scores are computed again, block by block.

use super::{
    Attention, BK, BQ, Heads, Layout, Panels, gather, gathered, keys_at,
    product::Product,
    rows_at,
    scores::{exponentials, padding},
};
use crate::{
    isa::Isa,
    mem::Buf,
    out::Out,
    pool, profile,
    random::drop_row,
    simd::{dot, each, each2, simd_fn},
};

/// Gradients that [`attention_backward`] writes. Queries, keys and values may lie in one tensor or in three.
pub struct AttentionGrads<'a, T = f32> {
    /// Holds the gradients of the queries.
    pub dq: &'a mut [T],
    /// Where in `dq`.
    pub q: Layout,
    /// Holds the gradients of keys and values; `None` if `dq` holds these too.
    pub dkv: Option<&'a mut [T]>,
    /// Where the keys' are.
    pub k: Layout,
    /// Where the values' are.
    pub v: Layout,
    /// `[heads, tq, tk]`, added to.
    pub dbias: Option<&'a mut [f32]>,
}

/// The gradients of [`attention`](super::attention); those of queries, keys and values are overwritten.
///
/// `dout` and `out` are `[b, tq, heads · d]`; `lse` is what the forward pass kept.
pub fn attention_backward(
    isa: Isa,
    a: &Attention<'_>,
    grads: AttentionGrads<'_>,
    dout: &[f32],
    out: &[f32],
    lse: &[f32],
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
) {
    let _time = profile::scope(profile::Kind::AttentionBackward);
    let places = places(a, grads, dout.len(), out.len(), lse.len(), &q.layout(), q.data.len(), &k, &v);
    let Places { dq, q: q_layout, dkv, k: k_layout, v: v_layout, dbias } = places;
    let task = Task {
        a,
        dq,
        q_layout,
        dkv,
        k_layout,
        v_layout,
        dbias,
        dout,
        out,
        lse,
        q,
        key_rows: &Panels::gathered(isa, &k, a),
        keys: &Panels::transposed(isa, &k, a),
        values: &Panels::transposed(isa, &v, a),
    };
    // The heads of a group share the gradients of their keys, and all sequences share the bias: each sum is one task's,
    // in a fixed order.
    let sequences = if task.dbias.is_some() { 1 } else { a.b };
    pool::for_each(sequences * a.kv_heads, |unit| {
        let (b, kv) = (unit / a.kv_heads, unit % a.kv_heads);
        let mut scratch = Buf::for_overwrite(2 * BQ * BK + 2 * gathered(BQ, a.d));
        for b in if task.dbias.is_some() { 0..a.b } else { b..b + 1 } {
            let padding = padding(a, b);
            key_head(isa, &task, b, kv, padding.as_deref(), &mut scratch);
        }
    });
}

/// Where gradients go, checked.
#[derive(Clone, Copy)]
pub(super) struct Places<'a, T> {
    pub(super) dq: Out<'a, T>,
    pub(super) q: Layout,
    pub(super) dkv: Out<'a, T>,
    pub(super) k: Layout,
    pub(super) v: Layout,
    pub(super) dbias: Option<Out<'a>>,
}

/// Panics unless everything is long enough and the tasks' parts lie apart.
pub(super) fn places<'a, T>(
    a: &Attention<'_>,
    grads: AttentionGrads<'a, T>,
    dout: usize,
    out: usize,
    lse: usize,
    q: &Layout,
    q_len: usize,
    k: &Heads<'_, T>,
    v: &Heads<'_, T>,
) -> Places<'a, T> {
    a.check(q, q_len, k, v);
    let width = a.heads * a.d;
    assert!(dout >= a.b * a.tq * width && out >= dout && lse >= a.b * a.heads * a.tq);
    let AttentionGrads { dq, q: q_layout, dkv, k: k_layout, v: v_layout, dbias } = grads;
    q_layout.check("gradients of queries", dq.len(), a.b, a.tq, a.heads, a.d);
    let kv_len = dkv.as_ref().map_or(dq.len(), |x| x.len());
    k_layout.check("gradients of keys", kv_len, a.b, a.tk, a.kv_heads, a.d);
    v_layout.check("gradients of values", kv_len, a.b, a.tk, a.kv_heads, a.d);
    assert!(dbias.as_ref().is_none_or(|x| x.len() >= a.heads * a.tq * a.tk));
    assert!(a.heads * a.d > 0, "attention without heads");
    disjoint(a, q_layout, k_layout, v_layout, dkv.is_none());
    let dq = Out::new(dq, 1);
    let dkv = dkv.map_or(dq, |x| Out::new(x, 1));
    Places { dq, q: q_layout, dkv, k: k_layout, v: v_layout, dbias: dbias.map(|x| Out::new(x, a.tk)) }
}

/// Panics unless the tasks' parts of the gradients lie apart from each other.
fn disjoint(a: &Attention<'_>, q: Layout, k: Layout, v: Layout, together: bool) {
    let (q_width, kv_width) = (a.heads * a.d, a.kv_heads * a.d);
    let rows = |what: &str, l: Layout, t: usize, width: usize| {
        let fits = (t <= 1 || l.first + width <= l.token)
            && (a.b <= 1 || t.saturating_sub(1) * l.token + l.first + width <= l.batch);
        assert!(t == 0 || fits, "gradients of {what} overlap: {l:?}");
    };
    rows("queries", q, a.tq, q_width);
    rows("keys", k, a.tk, kv_width);
    rows("values", v, a.tk, kv_width);
    let apart = |x: Layout, n: usize, y: Layout, m: usize| x.first + n <= y.first || y.first + m <= x.first;
    let same = |x: Layout, y: Layout| x.token == y.token && x.batch == y.batch;
    assert!(same(k, v) && apart(k, kv_width, v, kv_width), "gradients of keys and values overlap");
    let q_apart = same(q, k) && a.tq == a.tk && apart(q, q_width, k, kv_width) && apart(q, q_width, v, kv_width);
    assert!(!together || q_apart, "gradients of queries overlap those of keys or values");
}

struct Task<'a> {
    a: &'a Attention<'a>,
    dq: Out<'a>,
    q_layout: Layout,
    dkv: Out<'a>,
    k_layout: Layout,
    v_layout: Layout,
    dbias: Option<Out<'a>>,
    dout: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
    q: Heads<'a>,
    key_rows: &'a Panels,
    keys: &'a Panels,
    values: &'a Panels,
}

simd_fn! {
    /// All queries that see one head of keys of one sequence.
    fn key_head(s, task: &Task<'_>, b: usize, kv: usize, padding: Option<&[f32]>, scratch: &mut [f32]) {
        let a = task.a;
        let (d, width, unit) = (a.d, a.heads * a.d, b * a.kv_heads + kv);
        let (dk_start, dv_start) = (task.k_layout.start(b, kv, d), task.v_layout.start(b, kv, d));
        for t in 0..a.tk {
            // SAFETY: the gradients of this head of keys and values are this task's.
            unsafe {
                task.dkv.row(dk_start + t * task.k_layout.token, 0, d).fill(0.0);
                task.dkv.row(dv_start + t * task.v_layout.token, 0, d).fill(0.0);
            }
        }
        let (probabilities, scratch) = scratch.split_at_mut(BQ * BK);
        let (slopes, scratch) = scratch.split_at_mut(BQ * BK);
        let (query_rows, dout_rows) = scratch.split_at_mut(gathered(BQ, d));
        let mut cap = [0.0; BK];
        for h in kv * a.group()..(kv + 1) * a.group() {
            let q_start = task.q.layout().start(b, h, d);
            let dq_start = task.q_layout.start(b, h, d);
            for q0 in (0..a.tq).step_by(BQ) {
                let rows = BQ.min(a.tq - q0);
                let queries = &task.q.data[q_start + q0 * task.q.token..];
                let at = (b * a.tq + q0) * width + h * d;
                let (dout, out) = (&task.dout[at..], &task.out[at..]);
                gather::<S>(query_rows, queries, task.q.token, rows, d);
                gather::<S>(dout_rows, dout, width, rows, d);
                let mut delta = [0.0; BQ];
                for r in 0..rows {
                    delta[r] = dot(s, &dout[r * width..r * width + d], &out[r * width..r * width + d]);
                    // SAFETY: the gradients of this head's queries are this task's.
                    unsafe { task.dq.row(dq_start + (q0 + r) * task.q_layout.token, 0, d).fill(0.0) };
                }
                for (k0, n) in Attention::key_blocks(a.keys(q0, q0 + rows)) {
                    // Whole vectors, as in the forward pass.
                    let columns = n.next_multiple_of(S::LANES);
                    let products = Product {
                        m: rows, n: columns, k: d, a: queries, a_row: task.q.token, a_col: 1,
                        b: keys_at::<S>(task.keys.of(unit), d, k0), accumulate: false,
                    };
                    let slope_products = Product {
                        a: dout, a_row: width, b: keys_at::<S>(task.values.of(unit), d, k0), ..products
                    };
                    // SAFETY: the scratch is this task's.
                    unsafe {
                        products.run(s, &Out::new(probabilities, 1), 0, BK);
                        slope_products.run(s, &Out::new(slopes, 1), 0, BK);
                    }
                    for r in 0..rows {
                        let p = &mut probabilities[r * BK..r * BK + columns];
                        let dp = &mut slopes[r * BK..r * BK + columns];
                        let i = q0 + r;
                        let factor = a.score(s, p, h, i, k0, padding);
                        // The derivative of the cap needs the scores, which the probabilities are about to replace.
                        if let Some(c) = a.softcap {
                            for (f, &x) in cap.iter_mut().zip(p.iter()) {
                                *f = if x == f32::NEG_INFINITY { 0.0 } else { 1.0 - (x / c) * (x / c) };
                            }
                        }
                        exponentials(s, p, factor, task.lse[(b * a.heads + h) * a.tq + i]);
                        if let Some(dropout) = a.dropout {
                            drop_row(dropout, b as u32, (h * a.tq + i) as u32, k0, &mut dp[..n]);
                        }
                        let delta = s.splat(delta[r]);
                        each2!(s, dp, p, |dp, p| s.mul(p, s.sub(dp, delta)));
                        if a.softcap.is_some() {
                            each2!(s, dp, &cap, |dp, f| s.mul(dp, f));
                        }
                        if let Some(dbias) = &task.dbias {
                            // SAFETY: with a bias, one task has all sequences of this head.
                            let to = unsafe { dbias.row(h * a.tq + i, k0, n) };
                            to.iter_mut().zip(dp.iter()).for_each(|(to, d)| *to += d);
                        }
                        let scale = s.splat(a.scale);
                        each!(s, dp, |x| s.mul(x, scale));
                        if let Some(dropout) = a.dropout {
                            drop_row(dropout, b as u32, (h * a.tq + i) as u32, k0, &mut p[..n]);
                        }
                    }
                    let dv = Product {
                        m: n, n: d, k: rows, a: probabilities, a_row: 1, a_col: BK, b: rows_at::<S>(dout_rows, rows, 0),
                        accumulate: true,
                    };
                    let dk = Product { a: slopes, b: rows_at::<S>(query_rows, rows, 0), ..dv };
                    let dq = Product {
                        m: rows, n: d, k: n, a: slopes, a_row: BK, a_col: 1,
                        b: rows_at::<S>(task.key_rows.of(unit), a.tk, k0), accumulate: true,
                    };
                    // SAFETY: as for the zeros above.
                    unsafe {
                        dv.run(s, &task.dkv, dv_start + k0 * task.v_layout.token, task.v_layout.token);
                        dk.run(s, &task.dkv, dk_start + k0 * task.k_layout.token, task.k_layout.token);
                        dq.run(s, &task.dq, dq_start + q0 * task.q_layout.token, task.q_layout.token);
                    }
                }
            }
        }
    }
}
