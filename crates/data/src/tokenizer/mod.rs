//! Text to ids and back, as Hugging Face's tokenizers do it.
//!
//! ```text
//! mod.rs      Tokenizer: load, decode, save
//! encode.rs   texts, pairs and words to encodings
//! window.rs   inputs cut to a length, and windows over longer ones
//! offsets.rs  offsets in bytes and in code points
//! files/      tokenizers from vocab.txt, merges.txt and SentencePiece models
//! spm/        SentencePiece models as their own library uses them
//! special.rs  which ids are special
//! stream.rs   StreamDecoder: text while ids arrive
//! parity.rs   recorded cases of the reference
//! train/      byte-level BPE, WordPiece, Unigram from documents
//! ```

mod encode;
mod error;
mod files;
mod offsets;
pub mod parity;
mod special;
mod spm;
mod stream;
mod subword;
pub mod train;
mod window;

pub use encode::{Encoding, Input};
pub use error::Error;
pub use special::{SpecialToken, SpecialTokens};
pub use stream::StreamDecoder;
pub use window::{Truncation, Window};

use files::{Files, Made};
use rayon::prelude::*;
use serde_json::{Map, Value};
use spm::SentencePiece;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tokenizers::{OffsetType, PostProcessorWrapper, PreTokenizerWrapper};

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
    // A model that is used as its own library does; `inner` then holds its vocabulary, and comes close.
    sentencepiece: Option<SentencePiece>,
    special: SpecialTokens,
    // `tokenizer_config.json` as it was read, so that saving keeps chat templates and the like.
    config: Map<String, Value>,
    clean_up: bool,
    vocab_size: usize,
}

