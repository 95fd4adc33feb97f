//! Sampling over real shards.

use super::*;
use crate::{
    shards::{Build, Text, TokenSet, Validation},
    tokenizer::{Tokenizer, train},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Mutex, OnceLock},
};

/// A set of exactly `len` different-looking tokens, in shards of 64.
fn set(len: u64) -> TokenSet {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    static SETS: Mutex<BTreeMap<u64, TokenSet>> = Mutex::new(BTreeMap::new());
    if let Some(set) = SETS.lock().unwrap().get(&len) {
        return set.clone();
    }
    let tokenizer = TOKENIZER.get_or_init(|| {
        let training = train::Training::new(train::Kind::ByteLevelBpe, 257);
        train::train([Ok::<_, Infallible>("abc".to_string())], &training).unwrap().tokenizer
    });
    // A byte is a token, and the end of the document is one.
    let text: String = (0..len - 1).map(|i| (b'a' + (i * i % 26) as u8) as char).collect();
    let documents = Text::Documents { name: text.clone(), documents: Box::new([text].into_iter()) };
    let cache = tempfile::tempdir().unwrap();
    let build = Build::new(documents, tokenizer, cache.path().to_path_buf());
    // The files stay mapped when their folder is gone.
    let set = Build { validation: Validation::None, shard_tokens: 64, ..build }.run().unwrap().train;
    assert_eq!(set.len(), len);
    SETS.lock().unwrap().insert(len, set.clone());
    set
}

fn windows(len: u64, length: usize, shift: bool) -> Windows {
    Windows::new(set(len), Options { length, seed: 3, shift }).unwrap()
}

#[test]
fn an_epoch_has_every_window_once() {
    for shift in [false, true] {
        let mut windows = windows(500, 7, shift);
        let per_epoch = windows.windows() as usize;
        let (first, second) = (windows.next_batch(per_epoch), windows.next_batch(per_epoch));
        for epoch in [&first, &second] {
            let begins: BTreeSet<u64> = epoch.begins.iter().copied().collect();
            assert_eq!(begins.len(), per_epoch);
            let steps: BTreeSet<u64> = begins.iter().zip(begins.iter().skip(1)).map(|(a, b)| b - a).collect();
            assert_eq!(steps, [7].into());
        }
        assert_ne!(first.begins, second.begins);
        assert_eq!(windows.cursor(), Cursor { epoch: 2, index: 0 });
        let samples: Vec<u64> = [first.samples, second.samples].concat();
        assert_eq!(samples, (0..2 * per_epoch as u64).collect::<Vec<_>>());
    }
}

#[test]
fn rows_are_the_tokens_and_those_that_follow() {
    let set = set(200);
    let batch = windows(200, 9, false).next_batch(4);
    for (row, &begin) in batch.begins.iter().enumerate() {
        let mut want = [0; 10];
        set.copy(begin..begin + 10, &mut want);
        assert_eq!(batch.ids[row * 9..][..9], want[..9]);
        assert_eq!(batch.labels[row * 9..][..9], want[1..]);
    }
}

#[track_caller]
fn check_too_short(len: u64, length: usize, shift: bool, want: u64) {
    let error = Windows::new(set(len), Options { length, seed: 0, shift }).err().unwrap();
    assert_eq!(error, Error::TooShort { tokens: len, want, length });
    assert!(error.to_string().starts_with(&format!("the set has {len} tokens, want at least {want}")), "{error}");
}

#[test]
fn too_short() {
    check_too_short(8, 8, false, 9);
    check_too_short(15, 8, true, 16);
    check_too_short(2, 1024, false, 1025);
    assert_eq!(windows(9, 8, false).windows(), 1);
    assert_eq!(windows(16, 8, true).windows(), 1);
}

#[test]
fn a_cursor_of_other_data_is_refused() {
    let mut windows = windows(100, 8, false);
    let error = windows.seek(Cursor { epoch: 0, index: 13 }).unwrap_err();
    assert_eq!(error, Error::Cursor { index: 13, windows: 12 });
    windows.seek(Cursor { epoch: 4, index: 12 }).unwrap();
    assert_eq!(windows.cursor(), Cursor { epoch: 5, index: 0 });
}

