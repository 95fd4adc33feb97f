//! Layers of encoder and decoder: norms behind branches, positions added before each attention.

use bedstone_nn::{AttentionSpec, Builder, Mlp, Norm, Positioned, PositionedAttention};
use bedstone_tensor::{Ctx, Result as OpResult, Tensor, ops};

use super::Config;
use crate::ModelError;

/// Attention among the places of a picture, and a feed-forward network.
#[derive(Clone, Debug)]
pub(super) struct EncoderLayer {
    attn: PositionedAttention,
    attn_norm: Norm,
    mlp: Mlp,
    mlp_norm: Norm,
    dropout: f32,
}

/// Attention among queries, from queries to places, and a feed-forward network.
#[derive(Clone, Debug)]
pub(super) struct DecoderLayer {
    attn: PositionedAttention,
    attn_norm: Norm,
    across: PositionedAttention,
    across_norm: Norm,
    mlp: Mlp,
    mlp_norm: Norm,
    dropout: f32,
}

impl Config {
    fn attention(&self, mut b: Builder<'_>, layer: usize, heads: usize) -> Result<PositionedAttention, ModelError> {
        let c = self.d_model;
        let spec = AttentionSpec {
            dropout: self.attention_dropout,
            out_dropout: self.dropout,
            ..AttentionSpec::bidirectional(layer, c, heads)
        };
        let [q, k, v, out] = ["q_proj", "k_proj", "v_proj", "out_proj"].map(|name| self.linear(b.at(name), c, c));
        Ok(PositionedAttention::new(spec, [q?, k?, v?], out?)?)
    }

    fn mlp(&self, b: &mut Builder<'_>, inner: usize) -> Result<Mlp, ModelError> {
        Ok(Mlp::Plain {
            up: self.linear(b.at("fc1"), self.d_model, inner)?,
            down: self.linear(b.at("fc2"), inner, self.d_model)?,
            activation: self.activation()?,
        })
    }
}

impl EncoderLayer {
    pub(super) fn new(config: &Config, mut b: Builder<'_>, layer: usize) -> Result<Self, ModelError> {
        Ok(EncoderLayer {
            attn: config.attention(b.at("self_attn"), layer, config.encoder_attention_heads)?,
            attn_norm: config.norm(b.at("self_attn_layer_norm"))?,
            mlp: config.mlp(&mut b, config.encoder_ffn_dim)?,
            mlp_norm: config.norm(b.at("final_layer_norm"))?,
            dropout: config.dropout,
        })
    }

    /// `x` and `positions: [B, T, C]` to `[B, T, C]`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        positions: &Tensor,
        mask: Option<&Tensor>,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let placed = ops::add(x, positions, ctx)?;
        let h = self.attn.forward_residual(Positioned { x, placed: &placed }, mask, ctx)?;
        let h = self.attn_norm.forward(&h, ctx)?;
        self.mlp_norm.forward(&self.mlp.forward_residual(&h, self.dropout, &h, ctx)?, ctx)
    }
}

impl DecoderLayer {
    pub(super) fn new(config: &Config, mut b: Builder<'_>, layer: usize) -> Result<Self, ModelError> {
        let heads = config.decoder_attention_heads;
        Ok(DecoderLayer {
            attn: config.attention(b.at("self_attn"), layer, heads)?,
            attn_norm: config.norm(b.at("self_attn_layer_norm"))?,
            across: config.attention(b.at("encoder_attn"), layer, heads)?,
            across_norm: config.norm(b.at("encoder_attn_layer_norm"))?,
            mlp: config.mlp(&mut b, config.decoder_ffn_dim)?,
            mlp_norm: config.norm(b.at("final_layer_norm"))?,
            dropout: config.dropout,
        })
    }

    /// `y: [B, Q, C]` with positions `queries: [Q, C]` to `[B, Q, C]`; `mask` hides places of `memory`.
    pub(super) fn forward(
        &self,
        y: &Tensor,
        queries: &Tensor,
        memory: Positioned<'_>,
        mask: Option<&Tensor>,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let placed = ops::add_to_each(y, queries, ctx)?;
        let h = self.attn.forward_residual(Positioned { x: y, placed: &placed }, None, ctx)?;
        let h = self.attn_norm.forward(&h, ctx)?;
        let placed = ops::add_to_each(&h, queries, ctx)?;
        let h = self.across.forward_across(Positioned { x: &h, placed: &placed }, memory, mask, ctx)?;
        let h = self.across_norm.forward(&h, ctx)?;
        self.mlp_norm.forward(&self.mlp.forward_residual(&h, self.dropout, &h, ctx)?, ctx)
    }
}
