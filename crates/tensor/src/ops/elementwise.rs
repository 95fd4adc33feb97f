//! Sums and scalings.

use bedstone_kernels::elementwise as kernel;

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
            check("softcap", &[[2, n].into()], |p, ctx| softcap(&ctx.leaf(p[0]), 2.0, ctx));
        }
    }
}
