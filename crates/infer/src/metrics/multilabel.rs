//! Several classes an example.

use super::{
    Averages, MetricError, Prf, Result,
    classes::{Tally, averages},
    ratio, same_length,
};

/// Precision, recall and F1 of predictions of several classes.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiLabel {
    /// Of each class.
    pub per_class: Vec<Prf>,
    /// Of all; the macro average is over every class, whether it occurs or not, as in scikit-learn.
    pub averages: Averages,
    /// Share of the examples of which exactly the true classes are predicted.
    pub subset_accuracy: f64,
}

/// Compares sets of classes; `truth[i]` and `predicted[i]` hold classes less than `classes`, each once, in any order.
///
/// # Errors
///
/// If there are not as many predictions as examples, not one of them, or a class that does not exist.
pub fn multilabel(truth: &[Vec<usize>], predicted: &[Vec<usize>], classes: usize) -> Result<MultiLabel> {
    let mut tallies = vec![Tally::default(); classes];
    compare("multi-label", truth, predicted, classes, |class, is, said| match (is, said) {
        (true, true) => tallies[class].right += 1,
        (true, false) => tallies[class].missed += 1,
        (false, true) => tallies[class].wrong += 1,
        (false, false) => {}
    })?;
    Ok(MultiLabel {
        per_class: tallies.iter().map(Tally::prf).collect(),
        averages: averages(&tallies, |_| true),
        subset_accuracy: subset_accuracy(truth, predicted)?,
    })
}

/// Share of the examples of which exactly the true classes are predicted.
///
/// # Errors
///
/// If there are not as many predictions as examples, or not one of them.
pub fn subset_accuracy(truth: &[Vec<usize>], predicted: &[Vec<usize>]) -> Result<f64> {
    same_length("subset accuracy", "predictions", predicted.len(), truth.len())?;
    let sorted = |classes: &[usize]| {
        let mut classes = classes.to_vec();
        classes.sort_unstable();
        classes.dedup();
        classes
    };
    let right = truth.iter().zip(predicted).filter(|(truth, predicted)| sorted(truth) == sorted(predicted)).count();
    Ok(ratio(right as f64, truth.len() as f64))
}

/// Share of the decisions, one for each example and class, that are wrong.
///
/// # Errors
///
/// As [`multilabel`].
pub fn hamming_loss(truth: &[Vec<usize>], predicted: &[Vec<usize>], classes: usize) -> Result<f64> {
    let mut wrong = 0;
    compare("Hamming loss", truth, predicted, classes, |_, is, said| wrong += u64::from(is != said))?;
    Ok(ratio(wrong as f64, (truth.len() * classes) as f64))
}

/// Calls `each(class, whether it is, whether it is predicted)` for all examples and classes.
fn compare(
    metric: &'static str,
    truth: &[Vec<usize>],
    predicted: &[Vec<usize>],
    classes: usize,
    mut each: impl FnMut(usize, bool, bool),
) -> Result<()> {
    same_length(metric, "predictions", predicted.len(), truth.len())?;
    for (index, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        if let Some(&got) = truth.iter().chain(predicted).find(|&&class| class >= classes) {
            return Err(MetricError::Class { metric, index, got, classes });
        }
        for class in 0..classes {
            each(class, truth.contains(&class), predicted.contains(&class));
        }
    }
    Ok(())
}
