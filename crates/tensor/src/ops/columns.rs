//! Numbers of columns: scales of layers, batch norms with fixed statistics.

use bedstone_kernels::{
    columns::{Affine, AffineGrads, affine, affine_backward},
    gemm::{Activation, activate_backward},
    mem::Buf,
};

use crate::{Backward, Ctx, Dtype, Env, Grads, ParamId, Result, Tensor, TensorError, Var};

/// `y = residual + scale ⊙ x` in f32: `x: [.., C]`, parameter `scale: [C]`, residual in the shape of `x`.
///
/// LayerScale, [Touvron et al. 2021](https://arxiv.org/abs/2103.17239), at the end of a branch.
pub fn layer_scale(x: &Tensor, scale: ParamId, residual: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct LayerScaleBackward {
        x: Tensor,
        scale: ParamId,
        residual: Option<Var>,
    }
    impl Backward for LayerScaleBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let scale = env.params.get(self.scale).value.f32s();
            let (dx, dscale, _) = gradients(&self.x, &grad, scale, None, env)?;
            grads.add_param(self.scale, env, |to| add(to, &dscale));
            grads.add(self.x.var(), dx, env);
            grads.add(self.residual, grad, env);
            Ok(())
        }
    }
    let op = "layer_scale";
    width_of(op, ctx.param(scale), x)?;
    if residual.shape() != x.shape() {
        return Err(TensorError::Shape { op, got: residual.shape(), wanted: x.shape().to_string() });
    }
    let residual_f32 = residual.to_f32(ctx.isa)?;
    let a = Affine { scale: ctx.param(scale).f32s(), shift: None, activation: Activation::None };
    let out = apply(x, a, Some(residual_f32.f32s()), Dtype::F32, ctx)?;
    Ok(ctx.record(out, &[x, residual], &[scale], || LayerScaleBackward {
        x: x.clone(),
        scale,
        residual: residual.var(),
    }))
}

/// A batch norm whose statistics are fixed.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// One number a channel.
    pub weight: ParamId,
    /// One number a channel.
    pub bias: ParamId,
    /// The channels' means.
    pub mean: ParamId,
    /// The channels' variances.
    pub var: ParamId,
    /// Added to the variance.
    pub eps: f32,
}

/// `y = f((x - mean) / sqrt(var + eps) · weight + bias + residual)` for `x: [.., C]`, `f` nothing or a ReLU.
///
/// The result is f32 with a residual, else in the type of what only products read. Batch norm,
/// [Ioffe & Szegedy 2015](https://arxiv.org/abs/1502.03167), as it is used after training, and as detectors are trained.
pub fn batch_norm(
    x: &Tensor,
    norm: BatchNorm,
    relu: bool,
    residual: Option<&Tensor>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let op = "batch_norm";
    let BatchNorm { weight, bias, mean, var, .. } = norm;
    for id in [weight, bias, mean, var] {
        width_of(op, ctx.param(id), x)?;
    }
    if let Some(r) = residual.filter(|r| r.shape() != x.shape()) {
        return Err(TensorError::Shape { op, got: r.shape(), wanted: x.shape().to_string() });
    }
    let scale = norm.scale(ctx);
    let rest = ctx.param(bias).f32s().iter().zip(ctx.param(mean).f32s()).zip(&scale);
    let shift: Vec<f32> = rest.map(|((b, m), s)| b - m * s).collect();
    let activation = if relu { Activation::Relu } else { Activation::None };
    let dtype = if residual.is_some() { Dtype::F32 } else { ctx.precision.operand(ctx.isa) };
    let full = residual.map(|r| r.to_f32(ctx.isa)).transpose()?;
    let a = Affine { scale: &scale, shift: Some(&shift), activation };
    let out = apply(x, a, full.as_ref().map(Tensor::f32s), dtype, ctx)?;
    let kept = relu.then(|| out.clone());
    let inputs = [x, residual.unwrap_or(x)];
    Ok(ctx.record(out, &inputs, &[weight, bias], || BatchNormBackward {
        x: x.clone(),
        norm,
        kept,
        residual: residual.and_then(Tensor::var),
    }))
}

impl BatchNorm {
    /// What `x` is multiplied by.
    fn scale(&self, env: &Env<'_>) -> Vec<f32> {
        let values = |id| env.params.get(id).value.f32s();
        let pairs = values(self.weight).iter().zip(values(self.var));
        pairs.map(|(w, v)| w / (v + self.eps).sqrt()).collect()
    }
}

struct BatchNormBackward {
    x: Tensor,
    norm: BatchNorm,
    /// The result, where there is a ReLU.
    kept: Option<Tensor>,
    residual: Option<Var>,
}

impl Backward for BatchNormBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let mut grad = grad.to_f32(env.isa)?;
        if let Some(kept) = &self.kept {
            // A ReLU's slope can be told from its result.
            activate_backward(env.isa, Activation::Relu, grad.f32s_mut(), kept.to_f32(env.isa)?.f32s());
        }
        let (scale, mean) = (self.norm.scale(env), env.params.get(self.norm.mean).value.f32s());
        let (dx, dscale, dbias) = gradients(&self.x, &grad, &scale, Some(mean), env)?;
        let var = env.params.get(self.norm.var).value.f32s();
        grads.add_param(self.norm.weight, env, |to| {
            to.iter_mut().zip(dscale.iter().zip(var)).for_each(|(to, (d, v))| *to += d / (v + self.norm.eps).sqrt());
        });
        grads.add_param(self.norm.bias, env, |to| add(to, &dbias));
        grads.add(self.x.var(), dx, env);
        grads.add(self.residual, grad, env);
        Ok(())
    }
}

