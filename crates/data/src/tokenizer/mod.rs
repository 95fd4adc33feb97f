//! Text to ids and back, as Hugging Face's tokenizers do it.
//!
//! ```text
//! mod.rs      Tokenizer: load, encode, decode, save
//! special.rs  which ids are special
//! stream.rs   StreamDecoder: text while ids arrive
//! parity.rs   recorded cases of the reference
//! train/      byte-level BPE, WordPiece, Unigram from documents
//! ```

mod error;
pub mod parity;
mod special;
mod stream;
pub mod train;

pub use error::Error;
pub use special::{SpecialToken, SpecialTokens};
pub use stream::StreamDecoder;

use rayon::prelude::*;
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokenizers::EncodeInput;

/// Whether special tokens take part: in encoding, those that the post-processor puts around a text; in decoding, all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// They are added, or shown.
    With,
    /// They are left out.
    Without,
}

/// A tokenizer with the roles of its special tokens.
///
/// Truncation and padding that a file asks for are switched off: a text is never cut in silence.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    // `tokenizer_config.json` as it was read, so that saving keeps chat templates and the like.
    config: Map<String, Value>,
    clean_up: bool,
    vocab_size: usize,
}

/// What encoding a text, or a pair of texts, gives; all lists have the same length.
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
    /// 1 for every token: nothing is padded here.
    pub attention_mask: Vec<u32>,
    /// 1 for tokens that the post-processor added.
    pub special_mask: Vec<u32>,
    /// The number of the word a token belongs to, by the pre-tokenizer.
    pub words: Vec<Option<u32>>,
    /// 0 or 1 for the text a token belongs to, `None` for added tokens.
    pub sequences: Vec<Option<usize>>,
}

impl Tokenizer {
    /// Opens a `tokenizer.json` or the checkpoint directory that holds one.
    ///
    /// `tokenizer_config.json` and `special_tokens_map.json` beside it give the special tokens; where both name a role
    /// the first wins.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = tokenizer_file(path)?;
        let bytes = fs::read(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
        let inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|reason| Error::Parse { path: file.clone(), reason: reason.to_string() })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let config = read_object(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let map = read_object(&folder.join("special_tokens_map.json"))?.unwrap_or_default();
        let mut special = SpecialTokens::default();
        special.fill(&folder.join("tokenizer_config.json"), &config, |token| inner.token_to_id(token))?;
        special.fill(&folder.join("special_tokens_map.json"), &map, |token| inner.token_to_id(token))?;
        Self::new(inner, special, config).map_err(|reason| Error::Parse { path: file, reason })
    }

