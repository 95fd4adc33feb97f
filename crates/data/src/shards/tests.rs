//! Shards built, opened again, shared, and damaged in every way.

use super::*;
use crate::{
    corpus::{Corpus, Options},
    tokenizer::{Special, Tokenizer, train},
};
use proptest::prelude::*;
use std::{convert::Infallible, fs, sync::OnceLock};

/// A byte-level tokenizer with a few merges.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let text = "the cat sat on the mat\nand the dog sat by the door\n".repeat(3);
        let training = train::Training::new(train::Kind::ByteLevelBpe, 300);
        train::train([Ok::<_, Infallible>(text)], &training).unwrap().tokenizer
    })
}

fn documents(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("the cat {i} sat\n{}", "on the mat ".repeat(i % 5))).collect()
}

fn build<'a>(cache: &Path, documents: &[String], validation: Validation<'a>) -> Build<'a> {
    let all = documents.to_vec();
    let text = Text::Documents { name: all.join("|"), documents: Box::new(all.into_iter()) };
    Build { validation, shard_tokens: 64, ..Build::new(text, tokenizer(), cache.to_path_buf()) }
}

fn split(one_in: u64) -> Validation<'static> {
    Validation::Split { one_in, seed: 7 }
}

fn tokens(set: &TokenSet) -> Vec<u32> {
    let mut out = vec![0; set.len() as usize];
    set.copy(0..set.len(), &mut out);
    out
}

/// The documents of a set as text.
fn texts(set: &TokenSet) -> Vec<String> {
    let all = tokens(set);
    let mut begin = 0;
    let mut texts = Vec::new();
    for end in set.document_ends() {
        texts.push(tokenizer().decode(&all[begin..end as usize], Special::Without).unwrap());
        begin = end as usize;
    }
    assert_eq!(begin as u64, set.len());
    texts
}

#[test]
fn documents_are_split() {
    let cache = tempfile::tempdir().unwrap();
    let all = documents(100);
    let shards = build(cache.path(), &all, split(20)).run().unwrap();
    assert_eq!(shards.origin, Origin::Built);
    let rule = shards.manifest.split;
    assert_eq!(rule, SplitRule::Documents { one_in: 20, seed: 7 });
    let validation = shards.validation.as_ref().unwrap();
    let is_validation = |(i, text): (usize, &String)| rule.is_validation(i as u64).then(|| text.clone());
    let want: Vec<String> = all.iter().enumerate().filter_map(is_validation).collect();
    assert_eq!(texts(validation), want);
    assert_eq!(want.len(), 5);
    let want: Vec<String> = all.iter().filter(|text| !want.contains(text)).cloned().collect();
    assert_eq!(texts(&shards.train), want);
    assert_eq!(shards.train.bytes(), want.iter().map(|text| text.len() as u64).sum::<u64>());
    assert!(shards.manifest.series[0].shards.len() > 3, "several files");
    let ends = tokens(&shards.train).iter().filter(|&&id| id == shards.manifest.document_end).count();
    assert_eq!(ends, shards.train.documents());
    shards.verify().unwrap();
}

#[test]
fn few_documents_split_by_tokens() {
    for count in [1, 2, 19] {
        let cache = tempfile::tempdir().unwrap();
        let all = documents(count + 4).split_off(4);
        let shards = build(cache.path(), &all, split(20)).run().unwrap();
        assert_eq!(shards.manifest.split, SplitRule::TailTokens { one_in: 20 });
        assert!(shards.manifest.split.to_string().contains("fewer than 20 documents: the last 5.000 %"));
        let validation = shards.validation.as_ref().unwrap();
        let total = shards.train.len() + validation.len();
        assert_eq!(validation.len(), (total / 20).max(1));
        let put_together = texts(&shards.train).concat() + &texts(validation).concat();
        assert_eq!(put_together, all.concat());
        assert_eq!(shards.train.bytes() as usize, texts(&shards.train).concat().len());
        assert_eq!(validation.bytes() as usize, texts(validation).concat().len());
    }
}

#[test]
fn no_validation_and_validation_of_its_own() {
    let cache = tempfile::tempdir().unwrap();
    let all = documents(30);
    let shards = build(cache.path(), &all, Validation::None).run().unwrap();
    assert!(shards.validation.is_none() && texts(&shards.train) == all);
    let own = Text::Documents { name: "own".into(), documents: Box::new(["the end".to_string()].into_iter()) };
    let shards = build(cache.path(), &all, Validation::Text(own)).run().unwrap();
    assert_eq!((texts(&shards.train), texts(&shards.validation.unwrap())), (all, vec!["the end".to_string()]));
}

