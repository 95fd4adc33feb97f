//! Cross-entropy, from logits or straight from hidden states.

use bedstone_kernels::{
    elementwise::sum_rows,
    gemm::{Epilogue, Gemm, Mat, gemm},
    loss::{CrossEntropy, IGNORE, cross_entropy as kernel},
    mem::Buf,
    pool,
};

use crate::{Backward, Ctx, Env, Grads, ParamId, Result, Tensor, TensorError};

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
    fn weight(&self, labels: &[i32]) -> f32 {
        let counted = labels.iter().filter(|&&l| l != IGNORE).count();
        (1.0 / self.divisor.unwrap_or(counted as f64)) as f32
    }

    fn kernel(&self, gradient: Option<f32>) -> CrossEntropy {
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
    let mut copy = Buf::copy_of(logits.data("cross_entropy")?);
    kernel(ctx.isa, args.kernel(None), &mut copy, classes, ids, &mut losses);
    let out = mean(&losses, args.weight(ids));
    Ok(ctx.record(out, &[logits], &[], || CrossEntropyBackward {
        logits: logits.clone(),
        labels: labels.clone(),
        args,
    }))
}

/// The same for `logits = x Wᵀ + b`, `x: [.., C]`, `W: [V, C]`, without ever holding all logits.
///
/// Rows of `x` go through in groups; the backward pass computes each group's logits again.
pub fn linear_cross_entropy(
    x: &Tensor,
    weight: ParamId,
    bias: Option<ParamId>,
    labels: &Tensor,
    args: LossArgs,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let op = "linear_cross_entropy";
    let [classes, width] = ctx.param(weight).dims(op)?;
    let rows = x.shape().rows();
    if x.shape().width() != width {
        return Err(TensorError::Shape { op, got: x.shape(), wanted: format!("rows of {width}") });
    }
    let ids = check_labels(op, labels, rows, classes)?;
    let head = Head { weight, bias, classes, width };
    let (input, group) = (x.data::<f32>(op)?, head.group());
    let mut losses = Buf::for_overwrite(rows);
    let mut logits = Buf::for_overwrite(group.min(rows) * classes);
    for from in (0..rows).step_by(group) {
        let n = group.min(rows - from);
        head.logits(ctx, &input[from * width..], n, &mut logits);
        kernel(ctx.isa, args.kernel(None), &mut logits, classes, &ids[from..from + n], &mut losses[from..from + n]);
    }
    let out = mean(&losses, args.weight(ids));
    let params: Vec<ParamId> = [Some(weight), bias].into_iter().flatten().collect();
    Ok(ctx.record(out, &[x], &params, || HeadBackward { head, x: x.clone(), labels: labels.clone(), args }))
}

/// The last linear map of a language model.
#[derive(Clone, Copy)]
struct Head {
    weight: ParamId,
    bias: Option<ParamId>,
    classes: usize,
    width: usize,
}

impl Head {
    /// Rows whose logits are held at a time: by shape alone, about 32 MiB.
    fn group(&self) -> usize {
        ((8 << 20) / self.classes.max(1)).next_multiple_of(64).max(64)
    }

    fn logits(&self, env: &Env<'_>, x: &[f32], n: usize, logits: &mut [f32]) {
        let epilogue = Epilogue::default().bias(self.bias.map(|id| env.params.get(id).value.f32s()));
        let w = Mat::t(env.params.get(self.weight).value.f32s(), self.width);
        let shape = Gemm { m: n, n: self.classes, k: self.width };
        gemm(env.isa, shape, Mat::new(x, self.width), w, logits, self.classes, epilogue);
    }
}

struct HeadBackward {
    head: Head,
    x: Tensor,
    labels: Tensor,
    args: LossArgs,
}

