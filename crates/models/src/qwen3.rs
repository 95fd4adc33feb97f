//! Qwen 3, [Yang et al. 2025](https://arxiv.org/abs/2505.09388): queries and keys are normalised head by head.

use bedstone_nn::{AttentionSpec, Norm};
use serde::Deserialize;

use crate::{
    Architecture, Class,
    causal::activation,
    decoder::{AttentionBias, Decoder, DecoderConfig, DecoderSpec, LayerType, layer_types},
    qwen2::WindowConfig,
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "qwen3",
    classes: &[("Qwen3ForCausalLM", Class::CausalLm)],
    base_prefix: "model",
    build: |file, _, b| {
        let mut config: Config = file.parse()?;
        config.common.head_dim.get_or_insert(128);
        let window = config.window.of_config(file);
        let spec = DecoderSpec {
            tied: config.tie_word_embeddings,
            embed_scale: None,
            norm_offset: 0.0,
            softcap: None,
            layers: layer_types(file, config.common.num_hidden_layers, |i| config.window.slides(i))?,
        };
        let act = activation("hidden_act", &config.hidden_act)?;
        let decoder = Decoder::new(file, config.common.clone(), spec, b, |common, mut b, layer, kind| {
            let attention = common.attention(layer, common.num_key_value_heads.unwrap_or(32))?;
            let window = window.filter(|_| kind == LayerType::Sliding);
            let bias = AttentionBias { qkv: config.attention_bias, out: config.attention_bias };
            let norms = [
                Norm::rms(b.at("self_attn.q_norm"), attention.head_dim, common.rms_norm_eps, 0.0)?,
                Norm::rms(b.at("self_attn.k_norm"), attention.head_dim, common.rms_norm_eps, 0.0)?,
            ];
            let attn = common.self_attn(b.at("self_attn"), AttentionSpec { window, ..attention }, bias, Some(norms))?;
            common.pre_norm_block(b, attn, act, false)
        })?;
        Ok(Box::new(decoder))
    },
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "head_dim": 10,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}"#,
};

#[derive(Clone, Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    common: DecoderConfig,
    #[serde(flatten)]
    window: WindowConfig,
    #[serde(default = "crate::decoder::silu")]
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
}
