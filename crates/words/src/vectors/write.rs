//! Vectors as files that other programs read.

use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use bedstone_run::files::FileError;

use super::{Vectors, WORDS, safetensors};
use crate::{Result, WordsError};

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// For gensim's `load_word2vec_format`, word2vec and most others.
    Word2VecText,
    /// The same with `binary=True`: smaller, and exact.
    Word2VecBinary,
    /// As the authors of GloVe publish theirs.
    GloveText,
    /// A matrix `vectors`, the words in the metadata.
    Safetensors,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::Word2VecText, Target::Word2VecBinary, Target::GloveText, Target::Safetensors];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Word2VecText => "word2vec-text",
            Target::Word2VecBinary => "word2vec-binary",
            Target::GloveText => "glove-text",
            Target::Safetensors => "safetensors",
        })
    }
}

/// Writes all vectors to `path`, whole or not at all.
///
/// # Errors
/// A word that the format cannot hold (white space in word2vec's, a line end anywhere), or the system's.
pub fn write(vectors: &Vectors, target: Target, path: &Path) -> Result<()> {
    let spaces = !matches!(target, Target::Safetensors);
    let bad = |w: &&str| w.is_empty() || w.contains(['\n', '\r']) || spaces && w.contains(char::is_whitespace);
    if let Some(word) = vectors.vocab.words().find(bad) {
        return Err(WordsError::format_hint(
            path,
            format!("the word {word:?} cannot be written as {target}"),
            "take --to safetensors, which only line ends disturb",
        ));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = Path::new(&beside);
    let written = match target {
        Target::Safetensors => {
            let words: Vec<&str> = vectors.vocab.words().collect();
            let rows = |row: usize, x: &mut [f32]| x.copy_from_slice(vectors.row(row as u32));
            let matrix = safetensors::Tensor::new("vectors", [vectors.len(), vectors.dimension()], &rows);
            safetensors::write(beside, &[matrix], Some((WORDS, words.join("\n"))))
        }
        _ => lines(vectors, target, beside),
    };
    // The file beside is nobody's business.
    let written = written.map_err(|e| e.at_path(beside, path));
    let done = written.and_then(|()| std::fs::rename(beside, path).map_err(|e| FileError::at(path, "write")(e).into()));
    if done.is_err() {
        // Nothing half written stays; the first error is the one to report.
        let _ = std::fs::remove_file(beside);
    }
    done
}

fn lines(vectors: &Vectors, target: Target, path: &Path) -> Result<()> {
    let file = File::create(path).map_err(FileError::at(path, "write"))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let all = |out: &mut BufWriter<File>| -> std::io::Result<()> {
        if target != Target::GloveText {
            writeln!(out, "{} {}", vectors.len(), vectors.dimension())?;
        }
        for (id, word) in vectors.vocab.words().enumerate() {
            out.write_all(word.as_bytes())?;
            if target == Target::Word2VecBinary {
                out.write_all(b" ")?;
            }
            for x in vectors.row(id as u32) {
                match target {
                    Target::Word2VecBinary => out.write_all(&x.to_le_bytes())?,
                    // The fewest digits that give the same number again.
                    _ => write!(out, " {x}")?,
                }
            }
            out.write_all(b"\n")?;
        }
        out.flush()
    };
    all(&mut out).map_err(FileError::at(path, "write"))?;
    Ok(())
}
