//! `loss.svg`: the log as a picture.

use std::path::Path;

use plotters::{
    coord::types::RangedCoordf64,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    files::FileError,
    log::{self, Line, LogError, field},
    units,
};

/// Losses over steps. NaN and infinite losses leave gaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// Shown above the picture: the run's name.
    pub title: String,
    /// What the vertical axis counts, such as "loss (nats per token)".
    pub axis: String,
    /// Training loss by step, ascending.
    pub training: Vec<(u64, f64)>,
    /// Validation loss by step, ascending.
    pub validation: Vec<(u64, f64)>,
    /// Validation losses on more of the split than those, as at the end of a run: not points of the same curve.
    pub whole: Vec<(u64, f64)>,
}

/// A picture that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CurveError {
    /// The drawing library refused.
    #[error("cannot draw the loss curve: {0}")]
    Draw(String),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The system refused something.
    #[error(transparent)]
    File(#[from] FileError),
}

const SIZE: (u32, u32) = (900, 500);
const FONT: &str = "Helvetica, Arial, sans-serif";
const INK: RGBColor = RGBColor(0x22, 0x2B, 0x38);
const FAINT_INK: RGBColor = RGBColor(0x6B, 0x75, 0x83);
const GRID: RGBColor = RGBColor(0xE6, 0xE9, 0xEE);
const RAW: RGBColor = RGBColor(0xB4, 0xCD, 0xEA);
const TRAINING: RGBColor = RGBColor(0x1D, 0x62, 0xB5);
const VALIDATION: RGBColor = RGBColor(0xD9, 0x5F, 0x02);
const WHOLE: RGBColor = RGBColor(0x9C, 0x1F, 0x4B);

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

type DrawError = DrawingAreaErrorKind<std::io::Error>;

/// A piece of a line without gaps, in the chart's numbers.
type Piece = Vec<(f64, f64)>;

impl Curve {
    /// The losses of a log, under the names of [`field`].
    pub fn from_log(title: impl Into<String>, axis: impl Into<String>, lines: &[Line]) -> Self {
        let tokens = |line: &Line| line.fields.get(field::VALIDATION_TOKENS).and_then(|n| n.as_u64());
        let evaluated: Vec<&Line> = lines.iter().filter(|l| l.fields.contains_key(field::VALIDATION_LOSS)).collect();
        // Evaluations during a run take the beginning of the split, the last one all of it.
        let (part, whole): (Vec<&Line>, Vec<&Line>) = match evaluated.split_last() {
            Some((last, rest)) if rest.last().is_some_and(|line| tokens(line) < tokens(last)) => {
                (rest.to_vec(), vec![*last])
            }
            _ => (evaluated, Vec::new()),
        };
        let loss =
            |lines: Vec<&Line>| log::series(&lines.into_iter().cloned().collect::<Vec<_>>(), field::VALIDATION_LOSS);
        Self {
            title: title.into(),
            axis: axis.into(),
            training: log::series(lines, field::LOSS),
            validation: loss(part),
            whole: loss(whole),
        }
    }

    /// Draws the curve into `path`, which is replaced as a whole.
    pub fn write(&self, path: &Path) -> Result<(), CurveError> {
        let beside = path.with_extension("svg.tmp");
        std::fs::write(&beside, self.svg()?).map_err(FileError::at(&beside, "write the loss curve"))?;
        std::fs::rename(&beside, path).map_err(FileError::at(path, "replace the loss curve"))?;
        Ok(())
    }

