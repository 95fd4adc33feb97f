//! Average precision and recall of boxes, as `pycocotools` counts them
//! ([Lin et al. 2014](https://arxiv.org/abs/1405.0312)).
//!
//! ```text
//! mod.rs         boxes, the report, what is averaged
//! matching.rs    which predicted box stands for which true one, in one picture
//! curve.rs       precision over recall
//! ```

mod curve;
mod matching;

use super::{MetricError, Result};
use curve::Curves;
use matching::Matches;
use rayon::prelude::*;

const METRIC: &str = "COCO";

/// A true box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrueBox {
    /// Its class.
    pub class: usize,
    /// Left, top, width, height.
    pub bounds: [f64; 4],
    /// The area by which it is small, medium or large: that of the outline, where known, else of the box.
    pub area: f64,
    /// Whether it stands for a crowd: not finding it is no mistake, nor is finding many within it.
    pub crowd: bool,
}

/// A predicted box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundBox {
    /// Its class.
    pub class: usize,
    /// Left, top, width, height.
    pub bounds: [f64; 4],
    /// How sure the model is; only the order counts.
    pub score: f64,
}

impl From<&bedstone_data::pictures::Object> for TrueBox {
    fn from(object: &bedstone_data::pictures::Object) -> Self {
        let [left, top, right, bottom] = object.bounds.map(f64::from);
        let bounds = [left, top, right - left, bottom - top];
        Self { class: object.class, bounds, area: object.area.into(), crowd: object.crowd }
    }
}

/// The twelve numbers of COCO, 0 to 1. A number is missing where there is no true box to find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CocoReport {
    /// Average precision: the mean over classes, 101 recalls, and overlaps of 0.5 to 0.95 in steps of 0.05.
    pub ap: Option<f64>,
    /// At an overlap of 0.5.
    pub ap50: Option<f64>,
    /// At an overlap of 0.75.
    pub ap75: Option<f64>,
    /// Of boxes below 32² pixels.
    pub ap_small: Option<f64>,
    /// Of boxes of 32² to 96² pixels.
    pub ap_medium: Option<f64>,
    /// Of boxes of 96² pixels and more.
    pub ap_large: Option<f64>,
    /// Average recall: the mean over classes and overlaps, with the best box of each class and picture.
    pub ar1: Option<f64>,
    /// With the ten best.
    pub ar10: Option<f64>,
    /// With the hundred best.
    pub ar100: Option<f64>,
    /// Of boxes below 32² pixels, with the hundred best.
    pub ar_small: Option<f64>,
    /// Of boxes of 32² to 96² pixels, with the hundred best.
    pub ar_medium: Option<f64>,
    /// Of boxes of 96² pixels and more, with the hundred best.
    pub ar_large: Option<f64>,
    /// Each class by itself.
    pub per_class: Vec<ClassReport>,
}

/// One class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClassReport {
    /// Average precision.
    pub ap: Option<f64>,
    /// At an overlap of 0.5.
    pub ap50: Option<f64>,
    /// Average recall with the hundred best boxes of a picture.
    pub ar100: Option<f64>,
    /// True boxes that are no crowds.
    pub support: u64,
}

/// Areas in pixels, both bounds included: all, small, medium, large.
const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];
/// Boxes of a class in a picture that count: the best ones.
const COUNTS: [usize; 3] = [1, 10, 100];

/// Compares `found[i]` with `truth[i]` for each picture `i`, with classes less than `classes`.
///
/// # Errors
///
/// If there are not as many pictures on both sides, not one of them, a class that does not exist, or a number that is
/// not finite.
pub fn coco(truth: &[Vec<TrueBox>], found: &[Vec<FoundBox>], classes: usize) -> Result<CocoReport> {
    super::same_length(METRIC, "pictures with predictions", found.len(), truth.len())?;
    let mut by_class: Vec<Vec<Picture>> = vec![Vec::new(); classes];
    for (index, (truth, found)) in truth.iter().zip(found).enumerate() {
        let class_of = |got: usize| match got < classes {
            true => Ok(got),
            false => Err(MetricError::Class { metric: METRIC, index, got, classes }),
        };
        let finite = |numbers: &[f64]| match numbers.iter().find(|x| !x.is_finite()) {
            Some(&got) => Err(MetricError::Value { metric: METRIC, index, got, want: "a finite number" }),
            None => Ok(()),
        };
        for one in truth {
            finite(&[one.area])?;
            finite(&one.bounds)?;
            picture(&mut by_class[class_of(one.class)?], index).truth.push(*one);
        }
        for one in found {
            finite(&[one.score])?;
            finite(&one.bounds)?;
            picture(&mut by_class[class_of(one.class)?], index).found.push(*one);
        }
    }
    let curves: Vec<[Curves; AREAS.len()]> = by_class.into_par_iter().map(of_class).collect();
    Ok(report(&curves))
}

/// The boxes of one class in one picture.
#[derive(Clone, Debug, Default)]
struct Picture {
    index: usize,
    truth: Vec<TrueBox>,
    found: Vec<FoundBox>,
}

/// That of `index`, which is the last one if it is there.
fn picture(pictures: &mut Vec<Picture>, index: usize) -> &mut Picture {
    if pictures.last().is_none_or(|last| last.index != index) {
        pictures.push(Picture { index, ..Picture::default() });
    }
    let last = pictures.len() - 1;
    &mut pictures[last]
}

/// The curves of one class for each range of areas.
fn of_class(mut pictures: Vec<Picture>) -> [Curves; AREAS.len()] {
    for picture in &mut pictures {
        // Stable: of equal scores the first stays first.
        picture.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        picture.found.truncate(COUNTS[COUNTS.len() - 1]);
    }
    let overlaps: Vec<Vec<f64>> = pictures.iter().map(|p| matching::overlaps(&p.truth, &p.found)).collect();
    AREAS.map(|area| {
        let one =
            |(picture, overlaps): (&Picture, &Vec<f64>)| Matches::new(&picture.truth, &picture.found, overlaps, area);
        Curves::new(&pictures.iter().zip(&overlaps).map(one).collect::<Vec<_>>())
    })
}

fn report(classes: &[[Curves; AREAS.len()]]) -> CocoReport {
    let [all, small, medium, large] = [0, 1, 2, 3];
    let hundred = COUNTS.len() - 1;
    let precision = |area: usize, overlaps: std::ops::Range<usize>| {
        mean(classes.iter().filter_map(|curves| curves[area].precision(overlaps.clone())))
    };
    let recall = |area: usize, count: usize| mean(classes.iter().filter_map(|curves| curves[area].recall(count)));
    let every = 0..matching::OVERLAPS;
    let per_class = classes.iter().map(|curves| ClassReport {
        ap: curves[all].precision(every.clone()),
        ap50: curves[all].precision(0..1),
        ar100: curves[all].recall(hundred),
        support: curves[all].support(),
    });
    CocoReport {
        ap: precision(all, every.clone()),
        ap50: precision(all, 0..1),
        ap75: precision(all, 5..6),
        ap_small: precision(small, every.clone()),
        ap_medium: precision(medium, every.clone()),
        ap_large: precision(large, every.clone()),
        ar1: recall(all, 0),
        ar10: recall(all, 1),
        ar100: recall(all, hundred),
        ar_small: recall(small, hundred),
        ar_medium: recall(medium, hundred),
        ar_large: recall(large, hundred),
        per_class: per_class.collect(),
    }
}

/// The mean, if there is something; every class counts the same.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests;
