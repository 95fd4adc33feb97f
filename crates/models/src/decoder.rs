//! What Llama and its relatives share: a stack of blocks between an embedding and a head, with rotary positions.

use bedstone_nn::{
    Attention, AttentionInput, AttentionSpec, Block, Builder, Embedding, Linear, LinearSpec, Mlp, Norm, PreNormBlock,
    Rope, Rotation,
};
use bedstone_tensor::{
    Activation, Ctx, ParamId, Result as OpResult,
    ops::{self, Layout},
};
use serde::Deserialize;

use crate::{
    Info, Inputs, ModelError, Network, Outputs,
    causal::{HiddenStates, finish, mask, positions},
    checkpoint::{ConfigError, ConfigFile},
    head::LmHead,
    model::{config_error, layers, positive, probabilities},
};

/// The fields of `config.json` that all of them have.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DecoderConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_key_value_heads: Option<usize>,
    pub(crate) head_dim: Option<usize>,
    #[serde(default = "two_thousand")]
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "small")]
    pub(crate) initializer_range: f32,
    #[serde(default = "tiny")]
    pub(crate) rms_norm_eps: f32,
    #[serde(default)]
    pub(crate) attention_dropout: f32,
}

/// The activation where a configuration names none.
pub(crate) fn silu() -> String {
    "silu".into()
}

fn two_thousand() -> usize {
    2048
}

fn small() -> f32 {
    0.02
}

fn tiny() -> f32 {
    1e-6
}

impl DecoderConfig {
    /// The width of a head, given or following from the others.
    pub(crate) fn head_dim(&self) -> Result<usize, ModelError> {
        match self.head_dim {
            Some(d) => Ok(d),
            None if self.num_attention_heads > 0 && self.hidden_size.is_multiple_of(self.num_attention_heads) => {
                Ok(self.hidden_size / self.num_attention_heads)
            }
            None => {
                let wanted = format!("a multiple of num_attention_heads ({})", self.num_attention_heads);
                Err(config_error("hidden_size", self.hidden_size, wanted).into())
            }
        }
    }

    /// An attention over all earlier tokens, scaled by the root of its width.
    pub(crate) fn attention(&self, layer: usize, kv_heads: usize) -> Result<AttentionSpec, ModelError> {
        let head_dim = self.head_dim()?;
        Ok(AttentionSpec {
            layer,
            heads: self.num_attention_heads,
            kv_heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            causal: true,
            window: None,
            softcap: None,
            dropout: self.attention_dropout,
            out_dropout: 0.0,
        })
    }

    /// A linear map under the name it has in all of them.
    pub(crate) fn linear(&self, b: Builder<'_>, n_in: usize, n_out: usize, bias: bool) -> Result<Linear, ModelError> {
        Ok(Linear::new(b, LinearSpec { n_in, n_out, bias, layout: Layout::OutIn, std: self.initializer_range })?)
    }

    /// The attention `self_attn`; `norms` are those of queries and keys.
    pub(crate) fn self_attn(
        &self,
        mut b: Builder<'_>,
        spec: AttentionSpec,
        bias: AttentionBias,
        norms: Option<[Norm; 2]>,
    ) -> Result<Attention, ModelError> {
        let c = self.hidden_size;
        let projections = vec![
            self.linear(b.at("q_proj"), c, spec.q_width(), bias.qkv)?,
            self.linear(b.at("k_proj"), c, spec.kv_width(), bias.qkv)?,
            self.linear(b.at("v_proj"), c, spec.kv_width(), bias.qkv)?,
        ];
        let out = self.linear(b.at("o_proj"), spec.q_width(), c, bias.out)?;
        Ok(Attention::new(spec, projections, out, norms)?)
    }

