//! Gemma 3, text only, [Gemma Team 2025](https://arxiv.org/abs/2503.19786).

use bedstone_nn::{Attention, AttentionInput, AttentionSpec, Block, Mlp, Norm};
use bedstone_tensor::{Ctx, Result as OpResult, Tensor, ops};
use serde::Deserialize;

use crate::{
    Architecture, Class,
    causal::activation,
    decoder::{AttentionBias, Decoder, DecoderConfig, DecoderSpec, LayerType, layer_types},
    model::config_error,
};

/// Weights of Gemma's norms are stored as their distance from one.
const NORM_OFFSET: f32 = 1.0;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "gemma3_text",
    classes: &[("Gemma3ForCausalLM", Class::CausalLm)],
    base_prefix: "model",
    build: |file, _, b| {
        let mut config: Config = file.parse()?;
        if config.use_bidirectional_attention {
            return Err(config_error("use_bidirectional_attention", true, "false").into());
        }
        config.common.head_dim.get_or_insert(256);
        let pattern = config.sliding_window_pattern.or(config.pattern).unwrap_or(6).max(1);
        let spec = DecoderSpec {
            tied: config.tie_word_embeddings,
            embed_scale: Some((config.common.hidden_size as f32).sqrt()),
            norm_offset: NORM_OFFSET,
            softcap: config.final_logit_softcapping,
            layers: layer_types(file, config.common.num_hidden_layers, |i| (i + 1) % pattern != 0)?,
        };
        let act = activation("hidden_activation", &config.hidden_activation)?;
        let decoder = Decoder::new(file, config.common.clone(), spec, b, |common, mut b, layer, kind| {
            let attention = AttentionSpec {
                scale: 1.0 / config.query_pre_attn_scalar.sqrt(),
                window: (kind == LayerType::Sliding).then_some(config.sliding_window),
                ..common.attention(layer, common.num_key_value_heads.unwrap_or(4))?
            };
            let bias = AttentionBias { qkv: config.attention_bias, out: config.attention_bias };
            let attn_norm = common.norm(b.at("input_layernorm"), NORM_OFFSET)?;
            let norms = [
                Norm::rms(b.at("self_attn.q_norm"), attention.head_dim, common.rms_norm_eps, NORM_OFFSET)?,
                Norm::rms(b.at("self_attn.k_norm"), attention.head_dim, common.rms_norm_eps, NORM_OFFSET)?,
            ];
            Ok(SandwichBlock {
                attn_norm,
                attn: common.self_attn(b.at("self_attn"), attention, bias, Some(norms))?,
                attn_out_norm: common.norm(b.at("post_attention_layernorm"), NORM_OFFSET)?,
                mlp_norm: common.norm(b.at("pre_feedforward_layernorm"), NORM_OFFSET)?,
                mlp: common.mlp(b.at("mlp"), act, false)?,
                mlp_out_norm: common.norm(b.at("post_feedforward_layernorm"), NORM_OFFSET)?,
            })
        })?;
        Ok(Box::new(decoder))
    },
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "head_dim": 10,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
              "query_pre_attn_scalar": 10, "sliding_window": 5, "sliding_window_pattern": 2,
              "final_logit_softcapping": 20.0}"#,
};

#[derive(Clone, Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    common: DecoderConfig,
    #[serde(default = "gelu")]
    hidden_activation: String,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default = "default_scalar")]
    query_pre_attn_scalar: f32,
    #[serde(default = "default_window")]
    sliding_window: usize,
    sliding_window_pattern: Option<usize>,
    #[serde(rename = "_sliding_window_pattern")]
    pattern: Option<usize>,
    // `attn_logit_softcapping` is in the files but acts in Gemma 2 only: the reference does not read it here.
    final_logit_softcapping: Option<f32>,
    #[serde(default)]
    use_bidirectional_attention: bool,
}

fn gelu() -> String {
    "gelu_pytorch_tanh".into()
}

fn yes() -> bool {
    true
}

fn default_scalar() -> f32 {
    256.0
}

fn default_window() -> usize {
    4096
}

/// Norms before and after each branch: `h = x + norm(attn(norm(x))); y = h + norm(mlp(norm(h)))`.
#[derive(Clone)]
struct SandwichBlock {
    attn_norm: Norm,
    attn: Attention,
    attn_out_norm: Norm,
    mlp_norm: Norm,
    mlp: Mlp,
    mlp_out_norm: Norm,
}

impl Block for SandwichBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let kept = input.kept(x, ctx)?;
        let y = self.attn.forward(&self.attn_norm.operand(x, ctx)?, input, ctx)?;
        let x = ops::add(&self.attn_out_norm.forward(&y, ctx)?, &kept, ctx)?;
        let y = self.mlp.forward(&self.mlp_norm.operand(&x, ctx)?, ctx)?;
        ops::add(&self.mlp_out_norm.forward(&y, ctx)?, &x, ctx)
    }
}
