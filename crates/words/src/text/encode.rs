//! The text as word ids in a mapped file.
//!
//! A run reads its text twice, to count words and to number them; after that it reads numbers. They lie in a folder of
//! the run until it is finished, so a run that goes on needs no text, and none that has changed meanwhile can disturb it.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use bedstone_kernels::mem::MappedFile;
use bedstone_run::files::FileError;
use serde::{Deserialize, Serialize};

use super::{Splitter, Text, TextConfig, Told, Vocab, VocabFull, count, in_order, phrases};
use crate::{Result, WordsError};

/// Ends a sentence.
pub const END: u32 = u32::MAX;
/// A word that is not in the vocabulary, while phrases are looked for: no phrase goes across it.
pub(super) const UNKNOWN: u32 = u32::MAX - 1;
/// Longer sentences are cut, so that the parts that threads take stay small.
pub(super) const LONGEST: usize = 10_000;

const IDS: &str = "ids";
const MANIFEST: &str = "corpus.json";
const VOCAB: &str = "vocab.txt";

/// `[vocabulary]` of a recipe.
#[derive(Clone, Copy, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct VocabularyConfig {
    pub min_count: u64,
    pub max_vocab_size: usize,
    pub max_final_vocab: usize,
}

/// What the text is turned into.
pub(crate) struct Prepare<'a> {
    pub(crate) text: TextConfig,
    pub(crate) vocabulary: VocabularyConfig,
    pub(crate) phrases: Option<phrases::PhrasesConfig>,
    /// Words that stay whether or not they occur, with counts to which those of the text are added.
    pub(crate) known: Option<&'a Vocab>,
}

/// A text, ready for training.
pub(crate) struct Prepared {
    pub(crate) vocab: Vocab,
    pub(crate) ids: Encoded,
    /// Pairs of words that became one.
    pub(crate) phrases: u64,
}

#[derive(Deserialize, Serialize)]
struct Manifest {
    ids: u64,
    words: u64,
    phrases: u64,
    blake3: String,
}

/// Word ids of a whole text, sentence after sentence, each ended by [`END`].
pub struct Encoded {
    map: MappedFile,
    words: u64,
    hash: String,
}

impl Encoded {
    /// All ids.
    pub fn ids(&self) -> &[u32] {
        bytemuck::cast_slice(&self.map)
    }

    /// Words in it.
    pub fn words(&self) -> u64 {
        self.words
    }

    /// Names the content.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// How many parts of about `size` ids there are.
    pub(crate) fn parts(&self, size: usize) -> usize {
        self.ids().len().div_ceil(size)
    }

    /// Part number `part`: the sentences that begin in ids `part * size..(part + 1) * size`.
    pub(crate) fn part(&self, part: usize, size: usize) -> Sentences<'_> {
        let ids = self.ids();
        // The first sentence that begins at or after a place.
        let begin = |at: usize| match at {
            0 => 0,
            _ if at >= ids.len() => ids.len(),
            _ => ids[at - 1..].iter().position(|&id| id == END).map_or(ids.len(), |end| at + end),
        };
        Sentences { ids: &ids[begin(part * size)..begin((part + 1) * size)] }
    }
}

/// Sentences of a part.
#[derive(Clone)]
pub struct Sentences<'a> {
    ids: &'a [u32],
}

impl<'a> Iterator for Sentences<'a> {
    type Item = &'a [u32];

    fn next(&mut self) -> Option<&'a [u32]> {
        let end = self.ids.iter().position(|&id| id == END)?;
        let (sentence, rest) = self.ids.split_at(end);
        self.ids = &rest[1..];
        Some(sentence)
    }
}

impl Prepared {
    /// Reads the text into the folder `dir`, or finds it there whole.
    pub(crate) fn open(text: &Text<'_>, dir: &Path, prepare: &Prepare<'_>, told: Told<'_>) -> Result<Self> {
        if let Some(found) = Self::find(dir)? {
            return Ok(found);
        }
        // What a killed process left.
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(FileError::at(dir, "remove what is not whole"))?;
        }
        fs::create_dir_all(dir).map_err(FileError::at(dir, "make the folder"))?;
        let splitter = Splitter::new(prepare.text);
        let v = prepare.vocabulary;
        let full = |e: VocabFull| e.in_file(Path::new(&text.describe()));
        let (all, words) = count::count(text, splitter, v.max_vocab_size, told)?;
        let mut found = 0;
        let vocab;
        let mut writer = Writer::create(&dir.join(IDS))?;
        match prepare.phrases {
            None => {
                vocab = count::cut(
                    text,
                    &merged(&all, prepare.known, v.min_count).map_err(full)?,
                    words,
                    floor(prepare),
                    v.max_final_vocab,
                )?;
                drop(all);
                encode(text, splitter, &vocab, END, &mut writer, told)?;
            }
            Some(config) => {
                let all = count::cut(text, &all, words, v.min_count.min(config.min_count), 0)?;
                let path = dir.join("unjoined");
                let mut unjoined = Writer::create(&path)?;
                encode(text, splitter, &all, UNKNOWN, &mut unjoined, told)?;
                unjoined.finish()?;
                let mut names = all;
                let mut at = path;
                for pass in 0..config.passes {
                    told("joined phrases of", 0)?;
                    let to = dir.join(format!("joined-{}", pass + 1));
                    let (joined, n) = phrases::pass(&mapped(&at)?, &names, config, &to).map_err(|e| match e {
                        phrases::PassError::Full(e) => full(e),
                        phrases::PassError::Words(e) => e,
                    })?;
                    fs::remove_file(&at).map_err(FileError::at(&at, "remove it"))?;
                    (names, at, found) = (joined, to, found + n);
                }
                let joined = merged(&names, prepare.known, v.min_count).map_err(full)?;
                vocab = count::cut(text, &joined, words, floor(prepare), v.max_final_vocab)?;
                let ids: Vec<Option<u32>> = names.words().map(|w| vocab.id(w)).collect();
                let map = mapped(&at)?;
                for &id in bytemuck::cast_slice::<u8, u32>(&map) {
                    match ids.get(id as usize) {
                        Some(Some(id)) => writer.word(*id)?,
                        Some(None) => {}
                        None if id == END => writer.end()?,
                        None => {}
                    }
                }
                drop(map);
                fs::remove_file(&at).map_err(FileError::at(&at, "remove it"))?;
            }
        }
        let (ids, words, blake3) = writer.finish()?;
        vocab.write(&dir.join(VOCAB))?;
        let manifest = Manifest { ids, words, phrases: found, blake3 };
        let (path, beside) = (dir.join(MANIFEST), dir.join("corpus.json.tmp"));
        fs::write(&beside, serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n")
            .map_err(FileError::at(&beside, "write"))?;
        fs::rename(&beside, &path).map_err(FileError::at(&path, "rename"))?;
        Self::find(dir)?.ok_or_else(|| WordsError::format(&path, "vanished while it was written"))
    }

