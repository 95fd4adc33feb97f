//! Tasks against the recorded results of the pipelines of transformers (`bench/fixtures/pipelines.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use bedstone_infer::{
    Runtime,
    tasks::{
        EncoderModel, Labels,
        answer::{AnswerOptions, Question, answer},
        classify::{ScoreFunction, TextPair, classify},
        fill::{FillOptions, fill, target_ids},
        tag::{Aggregation, TagOptions, tag},
    },
};
use bedstone_models::{checkpoint::ConfigFile, load_with};
use bedstone_tensor::{Isa, Precision};
use serde_json::Value;

/// What rounding may change of a probability.
const TOLERANCE: f64 = 2e-5;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// A recorded file.
fn record(name: &str) -> Value {
    let path = tests().join(format!("fixtures-extra/pipelines/{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The model of a record, with other names of its classes if so wanted.
fn model(record: &Value) -> EncoderModel {
    let dir = tests().join("fixtures").join(record["model"].as_str().unwrap());
    let mut fields = ConfigFile::open(&dir).unwrap().fields().clone();
    if let Some(labels) = record["labels"].as_array() {
        let map = labels.iter().enumerate().map(|(i, name)| (i.to_string(), name.clone()));
        fields.insert("id2label".into(), Value::Object(map.collect()));
    }
    let (model, _) = load_with(&dir, ConfigFile::new(dir.join("config.json"), fields)).unwrap();
    EncoderModel::new(model, &dir, Runtime { isa: Isa::detect(), precision: Precision::F32 }).unwrap()
}

fn cases(record: &Value) -> &[Value] {
    record["cases"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn near(got: f64, want: &Value) -> bool {
    (got - want.as_f64().unwrap()).abs() <= TOLERANCE
}

fn count(kwargs: &Value, name: &str) -> Option<usize> {
    kwargs[name].as_u64().map(|n| n as usize)
}

#[track_caller]
fn check_fill(name: &str) {
    let record = record(name);
    let model = model(&record);
    for case in cases(&record) {
        let kwargs = &case["kwargs"];
        let mut options = FillOptions::default();
        options.top_k = count(kwargs, "top_k").unwrap_or(options.top_k);
        if let Some(targets) = kwargs["targets"].as_array() {
            let words: Vec<String> = targets.iter().map(|t| t.as_str().unwrap().to_owned()).collect();
            let (ids, replaced) = target_ids(&model.tokenizer, &words).unwrap();
            assert!(replaced.is_empty(), "{replaced:?}");
            options.targets = Some(ids);
        }
        let got = fill(model.encoder(), &[text(case, "text")], &options).unwrap().remove(0);
        // One mask gives a list of guesses, several give a list of such lists.
        let nested = case["result"][0].is_array();
        let want: Vec<&Value> =
            if nested { case["result"].as_array().unwrap().iter().collect() } else { vec![&case["result"]] };
        assert_eq!(got.len(), want.len(), "{case}");
        for (got, want) in got.iter().zip(want) {
            let want = want.as_array().unwrap();
            assert_eq!(got.len(), want.len(), "{case}");
            for (got, want) in got.iter().zip(want) {
                assert_eq!(got.token as u64, want["token"].as_u64().unwrap(), "{case}");
                assert_eq!(
                    (&got.token_str[..], &got.sequence[..]),
                    (text(want, "token_str"), text(want, "sequence")),
                    "{case}"
                );
                assert!(near(got.score as f64, &want["score"]), "{} {want}", got.score);
            }
        }
    }
}

#[test]
fn masked_words() {
    check_fill("fill-bert");
    check_fill("fill-distilbert");
    check_fill("fill-roberta-mlm");
}

#[test]
fn labels_of_texts() {
    let record = record("classify-bert-seqcls");
    let model = model(&record);
    let labels = Labels::of(model.model.config()).unwrap();
    for case in cases(&record) {
        let function = case["kwargs"]["function_to_apply"].as_str().map(|name| match name {
            "softmax" => ScoreFunction::Softmax,
            "sigmoid" => ScoreFunction::Sigmoid,
            _ => ScoreFunction::None,
        });
        let input = TextPair { text: text(case, "text"), pair: case["pair"].as_str() };
        let got = classify(model.encoder(), &[input], function).unwrap().remove(0);
        assert_eq!(got.truncated, case["truncated"].as_bool().unwrap_or(false), "{case}");
        let want = case["result"].as_array().unwrap();
        for ((class, score), want) in got.top(want.len()).into_iter().zip(want) {
            assert_eq!(labels.name(class), text(want, "label"), "{case}");
            assert!(near(score as f64, &want["score"]), "{score} {want}");
        }
    }
}

#[track_caller]
fn check_tag(name: &str) {
    let record = record(name);
    let model = model(&record);
    for case in cases(&record) {
        let kwargs = &case["kwargs"];
        let aggregation = match text(kwargs, "aggregation_strategy") {
            "none" => Aggregation::None,
            "simple" => Aggregation::Simple,
            "first" => Aggregation::First,
            "average" => Aggregation::Average,
            _ => Aggregation::Max,
        };
        let mut options = TagOptions { aggregation, stride: count(kwargs, "stride"), ..TagOptions::default() };
        if let Some(ignore) = kwargs["ignore_labels"].as_array() {
            options.ignore_labels = ignore.iter().map(|label| label.as_str().unwrap().to_owned()).collect();
        }
        let got = tag(model.encoder(), &[text(case, "text")], &options).unwrap().remove(0);
        let want = case["result"].as_array().unwrap();
        assert_eq!(got.len(), want.len(), "{case}\n{got:?}");
        let label = if aggregation == Aggregation::None { "entity" } else { "entity_group" };
        for (got, want) in got.iter().zip(want) {
            assert_eq!((&got.label[..], &got.word[..]), (text(want, label), text(want, "word")), "{case}");
            assert_eq!(
                (got.start as u64, got.end as u64),
                (want["start"].as_u64().unwrap(), want["end"].as_u64().unwrap())
            );
            assert_eq!(got.index.map(|i| i as u64), want["index"].as_u64(), "{case}");
            assert!(near(got.score as f64, &want["score"]), "{} {want}", got.score);
        }
    }
}

#[test]
fn labels_of_tokens() {
    check_tag("tag-own-bert-tokencls");
    check_tag("tag-names-bert-tokencls");
}

#[test]
fn places_of_answers() {
    let record = record("answer-bert-qa");
    let model = model(&record);
    for case in cases(&record) {
        let kwargs = &case["kwargs"];
        let own = AnswerOptions::default();
        let options = AnswerOptions {
            top_k: count(kwargs, "top_k").unwrap_or(own.top_k),
            max_answer_len: count(kwargs, "max_answer_len").unwrap_or(own.max_answer_len),
            max_seq_len: count(kwargs, "max_seq_len").unwrap(),
            doc_stride: count(kwargs, "doc_stride"),
            align_to_words: kwargs["align_to_words"].as_bool().unwrap_or(true),
            null_threshold: (kwargs["handle_impossible_answer"] == true).then_some(0.0),
        };
        let question = Question { question: text(case, "question"), context: text(case, "context") };
        let got = answer(model.encoder(), &[question], &options).unwrap().remove(0);
        let want = case["result"].as_array().unwrap();
        assert_eq!(got.answers.len(), want.len(), "{case}\n{got:?}");
        for (got, want) in got.answers.iter().zip(want) {
            assert_eq!(got.answer, text(want, "answer"), "{case}");
            assert_eq!(
                (got.start as u64, got.end as u64),
                (want["start"].as_u64().unwrap(), want["end"].as_u64().unwrap())
            );
            assert!(near(got.score, &want["score"]), "{} {want}", got.score);
        }
    }
}
