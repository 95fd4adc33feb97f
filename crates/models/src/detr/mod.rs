//! DETR, [Carion et al. 2020](https://arxiv.org/abs/2005.12872): a convolutional backbone, an encoder over its places, and a
//! decoder whose queries become boxes.

mod config;
mod layers;

use bedstone_nn::{Builder, Conv2d, ConvSpec, Embedding, Linear, Norm, Positioned};
use bedstone_tensor::{Ctx, Order, Result as OpResult, Tensor, TensorError, Window, ops};

use crate::{
    Architecture, Class, ImageInfo, Info, Inputs, ModelError, Network, Outputs,
    causal::HiddenStates,
    checkpoint::ConfigFile,
    detection::{DetectionConfig, PredictionHead, Predictions},
    resnet::{Backbone, Learns},
    vision::pictures,
};

use config::Config;
use layers::{DecoderLayer, EncoderLayer};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "detr",
    classes: &[("DetrForObjectDetection", Class::ObjectDetection), ("DetrModel", Class::Base)],
    base_prefix: "model",
    build: |file, class, b| Ok(Box::new(Detr::new(file, class, b)?)),
    tiny: r#"{"d_model": 24, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 3,
              "decoder_attention_heads": 3, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40, "num_queries": 5,
              "dropout": 0.0, "auxiliary_loss": true, "use_timm_backbone": true, "backbone": "resnet18",
              "backbone_kwargs": {"layers": [1, 1, 1, 1], "channels": [8, 8, 12, 12]},
              "id2label": {"0": "a", "1": "b", "2": "c"}}"#,
};

struct Detr {
    config: Config,
    backbone: Backbone,
    projection: Conv2d,
    queries: Embedding,
    encoder: Vec<EncoderLayer>,
    decoder: Vec<DecoderLayer>,
    norm: Norm,
    head: Option<Head>,
}

struct Head {
    config: DetectionConfig,
    classes: Linear,
    boxes: PredictionHead,
}

impl Detr {
    fn new(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let config = Config::of(file)?;
        let (c, std) = (config.d_model, config.init_std);
        let mut body = if class == Class::Base { b.at("") } else { b.at("model") };
        let place = body.at("backbone.conv_encoder.model");
        // As in the paper: the stem and the first stage stay as they were trained on other pictures.
        let backbone = Backbone::new(place, &config.resnet, config.names, Learns::ConvolutionsFrom(1))?;
        let (n_in, window) = (config.resnet.width(), Window::square(1, 1, 0));
        let spec = ConvSpec { n_in, n_out: c, window, bias: true, std, trainable: true };
        let projection = Conv2d::new(body.at("input_projection"), spec)?;
        let queries = Embedding::new(body.at("query_position_embeddings"), config.num_queries, c, 1.0)?;
        let encoder = (0..config.encoder_layers)
            .map(|i| EncoderLayer::new(&config, body.at("encoder.layers").at(i), i))
            .collect::<Result<_, _>>()?;
        let decoder = (0..config.decoder_layers)
            .map(|i| DecoderLayer::new(&config, body.at("decoder.layers").at(i), i))
            .collect::<Result<_, _>>()?;
        let norm = config.norm(body.at("decoder.layernorm"))?;
        let head = match class {
            Class::ObjectDetection => {
                let detection = DetectionConfig::of(file)?;
                let linear = |b: Builder<'_>, n, m| config.linear(b, n, m);
                let classes = linear(b.at("class_labels_classifier"), c, detection.classes + 1)?;
                Some(Head {
                    config: detection,
                    classes,
                    boxes: PredictionHead::new(b.at("bbox_predictor"), c, 4, linear)?,
                })
            }
            _ => None,
        };
        Ok(Detr { config, backbone, projection, queries, encoder, decoder, norm, head })
    }
}

impl Network for Detr {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        if inputs.attentions {
            let what = "the probabilities of attentions are not shown".to_owned();
            return Err(TensorError::Unsupported { op: "detr", what });
        }
        let mut out = Outputs::default();
        let pixels = pictures(inputs, self.config.resnet.num_channels, None)?;
        let features = self.backbone.forward(pixels, ctx)?;
        let Some(features) = features.last() else { return Ok(out) };
        let x = self.projection.forward_full(features, Order::ChannelsLast, ctx)?;
        let [b, h, w, c] = x.dims("detr")?;
        let mut x = x.reshape([b, h * w, c])?;
        let seen = seen(inputs, pixels, [h, w])?;
        let positions = sines(&seen, [b, h, w], c);
        let mask = seen.contains(&0).then(|| Tensor::from_slice(&seen, [b, h * w]));
        let mut states = HiddenStates::new(inputs);
        for layer in &self.encoder {
            states.push(&x);
            x = layer.forward(&x, &positions, mask.as_ref(), ctx)?;
        }
        states.push(&x);
        states.put_as(&mut out, "encoder_hidden_states");
        let placed = ops::add(&x, &positions, ctx)?;
        let memory = Positioned { x: &x, placed: &placed };

