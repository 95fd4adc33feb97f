//! Texts: the heads of the first layer look at the tokens before and behind.

use std::f64::consts::PI;

use bedstone_models::Model;

use super::{Heads, order, sinusoids, values};
use crate::Result;

/// Segments begin shorter than this share of usual: a vector that all tokens have in common blurs what heads see.
const SEGMENTS: f32 = 0.1;

/// What a head looks at, seen from each token: the one before, the one behind, two before, two behind, and so on.
fn offset(head: usize) -> f64 {
    let distance = (head / 2 + 1) as f64;
    if head.is_multiple_of(2) { -distance } else { distance }
}

/// Gives positions and the first layer's queries and keys of a BERT or RoBERTa these values, whose length is that of the positions
/// before; false where the model has no such tables.
pub(super) fn begin(model: &mut Model, seed: u64) -> Result<bool> {
    let find = |name: &str| model.params().ending(name);
    let layer = "encoder.layer.0.attention.self";
    let (places, query, key) = (
        find("embeddings.position_embeddings.weight"),
        find(&format!("{layer}.query.weight")),
        find(&format!("{layer}.key.weight")),
    );
    let segments = find("embeddings.token_type_embeddings.weight");
    let (Some(places), Some(query), Some(key)) = (places, query, key) else { return Ok(false) };
    let [_, width] = model.params().get(places).value.dims("positions")?;
    let Some(heads) = Heads::of(model, query, width)? else { return Ok(false) };
    let (pairs, each) = (width / 2, heads.columns / 2);
    let frequency = |pair: usize| PI * (pair as f64 + 0.5) / pairs as f64;
    let table = values(model, places);
    let squares: f64 = table.iter().map(|&x| f64::from(x).powi(2)).sum();
    let length = (squares / table.len().max(1) as f64).sqrt();
    for (place, row) in table.chunks_mut(width).enumerate() {
        sinusoids(row, length, (0..pairs).map(|pair| (pair, place as f64 * frequency(pair))));
    }
    if let Some(id) = segments {
        values(model, id).iter_mut().for_each(|x| *x *= SEGMENTS);
    }
    let order = order(pairs, seed, 0);
    for head in 0..heads.count {
        let own = order.iter().skip(head * each).take(each);
        let turns: Vec<(usize, f64)> = own.map(|&pair| (pair, frequency(pair) * offset(head))).collect();
        heads.look(model, [query, key], head, &turns);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use bedstone_models::{Architecture, Class};
    use serde_json::{Map, Value, json};

    use super::*;

    fn bert(fields: Value) -> Model {
        let all: Map<String, Value> = json!({
            "vocab_size": 90, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48,
            "max_position_embeddings": 40, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        })
        .as_object()
        .unwrap()
        .clone();
        let all = all.into_iter().chain(fields.as_object().unwrap().clone()).collect();
        let architecture = Architecture::by_model_type("bert").unwrap();
        Model::random(Model::config_of(architecture, Class::MaskedLm, &all), 3).unwrap()
    }

    fn table<'a>(model: &'a Model, end: &str) -> &'a [f32] {
        model.params().iter().find(|(_, p)| p.name.ends_with(end)).unwrap().1.value.f32s()
    }

    #[test]
    fn heads_look_at_neighbours() {
        let mut model = bert(json!({}));
        assert!(begin(&mut model, 1).unwrap());
        let words = table(&model, "word_embeddings.weight");
        let (places, types) =
            (table(&model, "position_embeddings.weight"), table(&model, "token_type_embeddings.weight"));
        let states: Vec<Vec<f64>> = (0..40)
            .map(|i| {
                let x: Vec<f64> =
                    (0..96).map(|c| f64::from(words[(i * 7 % 90) * 96 + c] + places[i * 96 + c] + types[c])).collect();
                let mean = x.iter().sum::<f64>() / 96.0;
                let spread = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 96.0).sqrt();
                x.iter().map(|x| (x - mean) / spread).collect()
            })
            .collect();
        let project = |end: &str, x: &[f64], row: usize| -> f64 {
            table(&model, end)[row * 96..][..96].iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
        };
        for (head, offset) in [(0, -1), (1, 1), (2, -2)] {
            let mut right = 0;
            for i in 4..36i32 {
                let logit = |j: usize| -> f64 {
                    (head * 32..head * 32 + 32)
                        .map(|r| {
                            project("0.attention.self.query.weight", &states[i as usize], r)
                                * project("0.attention.self.key.weight", &states[j], r)
                        })
                        .sum()
                };
                let best = (0..40).max_by(|&a, &b| logit(a).total_cmp(&logit(b))).unwrap();
                right += i32::from(best as i32 == i + offset);
            }
            // By chance it would be one in forty.
            assert!(right >= 20, "head {head}: {right} of 32");
        }
    }

    #[test]
    fn odd_sizes_and_models_without_such_tables() {
        for (width, heads) in [(15, 3), (16, 1), (30, 2), (12, 12)] {
            let mut model = bert(json!({"hidden_size": width, "num_attention_heads": heads}));
            assert!(begin(&mut model, 0).unwrap());
            assert!(model.params().iter().all(|(_, p)| p.value.f32s().iter().all(|x| x.is_finite())));
        }
        let gpt = Architecture::by_model_type("gpt2").unwrap();
        let mut model = Model::random(Model::config_of(gpt, Class::CausalLm, &Map::new()), 0).unwrap();
        assert!(!begin(&mut model, 0).unwrap());
    }
}
