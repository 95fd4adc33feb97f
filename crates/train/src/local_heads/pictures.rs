//! Pictures: heads look at the patches around, as the weights of a convolution do.

use std::f64::consts::PI;

use bedstone_models::Model;

use super::{Heads, order, sinusoids, values};
use crate::Result;

/// The highest frequency of positions: a half turn in two patches. Things are larger than patches, so heads need not tell neighbours
/// apart sharply, and positions between those of patches, for another size of pictures, stay meaningful.
const HIGHEST: f64 = PI / 2.0;
/// Where heads look, one after another, in patches to the right and down.
const OFFSETS: [[f64; 2]; 5] = [[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]];

/// Gives a ViT positions in two dimensions, and local heads: all of the first layer, and the first one of each other; false where the
/// model has no such tables.
pub(super) fn begin(model: &mut Model, seed: u64) -> Result<bool> {
    let Some(places) = model.params().ending("embeddings.position_embeddings") else { return Ok(false) };
    let Some(patches) = model.params().ending("embeddings.patch_embeddings.projection.weight") else {
        return Ok(false);
    };
    let Some(image) = model.info().image else { return Ok(false) };
    let [_, tokens, width] = model.params().get(places).value.dims("positions")?;
    let [down, across] = image.grid();
    let Some(before) = tokens.checked_sub(down * across) else { return Ok(false) };
    // As long as what is seen of a patch, whose values are half as far from 0 as those of noise: half of what heads see is position.
    let filters = model.params().get(patches).value.f32s();
    let squares: f64 = filters.iter().map(|&x| f64::from(x).powi(2)).sum();
    let length = (squares / width as f64).sqrt() / 2.0;
    let axis = width / 4;
    let frequency = |i: usize| HIGHEST * (i as f64 + 0.5) / axis as f64;
    for (patch, row) in values(model, places).chunks_mut(width).skip(before).enumerate() {
        let at = [patch % across, patch / across].map(|place| place as f64);
        sinusoids(row, length, (0..2 * axis).map(|pair| (pair, at[pair / axis] * frequency(pair % axis))));
    }
    let mut offsets = OFFSETS.into_iter().cycle();
    for layer in 0..model.info().layers {
        let find =
            |part: &str| model.params().ending(&format!("encoder.layer.{layer}.attention.attention.{part}.weight"));
        let (Some(query), Some(key)) = (find("query"), find("key")) else { return Ok(false) };
        let Some(heads) = Heads::of(model, query, width)? else { return Ok(false) };
        let own = if layer == 0 { heads.count } else { 1 };
        let orders = [0, 1].map(|of| order(axis, seed, (2 * layer + of) as u32));
        let each = heads.columns / 4;
        for (head, offset) in (0..own).zip(&mut offsets) {
            let pairs = |of: usize| {
                let own = orders[of].iter().skip(head * each).take(each);
                own.map(move |&i| (of * axis + i, frequency(i) * offset[of]))
            };
            let turns: Vec<(usize, f64)> = pairs(0).chain(pairs(1)).collect();
            heads.look(model, [query, key], head, &turns);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use bedstone_models::{Architecture, Class};
    use serde_json::{Map, Value, json};

    use super::*;

    fn vit(fields: Value) -> Model {
        let all: Map<String, Value> = json!({
            "image_size": 48, "patch_size": 8, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3,
            "intermediate_size": 48, "initializer_range": 0.07,
        })
        .as_object()
        .unwrap()
        .clone();
        let all = all.into_iter().chain(fields.as_object().unwrap().clone()).collect();
        let architecture = Architecture::by_model_type("vit").unwrap();
        Model::random(Model::config_of(architecture, Class::ImageClassification, &all), 3).unwrap()
    }

    fn table<'a>(model: &'a Model, end: &str) -> &'a [f32] {
        model.params().get(model.params().ending(end).unwrap()).value.f32s()
    }

    #[test]
    fn heads_look_at_patches_around() {
        let mut model = vit(json!({}));
        assert!(begin(&mut model, 1).unwrap());
        let places = &table(&model, "embeddings.position_embeddings")[96..];
        // Patches of smooth pictures: half of each is a colour of its own.
        let filters = table(&model, "projection.weight");
        let states: Vec<Vec<f64>> = (0..36)
            .map(|patch| {
                let pixel = |i: usize| {
                    ((patch * 7 + i / 64 * 5) as f64).sin() * 0.5 + ((patch * 64 + i) as f64 * 1.7).sin() * 0.3
                };
                let seen = |c: usize| (0..192).map(|i| f64::from(filters[c * 192 + i]) * pixel(i)).sum::<f64>();
                let x: Vec<f64> = (0..96).map(|c| seen(c) + f64::from(places[patch * 96 + c])).collect();
                let mean = x.iter().sum::<f64>() / 96.0;
                let spread = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 96.0).sqrt();
                x.iter().map(|x| (x - mean) / spread).collect()
            })
            .collect();
        let project = |part: &str, x: &[f64], row: usize| -> f64 {
            let weight = table(&model, &format!("layer.0.attention.attention.{part}.weight"));
            weight[row * 96..][..96].iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
        };
        let mut moved = Vec::new();
        for (head, right) in [0.0, 1.0, -1.0].into_iter().enumerate() {
            let (mut near, mut of, mut sum) = (0, 0, 0.0);
            for (row, column) in (1..5).flat_map(|row| (1..5).map(move |column| (row, column))) {
                let rows = head * 32..head * 32 + 32;
                let logit = |j: usize| -> f64 {
                    let i = row * 6 + column;
                    let logit = rows.clone().map(|r| project("query", &states[i], r) * project("key", &states[j], r));
                    logit.sum::<f64>() / 32f64.sqrt()
                };
                let shares: Vec<f64> = (0..36).map(|j| logit(j).exp()).collect();
                let total: f64 = shares.iter().sum();
                let mean = |of: &dyn Fn(usize) -> usize| {
                    shares.iter().enumerate().map(|(j, x)| of(j) as f64 * x).sum::<f64>() / total
                };
                let away = [mean(&|j| j % 6) - column as f64 - right, mean(&|j| j / 6) - row as f64];
                near += i32::from(away.iter().all(|x| x.abs() < 1.0));
                of += 1;
                sum += mean(&|j| j % 6) - column as f64;
            }
            assert!(near * 4 >= of * 3, "head {head}: {near} of {of}");
            moved.push(sum / f64::from(of));
        }
        // Softly: with what patches show half of what is seen, a head sees several around.
        assert!(moved[1] > moved[0] + 0.15 && moved[2] < moved[0] - 0.15, "{moved:?}");
    }

    #[test]
    fn odd_sizes_and_models_without_such_tables() {
        for (width, heads) in [(15, 3), (16, 1), (30, 2), (12, 12)] {
            let mut model = vit(json!({"hidden_size": width, "num_attention_heads": heads}));
            assert!(begin(&mut model, 0).unwrap());
            assert!(model.params().iter().all(|(_, p)| p.value.f32s().iter().all(|x| x.is_finite())));
        }
        let bert = Architecture::by_model_type("bert").unwrap();
        let mut model = Model::random(Model::config_of(bert, Class::MaskedLm, &Map::new()), 0).unwrap();
        assert!(!begin(&mut model, 0).unwrap());
    }
}
