//! Boxes that begin around the points where a detector's tokens stand.
//!
//! The tokens of a ViT that becomes a detector begin as patches without content at points spread over the picture
//! ([`bedstone_models::transfer`]), but the head that makes boxes of them begins at random: all say nearly the same box, so an object goes to
//! whichever is a hair nearer, to another one each time, and none learns whose it is. Here the head begins as the one by which each token,
//! and each patch, says a box of usual size around its own point. Objects then go to the token that is nearest from the first step on, a rule
//! that each token can learn by itself. It is that of the cells of YOLO ([Redmon et al. 2015](https://arxiv.org/abs/1506.02640)) and of
//! anchor points (Anchor DETR, [Wang et al. 2021](https://arxiv.org/abs/2109.07107)), in the weights alone: the model is a YOLOS like any
//! other.
//!
//! Where a token stands is a small part of its state behind all layers, so it takes large weights to read. Two units of the first
//! layer read it, the layers behind hand it on, each with an equal share of the gain: all of it in the last layer would multiply whatever the layers
//! before learn, and the first steps would ruin them.

use bedstone_data::pictures::{LoaderOptions, PictureSet, gather};
use bedstone_infer::tasks::vision::inputs;
use bedstone_models::{LoadReport, Model, token_grid};
use bedstone_tensor::{Ctx, Isa, ParamId, Precision};

use crate::Result;

/// Pictures that are looked at, at least and at most, and tokens of them that are enough.
const PICTURES: [usize; 2] = [8, 64];
const ENOUGH: usize = 8192;
/// Of these at a time.
const BATCH: usize = 8;
/// The share of the mean square of a feature that is added to that of each: those that hardly differ get small weights.
const RIDGE: f64 = 1e-2;
/// Width and height of boxes where the pictures have none.
const USUAL: f64 = 0.25;
/// Beyond all points, before the sigmoid.
const FAR: f64 = 5.0;
/// What a unit of the first layer is divided by, and a box multiplied with.
const GAIN: f64 = 2.0;
/// The head of boxes.
const HEAD: &str = "bbox_predictor.layers";

/// Fits a fresh head of boxes to the points of its tokens, by least squares over the tokens and patches in the first pictures of `set`;
/// leaves models of other kinds, and heads that were trained, as they are.
pub(super) fn begin_at_points(
    model: &mut Model,
    report: &LoadReport,
    set: &PictureSet,
    options: &LoaderOptions,
    isa: Isa,
) -> Result<()> {
    let is_fresh = |end: &str| report.fresh.iter().any(|name| name.ends_with(end));
    if !is_fresh("embeddings.detection_tokens") || !is_fresh("bbox_predictor.layers.2.weight") {
        return Ok(());
    }
    let find = |i: usize, part: &str| model.params().ending(&format!("{HEAD}.{i}.{part}"));
    let layers: Option<Vec<(ParamId, ParamId)>> =
        (0..3).map(|i| Some((find(i, "weight")?, find(i, "bias")?))).collect();
    let Some([first, second, last]) = layers.as_deref() else { return Ok(()) };
    let tokens = model.config().usize("num_detection_tokens").ok().flatten().unwrap_or(100);

    let grid = model.info().image.map_or([0, 0], |image| image.grid());
    let points: Vec<[f64; 2]> = points(grid[0] * grid[1], grid).chain(points(tokens, token_grid(tokens))).collect();
    let (pictures, width) =
        ((ENOUGH / points.len()).clamp(PICTURES[0], PICTURES[1]).min(set.len()), model.info().width);
    let (mut features, mut objects) = (Vec::with_capacity(pictures * points.len() * width), Vec::new());
    let records: Vec<usize> = (0..pictures).collect();
    for records in records.chunks(BATCH) {
        let batch = gather(set, options, 0, records)?;
        objects.extend((0..records.len()).flat_map(|i| batch.boxes(i).1));
        let mut ctx = Ctx::inference(model.env(isa, Precision::F32));
        let mut inputs = inputs(&batch.pixels, 0..records.len());
        inputs.last_states = true;
        let states = model.forward(&inputs, &mut ctx)?;
        let states = states.need("last_hidden_state")?;
        let [_, length, _] = states.dims("states")?;
        // The class token is the first of each picture, the tokens of boxes are the last ones. Of pictures of another size it is not known
        // where patches are.
        if length != 1 + points.len() {
            return Ok(());
        }
        let own = states.f32s().chunks_exact(length * width).flat_map(|all| &all[width..]);
        features.extend(own.map(|&x| f64::from(x)));
    }
    let wanted: Vec<[f64; 2]> = (0..pictures * points.len()).map(|row| points[row % points.len()]).collect();
    let (weight, bias) = fitted(&features, &wanted, width);
    let size = usual(&objects).map(logit);

    // A unit is `(x + FAR) / GAIN`, which is above 0 for every point.
    let params = model.params_mut();
    params.get_mut(last.0).value.f32s_mut().fill(0.0);
    for k in 0..2 {
        let row = k * width..(k + 1) * width;
        let reading = &mut params.get_mut(first.0).value.f32s_mut()[row.clone()];
        reading.iter_mut().zip(&weight[k]).for_each(|(own, w)| *own = (w / GAIN) as f32);
        params.get_mut(first.1).value.f32s_mut()[k] = ((bias[k] + FAR) / GAIN) as f32;
        let handing = &mut params.get_mut(second.0).value.f32s_mut()[row];
        handing.fill(0.0);
        handing[k] = 1.0;
        params.get_mut(second.1).value.f32s_mut()[k] = 0.0;
        params.get_mut(last.0).value.f32s_mut()[k * width + k] = GAIN as f32;
        let centre_and_size = params.get_mut(last.1).value.f32s_mut();
        (centre_and_size[k], centre_and_size[2 + k]) = (-FAR as f32, size[k] as f32);
    }
    Ok(())
}

