//! Offsets in bytes and in code points.

use super::{Encoding, Input};

/// Turns offsets in bytes into offsets in code points, for one or two inputs.
pub(super) struct Offsets<'a> {
    inputs: [Option<(Input<'a>, Vec<u32>)>; 2],
}

impl<'a> Offsets<'a> {
    pub(super) fn of(first: Input<'a>, second: Option<Input<'a>>) -> Self {
        let mapped = |input: Input<'a>| match input {
            Input::Text(text) if !text.is_ascii() => (input, characters(text)),
            _ => (input, Vec::new()),
        };
        Self { inputs: [Some(mapped(first)), second.map(mapped)] }
    }

    /// The encoding as callers get it.
    pub(super) fn finish(&self, encoding: &tokenizers::Encoding) -> Encoding {
        let sequence_ids = encoding.get_sequence_ids();
        let byte_offsets = encoding.get_offsets().to_vec();
        let word_ids = encoding.get_word_ids().to_vec();
        let places = byte_offsets.iter().zip(&sequence_ids).zip(&word_ids);
        let offsets = places.map(|((&bytes, &sequence), &word)| self.convert(bytes, sequence, word)).collect();
        Encoding {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets,
            byte_offsets,
            special_tokens_mask: encoding.get_special_tokens_mask().to_vec(),
            word_ids,
            sequence_ids,
        }
    }

    fn convert(&self, bytes: (usize, usize), sequence: Option<usize>, word: Option<u32>) -> (usize, usize) {
        let input = sequence.and_then(|at| self.inputs.get(at)?.as_ref());
        match input {
            Some((Input::Text(_), map)) if !map.is_empty() => (character(map, bytes.0), character(map, bytes.1)),
            Some((Input::Words(words), _)) => match word.and_then(|at| words.get(at as usize)) {
                Some(word) if !word.is_ascii() => {
                    let map = characters(word);
                    (character(&map, bytes.0), character(&map, bytes.1))
                }
                _ => bytes,
            },
            // Bytes of ASCII are characters, and what was added has no place.
            _ => bytes,
        }
    }
}

/// For each byte of `text` and its end, the number of the character.
fn characters(text: &str) -> Vec<u32> {
    let mut map = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.chars().enumerate() {
        map.extend(std::iter::repeat_n(at as u32, c.len_utf8()));
    }
    map.push(map.last().map_or(0, |last| last + 1));
    map
}

fn character(map: &[u32], byte: usize) -> usize {
    map.get(byte).or(map.last()).map_or(0, |&at| at as usize)
}
