//! Putting sprites on a canvas.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
};

use super::sprites;
use crate::lexicon::Colour;

/// A square of red, green and blue.
pub(super) struct Canvas {
    pub(super) side: usize,
    pub(super) pixels: Vec<u8>,
}

/// Sides of sprites as they are stored.
const SPRITE: usize = 72;

/// Where a sprite goes, in shares of the canvas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Square {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) side: f64,
}

impl Square {
    /// A part of the square: where it begins and how large it is, in shares of it.
    pub(super) fn part(self, left: f64, top: f64, side: f64) -> Self {
        Square { left: self.left + left * self.side, top: self.top + top * self.side, side: side * self.side }
    }
}

/// Left, top, right and bottom of what can be seen, in pixels.
pub(super) type Bounds = [f32; 4];

/// How a sprite is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) colour: Option<&'static Colour>,
    /// Left and right exchanged.
    pub(super) mirrored: bool,
    /// Share of the background that is seen through it.
    pub(super) faint: f64,
}

/// The share that each byte of opacity stands for.
const OPACITY: [f64; 256] = {
    let (mut shares, mut byte) = ([0.0; 256], 0);
    while byte < shares.len() {
        shares[byte] = byte as f64 / 255.0;
        byte += 1;
    }
    shares
};
/// The share of a pixel from which on it counts as seen.
const SEEN: f64 = 0.25;

impl Canvas {
    /// From one colour at the top to another at the bottom, above and below a horizon.
    pub(super) fn new(side: usize, sky: [[u8; 3]; 2], ground: [[u8; 3]; 2], horizon: f64) -> Self {
        let mut pixels = Vec::with_capacity(side * side * 3);
        for y in 0..side {
            let at = (y as f64 + 0.5) / side as f64;
            let ([from, to], share) = match at < horizon {
                true => (sky, at / horizon),
                false => (ground, (at - horizon) / (1.0 - horizon)),
            };
            let row = [0, 1, 2].map(|c| byte(f64::from(from[c]) + (f64::from(to[c]) - f64::from(from[c])) * share));
            pixels.extend(std::iter::repeat_n(row, side).flatten());
        }
        Canvas { side, pixels }
    }

    /// Draws the sprite of an emoji; the bounds of what is seen of it on the canvas, if anything is.
    pub(super) fn draw(&mut self, emoji: &'static str, at: Square, style: Style) -> Option<Bounds> {
        let sprite = sprite(emoji)?;
        let side = self.side as f64;
        let (left, top, wide) = (at.left * side, at.top * side, at.side * side);
        let range =
            |begin: f64| begin.floor().max(0.0) as usize..((begin + wide).ceil().max(0.0) as usize).min(self.side);
        // One sample a pixel of the sprite at least.
        let samples = ((SPRITE as f64 / wide).ceil() as usize).clamp(2, 8);
        // The column or row of the sprite that each sample of a column or row of the canvas falls on, if on any.
        let places = |range: Range<usize>, begin: f64, mirrored: bool| -> Vec<Option<usize>> {
            let sample = |i: usize| {
                let inside = (i % samples) as f64 + 0.5;
                let at = ((i / samples) as f64 + inside / samples as f64 - begin) / wide;
                let at = if mirrored { 1.0 - at } else { at };
                (0.0..1.0).contains(&at).then_some((at * SPRITE as f64) as usize)
            };
            (range.start * samples..range.end * samples).map(sample).collect()
        };
        let (columns, rows) = (places(range(left), left, style.mirrored), places(range(top), top, false));
        let mut seen: Option<[usize; 4]> = None;
        for (y, rows) in range(top).zip(rows.chunks_exact(samples)) {
            for (x, columns) in range(left).zip(columns.chunks_exact(samples)) {
                let (mut colour, mut cover) = ([0.0; 3], 0.0);
                for row in rows.iter().flatten() {
                    for column in columns.iter().flatten() {
                        let [r, g, b, a] = sprite[row * SPRITE + column];
                        // What cannot be seen adds nothing.
                        if a > 0 {
                            let a = OPACITY[usize::from(a)];
                            [r, g, b].into_iter().zip(&mut colour).for_each(|(x, sum)| *sum += f64::from(x) * a);
                            cover += a;
                        }
                    }
                }
                if cover == 0.0 {
                    continue;
                }
                let mut own = colour.map(|sum| sum / cover);
                if let Some(colour) = style.colour {
                    own = tinted(own, colour);
                }
                let share = cover / (samples * samples) as f64;
                if share >= SEEN {
                    let [l, t, r, b] = seen.get_or_insert([x, y, x + 1, y + 1]);
                    (*l, *t, *r, *b) = ((*l).min(x), (*t).min(y), (*r).max(x + 1), (*b).max(y + 1));
                }
                let share = share * (1.0 - style.faint);
                let pixel = &mut self.pixels[3 * (y * self.side + x)..][..3];
                for (pixel, own) in pixel.iter_mut().zip(own) {
                    *pixel = byte(f64::from(*pixel) * (1.0 - share) + own * share);
                }
            }
        }
        seen.map(|bounds| bounds.map(|x| x as f32))
    }
}

