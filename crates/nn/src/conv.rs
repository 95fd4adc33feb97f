//! Convolutions over pictures, and the norms between them.

use bedstone_tensor::{
    Ctx, Order, Result as OpResult, Shape, Tensor, Window,
    ops::{self, Layout, LinearArgs},
};

use crate::{Builder, Init, Result};

/// What a convolution is made of.
#[derive(Clone, Copy, Debug)]
pub struct ConvSpec {
    /// Channels of the input.
    pub n_in: usize,
    /// Channels of the output.
    pub n_out: usize,
    /// How it goes over the picture.
    pub window: Window,
    /// Whether there is a bias, which starts at zero.
    pub bias: bool,
    /// Standard deviation of fresh weights.
    pub std: f32,
    /// Whether training changes it.
    pub trainable: bool,
}

/// A convolution over pictures.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    op: ops::Linear,
    window: Window,
}

impl Conv2d {
    /// Parameters `weight: [out, in, kh, kw]` and, if there is one, `bias`.
    pub fn new(mut b: Builder<'_>, spec: ConvSpec) -> Result<Self> {
        let ConvSpec { n_in, n_out, window, bias, std, trainable } = spec;
        let [kh, kw] = window.kernel;
        let mut make = |name, shape: Shape, init| match trainable {
            true => b.param(name, shape, init),
            false => b.fixed(name, shape, init),
        };
        let weight = make("weight", [n_out, n_in, kh, kw].into(), Init::Normal { std })?;
        let bias = bias.then(|| make("bias", [n_out].into(), Init::Constant(0.0))).transpose()?;
        Ok(Conv2d { op: ops::Linear { weight, bias, layout: Layout::OutIn }, window })
    }

    /// `[B, C, H, W]` or `[B, H, W, C]` to `[B, down, across, out]`.
    pub fn forward(&self, x: &Tensor, order: Order, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::conv2d(x, order, self.op, self.window, LinearArgs::default(), ctx)
    }

    /// The same with f32 as result whatever the precision: for the start of a residual stream.
    pub fn forward_full(&self, x: &Tensor, order: Order, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::conv2d(x, order, self.op, self.window, LinearArgs { full: true, ..Default::default() }, ctx)
    }
}

/// A batch norm over the channels of `[.., C]` whose statistics stay as they were learned.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    op: ops::BatchNorm,
}

impl BatchNorm {
    /// Parameters `weight`, `bias`, `running_mean` and `running_var`; training changes the first two, or none.
    pub fn new(mut b: Builder<'_>, channels: usize, eps: f32, trainable: bool) -> Result<Self> {
        let mut make = |name, start, trainable| match trainable {
            true => b.param(name, [channels], Init::Constant(start)),
            false => b.fixed(name, [channels], Init::Constant(start)),
        };
        let (weight, bias) = (make("weight", 1.0, trainable)?, make("bias", 0.0, trainable)?);
        let (mean, var) = (make("running_mean", 0.0, false)?, make("running_var", 1.0, false)?);
        Ok(BatchNorm { op: ops::BatchNorm { weight, bias, mean, var, eps } })
    }

    /// The norm of `x`, through a ReLU if `relu`.
    pub fn forward(&self, x: &Tensor, relu: bool, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::batch_norm(x, self.op, relu, None, ctx)
    }

    /// `relu(norm(x) + residual)`, as f32.
    pub fn forward_residual(&self, x: &Tensor, residual: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::batch_norm(x, self.op, true, Some(residual), ctx)
    }
}
