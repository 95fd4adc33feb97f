//! Normalisations.

use bedstone_tensor::{Ctx, Norm as Kind, Result as OpResult, Tensor, ops};

use crate::{Builder, Init, Result};

/// A normalisation of rows, with its weights.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub(crate) args: ops::NormArgs,
}

impl Norm {
    /// Layer norm: parameters `weight` and `bias`.
    pub fn layer(mut b: Builder<'_>, width: usize, eps: f32) -> Result<Self> {
        let weight = Some(b.param("weight", [width], Init::Constant(1.0))?);
        let bias = Some(b.param("bias", [width], Init::Constant(0.0))?);
        Ok(Norm { args: ops::NormArgs { kind: Kind::Layer { eps }, weight, bias } })
    }

    /// Root-mean-square norm: parameter `weight`, to which `offset` is added (1 in Gemma, else 0).
    pub fn rms(mut b: Builder<'_>, width: usize, eps: f32, offset: f32) -> Result<Self> {
        let weight = Some(b.param("weight", [width], Init::Constant(1.0 - offset))?);
        Ok(Norm { args: ops::NormArgs { kind: Kind::Rms { eps, offset }, weight, bias: None } })
    }

    /// Normalises each row; the result is f32.
    pub fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::norm(x, self.args, ctx)
    }

    /// The same for a result that only products read.
    pub fn operand(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        ops::norm_operand(x, self.args, ctx)
    }
}