    /// The picture as SVG text, 900×500. The same losses give the same text.
    pub fn svg(&self) -> Result<String, CurveError> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|e| CurveError::Draw(e.to_string()))?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> Result<(), DrawError> {
        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let left = Pos::new(HPos::Left, VPos::Center);
        let heading = (FONT, 23).into_font().style(FontStyle::Bold).color(&INK).pos(left);
        root.draw_text(&self.title, &heading, (24, 26))?;
        root.draw_text(&self.summary(), &(FONT, 16.5).into_font().color(&FAINT_INK).pos(left), (24, 50))?;

        let smooth = smoothed(&self.training);
        let Some(frame) = Frame::around([&self.training, &self.validation, &self.whole]) else {
            let middle = (FONT, 19).into_font().color(&FAINT_INK).pos(Pos::new(HPos::Center, VPos::Center));
            root.draw_text("no losses yet", &middle, (SIZE.0 as i32 / 2, SIZE.1 as i32 / 2))?;
            root.present()?;
            return Ok(());
        };
        let area = root.margin(68, 12, 16, 28);
        let mut chart = ChartBuilder::on(&area)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(frame.x.0..frame.x.1, frame.y.0..frame.y.1)?;
        frame.draw_mesh(&mut chart, &self.axis)?;
        frame.draw_lines(&mut chart, &thinned(&self.training), RAW.stroke_width(1), "training, each step")?;
        frame.draw_lines(&mut chart, &strided(&smooth), TRAINING.stroke_width(2), "training, smoothed")?;
        frame.draw_lines(&mut chart, &self.validation, VALIDATION.stroke_width(2), "validation")?;
        let dots = frame.visible(&self.validation);
        let few = self.validation.len() <= 60;
        chart.draw_series(dots.filter(|_| few).map(|at| Circle::new(at, 3, VALIDATION.filled())))?;
        if frame.visible(&self.whole).next().is_some() {
            let mark = |at| TriangleMarker::new(at, 7, WHOLE.filled());
            chart
                .draw_series(frame.visible(&self.whole).map(mark))?
                .label("validation, all of it")
                .legend(|(x, y)| TriangleMarker::new((x + 12, y), 6, WHOLE.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .margin(12)
            .legend_area_size(28)
            .background_style(WHITE.mix(0.9))
            .border_style(GRID)
            .label_font((FONT, 16.5).into_font().color(&INK))
            .draw()?;
        root.present()?;
        Ok(())
    }

    /// The last losses in words.
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some((step, _)) = self.training.last() {
            let smooth = smoothed(&self.training).last().map_or(f64::NAN, |(_, loss)| *loss);
            parts.push(format!("step {}", units::count(*step)));
            parts.push(format!("training {}", shown(smooth)));
        }
        if let Some((_, last)) = self.validation.last() {
            parts.push(format!("validation {}", shown(*last)));
        }
        let best = self.validation.iter().filter(|point| drawable(point)).min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((step, best)) = best
            && self.validation.len() > 1
        {
            parts.push(format!("best {} at step {}", shown(*best), units::count(*step)));
        }
        if let Some((_, last)) = self.whole.last() {
            parts.push(format!("all of it {}", shown(*last)));
        }
        parts.join("   ·   ")
    }
}

/// What part of the plane is shown.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    /// Around nearly all points, but not so wide that single spikes press the curve flat; `None` when there are none.
    fn around(lines: [&[(u64, f64)]; 3]) -> Option<Self> {
        let points: Vec<(u64, f64)> = lines.concat().into_iter().filter(drawable).collect();
        let steps = || points.iter().map(|(step, _)| *step as f64);
        let (first, last) = (steps().reduce(f64::min)?, steps().reduce(f64::max)?);
        let first = if first <= 0.1 * last { 0.0 } else { first };
        let (lows, highs): (Vec<f64>, Vec<f64>) = lines.into_iter().filter_map(bulk).unzip();
        let (low, high) = (lows.into_iter().reduce(f64::min)?, highs.into_iter().reduce(f64::max)?);
        Some(Self { x: widened(first, last, 0.0, 0.02), y: widened(low, high, 0.05, 0.05) })
    }

    fn draw_mesh(&self, chart: &mut Chart<'_, '_>, axis: &str) -> Result<(), DrawError> {
        let span = self.y.1 - self.y.0;
        // One digit more than the distance of two grid lines needs.
        let decimals = if span > 0.0 && span < 5.0 { ((1.0 - span.log10()).ceil() as usize).clamp(1, 8) } else { 1 };
        let step_label = |x: &f64| {
            if *x < 0.0 || x.fract().abs() > 1e-6 { String::new() } else { units::count(x.round() as u64) }
        };
        let large = self.y.0.abs().max(self.y.1.abs()) >= 1e6;
        let loss_label = |y: &f64| if large { format!("{y:.2e}") } else { format!("{y:.decimals$}") };
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(FAINT_INK)
            .x_labels(9)
            .y_labels(8)
            .x_desc("training step")
            .y_desc(axis)
            .label_style((FONT, 15.5).into_font().color(&INK))
            .axis_desc_style((FONT, 16.5).into_font().color(&INK))
            .x_label_formatter(&step_label)
            .y_label_formatter(&loss_label)
            .draw()?;
        Ok(())
    }

    /// One line with gaps, and its entry in the legend if there is anything to see.
    fn draw_lines(
        &self,
        chart: &mut Chart<'_, '_>,
        points: &[(u64, f64)],
        style: ShapeStyle,
        label: &str,
    ) -> Result<(), DrawError> {
        for (i, piece) in self.pieces(points).into_iter().enumerate() {
            let single = (piece.len() == 1).then(|| piece[0]);
            let series = chart.draw_series(LineSeries::new(piece, style))?;
            if i == 0 {
                series
                    .label(label)
                    .legend(move |(x, y)| PathElement::new([(x + 2, y), (x + 22, y)], style.stroke_width(2)));
            }
            if let Some(at) = single {
                chart.draw_series([Circle::new(at, 3, style.filled())])?;
            }
        }
        Ok(())
    }

    /// The stretches between gaps, held inside the frame.
    fn pieces(&self, points: &[(u64, f64)]) -> Vec<Piece> {
        let gapless = points.split(|point| !drawable(point));
        gapless.map(|piece| self.visible(piece).collect::<Piece>()).filter(|piece| !piece.is_empty()).collect()
    }

    fn visible(&self, points: &[(u64, f64)]) -> impl Iterator<Item = (f64, f64)> {
        points.iter().filter(|point| drawable(point)).map(|(step, loss)| (*step as f64, loss.clamp(self.y.0, self.y.1)))
    }
}

