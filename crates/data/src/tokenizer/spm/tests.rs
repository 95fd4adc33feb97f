//! Files that are broken, and what must hold for any text. Ids are compared with the library's in `parity`.

use super::{proto::ModelKind, *};
use proptest::prelude::*;
use std::{fs, path::Path};

fn file(name: &str) -> Vec<u8> {
    fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures-extra")).join(name)).unwrap()
}

const BPE: &str = "tokenizer-spm-bpe-symbols/tokenizer.model";
const UNIGRAM: &str = "tokenizer-spm-unigram-symbols/tokenizer.model";

#[track_caller]
fn refused(bytes: &[u8], want: &str) {
    let error = SentencePiece::read(bytes).unwrap_err();
    assert!(error.contains(want), "{error}");
}

#[test]
fn truncated_anywhere() {
    for name in [BPE, UNIGRAM] {
        let whole = file(name);
        SentencePiece::read(&whole).unwrap();
        for length in (0..whole.len()).step_by(7) {
            // A cut between two fields leaves a shorter vocabulary, which then misses something or is whole.
            if let Ok(model) = SentencePiece::read(&whole[..length]) {
                model.encode("a cat, <sep> é今");
            }
        }
        let end = format!("goes beyond the end at byte {}", whole.len() - 1);
        refused(&whole[..whole.len() - 1], &end);
    }
    refused(b"", "no pieces");
    refused(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "more than ten bytes");
    refused(b"not a model", "byte ");
}

#[test]
fn any_byte_changed() {
    for name in [BPE, UNIGRAM] {
        let whole = file(name);
        for at in (0..whole.len()).step_by(3) {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(model) = SentencePiece::read(&bytes) {
                    let ids: Vec<u32> = model.encode("A cat, ``<sep>'' e\u{301} ①今").iter().map(|p| p.id).collect();
                    model.decode(&ids, true);
                }
            }
        }
    }
}

#[test]
fn kinds_and_pieces_that_are_not_served() {
    let piece = |text: &str, kind: u8| {
        let mut bytes = vec![0x0a, text.len() as u8 + 4, 0x0a, text.len() as u8];
        bytes.extend(text.as_bytes());
        bytes.extend([0x18, kind]);
        bytes
    };
    let unknown = piece("<unk>", 2);
    let with = |more: &[u8]| [unknown.as_slice(), more].concat();
    refused(&with(&[0x12, 2, 0x18, 3]), "word model");
    refused(&with(&[0x12, 2, 0x18, 4]), "character model");
    refused(&with(&[0x12, 2, 0x18, 9]), "model_type 9");
    refused(&piece("a", 1), "no unknown piece");
    refused(&with(&piece("<u>", 2)), "second unknown");
    refused(&with(&piece("", 1)), "piece 1 is empty");
    refused(&with(&[piece("a", 1), piece("a", 4)].concat()), "pieces 1 and 2 are both \"a\"");
    refused(&with(&piece("a", 7)), "piece of type 7");
    refused(&with(&piece("a", 6)), "is a byte, want");
    refused(&with(&piece("<0x41>", 6)), "byte_fallback is off");
    refused(&with(&[0x12, 3, 0x98, 2, 1]), "<0x00> is missing");
    refused(&with(&[0x1a, 2, 0x28, 0]), "escape_whitespaces");
    refused(&with(&[0x1a, 4, 0x12, 2, 0, 0]), "shorter than its header");
    refused(&with(&[0x1a, 7, 0x12, 5, 0xff, 0xff, 0xff, 0xfc, 0]), "want a multiple of 4");
    refused(&with(&[0x1a, 7, 0x12, 5, 0xfc, 0xff, 0xff, 0xff, 0]), "for its array alone");
    refused(&with(&[0x1a, 10, 0x12, 8, 4, 0, 0, 0, 1, 4, 0, 0]), "outside the array");
}

#[test]
fn what_a_file_leaves_out_has_its_default() {
    let model = SentencePiece::read(&[&[0x0a, 9, 0x0a, 5][..], b"<unk>", &[0x18, 2]].concat()).unwrap();
    assert_eq!(model.proto().trainer.kind, ModelKind::Unigram);
    assert_eq!(model.decode(&[0, 0, 7], false), " \u{2047}  \u{2047} ");
    let part = Part { id: 0, text: "▁ab".into(), range: (1, 3) };
    assert_eq!(model.encode(" ab "), [part]);
}

#[test]
fn any_text() {
    let models =
        [BPE, UNIGRAM, "tokenizer-spm-bpe-bytes/tokenizer.model", "tokenizer-spm-unigram-suffix/tokenizer.model"]
            .map(|name| SentencePiece::read(&file(name)).unwrap());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let text = prop_oneof!["\\PC{0,40}", "[a-c<>sep▁ ①e\u{301}\t]{0,30}"];
    proptest!(config, |(text in text)| {
        for model in &models {
            let parts = model.encode(&text);
            // Ranges follow one another inside the text, on characters.
            let mut end = 0;
            for part in &parts {
                prop_assert!(end <= part.range.0 && part.range.0 <= part.range.1, "{:?} after {}", part, end);
                prop_assert!(text.get(part.range.0..part.range.1).is_some());
                prop_assert!(model.piece(part.id).is_some());
                end = part.range.1;
            }
            let again: String = parts.iter().map(|part| part.text.as_str()).collect();
            if !again.contains("<0x") {
                prop_assert_eq!(again, model.normalizer.normalize(&text).text);
            }
        }
    });
    // What knows every byte gives every text back.
    let bytes = &models[2];
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in "[^▁]{0,40}")| {
        let ids: Vec<u32> = bytes.encode(&text).iter().map(|part| part.id).collect();
        prop_assert_eq!(bytes.decode(&ids, false), text);
    });
}
