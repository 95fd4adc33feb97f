//! A confusion matrix as a picture.

use std::path::Path;

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{curve::CurveError, files::FileError};

/// How often examples of each class were taken for each class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfusionPicture {
    /// Shown above the picture.
    pub title: String,
    /// The classes.
    pub names: Vec<String>,
    /// `counts[true class][predicted class]`.
    pub counts: Vec<Vec<u64>>,
}

const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x2B, 0x38);
const FAINT_INK: RGBColor = RGBColor(0x6B, 0x75, 0x83);
const FULL: RGBColor = RGBColor(0x1D, 0x62, 0xB5);
/// Above the cells: the title, and names of predicted classes.
const HEAD: i32 = 96;
/// Letters of a name that are shown.
const LETTERS: usize = 16;

impl ConfusionPicture {
    /// Draws it into `path`, which is replaced as a whole.
    ///
    /// # Errors
    /// The drawing library or the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), CurveError> {
        let beside = path.with_extension("svg.tmp");
        std::fs::write(&beside, self.svg()?).map_err(FileError::at(path, "write the picture"))?;
        std::fs::rename(&beside, path).map_err(FileError::at(path, "replace the picture"))?;
        Ok(())
    }

    /// The picture as SVG text. The shade of a cell is its share of the true class.
    ///
    /// # Errors
    /// The drawing library refuses.
    pub fn svg(&self) -> Result<String, CurveError> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|e| CurveError::Draw(e.to_string()))?;
        Ok(text)
    }

    /// The length of a cell's side.
    fn cell(&self) -> i32 {
        (640 / self.names.len().max(1) as i32).clamp(28, 96)
    }

    fn draw(&self, text: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let (n, cell) = (self.names.len() as i32, self.cell());
        let shown: Vec<String> = self.names.iter().map(|name| short(name)).collect();
        let left = 40 + 9 * shown.iter().map(|name| name.chars().count() as i32).max().unwrap_or(0);
        let size = ((left + n * cell + 24).max(420) as u32, (HEAD + n * cell + 24) as u32);
        let root = SVGBackend::with_string(text, size).into_drawing_area();
        root.fill(&WHITE)?;
        let at = |h, v| Pos::new(h, v);
        let heading = (FONT, 20).into_font().style(FontStyle::Bold).color(&INK).pos(at(HPos::Left, VPos::Center));
        root.draw_text(&self.title, &heading, (20, 24))?;
        let faint = (FONT, 14).into_font().color(&FAINT_INK);
        let axes = "rows: true classes, columns: predicted ones, shades: shares of a row";
        root.draw_text(axes, &faint.pos(at(HPos::Left, VPos::Center)), (20, 48))?;
        for (i, name) in shown.iter().enumerate() {
            let middle = HEAD + i as i32 * cell + cell / 2;
            let label = (FONT, 15).into_font().color(&INK);
            root.draw_text(name, &label.pos(at(HPos::Right, VPos::Center)), (left - 10, middle))?;
            // Names of columns that would run into each other are those of the rows.
            let above: String = name.chars().take((cell / 9) as usize).collect();
            root.draw_text(&above, &label.pos(at(HPos::Center, VPos::Bottom)), (left + middle - HEAD, HEAD - 6))?;
        }
        for (row, counts) in self.counts.iter().enumerate() {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            for (column, &count) in counts.iter().enumerate() {
                let share = count as f64 / total;
                let (x, y) = (left + column as i32 * cell, HEAD + row as i32 * cell);
                let corners = [(x + 1, y + 1), (x + cell - 1, y + cell - 1)];
                root.draw(&Rectangle::new(corners, FULL.mix(0.06 + 0.94 * share).filled()))?;
                let ink = if share > 0.5 { WHITE } else { INK };
                let number = (FONT, if cell > 44 { 16 } else { 11 }).into_font().color(&ink);
                let middle = (x + cell / 2, y + cell / 2);
                root.draw_text(&count.to_string(), &number.pos(at(HPos::Center, VPos::Center)), middle)?;
            }
        }
        root.present()
    }
}

/// The name, or its beginning.
fn short(name: &str) -> String {
    match name.chars().count() > LETTERS {
        true => name.chars().take(LETTERS - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_shown() {
        let names = vec!["good".to_owned(), "b<d & so on, without any end".to_owned()];
        let picture = ConfusionPicture { title: "eval.tsv".into(), names, counts: vec![vec![31, 7], vec![0, 642]] };
        let svg = picture.svg().unwrap();
        for text in ["31", "7", "0", "642", "good", "b&lt;d &amp; so on, wi…", "eval.tsv"] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text} in {svg}");
        }
        assert_eq!(svg, picture.svg().unwrap());
        // Nothing, and too much for small cells.
        ConfusionPicture::default().svg().unwrap();
        let many =
            ConfusionPicture { title: String::new(), names: vec!["x".into(); 99], counts: vec![vec![1; 99]; 99] };
        assert_eq!(many.svg().unwrap().matches("<rect").count(), 99 * 99 + 1);
    }
}