fn shown(loss: f64) -> String {
    match loss {
        _ if !loss.is_finite() => "not a number".to_owned(),
        _ if loss.abs() < 1e6 => format!("{loss:.3}"),
        _ => format!("{loss:.2e}"),
    }
}

/// What can be drawn: neither NaN nor so large that the axes would have no room for the numbers.
fn drawable((step, loss): &(u64, f64)) -> bool {
    loss.is_finite() && loss.abs() < 1e12 && *step < 1 << 50
}

/// Least and greatest loss without the outermost half percent on both sides.
fn bulk(points: &[(u64, f64)]) -> Option<(f64, f64)> {
    let mut losses: Vec<f64> = points.iter().filter(|point| drawable(point)).map(|(_, loss)| *loss).collect();
    losses.sort_by(f64::total_cmp);
    let outer = losses.len() / 200;
    Some((*losses.get(outer)?, *losses.get(losses.len() - 1 - outer)?))
}

/// A range with a part of it as room below and above; never empty.
fn widened(low: f64, high: f64, below: f64, above: f64) -> (f64, f64) {
    let span = high - low;
    // Relative to the numbers, which may be so large that adding one changes nothing.
    let least = 1e-6 * low.abs().max(high.abs());
    if high - low > least.max(1e-9) {
        (low - below * span, high + above * span)
    } else {
        (low - 0.5 - least, high + 0.5 + least)
    }
}

/// The mean over a window around each point: a fiftieth of the curve, less near its start, where it falls steeply.
fn smoothed(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    // Sums of all that comes before a point make every window one subtraction.
    let mut sums = vec![(0.0, 0_u32)];
    for point in points {
        let (sum, count) = sums[sums.len() - 1];
        sums.push(if drawable(point) { (sum + point.1, count + 1) } else { (sum, count) });
    }
    let mean = |i: usize| {
        let half = (points.len() / 100).min(i);
        let (from, to) = (sums[i - half], sums[(i + half + 1).min(points.len())]);
        (to.0 - from.0) / f64::from(to.1 - from.1)
    };
    let gap = f64::NAN;
    points.iter().enumerate().map(|(i, point)| (point.0, if drawable(point) { mean(i) } else { gap })).collect()
}

/// The most points that a line is drawn with.
const POINTS: usize = 1200;

/// Least and greatest loss of each stretch, so that a long curve keeps its spikes but not its size.
fn thinned(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS / 2);
    let mut thin = Vec::with_capacity(POINTS);
    for chunk in points.chunks(stretch) {
        if let Some(gap) = chunk.iter().find(|point| !drawable(point)) {
            thin.push(*gap);
        }
        let (low, high) = chunk.iter().filter(|point| drawable(point)).fold((None, None), |(low, high), &point| {
            let lower = |best: (u64, f64)| if point.1 < best.1 { point } else { best };
            let higher = |best: (u64, f64)| if point.1 > best.1 { point } else { best };
            (Some(low.map_or(point, lower)), Some(high.map_or(point, higher)))
        });
        thin.extend(low);
        thin.extend(high.filter(|_| low != high));
        let from = thin.len().saturating_sub(2);
        thin[from..].sort_by_key(|(step, _)| *step);
    }
    thin
}

