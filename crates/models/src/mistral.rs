//! Mistral, [Jiang et al. 2023](https://arxiv.org/abs/2310.06825): Llama with a sliding window.

use bedstone_nn::AttentionSpec;
use serde::Deserialize;

use crate::{
    Architecture, Class,
    causal::activation,
    decoder::{AttentionBias, Decoder, DecoderConfig, DecoderSpec, LayerType},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "mistral",
    classes: &[("MistralForCausalLM", Class::CausalLm)],
    base_prefix: "model",
    build: |file, _, b| {
        let config: Config = file.parse()?;
        // Absent it is the released model's; null means none.
        let window = if file.fields().contains_key("sliding_window") { config.sliding_window } else { Some(4096) };
        let kind = if window.is_some() { LayerType::Sliding } else { LayerType::Full };
        let spec = DecoderSpec {
            tied: config.tie_word_embeddings,
            embed_scale: None,
            norm_offset: 0.0,
            softcap: None,
            layers: vec![kind; config.common.num_hidden_layers],
        };
        let act = activation("hidden_act", &config.hidden_act)?;
        let decoder = Decoder::new(file, config.common.clone(), spec, b, |common, mut b, layer, _| {
            let attention = common.attention(layer, common.num_key_value_heads.unwrap_or(8))?;
            let attention = AttentionSpec { window, ..attention };
            let attn = common.self_attn(b.at("self_attn"), attention, AttentionBias::default(), None)?;
            common.pre_norm_block(b, attn, act, false)
        })?;
        Ok(Box::new(decoder))
    },
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
              "sliding_window": 5}"#,
};

#[derive(Clone, Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    common: DecoderConfig,
    #[serde(default = "crate::decoder::silu")]
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    sliding_window: Option<usize>,
}
