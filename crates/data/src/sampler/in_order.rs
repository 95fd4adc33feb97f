//! Windows one after the other, for evaluation.

use super::{Batch, Error, IGNORE};
use crate::shards::TokenSet;

/// Batches in which every token of a set, except its first one, is a label exactly once.
///
/// The last window is filled up with id 0 and label [`IGNORE`]; the last batch may have fewer windows.
pub struct InOrder<'a> {
    set: &'a TokenSet,
    length: u64,
    batch: usize,
    next: u64,
}

impl<'a> InOrder<'a> {
    /// Windows of `length` tokens over `set`, `batch` at a time.
    pub fn new(set: &'a TokenSet, length: usize, batch: usize) -> Result<Self, Error> {
        let length = length.max(1);
        if set.len() < 2 {
            return Err(Error::TooShort { tokens: set.len(), want: 2, length });
        }
        Ok(Self { set, length: length as u64, batch: batch.max(1), next: 0 })
    }

    /// Labels over all batches.
    pub fn labels(&self) -> u64 {
        self.set.len() - 1
    }

    /// Batches that are still to come.
    pub fn batches(&self) -> u64 {
        (self.windows() - self.next).div_ceil(self.batch as u64)
    }

    fn windows(&self) -> u64 {
        self.labels().div_ceil(self.length)
    }
}

impl Iterator for InOrder<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let t = self.length as usize;
        let rows = (self.windows() - self.next).min(self.batch as u64);
        if rows == 0 {
            return None;
        }
        let samples: Vec<u64> = (self.next..self.next + rows).collect();
        let begins: Vec<u64> = samples.iter().map(|sample| sample * self.length).collect();
        let (mut ids, mut labels) = (vec![0; rows as usize * t], vec![IGNORE; rows as usize * t]);
        let mut window = vec![0; t + 1];
        for (row, &begin) in begins.iter().enumerate() {
            let count = self.length.min(self.labels() - begin) as usize;
            self.set.copy(begin..begin + count as u64 + 1, &mut window[..count + 1]);
            ids[row * t..][..count].copy_from_slice(&window[..count]);
            labels[row * t..][..count].copy_from_slice(&window[1..count + 1]);
        }
        self.next += rows;
        Some(Batch { ids, labels, samples, begins, ..Batch::default() })
    }
}