/// The mean width and height of objects.
fn usual(objects: &[[f32; 4]]) -> [f64; 2] {
    let mean = |side: usize| match objects.len() {
        0 => USUAL,
        n => objects.iter().map(|b| f64::from(b[side])).sum::<f64>() / n as f64,
    };
    [mean(2), mean(3)]
}

/// What a sigmoid makes this share of.
fn logit(share: f64) -> f64 {
    let share = share.clamp(0.01, 0.99);
    (share / (1.0 - share)).ln()
}

/// What a head says, before its sigmoid, for the centre at the point of each of `n` tokens, `down` and `across` a picture.
fn points(n: usize, [down, across]: [usize; 2]) -> impl Iterator<Item = [f64; 2]> {
    let centre = |place: usize, of: usize| logit((place as f64 + 0.5) / of as f64);
    (0..n).map(move |i| [centre(i % across, across), centre(i / across, down)])
}

/// Weights and biases that make `wanted` of rows of `features`, `[n, width]`, with the least squares of errors and weights.
fn fitted(features: &[f64], wanted: &[[f64; 2]], width: usize) -> ([Vec<f64>; 2], [f64; 2]) {
    let n = wanted.len() as f64;
    let mut mean = vec![0.0; width];
    features.chunks_exact(width).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, x)| *m += x / n));
    let middle: [f64; 2] = std::array::from_fn(|k| wanted.iter().map(|w| w[k]).sum::<f64>() / n);
    // Products of features with each other and with what is wanted, from their means.
    let (mut square, mut right) = (vec![0.0; width * width], vec![[0.0; 2]; width]);
    for (row, wanted) in features.chunks_exact(width).zip(wanted) {
        let row: Vec<f64> = row.iter().zip(&mean).map(|(x, m)| x - m).collect();
        for (i, x) in row.iter().enumerate() {
            square[i * width..][..width].iter_mut().zip(&row).for_each(|(s, y)| *s += x * y);
            (0..2).for_each(|k| right[i][k] += x * (wanted[k] - middle[k]));
        }
    }
    let trace: f64 = (0..width).map(|i| square[i * width + i]).sum();
    let ridge = (RIDGE * trace / width as f64).max(f64::MIN_POSITIVE);
    (0..width).for_each(|i| square[i * width + i] += ridge);
    solve(&mut square, &mut right);
    let weight: [Vec<f64>; 2] = std::array::from_fn(|k| right.iter().map(|row| row[k]).collect());
    let bias = std::array::from_fn(|k| middle[k] - weight[k].iter().zip(&mean).map(|(w, m)| w * m).sum::<f64>());
    (weight, bias)
}

