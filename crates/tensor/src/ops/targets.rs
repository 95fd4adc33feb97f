//! Losses of predictions whose targets are numbers.

use bedstone_kernels::pool;

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// A loss of one number and its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetLoss {
    /// `(x - y)²`, for regression.
    SquaredError,
    /// `|x - y|`, for boxes.
    AbsoluteError,
    /// `-y log σ(x) - (1 - y) log (1 - σ(x))`, for labels that do not exclude each other.
    BinaryCrossEntropy,
}

impl TargetLoss {
    /// Loss and slope.
    fn at(self, x: f64, y: f64) -> (f64, f64) {
        match self {
            TargetLoss::SquaredError => ((x - y) * (x - y), 2.0 * (x - y)),
            TargetLoss::AbsoluteError => ((x - y).abs(), if x == y { 0.0 } else { (x - y).signum() }),
            // In the form that neither overflows nor loses digits.
            TargetLoss::BinaryCrossEntropy => {
                (x.max(0.0) - x * y + (-x.abs()).exp().ln_1p(), 1.0 / (1.0 + (-x).exp()) - y)
            }
        }
    }
}

/// The sum of losses of `x` beside `targets`, in the same shape, over `divisor`; over their number if it is `None`.
pub fn target_loss(
    x: &Tensor,
    targets: &Tensor,
    loss: TargetLoss,
    divisor: Option<f64>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    struct TargetBackward {
        x: Tensor,
        targets: Tensor,
        loss: TargetLoss,
        divisor: f64,
    }
    impl Backward for TargetBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let factor = grad.item()? as f64 / self.divisor;
            let pairs = self.x.f32s().iter().zip(self.targets.f32s());
            let dx: Vec<f32> = pairs.map(|(&x, &y)| (factor * self.loss.at(x as f64, y as f64).1) as f32).collect();
            grads.add(self.x.var(), Tensor::from_slice(&dx, self.x.shape()), env);
            Ok(())
        }
    }
    if x.shape() != targets.shape() {
        return Err(TensorError::Shape { op: "target_loss", got: targets.shape(), wanted: x.shape().to_string() });
    }
    let divisor = divisor.unwrap_or(x.shape().numel() as f64);
    let pairs = x.data::<f32>("target_loss")?.iter().zip(targets.data::<f32>("target_loss")?);
    let losses: Vec<f64> = pairs.map(|(&x, &y)| loss.at(x as f64, y as f64).0).collect();
    let out = Tensor::from_slice(&[(pool::tree_sum(&losses) / divisor) as f32], []);
    Ok(ctx.record(out, &[x], &[], || TargetBackward { x: x.clone(), targets: targets.clone(), loss, divisor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let targets = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0, 0.25, 1.0], [2, 3]);
        for loss in [TargetLoss::SquaredError, TargetLoss::AbsoluteError, TargetLoss::BinaryCrossEntropy] {
            for divisor in [None, Some(2.0)] {
                check("target loss", &[[2, 3].into()], |p, ctx| {
                    target_loss(&ctx.leaf(p[0]), &targets, loss, divisor, ctx)
                });
            }
        }
    }

    #[test]
    fn far_from_zero() {
        for (x, y, want) in [(800.0, 0.0, 800.0), (-800.0, 1.0, 800.0), (800.0, 1.0, 0.0), (0.0, 0.5, 2f64.ln())] {
            assert!((TargetLoss::BinaryCrossEntropy.at(x, y).0 - want).abs() < 1e-12, "{x} {y}");
        }
    }
}