#[test]
fn a_loader_gives_the_same_batches() {
    let mut plain = windows(300, 6, true);
    plain.next_batch(3);
    let mut loader = Loader::spawn(Box::new(plain.clone()), 5, 2).unwrap();
    for _ in 0..40 {
        assert_eq!(loader.cursor(), plain.cursor());
        assert_eq!(loader.next_batch().unwrap(), plain.next_batch(5));
    }
    assert_eq!(loader.cursor(), plain.cursor());
    assert!(loader.waited().as_secs() < 60);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn resumed_at_any_cursor(length in 1usize..12, shift: bool, done in 0usize..90, batch in 1usize..9) {
        let mut whole = windows(130, length, shift);
        whole.next_batch(done);
        let kept = serde_json::to_string(&whole.cursor()).unwrap();
        let mut resumed = windows(130, length, shift);
        resumed.seek(serde_json::from_str(&kept).unwrap()).unwrap();
        prop_assert_eq!(whole.next_batch(batch), resumed.next_batch(batch));
        prop_assert_eq!(whole.cursor(), resumed.cursor());
    }

    #[test]
    fn batch_size_does_not_change_the_order(sizes in prop::collection::vec(1usize..7, 1..8)) {
        let total: usize = sizes.iter().sum();
        let whole = windows(120, 5, false).next_batch(total);
        let mut parts = windows(120, 5, false);
        let parts: Vec<Batch> = sizes.iter().map(|&size| parts.next_batch(size)).collect();
        prop_assert_eq!(parts.iter().flat_map(|part| part.ids.clone()).collect::<Vec<_>>(), whole.ids);
        prop_assert_eq!(parts.iter().flat_map(|part| part.samples.clone()).collect::<Vec<_>>(), whole.samples);
    }

    #[test]
    fn in_order_predicts_every_token_once(len in 2u64..90, length in 1usize..20, batch in 1usize..5) {
        let set = set(len);
        let batches = InOrder::new(&set, length, batch).unwrap();
        let count = batches.batches();
        let batches: Vec<Batch> = batches.collect();
        prop_assert_eq!(batches.len() as u64, count);
        let kept = |values: fn(&Batch) -> &Vec<u32>| -> Vec<u32> {
            let used = batches.iter().flat_map(|b| values(b).iter().zip(&b.labels));
            used.filter(|&(_, &label)| label != IGNORE).map(|(&value, _)| value).collect()
        };
        let mut all = vec![0; len as usize];
        set.copy(0..len, &mut all);
        prop_assert_eq!(kept(|b| &b.ids), &all[..all.len() - 1]);
        prop_assert_eq!(kept(|b| &b.labels), &all[1..]);
    }
}

/// Documents of numbered words, in WordPiece.
fn encoder_set(documents: &[usize]) -> (TokenSet, Vocabulary) {
    let words = ["alpha", "beta", "gamma", "delta", "sleepwalker", "unbelievable"];
    let text = |d: usize, n: usize| -> String {
        (0..n).map(|i| if i % 5 == 4 { ". ".to_owned() } else { format!("{} ", words[(i * 7 + d * 3) % 6]) }).collect()
    };
    let texts: Vec<String> = documents.iter().enumerate().map(|(d, &n)| text(d, n)).collect();
    let training = train::Training::new(train::Kind::WordPiece { lowercase: true }, 60);
    let tokenizer = train::train(texts.iter().map(|t| Ok::<_, Infallible>(t.clone())), &training).unwrap().tokenizer;
    let vocabulary = Vocabulary::of(&tokenizer).unwrap();
    let name = format!("{documents:?}");
    let documents = Text::Documents { name, documents: Box::new(texts.into_iter()) };
    let cache = tempfile::tempdir().unwrap();
    let build = Build::new(documents, &tokenizer, cache.path().to_path_buf());
    (Build { validation: Validation::None, ..build }.run().unwrap().train, vocabulary)
}

const MASK: MaskOptions =
    MaskOptions { length: 32, seed: 5, probability: 0.15, whole_words: false, next_sentence: true, short: 0.1 };

/// Each row without padding: ids as they were before masking, and labels.
fn rows(batch: &Batch, length: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
    let row = |(i, &n): (usize, &u32)| {
        let places = i * length..i * length + n as usize;
        let labels = batch.labels[places.clone()].to_vec();
        let ids = batch.ids[places].iter().zip(&labels).map(|(&id, &l)| if l == IGNORE { id } else { l }).collect();
        (ids, labels)
    };
    batch.lengths.iter().enumerate().map(row).collect()
}

