//! Whether the true class is among those with the largest scores.

use super::{MetricError, Result, same_length};

/// Share of the examples whose class is among the `k` with the largest scores; `scores` holds a row of `classes` an
/// example. Of equal scores the class with the smaller number comes first, as [`argmax`](super::argmax) has it.
///
/// # Errors
///
/// If there are not `classes` scores an example, not one example, a class that does not exist, or a score that is `NaN`.
pub fn top_k_accuracy(truth: &[usize], scores: &[f32], classes: usize, k: usize) -> Result<f64> {
    const METRIC: &str = "top-k accuracy";
    same_length(METRIC, "scores", scores.len(), truth.len() * classes)?;
    if truth.is_empty() {
        return Err(MetricError::Empty { metric: METRIC });
    }
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(MetricError::Value { metric: METRIC, index, got: f64::NAN, want: "a number" });
    }
    let mut right = 0_u64;
    for (index, (&got, row)) in truth.iter().zip(scores.chunks(classes.max(1))).enumerate() {
        let Some(&own) = row.get(got) else { return Err(MetricError::Class { metric: METRIC, index, got, classes }) };
        let before = |&(class, &score): &(usize, &f32)| score > own || (score == own && class < got);
        right += u64::from(row.iter().enumerate().filter(before).count() < k);
    }
    Ok(right as f64 / truth.len() as f64)
}
