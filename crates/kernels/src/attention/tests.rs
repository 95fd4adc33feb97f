//! Against the formula in double precision, and its gradients by finite differences of that formula.

use super::*;
use crate::{
    isa::Isa,
    random::{Draw, drop_row, key},
};

struct Case {
    shape: [usize; 6],
    scale: f32,
    causal: bool,
    window: Option<usize>,
    softcap: Option<f32>,
    mask: bool,
    bias: bool,
    dropout: bool,
}

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut x = vec![0.0; n];
    Draw { key: key(seed, 0), sample: 0, place: 0 }.normal(&mut x);
    x
}

/// Queries, keys and values of a test lie in one projection, `[b, t, (heads + 2 kv_heads) d]`, where `tq = tk`.
struct Inputs {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    bias: Vec<f32>,
}

/// `[b, tq, heads, d]` in double precision.
fn reference(a: &Attention<'_>, x: &Inputs) -> Vec<f64> {
    let mut out = vec![0.0; a.b * a.tq * a.heads * a.d];
    for b in 0..a.b {
        for h in 0..a.heads {
            let kv = h / (a.heads / a.kv_heads);
            for i in 0..a.tq {
                let at = i as isize + a.tk as isize - a.tq as isize;
                let query = &x.q[((b * a.tq + i) * a.heads + h) * a.d..][..a.d];
                let mut weights: Vec<(usize, f64)> = Vec::new();
                for j in 0..a.tk {
                    let far = at - j as isize;
                    let hidden = a.causal && far < 0
                        || a.window.is_some_and(|w| far.unsigned_abs() >= w)
                        || a.mask.is_some_and(|m| m[b * a.tk + j] == 0);
                    if hidden {
                        continue;
                    }
                    let key = &x.k[((b * a.tk + j) * a.kv_heads + kv) * a.d..][..a.d];
                    let mut s = query.iter().zip(key).map(|(q, k)| *q as f64 * *k as f64).sum::<f64>() * a.scale as f64;
                    if a.bias.is_some() {
                        s += x.bias[(h * a.tq + i) * a.tk + j] as f64;
                    }
                    if let Some(cap) = a.softcap {
                        s = cap as f64 * (s / cap as f64).tanh();
                    }
                    weights.push((j, s.exp()));
                }
                let total: f64 = weights.iter().map(|w| w.1).sum();
                let mut keep = vec![1.0; a.tk];
                if let Some(dropout) = a.dropout {
                    drop_row(dropout, b as u32, (h * a.tq + i) as u32, 0, &mut keep);
                }
                for (j, w) in weights {
                    let value = &x.v[((b * a.tk + j) * a.kv_heads + kv) * a.d..][..a.d];
                    for c in 0..a.d {
                        out[((b * a.tq + i) * a.heads + h) * a.d + c] += w / total * keep[j] as f64 * value[c] as f64;
                    }
                }
            }
        }
    }
    out
}

fn heads(data: &[f32], t: usize, width: usize) -> Heads<'_> {
    Heads { data, batch: t * width, token: width, first: 0 }
}

