//! Cross-entropy with weights of classes.

use bedstone_kernels::pool;

use super::loss::check_labels;
use crate::{Backward, Ctx, Env, Grads, IGNORE, Result, Tensor, TensorError};

/// `Σ w[label] (-log softmax(logits)[label]) / divisor`: logits `[.., classes]` of f32, labels of i32, one weight a class.
///
/// The divisor is the sum of the labels' weights if it is `None`, as in PyTorch. For a few classes: computed in double
/// precision.
pub fn weighted_cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    weights: &Tensor,
    divisor: Option<f64>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    struct WeightedBackward {
        logits: Tensor,
        labels: Tensor,
        weights: Tensor,
        divisor: f64,
    }
    impl Backward for WeightedBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let classes = self.logits.shape().width().max(1);
            let mut d = vec![0.0f32; self.logits.shape().numel()];
            let rows = self.logits.f32s().chunks_exact(classes).zip(d.chunks_exact_mut(classes));
            for ((row, d), &label) in rows.zip(self.labels.data::<i32>("weighted_cross_entropy")?) {
                if label == IGNORE {
                    continue;
                }
                let factor = grad.item()? as f64 * self.weights.f32s()[label as usize] as f64 / self.divisor;
                let sum = log_sum(row);
                for (i, (d, &x)) in d.iter_mut().zip(row).enumerate() {
                    let p = (x as f64 - sum).exp() - f64::from(u8::from(i == label as usize));
                    *d = (factor * p) as f32;
                }
            }
            grads.add(self.logits.var(), Tensor::from_slice(&d, self.logits.shape()), env);
            Ok(())
        }
    }
    let (rows, classes) = (logits.shape().rows(), logits.shape().width());
    let ids = check_labels("weighted_cross_entropy", labels, rows, classes)?;
    let w = weights.data::<f32>("weighted_cross_entropy")?;
    if w.len() != classes {
        let wanted = format!("{classes} weights");
        return Err(TensorError::Shape { op: "weighted_cross_entropy", got: weights.shape(), wanted });
    }
    let counted = ids.iter().filter(|&&l| l != IGNORE).map(|&l| w[l as usize] as f64);
    let divisor = divisor.unwrap_or(counted.sum());
    let losses: Vec<f64> = logits
        .data::<f32>("weighted_cross_entropy")?
        .chunks_exact(classes.max(1))
        .zip(ids)
        .filter(|(_, l)| **l != IGNORE)
        .map(|(row, &l)| w[l as usize] as f64 * (log_sum(row) - row[l as usize] as f64))
        .collect();
    let out = Tensor::from_slice(&[(pool::tree_sum(&losses) / divisor) as f32], []);
    Ok(ctx.record(out, &[logits], &[], || WeightedBackward {
        logits: logits.clone(),
        labels: labels.clone(),
        weights: weights.clone(),
        divisor,
    }))
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
        for divisor in [None, Some(3.0)] {
            check("weighted cross-entropy", &[[4, 3].into()], |p, ctx| {
                weighted_cross_entropy(&ctx.leaf(p[0]), &labels, &weights, divisor, ctx)
            });
        }
    }

    #[test]
    fn equal_weights_are_none() {
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
    }
}
