//! Texts with masked tokens, alone or in pairs, for encoders.

use std::sync::Arc;

use super::{Batch, Cursor, Error, IGNORE, Permutation, Sampler, vocabulary::Vocabulary};
use crate::{random::mix, shards::TokenSet};

/// How texts are cut, paired and masked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskOptions {
    /// Tokens a sequence, special ones included.
    pub length: usize,
    /// The seed of order, cuts and masks; every epoch draws others.
    pub seed: u64,
    /// Share of the tokens that are to be guessed.
    pub probability: f32,
    /// Whether all pieces of a word are masked together.
    pub whole_words: bool,
    /// Pairs of texts of which half follow each other, as BERT; else texts alone, over the ends of documents, as RoBERTa.
    pub next_sentence: bool,
    /// Share of sequences of a random shorter length, so that the model sees such.
    pub short: f32,
}

/// Tokens of a document that a random text is chosen from.
const READ: u64 = 2048;

/// Label of a pair whose second text follows the first.
pub const FOLLOWS: u32 = 0;
/// Label of a pair whose second text is from another document.
pub const RANDOM: u32 = 1;

/// Sequences `[CLS] A [SEP] B [SEP]`, or `[CLS] A [SEP]`, with 15 % of their tokens masked: of these 80 % are `[MASK]`, 10 % any
/// token, 10 % what they were, [Devlin et al. 2018](https://arxiv.org/abs/1810.04805).
///
/// Everything is a function of the seed and the cursor: the same for any batch size, and after any interruption. Each epoch
/// cuts, pairs and masks anew, [Liu et al. 2019](https://arxiv.org/abs/1907.11692).
#[derive(Clone)]
pub struct Masked {
    set: TokenSet,
    vocabulary: Vocabulary,
    options: MaskOptions,
    /// Documents with at least two tokens: first token, tokens (without the end token), sequences before.
    documents: Arc<Vec<Document>>,
    sequences: u64,
    cursor: Cursor,
    order: Permutation,
}

#[derive(Clone, Copy)]
struct Document {
    begin: u64,
    length: u64,
    before: u64,
}

/// Random numbers of one sequence.
struct Draws {
    key: u64,
    next: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.next += 1;
        mix(self.key, self.next)
    }

    /// One of `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n.max(1) as u128) >> 64) as u64
    }

    fn chance(&mut self, p: f32) -> bool {
        ((self.next() >> 40) as f32) < p * (1 << 24) as f32
    }
}

impl Masked {
    /// Sequences over `set` from the beginning.
    pub fn new(set: TokenSet, vocabulary: Vocabulary, options: MaskOptions) -> Result<Self, Error> {
        let special = if options.next_sentence { 3 } else { 2 };
        let room = options.length.saturating_sub(special) as u64;
        let least = if options.next_sentence { 2 } else { 1 };
        if room < least {
            let want = special + least as usize;
            return Err(Error::Length { length: options.length, want });
        }
        let (mut documents, mut begin, mut before) = (Vec::new(), 0, 0);
        let ends: Vec<u64> = match options.next_sentence {
            true => set.document_ends().collect(),
            false => vec![set.len()],
        };
        for end in ends {
            // The end token of a document is no part of a text; between documents it is.
            let length = (end - begin).saturating_sub(1);
            if length >= least {
                documents.push(Document { begin, length, before });
                before += length.div_ceil(room);
            }
            begin = end;
        }
        if options.next_sentence && documents.len() < 2 {
            return Err(Error::Documents { documents: documents.len() });
        }
        if before == 0 {
            return Err(Error::TooShort { tokens: set.len(), want: least + 1, length: options.length });
        }
        let order = Permutation::new(before, mix(options.seed, 0));
        let documents = Arc::new(documents);
        Ok(Masked { set, vocabulary, options, documents, sequences: before, cursor: Cursor::default(), order })
    }

