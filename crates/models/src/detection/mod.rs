//! Detection as prediction of a set: each object is given one prediction, which learns to be it; the others learn that
//! there is nothing. [Carion et al. 2020](https://arxiv.org/abs/2005.12872).

mod assignment;
mod covered;
mod targets;

use bedstone_nn::{Builder, Linear};
use bedstone_tensor::{
    Activation, Ctx, Result as OpResult, Tensor, TensorError,
    ops::{self, TargetLoss, boxes},
};
use serde::Deserialize;

use crate::{Inputs, ModelError, Outputs, checkpoint::ConfigFile, encoder::labels, model::config_error};

use assignment::assign;
use covered::covered;
pub use covered::covered_patches;
use targets::{Target, targets};

/// The weights of costs and losses in `config.json`, with the defaults of the released models.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct DetectionConfig {
    class_cost: f64,
    bbox_cost: f64,
    giou_cost: f64,
    bbox_loss_coefficient: f64,
    giou_loss_coefficient: f64,
    eos_coefficient: f64,
    /// Whether predictions of inner layers learn too.
    pub(crate) auxiliary_loss: bool,
    /// Classes, without the one for nothing.
    #[serde(skip)]
    pub(crate) classes: usize,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        DetectionConfig {
            class_cost: 1.0,
            bbox_cost: 5.0,
            giou_cost: 2.0,
            bbox_loss_coefficient: 5.0,
            giou_loss_coefficient: 2.0,
            eos_coefficient: 0.1,
            auxiliary_loss: false,
            classes: 0,
        }
    }
}

impl DetectionConfig {
    /// That of a file.
    pub(crate) fn of(file: &ConfigFile) -> Result<Self, ModelError> {
        let config = DetectionConfig { classes: labels(file)?, ..file.parse()? };
        for (what, value) in [
            ("class_cost", config.class_cost),
            ("bbox_cost", config.bbox_cost),
            ("giou_cost", config.giou_cost),
            ("bbox_loss_coefficient", config.bbox_loss_coefficient),
            ("giou_loss_coefficient", config.giou_loss_coefficient),
            ("eos_coefficient", config.eos_coefficient),
        ] {
            if !(0.0..f64::INFINITY).contains(&value) {
                return Err(config_error(what, value, "0 or more").into());
            }
        }
        if config.class_cost + config.bbox_cost + config.giou_cost == 0.0 {
            return Err(config_error("class_cost", 0, "a cost above 0 among class_cost, bbox_cost, giou_cost").into());
        }
        Ok(config)
    }
}

/// What losses of parts of a batch are divided by: of the whole batch what was found, and pictures.
#[derive(Clone, Copy)]
struct Divisors {
    objects: f64,
    /// Nothing where this is the whole batch.
    pictures: Option<f64>,
}

/// Numbers of predictions and of the objects that they learn, of one picture.
type Pairs = Vec<(usize, usize)>;

/// Predictions of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Predictions {
    /// `[B, queries, classes + 1]`, the last one for nothing.
    pub(crate) logits: Tensor,
    /// `[B, queries, 4]`: centre, width and height as shares of the picture.
    pub(crate) boxes: Tensor,
}

/// Maps with ReLUs between them: parameters `layers.I`.
#[derive(Clone, Debug)]
pub(crate) struct PredictionHead(Vec<Linear>);

impl PredictionHead {
    /// Of three layers; `linear` makes each.
    pub(crate) fn new(
        mut b: Builder<'_>,
        width: usize,
        n_out: usize,
        linear: impl Fn(Builder<'_>, usize, usize) -> Result<Linear, ModelError>,
    ) -> Result<Self, ModelError> {
        let sizes = [(width, width), (width, width), (width, n_out)];
        let layers = sizes.into_iter().enumerate().map(|(i, (n, m))| linear(b.at("layers").at(i), n, m));
        Ok(PredictionHead(layers.collect::<Result<_, _>>()?))
    }

    /// `[.., C]` to `[.., out]` of f32.
    pub(crate) fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let (last, inner) = match self.0.split_last() {
            Some(parts) => parts,
            None => return Ok(x.clone()),
        };
        let mut x = x.clone();
        for layer in inner {
            x = layer.forward_activated(&x, Activation::Relu, ctx)?;
        }
        last.forward_full(&x, ctx)
    }
}

