//! Words on a plane: their vectors' two main directions, as an SVG picture.

use nalgebra::DMatrix;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{Result, WordsError};

/// A word's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The word.
    pub word: String,
    /// Across.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Whether it is one of those asked for, and not a neighbour.
    pub main: bool,
}

/// Principal component analysis of unit vectors: the two directions in which they differ most.
///
/// Each direction is turned so that its largest part is positive: the same vectors give the same places.
pub fn pca(words: &[(String, Vec<f32>, bool)]) -> Result<Vec<Point>> {
    let n = words.len();
    if n < 3 {
        return Err(WordsError::Draw(format!("{n} words, wanted three or more")));
    }
    let d = words[0].1.len();
    let mut x = DMatrix::<f64>::zeros(n, d);
    for (i, (_, vector, _)) in words.iter().enumerate() {
        let length = vector.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        for (j, &v) in vector.iter().enumerate() {
            x[(i, j)] = if length > 0.0 { f64::from(v) / length } else { 0.0 };
        }
    }
    for mut column in x.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    // Of the smaller of the two products; the words' has the places themselves.
    let eigen = (&x * x.transpose()).symmetric_eigen();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let axis = |k: usize| -> Vec<f64> {
        let (value, vector) = (eigen.eigenvalues[order[k]].max(0.0).sqrt(), eigen.eigenvectors.column(order[k]));
        let largest = vector.iter().copied().fold(0.0, |m: f64, v| if v.abs() > m.abs() + 1e-12 { v } else { m });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        vector.iter().map(|v| v * value * sign).collect()
    };
    let (xs, ys) = (axis(0), axis(1));
    let point = |(i, (word, _, main)): (usize, &(String, Vec<f32>, bool))| Point {
        word: word.clone(),
        x: xs[i],
        y: ys[i],
        main: *main,
    };
    Ok(words.iter().enumerate().map(point).collect())
}

const SIZE: (u32, u32) = (1000, 800);
const MARGIN: f64 = 60.0;
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x2B, 0x38);
const FAINT_INK: RGBColor = RGBColor(0x6B, 0x75, 0x83);
const MAIN: RGBColor = RGBColor(0xD9, 0x5F, 0x02);
const OTHER: RGBColor = RGBColor(0x1D, 0x62, 0xB5);

/// The picture as SVG text. Names that would lie over others are moved up or down.
pub fn svg(title: &str, points: &[Point]) -> Result<String> {
    let mut text = String::new();
    draw(&mut text, title, points).map_err(|e| WordsError::Draw(e.to_string()))?;
    Ok(text)
}

type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw(text: &mut String, title: &str, points: &[Point]) -> Result<(), DrawError> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let left = Pos::new(HPos::Left, VPos::Center);
    root.draw_text(title, &(FONT, 22).into_font().style(FontStyle::Bold).color(&INK).pos(left), (24, 26))?;
    let range = |of: &dyn Fn(&Point) -> f64| {
        let fold = |f: &dyn Fn(f64, f64) -> f64, start| points.iter().map(of).fold(start, f);
        let (low, high) = (fold(&f64::min, f64::INFINITY), fold(&f64::max, f64::NEG_INFINITY));
        if high > low { (low, high) } else { (low - 1.0, low + 1.0) }
    };
    let (xr, yr) = (range(&|p| p.x), range(&|p| p.y));
    let (w, h) = (f64::from(SIZE.0) - 3.0 * MARGIN, f64::from(SIZE.1) - 2.5 * MARGIN);
    let mut taken: Vec<(i32, i32, i32)> = Vec::new();
    for p in points {
        let x = (MARGIN + (p.x - xr.0) / (xr.1 - xr.0) * w) as i32;
        let y = (1.5 * MARGIN + (yr.1 - p.y) / (yr.1 - yr.0) * h) as i32;
        let color = if p.main { MAIN } else { OTHER };
        root.draw(&Circle::new((x, y), if p.main { 5 } else { 3 }, color.filled()))?;
        let width = 9 * p.word.chars().count() as i32;
        let free = |at: i32, taken: &[(i32, i32, i32)]| {
            taken.iter().all(|&(l, r, t)| (t - at).abs() >= 15 || r < x + 8 || l > x + 8 + width)
        };
        let at = (0..12).map(|k| y + [0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6][k] * 15).find(|&at| free(at, &taken));
        let at = at.unwrap_or(y);
        taken.push((x + 8, x + 8 + width, at));
        let style = (FONT, 15.5).into_font().color(if p.main { &INK } else { &FAINT_INK }).pos(left);
        root.draw_text(&p.word, &style, (x + 8, at))?;
    }
    root.present()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_directions() {
        let word = |w: &str, v: [f32; 3]| (w.to_owned(), v.to_vec(), w == "a");
        let words = [
            word("a", [1.0, 0.0, 0.1]),
            word("b", [0.9, 0.1, 0.0]),
            word("c", [0.0, 1.0, 0.0]),
            word("d", [0.1, 0.9, 0.1]),
        ];
        let points = pca(&words).unwrap();
        let apart =
            |i: usize, j: usize| ((points[i].x - points[j].x).powi(2) + (points[i].y - points[j].y).powi(2)).sqrt();
        assert!(apart(0, 1) < 0.3 && apart(2, 3) < 0.3 && apart(0, 2) > 1.0, "{points:?}");
        assert_eq!(points, pca(&words).unwrap());
        assert!(pca(&words[..2]).is_err());
        let svg = svg("four <words>", &points).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("four &lt;words&gt;") && svg.matches("<circle").count() == 4);
    }

    #[test]
    fn vectors_that_are_all_alike() {
        let words: Vec<(String, Vec<f32>, bool)> = (0..3).map(|i| (format!("w{i}"), vec![0.0; 2], false)).collect();
        assert!(pca(&words).unwrap().iter().all(|p| p.x == 0.0 && p.y == 0.0));
    }
}
