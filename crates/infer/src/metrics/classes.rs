//! One class an example.

use super::{MetricError, Result, ratio, same_length};

/// How often examples of each class were taken for each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// `counts[true class][predicted class]`.
    counts: Vec<Vec<u64>>,
}

/// Precision, recall and F1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prf {
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the examples that were found.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Number of true examples.
    pub support: u64,
}

/// Precision, recall and F1 of several classes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Of all decisions thrown together.
    pub micro: Prf,
    /// The mean over the classes that occur, as true ones or as predictions.
    pub macro_avg: Prf,
    /// The mean over the classes, weighted by their support.
    pub weighted: Prf,
}

impl Confusion {
    /// Counts `predicted[i]` against `truth[i]`, both less than `classes`.
    ///
    /// # Errors
    ///
    /// If there are not as many predictions as examples, not one of them, or a class that does not exist.
    pub fn new(truth: &[usize], predicted: &[usize], classes: usize) -> Result<Self> {
        const METRIC: &str = "confusion matrix";
        same_length(METRIC, "predictions", predicted.len(), truth.len())?;
        let mut counts = vec![vec![0; classes]; classes];
        for (index, (&truth, &predicted)) in truth.iter().zip(predicted).enumerate() {
            let got = truth.max(predicted);
            if got >= classes {
                return Err(MetricError::Class { metric: METRIC, index, got, classes });
            }
            counts[truth][predicted] += 1;
        }
        Ok(Self { counts })
    }

    /// `counts[true class][predicted class]`.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.counts
    }

    /// Share of the examples whose class is predicted.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        ratio(right as f64, self.total() as f64)
    }

    /// Precision, recall and F1 of each class.
    pub fn per_class(&self) -> Vec<Prf> {
        self.tallies().iter().map(Tally::prf).collect()
    }

    /// Precision, recall and F1 over all classes.
    pub fn averages(&self) -> Averages {
        averages(&self.tallies(), |tally| tally.support() + tally.predicted() > 0)
    }

    /// Matthews' correlation coefficient, in its form for any number of classes
    /// ([Gorodkin 2004](https://doi.org/10.1016/j.compbiolchem.2004.09.006)); 0 if all examples or all predictions are
    /// of one class.
    pub fn matthews(&self) -> f64 {
        let total = self.total() as f64;
        let right: u64 = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        let sums: Vec<(f64, f64)> =
            self.tallies().iter().map(|tally| (tally.support() as f64, tally.predicted() as f64)).collect();
        let sum = |product: fn(&(f64, f64)) -> f64| sums.iter().map(product).sum::<f64>();
        let covariance = right as f64 * total - sum(|(truth, predicted)| truth * predicted);
        let of_truth = total * total - sum(|(truth, _)| truth * truth);
        let of_predictions = total * total - sum(|(_, predicted)| predicted * predicted);
        ratio(covariance, (of_truth * of_predictions).sqrt())
    }

    fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    fn tallies(&self) -> Vec<Tally> {
        let tally = |class: usize| {
            let right = self.counts[class][class];
            let support: u64 = self.counts[class].iter().sum();
            let predicted: u64 = self.counts.iter().map(|row| row[class]).sum();
            Tally { right, wrong: predicted - right, missed: support - right }
        };
        (0..self.counts.len()).map(tally).collect()
    }
}

/// The class with the largest score: the first of them if there are several, 0 if there is no score.
pub fn argmax(scores: &[f32]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// What became of the examples and predictions of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// True positives.
    pub(super) right: u64,
    /// False positives.
    pub(super) wrong: u64,
    /// False negatives.
    pub(super) missed: u64,
}

impl Tally {
    pub(super) fn support(&self) -> u64 {
        self.right + self.missed
    }

    pub(super) fn predicted(&self) -> u64 {
        self.right + self.wrong
    }

    pub(super) fn prf(&self) -> Prf {
        let right = self.right as f64;
        Prf {
            precision: ratio(right, self.predicted() as f64),
            recall: ratio(right, self.support() as f64),
            f1: ratio(2.0 * right, (self.support() + self.predicted()) as f64),
            support: self.support(),
        }
    }
}

/// The averages of classes; the macro average is over those that `counts` chooses.
pub(super) fn averages(tallies: &[Tally], counts: impl Fn(&Tally) -> bool) -> Averages {
    let mut all = Tally::default();
    for tally in tallies {
        all.right += tally.right;
        all.wrong += tally.wrong;
        all.missed += tally.missed;
    }
    let support = all.support();
    let mean = |weight: &dyn Fn(&Tally) -> f64| {
        let mut sums = Prf { support, ..Prf::default() };
        let mut weights = 0.0;
        for tally in tallies {
            let (Prf { precision, recall, f1, .. }, weight) = (tally.prf(), weight(tally));
            sums.precision += weight * precision;
            sums.recall += weight * recall;
            sums.f1 += weight * f1;
            weights += weight;
        }
        let Prf { precision, recall, f1, .. } = sums;
        Prf { precision: ratio(precision, weights), recall: ratio(recall, weights), f1: ratio(f1, weights), support }
    };
    Averages {
        micro: all.prf(),
        macro_avg: mean(&|tally| f64::from(u8::from(counts(tally)))),
        weighted: mean(&|tally| tally.support() as f64),
    }
}
