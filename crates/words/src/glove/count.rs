//! How often words stand near each other, with as much memory as is allowed.
//!
//! Pairs go into a buffer as (key, amount). A full buffer is sorted, equal keys are added up, and what is left is written
//! as a run. In the end all runs are merged. Only the pairs of the most frequent words, which are most of all pairs, are
//! added up in a table from the start. With symmetric windows the pair of two words is kept once, since both orders count the same.

use std::{
    collections::BinaryHeap,
    fs::File,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use bedstone_run::files::FileError;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::recipe::CountsConfig;
use crate::{Result, text::Encoded};

/// An amount of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Count {
    /// The word in the upper half, the context word in the lower.
    pub(super) key: u64,
    /// How much.
    pub(super) amount: f64,
}

/// Ids that a task counts before its pairs are taken over.
const PART: usize = 1 << 16;

/// Counts in memory and in runs on the disk.
pub(super) struct Counter {
    dir: PathBuf,
    symmetric: bool,
    // Pairs of words below `frequent`, by row.
    frequent: usize,
    table: Vec<f64>,
    buffer: Vec<Count>,
    room: usize,
    runs: Vec<PathBuf>,
}

/// Counts all pairs of the text; `told` hears how many ids are done, and may stop it.
pub(super) fn count(
    ids: &Encoded,
    words: usize,
    config: &CountsConfig,
    dir: &Path,
    told: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Counter> {
    let room = config.room();
    // Half of the room for the table: as many words as give that many pairs.
    let frequent = ((room as f64).sqrt() as usize).min(words);
    let mut counter = Counter {
        dir: dir.to_owned(),
        symmetric: config.symmetric,
        frequent,
        table: vec![0.0; frequent * frequent],
        buffer: Vec::new(),
        room: room / 2,
        runs: Vec::new(),
    };
    let parts = ids.parts(PART);
    // A few parts at a time: their pairs are in memory besides the buffer.
    let group = 2 * rayon::current_num_threads();
    let mut begin = 0;
    while begin < parts {
        // Which parts share a group must not decide the order of sums: they are taken over one after the other.
        let end = (begin + group).min(parts);
        let found: Vec<Vec<Count>> = (begin..end).into_par_iter().map(|p| pairs(ids, p, config)).collect();
        for part in found {
            counter.take(part)?;
        }
        told((end * PART).min(ids.ids().len()) as u64)?;
        begin = end;
    }
    Ok(counter)
}

/// The pairs of a part, those of equal words added up, sorted.
fn pairs(ids: &Encoded, part: usize, config: &CountsConfig) -> Vec<Count> {
    let mut found: Vec<Count> = Vec::new();
    for sentence in ids.part(part, PART) {
        for (at, &word) in sentence.iter().enumerate() {
            for (back, &before) in sentence[at.saturating_sub(config.window)..at].iter().rev().enumerate() {
                let amount = if config.distance_weighting { 1.0 / (back + 1) as f64 } else { 1.0 };
                // A word beside itself is in both orders the same pair.
                let amount = if config.symmetric && word == before { 2.0 * amount } else { amount };
                let (a, b) = if config.symmetric { (word.min(before), word.max(before)) } else { (word, before) };
                found.push(Count { key: u64::from(a) << 32 | u64::from(b), amount });
            }
        }
    }
    add_up(&mut found);
    found
}

/// Sorts by key and adds equal ones, in the order in which they came.
fn add_up(counts: &mut Vec<Count>) {
    counts.par_sort_by_key(|c| c.key);
    counts.dedup_by(|next, kept| {
        let same = next.key == kept.key;
        if same {
            kept.amount += next.amount;
        }
        same
    });
}

impl Counter {
    fn take(&mut self, found: Vec<Count>) -> Result<()> {
        for count in found {
            let (a, b) = ((count.key >> 32) as usize, (count.key & 0xffff_ffff) as usize);
            if a.max(b) < self.frequent {
                self.table[a * self.frequent + b] += count.amount;
            } else {
                self.buffer.push(count);
            }
        }
        if self.buffer.len() >= self.room {
            add_up(&mut self.buffer);
            // Where most pairs are repeated, the buffer has room again.
            if self.buffer.len() >= self.room / 2 {
                self.spill()?;
            }
        }
        Ok(())
    }

    /// Writes the buffer, which is sorted, as a run.
    fn spill(&mut self) -> Result<()> {
        let path = self.dir.join(format!("run-{}", self.runs.len()));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(FileError::at(&path, "write"))?);
        for part in self.buffer.chunks(1 << 16) {
            file.write_all(bytemuck::cast_slice(part)).map_err(FileError::at(&path, "write"))?;
        }
        file.flush().map_err(FileError::at(&path, "write"))?;
        self.buffer.clear();
        self.runs.push(path);
        Ok(())
    }

    /// How many runs are on the disk.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Calls `take` with the sum of each pair, in the order of keys, and removes the runs.
    pub(super) fn merge(mut self, take: &mut dyn FnMut(Count) -> Result<()>) -> Result<()> {
        add_up(&mut self.buffer);
        let n = self.frequent;
        let table = self
            .table
            .iter()
            .enumerate()
            .filter(|(_, amount)| **amount > 0.0)
            .map(|(at, &amount)| Count { key: ((at / n.max(1)) as u64) << 32 | (at % n.max(1)) as u64, amount });
        let mut sources: Vec<Source<'_>> = Vec::with_capacity(self.runs.len() + 2);
        let mut table = table.into_iter();
        sources.push(Box::new(move || Ok(table.next())));
        for path in &self.runs {
            let mut run = RunFile::open(path)?;
            sources.push(Box::new(move || run.next()));
        }
        let mut buffer = self.buffer.iter();
        sources.push(Box::new(move || Ok(buffer.next().copied())));
        // The least key first; of equal ones the earliest source, so that sums have one order.
        let mut heap = BinaryHeap::new();
        let mut heads: Vec<Option<Count>> = sources.iter_mut().map(|next| next()).collect::<Result<_>>()?;
        for (i, head) in heads.iter().enumerate() {
            heap.extend(head.map(|c| std::cmp::Reverse((c.key, i))));
        }
        let mut sum: Option<Count> = None;
        while let Some(std::cmp::Reverse((key, i))) = heap.pop() {
            let Some(count) = heads[i] else { break };
            match &mut sum {
                Some(s) if s.key == key => s.amount += count.amount,
                _ => {
                    if let Some(done) = sum.replace(count) {
                        take(done)?;
                    }
                }
            }
            heads[i] = sources[i]()?;
            heap.extend(heads[i].map(|c| std::cmp::Reverse((c.key, i))));
        }
        if let Some(done) = sum {
            take(done)?;
        }
        drop(sources);
        for path in &self.runs {
            std::fs::remove_file(path).map_err(FileError::at(path, "remove it"))?;
        }
        Ok(())
    }

    /// Whether pairs stand for both orders.
    pub(super) fn symmetric(&self) -> bool {
        self.symmetric
    }
}

