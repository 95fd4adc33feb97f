//! Words and the tokens inside of them.

use super::{Error, Tokenizer};
use tokenizers::{Decoder, ModelWrapper};

impl Tokenizer {
    /// What tokens inside of a word begin with, where the vocabulary marks them: `##` in BERT's.
    pub fn continuing_subword_prefix(&self) -> Option<&str> {
        match self.inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(&model.continuing_subword_prefix),
            ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_deref(),
            _ => None,
        }
    }

    /// The text of tokens as the vocabulary spells them, nothing left out (`convert_tokens_to_string` in transformers).
    pub fn tokens_to_string(&self, tokens: &[String]) -> Result<String, Error> {
        match self.inner.get_decoder() {
            Some(decoder) => decoder
                .decode(tokens.to_vec())
                .map_err(|reason| Error::Decode { count: tokens.len(), reason: reason.to_string() }),
            None => Ok(tokens.join(" ")),
        }
    }
}
