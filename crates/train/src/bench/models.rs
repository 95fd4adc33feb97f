//! Models of set sizes, with a batch of each.

use std::ops::Range;

use bedstone_data::sampler::Batch;
use bedstone_models::{Architecture, Class, Inputs, Logits, Model};
use bedstone_tensor::Tensor;
use serde_json::{Map, Value, json};

use crate::{
    Result, TrainError,
    objective::{CausalLm, Objective, Work},
};

/// A model of a set size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BenchModel {
    /// Its name.
    pub name: &'static str,
    shape: Shape,
    /// Samples a step, unless something else is asked for.
    batch: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A GPT-2 with a head of its own, learned positions and GELU by tanh, without dropout.
    Gpt { vocab_size: usize, width: usize, heads: usize, layers: usize, context: usize },
    /// A ViT-B/16 for 1,000 classes and pictures of 224 by 224.
    VitBase,
    /// A YOLOS-S for COCO's 91 classes, pictures of 512 by 864 and 100 boxes.
    YolosSmall,
}

const fn gpt(name: &'static str, batch: usize, [vocab_size, width, heads, layers, context]: [usize; 5]) -> BenchModel {
    BenchModel { name, shape: Shape::Gpt { vocab_size, width, heads, layers, context }, batch }
}

/// All of them.
pub const BENCH_MODELS: [BenchModel; 5] = [
    gpt("gpt-6m", 8, [512, 288, 6, 6, 256]),
    gpt("gpt-17m", 8, [8192, 384, 6, 6, 256]),
    gpt("gpt-163m", 2, [50304, 768, 12, 12, 512]),
    BenchModel { name: "vit-b16", shape: Shape::VitBase, batch: 32 },
    BenchModel { name: "yolos-s", shape: Shape::YolosSmall, batch: 1 },
];

/// Rows and columns of YOLOS-S's pictures.
const WIDE: [usize; 2] = [512, 864];
/// Objects in each of them.
const OBJECTS: usize = 7;

/// A model, and what it is fed with.
pub(super) struct Ready {
    pub(super) model: Model,
    pub(super) work: Box<dyn Work>,
    /// The name of the input without which nothing comes out.
    pub(super) input: &'static str,
    /// Samples a step.
    pub(super) batch: usize,
    /// Tokens that go through the model for a sample.
    pub(super) tokens: usize,
    /// What speed counts, and how many of it a sample has.
    pub(super) unit: &'static str,
    pub(super) units: usize,
}

impl BenchModel {
    /// Random weights and random data; `batch` samples, or the usual number of this model.
    pub(super) fn ready(self, batch: Option<usize>) -> Result<Ready> {
        let batch = batch.unwrap_or(self.batch).max(1);
        let (model_type, class, fields) = self.fields();
        let (Some(architecture), Value::Object(fields)) = (Architecture::by_model_type(model_type), fields) else {
            return Err(TrainError::Interrupted);
        };
        let model = Model::random(Model::config_of(architecture, class, &fields), 0)?;
        let pictures = |size: [usize; 2], tokens: usize, objects: bool| {
            let work: Box<dyn Work> = Box::new(Pictures { pixels: pixels(batch, size), size, objects, batch });
            (work, "pixel_values", tokens, "pictures", 1)
        };
        let (work, input, tokens, unit, units) = match self.shape {
            Shape::Gpt { vocab_size, context, .. } => {
                (texts(batch, context, vocab_size), "input_ids", context, "tok", context)
            }
            Shape::VitBase => pictures([224, 224], 197, false),
            Shape::YolosSmall => pictures(WIDE, 32 * 54 + 101, true),
        };
        Ok(Ready { model, work, input, batch, tokens, unit, units })
    }

