//! Cross-entropy of logits.

use bedstone_kernels::{
    loss::{CrossEntropy, IGNORE, cross_entropy as kernel},
    mem::Buf,
    pool,
};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// Options of a cross-entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossArgs {
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// Logits are `cap · tanh(logit / cap)` first.
    pub softcap: Option<f32>,
    /// The sum over labels is divided by this; by the number of labels that count if `None`.
    pub divisor: Option<f64>,
}

impl LossArgs {
    /// What each label's loss is multiplied by.
    pub(super) fn weight(&self, labels: &[i32]) -> f32 {
        let counted = labels.iter().filter(|&&l| l != IGNORE).count();
        (1.0 / self.divisor.unwrap_or(counted as f64)) as f32
    }

    pub(super) fn kernel(&self, gradient: Option<f32>) -> CrossEntropy {
        CrossEntropy { label_smoothing: self.label_smoothing, softcap: self.softcap, gradient }
    }
}

/// The mean of `-log softmax(logits)[label]`: logits `[.., classes]`, labels of i32, a scalar.
///
/// Labels of [`IGNORE`] take no part; without any other, the loss is not a number, as in PyTorch.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, args: LossArgs, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct CrossEntropyBackward {
        logits: Tensor,
        labels: Tensor,
        args: LossArgs,
    }
    impl Backward for CrossEntropyBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let labels = self.labels.data::<i32>("cross_entropy")?;
            let mut dlogits = Buf::copy_of(self.logits.f32s());
            let options = self.args.kernel(Some(grad.item()? * self.args.weight(labels)));
            let mut losses = Buf::for_overwrite(labels.len());
            kernel(env.isa, options, &mut dlogits, self.logits.shape().width(), labels, &mut losses);
            grads.add(self.logits.var(), Tensor::from_buf(dlogits, self.logits.shape()), env);
            Ok(())
        }
    }
    let (rows, classes) = (logits.shape().rows(), logits.shape().width());
    let ids = check_labels("cross_entropy", labels, rows, classes)?;
    let mut losses = Buf::for_overwrite(rows);
    let logits = &logits.to_f32(ctx.isa)?;
    let mut copy = Buf::<f32>::copy_of(logits.data("cross_entropy")?);
    kernel(ctx.isa, args.kernel(None), &mut copy, classes, ids, &mut losses);
    let out = mean(&losses, args.weight(ids));
    Ok(ctx.record(out, &[logits], &[], || CrossEntropyBackward {
        logits: logits.clone(),
        labels: labels.clone(),
        args,
    }))
}

/// The losses' sum times `weight`, as a scalar.
pub(super) fn mean(losses: &[f32], weight: f32) -> Tensor {
    let losses: Vec<f64> = losses.iter().map(|&l| l as f64).collect();
    Tensor::from_slice(&[(pool::tree_sum(&losses) * weight as f64) as f32], [])
}

pub(super) fn check_labels<'a>(op: &'static str, labels: &'a Tensor, rows: usize, classes: usize) -> Result<&'a [i32]> {
    let ids = labels.data::<i32>(op)?;
    if ids.len() != rows {
        return Err(TensorError::Shape { op, got: labels.shape(), wanted: format!("{rows} labels") });
    }
    let wrong = |&l: &i32| l != IGNORE && usize::try_from(l).map_or(true, |l| l >= classes);
    match ids.iter().position(wrong) {
        Some(place) => Err(TensorError::Id { op, id: ids[place] as i64, place, limit: classes }),
        None => Ok(ids),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        let labels = Tensor::from_slice(&[3i32, IGNORE, 0, 4, 4, 1], [2, 3]);
        for args in [
            LossArgs::default(),
            LossArgs { label_smoothing: 0.1, ..Default::default() },
            LossArgs { softcap: Some(2.0), divisor: Some(2.0), ..Default::default() },
        ] {
            check("cross_entropy", &[[2, 3, 5].into()], |p, ctx| {
                let x = ctx.leaf(p[0]);
                cross_entropy(&x, &labels, args, ctx)
            });
        }
    }

    #[test]
    fn a_wrong_label_is_named() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let labels = Tensor::from_slice(&[1i32, 7], [2]);
        let error =
            cross_entropy(&Tensor::zeros::<f32>([2, 5]), &labels, LossArgs::default(), &mut Ctx::inference(env));
        assert_eq!(error.unwrap_err(), TensorError::Id { op: "cross_entropy", id: 7, place: 1, limit: 5 });
    }
}
