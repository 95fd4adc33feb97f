//! Linear maps.

use bedstone_tensor::{
    Activation, Ctx, Result as OpResult, Tensor,
    ops::{self, Layout, LinearArgs},
};

use crate::{Builder, Init, Result};

/// What a linear map is made of.
#[derive(Clone, Copy, Debug)]
pub struct LinearSpec {
    /// Numbers a row of the input.
    pub n_in: usize,
    /// Numbers a row of the output.
    pub n_out: usize,
    /// Whether there is a bias, which starts at zero.
    pub bias: bool,
    /// The order of the weight's axes in checkpoints.
    pub layout: Layout,
    /// Standard deviation of fresh weights.
    pub std: f32,
}

/// `y = x W + b`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    pub(crate) op: ops::Linear,
}

impl Linear {
    /// Parameters `weight` and, if there is one, `bias`.
    pub fn new(mut b: Builder<'_>, spec: LinearSpec) -> Result<Self> {
        let LinearSpec { n_in, n_out, bias, layout, std } = spec;
        let shape = match layout {
            Layout::OutIn => [n_out, n_in],
            Layout::InOut => [n_in, n_out],
        };
        let weight = b.param("weight", shape, Init::Normal { std })?;
        let bias = bias.then(|| b.param("bias", [n_out], Init::Constant(0.0))).transpose()?;
        Ok(Linear { op: ops::Linear { weight, bias, layout } })
    }

    /// `[.., in]` to `[.., out]`.
    pub fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::linear(x, &[self.op], LinearArgs::default(), ctx)
    }

    /// `[.., in]` to `[.., out]` of f32 whatever the precision: for logits and other last results.
    pub fn forward_full(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::linear(x, &[self.op], LinearArgs { full: true, ..Default::default() }, ctx)
    }

    /// With an activation behind it.
    pub fn forward_activated(&self, x: &Tensor, activation: Activation, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::linear(x, &[self.op], LinearArgs { activation, ..Default::default() }, ctx)
    }

    /// `residual + dropout(x W + b)`: the end of a branch beside a residual stream.
    pub fn forward_residual(&self, x: &Tensor, dropout: f32, residual: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        if dropout == 0.0 || !ctx.is_training() {
            let args = LinearArgs { residual: Some(residual), ..Default::default() };
            return ops::linear(x, &[self.op], args, ctx);
        }
        let y = self.forward(x, ctx)?;
        ops::add(&ops::dropout(&y, dropout, ctx)?, residual, ctx)
    }
}
