//! Precision over recall, of all pictures together.

use super::{
    COUNTS,
    matching::{Fate, Matches, OVERLAPS},
};
use std::ops::Range;

/// Recalls at which precision is read: 0 to 1 in steps of 0.01.
const RECALLS: usize = 101;

/// What one class comes to in one range of areas.
#[derive(Clone, Debug)]
pub(super) struct Curves {
    /// Sums of the precision at the recalls, with the most boxes a picture.
    precision: [f64; OVERLAPS],
    /// The recall that is reached, by boxes a picture.
    recall: [[f64; OVERLAPS]; COUNTS.len()],
    wanted: u64,
}

impl Curves {
    pub(super) fn new(pictures: &[Matches]) -> Self {
        let wanted = pictures.iter().map(|picture| picture.wanted).sum();
        let mut curves = Self { precision: [0.0; OVERLAPS], recall: [[0.0; OVERLAPS]; COUNTS.len()], wanted };
        if wanted == 0 {
            return curves;
        }
        // Of equal scores, those of earlier pictures come first.
        let places = |(picture, matches): (usize, &Matches)| (0..matches.scores.len()).map(move |n| (picture, n));
        let mut order: Vec<(usize, usize)> = pictures.iter().enumerate().flat_map(places).collect();
        order.sort_by(|&(a, n), &(b, m)| pictures[b].scores[m].total_cmp(&pictures[a].scores[n]));
        for overlap in 0..OVERLAPS {
            for (count, &most) in COUNTS.iter().enumerate() {
                let right =
                    |&&(picture, n): &&(usize, usize)| n < most && pictures[picture].found[overlap][n] == Fate::Right;
                let right = order.iter().filter(right).count();
                curves.recall[count][overlap] = right as f64 / wanted as f64;
            }
            let fates: Vec<Fate> = order.iter().map(|&(picture, n)| pictures[picture].found[overlap][n]).collect();
            curves.precision[overlap] = precision(&fates, wanted);
        }
        curves
    }

    /// The mean over these overlaps and all recalls.
    pub(super) fn precision(&self, overlaps: Range<usize>) -> Option<f64> {
        let numbers = (overlaps.len() * RECALLS) as f64;
        (self.wanted > 0).then(|| self.precision[overlaps].iter().sum::<f64>() / numbers)
    }

    /// The mean over the overlaps, with so many boxes a picture.
    pub(super) fn recall(&self, count: usize) -> Option<f64> {
        (self.wanted > 0).then(|| self.recall[count].iter().sum::<f64>() / OVERLAPS as f64)
    }

    pub(super) fn support(&self) -> u64 {
        self.wanted
    }
}

/// The sum of the precision at all recalls: the best that is reached at a recall or beyond it, 0 where it is not reached.
fn precision(fates: &[Fate], wanted: u64) -> f64 {
    let (mut right, mut wrong) = (0_u64, 0_u64);
    let mut recalls = Vec::with_capacity(fates.len());
    let mut precisions = Vec::with_capacity(fates.len());
    for fate in fates {
        right += u64::from(*fate == Fate::Right);
        wrong += u64::from(*fate == Fate::Wrong);
        recalls.push(right as f64 / wanted as f64);
        precisions.push(right as f64 / ((right + wrong) as f64 + f64::EPSILON));
    }
    for n in (1..precisions.len()).rev() {
        precisions[n - 1] = f64::max(precisions[n - 1], precisions[n]);
    }
    let at = |n: usize| {
        // As numpy's `linspace` rounds.
        let recall = if n + 1 == RECALLS { 1.0 } else { n as f64 * 0.01 };
        precisions.get(recalls.partition_point(|&reached| reached < recall)).copied().unwrap_or(0.0)
    };
    (0..RECALLS).map(at).sum()
}
