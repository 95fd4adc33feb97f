//! Predicted numbers.

use super::{MetricError, Result, ratio, same_length};

/// Pearson's correlation of two series; `NaN` if one is constant or they are shorter than two.
///
/// # Errors
///
/// If the series are of different lengths, empty, or hold what is no finite number.
pub fn pearson(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check("Pearson correlation", truth, predicted)?;
    Ok(correlation(truth, predicted))
}

/// Spearman's correlation: Pearson's of the ranks; equal values share the mean of their ranks.
///
/// # Errors
///
/// As [`pearson`].
pub fn spearman(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check("Spearman correlation", truth, predicted)?;
    Ok(correlation(&ranks(truth), &ranks(predicted)))
}

/// The mean of the squared differences.
///
/// # Errors
///
/// As [`pearson`].
pub fn mean_squared_error(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check("mean squared error", truth, predicted)?;
    Ok(truth.iter().zip(predicted).map(|(y, p)| (y - p) * (y - p)).sum::<f64>() / truth.len() as f64)
}

/// The mean of the absolute differences.
///
/// # Errors
///
/// As [`pearson`].
pub fn mean_absolute_error(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check("mean absolute error", truth, predicted)?;
    Ok(truth.iter().zip(predicted).map(|(y, p)| (y - p).abs()).sum::<f64>() / truth.len() as f64)
}

/// The share of the variance that is predicted: `1 - Σ(y - p)² / Σ(y - mean y)²`.
///
/// Of a constant truth it is 1 if all predictions are right, else 0; of a single example `NaN`. As scikit-learn.
///
/// # Errors
///
/// As [`pearson`].
pub fn r2(truth: &[f64], predicted: &[f64]) -> Result<f64> {
    check("R2", truth, predicted)?;
    if truth.len() < 2 {
        return Ok(f64::NAN);
    }
    let mean = truth.iter().sum::<f64>() / truth.len() as f64;
    let left: f64 = truth.iter().zip(predicted).map(|(y, p)| (y - p) * (y - p)).sum();
    let all: f64 = truth.iter().map(|y| (y - mean) * (y - mean)).sum();
    Ok(match (left == 0.0, all == 0.0) {
        (true, _) => 1.0,
        (false, true) => 0.0,
        (false, false) => 1.0 - left / all,
    })
}

fn check(metric: &'static str, truth: &[f64], predicted: &[f64]) -> Result<()> {
    same_length(metric, "predictions", predicted.len(), truth.len())?;
    for series in [truth, predicted] {
        if let Some(index) = series.iter().position(|value| !value.is_finite()) {
            return Err(MetricError::Value { metric, index, got: series[index], want: "a finite number" });
        }
    }
    Ok(())
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let constant = |series: &[f64]| series.iter().all(|&value| value == series[0]);
    if x.len() < 2 || constant(x) || constant(y) {
        return f64::NAN;
    }
    // Scaled before multiplied: the squares of large values must not overflow.
    let centred = |series: &[f64]| -> Vec<f64> {
        let mean = series.iter().sum::<f64>() / series.len() as f64;
        let centred: Vec<f64> = series.iter().map(|value| value - mean).collect();
        let largest = centred.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let norm = centred.iter().map(|value| (value / largest).powi(2)).sum::<f64>().sqrt();
        centred.iter().map(|value| ratio(value / largest, norm)).collect()
    };
    let product: f64 = centred(x).iter().zip(centred(y)).map(|(x, y)| x * y).sum();
    product.clamp(-1.0, 1.0)
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|&a, &b| series[a].total_cmp(&series[b]));
    let mut ranks = vec![0.0; series.len()];
    let mut start = 0;
    // `-0.0` and `0.0` are neighbours in the order, and equal.
    for group in order.chunk_by(|&a, &b| series[a] == series[b]) {
        let rank = start as f64 + (group.len() + 1) as f64 / 2.0;
        group.iter().for_each(|&index| ranks[index] = rank);
        start += group.len();
    }
    ranks
}
