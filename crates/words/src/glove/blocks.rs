//! Counts in an order in which all threads can train at once and none disturbs another.
//!
//! Words are dealt into groups. The counts of the groups `a` and `b` touch the vectors of those two only, so counts of
//! other groups can be trained meanwhile: as in a tournament, in which in each round every group meets one other
//! ([Gemulla et al. 2011](https://doi.org/10.1145/2020408.2020426) do this for the factorisation of matrices). Each meeting is trained by one
//! thread in its order; so no two threads touch the same number, and the bits depend on no thread.

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use bedstone_kernels::words::glove::Pair;
use bedstone_run::files::FileError;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::count::Counter;
use crate::{Result, WordsError, word2vec::Rng};

/// Groups of words; half as many meetings go on at the same time.
pub(super) const GROUPS: usize = 32;
/// Rounds in which every group meets every other one, and itself in the last.
pub(super) const ROUNDS: usize = GROUPS;

/// A count, as training wants it.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) word: u32,
    pub(super) context: u32,
    /// `ln X`.
    pub(super) log: f32,
    /// `f(X)`; negative where the pair stands for one order only.
    pub(super) weight: f32,
}

/// How counts are weighted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weighting {
    pub(super) x_max: f64,
    pub(super) alpha: f64,
}

impl Weighting {
    /// `f(x)`.
    fn of(self, x: f64) -> f64 {
        (x / self.x_max).powf(self.alpha).min(1.0)
    }
}

/// All counts of a run, in a file that is read a piece at a time: it may be larger than memory.
pub(super) struct Blocks {
    file: File,
    path: PathBuf,
    // Where the meeting of each two groups begins, by `meeting`; and the end.
    begins: Vec<u64>,
}

#[derive(Deserialize, Serialize)]
struct Manifest {
    begins: Vec<u64>,
}

const FILE: &str = "counts";
const MANIFEST: &str = "counts.json";
const MEETINGS: usize = GROUPS * (GROUPS + 1) / 2;

/// The group of a word: frequent ones are dealt evenly, there and back, so that all groups have about as many counts.
fn group(word: u32) -> usize {
    let (turn, place) = (word as usize / GROUPS, word as usize % GROUPS);
    if turn % 2 == 0 { place } else { GROUPS - 1 - place }
}

/// The number of the meeting of two groups.
fn meeting(a: usize, b: usize) -> usize {
    let (low, high) = (a.min(b), a.max(b));
    high * (high + 1) / 2 + low
}

/// The meetings of a round: disjoint pairs of groups, by the circle method; in the last each with itself.
fn round(number: usize) -> Vec<usize> {
    let n = GROUPS - 1;
    match number {
        _ if number == n => (0..GROUPS).map(|g| meeting(g, g)).collect(),
        r => {
            let pair = |k: usize| ((r + k) % n, (r + n - k) % n);
            std::iter::once(meeting(r, n)).chain((1..GROUPS / 2).map(pair).map(|(a, b)| meeting(a, b))).collect()
        }
    }
}

