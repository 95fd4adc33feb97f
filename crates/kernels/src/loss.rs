//! Softmax cross-entropy over rows of logits.

use crate::{
    isa::Isa,
    number::Number,
    out::Out,
    pool, profile,
    simd::{Simd, math, rounding_fn},
};

/// Labels with this value take no part, as in PyTorch.
pub const IGNORE: i32 = -100;

/// What is asked of [`cross_entropy`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy {
    /// Share of the target spread evenly over all classes, [Szegedy et al. 2015](https://arxiv.org/abs/1512.00567).
    pub label_smoothing: f32,
    /// Logits are `cap · tanh(logit / cap)`, as in Gemma 2.
    pub softcap: Option<f32>,
    /// Overwrite the logits with the gradient times this.
    pub gradient: Option<f32>,
}

/// `losses[r] = logsumexp(logits[r]) - logits[r, labels[r]]` over rows of `classes`; 0 where the label is [`IGNORE`].
///
/// With `options.gradient = Some(scale)` the logits become `scale (softmax - target)`, zeros where ignored.
///
/// # Panics
/// If a label is neither a class nor [`IGNORE`]: callers check labels, with better words.
pub fn cross_entropy<T: Number>(
    isa: Isa,
    options: CrossEntropy,
    logits: &mut [T],
    classes: usize,
    labels: &[i32],
    losses: &mut [f32],
) {
    let _time = profile::scope(profile::Kind::Loss);
    let rows = labels.len();
    assert!(logits.len() >= rows * classes && losses.len() >= rows);
    let (logits, losses) = (Out::new(logits, classes), Out::new(losses, 1));
    let per_task = (pool::SMALL / classes.max(1)).max(1);
    pool::for_each(rows.div_ceil(per_task), |task| {
        for r in task * per_task..((task + 1) * per_task).min(rows) {
            // SAFETY: each row, and its loss, is one task's.
            let (row, loss) = unsafe { (logits.row(r, 0, classes), losses.row(r, 0, 1)) };
            if labels[r] == IGNORE {
                loss[0] = 0.0;
                if options.gradient.is_some() {
                    row.fill(T::zeroed());
                }
                continue;
            }
            let label = usize::try_from(labels[r]).ok().filter(|&l| l < classes);
            let label = label.unwrap_or_else(|| panic!("label {} of row {r}, wanted below {classes}", labels[r]));
            loss[0] = row_loss(isa, options, row, label);
        }
    });
}

rounding_fn! {
    fn row_loss<[T: Number]>(s, options: CrossEntropy, row: &mut [T], label: usize) -> f32 {
        let n = row.len();
        if let Some(cap) = options.softcap {
            let mut i = 0;
            while i < n {
                let capped = math::tanh(s, s.mul(T::at(s, row, i), s.splat(1.0 / cap)));
                T::put(s, row, i, s.mul(s.splat(cap), capped));
                i += S::LANES;
            }
        }
        let mut top = [s.splat(f32::NEG_INFINITY); 2];
        let mut i = 0;
        // Two at a time: one would wait for the one before.
        while i + 2 * S::LANES <= n {
            top = [s.max(top[0], T::load(s, &row[i..])), s.max(top[1], T::load(s, &row[i + S::LANES..]))];
            i += 2 * S::LANES;
        }
        let mut max = s.max_lane(s.max(top[0], top[1]));
        // A comparison with what is not a number is false: the loss must not hide it.
        for i in i..n {
            let x = row[i].to_f32();
            max = if x > max || x.is_nan() { x } else { max };
        }
        let (m, mut acc) = (s.splat(max), s.zero());
        let mut i = 0;
        while i + S::LANES <= n {
            acc = s.add(acc, power(s, s.sub(T::load(s, &row[i..]), m)));
            i += S::LANES;
        }
        let mut tail = 0.0;
        if i < n {
            let mut e = [0.0; 16];
            s.store(&mut e, power(s, s.sub(T::load_part(s, &row[i..n]), m)));
            tail = e[..n - i].iter().sum();
        }
        let sum = s.sum(acc) + tail;
        let lse = max + sum.ln();
        let smoothing = options.label_smoothing;
        let at_label = row[label].to_f32();
        let mut loss = lse - at_label;
        if smoothing > 0.0 {
            loss = (1.0 - smoothing) * loss + smoothing * (lse - crate::simd::sum(s, row) / n as f32);
        }
        if let Some(scale) = options.gradient {
            let slope = Slope { lse, scale, even: smoothing / n as f32, cap: options.softcap };
            // The label's own number has a part more, which must not be lost in rounding.
            let mut own = [0.0; 16];
            s.store(&mut own, slope.at(s, s.splat(at_label)));
            let capped = options.softcap.map_or(1.0, |cap| 1.0 - (at_label / cap) * (at_label / cap));
            let own = own[0] - scale * (1.0 - smoothing) * capped;
            let mut i = 0;
            while i < n {
                T::put(s, row, i, slope.at(s, T::at(s, row, i)));
                i += S::LANES;
            }
            row[label] = T::from_f32(own);
        }
        loss
    }
}

