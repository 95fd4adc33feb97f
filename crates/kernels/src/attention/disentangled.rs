//! Disentangled attention, [He et al. 2020](https://arxiv.org/abs/2006.03654): contents look at contents, at relative
//! positions, and from these.
//!
//! The score of query `i` and key `j` is `scale · (qᵢ · kⱼ + qᵢ · a[r] + kⱼ · b[r])`, where `r` is the row that the distance
//! `i - j` has in a table of keys `a` and one of queries `b`, both made from embeddings of distances. Products with whole
//! tables are matrix products, from which each score picks its number; scores exist a block of queries at a time.

use super::{Heads, Layout};
use crate::{
    gemm::{Epilogue, Gemm, Mat, gemm},
    isa::Isa,
    mem::Buf,
    out::Out,
    pool, profile,
    random::{Dropout, drop_row},
    simd::{dot, each, each2, math, simd_fn},
};

/// Shape and options of a disentangled attention of texts with themselves.
#[derive(Clone, Copy, Debug)]
pub struct Disentangled<'a> {
    /// Texts.
    pub b: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens a text.
    pub t: usize,
    /// Width of a head.
    pub d: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// `[2t - 1]`: the rows of the tables for the distances `i - j` from `1 - t` to `t - 1`.
    pub places: &'a [u32],
    /// `[b, t]`: 0 for padding. Nobody sees its keys, and its queries, which see nothing, take all values evenly, as the
    /// reference has it: losses over places read these rows too.
    pub mask: Option<&'a [u8]>,
    /// Of the probabilities; rows of the mask are `head · t + query`.
    pub dropout: Option<Dropout>,
}

/// The tables of positions: `token` is from row to row, `batch` is not used.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// What queries look at: contents to positions.
    pub keys: Option<Heads<'a>>,
    /// What looks at keys: positions to contents.
    pub queries: Option<Heads<'a>>,
}

/// Where the gradients of [`disentangled`] go.
#[derive(Debug)]
pub struct DisentangledGrads<'a> {
    /// Of queries, keys and values, laid out as these; every number of a head is overwritten.
    pub dqkv: &'a mut [f32],
    /// Of the tables, laid out as these; rows that no distance has are left alone.
    pub dtables: &'a mut [f32],
}

/// Queries a block.
const ROWS: usize = 128;

impl Disentangled<'_> {
    /// The rows of the tables that some distance has: first and count.
    fn span(&self) -> (usize, usize) {
        let first = self.places.iter().min().map_or(0, |&p| p as usize);
        let last = self.places.iter().max().map_or(0, |&p| p as usize);
        (first, last + 1 - first)
    }

    /// The rows of query `i` with keys `0..t`.
    fn row(&self, i: usize) -> impl Iterator<Item = usize> + '_ {
        self.places[i..i + self.t].iter().rev().map(|&p| p as usize)
    }

    /// What the padding mask adds to the scores of one text.
    fn padding(&self, b: usize) -> Option<Vec<f32>> {
        let mask = &self.mask?[b * self.t..(b + 1) * self.t];
        mask.contains(&0).then(|| mask.iter().map(|&m| if m == 0 { f32::NEG_INFINITY } else { 0.0 }).collect())
    }

    /// Whether query `i` of a text is padding.
    fn is_padding(&self, b: usize, i: usize) -> bool {
        self.mask.is_some_and(|m| m[b * self.t + i] == 0)
    }

    fn check(&self, qkv: [&Heads<'_>; 3], tables: &Tables<'_>) {
        assert_eq!(self.places.len(), (2 * self.t).saturating_sub(1), "places");
        assert!(self.mask.is_none_or(|m| m.len() >= self.b * self.t), "mask");
        for (what, x) in ["queries", "keys", "values"].iter().zip(qkv) {
            x.layout().check(what, x.data.len(), self.b, self.t, self.heads, self.d);
        }
        let (first, count) = self.span();
        for table in [tables.keys, tables.queries].into_iter().flatten() {
            table.layout().check("a table", table.data.len(), 1, first + count, self.heads, self.d);
        }
    }
}

