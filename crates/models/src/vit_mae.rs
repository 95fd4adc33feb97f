//! Masked autoencoder, [He et al. 2021](https://arxiv.org/abs/2111.06377): a ViT sees a quarter of the patches, and a decoder
//! guesses the rest.

use bedstone_kernels::random::{Draw, key};
use bedstone_nn::{Builder, Init, Linear, PreNormBlock};
use bedstone_tensor::{
    Ctx, ParamId, Result as OpResult, Tensor, TensorError,
    ops::{self, Grid, TargetLoss},
};
use serde::Deserialize;

use crate::{
    Architecture, Class, Info, Inputs, Logits, MaskedInfo, ModelError, Network, Outputs,
    checkpoint::ConfigFile,
    model::config_error,
    vision::{Resizing, Stack, Tokens, VisionConfig, VisionEmbeddings, pictures},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "vit_mae",
    classes: &[("ViTMAEForPreTraining", Class::MaskedImage), ("ViTMAEModel", Class::Base)],
    base_prefix: "vit",
    build: |file, class, b| Ok(Box::new(VitMae::new(file, class, b)?)),
    tiny: r#"{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
              "image_size": [8, 12], "patch_size": 4, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1,
              "decoder_num_attention_heads": 2, "decoder_intermediate_size": 24, "mask_ratio": 0.5,
              "norm_pix_loss": true}"#,
};

/// The fields that other vision transformers do not have, with the defaults of the released model.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
struct Config {
    decoder_num_attention_heads: usize,
    decoder_hidden_size: usize,
    decoder_num_hidden_layers: usize,
    decoder_intermediate_size: usize,
    mask_ratio: f64,
    norm_pix_loss: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            decoder_num_attention_heads: 16,
            decoder_hidden_size: 512,
            decoder_num_hidden_layers: 8,
            decoder_intermediate_size: 2048,
            mask_ratio: 0.75,
            norm_pix_loss: false,
        }
    }
}

const TOKENS: Tokens<'static> = Tokens { before: &["cls_token"], after: None, fixed_positions: true };

struct VitMae {
    config: Config,
    vision: VisionConfig,
    embeddings: VisionEmbeddings,
    stack: Stack<PreNormBlock>,
    decoder: Option<Decoder>,
    info: Info,
}

/// What guesses the hidden patches.
struct Decoder {
    embed: Linear,
    mask_token: ParamId,
    positions: ParamId,
    stack: Stack<PreNormBlock>,
    predict: Linear,
}

impl VitMae {
    fn new(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let config: Config = file.parse()?;
        if !(0.0..1.0).contains(&config.mask_ratio) {
            return Err(config_error("mask_ratio", config.mask_ratio, "0 or more and below 1").into());
        }
        let vision = VisionConfig::of(file, serde_json::json!({}))?;
        let mut body = if class == Class::Base { b.at("") } else { b.at("vit") };
        let embeddings = VisionEmbeddings::new(body.at("embeddings"), &vision, TOKENS, Resizing::Asked)?;
        let blocks = vision.blocks(&mut body, "encoder.layer")?;
        let stack = Stack { blocks, norm: vision.norm(body.at("layernorm"))? };
        let decoder = match class {
            Class::MaskedImage => Some(Decoder::new(&config, &vision, b.at("decoder"))?),
            _ => None,
        };
        let mut info = vision.info(TOKENS.before.len(), false);
        info.masked = decoder.is_some().then(|| {
            let [down, across] = vision.grid();
            MaskedInfo {
                seen: ((down * across) as f64 * (1.0 - config.mask_ratio)) as usize + TOKENS.before.len(),
                layers: config.decoder_num_hidden_layers,
                width: config.decoder_hidden_size,
                kept_per_layer: 8 * config.decoder_hidden_size + 2 * config.decoder_intermediate_size,
            }
        });
        Ok(VitMae { config, vision, embeddings, stack, decoder, info })
    }
}

impl Decoder {
    fn new(config: &Config, vision: &VisionConfig, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let (c, std) = (config.decoder_hidden_size, vision.initializer_range);
        let inner = VisionConfig {
            hidden_size: c,
            num_hidden_layers: config.decoder_num_hidden_layers,
            num_attention_heads: config.decoder_num_attention_heads,
            intermediate_size: config.decoder_intermediate_size,
            ..vision.clone()
        };
        inner.check()?;
        let ([down, across], [ph, pw]) = (vision.grid(), vision.patch_size.sides());
        let sines = Init::SineGrid { before: 1, across };
        let embed = vision.linear(b.at("decoder_embed"), vision.hidden_size, c)?;
        Ok(Decoder {
            embed,
            mask_token: b.param("mask_token", [1, 1, c], Init::Normal { std })?,
            positions: b.fixed("decoder_pos_embed", [1, 1 + down * across, c], sines)?,
            stack: Stack { blocks: inner.blocks(&mut b, "decoder_layers")?, norm: inner.norm(b.at("decoder_norm"))? },
            predict: vision.linear(b.at("decoder_pred"), c, ph * pw * vision.num_channels)?,
        })
    }
}

