//! Boxes with labels on a picture.

use bedstone_data::pictures::Picture;
use font8x8::UnicodeFonts;

/// A box to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledBox {
    /// Left, top, right, bottom in pixels.
    pub bounds: [f32; 4],
    /// What stands at its upper left corner; nothing if empty. Letters beyond Latin and Greek become frames.
    pub label: String,
    /// Number of the class: boxes of a class have one colour.
    pub class: usize,
}

/// Pixels of a letter's side, before it is enlarged.
const LETTER: usize = 8;

/// The shorter side that a drawn picture should have, since labels would hide what is on a smaller one; and the most that the longer side
/// is enlarged to.
const SIDES: [usize; 2] = [384, 4096];

/// The picture with boxes and their labels on it, as [`draw_boxes`] puts them; enlarged by a whole number where it is small.
pub fn with_boxes(picture: &Picture, boxes: &[LabelledBox]) -> Picture {
    let [short, long] = [picture.width().min(picture.height()), picture.width().max(picture.height())];
    let times = SIDES[0].div_ceil(short.max(1)).min(SIDES[1] / long.max(1)).max(1);
    let mut drawn = picture.enlarged(times);
    let larger = |one: &LabelledBox| LabelledBox { bounds: one.bounds.map(|edge| edge * times as f32), ..one.clone() };
    draw_boxes(&mut drawn, &boxes.iter().map(larger).collect::<Vec<_>>());
    drawn
}

/// Draws boxes in their order, later ones over earlier ones, and all labels over them, each where it covers no later one if there is
/// such a place. Lines and letters grow with the picture; what lies outside is left out.
pub fn draw_boxes(picture: &mut Picture, boxes: &[LabelledBox]) {
    let scale = (picture.width().min(picture.height()) / 240).max(1);
    for one in boxes {
        let colour = colour(one.class);
        let [left, top, right, bottom] = one.bounds.map(|edge| edge.round().clamp(-1e9, 1e9) as isize);
        let line = scale as isize;
        fill(picture, [left, top, right, top + line], colour);
        fill(picture, [left, bottom - line, right, bottom], colour);
        fill(picture, [left, top, left + line, bottom], colour);
        fill(picture, [right - line, top, right, bottom], colour);
    }
    // The last ones have the first choice, and are drawn over the others where there was none.
    let labelled: Vec<&LabelledBox> = boxes.iter().rev().filter(|one| !one.label.is_empty()).collect();
    let mut taken: Vec<[isize; 4]> = Vec::new();
    for one in &labelled {
        taken.push(place(picture, one, scale, &taken));
    }
    for (one, place) in labelled.into_iter().zip(taken).rev() {
        draw_label(picture, place, &one.label, colour(one.class), scale);
    }
}

/// Left, top, right and bottom of a label: above its box, else within it at the top, at the bottom, or below it.
fn place(picture: &Picture, one: &LabelledBox, scale: usize, taken: &[[isize; 4]]) -> [isize; 4] {
    let (letter, gap) = ((LETTER * scale) as isize, scale as isize);
    let [left, top, _, bottom] = one.bounds.map(|edge| edge.round().clamp(-1e9, 1e9) as isize);
    let width = one.label.chars().count() as isize * letter + 2 * gap;
    let height = letter + 2 * gap;
    let x = left.min(picture.width() as isize - width).max(0);
    let lowest = picture.height() as isize - height;
    let places = [top - height, top, bottom - height, bottom];
    let at = |y: isize| [x, y, x + width, y + height];
    let free = |y: &isize| {
        let [l, t, r, b] = at(*y);
        (0..=lowest).contains(y) && !taken.iter().any(|o| l < o[2] && o[0] < r && t < o[3] && o[1] < b)
    };
    let usual = if top >= height { top - height } else { top.max(0) };
    at(places.into_iter().find(free).unwrap_or(usual))
}

fn draw_label(picture: &mut Picture, [x, y, right, bottom]: [isize; 4], label: &str, colour: [u8; 3], scale: usize) {
    let (letter, gap) = ((LETTER * scale) as isize, scale as isize);
    fill(picture, [x, y, right, bottom], colour);
    let brightness = 299 * u32::from(colour[0]) + 587 * u32::from(colour[1]) + 114 * u32::from(colour[2]);
    let ink = if brightness > 140_000 { [0; 3] } else { [255; 3] };
    for (number, character) in label.chars().enumerate() {
        let begin = x + gap + number as isize * letter;
        for (row, bits) in glyph(character).into_iter().enumerate() {
            for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                let (px, py) = (begin + (column * scale) as isize, y + gap + (row * scale) as isize);
                fill(picture, [px, py, px + scale as isize, py + scale as isize], ink);
            }
        }
    }
}

