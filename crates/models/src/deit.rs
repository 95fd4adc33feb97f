//! DeiT, [Touvron et al. 2020](https://arxiv.org/abs/2012.12877): a ViT that learned from a teacher by a token of its own.

use bedstone_nn::Builder;

use crate::{
    Architecture, Class, ModelError, Network,
    checkpoint::ConfigFile,
    encoder::{Problem, labels},
    vision::{Resizing, Stack, Summary, Tokens, VisionConfig, VisionEmbeddings, VisionHead, VisionTransformer, pooler},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "deit",
    classes: &[
        ("DeiTModel", Class::Base),
        ("DeiTForImageClassification", Class::ImageClassification),
        ("DeiTForImageClassificationWithTeacher", Class::DistilledImageClassification),
    ],
    base_prefix: "deit",
    build,
    tiny: r#"{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
              "image_size": [8, 12], "patch_size": 4}"#,
};

const TOKENS: Tokens<'static> =
    Tokens { before: &["cls_token", "distillation_token"], after: None, fixed_positions: false };

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let config = VisionConfig::of(file, serde_json::json!({}))?;
    let c = config.hidden_size;
    let mut body = if class == Class::Base { b.at("") } else { b.at("deit") };
    let embeddings = VisionEmbeddings::new(body.at("embeddings"), &config, TOKENS, Resizing::Asked)?;
    let blocks = config.blocks(&mut body, "encoder.layer")?;
    let stack = Stack { blocks, norm: config.norm(body.at("layernorm"))? };
    let n = labels(file)?;
    let head = match class {
        Class::ImageClassification => {
            let classifier = config.linear(b.at("classifier"), c, n)?;
            VisionHead::Classifier { summary: Summary::Class, classifier, problem: Problem::of(file, n)? }
        }
        Class::DistilledImageClassification => VisionHead::Distilled {
            class: config.linear(b.at("cls_classifier"), c, n)?,
            distillation: config.linear(b.at("distillation_classifier"), c, n)?,
            problem: Problem::of(file, n)?,
        },
        _ => VisionHead::Base { summary: pooler(body, file, &config)? },
    };
    let info = config.info(TOKENS.before.len(), false);
    Ok(Box::new(VisionTransformer { embeddings, stack, head, info }))
}