impl Blocks {
    /// Merges the counts into `dir`, each meeting shuffled by `seed`; how many pairs there are.
    pub(super) fn build(counter: Counter, dir: &Path, weighting: Weighting, seed: u64) -> Result<()> {
        let one_order = !counter.symmetric();
        let mut parts = Parts::create(dir)?;
        counter.merge(&mut |count| {
            let (word, context) = ((count.key >> 32) as u32, count.key as u32);
            let weight = weighting.of(count.amount) as f32;
            // The sign says that the other order has a count of its own, or is the same.
            let weight = if one_order || word == context { -weight } else { weight };
            let entry = Entry { word, context, log: count.amount.ln() as f32, weight };
            parts.push(meeting(group(word), group(context)), entry)
        })?;
        let (paths, sizes) = parts.finish()?;
        let path = dir.join(FILE);
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(FileError::at(&path, "write"))?);
        let mut begins = vec![0];
        for (number, (part, size)) in paths.iter().zip(sizes).enumerate() {
            let mut entries = vec![Entry::zeroed(); size as usize];
            let read = |entries: &mut [Entry]| File::open(part)?.read_exact(bytemuck::cast_slice_mut(entries));
            read(&mut entries).map_err(FileError::at(part, "read"))?;
            let mut rng = Rng::new(bedstone_kernels::random::key(seed, number as u64));
            for i in (1..entries.len()).rev() {
                let j = ((u128::from(rng.bits()) * (i as u128 + 1)) >> 64) as usize;
                entries.swap(i, j);
            }
            file.write_all(bytemuck::cast_slice(&entries)).map_err(FileError::at(&path, "write"))?;
            fs::remove_file(part).map_err(FileError::at(part, "remove it"))?;
            begins.push(begins[number] + size);
        }
        file.flush().map_err(FileError::at(&path, "write"))?;
        let (manifest, beside) = (dir.join(MANIFEST), dir.join("counts.json.tmp"));
        let text = serde_json::to_string(&Manifest { begins }).unwrap_or_default();
        fs::write(&beside, text).map_err(FileError::at(&beside, "write"))?;
        fs::rename(&beside, &manifest).map_err(FileError::at(&manifest, "rename"))?;
        Ok(())
    }

    /// Those in `dir`, if they are there whole.
    pub(super) fn find(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(FileError::at(&path, "read"))?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| WordsError::format(&path, e.to_string()))?;
        let path = dir.join(FILE);
        let file = File::open(&path).map_err(FileError::at(&path, "open"))?;
        let size = file.metadata().map_err(FileError::at(&path, "look at it"))?.len();
        let wanted = manifest.begins.last().map_or(0, |n| n * size_of::<Entry>() as u64);
        let rising = manifest.begins.is_sorted() && manifest.begins.len() == MEETINGS + 1;
        if size != wanted || !rising {
            let what = format!("has {size} bytes, wanted {wanted}");
            let hint = format!("remove {}: it is made again from the text", dir.display());
            return Err(WordsError::format_hint(&path, what, hint));
        }
        Ok(Some(Self { file, path, begins: manifest.begins }))
    }

    /// How many pairs there are.
    pub(super) fn len(&self) -> u64 {
        self.begins.last().copied().unwrap_or(0)
    }

    /// How many pairs a meeting has.
    fn size(&self, meeting: usize) -> u64 {
        self.begins[meeting + 1] - self.begins[meeting]
    }

    /// Calls `take` with the pairs of a meeting, some at a time.
    fn read(&self, meeting: usize, mut take: impl FnMut(&[Entry])) -> Result<()> {
        let mut entries = vec![Entry::zeroed(); (self.size(meeting) as usize).min(AT_A_TIME)];
        let mut at = self.begins[meeting];
        while at < self.begins[meeting + 1] {
            let n = (self.begins[meeting + 1] - at).min(AT_A_TIME as u64);
            let part = &mut entries[..n as usize];
            let place = at * size_of::<Entry>() as u64;
            let bytes = bytemuck::cast_slice_mut(part);
            self.file.read_exact_at(bytes, place).map_err(FileError::at(&self.path, "read"))?;
            take(part);
            at += n;
        }
        Ok(())
    }

    /// Calls `learn` for every meeting of round `number` on all threads, with its pairs in both orders; the sums of what it
    /// gives, and how many pairs there were.
    pub(super) fn each(&self, number: usize, learn: impl Fn(&[Pair]) -> f64 + Sync) -> Result<(f64, u64)> {
        let mut meetings = round(number);
        // The longest first, so that no thread is left with one alone at the end.
        meetings.sort_by_key(|&m| std::cmp::Reverse(self.size(m)));
        let results: Vec<Result<(f64, u64)>> = meetings
            .par_iter()
            .with_max_len(1)
            .map(|&m| {
                let (mut pairs, mut sum, mut n) = (Vec::with_capacity(2 * AT_A_TIME), 0.0, 0);
                self.read(m, |entries| {
                    pairs.clear();
                    for e in entries {
                        let pair = Pair { word: e.word, context: e.context, log: e.log, weight: e.weight.abs() };
                        pairs.push(pair);
                        if e.weight > 0.0 {
                            pairs.push(Pair { word: e.context, context: e.word, ..pair });
                        }
                    }
                    sum += learn(&pairs);
                    n += pairs.len() as u64;
                })?;
                Ok((sum, n))
            })
            .collect();
        // In a fixed order, whoever was ready first.
        let (mut sum, mut pairs) = (0.0, 0);
        for result in results {
            let (s, n) = result?;
            (sum, pairs) = (sum + s, pairs + n);
        }
        Ok((sum, pairs))
    }
}

