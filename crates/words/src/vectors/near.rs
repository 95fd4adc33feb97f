//! Neighbours and analogies by the cosine.

use rayon::prelude::*;

use super::Vectors;
use crate::Result;

/// Vectors of length one, for cosines.
pub struct Index<'a> {
    vectors: &'a Vectors,
    // One over the length of each; 0 of a zero vector.
    scale: Vec<f32>,
}

/// A word and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near<'a> {
    /// The word.
    pub word: &'a str,
    /// Its id.
    pub id: u32,
    /// The cosine.
    pub similarity: f32,
}

/// Rows that a task looks at.
const ROWS: usize = 4096;

impl<'a> Index<'a> {
    /// Measures all lengths.
    pub fn new(vectors: &'a Vectors) -> Self {
        let scale = (0..vectors.len() as u32).into_par_iter().map(|id| inverse(vectors.row(id))).collect();
        Self { vectors, scale }
    }

    /// The vector of a word at length one.
    pub(crate) fn unit(&self, id: u32) -> Vec<f32> {
        let scale = self.scale[id as usize];
        self.vectors.row(id).iter().map(|x| x * scale).collect()
    }

    /// The cosine of two words.
    pub(crate) fn cosine(&self, a: u32, b: u32) -> f32 {
        dot(self.vectors.row(a), self.vectors.row(b)) * self.scale[a as usize] * self.scale[b as usize]
    }

    /// The `n` words nearest to `query`, those in `without` left out, the nearest first; equal ones by id. Only the first
    /// `among` words are looked at.
    pub fn nearest(&self, query: &[f32], n: usize, without: &[u32], among: usize) -> Vec<Near<'a>> {
        let length = inverse(query);
        let all = among.min(self.vectors.len());
        let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let mut found: Vec<(f32, u32)> = (0..all.div_ceil(ROWS))
            .into_par_iter()
            .flat_map_iter(|part| {
                let ids = (part * ROWS) as u32..((part + 1) * ROWS).min(all) as u32;
                let cosine = |id: u32| dot(query, self.vectors.row(id)) * self.scale[id as usize] * length;
                let mut best: Vec<(f32, u32)> =
                    ids.filter(|id| !without.contains(id)).map(|id| (cosine(id), id)).collect();
                best.sort_unstable_by(better);
                best.truncate(n);
                best
            })
            .collect();
        found.sort_unstable_by(better);
        found.truncate(n);
        let near = |(similarity, id)| Near { word: self.vectors.vocab.word(id), id, similarity };
        found.into_iter().map(near).collect()
    }

    /// The neighbours of a word, itself left out.
    pub fn similar(&self, word: &str, n: usize) -> Result<Vec<Near<'a>>> {
        let query = self.vectors.vector(word)?;
        let own: Vec<u32> = self.vectors.id(word).into_iter().collect();
        Ok(self.nearest(&query, n, &own, usize::MAX))
    }

    /// What is to `c` as `b` is to `a`: nearest to `b - a + c` of unit vectors, the three left out
    /// ([Mikolov et al. 2013](https://aclanthology.org/N13-1090/)).
    pub fn analogy(&self, a: &str, b: &str, c: &str, n: usize) -> Result<Vec<Near<'a>>> {
        let mut query = vec![0.0; self.vectors.dimension()];
        let mut ids = Vec::new();
        for (word, sign) in [(a, -1.0), (b, 1.0), (c, 1.0)] {
            let x = self.vectors.vector(word)?;
            let scale = inverse(&x) * sign;
            query.iter_mut().zip(&x).for_each(|(q, x)| *q += x * scale);
            ids.extend(self.vectors.id(word));
        }
        Ok(self.nearest(&query, n, &ids, usize::MAX))
    }
}

fn inverse(x: &[f32]) -> f32 {
    let square = dot(x, x);
    if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 }
}

/// Sixteen sums side by side, which the compiler keeps in registers.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0; 16];
    for (a, b) in a.iter().zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}