/// `e^x` for `x` that are not above 0, but for rounding.
#[inline(always)]
fn power<S: Simd>(s: S, x: S::V) -> S::V {
    math::exp2(s, s.mul(x, s.splat(std::f32::consts::LOG2_E)))
}

/// The gradient of a row's loss where a logit is not the label's.
#[derive(Clone, Copy)]
struct Slope {
    lse: f32,
    scale: f32,
    /// What smoothing takes off each class.
    even: f32,
    cap: Option<f32>,
}

impl Slope {
    #[inline(always)]
    fn at<S: Simd>(self, s: S, x: S::V) -> S::V {
        let p = power(s, s.sub(x, s.splat(self.lse)));
        let g = s.mul(s.splat(self.scale), s.sub(p, s.splat(self.even)));
        match self.cap {
            // The derivative of the cap: 1 - (capped / cap)².
            Some(cap) => {
                let x = s.mul(x, s.splat(1.0 / cap));
                s.mul(g, s.sub(s.splat(1.0), s.mul(x, x)))
            }
            None => g,
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[track_caller]
    fn check(classes: usize, smoothing: f32, softcap: Option<f32>) {
        let labels = [0, IGNORE, (classes - 1) as i32, (classes / 2) as i32];
        let logits: Vec<f32> = (0..4 * classes).map(|i| ((i * 31 % 89) as f32 - 44.0) / 9.0).collect();
        let loss = |x: &[f64], label: usize| {
            let x: Vec<f64> = match softcap {
                Some(cap) => x.iter().map(|x| cap as f64 * (x / cap as f64).tanh()).collect(),
                None => x.to_vec(),
            };
            let lse = x.iter().map(|x| x.exp()).sum::<f64>().ln();
            let even = x.iter().map(|x| lse - x).sum::<f64>() / classes as f64;
            (1.0 - smoothing as f64) * (lse - x[label]) + smoothing as f64 * even
        };
        for isa in Isa::available() {
            let (mut g, mut losses) = (logits.clone(), [9.0; 4]);
            let options = CrossEntropy { label_smoothing: smoothing, softcap, gradient: Some(0.5) };
            cross_entropy(isa, options, &mut g, classes, &labels, &mut losses);
            let (mut half, mut half_losses) = (logits.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>(), [9.0; 4]);
            cross_entropy(isa, options, &mut half, classes, &labels, &mut half_losses);
            let near = |a: f32, b: f32| (a - b).abs() < 0.02 * (1.0 + b.abs());
            assert!(losses.iter().zip(half_losses).all(|(&a, b)| near(b, a)), "{isa} {half_losses:?} want {losses:?}");
            assert!(g.iter().zip(&half).all(|(&a, b)| near(b.to_f32(), a)), "{isa} {half:?} want {g:?}");
            for r in 0..4 {
                let x: Vec<f64> = logits[r * classes..(r + 1) * classes].iter().map(|&x| x as f64).collect();
                if labels[r] == IGNORE {
                    assert!(losses[r] == 0.0 && g[r * classes..(r + 1) * classes].iter().all(|&g| g == 0.0));
                    continue;
                }
                let label = labels[r] as usize;
                assert!((losses[r] as f64 - loss(&x, label)).abs() < 1e-5, "{isa} {}", losses[r]);
                for c in 0..classes {
                    let at = |d: f64| {
                        let mut x = x.clone();
                        x[c] += d;
                        loss(&x, label)
                    };
                    let want = 0.5 * (at(1e-5) - at(-1e-5)) / 2e-5;
                    let got = g[r * classes + c] as f64;
                    assert!((got - want).abs() < 1e-5, "{isa} {classes} ({r},{c}): {got} want {want}");
                }
            }
        }
    }

    #[test]
    fn losses_and_gradients() {
        for classes in [1, 2, 15, 16, 17, 40] {
            check(classes, 0.0, None);
            check(classes, 0.1, None);
            check(classes, 0.0, Some(3.0));
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_hidden() {
        for isa in Isa::available() {
            for place in [0, 20] {
                let mut logits = vec![0.0; 21];
                logits[place] = f32::NAN;
                let mut losses = [0.0];
                cross_entropy(isa, CrossEntropy::default(), &mut logits, 21, &[3], &mut losses);
                assert!(losses[0].is_nan(), "{isa} {place}");
            }
        }
    }
}