    /// Sequences of an epoch.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// Tokens for text in a sequence.
    fn room(&self) -> usize {
        self.options.length - if self.options.next_sentence { 3 } else { 2 }
    }

    /// Writes one sequence; gives the place of its text in the set, and how its texts are related.
    fn sequence(&self, row: &mut Row<'_>) -> (u64, u32) {
        let number = self.order.at(self.cursor.index);
        let epoch = mix(self.options.seed, self.cursor.epoch);
        let mut draws = Draws { key: mix(epoch, number), next: 0 };
        let place = self.documents.partition_point(|d| d.before <= number) - 1;
        let document = self.documents[place];
        let mut room = self.room() as u64;
        // Cuts fall elsewhere in every epoch: those of a document are moved back together, as far as its last sequence
        // has room, so that no token is left out.
        let blocks = document.length.div_ceil(room);
        let slack = (blocks * room - document.length).min(room.saturating_sub(2));
        let shift = mix(epoch, document.begin) % (slack + 1);
        let block = number - document.before;
        let end = ((block + 1) * room - shift).min(document.length);
        let begin = (block * room).saturating_sub(shift).min(end.saturating_sub(2));
        if draws.chance(self.options.short) {
            room = 2 + draws.below(room - 1);
        }
        let mut text = vec![0; (end - begin).min(room) as usize];
        let from = document.begin + begin;
        self.set.copy(from..from + text.len() as u64, &mut text);
        row.push(self.vocabulary.cls, 0);
        if !self.options.next_sentence || text.len() < 2 {
            text.iter().for_each(|&id| row.push(id, 0));
            row.push(self.vocabulary.sep, 0);
            return (from, FOLLOWS);
        }
        let cut = self.cut(&text, &mut draws);
        let (first, second) = text.split_at(cut);
        first.iter().for_each(|&id| row.push(id, 0));
        row.push(self.vocabulary.sep, 0);
        let relation = if draws.next().is_multiple_of(2) { FOLLOWS } else { RANDOM };
        if relation == FOLLOWS {
            second.iter().for_each(|&id| row.push(id, 1));
        } else {
            let count = self.documents.len() as u64;
            let other = (place as u64 + 1 + draws.below(count - 1)) % count;
            self.like(second, self.documents[other as usize], &mut draws).iter().for_each(|&id| row.push(id, 1));
        }
        row.push(self.vocabulary.sep, 1);
        (from, relation)
    }

    /// Part of a document that looks like `text` to who does not read it: it begins where a sentence does, is as long, and
    /// ends with a sentence if `text` does. Anything else would give a random pair away.
    fn like(&self, text: &[u32], document: Document, draws: &mut Draws) -> Vec<u32> {
        // A part of a long document is enough to choose from.
        let length = document.length.min(READ);
        let from = document.begin + draws.below(document.length - length + 1);
        let mut tokens = vec![0; length as usize];
        self.set.copy(from..from + length, &mut tokens);
        let ends = |i: usize| self.vocabulary.ends_sentence(tokens[i]);
        let mut starts: Vec<usize> = (1..tokens.len()).filter(|&i| ends(i - 1)).collect();
        if from == document.begin || starts.is_empty() {
            starts.push(0);
        }
        // Those with enough behind them, if there are such.
        let most = tokens.len().saturating_sub(text.len());
        let fitting: Vec<usize> = starts.iter().copied().filter(|&s| s <= most).collect();
        let starts = if fitting.is_empty() { starts } else { fitting };
        let start = starts[draws.below(starts.len() as u64) as usize];
        let mut end = (start + text.len()).min(tokens.len());
        if text.last().is_some_and(|&id| self.vocabulary.ends_sentence(id)) {
            end = (start + 1..=end).rev().find(|&e| ends(e - 1)).unwrap_or(end);
        }
        tokens[start..end].to_vec()
    }

