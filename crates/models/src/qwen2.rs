//! Qwen 2, [Yang et al. 2024](https://arxiv.org/abs/2407.10671): Llama with biases of queries, keys and values, and a
//! sliding window in its upper layers if it is asked for.

use bedstone_nn::AttentionSpec;
use serde::Deserialize;

use crate::{
    Architecture, Class,
    causal::activation,
    checkpoint::ConfigFile,
    decoder::{AttentionBias, Decoder, DecoderConfig, DecoderSpec, LayerType, layer_types},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "qwen2",
    classes: &[("Qwen2ForCausalLM", Class::CausalLm)],
    base_prefix: "model",
    build: |file, _, b| {
        let config: Config = file.parse()?;
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
            let bias = AttentionBias { qkv: true, out: false };
            let attn = common.self_attn(b.at("self_attn"), AttentionSpec { window, ..attention }, bias, None)?;
            common.pre_norm_block(b, attn, act, false)
        })?;
        Ok(Box::new(decoder))
    },
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
              "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
              "use_sliding_window": true, "sliding_window": 4, "max_window_layers": 2, "tie_word_embeddings": true}"#,
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
}

/// The window of Qwen models: asked for by a switch, in the layers from `max_window_layers` on.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct WindowConfig {
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    #[serde(default = "twenty_eight")]
    max_window_layers: usize,
}

fn twenty_eight() -> usize {
    28
}

impl WindowConfig {
    /// The window's size, if there is one.
    pub(crate) fn of_config(&self, file: &ConfigFile) -> Option<usize> {
        // Where the switch is on and the size is absent, it is the released models'; null means none.
        let given = file.fields().contains_key("sliding_window");
        let window = if given { self.sliding_window } else { Some(4096) };
        window.filter(|_| self.use_sliding_window)
    }

    /// Whether a layer has it.
    pub(crate) fn slides(&self, layer: usize) -> bool {
        self.use_sliding_window && layer >= self.max_window_layers
    }
}