        let queries = ctx.leaf(self.queries.table);
        let mut y = Tensor::zeros::<f32>([b, self.config.num_queries, c]);
        let (mut states, mut inner) = (HiddenStates::new(inputs), Vec::new());
        states.push(&y);
        let auxiliary = self.head.as_ref().is_some_and(|head| head.config.auxiliary_loss);
        for (i, layer) in self.decoder.iter().enumerate() {
            y = layer.forward(&y, &queries, memory, mask.as_ref(), ctx)?;
            if i + 1 < self.decoder.len() {
                states.push(&y);
            }
            if auxiliary {
                // As `transformers` has it: with these losses the next layer gets normalised states.
                y = self.norm.forward(&y, ctx)?;
                inner.push(y.clone());
            }
        }
        let y = self.norm.forward(&y, ctx)?;
        states.push(&y);
        states.put_as(&mut out, "decoder_hidden_states");
        if let Some(head) = &self.head {
            let last = head.predict(&y, ctx)?;
            // Inner layers serve the loss alone.
            inner.pop();
            let wanted = inputs.get("labels.0.boxes").is_some();
            let inner = inner.iter().filter(|_| wanted).map(|y| head.predict(y, ctx)).collect::<OpResult<Vec<_>>>()?;
            head.config.put(last, &inner, None, inputs, &mut out, ctx)?;
        }
        out.put("last_hidden_state", y);
        out.put("encoder_last_hidden_state", x);
        Ok(out)
    }

    fn info(&self) -> Info {
        let c = &self.config;
        let step = c.resnet.reduction();
        Info {
            vocab_size: 0,
            max_length: None,
            positions_end: false,
            layers: c.encoder_layers + c.decoder_layers,
            width: c.d_model,
            attention_width: c.d_model,
            kept_per_layer: 12 * c.d_model + 2 * c.encoder_ffn_dim,
            read: None,
            masked: None,
            image: Some(ImageInfo { channels: c.resnet.num_channels, size: [800; 2], patch: [step; 2], resizes: true }),
        }
    }
}

impl Head {
    fn predict(&self, y: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Predictions> {
        let logits = self.classes.forward_full(y, ctx)?;
        let boxes = self.boxes.forward(y, ctx)?;
        Ok(Predictions { logits, boxes: ops::sigmoid(&boxes, ctx)? })
    }
}

/// Which places of a grid belong to pictures, 1, and not to padding: `pixel_mask: [B, H, W]` at the nearest pixel above and
/// to the left.
fn seen(inputs: &Inputs, pixels: &Tensor, [h, w]: [usize; 2]) -> OpResult<Vec<u8>> {
    let [batch, _, height, width] = pixels.dims("pixel_values")?;
    let Some(mask) = inputs.get("pixel_mask") else { return Ok(vec![1; batch * h * w]) };
    if mask.shape()[..] != [batch, height, width] {
        let wanted = format!("[{batch}, {height}, {width}]");
        return Err(TensorError::Shape { op: "pixel_mask", got: mask.shape(), wanted });
    }
    let mask = mask.data::<i32>("pixel_mask")?;
    let nearest = |i: usize, n: usize, size: usize| ((i as f32 * (size as f32 / n as f32)) as usize).min(size - 1);
    let at = |i: usize| {
        let (b, y, x) = (i / (h * w), nearest(i / w % h, h, height), nearest(i % w, w, width));
        u8::from(mask[(b * height + y) * width + x] != 0)
    };
    Ok((0..batch * h * w).map(at).collect())
}

/// Sines and cosines of the places within each picture, as shares of its height and width, `[B, h · w, C]`: the first half
/// for rows, the second for columns.
fn sines(seen: &[u8], [b, h, w]: [usize; 3], c: usize) -> Tensor {
    let half = c / 2;
    let mut x = Tensor::zeros::<f32>([b, h * w, c]);
    // Places seen up to here and in all, along a line.
    let share = |places: &mut dyn Iterator<Item = usize>, upto: usize| {
        let (mut here, mut all) = (0u32, 0u32);
        for (i, at) in places.enumerate() {
            all += u32::from(seen[at]);
            here += if i <= upto { u32::from(seen[at]) } else { 0 };
        }
        here as f64 / (all as f64 + 1e-6) * std::f64::consts::TAU
    };
    for (i, row) in x.f32s_mut().chunks_exact_mut(c).enumerate() {
        let (picture, iy, ix) = (i / (h * w) * h * w, i / w % h, i % w);
        let down = share(&mut (0..h).map(|y| picture + y * w + ix), iy);
        let across = share(&mut (0..w).map(|x| picture + iy * w + x), ix);
        for (k, x) in row.iter_mut().enumerate() {
            let (place, k) = if k < half { (down, k) } else { (across, k - half) };
            let angle = place / 10_000f64.powf((k / 2 * 2) as f64 / half as f64);
            *x = if k % 2 == 0 { angle.sin() } else { angle.cos() } as f32;
        }
    }
    x
}
