//! Cross-entropy straight from hidden states, without ever holding all logits.

use bedstone_kernels::{
    bf16,
    elementwise::{scale, sum_rows},
    gemm::{Epilogue, Gemm, HalfLeft, Mat, Panels, Rows, Term, gemm, gemm_half},
    loss::cross_entropy as kernel,
    mem::Buf,
    number::Number,
};

use super::loss::{LossArgs, check_labels, mean};
use crate::{Backward, Ctx, Element, Env, Grads, Orientation, ParamId, Result, Tensor, TensorError, Var};

/// The mean of `-log softmax(x Wᵀ + b)[label]`, a scalar: `x: [.., C]`, `W: [V, C]`, labels of i32.
///
/// Rows of `x` go through in groups. Where gradients are recorded, each group's are computed while its logits are there:
/// they depend on what comes after the loss by a factor only.
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
    let input = x.to_dtype(ctx.precision.operand(ctx.isa), ctx.isa)?;
    let (losses, backward) = with_number!(input.dtype(), T => head.run::<T>(&input, ids, args, ctx)?);
    let out = mean(&losses, args.weight(ids));
    let params: Vec<ParamId> = [Some(weight), bias].into_iter().flatten().collect();
    Ok(match backward {
        Some(backward) => ctx.record(out, &[x], &params, || backward),
        None => out,
    })
}

/// The last linear map of a language model.
#[derive(Clone, Copy)]
struct Head {
    weight: ParamId,
    bias: Option<ParamId>,
    classes: usize,
    width: usize,
}

/// Logits that are held at a time, about.
const LOGITS: usize = 32 << 20;

impl Head {
    /// Rows whose logits are held at a time, by shape alone: groups of about the same size.
    fn group(&self, rows: usize) -> usize {
        let most = (LOGITS / self.classes.max(1)).max(64);
        rows.div_ceil(rows.div_ceil(most).max(1)).next_multiple_of(64)
    }

    /// The losses of the rows of `x`, and what is needed of their gradients.
    fn run<T: Products>(
        self,
        x: &Tensor,
        labels: &[i32],
        args: LossArgs,
        ctx: &Ctx<'_>,
    ) -> Result<(Buf<f32>, Option<HeadBackward>)> {
        let (rows, classes, width) = (labels.len(), self.classes, self.width);
        let (input, group) = (x.data::<T>("linear_cross_entropy")?, self.group(rows));
        let mut losses = Buf::for_overwrite(rows);
        let mut logits = Buf::<T>::for_overwrite(group.min(rows) * classes);
        let recorded = ctx.records();
        let wanted = |id: ParamId| recorded && ctx.params.get(id).trainable;
        let mut dx = (recorded && x.var().is_some()).then(|| Buf::<f32>::for_overwrite(rows * width));
        let mut dw = wanted(self.weight).then(|| Buf::<f32>::for_overwrite(classes * width));
        let mut db = self.bias.filter(|&id| wanted(id)).map(|_| Buf::<f32>::zeroed(classes));
        if let (Some(dw), 0) = (&mut dw, rows) {
            dw.fill(0.0);
        }
        let gradient = (dx.is_some() || dw.is_some() || db.is_some()).then(|| args.weight(labels));
        for from in (0..rows).step_by(group.max(1)) {
            let n = group.min(rows - from);
            let (part, logits) = (&input[from * width..(from + n) * width], &mut logits[..n * classes]);
            T::logits(self, part, n, logits, ctx)?;
            let (labels, losses) = (&labels[from..from + n], &mut losses[from..from + n]);
            kernel(ctx.isa, args.kernel(gradient), logits, classes, labels, losses);
            if let Some(dw) = &mut dw {
                T::weight_gradient(self, part, n, logits, dw, from > 0, ctx);
            }
            if let Some(db) = &mut db {
                sum_rows(ctx.isa, db, logits, classes);
            }
            if let Some(dx) = &mut dx {
                T::input_gradient(self, n, logits, &mut dx[from * width..], ctx)?;
            }
        }
        let backward = recorded.then(|| HeadBackward {
            x: x.var(),
            head: self,
            dx: dx.map(|dx| Tensor::from_buf(dx, x.shape())),
            dw: dw.map(|dw| Tensor::from_buf(dw, [classes, width])),
            db: db.map(|db| Tensor::from_buf(db, [classes])),
        });
        Ok((losses, backward))
    }
}

