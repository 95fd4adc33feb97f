//! How good vectors are, by tests that others have made.

use std::path::Path;

use bedstone_run::files::FileError;
use rayon::prelude::*;
use serde::Serialize;

use super::{Vectors, near::Index};
use crate::{Result, WordsError};

/// Part of an analogy test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Answered right.
    pub correct: u64,
    /// Answered: all words are known.
    pub asked: u64,
    /// In the file.
    pub total: u64,
}

/// Result of an analogy test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Analogies {
    /// Section by section, in the order of the file.
    pub sections: Vec<Section>,
    /// Sections whose names do not begin with `gram`.
    pub semantic: Section,
    /// Sections whose names begin with `gram`.
    pub syntactic: Section,
    /// All of them.
    pub all: Section,
}

impl Section {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), correct: 0, asked: 0, total: 0 }
    }

    fn add(&mut self, other: &Section) {
        self.correct += other.correct;
        self.asked += other.asked;
        self.total += other.total;
    }

    /// The share of right answers among those asked; 0 if there are none.
    pub fn accuracy(&self) -> f64 {
        if self.asked == 0 { 0.0 } else { self.correct as f64 / self.asked as f64 }
    }
}

/// Result of a similarity test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarities {
    /// Rank correlation of cosines and scores, ties having their mean rank.
    pub spearman: f64,
    /// Linear correlation of the same.
    pub pearson: f64,
    /// Pairs whose words are known.
    pub pairs: u64,
    /// Pairs in the file.
    pub total: u64,
}

/// A word as vectors may have it: as it stands, or in lower case where they were made so.
fn id_of(vectors: &Vectors, word: &str) -> Option<u32> {
    let known = vectors.vocab.id(word);
    known.or_else(|| vectors.vocab.id(&word.to_lowercase()))
}

/// Asks `a b c ?` of each line `a b c d` in the format of questions-words: `: name` begins a section.
///
/// Answers are looked for among the first `restrict` words (0: all), and questions with other words are left out, as
/// gensim and word2vec do.
pub fn analogies(vectors: &Vectors, path: &Path, restrict: usize) -> Result<Analogies> {
    let text = std::fs::read_to_string(path).map_err(FileError::at(path, "read"))?;
    let among = if restrict == 0 { vectors.len() } else { restrict.min(vectors.len()) };
    let mut sections: Vec<(Section, Vec<[u32; 4]>)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix(':') {
            sections.push((Section::named(name.trim()), Vec::new()));
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        let &[a, b, c, d] = &words[..] else {
            let what = format!("line {}: {} words, wanted four, or `: name of a section`", number + 1, words.len());
            return Err(WordsError::format(path, what));
        };
        if sections.is_empty() {
            sections.push((Section::named("all"), Vec::new()));
        }
        if let Some((section, questions)) = sections.last_mut() {
            section.total += 1;
            let ids = [a, b, c, d].map(|w| id_of(vectors, w).filter(|&id| (id as usize) < among));
            if let [Some(a), Some(b), Some(c), Some(d)] = ids {
                section.asked += 1;
                questions.push([a, b, c, d]);
            }
        }
    }
    if sections.iter().all(|(s, _)| s.total == 0) {
        return Err(WordsError::format_hint(path, "holds no questions", "a question is a line of four words"));
    }
    if sections.iter().all(|(s, _)| s.asked == 0) {
        let total: u64 = sections.iter().map(|(s, _)| s.total).sum();
        let what = format!("none of {total} questions has all its words in the vocabulary");
        return Err(WordsError::format(path, what));
    }
    let index = Index::new(vectors);
    let ask = |&[a, b, c, d]: &[u32; 4]| {
        let (a1, b1, c1) = (index.unit(a), index.unit(b), index.unit(c));
        let query: Vec<f32> = (0..vectors.dimension()).map(|i| b1[i] - a1[i] + c1[i]).collect();
        index.nearest(&query, 1, &[a, b, c], among).first().is_some_and(|near| near.id == d)
    };
    for (section, questions) in &mut sections {
        section.correct = questions.par_iter().filter(|q| ask(q)).count() as u64;
    }
    let sections: Vec<Section> = sections.into_iter().map(|(s, _)| s).collect();
    let sum = |name: &str, holds: &dyn Fn(&Section) -> bool| {
        let mut sum = Section::named(name);
        sections.iter().filter(|s| holds(s)).for_each(|s| sum.add(s));
        sum
    };
    Ok(Analogies {
        semantic: sum("semantic", &|s| !s.name.starts_with("gram")),
        syntactic: sum("syntactic", &|s| s.name.starts_with("gram")),
        all: sum("all", &|_| true),
        sections,
    })
}

/// Compares cosines with the scores in lines `word TAB word TAB score`; lines that begin with `#` are comments.
pub fn similarities(vectors: &Vectors, path: &Path) -> Result<Similarities> {
    let text = std::fs::read_to_string(path).map_err(FileError::at(path, "read"))?;
    let index = Index::new(vectors);
    let (mut cosines, mut scores, mut total) = (Vec::new(), Vec::new(), 0);
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        let wrong = |what: String| WordsError::format(path, format!("line {}: {what}", number + 1));
        let &[a, b, score, ..] = &fields[..] else {
            return Err(wrong(format!("{} fields, wanted two words and a score with tabs between", fields.len())));
        };
        let score: f64 = match score.parse() {
            Ok(score) => score,
            // Names of columns.
            Err(_) if total == 0 && cosines.is_empty() && number == 0 => continue,
            Err(_) => return Err(wrong(format!("the score is `{score}`, wanted a number"))),
        };
        total += 1;
        if let (Some(a), Some(b)) = (id_of(vectors, a), id_of(vectors, b)) {
            cosines.push(f64::from(index.cosine(a, b)));
            scores.push(score);
        }
    }
    if total == 0 {
        return Err(WordsError::format_hint(
            path,
            "holds no pairs",
            "a pair is a line of two words and a score, with tabs between",
        ));
    }
    if cosines.len() < 2 {
        let what = format!("only {} of {total} pairs have both words in the vocabulary", cosines.len());
        return Err(WordsError::format(path, what));
    }
    Ok(Similarities {
        spearman: pearson(&ranks(&cosines), &ranks(&scores)),
        pearson: pearson(&cosines, &scores),
        pairs: cosines.len() as u64,
        total,
    })
}

/// The rank of each number, from 1; equal ones share their mean.
fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut begin = 0;
    while begin < order.len() {
        let same = order[begin..].iter().take_while(|&&i| x[i] == x[order[begin]]).count();
        for &i in &order[begin..begin + same] {
            ranks[i] = begin as f64 + (same + 1) as f64 / 2.0;
        }
        begin += same;
    }
    ranks
}

/// 0 where one of them does not vary.
fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx) * (a - mx);
        yy += (b - my) * (b - my);
    }
    if xx > 0.0 && yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_ties() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[]), [] as [f64; 0]);
    }

    /// Known answers of `scipy.stats.spearmanr` and `pearsonr`.
    #[test]
    fn correlations() {
        let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 6.0, 7.0, 8.0, 7.0]);
        assert!((pearson(&ranks(&x), &ranks(&y)) - 0.820_782_681_668_123_6).abs() < 1e-12);
        assert!((pearson(&x, &y) - 0.832_050_294_337_843_7).abs() < 1e-12);
        assert_eq!(pearson(&x, &[1.0; 5]), 0.0);
    }
}
