//! word2vec text and GloVe text: a line a word, with numbers behind it.

use std::path::Path;

use bedstone_kernels::mem::MappedFile;
use bedstone_run::files::FileError;

use super::{Format, Repeats, Vectors};
use crate::{Result, WordsError, text::Vocab};

/// Reads a file whose first line has been looked at.
pub(super) fn open(path: &Path, format: Format) -> Result<Vectors> {
    let map = MappedFile::open(path).map_err(FileError::at(path, "open"))?;
    map.advise_sequential();
    parse(path, format, &map)
}

pub(super) fn parse(path: &Path, format: Format, bytes: &[u8]) -> Result<Vectors> {
    let wrong = |line: usize, what: String| WordsError::format(path, format!("line {line}: {what}"));
    let mut lines = bytes.split(|&b| b == b'\n').enumerate().peekable();
    let mut header = None;
    if format == Format::Word2VecText {
        let (_, line) = lines.next().unwrap_or((0, b""));
        let fields: Vec<Option<usize>> =
            String::from_utf8_lossy(line).split_whitespace().map(|f| f.parse().ok()).collect();
        match fields[..] {
            [Some(words), Some(dimension)] if dimension > 0 => header = Some((words, dimension)),
            _ => return Err(wrong(1, "wanted the numbers of words and of dimensions".into())),
        }
    }
    let mut dimension = header.map(|(_, d)| d);
    let (mut vocab, mut numbers) = (Vocab::default(), Vec::new());
    let mut repeats = Repeats::default();
    while let Some((at, line)) = lines.next() {
        let number = at + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() && lines.peek().is_none() {
            break;
        }
        if header.is_some_and(|(words, _)| vocab.len() + repeats.rows() == words) {
            if line.is_empty() {
                continue;
            }
            return Err(wrong(
                number,
                format!("more words than the {} of the first line", vocab.len() + repeats.rows()),
            ));
        }
        let text = std::str::from_utf8(line)
            .map_err(|e| wrong(number, format!("not UTF-8 at byte {} of the line", e.valid_up_to())))?;
        let text = text.trim_end_matches([' ', '\t']);
        let separators = [' ', '\t'];
        // Without a header the first line decides: as many numbers as stand at its end, less the word.
        let d = match dimension {
            Some(d) => d,
            None => {
                let fields = text.split(separators).skip(1).collect::<Vec<_>>();
                let d = fields.iter().rev().take_while(|f| f.parse::<f32>().is_ok()).count();
                if d == 1 {
                    return Err(WordsError::format_hint(
                        path,
                        format!("line {number}: one number behind the word"),
                        "this looks like a list of words with counts; the vectors of a run are opened by its directory",
                    ));
                }
                *dimension.insert(d)
            }
        };
        // A word may hold spaces, so numbers are counted from the end.
        let mut fields = text.rsplitn(d + 1, separators);
        let begin = numbers.len();
        numbers.resize(begin + d, 0.0);
        for at in (0..d).rev() {
            let field = fields.next().unwrap_or_default();
            let x: f32 = field.parse().map_err(|_| match at {
                _ if text.split(separators).count() <= d => {
                    wrong(number, format!("{} numbers, wanted {d}", text.split(separators).count() - 1))
                }
                _ => wrong(number, format!("number {} is `{field}`", at + 1)),
            })?;
            if !x.is_finite() {
                return Err(wrong(number, format!("number {} is `{field}`", at + 1)));
            }
            numbers[begin + at] = x;
        }
        let Some(word) = fields.next().filter(|w| !w.is_empty() && d > 0) else {
            return Err(wrong(number, format!("{} numbers, wanted a word and {d}", text.split(separators).count())));
        };
        let before = vocab.len();
        vocab.add(word, 0).map_err(|e| e.in_file(path))?;
        if vocab.len() == before {
            numbers.truncate(begin);
            repeats.add(word);
        }
    }
    if let Some((words, _)) = header.filter(|&(words, _)| words != vocab.len() + repeats.rows()) {
        return Err(WordsError::format(path, format!("ends after {} of {words} words", vocab.len() + repeats.rows())));
    }
    if vocab.is_empty() {
        return Err(WordsError::format(path, "holds no words"));
    }
    Ok(Vectors { repeated: repeats.0, ..Vectors::new(path, format, vocab, dimension.unwrap_or(0), numbers) })
}