impl Tokenizer {
    /// Opens a tokenizer: a checkpoint directory, or one of the files that such a directory holds.
    ///
    /// In this order: `tokenizer.json`; a SentencePiece model (`tokenizer.model`, `spiece.model`,
    /// `sentencepiece.bpe.model`, `spm.model`); `vocab.txt` (word pieces); `vocab.json` with `merges.txt`. All but the
    /// first become what the class makes of them that `tokenizer_config.json`, or else `config.json`, names. A
    /// SentencePiece model without a class gives the ids of the SentencePiece library.
    ///
    /// `tokenizer_config.json` and `special_tokens_map.json` beside it give the special tokens; where both name a role
    /// the first wins.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        let (config_file, map_file) = (folder.join("tokenizer_config.json"), folder.join("special_tokens_map.json"));
        let config = read_object(&config_file)?.unwrap_or_default();
        let map = read_object(&map_file)?.unwrap_or_default();
        let files = Files::find(path, &config)?;
        let made = match &files {
            Files::Json(file) => {
                let bytes = fs::read(file).map_err(|source| Error::Read { path: file.clone(), source })?;
                let inner = tokenizers::Tokenizer::from_bytes(&bytes)
                    .map_err(|reason| Error::Parse { path: file.clone(), reason: reason.to_string() })?;
                Made { inner, sentencepiece: None, config }
            }
            other => other.make(config, &map)?,
        };
        let mut special = SpecialTokens::default();
        special.fill(&config_file, &made.config, |token| made.inner.token_to_id(token))?;
        special.fill(&map_file, &map, |token| made.inner.token_to_id(token))?;
        let file = files.path().to_path_buf();
        let tokenizer = Self::new(made.inner, special, made.config);
        let mut tokenizer = tokenizer.map_err(|reason| Error::Parse { path: file, reason })?;
        tokenizer.clean_up &= made.sentencepiece.is_none();
        tokenizer.sentencepiece = made.sentencepiece;
        Ok(tokenizer)
    }

    /// The SentencePiece model in the directory `dir` as its library uses it, whatever class other files name.
    fn by_library(dir: &Path) -> Result<Self, Error> {
        let path = Files::sentencepiece(dir).ok_or_else(|| Error::NoTokenizer { path: dir.to_path_buf() })?;
        let made = Files::SentencePiece(path.clone()).make_classless()?;
        let tokenizer = Self::new(made.inner, SpecialTokens::default(), made.config);
        let tokenizer = tokenizer.map_err(|reason| Error::Parse { path, reason })?;
        Ok(Self { sentencepiece: made.sentencepiece, ..tokenizer })
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
        Ok(Self { inner, sentencepiece: None, special, config, clean_up, vocab_size })
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

    /// Makes a byte-level tokenizer put a space before a text, or before each word of [`Input::Words`], which it needs to
    /// tell words apart (`add_prefix_space` in transformers). Others do so by themselves.
    pub fn add_prefix_space(&mut self) -> Result<(), Error> {
        let Some(PreTokenizerWrapper::ByteLevel(mut bytes)) = self.inner.get_pre_tokenizer().cloned() else {
            return Ok(());
        };
        bytes.add_prefix_space = true;
        self.inner.with_pre_tokenizer(Some(bytes));
        let post_processor = match self.inner.get_post_processor().cloned() {
            Some(PostProcessorWrapper::Roberta(p)) => Some(p.add_prefix_space(true).into()),
            Some(PostProcessorWrapper::ByteLevel(p)) => Some(p.add_prefix_space(true).into()),
            other => other,
        };
        self.inner.with_post_processor(post_processor);
        self.config.insert("add_prefix_space".into(), true.into());
        Ok(())
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
        let mut hasher = blake3::Hasher::new();
        hasher.update(content.as_bytes());
        if let Some(model) = &self.sentencepiece {
            hasher.update(model.bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The ids of one text, without what else an [`Encoding`] holds: the fast way.
    pub fn encode_ids(&self, text: &str, special: Special) -> Result<Vec<u32>, Error> {
        if self.sentencepiece.is_some() {
            return Ok(self.encode(text, special)?.ids);
        }
        let encoding = self.inner.encode_fast(text, special == Special::With).map_err(|e| refused(e, text))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of many texts, in parallel, in their order.
    pub fn encode_batch<T: AsRef<str> + Sync>(&self, texts: &[T], special: Special) -> Result<Vec<Vec<u32>>, Error> {
        texts.par_iter().map(|text| self.encode_ids(text.as_ref(), special)).collect()
    }

    /// Ids with the byte at which each token ends in `text`, for counting bytes per token.
    pub(crate) fn encode_ends(&self, text: &str) -> Result<(Vec<u32>, Vec<usize>), Error> {
        let raw = self.encode_raw(text.into(), 0, OffsetType::Byte)?;
        let encoding = self.post_process(raw, None, Special::Without, text.into())?;
        let ends = encoding.get_offsets().iter().map(|&(_, end)| end).collect();
        Ok((encoding.get_ids().to_vec(), ends))
    }

    /// The text of `ids`. Ids outside the vocabulary give nothing, as in the reference.
    pub fn decode(&self, ids: &[u32], special: Special) -> Result<String, Error> {
        let text = self.decode_raw(ids, special)?;
        Ok(if self.clean_up { clean_up(&text) } else { text })
    }

    fn decode_raw(&self, ids: &[u32], special: Special) -> Result<String, Error> {
        if let Some(model) = &self.sentencepiece {
            return Ok(model.decode(ids, special == Special::With));
        }
        self.inner
            .decode(ids, special == Special::Without)
            .map_err(|reason| Error::Decode { count: ids.len(), reason: reason.to_string() })
    }

    /// Decodes id by id; see [`StreamDecoder`].
    pub fn stream(&self, special: Special) -> StreamDecoder<'_> {
        StreamDecoder::new(self, special)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into the directory `dir`.
    ///
    /// A SentencePiece model that is used as its library does is written too, as `tokenizer.model`, and stays what
    /// decides; `tokenizer.json` is then for other programs, the nearest that it can say, and left out where it cannot
    /// (`treat_whitespace_as_suffix`).
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let at = |name: &str| dir.join(name);
        let failed = |path: PathBuf, reason: String| Error::Write { path, source: std::io::Error::other(reason) };
        let tokenizer = self.inner.to_string(true).map_err(|e| failed(at("tokenizer.json"), e.to_string()))?;
        if let Some(model) = &self.sentencepiece {
            write(&at(files::SAVED_AS), model.bytes())?;
        }
        if !self.sentencepiece.as_ref().is_some_and(|model| model.proto().trainer.treat_whitespace_as_suffix) {
            write(&at("tokenizer.json"), tokenizer.as_bytes())?;
        }
        let mut config = self.config.clone();
        for (field, token) in self.special.to_json() {
            config.entry(field).or_insert(token);
        }
        for (name, object) in [("tokenizer_config.json", config), ("special_tokens_map.json", self.special.to_json())] {
            let text = serde_json::to_string_pretty(&object).map_err(|e| failed(at(name), e.to_string()))?;
            write(&at(name), (text + "\n").as_bytes())?;
        }
        Ok(())
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
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let written = fs::write(&beside, content).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // What cannot be removed either is not worth a second error.
        let _ = fs::remove_file(&beside);
        Error::Write { path: path.to_path_buf(), source }
    })
}

fn refused(reason: tokenizers::Error, text: &str) -> Error {
    Error::Encode { reason: reason.to_string(), start: text.chars().take(40).collect() }
}
