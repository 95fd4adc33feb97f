//! Word vectors as the beginning of a model's embedding.

use std::path::Path;

use bedstone_data::tokenizer::Tokenizer;
use bedstone_models::Model;
use bedstone_run::{Progress, units};

use crate::{Result, TrainError};

/// Vectors of words, from wherever.
pub trait WordVectors {
    /// Numbers a vector.
    fn dimension(&self) -> usize;
    /// The vector of a word.
    fn vector(&self, word: &str) -> Option<&[f32]>;
}

/// Opens the word vectors at a path; an error is a sentence for people.
pub type OpenVectors<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn WordVectors>, String>;

/// Names of the tables that tokens are looked up in.
const TABLES: [&str; 3] = ["wte.weight", "embed_tokens.weight", "word_embeddings.weight"];

/// Gives the rows of tokens that are whole words, with or without the mark of a word's beginning, the vectors of these
/// words; says how many.
///
/// One factor for all brings the vectors to the mean length of the rows whose places they take: which words are alike stays, and
/// the model's first outputs are no larger than they would be.
pub(crate) fn begin_with(
    model: &mut Model,
    tokenizer: &Tokenizer,
    path: &Path,
    vectors: &dyn WordVectors,
    progress: &mut dyn Progress,
) -> Result<()> {
    let Some(id) = TABLES.iter().find_map(|table| model.params().ending(table)) else {
        let reason = "the model has no table of tokens".to_owned();
        return Err(TrainError::Embeddings { path: path.to_owned(), reason });
    };
    let [rows, width] = model.params().get(id).value.dims("embedding")?;
    if vectors.dimension() != width {
        let got = vectors.dimension();
        return Err(TrainError::EmbeddingWidth { path: path.to_owned(), got, wanted: width });
    }
    let filled: Vec<(usize, &[f32])> = (0..rows)
        .filter_map(|row| {
            let token = tokenizer.id_to_token(row as u32)?;
            Some((row, vectors.vector(word_of(&token)?)?))
        })
        .collect();
    let table = model.params_mut().get_mut(id).value.f32s_mut();
    let mean = |lengths: &[f64]| lengths.iter().sum::<f64>() / lengths.len().max(1) as f64;
    let before: Vec<f64> = filled.iter().map(|(row, _)| length(&table[row * width..][..width])).collect();
    let after: Vec<f64> = filled.iter().map(|(_, x)| length(x)).collect();
    let factor = if mean(&after) > 0.0 { (mean(&before) / mean(&after)) as f32 } else { 1.0 };
    for (row, x) in &filled {
        for (to, x) in table[row * width..][..width].iter_mut().zip(*x) {
            *to = x * factor;
        }
    }
    progress.note(&format!(
        "embedding: {} of {} rows from {}, times {factor:.3} to the length of the others",
        units::count(filled.len() as u64),
        units::count(rows as u64),
        path.display()
    ));
    Ok(())
}

fn length(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The word that a token is, without the marks that byte-level BPE (`Ġ`) and Unigram (`▁`) put before a word's beginning; `None`
/// for what WordPiece (`##`) continues a word with.
fn word_of(token: &str) -> Option<&str> {
    let word = token.strip_prefix(['Ġ', '▁']).unwrap_or(token);
    (!word.is_empty() && !token.starts_with("##")).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::word_of;

    #[test]
    fn words_of_tokens() {
        for (token, want) in
            [("Ġcat", Some("cat")), ("▁cat", Some("cat")), ("cat", Some("cat")), ("##s", None), ("Ġ", None), ("", None)]
        {
            assert_eq!(word_of(token), want, "{token}");
        }
    }
}