    fn new(
        mut inner: tokenizers::Tokenizer,
        special: SpecialTokens,
        config: Map<String, Value>,
    ) -> Result<Self, String> {
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|reason| reason.to_string())?;
        // Ids may have gaps, and an embedding must reach the highest one.
        let vocab_size = inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        if vocab_size == 0 {
            return Err("the vocabulary is empty".into());
        }
        // The reference cleans up only what is not BPE, where it would eat spaces that are there.
        let bpe = matches!(inner.get_model(), tokenizers::ModelWrapper::BPE(_));
        let forced = config.get("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output");
        let wanted = config.get("clean_up_tokenization_spaces") == Some(&Value::Bool(true));
        let clean_up = wanted && (!bpe || forced == Some(&Value::Bool(true)));
        Ok(Self { inner, special, config, clean_up, vocab_size })
    }

    /// The highest id and one: the rows that an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The roles of the special tokens.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// What stands after a document: the end-of-text token, or the separator where there is none.
    pub fn document_end(&self) -> Option<&SpecialToken> {
        self.special.eos.as_ref().or(self.special.sep.as_ref())
    }

    /// `model_max_length` of the configuration; `None` where it is missing or means "no limit".
    pub fn model_max_length(&self) -> Option<usize> {
        let length = self.config.get("model_max_length")?.as_u64()?;
        // The reference writes 1e30 for "none", which no u64 holds; some files have rounder large numbers.
        (length < 1 << 40).then_some(length as usize)
    }

    /// Sets `model_max_length`, which [`Tokenizer::save`] writes.
    pub fn set_model_max_length(&mut self, length: usize) {
        self.config.insert("model_max_length".into(), length.into());
    }

    /// The id of a token, spelled as in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, spelled as in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// A hash of everything that decides which ids a text gets.
    pub fn hash(&self) -> String {
        // Serialising writes ordered lists only and cannot fail for what was parsed or built here; if it ever does,
        // the message takes the place of the content.
        let content = self.inner.to_string(false).unwrap_or_else(|reason| reason.to_string());
        blake3::hash(content.as_bytes()).to_hex().to_string()
    }

    /// Encodes one text.
    pub fn encode(&self, text: &str, special: Special) -> Result<Encoding, Error> {
        self.encode_input(text.into(), text, special)
    }

    /// Encodes two texts as one sequence, put together by the post-processor.
    pub fn encode_pair(&self, first: &str, second: &str, special: Special) -> Result<Encoding, Error> {
        self.encode_input((first, second).into(), first, special)
    }

    /// The ids of one text, without what else an [`Encoding`] holds: the fast way.
    pub fn encode_ids(&self, text: &str, special: Special) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode_fast(text, special == Special::With).map_err(|e| refused(e, text))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of many texts, in parallel, in their order.
    pub fn encode_batch<T: AsRef<str> + Sync>(&self, texts: &[T], special: Special) -> Result<Vec<Vec<u32>>, Error> {
        texts.par_iter().map(|text| self.encode_ids(text.as_ref(), special)).collect()
    }

    /// Ids with the byte at which each token ends in `text`, for counting bytes per token.
    pub(crate) fn encode_ends(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), Error> {
        let encoding = self.inner.encode(text, false).map_err(|e| refused(e, text))?;
        let ends = encoding.get_offsets().iter().map(|&(_, end)| end).collect();
        Ok((encoding.get_ids().to_vec(), ends))
    }

    /// The text of `ids`. Ids outside the vocabulary give nothing, as in the reference.
    pub fn decode(&self, ids: &[u32], special: Special) -> Result<String, Error> {
        let text = self.decode_raw(ids, special)?;
        Ok(if self.clean_up { clean_up(&text) } else { text })
    }

    fn decode_raw(&self, ids: &[u32], special: Special) -> Result<String, Error> {
        self.inner
            .decode(ids, special == Special::Without)
            .map_err(|reason| Error::Decode { count: ids.len(), reason: reason.to_string() })
    }

    /// Decodes id by id; see [`StreamDecoder`].
    pub fn stream(&self, special: Special) -> StreamDecoder<'_> {
        StreamDecoder::new(self, special)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into the directory `dir`.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let at = |name: &str| dir.join(name);
        let failed = |path: PathBuf, reason: String| Error::Write { path, source: std::io::Error::other(reason) };
        let tokenizer = self.inner.to_string(true).map_err(|e| failed(at("tokenizer.json"), e.to_string()))?;
        write(&at("tokenizer.json"), &tokenizer)?;
        let mut config = self.config.clone();
        for (field, token) in self.special.to_json() {
            config.entry(field).or_insert(token);
        }
        for (name, object) in [("tokenizer_config.json", config), ("special_tokens_map.json", self.special.to_json())] {
            let text = serde_json::to_string_pretty(&object).map_err(|e| failed(at(name), e.to_string()))?;
            write(&at(name), &(text + "\n"))?;
        }
        Ok(())
    }

    fn encode_input(&self, input: EncodeInput<'_>, text: &str, special: Special) -> Result<Encoding, Error> {
        let encoding = self.inner.encode_char_offsets(input, special == Special::With).map_err(|e| refused(e, text))?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            tokens: encoding.get_tokens().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            attention_mask: encoding.get_attention_mask().to_vec(),
            special_mask: encoding.get_special_tokens_mask().to_vec(),
            words: encoding.get_word_ids().to_vec(),
            sequences: encoding.get_sequence_ids(),
        })
    }
}

/// The spaces that a tokenizer of words puts before punctuation, taken out again: what the reference does where
/// `clean_up_tokenization_spaces` is set, in its order.
fn clean_up(text: &str) -> String {
    CLEAN_UP.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

const CLEAN_UP: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

fn tokenizer_file(path: &Path) -> Result<PathBuf, Error> {
    if path.is_dir() {
        let file = path.join("tokenizer.json");
        if !file.exists() {
            let models = ["tokenizer.model", "spiece.model", "source.spm"].map(|name| path.join(name));
            let sentencepiece = models.into_iter().find(|model| model.exists());
            return Err(Error::NoTokenizer { path: path.to_path_buf(), sentencepiece });
        }
        return Ok(file);
    }
    if path.extension().is_some_and(|e| e == "model" || e == "spm") && path.exists() {
        return Err(Error::SentencePiece { path: path.to_path_buf() });
    }
    Ok(path.to_path_buf())
}

/// The JSON object in the file at `path`, or `None` where there is no such file.
fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path: path.to_path_buf(), source }),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|reason| Error::Config { path: path.to_path_buf(), reason: format!("not a JSON object: {reason}") })
}

/// Writes a file as a whole: where that fails, what was there before stays.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // What cannot be removed either is not worth a second error.
        let _ = fs::remove_file(&beside);
        Error::Write { path: path.to_path_buf(), source }
    })
}

fn refused(reason: tokenizers::Error, text: &str) -> Error {
    Error::Encode { reason: reason.to_string(), start: text.chars().take(40).collect() }
}
