//! Activations and gates.

use bedstone_kernels::{
    elementwise,
    gemm::{Activation, activate, activate_backward},
    mem::Buf,
};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// `y = f(x)`, element by element, in the type of `x`.
pub fn activation(x: &Tensor, f: Activation, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ActivationBackward {
        x: Tensor,
        f: Activation,
    }
    impl Backward for ActivationBackward {
        fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            with_number!(self.x.dtype(), T => {
                activate_backward(env.isa, self.f, grad.data_mut::<T>(), self.x.data("activation")?)
            });
            grads.add(self.x.var(), grad, env);
            Ok(())
        }
    }
    let out = with_number!(x.dtype(), T => {
        let mut out = Buf::<T>::for_overwrite(x.shape().numel());
        activate(ctx.isa, f, &mut out, x.data("activation")?);
        Tensor::from_buf(out, x.shape())
    });
    Ok(ctx.record(out, &[x], &[], || ActivationBackward { x: x.clone(), f }))
}

/// `y = f(gate) · up` for `x = [gate, up]` in each row: `[.., 2 n]` to `[.., n]`, in the type of `x`.
///
/// With SiLU it is SwiGLU, [Shazeer 2020](https://arxiv.org/abs/2002.05202).
pub fn gated(x: &Tensor, f: Activation, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct GatedBackward {
        x: Tensor,
        f: Activation,
    }
    impl Backward for GatedBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let GatedBackward { x, f } = *self;
            if x.var().is_none() {
                return Ok(());
            }
            let dx = with_number!(x.dtype(), T => {
                let mut dx = Buf::<T>::for_overwrite(x.shape().numel());
                let (grad, width) = (grad.data("gated")?, grad.shape().width());
                elementwise::gated_backward(env.isa, f, &mut dx, grad, x.data("gated")?, width);
                Tensor::from_buf(dx, x.shape())
            });
            grads.add(x.var(), dx, env);
            Ok(())
        }
    }
    let width = x.shape().width();
    if !width.is_multiple_of(2) {
        return Err(TensorError::Shape { op: "gated", got: x.shape(), wanted: "rows of gate and value".into() });
    }
    let shape = x.shape().with_width(width / 2);
    let out = with_number!(x.dtype(), T => {
        let mut out = Buf::<T>::for_overwrite(shape.numel());
        elementwise::gated(ctx.isa, f, &mut out, x.data("gated")?, width / 2);
        Tensor::from_buf(out, shape)
    });
    Ok(ctx.record(out, &[x], &[], || GatedBackward { x: x.clone(), f }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for f in [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Tanh] {
            for n in [1, 7, 40] {
                check(&format!("{f:?}"), &[[3, n].into()], |p, ctx| activation(&ctx.leaf(p[0]), f, ctx));
                check(&format!("gated {f:?}"), &[[3, 2 * n].into()], |p, ctx| gated(&ctx.leaf(p[0]), f, ctx));
            }
        }
    }
}