fn width_of(op: &'static str, param: &Tensor, x: &Tensor) -> Result<()> {
    match param.shape()[..] == [x.shape().width()] {
        true => Ok(()),
        false => Err(TensorError::Shape { op, got: x.shape(), wanted: format!("rows of {}", param.shape()) }),
    }
}

fn apply(x: &Tensor, a: Affine<'_>, residual: Option<&[f32]>, dtype: Dtype, env: &Env<'_>) -> Result<Tensor> {
    Ok(with_number!(x.dtype(), T => with_number!(dtype, U => {
        let mut out = Buf::<U>::for_overwrite(x.shape().numel());
        affine(env.isa, a, &mut out, x.data::<T>("columns")?, residual);
        Tensor::from_buf(out, x.shape())
    })))
}

/// Of the input, and of scale and shift.
fn gradients(
    x: &Tensor,
    grad: &Tensor,
    scale: &[f32],
    center: Option<&[f32]>,
    env: &Env<'_>,
) -> Result<(Tensor, Buf<f32>, Buf<f32>)> {
    let (mut dscale, mut dshift) = (Buf::zeroed(scale.len()), Buf::zeroed(scale.len()));
    let dx = with_number!(x.dtype(), T => {
        let mut dx = Buf::<T>::for_overwrite(x.shape().numel());
        let to = AffineGrads { dx: &mut dx, dscale: &mut dscale, dshift: &mut dshift };
        affine_backward(env.isa, to, grad.f32s(), x.data::<T>("columns")?, scale, center);
        Tensor::from_buf(dx, x.shape())
    });
    Ok((dx, dscale, dshift))
}

fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients_of_scales() {
        for width in [1, 7, 40] {
            check("layer_scale", &[[2, 3, width].into(), [width].into(), [2, 3, width].into()], |p, ctx| {
                let (x, r) = (ctx.leaf(p[0]), ctx.leaf(p[2]));
                layer_scale(&x, p[1], &r, ctx)
            });
        }
    }

    /// Statistics take no gradient: they stand aside of what is checked.
    fn with_statistics(width: usize, relu: bool, with_residual: bool) {
        for isa in crate::Isa::available() {
            let mut params = crate::Params::default();
            let mut add = |name: &str, shape: &[usize], f: &dyn Fn(usize) -> f32| {
                let n: usize = shape.iter().product();
                let x: Vec<f32> = (0..n).map(f).collect();
                params.add(name.into(), Tensor::from_slice(&x, shape)).unwrap()
            };
            let x = add("x", &[2, 3, width], &|i| (i as f32 * 0.7).sin() * 2.0);
            let r = add("residual", &[2, 3, width], &|i| (i as f32 * 0.3).cos());
            let norm = BatchNorm {
                weight: add("weight", &[width], &|i| 0.5 + i as f32 * 0.1),
                bias: add("bias", &[width], &|i| i as f32 * 0.1 - 0.2),
                mean: add("mean", &[width], &|i| (i as f32).sin()),
                var: add("var", &[width], &|i| 0.3 + i as f32 * 0.2),
                eps: 1e-5,
            };
            for id in [norm.mean, norm.var] {
                params.get_mut(id).trainable = false;
            }
            params.get_mut(r).trainable = with_residual;
            crate::gradcheck::check_params(&format!("batch_norm on {isa}"), isa, &mut params, 3e-2, |ctx| {
                let (x, r) = (ctx.leaf(x), ctx.leaf(r));
                batch_norm(&x, norm, relu, with_residual.then_some(&r), ctx)
            });
            let env = Env { isa, precision: Default::default(), packing: Default::default(), params: &params };
            let value = |id| params.get(id).value.f32s();
            let mut ctx = Ctx::inference(env);
            let (input, residual) = (params.get(x).value.clone(), params.get(r).value.clone());
            let y = batch_norm(&input, norm, relu, with_residual.then_some(&residual), &mut ctx).unwrap();
            for (i, y) in y.f32s().iter().enumerate() {
                let c = i % width;
                let normal = (value(x)[i] - value(norm.mean)[c]) / (value(norm.var)[c] + 1e-5).sqrt();
                let sum = normal * value(norm.weight)[c] + value(norm.bias)[c];
                let sum = if with_residual { sum + value(r)[i] } else { sum };
                let want = if relu { sum.max(0.0) } else { sum };
                assert!((y - want).abs() < 1e-5, "{isa} {i}: {y} {want}");
            }
        }
    }

    #[test]
    fn gradients_of_batch_norms() {
        for width in [1, 7, 33] {
            for relu in [false, true] {
                for residual in [false, true] {
                    with_statistics(width, relu, residual);
                }
            }
        }
    }
}