/// Entries that are read and handed to the kernel together.
const AT_A_TIME: usize = 4096;

/// A file for each meeting while counts are merged.
struct Parts {
    paths: Vec<PathBuf>,
    buffers: Vec<Vec<Entry>>,
    sizes: Vec<u64>,
}

impl Parts {
    fn create(dir: &Path) -> Result<Self> {
        let paths: Vec<PathBuf> = (0..MEETINGS).map(|m| dir.join(format!("meeting-{m}"))).collect();
        for path in &paths {
            File::create(path).map_err(FileError::at(path, "write"))?;
        }
        Ok(Self { paths, buffers: vec![Vec::new(); MEETINGS], sizes: vec![0; MEETINGS] })
    }

    fn push(&mut self, meeting: usize, entry: Entry) -> Result<()> {
        self.buffers[meeting].push(entry);
        self.sizes[meeting] += 1;
        if self.buffers[meeting].len() == 4096 { self.flush(meeting) } else { Ok(()) }
    }

    fn flush(&mut self, meeting: usize) -> Result<()> {
        let path = &self.paths[meeting];
        // Opened for each piece: more files than a process may have open would be one too many.
        let mut file = File::options().append(true).open(path).map_err(FileError::at(path, "write"))?;
        file.write_all(bytemuck::cast_slice(&self.buffers[meeting])).map_err(FileError::at(path, "write"))?;
        self.buffers[meeting].clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<PathBuf>, Vec<u64>)> {
        for meeting in 0..MEETINGS {
            self.flush(meeting)?;
        }
        Ok((self.paths, self.sizes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_round_has_each_group_once_and_all_rounds_have_each_meeting_once() {
        let mut met = BTreeSet::new();
        for r in 0..ROUNDS {
            let mut groups = BTreeSet::new();
            for m in round(r) {
                assert!(met.insert(m), "meeting {m} of round {r} was there before");
                let high = (0..GROUPS).rfind(|&h| h * (h + 1) / 2 <= m).unwrap();
                let low = m - high * (high + 1) / 2;
                assert!(groups.insert(low) && (low == high || groups.insert(high)), "round {r}");
            }
            assert_eq!(groups.len(), GROUPS);
        }
        assert_eq!(met.len(), MEETINGS);
    }

    #[test]
    fn weights() {
        let w = Weighting { x_max: 100.0, alpha: 0.75 };
        assert_eq!((w.of(100.0), w.of(1e6)), (1.0, 1.0));
        assert!((w.of(10.0) - 0.1f64.powf(0.75)).abs() < 1e-12);
    }

    #[test]
    fn damaged_counts_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let p = super::super::count::tests::prepared("a b c a b\nc a d", dir.path());
        let config =
            super::super::recipe::CountsConfig { window: 4, symmetric: true, distance_weighting: true, memory: 0.1 };
        let counter = super::super::count::count(&p.ids, p.vocab.len(), &config, dir.path(), &mut |_| Ok(())).unwrap();
        Blocks::build(counter, dir.path(), Weighting { x_max: 10.0, alpha: 0.75 }, 1).unwrap();
        let blocks = Blocks::find(dir.path()).unwrap().unwrap();
        assert!(blocks.len() > 4);
        let pairs: u64 = (0..ROUNDS).map(|r| blocks.each(r, |_| 0.0).unwrap().1).sum();
        // Every pair of different words in both orders.
        let mut diagonal = 0;
        for m in 0..MEETINGS {
            let count = |part: &[Entry]| diagonal += part.iter().filter(|e| e.word == e.context).count() as u64;
            blocks.read(m, count).unwrap();
        }
        assert_eq!(pairs, 2 * blocks.len() - diagonal);
        drop(blocks);
        let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        std::fs::write(dir.path().join(FILE), &bytes[1..]).unwrap();
        assert!(Blocks::find(dir.path()).err().unwrap().to_string().contains("bytes, wanted"));
    }
}
