//! word2vec binary: a first line with the numbers of words and dimensions, then for each word its bytes, a space, and the
//! vector in little-endian f32; a line end may stand before each word.

use std::path::Path;

use bedstone_kernels::mem::MappedFile;
use bedstone_run::files::FileError;

use super::{Format, Repeats, Vectors};
use crate::{Result, WordsError, text::Vocab};

pub(super) fn open(path: &Path) -> Result<Vectors> {
    let map = MappedFile::open(path).map_err(FileError::at(path, "open"))?;
    map.advise_sequential();
    parse(path, &map)
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vectors> {
    let wrong = |what: String| WordsError::format(path, what);
    let line_end = bytes.iter().take(64).position(|&b| b == b'\n');
    let header = line_end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
    let fields: Vec<Option<usize>> = header.unwrap_or_default().split_whitespace().map(|f| f.parse().ok()).collect();
    let (&[Some(words), Some(dimension)], Some(end)) = (&fields[..], line_end) else {
        return Err(wrong("line 1: wanted the numbers of words and of dimensions".into()));
    };
    let mut at = end + 1;
    // A word has a letter and a space at least; a number that the file cannot hold must not be believed.
    let least = dimension.checked_mul(4).and_then(|d| d.checked_add(2)).and_then(|w| w.checked_mul(words));
    if dimension == 0 || least.is_none_or(|least| least > bytes.len() - at) {
        return Err(wrong(format!(
            "cut short: {} bytes, too few for {words} words of {dimension} dimensions",
            bytes.len()
        )));
    }
    let (mut vocab, mut numbers) = (Vocab::default(), Vec::with_capacity(words * dimension));
    let mut repeats = Repeats::default();
    for n in 1..=words {
        while bytes.get(at) == Some(&b'\n') {
            at += 1;
        }
        let cut = |part: &str, at: usize| {
            wrong(format!("cut short: word {n} of {words} has no whole {part} (the file ends at byte {})", at))
        };
        let space = bytes[at..].iter().position(|&b| b == b' ').ok_or_else(|| cut("name", bytes.len()))?;
        let name = &bytes[at..at + space];
        let word = std::str::from_utf8(name).map_err(|_| {
            wrong(format!("word {n}, byte {at}: not UTF-8: {:?}", String::from_utf8_lossy(&name[..name.len().min(40)])))
        })?;
        if word.is_empty() {
            return Err(wrong(format!("word {n}, byte {at}: an empty word")));
        }
        at += space + 1;
        let vector = bytes.get(at..at + 4 * dimension).ok_or_else(|| cut("vector", bytes.len()))?;
        numbers.extend(vector.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        at += 4 * dimension;
        vocab.add(word, 0).map_err(|e| e.in_file(path))?;
        if vocab.len() + repeats.rows() != n {
            numbers.truncate(numbers.len() - dimension);
            repeats.add(word);
        }
    }
    let rest = bytes[at..].iter().filter(|&&b| b != b'\n').count();
    if rest > 0 {
        return Err(wrong(format!("{rest} bytes behind the last of {words} words")));
    }
    Ok(Vectors { repeated: repeats.0, ..Vectors::new(path, Format::Word2VecBinary, vocab, dimension, numbers) })
}