#[test]
fn second_run_reuses_and_any_change_builds() {
    let (cache, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = data.path().join("a.txt");
    let run = |text: &str, seed, field: &str| {
        if fs::read_to_string(&file).ok().as_deref() != Some(text) {
            fs::write(&file, text).unwrap();
        }
        let corpus = Corpus::open(&[&file], Options { field: field.into(), ..Options::default() }).unwrap();
        let build = Build::new(Text::Corpus(&corpus), tokenizer(), cache.path().to_path_buf());
        Build { validation: Validation::Split { one_in: 20, seed }, ..build }.run().unwrap().origin
    };
    assert_eq!(run("the cat sat on the mat", 1, "text"), Origin::Built);
    assert_eq!(run("the cat sat on the mat", 1, "text"), Origin::Reused);
    assert_eq!(run("the cat sat on the hat", 1, "text"), Origin::Built);
    assert_eq!(run("the cat sat on the mat", 1, "text"), Origin::Reused);
    assert_eq!(run("the cat sat on the mat", 2, "text"), Origin::Built);
    assert_eq!(run("the cat sat on the mat", 1, "body"), Origin::Built);
}

#[test]
fn same_tokens_as_in_one_go() {
    let (cache, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = "the cat sat\non the mat\n\n  by the door\r\n".repeat(40);
    fs::write(data.path().join("a.txt"), &text).unwrap();
    let corpus = Corpus::open(&[data.path()], Options { piece_bytes: 100, ..Options::default() }).unwrap();
    let build = Build::new(Text::Corpus(&corpus), tokenizer(), cache.path().to_path_buf());
    let shards = Build { validation: Validation::None, ..build }.run().unwrap();
    let mut want = tokenizer().encode_ids(&text.replace("\r\n", "\n"), Special::Without).unwrap();
    want.push(shards.manifest.document_end);
    assert_eq!(tokens(&shards.train), want);
}

#[test]
fn several_programs_at_once() {
    let cache = tempfile::tempdir().unwrap();
    let all = documents(60);
    std::thread::scope(|scope| {
        let run = || build(cache.path(), &all, split(20)).run().map(|shards| tokens(&shards.train));
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        let results: Vec<_> = runs.into_iter().map(|run| run.join().unwrap().unwrap()).collect();
        assert!(results.iter().all(|tokens| *tokens == results[0]));
    });
    let left = fs::read_dir(cache.path()).unwrap().count();
    assert_eq!(left, 2, "the lock and one directory");
}

#[test]
fn damage_is_named_and_repaired() {
    let cache = tempfile::tempdir().unwrap();
    let all = documents(60);
    let whole = build(cache.path(), &all, split(20)).run().unwrap();
    let names: Vec<_> = fs::read_dir(&whole.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() > 4);
    for name in names {
        let path = whole.dir.join(&name);
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 0x20;
        for bad in [None, Some(vec![]), Some(good[..good.len() / 2].to_vec()), Some(flipped)] {
            match &bad {
                None => fs::remove_file(&path).unwrap(),
                // Others map the file, so it is replaced, not changed.
                Some(bad) => {
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, bad).unwrap();
                }
            }
            let error = Shards::open(&whole.dir).err().unwrap();
            assert!(error.to_string().contains("damaged shards"), "{error}");
            assert!(error.hint().unwrap().contains("delete"));
            let again = build(cache.path(), &all, split(20)).run().unwrap();
            assert!(matches!(&again.origin, Origin::Rebuilt { reason } if reason.contains("damaged")));
            assert_eq!(tokens(&again.train), tokens(&whole.train));
        }
    }
}

#[test]
fn nothing_to_tokenise() {
    let cache = tempfile::tempdir().unwrap();
    for validation in [split(20), Validation::None] {
        let error = build(cache.path(), &[], validation).run().err().unwrap();
        assert!(matches!(error, Error::TooFewTokens { tokens: 0, .. }), "{error}");
    }
    let left: Vec<_> = fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".lock"]);
}

#[test]
fn errors_of_the_corpus_come_through() {
    let (cache, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(data.path().join("a.jsonl"), "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n").unwrap();
    let corpus = Corpus::open(&[data.path()], Options::default()).unwrap();
    let error = Build::new(Text::Corpus(&corpus), tokenizer(), cache.path().to_path_buf()).run().err().unwrap();
    assert!(error.to_string().contains("a.jsonl:2: no field \"text\"; the row has txt"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn split_is_a_partition(count in 1usize..70, one_in in 2u64..30, from in 0u64..1000, length in 0u64..300) {
        let cache = tempfile::tempdir().unwrap();
        let all = documents(count);
        let shards = build(cache.path(), &all, split(one_in)).run().unwrap();
        let validation = shards.validation.as_ref().unwrap();
        prop_assert!(!validation.is_empty() && !shards.train.is_empty());
        let bytes = shards.train.bytes() + validation.bytes();
        prop_assert_eq!(bytes, all.iter().map(|text| text.len() as u64).sum::<u64>());
        let (mut got, mut want) = (texts(&shards.train), all);
        got.extend(texts(validation));
        if matches!(shards.manifest.split, SplitRule::Documents { .. }) {
            got.sort();
            want.sort();
            prop_assert_eq!(&got, &want);
        } else {
            prop_assert_eq!(got.concat(), want.concat());
        }
        let end = (from + length).min(shards.train.len());
        let begin = from.min(end);
        let mut part = vec![0; (end - begin) as usize];
        shards.train.copy(begin..end, &mut part);
        prop_assert_eq!(&part[..], &tokens(&shards.train)[begin as usize..end as usize]);
    }
}

#[test]
fn a_tokenizer_learns_from_what_is_for_training() {
    let dir = tempfile::tempdir().unwrap();
    let all = documents(100);
    let rows: String = all.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect();
    let file = dir.path().join("all.jsonl");
    fs::write(&file, rows).unwrap();
    let corpus = Corpus::open(&[&file], Options::default()).unwrap();
    let learned: Vec<String> = training_texts(&corpus, 20, 7).unwrap().collect::<Result<_, _>>().unwrap();
    let build = Build::new(Text::Corpus(&corpus), tokenizer(), dir.path().join("cache"));
    let shards = Build { validation: split(20), ..build }.run().unwrap();
    assert_eq!(learned, texts(&shards.train));
    assert_eq!(learned.len(), 95);
}
