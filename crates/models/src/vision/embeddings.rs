//! From pictures to tokens: patches, tokens of other kinds, positions.

use bedstone_nn::{Builder, Conv2d, ConvSpec, Init};
use bedstone_tensor::{
    Ctx, Order, ParamId, Result as OpResult, Tensor, TensorError, Window,
    ops::{self, Grid},
};

use super::VisionConfig;
use crate::{Inputs, ModelError};

/// Which pictures a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resizing {
    /// Those of its size; others where [`Inputs::interpolate_pos_encoding`] says so.
    Asked,
    /// Of any size.
    Always,
}

/// Patches and positions of a vision transformer.
#[derive(Clone, Debug)]
pub(crate) struct VisionEmbeddings {
    patches: Conv2d,
    /// Tokens before the patches, each `[1, 1, C]`.
    before: Vec<ParamId>,
    /// Tokens after them, `[1, n, C]`.
    after: Option<ParamId>,
    /// `[1, tokens, C]`.
    positions: ParamId,
    grid: Grid,
    image: [usize; 2],
    channels: usize,
    resizing: Resizing,
    dropout: f32,
}

/// What there is beside patches, by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'a> {
    /// Before the patches.
    pub(crate) before: &'a [&'a str],
    /// After the patches, and how many.
    pub(crate) after: Option<(&'a str, usize)>,
    /// Whether positions are fixed sines.
    pub(crate) fixed_positions: bool,
}

/// The class token alone.
pub(crate) const CLASS_TOKEN: Tokens<'static> = Tokens { before: &["cls_token"], after: None, fixed_positions: false };

impl VisionEmbeddings {
    /// Parameters `patch_embeddings.projection`, `position_embeddings` and those that `tokens` names.
    pub(crate) fn new(
        mut b: Builder<'_>,
        config: &VisionConfig,
        tokens: Tokens<'_>,
        resizing: Resizing,
    ) -> Result<Self, ModelError> {
        let (c, std) = (config.hidden_size, config.initializer_range);
        let normal = Init::Normal { std };
        let before =
            tokens.before.iter().map(|name| b.param(name, [1, 1, c], normal)).collect::<Result<Vec<_>, _>>()?;
        let after = tokens.after.map(|(name, n)| b.param(name, [1, n, c], normal)).transpose()?;
        let window = Window::patches(config.patch_size.sides());
        let spec = ConvSpec { n_in: config.num_channels, n_out: c, window, bias: true, std, trainable: true };
        let patches = Conv2d::new(b.at("patch_embeddings.projection"), spec)?;
        let size = config.grid();
        let grid = Grid { before: before.len(), size, after: tokens.after.map_or(0, |(_, n)| n) };
        let positions = match tokens.fixed_positions {
            true => {
                let sines = Init::SineGrid { before: grid.before, across: size[1] };
                b.fixed("position_embeddings", [1, grid.len(), c], sines)?
            }
            false => b.param("position_embeddings", [1, grid.len(), c], normal)?,
        };
        Ok(VisionEmbeddings {
            patches,
            before,
            after,
            positions,
            grid,
            image: config.image_size.sides(),
            channels: config.num_channels,
            resizing,
            dropout: config.hidden_dropout_prob,
        })
    }

    /// `pixel_values: [B, C, H, W]` to tokens with their positions, `[B, T, C]` of f32, and the patches down and across.
    pub(crate) fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<(Tensor, [usize; 2])> {
        let (x, size) = self.patches(inputs, ctx)?;
        let [batch, _, _] = x.dims("patches")?;
        let mut parts: Vec<Tensor> = self.before.iter().map(|&id| ctx.leaf(id)).collect();
        parts.push(x);
        parts.extend(self.after.map(|id| ctx.leaf(id)));
        let x = ops::concat_tokens(&parts.iter().collect::<Vec<_>>(), batch, ctx)?;
        let positions = self.resized(self.positions, size, ctx)?;
        let x = ops::add_to_each(&x, &positions, ctx)?;
        Ok((ops::dropout(&x, self.dropout, ctx)?, size))
    }

    /// The patches of `pixel_values`, `[B, N, C]` of f32, and how many there are down and across.
    pub(crate) fn patches(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<(Tensor, [usize; 2])> {
        let asked = self.resizing == Resizing::Always || inputs.interpolate_pos_encoding;
        let x = pictures(inputs, self.channels, (!asked).then_some(self.image))?;
        let y = self.patches.forward_full(x, Order::ChannelsFirst, ctx)?;
        let [batch, down, across, c] = y.dims("patches")?;
        Ok((y.reshape([batch, down * across, c])?, [down, across]))
    }

    /// A parameter's positions `[.., tokens, C]` for `size` patches: `[.., T, C]`.
    pub(crate) fn resized(&self, positions: ParamId, size: [usize; 2], ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let positions = ctx.leaf(positions);
        if size == self.grid.size {
            return Ok(positions);
        }
        ops::resize_grid(&positions, self.grid, size, ctx)
    }

    /// The positions of all tokens.
    pub(crate) fn positions(&self) -> ParamId {
        self.positions
    }

    /// Tokens of a picture of the size that the model was made for.
    pub(crate) fn tokens(&self) -> usize {
        self.grid.len()
    }

    /// The class token.
    pub(crate) fn class_token(&self) -> Option<ParamId> {
        self.before.first().copied()
    }
}

/// `pixel_values: [B, C, H, W]`, of one size if it is given.
pub(crate) fn pictures(inputs: &Inputs, channels: usize, size: Option<[usize; 2]>) -> OpResult<&Tensor> {
    let x = inputs.need("pixel_values")?;
    let [_, c, h, w] = x.dims("pixel_values")?;
    let wanted = match size {
        Some([height, width]) if c != channels || [h, w] != [height, width] => {
            format!("[.., {channels}, {height}, {width}]\nhint: with interpolate_pos_encoding positions are resized")
        }
        None if c != channels => format!("[.., {channels}, height, width]"),
        _ => return Ok(x),
    };
    Err(TensorError::Shape { op: "pixel_values", got: x.shape(), wanted })
}