/// One head of one text: where its operands start.
struct Unit<'a> {
    isa: Isa,
    a: &'a Disentangled<'a>,
    b: usize,
    h: usize,
    /// First row of the tables in use, and how many.
    span: (usize, usize),
    padding: Option<Vec<f32>>,
    q: Heads<'a>,
    k: Heads<'a>,
    v: Heads<'a>,
    tables: Tables<'a>,
}

impl<'a> Unit<'a> {
    /// Rows of `x` from token `t` on as a matrix.
    fn of(&self, x: &Heads<'a>, t: usize) -> (&'a [f32], usize) {
        (&x.data[x.layout().start(self.b, self.h, self.a.d) + t * x.token..], x.token)
    }

    /// The used rows of a table.
    fn table(&self, x: &Heads<'a>) -> (&'a [f32], usize) {
        (&x.data[x.layout().start(0, self.h, self.a.d) + self.span.0 * x.token..], x.token)
    }

    /// `y = A Bᵀ`, rows of head width on both sides.
    fn products(&self, y: &mut [f32], m: usize, n: usize, a: (&[f32], usize), b: (&[f32], usize)) {
        let shape = Gemm { m, n, k: self.a.d };
        gemm(self.isa, shape, Mat::new(a.0, a.1), Mat::t(b.0, b.1), y, n, Epilogue::default());
    }

    /// Of all keys with the table of queries, `[t, rows]`.
    fn key_products(&self) -> Option<Buf<f32>> {
        let table = self.tables.queries.as_ref()?;
        let mut y = Buf::for_overwrite(self.a.t * self.span.1);
        self.products(&mut y, self.a.t, self.span.1, self.of(&self.k, 0), self.table(table));
        Some(y)
    }

    /// Sums of products of queries `q0..q0 + m` with all keys, `[m, t]`; the scores before their scale.
    fn scores(&self, y: &mut [f32], q0: usize, m: usize, key_products: Option<&[f32]>, scratch: &mut [f32]) {
        let (t, (first, rows)) = (self.a.t, self.span);
        let queries = self.of(&self.q, q0);
        self.products(y, m, t, queries, self.of(&self.k, 0));
        if let Some(table) = &self.tables.keys {
            self.products(scratch, m, rows, queries, self.table(table));
        }
        let _time = profile::scope(profile::Kind::Attention);
        for (r, y) in y.chunks_exact_mut(t).take(m).enumerate() {
            if self.tables.keys.is_some() {
                let from = &scratch[r * rows..][..rows];
                for (y, p) in y.iter_mut().zip(self.a.row(q0 + r)) {
                    *y += from[p - first];
                }
            }
            if let Some(from) = key_products {
                for ((y, p), from) in y.iter_mut().zip(self.a.row(q0 + r)).zip(from.chunks_exact(rows)) {
                    *y += from[p - first];
                }
            }
        }
    }

    /// Drops probabilities, or their gradients, of queries `q0..`.
    fn drop(&self, y: &mut [f32], q0: usize) {
        let Some(dropout) = self.a.dropout else { return };
        for (r, y) in y.chunks_exact_mut(self.a.t).enumerate() {
            drop_row(dropout, self.b as u32, (self.h * self.a.t + q0 + r) as u32, 0, y);
        }
    }
}

