//! The directories that training writes: `config.json`, `model.safetensors`, `vocab.txt`.

use std::path::{Path, PathBuf};

use bedstone_run::{dir::model_folder, files::FileError};
use serde_json::Value;

use super::{
    Format, Vectors,
    safetensors::{Matrix, Tensors},
};
use crate::{Result, WordsError, text::Vocab, word2vec::NGrams};

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const VOCAB: &str = "vocab.txt";
const CONFIG: &str = "config.json";

/// `model_type` in a directory's config; `None` if it has no config.
pub(crate) fn model_type(dir: &Path) -> Result<Option<String>> {
    let path = dir.join(CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    Ok(config(&path)?.get("model_type").and_then(Value::as_str).map(str::to_owned))
}

fn config(path: &Path) -> Result<Value> {
    let text = std::fs::read(path).map_err(FileError::at(path, "read"))?;
    serde_json::from_slice(&text).map_err(|e| WordsError::format(path, e.to_string()))
}

/// Vectors to go on with: of a directory with all that was learned, or of any file.
pub(crate) struct Stored {
    pub(crate) path: PathBuf,
    pub(crate) vocab: Vocab,
    pub(crate) dimension: usize,
    /// How words are cut, where rows of n-grams stand behind those of words.
    pub(crate) ngrams: Option<NGrams>,
    source: Source,
}

enum Source {
    Tensors { tensors: Tensors, input: &'static str },
    Numbers(Vec<f32>),
}

/// Rows to take over.
pub(crate) enum Rows<'a> {
    Matrix(Matrix<'a>),
    Numbers(&'a [f32], usize),
}

impl Rows<'_> {
    pub(crate) fn each_row(&self, mut take: impl FnMut(usize, &[f32])) {
        match self {
            Rows::Matrix(m) => m.each_row(take),
            Rows::Numbers(x, cols) => x.chunks_exact((*cols).max(1)).enumerate().for_each(|(r, x)| take(r, x)),
        }
    }
}

impl Stored {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() || model_type(&model_folder(path)?)?.is_none() {
            let v = Vectors::open(path)?;
            let (dimension, path) = (v.dimension, path.to_owned());
            return Ok(Self { path, dimension, ngrams: None, source: Source::Numbers(v.numbers), vocab: v.vocab });
        }
        let opened = Opened::open(path)?;
        let input = if opened.ngrams.is_some() { "input" } else { "vectors" };
        Ok(Self {
            path: path.to_owned(),
            vocab: opened.vocab,
            dimension: opened.dimension,
            ngrams: opened.ngrams,
            source: Source::Tensors { tensors: opened.tensors, input },
        })
    }

    /// What was learned of each word, before n-grams are added.
    pub(crate) fn input(&self) -> Result<Rows<'_>> {
        match &self.source {
            Source::Numbers(x) => Ok(Rows::Numbers(x, self.dimension)),
            Source::Tensors { tensors, input } => match tensors.find(input)? {
                Some(m) if m.shape[1] == self.dimension => Ok(Rows::Matrix(m)),
                _ => Err(WordsError::format(&self.path, format!("no tensor `{input}` of {} columns", self.dimension))),
            },
        }
    }

    /// Another matrix with a row a word, if there is one.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Rows<'_>>> {
        match &self.source {
            Source::Numbers(_) => Ok(None),
            Source::Tensors { tensors, .. } => match tensors.find(name)? {
                None => Ok(None),
                Some(_) => Ok(Some(Rows::Matrix(tensors.get(name, [self.vocab.len(), self.dimension])?))),
            },
        }
    }
}

struct Opened {
    vocab: Vocab,
    dimension: usize,
    tensors: Tensors,
    ngrams: Option<NGrams>,
    config: Value,
}

impl Opened {
    fn open(path: &Path) -> Result<Self> {
        let dir = model_folder(path)?;
        let config_path = dir.join(CONFIG);
        let config = config(&config_path)?;
        match config.get("model_type").and_then(Value::as_str) {
            Some("word2vec" | "glove") => {}
            other => {
                let got = other.unwrap_or("missing");
                return Err(WordsError::format_hint(
                    &config_path,
                    format!("`model_type` is {got}, wanted word2vec or glove"),
                    "word vectors are made by `bedstone pretrain word2vec` and `bedstone pretrain glove`",
                ));
            }
        }
        let vocab = Vocab::read(&dir.join(VOCAB))?;
        let tensors = Tensors::open(&dir.join(WEIGHTS))?;
        let found = tensors
            .find("vectors")?
            .ok_or_else(|| WordsError::format(&dir.join(WEIGHTS), "tensor `vectors` is missing"))?;
        let [rows, dimension] = found.shape;
        if rows != vocab.len() {
            let what = format!("tensor `vectors` has {rows} rows, {VOCAB} has {} words", vocab.len());
            return Err(WordsError::format(&dir.join(WEIGHTS), what));
        }
        let ngrams = NGrams::of_config(&config, &config_path)?;
        Ok(Self { vocab, dimension, tensors, ngrams, config })
    }
}

/// Vectors of a directory.
pub(super) fn open(path: &Path) -> Result<Vectors> {
    let Opened { vocab, dimension, tensors, ngrams, config } = Opened::open(path)?;
    let mut numbers = Vec::with_capacity(vocab.len() * dimension);
    tensors.get("vectors", [vocab.len(), dimension])?.each_row(|_, x| numbers.extend_from_slice(x));
    let words = vocab.len();
    let mut v = Vectors::new(path, Format::Directory, vocab, dimension, numbers);
    if let Some(n) = ngrams {
        let mut rows = Vec::with_capacity(n.bucket * dimension);
        let all = tensors.get("input", [words + n.bucket, dimension])?;
        all.each_row(|r, x| {
            if r >= words {
                rows.extend_from_slice(x);
            }
        });
        v.ngrams = Some((n, rows));
    }
    v.model_type = config.get("model_type").and_then(Value::as_str).map(str::to_owned);
    v.lowercase = config.get("lowercase").and_then(Value::as_bool).unwrap_or(false);
    Ok(v)
}
