//! What models of pictures are used for: classes, boxes, vectors.

use std::path::{Path, PathBuf};

use bedstone_data::pictures::{Batch, Picture, Pixels, Placement, Processor, Targets};
use bedstone_models::{Class, Inputs, LoadReport, Model, Outputs};
use bedstone_tensor::{Ctx, Tensor};

use super::{
    Labels, command_of,
    detected::{Detected, PostProcess},
    softmax, top_k,
};
use crate::{InferError, Result, Runtime};

/// A model of pictures with its processor, loaded from a checkpoint directory.
pub struct VisionModel {
    /// The model.
    pub model: Model,
    /// What makes numbers of pictures.
    pub processor: Processor,
    /// How it is run.
    pub runtime: Runtime,
}

/// A class of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Its name.
    pub label: String,
    /// How likely it is.
    pub score: f32,
}

/// What becomes the vector of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PicturePooling {
    /// What the model's summary gives, or its class token's last state.
    #[default]
    Auto,
    /// The class token's last state.
    Cls,
    /// The mean of the last states of patches.
    Mean,
}

impl VisionModel {
    /// Loads a checkpoint directory; the report says which of its tensors have no use.
    pub fn load(dir: &Path, runtime: Runtime) -> Result<(Self, LoadReport)> {
        let (model, report) = bedstone_models::load(dir)?;
        Ok((VisionModel { model, processor: Processor::read(dir)?, runtime }, report))
    }

    /// What tasks take.
    pub fn vision(&self) -> Vision<'_> {
        Vision { model: &self.model, processor: &self.processor, runtime: self.runtime }
    }
}

/// A model of pictures as tasks use it: during training too, where somebody else holds the model.
#[derive(Clone, Copy)]
pub struct Vision<'m> {
    /// The model.
    pub model: &'m Model,
    /// What makes numbers of pictures.
    pub processor: &'m Processor,
    /// How it is run.
    pub runtime: Runtime,
}

