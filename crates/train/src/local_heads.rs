//! Attention that begins by looking at the tokens around.
//!
//! With random weights every token at first sees the mean of all others, and a model of masked words spends most of a small budget at
//! the loss of guessing by frequency and topic, until heads that look at neighbours emerge. Here the heads of the first layer look
//! at neighbours from the start: positions are sinusoids ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)) with frequencies at
//! even distances, so that a shift of positions is a rotation, and queries and keys of a head are that rotation. What is trained is
//! a BERT like any other. That attention of trained models does this in its lower layers, and that fixed windows do as well there, is known
//! ([Clark et al. 2019](https://arxiv.org/abs/1906.04341), [You et al. 2020](https://arxiv.org/abs/2005.00742)), as are the gains of weights
//! that begin with the structure of trained ones ([Trockman and Kolter 2023](https://arxiv.org/abs/2305.09828)).

use std::f64::consts::PI;

use bedstone_kernels::random::{self, Draw};
use bedstone_models::Model;
use bedstone_tensor::ParamId;

use crate::Result;

/// The logit of the token that a head looks at, above those of others.
const PEAK: f64 = 9.0;
/// Segments begin shorter than this share of usual: a vector that all tokens have in common blurs what heads see.
const SEGMENTS: f32 = 0.1;

/// What a head looks at, seen from each token: the one before, the one behind, two before, two behind, and so on.
fn offset(head: usize) -> f64 {
    let distance = (head / 2 + 1) as f64;
    if head.is_multiple_of(2) { -distance } else { distance }
}

/// Gives positions and the first layer's queries and keys of a BERT or RoBERTa these values, whose length is that of the positions
/// before; false where the model has no such tables.
pub(crate) fn begin_local(model: &mut Model, seed: u64) -> Result<bool> {
    let find = |name: &str| model.params().iter().find(|(_, p)| p.name.ends_with(name)).map(|(id, _)| id);
    let layer = "encoder.layer.0.attention.self";
    let (places, query, key) = (
        find("embeddings.position_embeddings.weight"),
        find(&format!("{layer}.query.weight")),
        find(&format!("{layer}.key.weight")),
    );
    let segments = find("embeddings.token_type_embeddings.weight");
    let (Some(places), Some(query), Some(key)) = (places, query, key) else { return Ok(false) };
    let heads = model.config().get("num_attention_heads").and_then(|n| n.as_u64()).unwrap_or(1) as usize;
    let [rows, width] = model.params().get(places).value.dims("positions")?;
    let [out, inner] = model.params().get(query).value.dims("queries")?;
    if inner != width || out != width || heads == 0 || width % heads != 0 {
        return Ok(false);
    }
    let (pairs, columns) = (width / 2, width / heads);
    let frequency = |pair: usize| PI * (pair as f64 + 0.5) / pairs as f64;
    let mut edit =
        |id: ParamId, change: &mut dyn FnMut(&mut [f32])| change(model.params_mut().get_mut(id).value.f32s_mut());

    edit(places, &mut |table| {
        // The mean of the squares of sines is a half.
        let squares: f64 = table.iter().map(|&x| f64::from(x).powi(2)).sum();
        let length = (2.0 * squares / table.len().max(1) as f64).sqrt();
        for (place, row) in table.chunks_mut(width).enumerate().take(rows) {
            for pair in 0..pairs {
                let (sin, cos) = (place as f64 * frequency(pair)).sin_cos();
                (row[2 * pair], row[2 * pair + 1]) = ((length * sin) as f32, (length * cos) as f32);
            }
        }
    });
    if let Some(id) = segments {
        edit(id, &mut |table| table.iter_mut().for_each(|x| *x *= SEGMENTS));
    }
    // Each head has frequencies of its own, spread over all: few at even distances would see a token again some places further.
    let draw = Draw { key: random::key(seed, 0), sample: 0, place: 2 };
    let mut order: Vec<usize> = (0..pairs).collect();
    order.sort_by_key(|&pair| draw.bits(0, pair as u32));
    // A pair of a normalised state, half of which is position, adds about 1 where positions agree.
    let gain = (PEAK * (columns as f64).sqrt() / (columns / 2).max(1) as f64).sqrt();
    for (id, shifted) in [(query, true), (key, false)] {
        edit(id, &mut |matrix| {
            matrix.fill(0.0);
            for head in 0..heads {
                for i in 0..columns / 2 {
                    let Some(&pair) = order.get(head * (columns / 2) + i) else { continue };
                    let angle = if shifted { frequency(pair) * offset(head) } else { 0.0 };
                    let (sin, cos) = (gain * angle.sin(), gain * angle.cos());
                    let row = head * columns + 2 * i;
                    let mut set = |row: usize, column: usize, x: f64| matrix[row * width + column] = x as f32;
                    set(row, 2 * pair, cos);
                    set(row, 2 * pair + 1, sin);
                    set(row + 1, 2 * pair, -sin);
                    set(row + 1, 2 * pair + 1, cos);
                }
            }
        });
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
        assert!(begin_local(&mut model, 1).unwrap());
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
            assert!(begin_local(&mut model, 0).unwrap());
            assert!(model.params().iter().all(|(_, p)| p.value.f32s().iter().all(|x| x.is_finite())));
        }
        let gpt = Architecture::by_model_type("gpt2").unwrap();
        let mut model = Model::random(Model::config_of(gpt, Class::CausalLm, &Map::new()), 0).unwrap();
        assert!(!begin_local(&mut model, 0).unwrap());
    }
}