    /// The text in `dir`, if it is there whole.
    pub(crate) fn find(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(FileError::at(&path, "read"))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| WordsError::format(&path, e.to_string()))?;
        let path = dir.join(IDS);
        let map = mapped(&path)?;
        let wanted = 4 * manifest.ids;
        if map.len() as u64 != wanted {
            return Err(WordsError::format_hint(
                &path,
                format!("has {} bytes, wanted {wanted}", map.len()),
                format!("remove {}: it is made again from the text", dir.display()),
            ));
        }
        let ids = Encoded { map, words: manifest.words, hash: manifest.blake3 };
        Ok(Some(Self { vocab: Vocab::read(&dir.join(VOCAB))?, ids, phrases: manifest.phrases }))
    }
}

/// The counts of the text and of the words known before; of new words only those that occur often enough in the text.
fn merged(all: &Vocab, known: Option<&Vocab>, min_count: u64) -> Result<Vocab, VocabFull> {
    let Some(known) = known else { return Ok(all.clone()) };
    let mut vocab = Vocab::from_words(known.words().zip(known.counts().iter().map(|&c| c.max(1))))?;
    for id in all.by_frequency(1, 0) {
        if all.count(id) >= min_count || known.id(all.word(id)).is_some() {
            vocab.add(all.word(id), all.count(id))?;
        }
    }
    Ok(vocab)
}

/// Known words stay however rare they are; [`merged`] has left out the rare new ones.
fn floor(prepare: &Prepare<'_>) -> u64 {
    if prepare.known.is_some() { 1 } else { prepare.vocabulary.min_count }
}

/// Numbers the words of the text; `unknown` stands for others, unless it is [`END`]: then they are left out.
fn encode(
    text: &Text<'_>,
    splitter: Splitter,
    vocab: &Vocab,
    unknown: u32,
    writer: &mut Writer,
    told: Told<'_>,
) -> Result<()> {
    let mut bytes = 0;
    let make = |part: &super::Part| {
        let ids = std::cell::RefCell::new(Vec::with_capacity(part.text.len() / 5));
        let word = |word: &str| match vocab.id(word) {
            Some(id) => ids.borrow_mut().push(id),
            None if unknown != END => ids.borrow_mut().push(unknown),
            None => {}
        };
        splitter.each(&part.text, word, || ids.borrow_mut().push(END));
        let mut ids = ids.into_inner();
        if part.last {
            ids.push(END);
        }
        ids
    };
    in_order(text, make, |ids, part| {
        for id in ids {
            if id == END { writer.end()? } else { writer.word(id)? }
        }
        bytes += part;
        told("numbered words of", bytes)
    })
}

fn mapped(path: &Path) -> Result<MappedFile> {
    let map = MappedFile::open(path).map_err(FileError::at(path, "open"))?;
    map.advise_sequential();
    Ok(map)
}

/// Writes ids; sentences are never empty, and never longer than [`LONGEST`].
pub(super) struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    hash: blake3::Hasher,
    ids: u64,
    words: u64,
    sentence: usize,
    // Hashing and writing like large pieces.
    buffer: Vec<u32>,
}

impl Writer {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(File::create(path).map_err(FileError::at(path, "write"))?);
        let hash = blake3::Hasher::new();
        Ok(Self { file, path: path.to_owned(), hash, ids: 0, words: 0, sentence: 0, buffer: Vec::new() })
    }

    pub(super) fn word(&mut self, id: u32) -> Result<()> {
        if self.sentence == LONGEST {
            self.end()?;
        }
        self.sentence += 1;
        self.words += 1;
        self.push(id)
    }

    pub(super) fn end(&mut self) -> Result<()> {
        if self.sentence == 0 {
            return Ok(());
        }
        self.sentence = 0;
        self.push(END)
    }

    fn push(&mut self, id: u32) -> Result<()> {
        self.buffer.push(id);
        self.ids += 1;
        if self.buffer.len() == 1 << 16 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.buffer);
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(FileError::at(&self.path, "write"))?;
        self.buffer.clear();
        Ok(())
    }

    /// Ids, words, and the hash of the ids.
    pub(super) fn finish(mut self) -> Result<(u64, u64, String)> {
        self.end()?;
        self.flush()?;
        self.file.flush().map_err(FileError::at(&self.path, "write"))?;
        Ok((self.ids, self.words, self.hash.finalize().to_hex().to_string()))
    }
}