/// Which patches are seen.
struct Mask {
    /// For each picture, its patches in the order of their noise.
    shuffled: Vec<Vec<usize>>,
    /// How many of them are seen: the first ones.
    kept: usize,
}

impl Mask {
    /// The patches with the least noise stay. Without `noise: [B, N]` it is drawn: in training from the step's numbers, else
    /// the same ones always.
    fn of(inputs: &Inputs, batch: usize, n: usize, ratio: f64, ctx: &mut Ctx<'_>) -> OpResult<Self> {
        if inputs.unmasked {
            return Ok(Mask { shuffled: vec![(0..n).collect(); batch], kept: n });
        }
        let draw = ctx.draw().unwrap_or(Draw { key: key(0, 0), sample: 0, place: 0 });
        let noise: Vec<f32> = match inputs.get("noise") {
            Some(given) if given.shape()[..] != [batch, n] => {
                return Err(TensorError::Shape { op: "noise", got: given.shape(), wanted: format!("[{batch}, {n}]") });
            }
            Some(given) => given.data::<f32>("noise")?.to_vec(),
            None => {
                let of = |b: usize| Draw { sample: draw.sample.wrapping_add(b as u32), ..draw };
                (0..batch * n).map(|i| of(i / n).uniform(0, (i % n) as u32) as f32).collect()
            }
        };
        let order = |noise: &[f32]| {
            let mut patches: Vec<usize> = (0..n).collect();
            patches.sort_by(|&a, &b| noise[a].total_cmp(&noise[b]));
            patches
        };
        let shuffled = noise.chunks_exact(n.max(1)).map(order).collect();
        Ok(Mask { shuffled, kept: (n as f64 * (1.0 - ratio)) as usize })
    }

    /// For each patch its place in that order.
    fn restored(&self) -> Vec<Vec<usize>> {
        let back = |order: &Vec<usize>| {
            let mut places = vec![0; order.len()];
            order.iter().enumerate().for_each(|(place, &patch)| places[patch] = place);
            places
        };
        self.shuffled.iter().map(back).collect()
    }
}

impl VitMae {
    /// The states of the patches that are seen, `[B, 1 + kept, C]`, the grid, and the mask.
    fn encode(&self, inputs: &Inputs, out: &mut Outputs, ctx: &mut Ctx<'_>) -> OpResult<(Tensor, [usize; 2], Mask)> {
        let (x, size) = self.embeddings.patches(inputs, ctx)?;
        let [batch, n, c] = x.dims("patches")?;
        let positions = self.embeddings.resized(self.embeddings.positions(), size, ctx)?;
        let places: Vec<i32> = (1..=n as i32).collect();
        let x = ops::add_to_each(&x, &ops::rows(&positions, &places, ctx)?, ctx)?;
        let mask = Mask::of(inputs, batch, n, self.config.mask_ratio, ctx)?;
        let seen =
            mask.shuffled.iter().enumerate().flat_map(|(b, order)| order[..mask.kept].iter().map(move |i| b * n + i));
        let seen: Vec<i32> = seen.map(|row| row as i32).collect();
        let x = ops::rows(&x, &seen, ctx)?.reshape([batch, mask.kept, c])?;
        let first = ops::rows(&positions, &[0], ctx)?.reshape([1, 1, c])?;
        let class = match self.embeddings.class_token() {
            Some(id) => ops::add(&ctx.leaf(id), &first, ctx)?,
            None => first,
        };
        let x = ops::concat_tokens(&[&class, &x], batch, ctx)?;
        let x = self.stack.run(x, None, inputs, out, ctx)?;
        let restored = mask.restored();
        let hidden = restored.iter().flatten().map(|&place| f32::from(u8::from(place >= mask.kept)));
        out.put("mask", Tensor::from_slice(&hidden.collect::<Vec<_>>(), [batch, n]));
        let ids: Vec<i32> = restored.iter().flatten().map(|&place| place as i32).collect();
        out.put("ids_restore", Tensor::from_slice(&ids, [batch, n]));
        Ok((x, size, mask))
    }