/// The three products of a head, for logits of either type.
trait Products: Element + Number {
    /// `logits = x Wᵀ + b` of `n` rows.
    fn logits(head: Head, x: &[Self], n: usize, logits: &mut [Self], ctx: &Ctx<'_>) -> Result<()>;
    /// `dw (+)= dᵀ x`.
    fn weight_gradient(head: Head, x: &[Self], n: usize, d: &[Self], dw: &mut [f32], add: bool, ctx: &Ctx<'_>);
    /// `dx = d W`.
    fn input_gradient(head: Head, n: usize, d: &[Self], dx: &mut [f32], ctx: &Ctx<'_>) -> Result<()>;
}

impl Products for f32 {
    fn logits(head: Head, x: &[f32], n: usize, logits: &mut [f32], ctx: &Ctx<'_>) -> Result<()> {
        let epilogue = Epilogue::default().bias(head.bias.map(|id| ctx.param(id).f32s()));
        let w = Mat::t(ctx.param(head.weight).f32s(), head.width);
        let shape = Gemm { m: n, n: head.classes, k: head.width };
        gemm(ctx.isa, shape, Mat::new(x, head.width), w, logits, head.classes, epilogue);
        Ok(())
    }

    fn weight_gradient(head: Head, x: &[f32], n: usize, d: &[f32], dw: &mut [f32], add: bool, ctx: &Ctx<'_>) {
        let epilogue = Epilogue::default().accumulate(add);
        let shape = Gemm { m: head.classes, n: head.width, k: n };
        gemm(ctx.isa, shape, Mat::t(d, head.classes), Mat::new(x, head.width), dw, head.width, epilogue);
    }

    fn input_gradient(head: Head, n: usize, d: &[f32], dx: &mut [f32], ctx: &Ctx<'_>) -> Result<()> {
        let w = Mat::new(ctx.param(head.weight).f32s(), head.width);
        let shape = Gemm { m: n, n: head.width, k: head.classes };
        gemm(ctx.isa, shape, Mat::new(d, head.classes), w, dx, head.width, Epilogue::default());
        Ok(())
    }
}

impl Products for bf16 {
    fn logits(head: Head, x: &[bf16], n: usize, logits: &mut [bf16], ctx: &Ctx<'_>) -> Result<()> {
        let epilogue = Epilogue::default().bias(head.bias.map(|id| ctx.param(id).f32s()));
        let b = ctx.params.panels(head.weight, Orientation::Transposed, ctx.isa, ctx.packing)?;
        let term = Term { a: HalfLeft::Rows(Rows { data: x, ld: head.width }), b: &b };
        gemm_half(ctx.isa, n, &[term], logits, head.classes, epilogue);
        Ok(())
    }

    fn weight_gradient(head: Head, x: &[bf16], n: usize, d: &[bf16], dw: &mut [f32], add: bool, ctx: &Ctx<'_>) {
        let b = Panels::pack(ctx.isa, Mat::new(x, head.width), n, head.width);
        let a = HalfLeft::Transposed(Rows { data: d, ld: head.classes });
        gemm_half(ctx.isa, head.classes, &[Term { a, b: &b }], dw, head.width, Epilogue::default().accumulate(add));
    }

    fn input_gradient(head: Head, n: usize, d: &[bf16], dx: &mut [f32], ctx: &Ctx<'_>) -> Result<()> {
        let b = ctx.params.panels(head.weight, Orientation::Stored, ctx.isa, ctx.packing)?;
        let term = Term { a: HalfLeft::Rows(Rows { data: d, ld: head.classes }), b: &b };
        gemm_half(ctx.isa, n, &[term], dx, head.width, Epilogue::default());
        Ok(())
    }
}

/// The gradients for a loss whose own gradient is 1.
struct HeadBackward {
    x: Option<Var>,
    head: Head,
    dx: Option<Tensor>,
    dw: Option<Tensor>,
    db: Option<Tensor>,
}

impl Backward for HeadBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let factor = grad.item()?;
        let scaled = |mut t: Tensor| {
            if factor != 1.0 {
                scale(env.isa, t.f32s_mut(), factor);
            }
            t
        };
        if let Some(dx) = self.dx {
            grads.add(self.x, scaled(dx), env);
        }
        for (id, d) in [(Some(self.head.weight), self.dw), (self.head.bias, self.db)] {
            if let (Some(id), Some(d)) = (id, d) {
                grads.put_param(id, scaled(d), env);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LossArgs, cross_entropy},
        *,
    };
    use crate::{IGNORE, gradcheck::check};

    #[test]
    fn gradients() {
        let labels = Tensor::from_slice(&[3i32, IGNORE, 0, 4, 4, 1], [2, 3]);
        for args in [
            LossArgs::default(),
            LossArgs { label_smoothing: 0.1, ..Default::default() },
            LossArgs { softcap: Some(2.0), divisor: Some(2.0), ..Default::default() },
        ] {
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
        let env = Env {
            isa: crate::Isa::detect(),
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
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
}