/// Gives counts in the order of keys, one at a time.
type Source<'a> = Box<dyn FnMut() -> Result<Option<Count>> + 'a>;

/// A sorted run on the disk, read in pieces: mapped, all runs would count as memory of the process.
struct RunFile<'a> {
    path: &'a Path,
    file: File,
    /// Counts not read yet.
    left: u64,
    piece: Vec<Count>,
    at: usize,
}

impl<'a> RunFile<'a> {
    /// Counts a piece: 1 MiB.
    const PIECE: u64 = (1 << 20) / size_of::<Count>() as u64;

    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(FileError::at(path, "open"))?;
        let size = file.metadata().map_err(FileError::at(path, "look at it"))?.len();
        Ok(RunFile { path, file, left: size / size_of::<Count>() as u64, piece: Vec::new(), at: 0 })
    }

    fn next(&mut self) -> Result<Option<Count>> {
        if self.at == self.piece.len() {
            let n = self.left.min(Self::PIECE);
            self.piece.resize(n as usize, Count { key: 0, amount: 0.0 });
            let bytes = bytemuck::cast_slice_mut(&mut self.piece);
            self.file.read_exact(bytes).map_err(FileError::at(self.path, "read"))?;
            (self.left, self.at) = (self.left - n, 0);
        }
        let next = self.piece.get(self.at).copied();
        self.at += 1;
        Ok(next)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::text::{Prepare, Prepared, SentenceEnds, Split, Text, TextConfig, VocabularyConfig};

    /// A text of lines, its numbers in a folder.
    pub(in crate::glove) fn prepared(lines: &str, dir: &Path) -> Prepared {
        let lines = lines.to_owned();
        let text = Text::Documents {
            name: "test".into(),
            documents: Box::new(move || Box::new(std::iter::once(lines.clone()))),
        };
        let prepare = Prepare {
            text: TextConfig { split: Split::Words, lowercase: true, sentences: SentenceEnds::Lines },
            vocabulary: VocabularyConfig { min_count: 1, max_vocab_size: 0, max_final_vocab: 0 },
            phrases: None,
            known: None,
        };
        Prepared::open(&text, dir, &prepare, &mut |_, _| Ok(())).unwrap()
    }

    fn config(window: usize, symmetric: bool) -> CountsConfig {
        CountsConfig { window, symmetric, distance_weighting: true, memory: 1.0 }
    }

    fn counted(p: &Prepared, config: &CountsConfig, dir: &Path) -> (BTreeMap<(String, String), f64>, usize) {
        let counter = count(&p.ids, p.vocab.len(), config, dir, &mut |_| Ok(())).unwrap();
        let (runs, mut found, mut last) = (counter.runs(), BTreeMap::new(), None);
        counter
            .merge(&mut |c| {
                assert!(last < Some(c.key), "in order, each once");
                last = Some(c.key);
                let name = |id: u64| p.vocab.word(id as u32).to_owned();
                found.insert((name(c.key >> 32), name(c.key & 0xffff_ffff)), c.amount);
                Ok(())
            })
            .unwrap();
        (found, runs)
    }

    #[test]
    fn near_words_count_more() {
        let dir = tempfile::tempdir().unwrap();
        let p = prepared("a b c a\nb b", dir.path());
        let (found, _) = counted(&p, &config(2, true), dir.path());
        let get = |x: &str, y: &str| found.get(&(x.to_owned(), y.to_owned())).copied().unwrap_or(0.0);
        // b is the most frequent word, so the first of its pairs; a c: 1/2 + 1.
        assert_eq!((get("b", "a"), get("a", "c"), get("b", "c"), get("b", "b")), (1.0 + 0.5, 1.5, 1.0, 2.0));
        let (found, _) = counted(&p, &config(2, false), dir.path());
        let get = |x: &str, y: &str| found.get(&(x.to_owned(), y.to_owned())).copied().unwrap_or(0.0);
        assert_eq!(
            (get("b", "a"), get("a", "b"), get("c", "a"), get("a", "c"), get("b", "b")),
            (1.0, 0.5, 0.5, 1.0, 1.0)
        );
    }

    #[test]
    fn little_memory_gives_the_same_counts() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String =
            (0..30_000u64).map(|i| format!("w{} w{} w{} w{}\n", i % 7, i * i % 301, i * 31 % 211, i % 97)).collect();
        let p = prepared(&lines, dir.path());
        let (want, none) = counted(&p, &config(3, true), dir.path());
        let (got, runs) = counted(&p, &CountsConfig { memory: 1e-9, ..config(3, true) }, dir.path());
        assert!(none == 0 && runs >= 2, "{none}, {runs}");
        assert_eq!(got.len(), want.len());
        for (pair, amount) in &want {
            assert!((got[pair] - amount).abs() < 1e-9, "{pair:?}");
        }
        assert!(!dir.path().join("run-0").exists());
    }
}