impl DetectionConfig {
    /// `logits`, `pred_boxes` and, if there are `labels.I.class_labels` and `labels.I.boxes` for each picture, the loss:
    /// `loss`, its parts `loss_dict.*`, and who was given whom, `match.I.query` and `match.I.target`.
    ///
    /// `inner` are the predictions of inner layers, which add their losses; `patches` those of patches, with how many there are down and
    /// across: each learns the object at its place, or that there is none, and the loss is weighted by [`Inputs::patch_loss`].
    ///
    /// With [`Inputs::loss_divisor`] as the objects, [`Inputs::patch_divisor`] as the patches that have one and [`Inputs::sample_divisor`] as
    /// the pictures of a whole batch, losses of its parts add up to that of the whole.
    pub(crate) fn put(
        &self,
        last: Predictions,
        inner: &[Predictions],
        patches: Option<(Predictions, [usize; 2])>,
        inputs: &Inputs,
        out: &mut Outputs,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<()> {
        let [batch, _, _] = last.logits.dims("logits")?;
        if let Some(targets) = targets(inputs, batch, self.classes)? {
            let divisors = |given: Option<f64>, own: usize| Divisors {
                objects: given.unwrap_or(own as f64),
                pictures: given.and(inputs.sample_divisor),
            };
            let whole = divisors(inputs.loss_divisor, targets.iter().map(|t| t.classes.len()).sum());
            let pairs = self.matches(&last, &targets)?;
            let mut total = self.loss(&last, &targets, &pairs, whole, "", out, ctx)?;
            for (i, predictions) in inner.iter().enumerate() {
                let pairs = self.matches(predictions, &targets)?;
                let loss = self.loss(predictions, &targets, &pairs, whole, &format!("_{i}"), out, ctx)?;
                total = ops::add(&total, &loss, ctx)?;
            }
            if let Some((predictions, grid)) = patches {
                let pairs: Vec<Pairs> = targets.iter().map(|target| covered(&target.boxes, grid)).collect();
                let whole = divisors(inputs.patch_divisor, pairs.iter().map(Vec::len).sum());
                let loss = self.loss(&predictions, &targets, &pairs, whole, "_patches", out, ctx)?;
                total = ops::add(&total, &ops::scale(&loss, inputs.patch_loss, ctx)?, ctx)?;
            }
            out.put("loss", total);
        }
        out.put("logits", last.logits);
        out.put("pred_boxes", last.boxes);
        Ok(())
    }

    /// The weighted sum of one layer's losses, where `pairs` of each picture say which prediction learns which object; its parts go to
    /// `out` with `end` behind their names.
    fn loss(
        &self,
        p: &Predictions,
        targets: &[Target],
        pairs: &[Pairs],
        whole: Divisors,
        end: &str,
        out: &mut Outputs,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<Tensor> {
        let [batch, queries, width] = p.logits.dims("logits")?;
        let none = (width - 1) as i32;
        let mut classes = vec![none; batch * queries];
        let (mut rows, mut wanted) = (Vec::new(), Vec::new());
        let counts: Vec<usize> = targets.iter().map(|t| t.classes.len()).collect();
        for (i, (target, pairs)) in targets.iter().zip(pairs).enumerate() {
            for &(query, object) in pairs {
                classes[i * queries + query] = target.classes[object];
                rows.push((i * queries + query) as i32);
                wanted.extend(target.boxes[object].map(|x| x as f32));
            }
            if end.is_empty() {
                let column = |f: fn(&(usize, usize)) -> usize| {
                    let numbers: Vec<i32> = pairs.iter().map(|pair| f(pair) as i32).collect();
                    Tensor::from_slice(&numbers, [numbers.len()])
                };
                out.put(format!("match.{i}.query"), column(|pair| pair.0));
                out.put(format!("match.{i}.target"), column(|pair| pair.1));
            }
        }
        // The weights of all classes in the whole batch, of which this may be a part.
        let objects = whole.objects;
        let weight = whole.pictures.map(|pictures| {
            let nothing = (pictures * queries as f64 - objects).max(0.0);
            objects + nothing * self.eos_coefficient
        });
        let mut weights = vec![1.0f32; width];
        weights[width - 1] = self.eos_coefficient as f32;
        let weights = Tensor::from_slice(&weights, [width]);
        let logits = p.logits.reshape([batch * queries, width])?;
        let labels = Tensor::from_slice(&classes, [classes.len()]);
        let ce = ops::weighted_cross_entropy(&logits, &labels, &weights, weight, ctx)?;
        let found = ops::rows(&p.boxes.reshape([batch * queries, 4])?, &rows, ctx)?;
        let wanted = Tensor::from_slice(&wanted, [rows.len(), 4]);
        let divisor = objects.max(1.0);
        let l1 = ops::target_loss(&found, &wanted, TargetLoss::AbsoluteError, Some(divisor), ctx)?;
        let giou = ops::giou_loss(&found, &wanted, divisor, ctx)?;
        let scaled = [
            ops::scale(&l1, self.bbox_loss_coefficient as f32, ctx)?,
            ops::scale(&giou, self.giou_loss_coefficient as f32, ctx)?,
        ];
        let sum = ops::add(&ce, &scaled[0], ctx)?;
        let sum = ops::add(&sum, &scaled[1], ctx)?;
        let cardinality = cardinality_error(&p.logits, &counts)?;
        for (name, part) in
            [("loss_ce", ce), ("loss_bbox", l1), ("loss_giou", giou), ("cardinality_error", cardinality)]
        {
            out.put(format!("loss_dict.{name}{end}"), part);
        }
        Ok(sum)
    }

    /// Which query each object of each picture is given to: pairs in the order of queries, of which those are left without an
    /// object that fit none, or objects without a query if there are more of them.
    fn matches(&self, p: &Predictions, targets: &[Target]) -> OpResult<Vec<Pairs>> {
        targets.iter().enumerate().map(|(i, target)| self.cheapest(p, i, target)).collect()
    }

    /// The same of picture `i`.
    fn cheapest(&self, p: &Predictions, i: usize, target: &Target) -> OpResult<Pairs> {
        let [_, queries, width] = p.logits.dims("logits")?;
        let logits = &p.logits.data::<f32>("logits")?[i * queries * width..(i + 1) * queries * width];
        let found = &p.boxes.data::<f32>("pred_boxes")?[i * queries * 4..(i + 1) * queries * 4];
        let objects = target.classes.len();
        let mut costs = Vec::with_capacity(queries * objects);
        for (logits, found) in logits.chunks_exact(width).zip(found.chunks_exact(4)) {
            let found = boxes::of_slice(found);
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
            let sum: f64 = logits.iter().map(|&x| (x as f64 - most).exp()).sum();
            for (&class, &wanted) in target.classes.iter().zip(&target.boxes) {
                let probability = (logits[class as usize] as f64 - most).exp() / sum;
                let distance: f64 = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).sum();
                let overlap = boxes::generalized_iou(found, wanted);
                let cost = self.bbox_cost * distance - self.class_cost * probability - self.giou_cost * overlap;
                // Of what is no number nothing is wanted, but everything gets its place.
                costs.push(if cost.is_finite() { cost } else { f32::MAX as f64 });
            }
        }
        Ok(assign(queries, objects, |query, object| costs[query * objects + object]))
    }
}

/// How far the count of things found is from the count of objects, on average: for people.
fn cardinality_error(logits: &Tensor, objects: &[usize]) -> OpResult<Tensor> {
    let [_, queries, width] = logits.dims("logits")?;
    // Of equal logits the first counts, and that for nothing is the last.
    let is_something = |row: &&[f32]| row[..width - 1].iter().any(|x| *x >= row[width - 1]);
    let pictures = logits.data::<f32>("logits")?.chunks_exact((queries * width).max(1));
    let errors = pictures.zip(objects).map(|(picture, &objects)| {
        let found = picture.chunks_exact(width).filter(is_something).count();
        found.abs_diff(objects) as f32
    });
    let mean = errors.sum::<f32>() / objects.len().max(1) as f32;
    Ok(Tensor::from_slice(&[mean], []))
}

/// The error of a loss that a model cannot have.
pub(crate) fn unsupported(what: &str) -> TensorError {
    TensorError::Unsupported { op: "detection", what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::{Isa, Precision};

    use super::*;
    use crate::{Class, Model};

    /// Pictures `from..to` of three, with two, no and one object, and what the whole batch has of them.
    fn part(from: usize, to: usize) -> Inputs {
        let x: Vec<f32> = (from * 288..to * 288).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut inputs = Inputs::new("pixel_values", Tensor::from_slice(&x, [to - from, 3, 8, 12]));
        for (i, n) in [2, 0, 1][from..to].iter().enumerate() {
            let boxes = [0.3f32, 0.4, 0.3, 0.2, 0.7, 0.6, 0.2, 0.5];
            inputs = inputs.with(&format!("labels.{i}.class_labels"), Tensor::from_slice(&[2i32, 0][..*n], [*n]));
            inputs = inputs.with(&format!("labels.{i}.boxes"), Tensor::from_slice(&boxes[..4 * n], [*n, 4]));
        }
        inputs
    }

    #[test]
    fn losses_of_parts_add_up_to_that_of_the_whole() {
        let fields: serde_json::Map<_, _> = serde_json::from_str(crate::yolos::ARCHITECTURE.tiny).unwrap();
        let config = Model::config_of(&crate::yolos::ARCHITECTURE, Class::ObjectDetection, &fields);
        let model = Model::random(config, 3).unwrap();
        let loss = |inputs: &Inputs, patch_loss: f32| {
            let mut inputs = inputs.clone();
            inputs.patch_loss = patch_loss;
            let mut ctx = Ctx::inference(model.env(Isa::detect(), Precision::F32));
            model.forward(&inputs, &mut ctx).unwrap().need("loss").unwrap().item().unwrap()
        };
        // Boxes of the first picture and of the last, over two rows of three patches.
        let [first, second] = [[0.3, 0.4, 0.3, 0.2], [0.7, 0.6, 0.2, 0.5]];
        let covered = covered_patches(&[first, second], [2, 3]) + covered_patches(&[first], [2, 3]);
        let divided = |mut inputs: Inputs| {
            (inputs.loss_divisor, inputs.sample_divisor) = (Some(3.0), Some(3.0));
            inputs.patch_divisor = Some(covered as f64);
            inputs
        };
        let whole = loss(&part(0, 3), 0.0);
        for patch_loss in [0.0, 0.5, 1.0] {
            let all = loss(&divided(part(0, 3)), patch_loss);
            let parts: f32 = (0..3).map(|i| loss(&divided(part(i, i + 1)), patch_loss)).sum();
            assert!((all - parts).abs() < 1e-4, "{patch_loss}: {all} and {parts}");
            assert!((all - loss(&part(0, 3), patch_loss)).abs() < 1e-4, "{patch_loss}: {all}");
            // Without patches it is that of boxes alone; with them there is more, by their weight.
            let added = loss(&divided(part(0, 3)), 2.0 * patch_loss) - all;
            assert!((all - whole - added).abs() < 1e-4 && (added > 0.1) == (patch_loss > 0.0), "{patch_loss}: {added}");
        }
    }
}
