//! The stored cases of `bench/fixtures/pictures.py`.

use serde_json::Value;
use std::path::PathBuf;

pub(super) fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures-extra/pictures").into()
}

pub(super) fn fixture(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// Shape and bytes.
pub(super) fn array(case: &Value) -> (Vec<usize>, Vec<u8>) {
    (serde_json::from_value(case["shape"].clone()).unwrap_or_default(), base64(case["data"].as_str().unwrap()))
}

fn base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u32> = text.bytes().filter(|&c| c != b'=').map(|c| u32::from(value(c))).collect();
    letters
        .chunks(4)
        .flat_map(|four| {
            let bits = four.iter().fold(0, |bits, v| bits << 6 | v) << (6 * (4 - four.len()));
            (0..four.len() - 1).map(move |i| (bits >> (16 - 8 * i)) as u8)
        })
        .collect()
}
