//! YOLOS, [Fang et al. 2021](https://arxiv.org/abs/2106.00666): a ViT whose last tokens become boxes.

use bedstone_nn::{Builder, Init, PreNormBlock, Span};
use bedstone_tensor::{Ctx, ParamId, Result as OpResult, TensorError, ops};

use crate::{
    Architecture, Class, Info, Inputs, ModelError, Network, Outputs,
    checkpoint::ConfigFile,
    detection::{DetectionConfig, PredictionHead, Predictions, unsupported},
    model::{config_error, positive},
    vision::{Resizing, Stack, Tokens, VisionConfig, VisionEmbeddings, VisionHead, pooler},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "yolos",
    classes: &[("YolosModel", Class::Base), ("YolosForObjectDetection", Class::ObjectDetection)],
    base_prefix: "vit",
    build: |file, class, b| Ok(Box::new(Yolos::new(file, class, b)?)),
    tiny: r#"{"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 40,
              "image_size": [8, 12], "patch_size": 4, "num_detection_tokens": 5,
              "id2label": {"0": "a", "1": "b", "2": "c"}}"#,
};

struct Yolos {
    embeddings: VisionEmbeddings,
    /// Positions that are added again behind each block but the last, `[layers - 1, 1, T, C]`.
    between: Option<ParamId>,
    stack: Stack<PreNormBlock>,
    head: Head,
    info: Info,
}

enum Head {
    Base(VisionHead),
    Detection { tokens: usize, config: DetectionConfig, classes: PredictionHead, boxes: PredictionHead },
}

impl Yolos {
    fn new(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let config = VisionConfig::of(file, serde_json::json!({"image_size": [512, 864]}))?;
        let (c, std) = (config.hidden_size, config.initializer_range);
        let tokens = file.usize("num_detection_tokens")?.unwrap_or(100);
        positive(&[("num_detection_tokens", tokens)])?;
        let kinds =
            Tokens { before: &["cls_token"], after: Some(("detection_tokens", tokens)), fixed_positions: false };
        let mut body = if class == Class::Base { b.at("") } else { b.at("vit") };
        let embeddings = VisionEmbeddings::new(body.at("embeddings"), &config, kinds, Resizing::Always)?;
        let blocks = config.blocks(&mut body, "encoder.layer")?;
        let between = match file.bool("use_mid_position_embeddings")?.unwrap_or(true) {
            true if config.num_hidden_layers < 2 => {
                let wanted = "2 or more with use_mid_position_embeddings";
                return Err(config_error("num_hidden_layers", config.num_hidden_layers, wanted).into());
            }
            true => {
                let shape = [config.num_hidden_layers - 1, 1, embeddings.tokens(), c];
                Some(body.param("encoder.mid_position_embeddings", shape, Init::Normal { std })?)
            }
            false => None,
        };
        let stack = Stack { blocks, norm: config.norm(body.at("layernorm"))? };
        let head = match class {
            Class::ObjectDetection => {
                let detection = DetectionConfig::of(file)?;
                let linear = |b: Builder<'_>, n, m| config.linear(b, n, m);
                let n = detection.classes + 1;
                Head::Detection {
                    tokens,
                    config: detection,
                    classes: PredictionHead::new(b.at("class_labels_classifier"), c, n, linear)?,
                    boxes: PredictionHead::new(b.at("bbox_predictor"), c, 4, linear)?,
                }
            }
            _ => Head::Base(VisionHead::Base { summary: pooler(body, file, &config)? }),
        };
        let info = config.info(1 + tokens, true);
        Ok(Yolos { embeddings, between, stack, head, info })
    }
}

impl Network for Yolos {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let mut out = Outputs::default();
        let (x, size) = self.embeddings.forward(inputs, ctx)?;
        let [_, t, _] = x.dims("yolos")?;
        let between = match self.between {
            Some(id) => Some(self.embeddings.resized(id, size, ctx)?),
            None => None,
        };
        let blocks = self.stack.blocks.len();
        let learns_patches = inputs.patch_loss > 0.0 && inputs.get("labels.0.boxes").is_some();
        let wanted = match &self.head {
            Head::Detection { tokens, .. } if !learns_patches => Some(Span { first: t - tokens, count: *tokens }),
            _ => None,
        };
        let x = self.stack.run_with(x, wanted, inputs, &mut out, ctx, |i, x, ctx| match &between {
            Some(positions) if i + 1 < blocks => {
                let rows: Vec<i32> = (i * t..(i + 1) * t).map(|row| row as i32).collect();
                let positions = ops::rows(positions, &rows, ctx)?;
                ops::add_to_each(&x, &positions, ctx)
            }
            _ => Ok(x),
        })?;
        match &self.head {
            Head::Base(head) => head.forward(&x, inputs, &mut out, ctx)?,
            Head::Detection { tokens, config, classes, boxes } => {
                if config.auxiliary_loss && inputs.get("labels.0.boxes").is_some() {
                    return Err(unsupported("inner layers of yolos predict nothing, set auxiliary_loss to false"));
                }
                // What some tokens of each picture say.
                let said = |first: usize, count: usize, ctx: &mut Ctx<'_>| {
                    let last = Span { first, count }.of(&x, ctx)?;
                    let logits = classes.forward(&last, ctx)?;
                    let boxes = ops::sigmoid(&boxes.forward(&last, ctx)?, ctx)?;
                    Ok::<_, TensorError>(Predictions { logits, boxes })
                };
                // The last of the states that there are.
                let [_, states, _] = x.dims("yolos")?;
                let patches = match learns_patches {
                    true => Some((said(1, t - 1 - tokens, ctx)?, size)),
                    false => None,
                };
                let found = said(states - tokens, *tokens, ctx)?;
                config.put(found, &[], patches, inputs, &mut out, ctx)?;
                if states == t {
                    out.put("last_hidden_state", x);
                }
            }
        }
        Ok(out)
    }

    fn info(&self) -> Info {
        let read = match &self.head {
            Head::Detection { tokens, .. } => Some(*tokens),
            Head::Base(_) => None,
        };
        Info { read, ..self.info }
    }
}
