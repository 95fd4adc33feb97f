//! Vision Transformer, [Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929).

use bedstone_nn::Builder;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{Problem, labels},
    vision::{
        CLASS_TOKEN, Resizing, Stack, Summary, VisionConfig, VisionEmbeddings, VisionHead, VisionTransformer, pooler,
    },
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "vit",
    classes: &[("ViTModel", Class::Base), ("ViTForImageClassification", Class::ImageClassification)],
    base_prefix: "vit",
    build,
    tiny: r#"{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
              "image_size": [8, 12], "patch_size": 4}"#,
};

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let config = VisionConfig::of(file, serde_json::json!({}))?;
    let mut body = if class == Class::Base { b.at("") } else { b.at("vit") };
    let embeddings = VisionEmbeddings::new(body.at("embeddings"), &config, CLASS_TOKEN, Resizing::Asked)?;
    let blocks = config.blocks(&mut body, "encoder.layer")?;
    let stack = Stack { blocks, norm: config.norm(body.at("layernorm"))? };
    let head = match class {
        Class::ImageClassification => {
            let n = labels(file)?;
            let classifier = config.linear(b.at("classifier"), config.hidden_size, n)?;
            VisionHead::Classifier { summary: Summary::Class, classifier, problem: Problem::of(file, n)? }
        }
        _ => VisionHead::Base { summary: pooler(body, file, &config)? },
    };
    let info = config.info(CLASS_TOKEN.before.len(), false);
    Ok(Box::new(VisionTransformer { embeddings, stack, head, info }))
}