/// Every few points and the last one, for a line that is smooth already.
fn strided(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let stride = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(|(i, _)| i % stride == 0 || *i == last).map(|(_, point)| *point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loss that falls from about 10 to about 3, with noise that is the same each time.
    fn losses(steps: u64) -> Vec<(u64, f64)> {
        let noise = |step: u64| ((step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / 2f64.powi(24) - 0.5) * 0.5;
        let unit = steps as f64 / 12.0;
        (1..=steps).map(|step| (step, 3.0 + 7.0 / (1.0 + step as f64 / unit) + noise(step))).collect()
    }

    fn curve(training: Vec<(u64, f64)>, validation: Vec<(u64, f64)>) -> Curve {
        Curve { title: "runs/gpt".into(), axis: "loss (nats per token)".into(), training, validation, whole: vec![] }
    }

    #[track_caller]
    fn check(curve: &Curve, wanted: &[&str]) {
        let svg = curve.svg().unwrap();
        assert!(svg.starts_with("<svg width=\"900\" height=\"500\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"));
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{svg}");
        assert!(svg.len() < 200_000, "{} bytes", svg.len());
        for wanted in wanted {
            assert!(svg.contains(wanted), "lacks {wanted}\n{svg}");
        }
        assert_eq!(svg, curve.svg().unwrap());
    }

    #[test]
    fn usual_curves() {
        let validation: Vec<(u64, f64)> = (1..=10).map(|i| (i * 100, 3.2 + 7.0 / (1.0 + i as f64))).collect();
        let all =
            ["training, each step", "training, smoothed", "validation", "training step", "nats per token", "runs/gpt"];
        let usual = curve(losses(1000), validation);
        show("usual", &usual);
        check(&usual, &all);
        let long = curve(losses(200_000), Vec::new());
        show("long", &long);
        check(&long, &["200,000"]);
        check(&curve(Vec::new(), vec![(5, 2.0), (10, 1.0)]), &["best 1.000 at step 10"]);
    }

    /// `BEDSTONE_TEST_OUT=DIR cargo test` leaves the pictures there to look at.
    fn show(name: &str, curve: &Curve) {
        if let Some(dir) = std::env::var_os("BEDSTONE_TEST_OUT") {
            curve.write(&Path::new(&dir).join(name).with_extension("svg")).unwrap();
        }
    }

    #[test]
    fn hardly_any_points() {
        check(&curve(Vec::new(), Vec::new()), &["no losses yet"]);
        check(&curve(vec![(1, f64::NAN)], vec![(1, f64::INFINITY)]), &["no losses yet"]);
        let single = curve(vec![(1, 3.0)], Vec::new());
        show("single", &single);
        check(&single, &["<circle"]);
        show("two", &curve(vec![(1, 3.0), (2, 2.9)], vec![(2, 3.1)]));
        check(&curve(vec![(0, 0.0)], vec![(0, 0.0)]), &["<circle"]);
        check(&curve(vec![(1, 3.0), (2, 3.0)], Vec::new()), &["training, smoothed"]);
        check(&curve(vec![(u64::MAX, 1e300)], vec![(0, -1e300)]), &[]);
        check(&curve(vec![(1, f64::MAX), (2, f64::MIN)], Vec::new()), &[]);
    }

    #[test]
    fn gaps_and_spikes() {
        let mut training = losses(2000);
        training[500].1 = f64::NAN;
        training[501].1 = f64::NEG_INFINITY;
        training[900].1 = 1e9;
        let frame = Frame::around([&training, &[], &[]]).unwrap();
        assert!(frame.y.1 < 20.0, "{}", frame.y.1);
        assert_eq!(frame.pieces(&training).len(), 2);
        show("gaps", &curve(training.clone(), vec![(1000, 4.0), (1500, f64::NAN), (2000, 3.5)]));
        check(&curve(training, Vec::new()), &[]);
    }

    #[test]
    fn titles_are_text() {
        let mut curve = curve(losses(3), Vec::new());
        curve.title = "<a> & \"b\" 数".into();
        check(&curve, &["&lt;a&gt; &amp; "]);
    }

    #[test]
    fn thinning_keeps_extremes_and_order() {
        let mut points = losses(10_000);
        points[5000].1 = 50.0;
        points[7000].1 = f64::NAN;
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS + 1);
        assert!(thin.contains(&points[5000]) && thin.iter().any(|(_, loss)| loss.is_nan()));
        assert_eq!(strided(&points).last(), points.last());
        assert!(strided(&points).len() <= POINTS + 1);
    }

    #[test]
    fn smoothing_is_a_mean() {
        let flat: Vec<(u64, f64)> = (0..1000).map(|step| (step, if step % 2 == 0 { 1.0 } else { 3.0 })).collect();
        let smooth = smoothed(&flat);
        assert!((smooth[500].1 - 2.0).abs() < 0.1 && (smooth[999].1 - 2.0).abs() < 0.2);
        assert_eq!(smooth[0].1, 1.0);
    }

    #[test]
    fn files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loss.svg");
        let lines = [Line { step: 1, fields: serde_json::from_str("{\"step\":1,\"loss\":2.5}").unwrap() }];
        let curve = Curve::from_log("x", "loss", &lines);
        assert_eq!(curve.training, [(1, 2.5)]);
        curve.write(&path).unwrap();
        curve.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), curve.svg().unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(curve.write(&dir.path().join("no/loss.svg")).is_err());
    }
}
