//! Blocks: attention and feed-forward network around a residual stream.

use bedstone_tensor::{Ctx, ParamId, Result as OpResult, Tensor, ops};

use crate::{Attention, AttentionInput, Mlp, Norm};

/// One layer of a stack.
pub trait Block: Clone + Send + Sync + 'static {
    /// Whether it serves sequences of different lengths one after another, see [`Ctx::packed`].
    const PACKS: bool = false;

    /// `x: [B, T, C]` to `[B, T, C]`, or to `[B, count, C]` of the tokens that are wanted.
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor>;

    /// [`Self::forward`], computed again in the backward pass where the context says so.
    fn run(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        if !ctx.recomputes() {
            return self.forward(x, input, ctx);
        }
        let (block, rotation, mask, wanted) =
            (self.clone(), input.rotation.cloned(), input.mask.cloned(), input.wanted);
        let again = move |x: &Tensor, ctx: &mut Ctx<'_>| {
            block.forward(x, AttentionInput { rotation: rotation.as_ref(), mask: mask.as_ref(), wanted }, ctx)
        };
        ops::checkpoint(x, again, ctx)
    }
}

/// `h = x + attn(norm(x)); y = h + mlp(norm(h))`, as GPT-2, Llama and most since.
#[derive(Clone, Debug)]
pub struct PreNormBlock {
    /// Before the attention.
    pub attn_norm: Norm,
    /// The attention.
    pub attn: Attention,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// Dropout of the feed-forward network's output.
    pub dropout: f32,
    /// The probability that a sample goes without a branch in training.
    pub drop_path: f32,
}

impl Block for PreNormBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        if self.drop_path > 0.0 && ctx.is_training() {
            let y = self.attn.forward(&self.attn_norm.operand(x, ctx)?, input, ctx)?;
            let x = ops::add(&kept, &ops::drop_path(&y, self.drop_path, ctx)?, ctx)?;
            let y = self.mlp.forward(&self.mlp_norm.operand(&x, ctx)?, ctx)?;
            let y = ops::dropout(&y, self.dropout, ctx)?;
            return ops::add(&x, &ops::drop_path(&y, self.drop_path, ctx)?, ctx);
        }
        let x = self.attn.forward_residual(&self.attn_norm.operand(x, ctx)?, input, &kept, ctx)?;
        self.mlp.forward_residual(&self.mlp_norm.operand(&x, ctx)?, self.dropout, &x, ctx)
    }
}

/// `h = x + a ⊙ attn(norm(x)); y = h + b ⊙ mlp(norm(h))`, as CaiT, [Touvron et al. 2021](https://arxiv.org/abs/2103.17239),
/// and DINOv2; in training whole branches are dropped.
#[derive(Clone, Debug)]
pub struct ScaledBlock {
    /// Before the attention.
    pub attn_norm: Norm,
    /// The attention.
    pub attn: Attention,
    /// `a: [C]`.
    pub attn_scale: ParamId,
    /// Before the feed-forward network.
    pub mlp_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// `b: [C]`.
    pub mlp_scale: ParamId,
    /// The probability that a sample goes without a branch.
    pub drop_path: f32,
}

impl Block for ScaledBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        let y = self.attn.forward(&self.attn_norm.operand(x, ctx)?, input, ctx)?;
        let y = ops::drop_path(&y, self.drop_path, ctx)?;
        let h = ops::layer_scale(&y, self.attn_scale, &kept, ctx)?;
        let y = self.mlp.forward(&self.mlp_norm.operand(&h, ctx)?, ctx)?;
        let y = ops::drop_path(&y, self.drop_path, ctx)?;
        ops::layer_scale(&y, self.mlp_scale, &h, ctx)
    }
}

/// `h = norm(x + attn(x)); y = norm(h + mlp(h))`, as the first Transformer and BERT.
#[derive(Clone, Debug)]
pub struct PostNormBlock {
    /// The attention.
    pub attn: Attention,
    /// After the attention.
    pub attn_norm: Norm,
    /// The feed-forward network.
    pub mlp: Mlp,
    /// After the feed-forward network.
    pub mlp_norm: Norm,
    /// Dropout of the feed-forward network's output.
    pub dropout: f32,
}

impl Block for PostNormBlock {
    const PACKS: bool = true;

    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        let h = self.attn_norm.forward(&self.attn.forward_residual(x, input, &kept, ctx)?, ctx)?;
        self.mlp_norm.forward(&self.mlp.forward_residual(&h, self.dropout, &h, ctx)?, ctx)
    }
}
