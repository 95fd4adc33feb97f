//! Texts, pairs of texts and words to encodings.

use super::{Error, Special, Tokenizer, offsets::Offsets, refused, spm::SPACE};
use tokenizers::{Model, OffsetType, PreTokenizer, PreTokenizerWrapper};

/// What is encoded: a text, or words that something else has split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text.
    Text(&'a str),
    /// Words (`is_split_into_words` in transformers): each is encoded by itself, [`Encoding::word_ids`] are places in
    /// this list, and offsets count within the word.
    Words(&'a [&'a str]),
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// What encoding a text, or a pair of texts, gives; all lists have the same length. Nothing is padded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second, as the post-processor says.
    pub type_ids: Vec<u32>,
    /// The tokens as the vocabulary spells them.
    pub tokens: Vec<String>,
    /// Where each token comes from in its text, in code points; `(0, 0)` for added tokens.
    pub offsets: Vec<(usize, usize)>,
    /// The same in bytes. Tokens of single bytes may begin or end inside a character.
    pub byte_offsets: Vec<(usize, usize)>,
    /// 1 for tokens that the post-processor added.
    pub special_tokens_mask: Vec<u32>,
    /// The number of the word a token belongs to, by the pre-tokenizer or in [`Input::Words`].
    pub word_ids: Vec<Option<u32>>,
    /// 0 or 1 for the text a token belongs to, `None` for added tokens.
    pub sequence_ids: Vec<Option<usize>>,
}

impl Encoding {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token, not even a special one.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

impl Tokenizer {
    /// Encodes one text.
    pub fn encode(&self, text: &str, special: Special) -> Result<Encoding, Error> {
        self.encode_input(text.into(), None, special)
    }

    /// Encodes two texts as one sequence, put together by the post-processor.
    pub fn encode_pair(&self, first: &str, second: &str, special: Special) -> Result<Encoding, Error> {
        self.encode_input(first.into(), Some(second.into()), special)
    }

    /// Encodes one or two inputs as one sequence, whole, however long it is.
    pub fn encode_input(
        &self,
        first: Input<'_>,
        second: Option<Input<'_>>,
        special: Special,
    ) -> Result<Encoding, Error> {
        let raw = self.encode_raw(first, 0, OffsetType::Byte)?;
        let second_raw = second.map(|input| self.encode_raw(input, 1, OffsetType::Byte)).transpose()?;
        let whole = self.post_process(raw, second_raw, special, first)?;
        Ok(Offsets::of(first, second).finish(&whole))
    }

    /// Tokens of one input before the post-processor.
    pub(super) fn encode_raw(
        &self,
        input: Input<'_>,
        type_id: u32,
        offsets: OffsetType,
    ) -> Result<tokenizers::Encoding, Error> {
        match input {
            Input::Text(text) => self.encode_piece(text, None, type_id, offsets),
            Input::Words(words) => {
                self.words_stay_apart()?;
                let each = words.iter().enumerate();
                each.map(|(at, word)| self.encode_piece(word, Some(at as u32), type_id, offsets)).collect()
            }
        }
    }

    fn encode_piece(
        &self,
        text: &str,
        word: Option<u32>,
        type_id: u32,
        offsets: OffsetType,
    ) -> Result<tokenizers::Encoding, Error> {
        if let Some(model) = &self.sentencepiece {
            let mut words = 0;
            let parts = model.encode(text).into_iter().enumerate().map(|(at, part)| {
                words += u32::from(at > 0 && part.text.starts_with(SPACE));
                (part.id, part.text, part.range, word.or(Some(words)), type_id)
            });
            return Ok(parts.collect());
        }
        let inner = &self.inner;
        let mut pieces = inner.get_added_vocabulary().extract_and_normalize(inner.get_normalizer(), text);
        if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(|e| refused(e, text))?;
        }
        inner.get_model().tokenize_in_pretokenized(&mut pieces, None).map_err(|e| refused(e, text))?;
        pieces.into_encoding(word, type_id, offsets).map_err(|e| refused(e, text))
    }

    pub(super) fn post_process(
        &self,
        first: tokenizers::Encoding,
        second: Option<tokenizers::Encoding>,
        special: Special,
        input: Input<'_>,
    ) -> Result<tokenizers::Encoding, Error> {
        self.inner.post_process(first, second, special == Special::With).map_err(|e| refused(e, start(input)))
    }

    /// A tokenizer that knows words by the space before them needs that space when words come one by one.
    fn words_stay_apart(&self) -> Result<(), Error> {
        match self.inner.get_pre_tokenizer() {
            Some(PreTokenizerWrapper::ByteLevel(bytes)) if !bytes.add_prefix_space => Err(Error::WordsNeedSpaces),
            _ => Ok(()),
        }
    }
}

/// The beginning of an input, for messages.
fn start(input: Input<'_>) -> &str {
    match input {
        Input::Text(text) => text,
        Input::Words(words) => words.first().copied().unwrap_or_default(),
    }
}
