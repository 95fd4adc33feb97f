//! Cosine similarity.

use super::{Result, same_length};

/// The cosine of the angle between two vectors of one length; 0 if one of them is 0.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    super::ratio(dot(a, b), dot(a, a).sqrt() * dot(b, b).sqrt())
}

/// The cosines of rows `i` of `a` and `b`, both of rows of `width`.
///
/// # Errors
///
/// If they differ in length, or hold not one row.
pub fn cosine_pairs(a: &[f32], b: &[f32], width: usize) -> Result<Vec<f64>> {
    same_length("cosine", "values", b.len(), a.len())?;
    let width = whole_rows(a, width)?;
    Ok(a.chunks(width).zip(b.chunks(width)).map(|(a, b)| cosine(a, b)).collect())
}

/// The cosines of every row of `a` with every row of `b`, row by row of `a`.
///
/// # Errors
///
/// If one of them does not consist of rows of `width`.
pub fn cosine_matrix(a: &[f32], b: &[f32], width: usize) -> Result<Vec<f64>> {
    whole_rows(a, width)?;
    let width = whole_rows(b, width)?;
    Ok(a.chunks(width).flat_map(|a| b.chunks(width).map(|b| cosine(a, b))).collect())
}

/// The width of the rows, if `values` are whole rows.
fn whole_rows(values: &[f32], width: usize) -> Result<usize> {
    let width = width.max(1);
    same_length("cosine", "values", values.len(), values.len().div_ceil(width) * width)?;
    Ok(width)
}
