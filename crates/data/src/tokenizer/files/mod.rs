//! Tokenizers from files other than `tokenizer.json`, made into what the classes of `transformers` make of them.
//!
//! ```text
//! mod.rs    which files lie in a directory, and for which class
//! parts.rs  parts of a tokenizer.json: templates, added tokens, roles
//! spm.rs    classes with a SentencePiece model
//! lists.rs  classes with vocab.txt, or vocab.json and merges.txt
//! ```
//!
//! The class is `tokenizer_class` of `tokenizer_config.json`, else that of `model_type` in `config.json`. What a class
//! does follows transformers 5.

mod lists;
mod parts;
mod spm;

use super::{Error, spm::SentencePiece};
use parts::Roles;
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names of SentencePiece models.
const MODELS: [&str; 4] = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model"];

/// In `tokenizer_config.json`: the file that decides, where `tokenizer.json` lies beside it for other programs.
pub(super) const DECIDING: &str = "sentencepiece_model";

/// The name under which a model is saved that is used as its library does.
pub(super) const SAVED_AS: &str = "tokenizer.model";

/// The files that a tokenizer is read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// `tokenizer.json`.
    Json(PathBuf),
    /// A SentencePiece model.
    SentencePiece(PathBuf),
    /// `vocab.txt`.
    WordPiece(PathBuf),
    /// `vocab.json` and `merges.txt`.
    Merges(PathBuf, PathBuf),
}

/// A tokenizer made of such files.
pub(super) struct Made {
    pub(super) inner: tokenizers::Tokenizer,
    /// Where the model is used as its own library does.
    pub(super) sentencepiece: Option<SentencePiece>,
    /// `tokenizer_config.json` with the special tokens that the class has by itself.
    pub(super) config: Map<String, Value>,
}

impl Files {
    /// The files at `path`, a directory or one of the files; `config` is `tokenizer_config.json`.
    pub(super) fn find(path: &Path, config: &Map<String, Value>) -> Result<Self, Error> {
        if !path.is_dir() {
            let ends = |end: &str| path.extension().is_some_and(|e| e == end);
            let model = path.exists() && (ends("model") || ends("spm"));
            return Ok(match model {
                true => Self::SentencePiece(path.to_path_buf()),
                false if path.exists() && ends("txt") => Self::WordPiece(path.to_path_buf()),
                false => Self::Json(path.to_path_buf()),
            });
        }
        if let Some(name) = config.get(DECIDING).and_then(Value::as_str) {
            return match path.join(name) {
                // A name from a file is no way out of its directory.
                model if Path::new(name).components().count() == 1 && model.exists() => Ok(Self::SentencePiece(model)),
                _ => Err(Error::Config {
                    path: path.join("tokenizer_config.json"),
                    reason: format!("{DECIDING} names {name:?}, which is not there"),
                }),
            };
        }
        let at = |name: &str| Some(path.join(name)).filter(|file| file.exists());
        if let Some(file) = at("tokenizer.json") {
            return Ok(Self::Json(file));
        }
        if let Some(model) = Self::sentencepiece(path) {
            return Ok(Self::SentencePiece(model));
        }
        if let Some(file) = at("vocab.txt") {
            return Ok(Self::WordPiece(file));
        }
        match (at("vocab.json"), at("merges.txt")) {
            (Some(vocab), Some(merges)) => Ok(Self::Merges(vocab, merges)),
            _ => Err(Error::NoTokenizer { path: path.to_path_buf() }),
        }
    }

    /// The SentencePiece model in the directory `dir`.
    pub(super) fn sentencepiece(dir: &Path) -> Option<PathBuf> {
        MODELS.iter().map(|name| dir.join(name)).find(|file| file.exists())
    }

    /// The file to name in messages.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Json(path) | Self::SentencePiece(path) | Self::WordPiece(path) | Self::Merges(path, _) => path,
        }
    }

    /// Reads what is not a `tokenizer.json`; `config` and `map` are `tokenizer_config.json` and
    /// `special_tokens_map.json`.
    pub(super) fn make(&self, config: Map<String, Value>, map: &Map<String, Value>) -> Result<Made, Error> {
        let folder = self.path().parent().unwrap_or(Path::new("")).to_path_buf();
        let class = class(&folder, &config)?;
        let roles = Roles { folder: &folder, config, map };
        match self {
            Self::Json(path) => Err(Error::Parse { path: path.clone(), reason: "it is a tokenizer.json".into() }),
            Self::SentencePiece(path) => spm::make(path, class.as_deref(), roles),
            Self::WordPiece(path) => lists::word_piece(path, class.as_deref(), roles),
            Self::Merges(vocab, merges) => lists::byte_level(vocab, merges, class.as_deref(), roles),
        }
    }

    /// A SentencePiece model as its library uses it.
    pub(super) fn make_classless(&self) -> Result<Made, Error> {
        let map = Map::new();
        spm::make(self.path(), None, Roles { folder: Path::new(""), config: Map::new(), map: &map })
    }
}

/// The tokenizer's class without `Fast`; `None` where nothing names one, or one that takes whatever the files say. A
/// model type whose class is not known here is no reason to guess.
fn class(folder: &Path, config: &Map<String, Value>) -> Result<Option<String>, Error> {
    if let Some(class) = config.get("tokenizer_class").and_then(Value::as_str) {
        let class = class.strip_suffix("Fast").unwrap_or(class);
        let any = ["PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "SentencePieceBackend"];
        return Ok(Some(class.to_owned()).filter(|class| !any.contains(&class.as_str())));
    }
    let model = super::read_object(&folder.join("config.json"))?.unwrap_or_default();
    let class = match model.get("model_type").and_then(Value::as_str) {
        Some("albert") => "AlbertTokenizer",
        Some("bert" | "distilbert" | "dpr" | "electra" | "layoutlm" | "megatron-bert" | "mobilebert") => {
            "BertTokenizer"
        }
        Some("camembert") => "CamembertTokenizer",
        Some("deberta-v2") => "DebertaV2Tokenizer",
        Some("gpt2") => "GPT2Tokenizer",
        Some("llama" | "mistral") => "LlamaTokenizer",
        Some("roberta" | "bart" | "longformer") => "RobertaTokenizer",
        Some("t5" | "mt5" | "umt5" | "longt5") => "T5Tokenizer",
        Some("xlm-roberta") => "XLMRobertaTokenizer",
        Some(other) => return Ok(Some(format!("of model_type `{other}`"))),
        None => return Ok(None),
    };
    Ok(Some(class.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })
}

fn read_text(path: &Path) -> Result<String, Error> {
    String::from_utf8(read(path)?)
        .map_err(|e| Error::Parse { path: path.to_path_buf(), reason: format!("not UTF-8: {e}") })
}

/// A class that these files do not belong to, or that is not known.
fn unsupported(path: &Path, class: &str, known: &'static [&'static str]) -> Error {
    Error::Class { path: path.to_path_buf(), class: class.to_owned(), known }
}

#[cfg(test)]
mod tests;