    /// The gated network `mlp`.
    pub(crate) fn mlp(&self, mut b: Builder<'_>, activation: Activation, bias: bool) -> Result<Mlp, ModelError> {
        let (c, inner) = (self.hidden_size, self.intermediate_size);
        Ok(Mlp::Gated {
            gate: self.linear(b.at("gate_proj"), c, inner, bias)?,
            up: self.linear(b.at("up_proj"), c, inner, bias)?,
            down: self.linear(b.at("down_proj"), inner, c, bias)?,
            activation,
        })
    }

    /// A block with a norm before each branch, under the names that Llama and its nearest relatives share.
    pub(crate) fn pre_norm_block(
        &self,
        mut b: Builder<'_>,
        attn: Attention,
        activation: Activation,
        mlp_bias: bool,
    ) -> Result<PreNormBlock, ModelError> {
        Ok(PreNormBlock {
            attn_norm: self.norm(b.at("input_layernorm"), 0.0)?,
            attn,
            mlp_norm: self.norm(b.at("post_attention_layernorm"), 0.0)?,
            mlp: self.mlp(b.at("mlp"), activation, mlp_bias)?,
            dropout: 0.0,
            drop_path: 0.0,
        })
    }

    /// A root-mean-square norm of hidden states.
    pub(crate) fn norm(&self, b: Builder<'_>, offset: f32) -> Result<Norm, ModelError> {
        Ok(Norm::rms(b, self.hidden_size, self.rms_norm_eps, offset)?)
    }
}

/// Which maps of an attention have a bias.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttentionBias {
    pub(crate) qkv: bool,
    pub(crate) out: bool,
}

/// The layer types of a configuration: its list `layer_types`, or by `sliding(layer)` where it has none.
pub(crate) fn layer_types(
    config: &ConfigFile,
    layers: usize,
    sliding: impl Fn(usize) -> bool,
) -> Result<Vec<LayerType>, ModelError> {
    let Some(value) = config.get("layer_types") else {
        return Ok((0..layers).map(|i| if sliding(i) { LayerType::Sliding } else { LayerType::Full }).collect());
    };
    let wrong = || config.wrong("layer_types", format!("{layers} of full_attention and sliding_attention"));
    let list = value.as_array().filter(|l| l.len() == layers).ok_or_else(wrong)?;
    let types: Option<Vec<LayerType>> = list.iter().map(|v| LayerType::from_name(v.as_str()?)).collect();
    Ok(types.ok_or_else(wrong)?)
}

/// How far a layer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerType {
    /// At all earlier tokens.
    Full,
    /// At the last `sliding_window` tokens.
    Sliding,
}

impl LayerType {
    fn from_name(name: &str) -> Option<Self> {
        [LayerType::Full, LayerType::Sliding].into_iter().find(|t| t.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            LayerType::Full => "full_attention",
            LayerType::Sliding => "sliding_attention",
        }
    }
}

/// Embedding, blocks, norm and head.
pub(crate) struct Decoder<B> {
    pub(crate) config: DecoderConfig,
    embed: Embedding,
    /// Embeddings are multiplied by this.
    embed_scale: Option<f32>,
    /// Each with the index of its rotary embedding.
    blocks: Vec<(B, usize)>,
    ropes: Vec<Rope>,
    norm: Norm,
    head: LmHead,
}

/// What differs between the relatives outside of their blocks.
pub(crate) struct DecoderSpec {
    /// Whether the head shares the embedding's table.
    pub(crate) tied: bool,
    /// Embeddings are multiplied by this.
    pub(crate) embed_scale: Option<f32>,
    /// Added to the weights of the last norm.
    pub(crate) norm_offset: f32,
    /// Logits are limited to `±cap`.
    pub(crate) softcap: Option<f32>,
    /// The type of each layer.
    pub(crate) layers: Vec<LayerType>,
}