/// Leaves `x` of `square · x = right` in `right`; `square` is symmetric with squares above 0 (Cholesky).
fn solve(square: &mut [f64], right: &mut [[f64; 2]]) {
    let n = right.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..n {
        for j in 0..=i {
            let rest = square[i * n + j] - dot(&square[i * n..][..j], &square[j * n..][..j]);
            square[i * n + j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / square[j * n + j] };
        }
    }
    for k in 0..2 {
        for i in 0..n {
            let known: f64 = (0..i).map(|j| square[i * n + j] * right[j][k]).sum();
            right[i][k] = (right[i][k] - known) / square[i * n + i];
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|j| square[j * n + i] * right[j][k]).sum();
            right[i][k] = (right[i][k] - known) / square[i * n + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use bedstone_data::pictures::{Batch, augment::Augment};
    use bedstone_models::{Architecture, Class};
    use serde_json::{Map, Value, json};

    use super::*;
    use bedstone_world::Classes;

    use crate::pictures::{Want, WorldSource, processor, world};

    /// How far boxes are from those around the tokens' points on average, in shares of the picture.
    fn distance(model: &Model, batch: &Batch) -> f64 {
        let mut ctx = Ctx::inference(model.env(Isa::detect(), Precision::F32));
        let out = model.forward(&inputs(&batch.pixels, 0..batch.pixels.count), &mut ctx).unwrap();
        let objects: Vec<[f32; 4]> = (0..batch.pixels.count).flat_map(|i| batch.boxes(i).1).collect();
        let size = usual(&objects).map(logit);
        let wanted = points(6, token_grid(6)).flat_map(|[x, y]| [x, y, size[0], size[1]]);
        let wanted = wanted.map(|x| 1.0 / (1.0 + (-x).exp()));
        let found = out.get("pred_boxes").unwrap().f32s();
        let wrong: f64 =
            found.iter().zip(wanted.collect::<Vec<_>>().iter().cycle()).map(|(a, b)| (f64::from(*a) - b).abs()).sum();
        wrong / found.len() as f64
    }

    #[test]
    fn boxes_begin_around_their_points() {
        let architecture = Architecture::by_model_type("yolos").unwrap();
        let mut fields: Map<String, Value> = serde_json::from_str(architecture.tiny).unwrap();
        fields.insert("num_detection_tokens".into(), json!(6));
        let config = Model::config_of(architecture, Class::ObjectDetection, &fields);
        let mut model = Model::random(config, 3).unwrap();
        let size = model.info().image.unwrap().size;
        let set =
            world(WorldSource { pictures: 20, side: 48, classes: Classes::Categories }, Want::Objects).unwrap().train;
        let processor = processor(None, &model, size).unwrap();
        let options = LoaderOptions { seed: 0, augment: Augment::default(), processor, mix: None };
        let batch = gather(&set, &options, 0, &(0..set.len()).collect::<Vec<_>>()).unwrap();

        let before = distance(&model, &batch);
        let trained = LoadReport::default();
        begin_at_points(&mut model, &trained, &set, &options, Isa::detect()).unwrap();
        assert_eq!(distance(&model, &batch), before, "a trained head stays");

        let fresh = ["vit.embeddings.detection_tokens", "bbox_predictor.layers.2.weight"].map(str::to_owned);
        let report = LoadReport { fresh: fresh.to_vec(), ..LoadReport::default() };
        begin_at_points(&mut model, &report, &set, &options, Isa::detect()).unwrap();
        let after = distance(&model, &batch);
        assert!(before > 0.15 && after < 0.05, "{before}, then {after}");
    }

    #[test]
    fn equations_are_solved() {
        // As many features as rows: the ridge alone keeps what is wanted from being met.
        let features = [1.0, 2.0, 0.0, -1.0, 3.0, 1.0];
        let wanted = [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]];
        let (weight, bias) = fitted(&features, &wanted, 2);
        for (x, wanted) in features.chunks_exact(2).zip(&wanted) {
            for k in 0..2 {
                let y = bias[k] + weight[k][0] * x[0] + weight[k][1] * x[1];
                assert!((y - wanted[k]).abs() < 0.02, "{y} and {}", wanted[k]);
            }
        }
    }
}