/// `out: [b, t, heads · d]` (overwritten) from queries, keys and values in one projection, and the tables.
///
/// `lse: [b, heads, t]` receives the logarithm of each softmax' sum, which the gradient needs.
/// `shown: [b, heads, t, t]` receives the probabilities before dropout, if there is a place for them.
pub fn disentangled(
    isa: Isa,
    a: &Disentangled<'_>,
    out: &mut [f32],
    lse: &mut [f32],
    shown: Option<&mut [f32]>,
    [q, k, v]: [Heads<'_>; 3],
    tables: Tables<'_>,
) {
    let (t, d, width) = (a.t, a.d, a.heads * a.d);
    if a.b * a.heads * t * d == 0 {
        return;
    }
    a.check([&q, &k, &v], &tables);
    assert!(out.len() >= a.b * t * width && lse.len() >= a.b * a.heads * t);
    assert!(shown.as_ref().is_none_or(|s| s.len() >= a.b * a.heads * t * t));
    let (out, lse, shown) = (Out::new(out, width), Out::new(lse, 1), shown.map(|s| Out::new(s, t)));
    pool::for_each(a.b * a.heads, |task| {
        let (b, h) = (task / a.heads, task % a.heads);
        let unit = Unit { isa, a, b, h, span: a.span(), padding: a.padding(b), q, k, v, tables };
        let key_products = unit.key_products();
        let block = ROWS.min(t);
        let mut scratch = Buf::for_overwrite(block * unit.span.1);
        let (mut scores, mut sums) = (Buf::for_overwrite(block * t), Buf::for_overwrite(block * d));
        for q0 in (0..t).step_by(ROWS) {
            let m = ROWS.min(t - q0);
            let scores = &mut scores[..m * t];
            unit.scores(scores, q0, m, key_products.as_deref(), &mut scratch);
            for (r, x) in scores.chunks_exact_mut(t).enumerate() {
                let row = task * t + q0 + r;
                // SAFETY: the numbers of a query's head are one task's.
                let lse = unsafe { lse.row(row, 0, 1) };
                lse[0] = match a.is_padding(b, q0 + r) {
                    true => spread_evenly(x),
                    false => softmax_row(isa, x, a.scale, unit.padding.as_deref()),
                };
                if let Some(shown) = &shown {
                    // SAFETY: as above.
                    unsafe { shown.row(row, 0, t) }.copy_from_slice(x);
                }
            }
            unit.drop(scores, q0);
            let (values, ld) = unit.of(&v, 0);
            let shape = Gemm { m, n: d, k: t };
            gemm(isa, shape, Mat::new(scores, t), Mat::new(values, ld), &mut sums, d, Epilogue::default());
            for (r, y) in sums.chunks_exact(d).take(m).enumerate() {
                // SAFETY: as above.
                unsafe { out.row(b * t + q0 + r, h * d, d) }.copy_from_slice(y);
            }
        }
    });
}

/// Probabilities of a query that is padding; what stands for the logarithm of their sum.
fn spread_evenly(x: &mut [f32]) -> f32 {
    x.fill(1.0 / x.len() as f32);
    0.0
}

simd_fn! {
    /// From scores without scale to probabilities; the logarithm of their sum.
    fn softmax_row(s, x: &mut [f32], scale: f32, padding: Option<&[f32]>) -> f32 {
        let by = s.splat(scale);
        each!(s, x, |x| s.mul(x, by));
        if let Some(padding) = padding {
            each2!(s, x, padding, |x, p| s.add(x, p));
        }
        let top = x.iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
        if top == f32::NEG_INFINITY {
            // A token sees itself, so there are scores, and of those that are not numbers none is the largest.
            x.fill(f32::NAN);
            return f32::NAN;
        }
        let m = s.splat(top);
        each!(s, x, |x| math::exp(s, s.sub(x, m)));
        let total = crate::simd::sum(s, x);
        let inverse = s.splat(1.0 / total);
        each!(s, x, |x| s.mul(x, inverse));
        top + total.ln()
    }
}

simd_fn! {
    /// The same from the logarithm of the sum.
    fn probabilities_row(s, x: &mut [f32], scale: f32, padding: Option<&[f32]>, lse: f32) {
        let (by, minus) = (s.splat(scale), s.splat(-lse));
        each!(s, x, |x| s.fma(x, by, minus));
        if let Some(padding) = padding {
            each2!(s, x, padding, |x, p| s.add(x, p));
        }
        each!(s, x, |x| math::exp(s, x));
    }
}

simd_fn! {
    /// `dx = p (dp - mean) scale`, in place of `dp`.
    fn scores_gradient_row(s, dp: &mut [f32], p: &[f32], dout: &[f32], out: &[f32], scale: f32) {
        let (mean, by) = (s.splat(dot(s, dout, out)), s.splat(scale));
        each2!(s, dp, p, |dp, p| s.mul(s.mul(p, s.sub(dp, mean)), by));
    }
}

/// The gradients of [`disentangled`] from `dout`, that of its result `out`, and the `lse` it gave.
pub fn disentangled_backward(
    isa: Isa,
    a: &Disentangled<'_>,
    to: DisentangledGrads<'_>,
    [dout, out]: [&[f32]; 2],
    lse: &[f32],
    [q, k, v]: [Heads<'_>; 3],
    tables: Tables<'_>,
) {
    let (t, d, width) = (a.t, a.d, a.heads * a.d);
    if a.b * a.heads * t * d == 0 {
        return;
    }
    a.check([&q, &k, &v], &tables);
    assert!(dout.len() >= a.b * t * width && out.len() >= a.b * t * width && lse.len() >= a.b * a.heads * t);
    let (first, rows) = a.span();
    let counts = [tables.keys, tables.queries].map(|x| if x.is_some() { rows * d } else { 0 });
    let each = counts[0] + counts[1];
    let mut parts = Buf::for_overwrite(a.b * a.heads * each);
    let (dqkv, shares) = (Out::new(to.dqkv, 1), Out::new(&mut parts, 1));
    pool::for_each(a.b * a.heads, |task| {
        let (b, h) = (task / a.heads, task % a.heads);
        let unit = Unit { isa, a, b, h, span: (first, rows), padding: a.padding(b), q, k, v, tables };
        // SAFETY: each share is one task's.
        let share = unsafe { shares.row(task * each, 0, each) };
        let (dkeys, dqueries) = share.split_at_mut(counts[0]);
        unit.backward(dqkv, dkeys, dqueries, dout, out, &lse[task * t..][..t]);
    });
    // Shares of texts, a head after the other: summed as a tree over the texts.
    pool::tree_add_rows(&mut parts, a.heads * each);
    for (h, share) in parts.chunks_exact(each.max(1)).take(a.heads).enumerate() {
        let (dkeys, dqueries) = share.split_at(counts[0]);
        for (table, share) in [(tables.keys, dkeys), (tables.queries, dqueries)] {
            let Some(table) = table else { continue };
            let start = table.layout().start(0, h, d) + first * table.token;
            for (r, row) in share.chunks_exact(d).enumerate() {
                to.dtables[start + r * table.token..][..d].copy_from_slice(row);
            }
        }
    }
}

impl Unit<'_> {
    /// Gradients of this head of this text: of queries, keys and values, and its share of those of the tables.
    fn backward(&self, dqkv: Out<'_>, dkeys: &mut [f32], dqueries: &mut [f32], dout: &[f32], out: &[f32], lse: &[f32]) {
        let (isa, a, t, d, (first, rows)) = (self.isa, self.a, self.a.t, self.a.d, self.span);
        let width = a.heads * d;
        let plain = Epilogue::default;
        let key_products = self.key_products();
        let block = ROWS.min(t);
        let mut scratch = Buf::for_overwrite(block * rows);
        let (mut p, mut dp) = (Buf::for_overwrite(block * t), Buf::for_overwrite(block * t));
        let mut dropped = Buf::for_overwrite(if a.dropout.is_some() { block * t } else { 0 });
        let (mut dq, mut dk, mut dv) = (Buf::for_overwrite(block * d), Buf::zeroed(t * d), Buf::zeroed(t * d));
        let mut dkey_products = key_products.as_ref().map(|x| Buf::<f32>::zeroed(x.len()));
        dkeys.fill(0.0);
        let ((keys, k_ld), (values, v_ld)) = (self.of(&self.k, 0), self.of(&self.v, 0));
        for q0 in (0..t).step_by(ROWS) {
            let m = ROWS.min(t - q0);
            let (p, dp) = (&mut p[..m * t], &mut dp[..m * t]);
            let (queries, q_ld) = self.of(&self.q, q0);
            let at = (self.b * t + q0) * width + self.h * d;
            self.scores(p, q0, m, key_products.as_deref(), &mut scratch);
            for (r, p) in p.chunks_exact_mut(t).enumerate() {
                match a.is_padding(self.b, q0 + r) {
                    true => _ = spread_evenly(p),
                    false => probabilities_row(isa, p, a.scale, self.padding.as_deref(), lse[q0 + r]),
                }
            }
            // Values: what was dropped took no part.
            let kept: &[f32] = if a.dropout.is_some() {
                dropped[..m * t].copy_from_slice(p);
                self.drop(&mut dropped[..m * t], q0);
                &dropped[..m * t]
            } else {
                p
            };
            let douts = Mat::new(&dout[at..], width);
            gemm(isa, Gemm { m: t, n: d, k: m }, Mat::t(kept, t), douts, &mut dv, d, plain().accumulate(true));
            // Scores.
            gemm(isa, Gemm { m, n: t, k: d }, douts, Mat::t(values, v_ld), dp, t, plain());
            self.drop(dp, q0);
            for (r, dp) in dp.chunks_exact_mut(t).enumerate() {
                let row = at + r * width;
                match a.is_padding(self.b, q0 + r) {
                    true => dp.fill(0.0),
                    false => {
                        scores_gradient_row(isa, dp, &p[r * t..][..t], &dout[row..][..d], &out[row..][..d], a.scale);
                    }
                }
            }
            // Contents.
            gemm(isa, Gemm { m, n: d, k: t }, Mat::new(dp, t), Mat::new(keys, k_ld), &mut dq, d, plain());
            let more = plain().accumulate(true);
            gemm(isa, Gemm { m: t, n: d, k: m }, Mat::t(dp, t), Mat::new(queries, q_ld), &mut dk, d, more);
            // Positions.
            if let Some(table) = &self.tables.keys {
                let (table, ld) = self.table(table);
                let picked = &mut scratch[..m * rows];
                picked.fill(0.0);
                for (r, (to, from)) in picked.chunks_exact_mut(rows).zip(dp.chunks_exact(t)).enumerate() {
                    for (x, p) in from.iter().zip(a.row(q0 + r)) {
                        to[p - first] += x;
                    }
                }
                let picked = Mat::new(picked, rows);
                let more = || plain().accumulate(true);
                gemm(isa, Gemm { m, n: d, k: rows }, picked, Mat::new(table, ld), &mut dq, d, more());
                let shape = Gemm { m: rows, n: d, k: m };
                gemm(isa, shape, Mat::t(picked.data, rows), Mat::new(queries, q_ld), dkeys, d, more());
            }
            if let Some(picked) = &mut dkey_products {
                for (r, from) in dp.chunks_exact(t).enumerate() {
                    for ((x, p), to) in from.iter().zip(a.row(q0 + r)).zip(picked.chunks_exact_mut(rows)) {
                        to[p - first] += x;
                    }
                }
            }
            self.put(dqkv, &self.q.layout(), q0, &dq[..m * d]);
        }
        if let (Some(picked), Some(table)) = (&dkey_products, &self.tables.queries) {
            let (table, ld) = self.table(table);
            let shape = Gemm { m: t, n: d, k: rows };
            gemm(isa, shape, Mat::new(picked, rows), Mat::new(table, ld), &mut dk, d, plain().accumulate(true));
            gemm(isa, Gemm { m: rows, n: d, k: t }, Mat::t(picked, rows), Mat::new(keys, k_ld), dqueries, d, plain());
        }
        self.put(dqkv, &self.k.layout(), 0, &dk);
        self.put(dqkv, &self.v.layout(), 0, &dv);
    }

    /// Writes rows of this head from token `t` on.
    fn put(&self, to: Out<'_>, layout: &Layout, t: usize, rows: &[f32]) {
        let start = layout.start(self.b, self.h, self.a.d);
        for (r, row) in rows.chunks_exact(self.a.d).enumerate() {
            // SAFETY: the numbers of a head of a text are one task's.
            unsafe { to.row(start + (t + r) * layout.token, 0, row.len()) }.copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Draw, key};

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut x = vec![0.0; n];
        Draw { key: key(seed, 0), sample: 0, place: 0 }.normal(&mut x);
        x
    }

    /// Distances in a table of `2 span` rows.
    fn places(t: usize, span: isize) -> Vec<u32> {
        (1 - t as isize..t as isize).map(|x| (x + span).clamp(0, 2 * span - 1) as u32).collect()
    }

    /// The formula in double precision: `[b, t, heads · d]` from `qkv: [b, t, 3 width]` and `tables: [rows, 2 width]`.
    fn reference(a: &Disentangled<'_>, qkv: &[f32], tables: &[f32], used: [bool; 2]) -> Vec<f64> {
        let (t, d, width) = (a.t, a.d, a.heads * a.d);
        let mut out = vec![0.0; a.b * t * width];
        let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>();
        for (b, h, i) in (0..a.b).flat_map(|b| (0..a.heads).flat_map(move |h| (0..t).map(move |i| (b, h, i)))) {
            let at = |part: usize, token: usize| &qkv[(b * t + token) * 3 * width + part * width + h * d..][..d];
            let table = |part: usize, row: usize| &tables[row * 2 * width + part * width + h * d..][..d];
            let weights: Vec<f64> = (0..t)
                .map(|j| {
                    let row = a.places[i + t - 1 - j] as usize;
                    let mut score = product(at(0, i), at(1, j));
                    score += if used[0] { product(at(0, i), table(0, row)) } else { 0.0 };
                    score += if used[1] { product(at(1, j), table(1, row)) } else { 0.0 };
                    match (a.is_padding(b, i), a.is_padding(b, j)) {
                        (true, _) => 1.0,
                        (false, true) => 0.0,
                        (false, false) => (score * a.scale as f64).exp(),
                    }
                })
                .collect();
            let total: f64 = weights.iter().sum();
            let mut keep = vec![1.0; t];
            if let Some(dropout) = a.dropout {
                drop_row(dropout, b as u32, (h * t + i) as u32, 0, &mut keep);
            }
            for (j, w) in weights.into_iter().enumerate() {
                for (c, v) in at(2, j).iter().enumerate() {
                    out[(b * t + i) * width + h * d + c] += w / total * keep[j] as f64 * *v as f64;
                }
            }
        }
        out
    }

    struct Run {
        out: Vec<f32>,
        dqkv: Vec<f32>,
        dtables: Vec<f32>,
    }

    fn run(isa: Isa, a: &Disentangled<'_>, qkv: &[f32], tables: &[f32], used: [bool; 2], dout: &[f32]) -> Run {
        let (t, width) = (a.t, a.heads * a.d);
        let part = |i: usize| Heads { data: qkv, batch: t * 3 * width, token: 3 * width, first: i * width };
        let table = |i: usize| Heads { data: tables, batch: 0, token: 2 * width, first: i * width };
        let tables_of = Tables { keys: used[0].then(|| table(0)), queries: used[1].then(|| table(1)) };
        let parts = [part(0), part(1), part(2)];
        let (mut out, mut lse) = (vec![f32::NAN; a.b * t * width], vec![f32::NAN; a.b * a.heads * t]);
        disentangled(isa, a, &mut out, &mut lse, None, parts, tables_of);
        let (mut dqkv, mut dtables) = (vec![f32::NAN; qkv.len()], vec![0.0; tables.len()]);
        let to = DisentangledGrads { dqkv: &mut dqkv, dtables: &mut dtables };
        disentangled_backward(isa, a, to, [dout, &out], &lse, parts, tables_of);
        Run { out, dqkv, dtables }
    }

    #[track_caller]
    fn check(b: usize, heads: usize, t: usize, d: usize, span: isize, used: [bool; 2], hard: bool) {
        let width = heads * d;
        let (qkv, tables) = (numbers(b * t * 3 * width, 1), numbers(2 * span as usize * 2 * width, 2));
        let dout = numbers(b * t * width, 3);
        let places = places(t, span);
        // The first text is all padding.
        let mask: Vec<u8> = (0..b * t).map(|i| (i >= t && i % 5 != 3) as u8).collect();
        let draw = Draw { key: 7, sample: 2, place: 1 };
        let a = Disentangled {
            b,
            heads,
            t,
            d,
            scale: 0.4,
            places: &places,
            mask: hard.then_some(&mask[..]),
            dropout: hard.then_some(Dropout { draw, p: 0.3 }),
        };
        let want = reference(&a, &qkv, &tables, used);
        let what = format!("{b} {heads} {t} {d} {span} {used:?} {hard}");
        for isa in Isa::available() {
            let got = run(isa, &a, &qkv, &tables, used, &dout);
            for (i, (&got, want)) in got.out.iter().zip(&want).enumerate() {
                assert!((got as f64 - want).abs() < 2e-5 * (1.0 + want.abs()), "{what} on {isa} [{i}]: {got}, {want}");
            }
            let value = |qkv: &[f32], tables: &[f32]| -> f64 {
                reference(&a, qkv, tables, used).iter().zip(&dout).map(|(y, g)| y * *g as f64).sum()
            };
            for (of_tables, grad) in [(false, &got.dqkv), (true, &got.dtables)] {
                for i in (0..grad.len()).step_by((grad.len() / 23).max(1)) {
                    let at = |step: f32| {
                        let (mut qkv, mut tables) = (qkv.clone(), tables.clone());
                        (if of_tables { &mut tables } else { &mut qkv })[i] += step;
                        value(&qkv, &tables)
                    };
                    let h = 1.0 / 256.0;
                    let want = (at(h) - at(-h)) / (2.0 * h as f64);
                    let got = grad[i] as f64;
                    let allowed = 2e-3 * (1.0 + want.abs());
                    assert!((got - want).abs() < allowed, "{what} on {isa} {of_tables} [{i}]: {got}, {want}");
                }
            }
        }
    }

    #[test]
    fn results_and_gradients_match_the_formula() {
        for used in [[true, true], [true, false], [false, true], [false, false]] {
            check(1, 1, 1, 1, 1, used, false);
            check(2, 3, 7, 5, 3, used, false);
            check(2, 2, 9, 4, 20, used, true);
        }
        // More than a block of queries.
        check(1, 1, ROWS + 9, 3, 50, [true, true], false);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (b, heads, t, d, span) = (3, 4, ROWS + 30, 16, 40);
        let width = heads * d;
        let (qkv, tables) = (numbers(b * t * 3 * width, 1), numbers(2 * span * 2 * width, 2));
        let (dout, places) = (numbers(b * t * width, 3), places(t, span as isize));
        let a = Disentangled { b, heads, t, d, scale: 0.2, places: &places, mask: None, dropout: None };
        for isa in Isa::available() {
            let with = |threads| {
                let all = || run(isa, &a, &qkv, &tables, [true, true], &dout);
                let run = pool::with_threads(threads, all).unwrap();
                (run.out, run.dqkv, run.dtables)
            };
            let one = with(1);
            for threads in [2, 3, 5] {
                assert!(one == with(threads), "{isa}, {threads} threads");
            }
        }
    }
}
