//! Cross-entropy with targets that are shared among classes, or weighted.

use bedstone_kernels::pool;

use super::loss::check_labels;
use crate::{Backward, Ctx, Env, Grads, IGNORE, Result, Tensor, TensorError};

/// `-Σ t[i, c] log softmax(logits)[i, c] / divisor`: logits `[.., classes]` and targets in the same shape, of f32; a scalar.
///
/// A row's targets need not sum to 1: a row of zeros takes no part. The divisor is the sum of all targets if it is `None`, which is
/// the number of rows for probabilities, as in PyTorch. For a few classes: computed in double precision.
pub fn soft_cross_entropy(
    logits: &Tensor,
    targets: &Tensor,
    divisor: Option<f64>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    struct SoftBackward {
        logits: Tensor,
        targets: Tensor,
        divisor: f64,
    }
    impl Backward for SoftBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let classes = self.logits.shape().width().max(1);
            let factor = grad.item()? as f64 / self.divisor;
            let mut d = vec![0.0f32; self.logits.shape().numel()];
            let targets = self.targets.f32s().chunks_exact(classes);
            let rows = self.logits.f32s().chunks_exact(classes).zip(d.chunks_exact_mut(classes));
            for ((row, d), t) in rows.zip(targets) {
                let (sum, all) = (log_sum(row), t.iter().map(|&t| t as f64).sum::<f64>());
                if all == 0.0 {
                    continue;
                }
                for ((d, &x), &t) in d.iter_mut().zip(row).zip(t) {
                    *d = (factor * (all * (x as f64 - sum).exp() - t as f64)) as f32;
                }
            }
            grads.add(self.logits.var(), Tensor::from_slice(&d, self.logits.shape()), env);
            Ok(())
        }
    }
    let op = "soft_cross_entropy";
    if logits.shape() != targets.shape() {
        return Err(TensorError::Shape { op, got: targets.shape(), wanted: logits.shape().to_string() });
    }
    let classes = logits.shape().width().max(1);
    let t = targets.data::<f32>(op)?;
    let loss = |(row, t): (&[f32], &[f32])| {
        let sum = log_sum(row);
        // A class without a share takes no part even where its logit is infinite.
        let shares = row.iter().zip(t).filter(|(_, t)| **t != 0.0);
        shares.map(|(&x, &t)| t as f64 * (sum - x as f64)).sum::<f64>()
    };
    let rows = logits.data::<f32>(op)?.chunks_exact(classes).zip(t.chunks_exact(classes));
    let losses: Vec<f64> = rows.map(loss).collect();
    let divisor = divisor.unwrap_or_else(|| t.iter().map(|&t| t as f64).sum());
    let out = Tensor::from_slice(&[(pool::tree_sum(&losses) / divisor) as f32], []);
    Ok(ctx.record(out, &[logits], &[], || SoftBackward { logits: logits.clone(), targets: targets.clone(), divisor }))
}

/// `Σ w[label] (-log softmax(logits)[label]) / divisor`: logits `[.., classes]` of f32, labels of i32, one weight a class.
///
/// Labels of [`IGNORE`] take no part. The divisor is the sum of the labels' weights if it is `None`, as in PyTorch.
pub fn weighted_cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    weights: &Tensor,
    divisor: Option<f64>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let op = "weighted_cross_entropy";
    let (rows, classes) = (logits.shape().rows(), logits.shape().width());
    let ids = check_labels(op, labels, rows, classes)?;
    let w = weights.data::<f32>(op)?;
    if w.len() != classes {
        return Err(TensorError::Shape { op, got: weights.shape(), wanted: format!("{classes} weights") });
    }
    let mut targets = vec![0.0; rows * classes];
    for (row, &label) in ids.iter().enumerate().filter(|(_, l)| **l != IGNORE) {
        targets[row * classes + label as usize] = w[label as usize];
    }
    soft_cross_entropy(logits, &Tensor::from_slice(&targets, logits.shape()), divisor, ctx)
}

fn log_sum(row: &[f32]) -> f64 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    most + row.iter().map(|&x| (x as f64 - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LossArgs, cross_entropy},
        *,
    };
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let labels = Tensor::from_slice(&[2i32, IGNORE, 0, 1], [4]);
        let weights = Tensor::from_slice(&[0.5f32, 2.0, 1.0], [3]);
        let shares = [0.2f32, 0.3, 0.5, 0.0, 1.0, 0.0, 0.9, 0.05, 0.05, 0.0, 0.0, 0.0];
        let shares = Tensor::from_slice(&shares, [4, 3]);
        for divisor in [None, Some(3.0)] {
            check("weighted cross-entropy", &[[4, 3].into()], |p, ctx| {
                weighted_cross_entropy(&ctx.leaf(p[0]), &labels, &weights, divisor, ctx)
            });
            check("soft cross-entropy", &[[4, 3].into()], |p, ctx| {
                soft_cross_entropy(&ctx.leaf(p[0]), &shares, divisor, ctx)
            });
        }
    }

    /// Equal weights, and targets smoothed beforehand, give what the plain cross-entropy gives.
    #[test]
    fn as_the_plain_one() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::detect(),
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let mut ctx = Ctx::inference(env);
        let logits = Tensor::from_slice(&[1.0f32, -2.0, 0.5, 3.0, 0.0, -1.0], [2, 3]);
        let labels = Tensor::from_slice(&[1i32, 0], [2]);
        let plain = cross_entropy(&logits, &labels, LossArgs::default(), &mut ctx).unwrap().item().unwrap();
        let weights = Tensor::from_slice(&[2.0f32; 3], [3]);
        let got = weighted_cross_entropy(&logits, &labels, &weights, None, &mut ctx).unwrap().item().unwrap();
        assert!((plain - got).abs() < 1e-6, "{plain} and {got}");
        let args = LossArgs { label_smoothing: 0.3, ..Default::default() };
        let plain = cross_entropy(&logits, &labels, args, &mut ctx).unwrap().item().unwrap();
        let shares = Tensor::from_slice(&[0.1f32, 0.8, 0.1, 0.8, 0.1, 0.1], [2, 3]);
        let got = soft_cross_entropy(&logits, &shares, None, &mut ctx).unwrap().item().unwrap();
        assert!((plain - got).abs() < 1e-6, "{plain} and {got}");
        let short = Tensor::from_slice(&[1.0f32; 3], [1, 3]);
        assert!(soft_cross_entropy(&logits, &short, None, &mut ctx).is_err());
    }
}