#[test]
fn pairs_have_the_form_of_bert() {
    let (set, v) = encoder_set(&[120, 300, 80, 5, 200]);
    let mut masked = Masked::new(set, v.clone(), MASK).unwrap();
    let batch = masked.next_batch(400);
    let (mut follows, mut masks, mut kept, mut labels) = (0, 0, 0, 0);
    for (i, (ids, label)) in rows(&batch, 32).into_iter().enumerate() {
        let n = ids.len();
        assert!((5..=32).contains(&n), "{n}");
        assert_eq!((ids[0], ids[n - 1]), (v.cls, v.sep));
        let middle = ids.iter().position(|&id| id == v.sep).unwrap();
        assert!(middle > 1 && middle < n - 2, "{ids:?}");
        let types = &batch.types[i * 32..][..32];
        assert!(types[..=middle].iter().all(|&t| t == 0) && types[middle + 1..n].iter().all(|&t| t == 1));
        assert!(batch.ids[i * 32 + n..(i + 1) * 32].iter().all(|&id| id == v.pad));
        follows += usize::from(batch.relations[i] == FOLLOWS);
        let tokens = n - 3;
        let count = label.iter().filter(|&&l| l != IGNORE).count();
        assert_eq!(count, ((tokens as f32 * 0.15).round() as usize).max(1));
        for (place, &l) in label.iter().enumerate().filter(|(_, l)| **l != IGNORE) {
            labels += 1;
            masks += usize::from(batch.ids[i * 32 + place] == v.mask);
            kept += usize::from(batch.ids[i * 32 + place] == l);
        }
    }
    assert!((150..250).contains(&follows), "{follows}");
    let share = |n: usize| n as f64 / labels as f64;
    assert!((share(masks) - 0.8).abs() < 0.05 && (share(kept) - 0.1).abs() < 0.05, "{masks} {kept} of {labels}");
}

#[test]
fn an_epoch_covers_every_token_and_the_next_one_differs() {
    let (set, v) = encoder_set(&[120, 300, 80]);
    let options = MaskOptions { short: 0.0, ..MASK };
    let mut masked = Masked::new(set.clone(), v, options).unwrap();
    let per_epoch = masked.sequences() as usize;
    let (first, second) = (masked.next_batch(per_epoch), masked.next_batch(per_epoch));
    assert_ne!(first.ids, second.ids);
    // Followed pairs give their text whole; with both epochs' random ones, what is missing is small.
    let mut covered = vec![false; set.len() as usize];
    for (batch, i) in [&first, &second].into_iter().flat_map(|b| (0..per_epoch).map(move |i| (b, i))) {
        let n = if batch.relations[i] == FOLLOWS { batch.lengths[i] as usize - 3 } else { 1 };
        let begin = batch.begins[i] as usize;
        covered[begin..begin + n].fill(true);
    }
    let share = covered.iter().filter(|&&c| c).count() as f64 / covered.len() as f64;
    assert!(share > 0.6, "{share}");
    assert_eq!(masked.cursor(), Cursor { epoch: 2, index: 0 });
}

#[test]
fn whole_words_are_masked_together() {
    let (set, v) = encoder_set(&[200, 150]);
    let options = MaskOptions { whole_words: true, next_sentence: false, ..MASK };
    let mut masked = Masked::new(set, v.clone(), options).unwrap();
    let batch = masked.next_batch(60);
    assert!(batch.relations.is_empty());
    let mut pieces = 0;
    for (ids, labels) in rows(&batch, 32) {
        assert_eq!((ids[0], ids[ids.len() - 1]), (v.cls, v.sep));
        for i in 1..ids.len() {
            if v.continues(ids[i]) && !v.is_special(ids[i - 1]) {
                assert_eq!(labels[i] == IGNORE, labels[i - 1] == IGNORE, "{ids:?} {labels:?}");
                pieces += usize::from(labels[i] != IGNORE);
            }
        }
    }
    assert!(pieces > 0);
}

#[test]
fn masked_sequences_resume_and_do_not_depend_on_batches() {
    let (set, v) = encoder_set(&[120, 300, 80]);
    for next_sentence in [true, false] {
        let new = || Masked::new(set.clone(), v.clone(), MaskOptions { next_sentence, ..MASK }).unwrap();
        let (mut whole, mut parts) = (new(), new());
        let total = whole.sequences() as usize + 7;
        let want = whole.next_batch(total);
        let mut got = Batch::default();
        for n in [3, 1, total - 4] {
            let mut resumed = new();
            resumed.seek(parts.cursor()).unwrap();
            let part = resumed.next_batch(n);
            assert_eq!(part, parts.next_batch(n));
            got.ids.extend(part.ids);
            got.labels.extend(part.labels);
        }
        assert_eq!((got.ids, got.labels), (want.ids, want.labels));
        let beyond = whole.sequences() + 1;
        assert!(new().seek(Cursor { epoch: 0, index: beyond }).is_err());
    }
}

#[test]
fn what_cannot_be_paired_is_refused() {
    let (set, v) = encoder_set(&[100]);
    let error = |options| Masked::new(set.clone(), v.clone(), options).err().unwrap();
    assert_eq!(error(MASK), Error::Documents { documents: 1 });
    assert_eq!(error(MaskOptions { length: 4, ..MASK }), Error::Length { length: 4, want: 5 });
    let tokenizer = train::Training::new(train::Kind::ByteLevelBpe, 257);
    let tokenizer = train::train([Ok::<_, Infallible>("abc".to_string())], &tokenizer).unwrap().tokenizer;
    assert!(Vocabulary::of(&tokenizer).is_err_and(|e| e.role == "cls"));
}
