//! Words with vectors.
//!
//! ```text
//! mod.rs          Vectors: opening whatever holds them
//! stored.rs       the directories that training writes
//! text.rs         word2vec and GloVe text
//! binary.rs       word2vec binary
//! arrays.rs       a matrix in .npy beside its words in .parquet or .txt
//! safetensors.rs  matrices in safetensors files
//! write.rs        all formats, out
//! near.rs         neighbours and analogies
//! judge.rs        analogy and similarity tests
//! map.rs          words on a plane, as a picture
//! ```

mod arrays;
mod binary;
pub mod judge;
pub mod map;
pub mod near;
pub(crate) mod safetensors;
mod stored;
#[cfg(test)]
mod tests;
mod text;
pub mod write;

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use bedstone_run::files::FileError;

pub(crate) use stored::{Stored, VOCAB, WEIGHTS, model_type};

use crate::{Result, WordsError, text::Vocab, word2vec::NGrams};
use safetensors::Tensors;

/// The metadata of a safetensors file that lists the words, a line each.
pub(crate) const WORDS: &str = "words";

/// Where vectors came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A directory that training wrote.
    Directory,
    /// A first line with the numbers of words and dimensions, then a line a word.
    Word2VecText,
    /// The same first line, then words with vectors in bytes.
    Word2VecBinary,
    /// A line a word.
    GloveText,
    /// A matrix `vectors` with the words in the metadata.
    Safetensors,
    /// A matrix in `.npy`, the words in a file beside it.
    Arrays,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Directory => "directory",
            Format::Word2VecText => "word2vec-text",
            Format::Word2VecBinary => "word2vec-binary",
            Format::GloveText => "glove-text",
            Format::Safetensors => "safetensors",
            Format::Arrays => "arrays",
        })
    }
}

/// Words, each with a vector.
pub struct Vectors {
    /// The words; a word's id is its row. Counts are 0 where the file has none.
    pub vocab: Vocab,
    dimension: usize,
    numbers: Vec<f32>,
    // Vectors of n-grams, which give unknown words theirs.
    ngrams: Option<(NGrams, Vec<f32>)>,
    /// Where they came from.
    pub path: PathBuf,
    /// In which form.
    pub format: Format,
    /// What made them, where that is known.
    pub model_type: Option<String>,
    /// Whether the words were in lower case only.
    pub lowercase: bool,
    /// A word that the file has more than once, and how many rows were left out for such words: the first of each counts.
    pub repeated: Option<(String, u64)>,
}

impl Vectors {
    /// Opens a directory of training, or a file in any of the formats; which one is seen from the content.
    ///
    /// # Errors
    /// A file that is none of them, or cut short, or damaged: with the place.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return if path.join("config.json").exists() || path.join("training").exists() {
                stored::open(path)
            } else {
                arrays::open_folder(path)
            };
        }
        let mut file = File::open(path).map_err(FileError::at(path, "open"))?;
        let mut head = vec![0; 8192];
        let mut n = 0;
        while n < head.len() {
            match file.read(&mut head[n..]).map_err(FileError::at(path, "read"))? {
                0 => break,
                more => n += more,
            }
        }
        head.truncate(n);
        match sniff(path, &head)? {
            Format::Word2VecBinary => binary::open(path),
            Format::Safetensors => open_safetensors(path),
            Format::Arrays => arrays::open_file(path),
            text => text::open(path, text),
        }
    }

    /// Of words and numbers, a row a word.
    pub(crate) fn new(path: &Path, format: Format, vocab: Vocab, dimension: usize, numbers: Vec<f32>) -> Self {
        debug_assert_eq!(numbers.len(), vocab.len() * dimension);
        Self {
            vocab,
            dimension,
            numbers,
            ngrams: None,
            path: path.to_owned(),
            format,
            model_type: None,
            lowercase: false,
            repeated: None,
        }
    }

    /// Numbers a vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.vocab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.vocab.is_empty()
    }

    /// The vector of the word with this id.
    ///
    /// # Panics
    /// If there is none.
    pub fn row(&self, id: u32) -> &[f32] {
        &self.numbers[id as usize * self.dimension..][..self.dimension]
    }

    /// All vectors, row after row.
    pub fn rows(&self) -> &[f32] {
        &self.numbers
    }

    /// The character n-grams that give unknown words vectors, if there are any.
    pub fn ngrams(&self) -> Option<NGrams> {
        self.ngrams.as_ref().map(|(n, _)| *n)
    }

    /// The id of a word; where the vectors are of words in lower case only, of the word in lower case.
    pub fn id(&self, word: &str) -> Option<u32> {
        let lower = || if self.lowercase { self.vocab.id(&word.to_lowercase()) } else { None };
        self.vocab.id(word).or_else(lower)
    }

    /// The vector of a word; of an unknown one the mean of its n-grams' vectors, where there are n-grams.
    ///
    /// # Errors
    /// [`WordsError::UnknownWord`], with near spellings.
    pub fn vector(&self, word: &str) -> Result<Vec<f32>> {
        if let Some(id) = self.id(word) {
            return Ok(self.row(id).to_vec());
        }
        let lower = if self.lowercase { word.to_lowercase() } else { word.to_owned() };
        let composed = self.ngrams.as_ref().and_then(|(ngrams, rows)| {
            let buckets = ngrams.buckets(&lower);
            let mut sum = vec![0.0; self.dimension];
            for &bucket in &buckets {
                let row = &rows[bucket as usize * self.dimension..][..self.dimension];
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += x / buckets.len() as f32);
            }
            (!buckets.is_empty()).then_some(sum)
        });
        composed.ok_or_else(|| self.vocab.unknown(word))
    }
}