    /// Type, class and configuration.
    fn fields(self) -> (&'static str, Class, Value) {
        let plain = json!({"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0});
        let with = |more: Value| {
            let mut all = plain.as_object().cloned().unwrap_or_default();
            all.extend(more.as_object().cloned().unwrap_or_default());
            Value::Object(all)
        };
        let labels = |n: usize| (0..n).map(|i| (i.to_string(), format!("class {i}").into())).collect::<Map<_, Value>>();
        match self.shape {
            Shape::Gpt { vocab_size, width, heads, layers, context } => {
                let fields = json!({
                    "vocab_size": vocab_size, "n_positions": context, "n_embd": width, "n_layer": layers, "n_head": heads,
                    "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "tie_word_embeddings": false,
                });
                ("gpt2", Class::CausalLm, fields)
            }
            Shape::VitBase => {
                let fields = json!({
                    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
                    "image_size": 224, "patch_size": 16, "id2label": labels(1000),
                    "problem_type": "single_label_classification",
                });
                ("vit", Class::ImageClassification, with(fields))
            }
            Shape::YolosSmall => {
                let fields = json!({
                    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536,
                    "image_size": WIDE, "patch_size": 16, "num_detection_tokens": 100, "id2label": labels(91),
                });
                ("yolos", Class::ObjectDetection, with(fields))
            }
        }
    }
}

fn texts(batch: usize, context: usize, vocab_size: usize) -> Box<dyn Work> {
    let random = |i: u32| i.wrapping_mul(2_654_435_761) % vocab_size as u32;
    let ids: Vec<u32> = (0..(batch * context) as u32).map(random).collect();
    let batch = Batch {
        labels: ids.clone(),
        ids,
        samples: (0..batch as u64).collect(),
        begins: vec![0; batch],
        ..Batch::default()
    };
    Box::new(Texts { next: CausalLm { context }, batch })
}

/// Random texts, of which each next token is to be predicted.
struct Texts {
    next: CausalLm,
    batch: Batch,
}

impl Work for Texts {
    fn samples(&self) -> usize {
        self.batch.samples.len()
    }

    fn divisor(&self) -> f64 {
        self.next.divisor(&self.batch)
    }

    fn inputs(&self, samples: Range<usize>, divisor: f64) -> Inputs {
        self.next.inputs(&self.batch, samples, divisor)
    }
}

fn pixels(batch: usize, [rows, columns]: [usize; 2]) -> Vec<f32> {
    let value = |i: u32| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..(batch * 3 * rows * columns) as u32).map(value).collect()
}

/// Random pictures, each with a class, or with some objects.
struct Pictures {
    /// `[batch, 3, rows, columns]`.
    pixels: Vec<f32>,
    size: [usize; 2],
    objects: bool,
    batch: usize,
}

impl Work for Pictures {
    fn samples(&self) -> usize {
        self.batch
    }

    fn divisor(&self) -> f64 {
        (self.batch * if self.objects { OBJECTS } else { 1 }) as f64
    }

    fn inputs(&self, samples: Range<usize>, divisor: f64) -> Inputs {
        let each = 3 * self.size[0] * self.size[1];
        let pixels = &self.pixels[samples.start * each..samples.end * each];
        let shape = [samples.len(), 3, self.size[0], self.size[1]];
        let mut inputs = Inputs::new("pixel_values", Tensor::from_slice(pixels, shape));
        inputs.logits = Logits::All;
        inputs.loss_divisor = Some(divisor);
        if !self.objects {
            let classes: Vec<i32> = samples.map(|i| (i * 31 % 1000) as i32).collect();
            return inputs.with("labels", Tensor::from_slice(&classes, [classes.len()]));
        }
        inputs.sample_divisor = Some(self.batch as f64);
        for (i, sample) in samples.enumerate() {
            let classes: Vec<i32> = (0..OBJECTS).map(|k| ((sample * 17 + k * 5) % 91) as i32).collect();
            let place = |k: usize| 0.1 + 0.8 * ((sample * 7 + k * 3) % OBJECTS) as f32 / OBJECTS as f32;
            let boxes: Vec<f32> = (0..OBJECTS).flat_map(|k| [place(k), place(k + 2), 0.15, 0.2]).collect();
            inputs = inputs
                .with(&format!("labels.{i}.class_labels"), Tensor::from_slice(&classes, [OBJECTS]))
                .with(&format!("labels.{i}.boxes"), Tensor::from_slice(&boxes, [OBJECTS, 4]));
        }
        inputs
    }
}