#[track_caller]
fn check(case: Case) {
    let [b, n, kv, tq, tk, d] = case.shape;
    let mask: Vec<u8> = (0..b * tk).map(|i| (i / tk == 0 || i % tk >= 2) as u8).collect();
    let mut x = Inputs {
        q: numbers(b * tq * n * d, 1),
        k: numbers(b * tk * kv * d, 2),
        v: numbers(b * tk * kv * d, 3),
        bias: numbers(n * tq * tk, 4),
    };
    let bias = x.bias.clone();
    let a = Attention {
        b,
        heads: n,
        kv_heads: kv,
        tq,
        tk,
        d,
        scale: case.scale,
        causal: case.causal,
        window: case.window,
        softcap: case.softcap,
        mask: case.mask.then_some(&mask[..]),
        bias: case.bias.then_some(&bias[..]),
        dropout: case.dropout.then_some(Dropout { draw: Draw { key: key(5, 6), sample: 1, place: 2 }, p: 0.3 }),
    };
    let want = reference(&a, &x);
    let dout = numbers(want.len(), 9);
    for isa in Isa::available() {
        let (mut out, mut lse) = (vec![f32::NAN; want.len()], vec![0.0; b * n * tq]);
        let (q, k, v) = (heads(&x.q, tq, n * d), heads(&x.k, tk, kv * d), heads(&x.v, tk, kv * d));
        attention(isa, &a, &mut out, Some(&mut lse), q, k, v);
        for (i, (&y, &w)) in out.iter().zip(&want).enumerate() {
            assert!((y as f64 - w).abs() < 1e-5 * (1.0 + w.abs()), "{isa} out[{i}] {y} want {w}");
        }
        let (mut dq, mut dkv) = (vec![f32::NAN; x.q.len()], vec![f32::NAN; 2 * x.k.len()]);
        let mut dbias = vec![0.0; x.bias.len()];
        let kv_layout = |first| Layout { batch: tk * 2 * kv * d, token: 2 * kv * d, first };
        let grads = AttentionGrads {
            dq: &mut dq,
            q: q.layout(),
            dkv: Some(&mut dkv),
            k: kv_layout(0),
            v: kv_layout(kv * d),
            dbias: case.bias.then_some(&mut dbias[..]),
        };
        attention_backward(isa, &a, grads, &dout, &out, &lse, q, k, v);
        // A few places of each input, by central differences of the reference.
        let places = |n: usize| (0..n).step_by((n / 9).max(1));
        let split = |i: usize| i / (kv * d) * 2 * kv * d + i % (kv * d);
        for which in 0..4 {
            let len = [x.q.len(), x.k.len(), x.v.len(), if case.bias { x.bias.len() } else { 0 }][which];
            for i in places(len) {
                let mut at = |step: f32| {
                    let field = [&mut x.q, &mut x.k, &mut x.v, &mut x.bias];
                    let field = field.into_iter().nth(which).unwrap();
                    let old = field[i];
                    field[i] = old + step;
                    let y = reference(&a, &x);
                    let field = [&mut x.q, &mut x.k, &mut x.v, &mut x.bias].into_iter().nth(which).unwrap();
                    field[i] = old;
                    y.iter().zip(&dout).map(|(y, d)| y * *d as f64).sum::<f64>()
                };
                let h = 1.0 / 256.0;
                let want = (at(h) - at(-h)) / (2.0 * h as f64);
                let got = match which {
                    0 => dq[i],
                    1 => dkv[split(i)],
                    2 => dkv[split(i) + kv * d],
                    _ => dbias[i],
                } as f64;
                assert!((got - want).abs() < 2e-3 * (1.0 + want.abs()), "{isa} grad {which}[{i}] {got} want {want}");
            }
        }
    }
}

fn plain(shape: [usize; 6]) -> Case {
    Case { shape, scale: 0.4, causal: false, window: None, softcap: None, mask: false, bias: false, dropout: false }
}

#[test]
fn odd_shapes() {
    for shape in [[1, 1, 1, 1, 1, 1], [2, 2, 1, 5, 7, 3], [1, 3, 3, 9, 9, 17], [2, 4, 2, 3, 11, 33]] {
        check(plain(shape));
    }
}

#[test]
fn causal_over_several_blocks() {
    check(Case { causal: true, ..plain([1, 2, 1, 150, 150, 20]) });
    check(Case { causal: true, ..plain([2, 2, 2, 70, 140, 8]) });
}

#[test]
fn several_blocks_of_heads_of_any_width() {
    for d in [5, 13, 16, 40, 48] {
        check(plain([1, 2, 2, 70, 140, d]));
    }
}

#[test]
fn any_scale() {
    // One that is not positive cannot be left to the exponential: the largest product is not the largest score then.
    for scale in [-0.4, 0.0] {
        check(Case { scale, causal: true, mask: true, ..plain([2, 2, 1, 10, 10, 8]) });
        check(Case { scale, causal: true, ..plain([1, 2, 1, 2, 9, 8]) });
    }
}

/// One head without anything else, of `tq` queries.
fn alone(tq: usize, tk: usize, d: usize) -> Attention<'static> {
    Attention { b: 1, heads: 1, kv_heads: 1, tq, tk, d, scale: 0.4, causal: true, ..Default::default() }
}