impl Backward for HeadBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let HeadBackward { head, x, labels, args } = *self;
        let Head { weight, bias, classes, width } = head;
        let labels = labels.data::<i32>("linear_cross_entropy")?;
        let options = args.kernel(Some(grad.item()? * args.weight(labels)));
        let (rows, group) = (x.shape().rows(), head.group());
        let (input, w) = (x.f32s(), env.params.get(weight).value.f32s());
        let mut losses = Buf::for_overwrite(group.min(rows));
        let mut logits = Buf::for_overwrite(group.min(rows) * classes);
        let mut dx = Buf::for_overwrite(if x.var().is_some() { x.shape().numel() } else { 0 });
        for from in (0..rows).step_by(group) {
            let n = group.min(rows - from);
            let input = &input[from * width..(from + n) * width];
            head.logits(env, input, n, &mut logits);
            kernel(env.isa, options, &mut logits, classes, &labels[from..from + n], &mut losses);
            let d = &logits[..n * classes];
            grads.write_param(weight, env, |dw, accumulate| {
                let epilogue = Epilogue::default().accumulate(accumulate);
                let shape = Gemm { m: classes, n: width, k: n };
                gemm(env.isa, shape, Mat::t(d, classes), Mat::new(input, width), dw, width, epilogue);
            });
            if let Some(bias) = bias {
                grads.add_param(bias, env, |db| sum_rows(env.isa, db, d, classes));
            }
            if x.var().is_some() {
                let shape = Gemm { m: n, n: width, k: classes };
                let dx = &mut dx[from * width..];
                gemm(env.isa, shape, Mat::new(d, classes), Mat::new(w, width), dx, width, Epilogue::default());
            }
        }
        if x.var().is_some() {
            grads.add(x.var(), Tensor::from_buf(dx, x.shape()), env);
        }
        Ok(())
    }
}

/// The losses' sum times `weight`, as a scalar.
fn mean(losses: &[f32], weight: f32) -> Tensor {
    let losses: Vec<f64> = losses.iter().map(|&l| l as f64).collect();
    Tensor::from_slice(&[(pool::tree_sum(&losses) * weight as f64) as f32], [])
}

fn check_labels<'a>(op: &'static str, labels: &'a Tensor, rows: usize, classes: usize) -> Result<&'a [i32]> {
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
            check("linear_cross_entropy", &[[2, 3, 7].into(), [5, 7].into(), [5].into()], |p, ctx| {
                let x = ctx.leaf(p[0]);
                linear_cross_entropy(&x, p[1], Some(p[2]), &labels, args, ctx)
            });
        }
    }

    #[test]
    fn groups_of_rows_give_what_all_rows_give() {
        // Enough classes that rows go through in several groups.
        let (rows, width, classes) = (300, 3, 70_000);
        let mut params = crate::Params::default();
        let mut w = Tensor::zeros::<f32>([classes, width]);
        w.f32s_mut().iter_mut().enumerate().for_each(|(i, w)| *w = ((i * 37) % 101) as f32 / 50.0 - 1.0);
        let weight = params.add("w".into(), w).unwrap();
        let x: Vec<f32> = (0..rows * width).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let labels: Vec<i32> = (0..rows as i32).map(|i| i * 211 % classes as i32).collect();
        let x_id = params.add("x".into(), Tensor::from_slice(&x, [rows, width])).unwrap();
        let labels = Tensor::from_slice(&labels, [rows]);
        let env = Env { isa: crate::Isa::detect(), precision: Default::default(), params: &params };
        let mut ctx = Ctx::gradients(env);
        let x = ctx.leaf(x_id);
        let fused = linear_cross_entropy(&x, weight, None, &labels, LossArgs::default(), &mut ctx).unwrap();
        let grads = ctx.backward(&fused).unwrap();
        let mut ctx = Ctx::gradients(env);
        let x = ctx.leaf(x_id);
        let linear = super::super::Linear { weight, bias: None, layout: Default::default() };
        let logits = super::super::linear(&x, &[linear], Default::default(), &mut ctx).unwrap();
        let plain = cross_entropy(&logits, &labels, LossArgs::default(), &mut ctx).unwrap();
        let want = ctx.backward(&plain).unwrap();
        assert!((fused.item().unwrap() - plain.item().unwrap()).abs() < 1e-5);
        for id in [weight, x_id] {
            let (got, want) = (grads.param(id).unwrap().f32s(), want.param(id).unwrap().f32s());
            assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn a_wrong_label_is_named() {
        let params = crate::Params::default();
        let env = Env { isa: crate::Isa::PORTABLE, precision: Default::default(), params: &params };
        let labels = Tensor::from_slice(&[1i32, 7], [2]);
        let error =
            cross_entropy(&Tensor::zeros::<f32>([2, 5]), &labels, LossArgs::default(), &mut Ctx::inference(env));
        assert_eq!(error.unwrap_err(), TensorError::Id { op: "cross_entropy", id: 7, place: 1, limit: 5 });
    }
}