fn byte(x: f64) -> u8 {
    (x + 0.5).clamp(0.0, 255.0) as u8
}

/// Light and shade of a colour of the sprite, in the colour of the object.
fn tinted(own: [f64; 3], colour: &Colour) -> [f64; 3] {
    let light = (0.299 * own[0] + 0.587 * own[1] + 0.114 * own[2]) / 255.0;
    let wanted = rgb(colour);
    // White is light even in the shade, black dark even in the light; some of the sprite's own colour stays.
    let shade = 0.35 + 0.75 * light;
    [0, 1, 2].map(|c| 0.12 * own[c] + 0.88 * (f64::from(wanted[c]) * shade).min(255.0))
}

fn rgb(colour: &Colour) -> [u8; 3] {
    match colour.en {
        "red" => [221, 46, 68],
        "blue" => [59, 110, 236],
        "green" => [60, 170, 70],
        "yellow" => [255, 214, 50],
        "orange" => [244, 144, 12],
        "purple" => [142, 80, 200],
        "pink" => [244, 140, 190],
        "white" => [245, 245, 245],
        "black" => [45, 45, 50],
        _ => [150, 95, 60],
    }
}

/// Red, green, blue and opacity, `[SPRITE, SPRITE]`, decoded once for the process; `None` for what the lexicon does not have.
fn sprite(emoji: &'static str) -> Option<Arc<[[u8; 4]]>> {
    static DECODED: Mutex<BTreeMap<&str, Arc<[[u8; 4]]>>> = Mutex::new(BTreeMap::new());
    // A thread that panicked while it held the map has left a whole one.
    let mut decoded = DECODED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(sprite) = decoded.get(emoji) {
        return Some(sprite.clone());
    }
    let sprite: Arc<[[u8; 4]]> = decode(sprites::png(emoji)?)?.into();
    decoded.insert(emoji, sprite.clone());
    Some(sprite)
}

fn decode(bytes: &[u8]) -> Option<Vec<[u8; 4]>> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(
        png::Transformations::EXPAND | png::Transformations::ALPHA | png::Transformations::STRIP_16,
    );
    let mut reader = decoder.read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut pixels).ok()?;
    let four: Vec<[u8; 4]> = match info.color_type {
        png::ColorType::Rgba => pixels.as_chunks().0.to_vec(),
        png::ColorType::GrayscaleAlpha => pixels.as_chunks().0.iter().map(|&[x, a]| [x, x, x, a]).collect(),
        _ => return None,
    };
    (four.len() == SPRITE * SPRITE).then_some(four)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::{ACTIONS, BACKGROUNDS, nouns};

    #[test]
    fn everything_has_a_picture() {
        let nouns = nouns().map(|noun| noun.emoji);
        let others = BACKGROUNDS.iter().map(|b| b.emoji).chain(ACTIONS.iter().map(|a| a.mark));
        for emoji in nouns.chain(others) {
            let sprite = sprite(emoji).unwrap_or_else(|| panic!("{emoji} has no picture"));
            assert!(sprite.iter().any(|pixel| pixel[3] == 255), "{emoji} is not seen");
        }
    }

    #[test]
    fn bounds_are_tight() {
        let mut canvas = Canvas::new(64, [[0; 3]; 2], [[0; 3]; 2], 0.5);
        let at = Square { left: 0.25, top: 0.5, side: 0.5 };
        let [l, t, r, b] = canvas.draw("⭐", at, Style::default()).unwrap();
        let lit = |x: usize, y: usize| canvas.pixels[3 * (y * 64 + x)] > 100;
        let all: Vec<(usize, usize)> = (0..64 * 64).map(|i| (i % 64, i / 64)).filter(|&(x, y)| lit(x, y)).collect();
        let (x, y) = (all.iter().map(|p| p.0), all.iter().map(|p| p.1));
        let want = [x.clone().min(), y.clone().min(), x.max().map(|x| x + 1), y.max().map(|y| y + 1)];
        for (got, want) in [l, t, r, b].into_iter().zip(want) {
            assert!((got - want.unwrap() as f32).abs() <= 1.0, "{got} {want:?}");
        }
        assert!(canvas.draw("⭐", Square { left: 2.0, top: 0.0, side: 0.5 }, Style::default()).is_none());
    }
}
