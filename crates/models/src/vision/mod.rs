//! What models of pictures share: configuration, patches and positions, a stack of blocks, heads.

mod embeddings;
mod head;

use bedstone_nn::{
    Attention, AttentionInput, AttentionSpec, Block, Builder, Linear, LinearSpec, Mlp, Norm, PreNormBlock, Span,
};
use bedstone_tensor::{Activation, Ctx, Result as OpResult, Tensor, ops::Layout};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use embeddings::{CLASS_TOKEN, Resizing, Tokens, VisionEmbeddings, pictures};
pub(crate) use head::{Summary, VisionHead, pooler};

use crate::{
    Info, Inputs, ModelError, Network, Outputs,
    causal::{HiddenStates, activation},
    checkpoint::ConfigFile,
    model::{ImageInfo, config_error, layers, positive, probabilities},
};

/// Height and width: a number for both, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    Square(usize),
    Sides([usize; 2]),
}

impl Size {
    pub(crate) fn sides(self) -> [usize; 2] {
        match self {
            Size::Square(side) => [side; 2],
            Size::Sides(sides) => sides,
        }
    }
}

/// The fields of `config.json` that vision transformers share, with the defaults of ViT.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct VisionConfig {
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) hidden_act: String,
    pub(crate) hidden_dropout_prob: f32,
    pub(crate) attention_probs_dropout_prob: f32,
    pub(crate) initializer_range: f32,
    pub(crate) layer_norm_eps: f32,
    pub(crate) image_size: Size,
    pub(crate) patch_size: Size,
    pub(crate) num_channels: usize,
    pub(crate) qkv_bias: bool,
    /// Stochastic depth of the last block; `transformers` has it for DINOv2 alone.
    pub(crate) drop_path_rate: f32,
}

impl Default for VisionConfig {
    fn default() -> Self {
        VisionConfig {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            image_size: Size::Square(224),
            patch_size: Size::Square(16),
            num_channels: 3,
            qkv_bias: true,
            drop_path_rate: 0.0,
        }
    }
}

impl VisionConfig {
    /// The configuration in `file`, whose missing fields are those of `defaults`.
    pub(crate) fn of(file: &ConfigFile, defaults: Value) -> Result<Self, ModelError> {
        let mut fields: Map<String, Value> = defaults.as_object().cloned().unwrap_or_default();
        fields.extend(file.fields().clone());
        let config: Self = ConfigFile::new(file.path(), fields).parse()?;
        config.check()?;
        Ok(config)
    }

    /// An error that names the first field without sense.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let ([height, width], [down, across]) = (self.image_size.sides(), self.patch_size.sides());
        positive(&[
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("num_channels", self.num_channels),
            ("image_size", height),
            ("image_size", width),
            ("patch_size", down),
            ("patch_size", across),
        ])?;
        layers("num_hidden_layers", self.num_hidden_layers)?;
        probabilities(&[
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("drop_path_rate", self.drop_path_rate),
        ])?;
        if self.layer_norm_eps.is_nan() || self.layer_norm_eps <= 0.0 {
            return Err(config_error("layer_norm_eps", self.layer_norm_eps, "above 0").into());
        }
        if height < down || width < across {
            let wanted = format!("at least patch_size ({down} by {across})");
            return Err(config_error("image_size", format!("{height} by {width}"), wanted).into());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let wanted = format!("a multiple of num_attention_heads ({})", self.num_attention_heads);
            return Err(config_error("hidden_size", self.hidden_size, wanted).into());
        }
        Ok(())
    }

    /// Patches of a picture of the size that the model was made for, down and across.
    pub(crate) fn grid(&self) -> [usize; 2] {
        let ([height, width], [down, across]) = (self.image_size.sides(), self.patch_size.sides());
        [height / down, width / across]
    }

    /// A linear map with a bias.
    pub(crate) fn linear(&self, b: Builder<'_>, n_in: usize, n_out: usize) -> Result<Linear, ModelError> {
        let std = self.initializer_range;
        Ok(Linear::new(b, LinearSpec { n_in, n_out, bias: true, layout: Layout::OutIn, std })?)
    }

    /// A layer norm.
    pub(crate) fn norm(&self, b: Builder<'_>) -> Result<Norm, ModelError> {
        Ok(Norm::layer(b, self.hidden_size, self.layer_norm_eps)?)
    }

    /// The activation of blocks.
    pub(crate) fn activation(&self) -> Result<Activation, ModelError> {
        activation("hidden_act", &self.hidden_act)
    }

    /// The attention of a block.
    pub(crate) fn attention(&self, mut b: Builder<'_>, layer: usize) -> Result<Attention, ModelError> {
        let c = self.hidden_size;
        let spec = AttentionSpec {
            dropout: self.attention_probs_dropout_prob,
            out_dropout: self.hidden_dropout_prob,
            ..AttentionSpec::bidirectional(layer, c, self.num_attention_heads)
        };
        let (bias, std) = (self.qkv_bias, self.initializer_range);
        let map = LinearSpec { n_in: c, n_out: c, bias, layout: Layout::OutIn, std };
        let names = ["attention.query", "attention.key", "attention.value"];
        let projections = names.map(|name| Linear::new(b.at(name), map)).into_iter().collect::<Result<_, _>>()?;
        Ok(Attention::new(spec, projections, self.linear(b.at("output.dense"), c, c)?, None)?)
    }

    /// A block of ViT.
    pub(crate) fn block(&self, mut b: Builder<'_>, layer: usize) -> Result<PreNormBlock, ModelError> {
        let (c, inner) = (self.hidden_size, self.intermediate_size);
        Ok(PreNormBlock {
            attn_norm: self.norm(b.at("layernorm_before"))?,
            attn: self.attention(b.at("attention"), layer)?,
            mlp_norm: self.norm(b.at("layernorm_after"))?,
            mlp: Mlp::Plain {
                up: self.linear(b.at("intermediate.dense"), c, inner)?,
                down: self.linear(b.at("output.dense"), inner, c)?,
                activation: self.activation()?,
            },
            dropout: self.hidden_dropout_prob,
            // The deeper, the more often.
            drop_path: self.drop_path_rate * layer as f32 / (self.num_hidden_layers.max(2) - 1) as f32,
        })
    }

    /// All blocks of ViT, below `names` and their numbers.
    pub(crate) fn blocks(&self, b: &mut Builder<'_>, names: &str) -> Result<Vec<PreNormBlock>, ModelError> {
        (0..self.num_hidden_layers).map(|i| self.block(b.at(names).at(i), i)).collect()
    }

    /// Facts for those outside, of a network with `tokens` beside the patches.
    pub(crate) fn info(&self, tokens: usize, resizes: bool) -> Info {
        let (c, [down, across]) = (self.hidden_size, self.grid());
        Info {
            vocab_size: 0,
            max_length: Some(down * across + tokens),
            positions_end: false,
            layers: self.num_hidden_layers,
            width: c,
            attention_width: c,
            // Two norms' outputs, the residual stream twice, the projection, the attention's output, the inner states
            // before and after their activation.
            kept_per_layer: 8 * c + 2 * self.intermediate_size,
            read: None,
            masked: None,
            image: Some(ImageInfo {
                channels: self.num_channels,
                size: self.image_size.sides(),
                patch: self.patch_size.sides(),
                resizes,
            }),
        }
    }
}