impl Vision<'_> {
    /// An error that names the command that serves the model, unless it is of this class.
    pub fn need(&self, task: &'static str, class: Class) -> Result<()> {
        if self.model.class() == class {
            return Ok(());
        }
        let path: PathBuf = self.model.config().path().parent().unwrap_or(Path::new(".")).to_owned();
        let (got, command) = (self.model.class_name(), command_of(self.model.class()));
        Err(InferError::OtherClass { path, task, got, command, learn: None })
    }

    /// The outputs for pixels; a masked autoencoder sees all of them.
    pub fn outputs(&self, pixels: &Pixels) -> Result<Outputs> {
        let mut inputs = inputs(pixels, 0..pixels.count);
        (inputs.interpolate_pos_encoding, inputs.unmasked) = (true, true);
        let mut ctx = Ctx::inference(self.model.env(self.runtime.isa, self.runtime.precision));
        Ok(self.model.forward(&inputs, &mut ctx)?)
    }

    /// Numbers of all classes for each of the pictures, one after the other.
    pub fn logits(&self, pixels: &Pixels) -> Result<Vec<f32>> {
        Ok(self.outputs(pixels)?.need("logits")?.f32s().to_vec())
    }

    /// The `top` likeliest classes of each picture, the likeliest first.
    pub fn classify(&self, pictures: &[Picture], top: usize) -> Result<Vec<Vec<Classified>>> {
        self.need("classify pictures", Class::ImageClassification)?;
        let labels = Labels::of(self.model.config())?;
        let logits = self.logits(&self.processor.batch(pictures)?)?;
        let classes = logits.len() / pictures.len().max(1);
        let of = |row: &[f32]| {
            let mut p = row.to_vec();
            softmax(&mut p);
            let best = top_k(&p, top.min(p.len()));
            best.into_iter().map(|i| Classified { label: labels.name(i).to_owned(), score: p[i] }).collect()
        };
        Ok(logits.chunks_exact(classes.max(1)).map(of).collect())
    }

    /// The objects in each picture, the likeliest first.
    pub fn detect(&self, pictures: &[Picture], post: PostProcess) -> Result<Vec<Vec<Detected>>> {
        self.need("detect objects", Class::ObjectDetection)?;
        let pixels = self.processor.batch(pictures)?;
        let placements: Vec<Placement> =
            pictures.iter().map(|p| self.processor.placement(p.width(), p.height()).0).collect();
        let records: Vec<usize> = (0..pictures.len()).collect();
        let samples = records.iter().map(|&i| i as u64).collect();
        let sizes = pictures.iter().map(|p| [p.width(), p.height()]).collect();
        let batch = Batch { pixels, targets: Targets::None, mixed: None, records, samples, placements, sizes };
        self.found(&batch, post)
    }

    /// The same for a batch.
    pub fn found(&self, batch: &Batch, post: PostProcess) -> Result<Vec<Vec<Detected>>> {
        let out = self.outputs(&batch.pixels)?;
        let (logits, boxes) = (out.need("logits")?, out.need("pred_boxes")?);
        let [n, queries, classes] = logits.dims("logits")?;
        let mut found = Vec::with_capacity(n);
        for (i, &[width, height]) in batch.sizes.iter().enumerate() {
            let mut here = Vec::new();
            for query in i * queries..(i + 1) * queries {
                let mut p = logits.f32s()[query * classes..(query + 1) * classes].to_vec();
                softmax(&mut p);
                // The last class is that of nothing.
                let Some(&class) = top_k(&p[..classes - 1], 1).first() else { continue };
                let relative = [0, 1, 2, 3].map(|k| boxes.f32s()[4 * query + k]);
                let [l, t, r, b] = batch.original(i, relative);
                let (w, h) = (width as f32, height as f32);
                let bounds = [l.clamp(0.0, w), t.clamp(0.0, h), r.clamp(0.0, w), b.clamp(0.0, h)];
                here.push(Detected { class, score: p[class], bounds });
            }
            found.push(post.apply(here));
        }
        Ok(found)
    }

    /// A vector for each picture.
    ///
    /// # Errors
    ///
    /// The model has a head.
    pub fn embed(&self, pictures: &[Picture], pooling: PicturePooling) -> Result<Vec<Vec<f32>>> {
        self.need("give vectors of pictures", Class::Base)?;
        let pixels = self.processor.batch(pictures)?;
        let out = self.outputs(&pixels)?;
        if let (PicturePooling::Auto, Some(summary)) = (pooling, out.get("pooler_output")) {
            return Ok(summary.f32s().chunks_exact(summary.shape().width().max(1)).map(<[f32]>::to_vec).collect());
        }
        let states = out.need("last_hidden_state")?;
        let [_, t, c] = states.dims("last_hidden_state")?;
        let pictures = states.f32s().chunks_exact((t * c).max(1));
        if pooling != PicturePooling::Mean {
            return Ok(pictures.map(|picture| picture[..c].to_vec()).collect());
        }
        let patch = self.model.info().image.map_or([1; 2], |image| image.patch.map(|side| side.max(1)));
        let patches = (pixels.height / patch[0]) * (pixels.width / patch[1]);
        // A detector's tokens stand behind the patches, all others before them.
        let first = if self.model.architecture().model_type == "yolos" { 1 } else { t.saturating_sub(patches) };
        let mean = |picture: &[f32]| {
            let mut sum = vec![0.0f32; c];
            let rows = picture[first * c..].chunks_exact(c).take(patches);
            let count = rows.len().max(1) as f32;
            rows.for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x));
            sum.iter_mut().for_each(|x| *x /= count);
            sum
        };
        Ok(pictures.map(mean).collect())
    }
}

/// The inputs of some pictures of a batch.
pub fn inputs(pixels: &Pixels, which: std::ops::Range<usize>) -> Inputs {
    let (n, size) = (which.len(), pixels.height * pixels.width);
    let values = &pixels.values[which.start * 3 * size..which.end * 3 * size];
    let inputs = Inputs::new("pixel_values", Tensor::from_slice(values, [n, 3, pixels.height, pixels.width]));
    match &pixels.mask {
        Some(mask) if mask.contains(&0) => {
            let mask: Vec<i32> = mask[which.start * size..which.end * size].iter().map(|&x| x.into()).collect();
            inputs.with("pixel_mask", Tensor::from_slice(&mask, [n, pixels.height, pixels.width]))
        }
        _ => inputs,
    }
}