    /// Where the first text of a pair ends: behind a sentence if there is one, else anywhere.
    fn cut(&self, text: &[u32], draws: &mut Draws) -> usize {
        let ends: Vec<usize> = (1..text.len()).filter(|&i| self.vocabulary.ends_sentence(text[i - 1])).collect();
        match ends.len() {
            0 => 1 + draws.below(text.len() as u64 - 1) as usize,
            n => ends[draws.below(n as u64) as usize],
        }
    }

    /// Masks tokens of a sequence in place; gives the labels.
    fn mask(&self, ids: &mut [u32], labels: &mut [u32], draws: &mut Draws) {
        // Words as places; without whole words each token is one.
        let mut words: Vec<(usize, usize)> = Vec::new();
        for (i, &id) in ids.iter().enumerate() {
            if self.vocabulary.is_special(id) {
                continue;
            }
            match words.last_mut() {
                Some((_, end)) if *end == i && self.options.whole_words && self.vocabulary.continues(id) => *end += 1,
                _ => words.push((i, i + 1)),
            }
        }
        let tokens: usize = words.iter().map(|(a, b)| b - a).sum();
        let mut wanted = ((tokens as f32 * self.options.probability).round() as usize).max(1);
        // Words in a random order, as far as they fit.
        for i in 0..words.len() {
            let j = i + draws.below((words.len() - i) as u64) as usize;
            words.swap(i, j);
            let (from, to) = words[i];
            if to - from > wanted {
                continue;
            }
            wanted -= to - from;
            for place in from..to {
                labels[place] = ids[place];
                ids[place] = match draws.below(10) {
                    0..8 => self.vocabulary.mask,
                    8 => self.vocabulary.any(|n| draws.below(n)),
                    _ => ids[place],
                };
            }
            if wanted == 0 {
                break;
            }
        }
    }

    fn advance(&mut self) {
        self.cursor.index += 1;
        if self.cursor.index == self.sequences {
            self.cursor = Cursor { epoch: self.cursor.epoch + 1, index: 0 };
            self.order = Permutation::new(self.sequences, mix(self.options.seed, self.cursor.epoch));
        }
    }
}

/// A row of a batch while it is written.
struct Row<'a> {
    ids: &'a mut [u32],
    types: &'a mut [u32],
    length: usize,
}

impl Row<'_> {
    fn push(&mut self, id: u32, segment: u32) {
        self.ids[self.length] = id;
        self.types[self.length] = segment;
        self.length += 1;
    }
}

impl Sampler for Masked {
    fn next_batch(&mut self, batch: usize) -> Batch {
        let t = self.options.length;
        let mut out = Batch {
            ids: vec![self.vocabulary.pad; batch * t],
            labels: vec![IGNORE; batch * t],
            types: vec![0; batch * t],
            ..Batch::default()
        };
        for i in 0..batch {
            let places = i * t..(i + 1) * t;
            let mut row = Row { ids: &mut out.ids[places.clone()], types: &mut out.types[places.clone()], length: 0 };
            let (begin, relation) = self.sequence(&mut row);
            let length = row.length;
            let sample = self.cursor.epoch * self.sequences + self.cursor.index;
            // Masks have random numbers of their own, so that cuts do not depend on them.
            let mut draws = Draws { key: mix(!self.options.seed, sample), next: 0 };
            let ids = &mut out.ids[places.start..places.start + length];
            self.mask(ids, &mut out.labels[places.start..places.start + length], &mut draws);
            out.samples.push(sample);
            out.begins.push(begin);
            out.lengths.push(length as u32);
            if self.options.next_sentence {
                out.relations.push(relation);
            }
            self.advance();
        }
        out
    }

    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        if cursor.index > self.sequences {
            return Err(Error::Cursor { index: cursor.index, windows: self.sequences });
        }
        self.cursor = cursor;
        self.order = Permutation::new(self.sequences, mix(self.options.seed, cursor.epoch));
        if cursor.index == self.sequences {
            self.cursor.index -= 1;
            self.advance();
        }
        Ok(())
    }
}
