//! Counting words.

use super::{Splitter, Text, Told, Vocab, VocabFull, in_order};
use crate::{Result, WordsError};

/// All words of the text with their counts, in the order in which they first occur, and how many there are with
/// repetitions.
///
/// With more than `most` different words (0: any number) the rarest are forgotten again and again, as gensim and word2vec do: words at the
/// border may then have lower counts than they should.
pub(super) fn count(text: &Text<'_>, splitter: Splitter, most: usize, told: Told<'_>) -> Result<(Vocab, u64)> {
    let (mut vocab, mut words, mut bytes, mut floor) = (Vocab::default(), 0, 0, 1);
    let full = |e: VocabFull| e.in_file(std::path::Path::new(&text.describe()));
    let make = |part: &super::Part| -> Result<Vocab, VocabFull> {
        let (mut local, mut ok) = (Vocab::default(), Ok(()));
        splitter.each(
            &part.text,
            |word| {
                if let Err(e) = local.add(word, 1) {
                    ok = Err(e);
                }
            },
            || {},
        );
        ok.map(|()| local)
    };
    in_order(text, make, |local, part| {
        let local = local.map_err(full)?;
        for (word, &count) in local.words().zip(local.counts()) {
            vocab.add(word, count).map_err(full)?;
            words += count;
        }
        while most > 0 && vocab.len() > most {
            floor += 1;
            let kept: Vec<u32> = (0..vocab.len() as u32).filter(|&id| vocab.count(id) >= floor).collect();
            vocab = vocab.select(&kept).map_err(full)?;
        }
        bytes += part;
        told("counted words of", bytes)
    })?;
    Ok((vocab, words))
}

/// The vocabulary for training: frequent words first.
pub(super) fn cut(text: &Text<'_>, all: &Vocab, words: u64, min_count: u64, most: usize) -> Result<Vocab> {
    let ids = all.by_frequency(min_count, most);
    match ids[..] {
        [] => Err(super::no_words(text, min_count, words, all.counts().iter().copied().max().unwrap_or(0))),
        [one] => Err(WordsError::OneWord { text: text.describe(), word: all.word(one).to_owned(), min_count }),
        _ => all.select(&ids).map_err(|e| e.in_file(std::path::Path::new(&text.describe()))),
    }
}