/// Eight rows of eight pixels, the lowest bit left.
fn glyph(character: char) -> [u8; LETTER] {
    const FRAME: [u8; LETTER] = [0x7e, 0x42, 0x42, 0x42, 0x42, 0x42, 0x7e, 0x00];
    let fonts = [font8x8::BASIC_FONTS.get(character), font8x8::LATIN_FONTS.get(character)];
    fonts.into_iter().flatten().next().or_else(|| font8x8::GREEK_FONTS.get(character)).unwrap_or(FRAME)
}

/// Fills left, top, right, bottom, as far as that lies in the picture.
fn fill(picture: &mut Picture, [left, top, right, bottom]: [isize; 4], colour: [u8; 3]) {
    let (width, height) = (picture.width(), picture.height());
    let clamp = |edge: isize, limit: usize| edge.clamp(0, limit as isize) as usize;
    let (left, right) = (clamp(left, width), clamp(right, width));
    for y in clamp(top, height)..clamp(bottom, height) {
        if left < right {
            let row = &mut picture.data_mut()[(y * width + left) * 3..(y * width + right) * 3];
            row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&colour));
        }
    }
}

/// A colour for each class: hues in steps of the golden ratio, so that neighbours differ.
fn colour(class: usize) -> [u8; 3] {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let hue = (class as f64 * GOLDEN).fract() * 6.0;
    // Saturated and bright: one channel full, one low, one between.
    let channel = |offset: f64| {
        let k = (offset + hue) % 6.0;
        255.0 - 205.0 * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)].map(|value| value.round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bounds: [f32; 4], label: &str) -> LabelledBox {
        LabelledBox { bounds, label: label.into(), class: 0 }
    }

    #[test]
    fn lines_lie_within_the_box() {
        let mut picture = Picture::filled(20, 20, [0; 3]);
        draw_boxes(&mut picture, &[one([2.0, 3.0, 9.0, 8.0], "")]);
        let drawn = |x: usize, y: usize| picture.pixel(x, y) == colour(0);
        for y in 0..20 {
            for x in 0..20 {
                let inside = (2..9).contains(&x) && (3..8).contains(&y);
                let edge = x == 2 || x == 8 || y == 3 || y == 7;
                assert_eq!(drawn(x, y), inside && edge, "{x} {y}");
            }
        }
    }

    #[test]
    fn small_pictures_are_enlarged() {
        let picture = Picture::filled(128, 200, [7; 3]);
        let large = with_boxes(&picture, &[one([10.0, 20.0, 50.0, 60.0], "")]);
        assert_eq!((large.width(), large.height()), (384, 600));
        assert_eq!([(30, 60), (149, 179), (31, 61)].map(|(x, y)| large.pixel(x, y) == colour(0)), [true, true, false]);
        assert_eq!(large.pixel(29, 60), [7; 3]);
        for (width, height, want) in [(500, 400, 500), (1, 5000, 1), (2, 1000, 8)] {
            assert_eq!(with_boxes(&Picture::filled(width, height, [7; 3]), &[]).width(), want);
        }
    }

    #[test]
    fn labels_stand_above_where_there_is_room() {
        let mut picture = Picture::filled(60, 60, [7; 3]);
        draw_boxes(&mut picture, &[one([10.0, 30.0, 50.0, 50.0], "a")]);
        let ink =
            (20..30).flat_map(|y| (10..20).map(move |x| (x, y))).filter(|&(x, y)| picture.pixel(x, y) == [255; 3]);
        let bits: u32 = glyph('a').iter().map(|row| row.count_ones()).sum();
        assert_eq!(ink.count() as u32, bits);
        assert_eq!(picture.pixel(10, 19), [7; 3]);
    }

    #[test]
    fn labels_make_room_for_each_other() {
        let picture = Picture::filled(100, 100, [0; 3]);
        let boxes: Vec<LabelledBox> = (0..4).map(|i| one([10.0 + i as f32, 40.0, 60.0, 70.0], "ab")).collect();
        let mut taken = Vec::new();
        for one in &boxes {
            taken.push(place(&picture, one, 1, &taken));
        }
        let tops: Vec<isize> = taken.iter().map(|t| t[1]).collect();
        assert_eq!(tops, [30, 40, 60, 70]);
        // Where all is taken the usual place is.
        assert_eq!(place(&picture, &boxes[0], 1, &taken)[1], 30);
    }

    #[test]
    fn nothing_is_drawn_outside() {
        for bounds in [[-9.0, -9.0, 99.0, 99.0], [50.0, 50.0, 60.0, 60.0], [f32::NAN, 0.0, f32::INFINITY, -1e30]] {
            let mut picture = Picture::filled(16, 16, [0; 3]);
            draw_boxes(&mut picture, &[one(bounds, "猫 cat 0.97")]);
        }
    }

    #[test]
    fn classes_have_colours_of_their_own() {
        let colours: std::collections::BTreeSet<[u8; 3]> = (0..30).map(colour).collect();
        assert_eq!(colours.len(), 30);
    }
}
