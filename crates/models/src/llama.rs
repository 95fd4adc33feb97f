//! Llama, [Touvron et al. 2023](https://arxiv.org/abs/2302.13971), to version 3.

use serde::Deserialize;

use crate::{
    Architecture, Class,
    causal::activation,
    decoder::{AttentionBias, Decoder, DecoderConfig, DecoderSpec, LayerType},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "llama",
    classes: &[("LlamaForCausalLM", Class::CausalLm)],
    base_prefix: "model",
    build: |file, _, b| {
        let config: Config = file.parse()?;
        let spec = DecoderSpec {
            tied: config.tie_word_embeddings,
            embed_scale: None,
            norm_offset: 0.0,
            softcap: None,
            layers: vec![LayerType::Full; config.common.num_hidden_layers],
        };
        let act = activation("hidden_act", &config.hidden_act)?;
        let decoder = Decoder::new(file, config.common.clone(), spec, b, |common, mut b, layer, _| {
            let attention =
                common.attention(layer, common.num_key_value_heads.unwrap_or(common.num_attention_heads))?;
            let bias = AttentionBias { qkv: config.attention_bias, out: config.attention_bias };
            let attn = common.self_attn(b.at("self_attn"), attention, bias, None)?;
            common.pre_norm_block(b, attn, act, config.mlp_bias)
        })?;
        Ok(Box::new(decoder))
    },
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32}"#,
};

#[derive(Clone, Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    common: DecoderConfig,
    #[serde(default = "crate::decoder::silu")]
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}