/// Blocks one after another, and a norm behind them.
pub(crate) struct Stack<B> {
    pub(crate) blocks: Vec<B>,
    pub(crate) norm: Norm,
}

impl<B: Block> Stack<B> {
    /// `x: [B, T, C]` to the last states, normalised, as f32, of the tokens that are wanted; those between layers and probabilities
    /// go to `out` where they are asked for.
    pub(crate) fn run(
        &self,
        x: Tensor,
        wanted: Option<Span>,
        inputs: &Inputs,
        out: &mut Outputs,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        self.run_with(x, wanted, inputs, out, ctx, |_, x, _| Ok(x))
    }

    /// The same with `behind(i, x)` after block `i`.
    pub(crate) fn run_with<'p>(
        &self,
        mut x: Tensor,
        wanted: Option<Span>,
        inputs: &Inputs,
        out: &mut Outputs,
        ctx: &mut Ctx<'p>,
        behind: impl Fn(usize, Tensor, &mut Ctx<'p>) -> OpResult<Tensor>,
    ) -> OpResult<Tensor> {
        if inputs.attentions {
            ctx.attentions = Some(Vec::new());
        }
        let mut states = HiddenStates::new(inputs);
        states.push(&x);
        let (wanted, last) = (wanted.filter(|_| !inputs.wants_all_tokens()), self.blocks.len());
        for (i, block) in self.blocks.iter().enumerate() {
            let within = wanted.filter(|_| i + 1 == last);
            x = block.run(&x, AttentionInput { wanted: within, ..AttentionInput::default() }, ctx)?;
            states.push(&x);
            x = behind(i, x, ctx)?;
        }
        states.put(out);
        for (i, shown) in ctx.attentions.take().into_iter().flatten().enumerate() {
            out.put(format!("attentions.{i}"), shown);
        }
        self.norm.forward(&x, ctx)
    }
}

/// A vision transformer: patches with positions, blocks, a head.
pub(crate) struct VisionTransformer<B> {
    pub(crate) embeddings: VisionEmbeddings,
    pub(crate) stack: Stack<B>,
    pub(crate) head: VisionHead,
    pub(crate) info: Info,
}

impl<B: Block> Network for VisionTransformer<B> {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let mut out = Outputs::default();
        let (x, _) = self.embeddings.forward(inputs, ctx)?;
        let x = self.stack.run(x, self.head.wanted(), inputs, &mut out, ctx)?;
        self.head.forward(&x, inputs, &mut out, ctx)?;
        Ok(out)
    }

    fn info(&self) -> Info {
        Info { read: self.head.wanted().map(|span| span.count), ..self.info }
    }
}
