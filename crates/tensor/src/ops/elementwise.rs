//! Sums and scalings.

use bedstone_kernels::{elementwise as kernel, mem::Buf};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError, Var};

/// `a + b` of the same shape, as f32.
pub fn add(a: &Tensor, b: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct AddBackward(Option<Var>, Option<Var>);
    impl Backward for AddBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            grads.add(self.0, grad.clone(), env);
            grads.add(self.1, grad, env);
            Ok(())
        }
    }
    if a.shape() != b.shape() {
        return Err(TensorError::Shape { op: "add", got: b.shape(), wanted: a.shape().to_string() });
    }
    let mut out = a.to_f32(ctx.isa)?;
    kernel::add(ctx.isa, out.f32s_mut(), b.to_f32(ctx.isa)?.f32s());
    Ok(ctx.record(out, &[a, b], &[], || AddBackward(a.var(), b.var())))
}

/// `factor · x`, as f32.
pub fn scale(x: &Tensor, factor: f32, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ScaleBackward(Option<Var>, f32);
    impl Backward for ScaleBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            kernel::scale(env.isa, grad.f32s_mut(), self.1);
            grads.add(self.0, grad, env);
            Ok(())
        }
    }
    let mut out = x.to_f32(ctx.isa)?;
    kernel::scale(ctx.isa, out.f32s_mut(), factor);
    Ok(ctx.record(out, &[x], &[], || ScaleBackward(x.var(), factor)))
}

/// `x[b] + shared` for each sample of `x: [B, ..]`, as f32; `shared` has the shape of a sample, or of `B = 1`.
pub fn add_to_each(x: &Tensor, shared: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct AddToEachBackward(Option<Var>, Tensor);
    impl Backward for AddToEachBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            if self.1.var().is_some() {
                let mut sum = Buf::zeroed(self.1.shape().numel());
                let width = sum.len();
                kernel::sum_rows(env.isa, &mut sum, grad.f32s(), width);
                grads.add(self.1.var(), Tensor::from_buf(sum, self.1.shape()), env);
            }
            grads.add(self.0, grad, env);
            Ok(())
        }
    }
    let (batch, sample) = (x.shape().first().copied().unwrap_or(1), shared.shape().numel());
    if sample == 0 || batch * sample != x.shape().numel() || shared.shape().width() != x.shape().width() {
        let wanted = format!("a sample of {}", x.shape());
        return Err(TensorError::Shape { op: "add_to_each", got: shared.shape(), wanted });
    }
    let mut out = x.to_f32(ctx.isa)?;
    let each = shared.to_f32(ctx.isa)?;
    out.f32s_mut().chunks_exact_mut(sample).for_each(|to| kernel::add(ctx.isa, to, each.f32s()));
    Ok(ctx.record(out, &[x, shared], &[], || AddToEachBackward(x.var(), shared.clone())))
}

/// `1 / (1 + e^-x)`, as f32, in double precision: for a few numbers.
pub fn sigmoid(x: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct SigmoidBackward(Option<Var>, Tensor);
    impl Backward for SigmoidBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            grad.f32s_mut().iter_mut().zip(self.1.f32s()).for_each(|(d, y)| *d *= y * (1.0 - y));
            grads.add(self.0, grad, env);
            Ok(())
        }
    }
    let mut out = x.to_f32(ctx.isa)?;
    out.f32s_mut().iter_mut().for_each(|x| *x = (1.0 / (1.0 + (-*x as f64).exp())) as f32);
    let y = out.clone();
    Ok(ctx.record(out, &[x], &[], || SigmoidBackward(x.var(), y)))
}

/// `cap · tanh(x / cap)`, as f32, as Gemma 2 limits logits.
pub fn softcap(x: &Tensor, cap: f32, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct SoftcapBackward {
        x: Option<Var>,
        y: Tensor,
        cap: f32,
    }
    impl Backward for SoftcapBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            kernel::softcap_backward(env.isa, grad.f32s_mut(), self.y.f32s(), self.cap);
            grads.add(self.x, grad, env);
            Ok(())
        }
    }
    let mut out = x.to_f32(ctx.isa)?;
    kernel::softcap(ctx.isa, out.f32s_mut(), cap);
    let y = out.clone();
    Ok(ctx.record(out, &[x], &[], || SoftcapBackward { x: x.var(), y, cap }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for n in [1, 17, 40] {
            check("add", &[[2, n].into(), [2, n].into()], |p, ctx| {
                let (a, b) = (ctx.leaf(p[0]), ctx.leaf(p[1]));
                add(&a, &b, ctx)
            });
            check("add to itself", &[[2, n].into()], |p, ctx| {
                let a = ctx.leaf(p[0]);
                let b = add(&a, &a, ctx)?;
                add(&a, &b, ctx)
            });
            check("scale", &[[2, n].into()], |p, ctx| scale(&ctx.leaf(p[0]), -1.5, ctx));
            check("add_to_each", &[[3, 2, n].into(), [1, 2, n].into()], |p, ctx| {
                let (x, shared) = (ctx.leaf(p[0]), ctx.leaf(p[1]));
                add_to_each(&x, &shared, ctx)
            });
            check("sigmoid", &[[2, n].into()], |p, ctx| sigmoid(&ctx.leaf(p[0]), ctx));
            check("softcap", &[[2, n].into()], |p, ctx| softcap(&ctx.leaf(p[0]), 2.0, ctx));
        }
    }
}
