//! Predicted probabilities.

use super::{MetricError, Result, same_length};

/// The mean of `-ln p` of the true classes; `probabilities` holds a row of `classes` an example. Probabilities are kept
/// away from 0 and 1 by the precision of `f64`, as in scikit-learn.
///
/// # Errors
///
/// If there are not `classes` probabilities an example, not one example, a class that does not exist, or a value
/// outside 0 to 1.
pub fn log_loss(truth: &[usize], probabilities: &[f64], classes: usize) -> Result<f64> {
    const METRIC: &str = "log loss";
    same_length(METRIC, "probabilities", probabilities.len(), truth.len() * classes)?;
    if let Some(index) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let (got, want) = (probabilities[index], "a probability");
        return Err(MetricError::Value { metric: METRIC, index, got, want });
    }
    let mut sum = 0.0;
    for (index, (&got, row)) in truth.iter().zip(probabilities.chunks(classes)).enumerate() {
        let Some(p) = row.get(got) else { return Err(MetricError::Class { metric: METRIC, index, got, classes }) };
        sum -= p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln();
    }
    Ok(sum / truth.len() as f64)
}

/// The area under the ROC curve: how probable it is that a positive example has a higher score than a negative one;
/// equal scores count half. `NaN` if all examples are positive or all are negative.
///
/// # Errors
///
/// If there are not as many scores as examples, not one of them, or a score that is `NaN`.
pub fn roc_auc(truth: &[bool], scores: &[f64]) -> Result<f64> {
    const METRIC: &str = "ROC AUC";
    same_length(METRIC, "scores", scores.len(), truth.len())?;
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(MetricError::Value { metric: METRIC, index, got: scores[index], want: "a number" });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    // Of whole and half pairs, in halves: exact.
    let (mut below, mut halves) = (0_u64, 0_u64);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let positive = group.iter().filter(|&&index| truth[index]).count() as u64;
        let negative = group.len() as u64 - positive;
        halves += positive * (2 * below + negative);
        below += negative;
    }
    let positive = truth.len() as u64 - below;
    if positive == 0 || below == 0 {
        return Ok(f64::NAN);
    }
    Ok(halves as f64 / (2 * positive * below) as f64)
}