impl<B: Block> Decoder<B> {
    /// Parameters `model.embed_tokens`, `model.layers.N`, `model.norm`, and `lm_head` if it is not tied.
    pub(crate) fn new(
        file: &ConfigFile,
        config: DecoderConfig,
        spec: DecoderSpec,
        mut b: Builder<'_>,
        block: impl Fn(&DecoderConfig, Builder<'_>, usize, LayerType) -> Result<B, ModelError>,
    ) -> Result<Self, ModelError> {
        let (c, v, std) = (config.hidden_size, config.vocab_size, config.initializer_range);
        positive(&[
            ("vocab_size", v),
            ("hidden_size", c),
            ("intermediate_size", config.intermediate_size),
            ("num_attention_heads", config.num_attention_heads),
        ])?;
        layers("num_hidden_layers", config.num_hidden_layers)?;
        probabilities(&[("attention_dropout", config.attention_dropout)])?;
        if config.rms_norm_eps.is_nan() || config.rms_norm_eps <= 0.0 {
            return Err(config_error("rms_norm_eps", config.rms_norm_eps, "above 0").into());
        }
        let embed = Embedding::new(b.at("model.embed_tokens"), v, c, std)?;
        let rope_spec = file.rope()?;
        let (mut ropes, mut names): (Vec<Rope>, Vec<&str>) = (Vec::new(), Vec::new());
        let mut blocks = Vec::with_capacity(spec.layers.len());
        for (i, &kind) in spec.layers.iter().enumerate() {
            let index = match names.iter().position(|n| *n == kind.name()) {
                Some(index) => index,
                None => {
                    let none = || ConfigError::NoRope { path: file.path().into(), model_type: kind.name().into() };
                    let parameters = rope_spec.get(kind.name()).ok_or_else(none)?;
                    if !config.head_dim()?.is_multiple_of(2) {
                        return Err(config_error(
                            "head_dim",
                            config.head_dim()?,
                            "an even number, for rotary positions",
                        )
                        .into());
                    }
                    ropes.push(Rope::new(parameters, config.head_dim()?, config.max_position_embeddings));
                    names.push(kind.name());
                    names.len() - 1
                }
            };
            blocks.push((block(&config, b.at("model.layers").at(i), i, kind)?, index));
        }
        let norm = config.norm(b.at("model.norm"), spec.norm_offset)?;
        let tied: Option<ParamId> = spec.tied.then_some(embed.table);
        let head = LmHead::new(&mut b, tied, v, c, std)?.with_softcap(spec.softcap);
        Ok(Decoder { config, embed, embed_scale: spec.embed_scale, blocks, ropes, norm, head })
    }
}

impl<B: Block> Network for Decoder<B> {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let ids = inputs.need("input_ids")?;
        let positions = positions(inputs, ids, ctx)?;
        let rotations: Vec<Rotation> = self.ropes.iter().map(|r| r.at(&positions)).collect::<OpResult<_>>()?;
        let mask = mask(inputs)?;
        let mut x = self.embed.forward(ids, ctx)?;
        if let Some(factor) = self.embed_scale {
            x = ops::scale(&x, factor, ctx)?;
        }
        let mut states = HiddenStates::new(inputs);
        for (block, rope) in &self.blocks {
            states.push(&x);
            let input = AttentionInput { rotation: Some(&rotations[*rope]), mask: mask.as_ref(), wanted: None };
            x = block.run(&x, input, ctx)?;
        }
        finish(x, &self.norm, &self.head, states, inputs, ids, ctx)
    }

    fn info(&self) -> Info {
        let c = &self.config;
        let q = c.num_attention_heads * c.head_dim().unwrap_or(0);
        let kv = c.num_key_value_heads.unwrap_or(c.num_attention_heads) * c.head_dim().unwrap_or(0);
        Info {
            vocab_size: c.vocab_size,
            max_length: Some(c.max_position_embeddings),
            positions_end: false,
            layers: c.num_hidden_layers,
            width: c.hidden_size,
            attention_width: q,
            // Two norms' outputs, the residual stream twice, the projection, the attention's output, gate, up and their
            // product.
            kept_per_layer: 4 * c.hidden_size + 2 * q + 2 * kv + 3 * c.intermediate_size,
            read: None,
            masked: None,
            image: None,
        }
    }
}