/// Words that stand in a file again. Published files have some (gensim, too, takes the first of each), so they are no error.
#[derive(Default)]
struct Repeats(Option<(String, u64)>);

impl Repeats {
    fn add(&mut self, word: &str) {
        self.0.get_or_insert_with(|| (word.to_owned(), 0)).1 += 1;
    }

    fn rows(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, rows)| *rows as usize)
    }
}

/// Lengths of vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// The mean.
    pub mean: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

impl Vectors {
    /// How long the vectors are.
    pub fn norms(&self) -> Norms {
        let lengths = (0..self.len() as u32).map(|id| f64::from(near::dot(self.row(id), self.row(id))).sqrt());
        let fold = |n: Norms, l: f64| Norms { mean: n.mean + l, min: n.min.min(l), max: n.max.max(l) };
        let sum = lengths.fold(Norms { mean: 0.0, min: f64::INFINITY, max: 0.0 }, fold);
        Norms { mean: sum.mean / self.len().max(1) as f64, ..sum }
    }
}

/// Whether `path` is a directory of word vectors: one that training wrote, or a matrix beside its words.
pub fn is_directory(path: &Path) -> bool {
    if !path.is_dir() {
        return false;
    }
    let model = bedstone_run::dir::model_folder(path).ok().and_then(|dir| model_type(&dir).ok().flatten());
    matches!(model.as_deref(), Some("word2vec" | "glove")) || arrays::is_folder(path)
}

/// What a file is, by how it begins.
fn sniff(path: &Path, head: &[u8]) -> Result<Format> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if head.starts_with(b"\x93NUMPY") || head.starts_with(b"PAR1") {
        return Ok(Format::Arrays);
    }
    if extension == "safetensors" || head.get(8) == Some(&b'{') && head[..8].ends_with(&[0, 0, 0]) {
        return Ok(Format::Safetensors);
    }
    let what = match head {
        [] => "an empty file".to_owned(),
        [0x80, version, ..] if *version <= 5 => {
            return Err(WordsError::format_hint(
                path,
                "a Python pickle, which is not executed here",
                "in Python: gensim.models.KeyedVectors.load(FILE).save_word2vec_format(\"vectors.bin\", binary=True)",
            ));
        }
        [0x1f, 0x8b, ..] => "a gzip file; decompress it first".to_owned(),
        [b'P', b'K', ..] => "a zip file; unpack it first".to_owned(),
        [0xba, 0x16, 0x4f, 0x2f, ..] => {
            return Err(WordsError::format_hint(
                path,
                "a model of fastText",
                "fastText writes its vectors as text too: the file with the extension .vec",
            ));
        }
        _ => String::new(),
    };
    if !what.is_empty() {
        return Err(WordsError::format(path, what));
    }
    let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
    let fields: Vec<&str> = std::str::from_utf8(line).map(|l| l.split_whitespace().collect()).unwrap_or_default();
    let header = fields.len() == 2 && fields.iter().all(|f| f.parse::<u64>().is_ok());
    let rest = &head[line.len().min(head.len())..];
    // Numbers in bytes are hardly ever text; the last few bytes may be a part of a letter.
    let text =
        !rest.contains(&0) && std::str::from_utf8(rest).map_or_else(|e| e.valid_up_to() + 4 > rest.len(), |_| true);
    match (header, text) {
        (true, false) => Ok(Format::Word2VecBinary),
        (true, true) => Ok(Format::Word2VecText),
        (false, true) if fields.len() >= 2 => Ok(Format::GloveText),
        _ => Err(WordsError::format_hint(
            path,
            "not a file of word vectors",
            "wanted word2vec text or binary, GloVe text, safetensors with `vectors`, or .npy beside .parquet",
        )),
    }
}

fn open_safetensors(path: &Path) -> Result<Vectors> {
    let tensors = Tensors::open(path)?;
    let missing = |what: &str| {
        WordsError::format_hint(path, format!("{what} is missing"), "`bedstone convert V --to safetensors` writes both")
    };
    let matrix = tensors.find("vectors")?.ok_or_else(|| missing("tensor `vectors`"))?;
    let words = tensors.metadata(WORDS)?.ok_or_else(|| missing("metadata `words`"))?;
    let [rows, dimension] = matrix.shape;
    let vocab = distinct(path, words.split('\n').map(|w| Ok(w.to_owned())), rows)?;
    let mut numbers = Vec::with_capacity(rows * dimension);
    matrix.each_row(|_, x| numbers.extend_from_slice(x));
    Ok(Vectors::new(path, Format::Safetensors, vocab, dimension, numbers))
}

/// A vocabulary of so many different words.
pub(crate) fn distinct(path: &Path, words: impl Iterator<Item = Result<String>>, wanted: usize) -> Result<Vocab> {
    let mut vocab = Vocab::default();
    for (row, word) in words.enumerate() {
        let word = word?;
        vocab.add(&word, 0).map_err(|e| e.in_file(path))?;
        if vocab.len() != row + 1 {
            return Err(WordsError::format(path, format!("word {}: `{word}` stands there twice", row + 1)));
        }
    }
    if vocab.len() != wanted {
        return Err(WordsError::format(path, format!("{} words for {wanted} vectors", vocab.len())));
    }
    Ok(vocab)
}