    /// What patches look like, `[B, N, patch]`: rows, columns, channels of pixels; normalised by patch if so configured.
    fn targets(&self, pixels: &Tensor, [down, across]: [usize; 2]) -> OpResult<Vec<f32>> {
        let ([batch, channels, h, w], [ph, pw]) = (pixels.dims("pixel_values")?, self.vision.patch_size.sides());
        let x = pixels.data::<f32>("pixel_values")?;
        let mut y = Vec::with_capacity(batch * down * across * ph * pw * channels);
        for patch in 0..batch * down * across {
            let (b, top, left) = (patch / (down * across), patch / across % down * ph, patch % across * pw);
            for pixel in 0..ph * pw {
                let (iy, ix) = (top + pixel / pw, left + pixel % pw);
                y.extend((0..channels).map(|c| x[((b * channels + c) * h + iy) * w + ix]));
            }
        }
        if self.config.norm_pix_loss {
            let n = ph * pw * channels;
            for row in y.chunks_exact_mut(n) {
                let mean = row.iter().map(|&x| x as f64).sum::<f64>() / n as f64;
                let squares = row.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>();
                // Of a sample, as PyTorch divides.
                let deviation = (squares / (n as f64 - 1.0).max(1.0) + 1e-6).sqrt();
                row.iter_mut().for_each(|x| *x = ((*x as f64 - mean) / deviation) as f32);
            }
        }
        Ok(y)
    }
}

impl Decoder {
    /// The states behind the decoder of all patches, `[B, 1 + N, C]`.
    fn states(&self, latent: &Tensor, mask: &Mask, native: usize, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let x = self.embed.forward_full(latent, ctx)?;
        let [batch, t, c] = x.dims("decoder")?;
        let n = mask.shuffled.first().map_or(0, Vec::len);
        // Behind the tokens that were seen stands the one for all others.
        let token = ctx.leaf(self.mask_token);
        let x = ops::concat_tokens(&[&x, &token], batch, ctx)?;
        let rows = mask.restored().into_iter().enumerate().flat_map(|(b, places)| {
            let start = b * (t + 1);
            let tokens = places.into_iter().map(move |place| start + (1 + place).min(t));
            std::iter::once(start).chain(tokens)
        });
        let rows: Vec<i32> = rows.map(|row| row as i32).collect();
        let x = ops::rows(&x, &rows, ctx)?.reshape([batch, 1 + n, c])?;
        let mut positions = ctx.leaf(self.positions);
        if n != native {
            // `transformers` takes the patches for a line here, whatever the picture.
            let line = Grid { before: 1, size: [1, native], after: 0 };
            positions = ops::resize_grid(&positions, line, [1, n], ctx)?;
        }
        let x = ops::add_to_each(&x, &positions, ctx)?;
        self.stack.run(x, None, &Inputs::default(), &mut Outputs::default(), ctx)
    }
}

impl Network for VitMae {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let mut out = Outputs::default();
        let (x, size, mask) = self.encode(inputs, &mut out, ctx)?;
        let Some(decoder) = &self.decoder else {
            out.put("last_hidden_state", x);
            return Ok(out);
        };
        let [down, across] = self.vision.grid();
        let states = decoder.states(&x, &mask, down * across, ctx)?;
        let (batch, n) = (mask.shuffled.len(), size[0] * size[1]);
        // The loss counts patches that were hidden, in the order of pictures and patches.
        let restored = mask.restored();
        let hidden: Vec<usize> = (0..batch * n).filter(|&i| restored[i / n][i % n] >= mask.kept).collect();
        let row = |i: usize| (i / n * (n + 1) + 1 + i % n) as i32;
        let guess = |patches: &mut dyn Iterator<Item = usize>, ctx: &mut Ctx<'_>| {
            let rows: Vec<i32> = patches.map(row).collect();
            let x = ops::rows(&states, &rows, ctx)?;
            decoder.predict.forward_full(&x, ctx)
        };
        let targets = self.targets(pictures(inputs, self.vision.num_channels, None)?, size)?;
        let width = targets.len().checked_div(batch * n).unwrap_or(0);
        let of_hidden =
            |x: &[f32]| -> Vec<f32> { hidden.iter().flat_map(|&i| &x[i * width..(i + 1) * width]).copied().collect() };
        let wanted = Tensor::from_slice(&of_hidden(&targets), [hidden.len(), width]);
        let guessed = match inputs.logits {
            Logits::None => guess(&mut hidden.iter().copied(), ctx)?,
            _ => {
                let all = guess(&mut (0..batch * n), ctx)?;
                out.put("logits", all.reshape([batch, n, width])?);
                let rows: Vec<i32> = hidden.iter().map(|&i| i as i32).collect();
                ops::rows(&all, &rows, ctx)?
            }
        };
        let divisor = inputs.loss_divisor.unwrap_or(hidden.len() as f64) * width as f64;
        out.put("loss", ops::target_loss(&guessed, &wanted, TargetLoss::SquaredError, Some(divisor), ctx)?);
        Ok(out)
    }

    fn info(&self) -> Info {
        self.info
    }
}
