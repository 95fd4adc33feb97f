//! Which predicted box stands for which true one, in one picture and class.

use super::{FoundBox, TrueBox};

/// How many overlaps are asked for: 0.5 to 0.95 in steps of 0.05.
pub(super) const OVERLAPS: usize = 10;

/// Overlap number `n`, rounded as numpy's `linspace` does.
fn threshold(n: usize) -> f64 {
    let step = (0.95 - 0.5) / (OVERLAPS - 1) as f64;
    if n + 1 == OVERLAPS { 0.95 } else { n as f64 * step + 0.5 }
}

/// The area that boxes have in common over that they cover together, `[found, truth]`; for a crowd over that of the
/// found box.
pub(super) fn overlaps(truth: &[TrueBox], found: &[FoundBox]) -> Vec<f64> {
    let one = |found: &FoundBox, truth: &TrueBox| {
        let ([x, y, w, h], [tx, ty, tw, th]) = (found.bounds, truth.bounds);
        let (width, height) = ((w + x).min(tw + tx) - x.max(tx), (h + y).min(th + ty) - y.max(ty));
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let common = width * height;
        common / if truth.crowd { w * h } else { w * h + tw * th - common }
    };
    found.iter().flat_map(|found| truth.iter().map(move |truth| one(found, truth))).collect()
}

/// What became of the boxes of one picture in one range of areas.
#[derive(Clone, Debug)]
pub(super) struct Matches {
    /// Scores of the predicted boxes, the best first.
    pub(super) scores: Vec<f64>,
    /// What each predicted box is, by overlap: `[OVERLAPS][found]`.
    pub(super) found: Vec<Vec<Fate>>,
    /// True boxes to be found.
    pub(super) wanted: u64,
}

/// What a predicted box is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands for a true box.
    Right,
    /// It stands for nothing.
    Wrong,
    /// It stands for a crowd or a box of another size, or is of another size itself.
    Ignored,
}

impl Matches {
    /// `found` is sorted by score; `overlaps` from [`overlaps`].
    pub(super) fn new(truth: &[TrueBox], found: &[FoundBox], overlaps: &[f64], area: [f64; 2]) -> Self {
        let outside = |size: f64| size < area[0] || size > area[1];
        let ignored = |truth: &TrueBox| truth.crowd || outside(truth.area);
        // Boxes to be found come first, and are preferred to those that do not count.
        let mut order: Vec<usize> = (0..truth.len()).collect();
        order.sort_by_key(|&index| ignored(&truth[index]));
        let wanted = truth.iter().filter(|one| !ignored(one)).count();

        let mut fates = Vec::with_capacity(OVERLAPS);
        for number in 0..OVERLAPS {
            let mut taken = vec![false; truth.len()];
            let fate = |(index, found): (usize, &FoundBox)| {
                let row = &overlaps[index * truth.len()..][..truth.len()];
                let mut least = threshold(number).min(1.0 - 1e-10);
                let mut best: Option<usize> = None;
                for &candidate in &order {
                    if taken[candidate] && !truth[candidate].crowd {
                        continue;
                    }
                    if best.is_some_and(|best| !ignored(&truth[best])) && ignored(&truth[candidate]) {
                        break;
                    }
                    if row[candidate] >= least {
                        least = row[candidate];
                        best = Some(candidate);
                    }
                }
                match best {
                    Some(best) => {
                        taken[best] = true;
                        if ignored(&truth[best]) { Fate::Ignored } else { Fate::Right }
                    }
                    None if outside(found.bounds[2] * found.bounds[3]) => Fate::Ignored,
                    None => Fate::Wrong,
                }
            };
            fates.push(found.iter().enumerate().map(fate).collect());
        }
        Self { scores: found.iter().map(|one| one.score).collect(), found: fates, wanted: wanted as u64 }
    }
}
