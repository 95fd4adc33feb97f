//! Feed-forward networks.

use bedstone_tensor::{
    Activation, Ctx, Result as OpResult, Tensor,
    ops::{self, LinearArgs},
};

use crate::Linear;

/// The feed-forward part of a block.
#[derive(Clone, Copy, Debug)]
pub enum Mlp {
    /// `down(f(up(x)))`, [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762).
    Plain {
        /// To the inner width.
        up: Linear,
        /// Back.
        down: Linear,
        /// Between them.
        activation: Activation,
    },
    /// `down(f(gate(x)) · up(x))`, [Shazeer 2020](https://arxiv.org/abs/2002.05202).
    Gated {
        /// To the inner width, through the activation.
        gate: Linear,
        /// To the inner width.
        up: Linear,
        /// Back.
        down: Linear,
        /// Of the gate.
        activation: Activation,
    },
    /// The same with gate and value as halves of one map.
    Fused {
        /// To twice the inner width.
        both: Linear,
        /// Back.
        down: Linear,
        /// Of the gate.
        activation: Activation,
    },
}

impl Mlp {
    /// `[.., C]` to `[.., C]`.
    pub fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let (inner, down) = self.inner(x, ctx)?;
        down.forward(&inner, ctx)
    }

    /// `residual + dropout(mlp(x))`.
    pub fn forward_residual(&self, x: &Tensor, dropout: f32, residual: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let (inner, down) = self.inner(x, ctx)?;
        down.forward_residual(&inner, dropout, residual, ctx)
    }

    fn inner(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<(Tensor, &Linear)> {
        match self {
            Mlp::Plain { up, down, activation } => Ok((up.forward_activated(x, *activation, ctx)?, down)),
            Mlp::Gated { gate, up, down, activation } => {
                let both = ops::linear(x, &[gate.op, up.op], LinearArgs::default(), ctx)?;
                Ok((ops::gated(&both, *activation, ctx)?, down))
            }
            Mlp::Fused { both, down, activation } => {
                let both = both.forward(x, ctx)?;
                Ok((ops::gated(&both, *activation, ctx)?, down))
            }
        }
    }
}
