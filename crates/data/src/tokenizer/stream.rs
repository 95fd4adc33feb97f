//! Text while ids arrive.

use super::{CLEAN_UP, Error, Special, Tokenizer, clean_up, spm::proto::PieceKind};

/// Turns ids into text one at a time; the pieces put together are what [`Tokenizer::decode`] gives for all ids.
///
/// A piece may be empty: a character whose bytes are not all there is held back, and so is a run of byte-fallback
/// tokens, because one wrong byte at its end changes how the whole run is shown.
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    special: Special,
    /// The last id whose text was given out, as context, then ids whose text was not; only ids that show.
    ids: Vec<u32>,
    context_text: String,
    /// Text that cleaning up could still change.
    uncleaned: String,
}

impl<'a> StreamDecoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, special: Special) -> Self {
        let (ids, context_text, uncleaned) = Default::default();
        Self { tokenizer, special, ids, context_text, uncleaned }
    }

    /// Takes one id and gives the text that is certain now.
    pub fn push(&mut self, id: u32) -> Result<String, Error> {
        if !self.shows(id) {
            return Ok(String::new());
        }
        self.ids.push(id);
        if self.is_byte(id) {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode_raw(&self.ids, self.special)?;
        // Half a character shows as a replacement character at the end.
        let Some(new) = text.strip_prefix(self.context_text.as_str()).filter(|new| !new.ends_with('\u{FFFD}')) else {
            return Ok(String::new());
        };
        let new = new.to_string();
        // One token stays as context, because decoders treat the first token of a text differently; one without a text
        // of its own would not tell what is first.
        let own = self.tokenizer.decode_raw(&[id], self.special)?;
        if own.is_empty() {
            self.context_text = text;
        } else {
            self.ids = vec![id];
            self.context_text = own;
        }
        Ok(self.cleaned(&new))
    }

    /// Gives what was held back.
    pub fn finish(mut self) -> Result<String, Error> {
        let text = self.tokenizer.decode_raw(&self.ids, self.special)?;
        let new = text.strip_prefix(self.context_text.as_str()).unwrap_or(&text).to_string();
        self.uncleaned += &new;
        Ok(if self.tokenizer.clean_up { clean_up(&self.uncleaned) } else { self.uncleaned })
    }

    /// Whether the decoder gets to see `id` at all.
    fn shows(&self, id: u32) -> bool {
        if let Some(model) = &self.tokenizer.sentencepiece {
            let piece = model.piece(id);
            return piece.is_some_and(|piece| self.special == Special::With || piece.kind != PieceKind::Control);
        }
        let inner = &self.tokenizer.inner;
        let Some(token) = inner.id_to_token(id) else { return false };
        self.special == Special::With || !inner.get_added_vocabulary().is_special_token(&token)
    }

    /// Whether `id` is one byte of a run that only a decoder with byte fallback understands.
    fn is_byte(&self, id: u32) -> bool {
        let Some(token) = self.tokenizer.inner.id_to_token(id) else { return false };
        token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
    }

    fn cleaned(&mut self, new: &str) -> String {
        if !self.tokenizer.clean_up {
            return new.to_string();
        }
        self.uncleaned += new;
        let text = clean_up(&self.uncleaned);
        if is_open(&self.uncleaned) || is_open(&text) {
            return String::new();
        }
        self.uncleaned.clear();
        text
    }
}

/// Whether more text could complete something that is cleaned up.
fn is_open(text: &str) -> bool {
    let tail = text.rfind(' ').map_or("", |at| &text[at..]);
    !tail.is_empty() && CLEAN_UP.iter().any(|(from, _)| from.starts_with(tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures")).join(name)
    }

    fn check(tokenizer: &Tokenizer, ids: &[u32], special: Special) -> Vec<String> {
        let mut stream = tokenizer.stream(special);
        let mut pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        pieces.push(stream.finish().unwrap());
        assert_eq!(pieces.concat(), tokenizer.decode(ids, special).unwrap(), "ids {ids:?}");
        pieces
    }

    #[test]
    fn no_half_characters() {
        let tokenizer = Tokenizer::load(&fixture("gpt2")).unwrap();
        let ids = tokenizer.encode_ids("a👩‍🚀b", Special::Without).unwrap();
        let pieces = check(&tokenizer, &ids, Special::Without);
        assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{pieces:?}");
        assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 2, "{pieces:?}");
    }

    #[test]
    fn any_ids() {
        let names = ["gpt2", "bert", "clip", "llama", "gemma3-text", "qwen2", "roberta-mlm", "siglip", "t5"];
        let tokenizers: Vec<_> = names.iter().map(|name| Tokenizer::load(&fixture(name)).unwrap()).collect();
        let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(ids in prop::collection::vec(0u32..700, 0..40), with: bool)| {
            for tokenizer in &tokenizers {
                check(tokenizer, &ids, if with { Special::With } else { Special::Without });
            }
        });
    }

    #[test]
    fn cleaning_up_across_pieces() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(fixture("bert").join("tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
        let config = r#"{"clean_up_tokenization_spaces": true}"#;
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        let tokenizer = Tokenizer::load(dir.path()).unwrap();
        for text in ["do n ' t , we ' re . i ' m ? he ' ve ! ' s", "a . b", "' ' ' m n't", "n ' t"] {
            check(&tokenizer, &tokenizer.encode_ids(text, Special::With).unwrap(), Special::Without);
        }
    }
}