#[test]
fn what_is_no_number_stays_none() {
    let (t, d) = (70, 8);
    for (tq, bad, value) in
        [(70, 0, f32::NAN), (70, 66, f32::NAN), (70, 66, f32::INFINITY), (3, 0, f32::NAN), (3, 68, f32::NAN)]
    {
        let (a, q) = (alone(tq, t, d), vec![1.0; tq * d]);
        let (mut k, v) = (numbers(t * d, 1), numbers(t * d, 2));
        // The first query of all sees the first key alone.
        k[bad * d] = value;
        for isa in Isa::available() {
            let mut out = vec![0.0; tq * d];
            attention(isa, &a, &mut out, None, heads(&q, tq, d), heads(&k, t, d), heads(&v, t, d));
            for (i, row) in out.chunks_exact(d).enumerate() {
                let sees = i + t - tq >= bad;
                assert!(row.iter().all(|x| x.is_nan() == sees), "{isa} {bad} of {tq}, {i}: {row:?}");
            }
        }
    }
}

#[test]
fn scores_of_any_size_have_probabilities() {
    for size in [1.0, 1e4, 43166.0, 1e8, 1e15] {
        for tq in [2, 70] {
            let (t, d) = (70, 8);
            let a = alone(tq, t, d);
            let (q, v) = (vec![size; tq * d], numbers(t * d, 2));
            // One key is much nearer than all others, and seen by every query.
            let mut k: Vec<f32> = numbers(t * d, 1).iter().map(|x| -size * (1.0 + x.abs())).collect();
            k[..d].fill(size * 1000.0);
            for isa in Isa::available() {
                let mut out = vec![0.0; tq * d];
                attention(isa, &a, &mut out, None, heads(&q, tq, d), heads(&k, t, d), heads(&v, t, d));
                for row in out.chunks_exact(d) {
                    assert_eq!(row, &v[..d], "{isa} {size} {tq}");
                }
            }
        }
    }
}

#[test]
fn nothing_to_see() {
    check(plain([1, 2, 1, 5, 0, 8]));
    check(plain([2, 2, 2, 70, 0, 8]));
}

#[test]
fn few_queries_with_a_cache() {
    check(Case { causal: true, mask: true, ..plain([2, 4, 2, 1, 9, 16]) });
    check(Case { causal: true, window: Some(4), ..plain([2, 4, 2, 3, 9, 8]) });
}

#[test]
fn windows() {
    check(Case { causal: true, window: Some(8), ..plain([1, 2, 1, 40, 40, 8]) });
    check(Case { window: Some(3), ..plain([1, 2, 1, 12, 12, 8]) });
    check(Case { causal: true, window: Some(100), ..plain([1, 1, 1, 300, 300, 4]) });
}

#[test]
fn padding_bias_caps_and_dropout() {
    check(Case { mask: true, ..plain([3, 2, 1, 10, 10, 8]) });
    check(Case { causal: true, mask: true, ..plain([2, 2, 1, 10, 10, 8]) });
    check(Case { bias: true, ..plain([2, 3, 3, 7, 9, 5]) });
    check(Case { causal: true, softcap: Some(2.0), ..plain([1, 2, 2, 9, 9, 8]) });
    check(Case { causal: true, dropout: true, ..plain([2, 2, 1, 140, 140, 6]) });
    check(Case { dropout: true, mask: true, ..plain([2, 4, 2, 1, 140, 6]) });
    check(Case {
        causal: true,
        softcap: Some(2.0),
        bias: true,
        mask: true,
        dropout: true,
        ..plain([2, 4, 2, 9, 9, 8])
    });
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (b, n, t, d) = (2, 4, 200, 24);
    let (q, k, v) = (numbers(b * t * n * d, 1), numbers(b * t * n * d, 2), numbers(b * t * n * d, 3));
    let a = Attention { b, heads: n, kv_heads: n, tq: t, tk: t, d, scale: 0.2, causal: true, ..Default::default() };
    for isa in Isa::available() {
        let run = |threads| {
            crate::pool::with_threads(threads, || {
                let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; b * n * t]);
                let (q, k, v) = (heads(&q, t, n * d), heads(&k, t, n * d), heads(&v, t, n * d));
                attention(isa, &a, &mut out, Some(&mut lse), q, k, v);
                let (mut dq, mut dkv) = (vec![0.0; out.len()], vec![0.0; 2 * out.len()]);
                let layout = |first| Layout { batch: 2 * t * n * d, token: 2 * n * d, first };
                let grads = AttentionGrads {
                    dq: &mut dq,
                    q: q.layout(),
                    dkv: Some(&mut dkv),
                    k: layout(0),
                    v: layout(n * d),
                    dbias: None,
                };
                attention_backward(isa, &a, grads, &out, &out, &lse, q, k, v);
                (out, dq, dkv)
            })
            .unwrap()
        };
        assert!(run(1) == run(3), "{isa}");
    }
}
