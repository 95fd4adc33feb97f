//! Losses against sentence-transformers on stored cases, ranks by hand.

use std::sync::Arc;

use bedstone_data::{labelled::Unit, tokenizer::Tokenizer};
use bedstone_tensor::{Isa, Precision};

use super::*;
use crate::finetune::data::Setup;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests");

fn pairs() -> Pairs {
    Pairs { options: PairOptions::default(), score_scale: 1.0 }
}

fn example(record: usize, texts: &[&str], score: Option<f64>) -> PairExample {
    PairExample {
        place: bedstone_data::labelled::Place {
            file: Arc::from(Path::new("pairs.tsv")),
            record: record as u64,
            unit: Unit::Line,
        },
        anchor: texts[0].to_owned(),
        positive: texts[1].to_owned(),
        negative: texts.get(2).map(|text| (*text).to_owned()),
        score,
    }
}

/// Loss and gradients of a case that sentence-transformers computed (`bench/fixtures/sentence_losses.py`).
#[track_caller]
fn check(case: &Value) {
    let dir = Path::new(FIXTURES).join("fixtures/sentence-embedding");
    let (model, _) = bedstone_models::load(&dir).unwrap();
    let tokenizer = Tokenizer::load(&dir).unwrap();
    let columns: Vec<Vec<String>> = serde_json::from_value(case["columns"].clone()).unwrap();
    let examples: Vec<PairExample> = (0..columns[0].len())
        .map(|i| {
            let texts: Vec<&str> = columns.iter().map(|column| &column[i][..]).collect();
            example(i, &texts, case["scores"].get(i).and_then(Value::as_f64))
        })
        .collect();
    let pooling = Pooling::by_name(case["pooling"].as_str().unwrap()).unwrap();
    let sentence = SentenceConfig::plain(pooling);
    let setup = Setup { tokenizer: &tokenizer, max_length: 40, sentence: Some(&sentence) };
    let made = pairs().train(&examples, &setup).unwrap();
    let n = examples.len();
    let work = made.work(Draws { seed: 0, epoch: 0 }, (0..n as u64).collect()).unwrap();
    let mut ctx = Ctx::gradients(model.env(Isa::detect(), Precision::F32));
    let loss = work.loss(&model, &work.inputs(0..n, n as f64), &mut ctx).unwrap().loss;
    let close = |got: f64, want: f64, what: &str| {
        assert!((got - want).abs() < 2e-5 * want.abs().max(1.0), "{what}: {got}, want {want}; {}", case["name"]);
    };
    close(loss.item().unwrap() as f64, case["loss"].as_f64().unwrap(), "loss");
    let grads = ctx.backward(&loss).unwrap();
    for (name, want) in case["grads"].as_object().unwrap() {
        let grad = grads.param(model.params().id(name).unwrap()).unwrap().f32s();
        let norm = grad.iter().map(|&g| (g as f64).powi(2)).sum::<f64>().sqrt();
        close(norm, want["norm"].as_f64().unwrap(), name);
        let last: Vec<f64> = serde_json::from_value(want["last"].clone()).unwrap();
        grad[grad.len() - last.len()..].iter().zip(last).for_each(|(&got, want)| close(got as f64, want, name));
    }
}

#[test]
fn losses_are_those_of_sentence_transformers() {
    let path = Path::new(FIXTURES).join("fixtures-extra/sentence_losses.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 6);
    cases.iter().for_each(check);
}

/// Ranks by a model whose vectors are all the same, and by texts that are.
#[test]
fn equal_vectors_are_no_success() {
    let dir = Path::new(FIXTURES).join("fixtures/sentence-embedding");
    let (model, _) = bedstone_models::load(&dir).unwrap();
    let tokenizer = Tokenizer::load(&dir).unwrap();
    let sentence = SentenceConfig::plain(Pooling::Mean);
    let setup = Setup { tokenizer: &tokenizer, max_length: 40, sentence: Some(&sentence) };
    let all = [["a dog", "a dog"], ["a cat", "a cat"], ["the sea", "the sea"]];
    let examples: Vec<PairExample> = all.iter().enumerate().map(|(i, texts)| example(i, texts, None)).collect();
    let made = pairs().tokenise(&examples, &setup).unwrap();
    let runtime = Runtime { isa: Isa::detect(), precision: Precision::F32 };
    let (n, width) = (2 * all.len(), 4);
    let same = vec![0.5f32; n * width];
    assert_eq!(made.ranks(&model, runtime, (&same, width)).unwrap(), [3, 3, 3]);
    let own: Vec<f32> = (0..n).flat_map(|row| (0..width).map(move |c| f32::from(u8::from(c == row / 2)))).collect();
    assert_eq!(made.ranks(&model, runtime, (&own, width)).unwrap(), [1, 1, 1]);
    // The same positive twice: they do not stand in each other's way.
    let examples = [example(0, &["dogs", "a dog"], None), example(1, &["hounds", "a dog"], None)];
    let made = pairs().tokenise(&examples, &setup).unwrap();
    assert_eq!(made.ranks(&model, runtime, (&same[..16], width)).unwrap(), [1, 1]);
}

#[test]
fn what_cannot_be_trained_through_is_named() {
    let max = SentenceConfig::plain(Pooling::Max);
    let mut dense = SentenceConfig::plain(Pooling::Mean);
    let weight = Tensor::zeros::<f32>([3, 4]);
    dense.modules.push(Module::Dense { weight, bias: None, activation: bedstone_kernels::gemm::Activation::None });
    for (config, want) in [(max, "the pooling max"), (dense, "a model with Dense behind its pooling")] {
        let error = trainable(&config).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    let mut plain = SentenceConfig::plain(Pooling::Cls);
    plain.modules.push(Module::Normalize);
    assert_eq!(trainable(&plain).unwrap(), Pooling::Cls);
}
