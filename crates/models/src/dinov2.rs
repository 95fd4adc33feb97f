//! DINOv2, [Oquab et al. 2023](https://arxiv.org/abs/2304.07193): a ViT with scales of branches, trained without labels.

use bedstone_nn::{Builder, Init, Mlp, ScaledBlock};
use bedstone_tensor::Activation;
use serde::Deserialize;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{Problem, labels},
    model::{positive, probabilities},
    vision::{CLASS_TOKEN, Resizing, Stack, Summary, VisionConfig, VisionEmbeddings, VisionHead, VisionTransformer},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "dinov2",
    classes: &[("Dinov2Model", Class::Base), ("Dinov2ForImageClassification", Class::ImageClassification)],
    base_prefix: "dinov2",
    build,
    tiny: r#"{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 2,
              "image_size": [8, 12], "patch_size": 4, "use_swiglu_ffn": true}"#,
};

/// The fields that other vision transformers do not have, with the defaults of the released model.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
struct Config {
    mlp_ratio: f64,
    layerscale_value: f32,
    drop_path_rate: f32,
    use_swiglu_ffn: bool,
    use_mask_token: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            mlp_ratio: 4.0,
            layerscale_value: 1.0,
            drop_path_rate: 0.0,
            use_swiglu_ffn: false,
            use_mask_token: true,
        }
    }
}

impl Config {
    /// Width between the maps of a feed-forward network.
    fn inner(&self, width: usize) -> usize {
        let inner = (width as f64 * self.mlp_ratio) as usize;
        match self.use_swiglu_ffn {
            // Two thirds, since there are three maps, rounded up to a multiple of 8.
            true => ((inner as f64 * 2.0 / 3.0) as usize).next_multiple_of(8),
            false => inner,
        }
    }

    fn mlp(&self, mut b: Builder<'_>, vision: &VisionConfig) -> Result<Mlp, ModelError> {
        let (c, inner) = (vision.hidden_size, vision.intermediate_size);
        if !self.use_swiglu_ffn {
            return Ok(Mlp::Plain {
                up: vision.linear(b.at("fc1"), c, inner)?,
                down: vision.linear(b.at("fc2"), inner, c)?,
                activation: vision.activation()?,
            });
        }
        Ok(Mlp::Fused {
            both: vision.linear(b.at("weights_in"), c, 2 * inner)?,
            down: vision.linear(b.at("weights_out"), inner, c)?,
            activation: Activation::Silu,
        })
    }

    fn block(&self, mut b: Builder<'_>, layer: usize, vision: &VisionConfig) -> Result<ScaledBlock, ModelError> {
        let start = Init::Constant(self.layerscale_value);
        Ok(ScaledBlock {
            attn_norm: vision.norm(b.at("norm1"))?,
            attn: vision.attention(b.at("attention"), layer)?,
            attn_scale: b.param("layer_scale1.lambda1", [vision.hidden_size], start)?,
            mlp_norm: vision.norm(b.at("norm2"))?,
            mlp: self.mlp(b.at("mlp"), vision)?,
            mlp_scale: b.param("layer_scale2.lambda1", [vision.hidden_size], start)?,
            drop_path: self.drop_path_rate,
        })
    }
}

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let own: Config = file.parse()?;
    probabilities(&[("drop_path_rate", own.drop_path_rate)])?;
    let defaults = serde_json::json!({"layer_norm_eps": 1e-6, "patch_size": 14});
    let mut config = VisionConfig::of(file, defaults)?;
    config.intermediate_size = own.inner(config.hidden_size);
    positive(&[("mlp_ratio", config.intermediate_size)])?;
    let mut body = if class == Class::Base { b.at("") } else { b.at("dinov2") };
    let embeddings = VisionEmbeddings::new(body.at("embeddings"), &config, CLASS_TOKEN, Resizing::Always)?;
    if own.use_mask_token {
        // For pretraining with hidden patches, which is not done here: kept with the checkpoint, never trained.
        body.fixed("embeddings.mask_token", [1, config.hidden_size], Init::Constant(0.0))?;
    }
    let blocks = (0..config.num_hidden_layers).map(|i| own.block(body.at("encoder.layer").at(i), i, &config));
    let blocks = blocks.collect::<Result<_, _>>()?;
    let stack = Stack { blocks, norm: config.norm(body.at("layernorm"))? };
    let head = match class {
        Class::ImageClassification => {
            let n = labels(file)?;
            let classifier = config.linear(b.at("classifier"), 2 * config.hidden_size, n)?;
            VisionHead::Classifier { summary: Summary::ClassAndMean, classifier, problem: Problem::of(file, n)? }
        }
        _ => VisionHead::Base { summary: Some(Summary::Class) },
    };
    let info = config.info(CLASS_TOKEN.before.len(), true);
    Ok(Box::new(VisionTransformer { embeddings, stack, head, info }))
}
