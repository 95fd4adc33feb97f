//! Pictures of another size, by the arithmetic of Pillow and of torchvision.

use super::Picture;
use bedstone_kernels::pool;
use std::{borrow::Cow, f64::consts::PI};

/// How a pixel is made of its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// Windowed sinc over 6 pixels.
    Lanczos,
    /// A triangle over 2 pixels.
    Bilinear,
    /// A cubic with `a = -0.5` over 4 pixels ([Keys 1981](https://doi.org/10.1109/TASSP.1981.1163711)).
    Bicubic,
    /// The mean.
    Box,
    /// A sinc over 2 pixels in Hamming's window.
    Hamming,
}

impl Filter {
    /// By the number of Pillow, which `resample` of a configuration holds.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming]
            .get(usize::try_from(number).ok()?)
            .copied()
    }

    /// The number of Pillow.
    pub fn number(self) -> u64 {
        match self {
            Self::Nearest => 0,
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
            Self::Box => 4,
            Self::Hamming => 5,
        }
    }

    /// How far it reaches to each side, in pixels of the smaller picture.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming if x.abs() < 1.0 => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
            Self::Bicubic if x.abs() < 1.0 => {
                let x = x.abs();
                ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
            }
            Self::Bicubic if x.abs() < 2.0 => {
                let x = x.abs();
                (((x - 5.0) * x + 8.0) * x - 4.0) * A
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Hamming | Self::Bicubic | Self::Lanczos => 0.0,
        }
    }
}

/// Whose rounding is followed. They differ by one or two of 255 steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// Of `torchvision` on tensors of bytes with antialiasing: what processors of `transformers` 5 use. It knows neither
    /// [`Filter::Box`] nor [`Filter::Hamming`]; these are computed as by Pillow.
    #[default]
    Torchvision,
    /// Of Pillow: what processors of earlier releases, or with `Pil` in their name, use.
    Pillow,
}

/// The picture in `width` by `height` pixels.
///
/// Two passes over bytes, rows made shorter first (but see `rows_first`), with weights in fixed point: of 22 bits for Pillow, of 15 for torchvision.
/// Making a picture smaller widens the filter, so that every pixel counts.
pub fn resize(picture: &Picture, width: usize, height: usize, filter: Filter, arithmetic: Arithmetic) -> Picture {
    let (width, height) = (width.max(1), height.max(1));
    if (width, height) == (picture.width(), picture.height()) {
        return picture.clone();
    }
    if filter == Filter::Nearest {
        return nearest(picture, width, height, arithmetic);
    }
    let columns = Weights::new(picture.width(), width, filter, arithmetic);
    let rows = Weights::new(picture.height(), height, filter, arithmetic);
    if arithmetic == Arithmetic::Pillow && rows_first(picture, width, height) {
        return horizontal(vertical(Cow::Borrowed(picture), &rows), &columns).into_owned();
    }
    vertical(horizontal(Cow::Borrowed(picture), &columns), &rows).into_owned()
}

/// Whether Pillow 13 shortens columns before it shortens rows, as experiments with it show. Earlier releases never do.
fn rows_first(picture: &Picture, width: usize, height: usize) -> bool {
    let shorter = |from: usize, to: usize| from as i64 - to as i64;
    shorter(picture.height(), height) > (2 * shorter(picture.width(), width)).max(0)
}

/// What each pixel of a line is made of.
struct Weights {
    /// First pixel, and the weights of it and its followers in fixed point.
    taps: Vec<(usize, Vec<i32>)>,
    /// Bits behind the point.
    bits: u32,
}

impl Weights {
    fn new(from: usize, to: usize, filter: Filter, arithmetic: Arithmetic) -> Self {
        let scale = from as f64 / to as f64;
        let wide = scale.max(1.0);
        let (support, inverse) = (filter.support() * wide, 1.0 / wide);
        let real: Vec<(usize, Vec<f64>)> = (0..to)
            .map(|place| {
                let center = (place as f64 + 0.5) * scale;
                // Conversions round towards zero.
                let begin = (center - support + 0.5).max(0.0) as usize;
                let end = ((center + support + 0.5).max(0.0) as usize).min(from).max(begin);
                let weight = |pixel: usize| filter.weight((pixel as f64 - center + 0.5) * inverse);
                let weights: Vec<f64> = (begin..end).map(weight).collect();
                let sum: f64 = weights.iter().sum();
                (begin, if sum == 0.0 { weights } else { weights.iter().map(|w| w / sum).collect() })
            })
            .collect();
        let bits = match (arithmetic, filter) {
            (Arithmetic::Pillow, _) | (_, Filter::Box | Filter::Hamming) => 22,
            (Arithmetic::Torchvision, _) => {
                // As many as let the largest weight be a 16-bit integer.
                let largest = real.iter().flat_map(|(_, weights)| weights).copied().fold(0.0, f64::max);
                let fits = |bits: u32| ((0.5 + largest * f64::from(1_u32 << (bits + 1))) as i64) < 1 << 15;
                (0..22).find(|&bits| !fits(bits)).unwrap_or(22)
            }
        };
        let one = f64::from(1_u32 << bits);
        // Away from zero at the half.
        let fixed = |w: f64| if w < 0.0 { (w * one - 0.5) as i32 } else { (w * one + 0.5) as i32 };
        let taps = real.into_iter().map(|(begin, weights)| (begin, weights.into_iter().map(fixed).collect())).collect();
        Self { taps, bits }
    }

    fn half(&self) -> i32 {
        if self.bits == 0 { 0 } else { 1 << (self.bits - 1) }
    }

    fn byte(&self, sum: i32) -> u8 {
        (sum >> self.bits).clamp(0, 255) as u8
    }
}

fn horizontal<'p>(picture: Cow<'p, Picture>, weights: &Weights) -> Cow<'p, Picture> {
    let (width, from) = (weights.taps.len(), picture.width() * 3);
    if width == picture.width() {
        return picture;
    }
    let mut out = Picture::filled(width, picture.height(), [0; 3]);
    pool::for_chunks(out.data_mut(), width * 3, |row, out| {
        let line = &picture.data()[row * from..][..from];
        for (out, (begin, taps)) in out.chunks_exact_mut(3).zip(&weights.taps) {
            let mut sums = [weights.half(); 3];
            for (pixel, &weight) in line[begin * 3..].chunks_exact(3).zip(taps) {
                for (sum, &byte) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(byte) * weight;
                }
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = weights.byte(sum));
        }
    });
    Cow::Owned(out)
}

fn vertical<'p>(picture: Cow<'p, Picture>, weights: &Weights) -> Cow<'p, Picture> {
    let bytes = picture.width() * 3;
    if weights.taps.len() == picture.height() {
        return picture;
    }
    let mut out = Picture::filled(picture.width(), weights.taps.len(), [0; 3]);
    pool::for_chunks(out.data_mut(), bytes, |row, out| {
        let (begin, taps) = &weights.taps[row];
        let mut sums = vec![weights.half(); bytes];
        for (line, &weight) in picture.data()[begin * bytes..].chunks_exact(bytes).zip(taps) {
            for (sum, &byte) in sums.iter_mut().zip(line) {
                *sum += i32::from(byte) * weight;
            }
        }
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = weights.byte(sum));
    });
    Cow::Owned(out)
}

fn nearest(picture: &Picture, width: usize, height: usize, arithmetic: Arithmetic) -> Picture {
    let places = |from: usize, to: usize| -> Vec<usize> {
        match arithmetic {
            Arithmetic::Torchvision => {
                let scale = from as f32 / to as f32;
                (0..to).map(|place| (((place as f32 + 0.5) * scale) as usize).min(from - 1)).collect()
            }
            // Steps are added up, and so are their roundings.
            Arithmetic::Pillow => {
                let scale = from as f64 / to as f64;
                let places = std::iter::successors(Some(scale * 0.5), |place| Some(place + scale));
                places.take(to).map(|place| (place as usize).min(from - 1)).collect()
            }
        }
    };
    let (columns, rows) = (places(picture.width(), width), places(picture.height(), height));
    let mut out = Picture::filled(width, height, [0; 3]);
    for (line, &y) in out.data_mut().chunks_exact_mut(width * 3).zip(&rows) {
        for (pixel, &x) in line.chunks_exact_mut(3).zip(&columns) {
            pixel.copy_from_slice(&picture.pixel(x, y));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::testing::{array, fixture};

    #[test]
    fn as_pillow_and_torchvision() {
        let cases = fixture("resize.json");
        let (shape, data) = array(&cases);
        let picture = Picture::new(shape[1], shape[0], data).unwrap();
        let names = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];
        let mut checked = 0;
        for case in cases["cases"].as_array().unwrap() {
            let number = names.iter().position(|&name| case["filter"] == name).unwrap();
            let filter = Filter::from_number(number as u64).unwrap();
            let arithmetic = if case["by"] == "pillow" { Arithmetic::Pillow } else { Arithmetic::Torchvision };
            let side = |n: usize| case["size"][n].as_u64().unwrap() as usize;
            let got = resize(&picture, side(1), side(0), filter, arithmetic);
            let want = array(case).1;
            let apart = got.data().iter().zip(&want).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            assert_eq!(apart, 0, "{} {} {}", case["by"], case["filter"], case["size"]);
            checked += 1;
        }
        assert!(checked > 60, "{checked}");
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let picture = Picture::new(301, 200, (0..301 * 200 * 3_usize).map(|i| (i * i / 7) as u8).collect()).unwrap();
        let make = |threads| {
            pool::with_threads(threads, || resize(&picture, 150, 333, Filter::Bicubic, Arithmetic::default())).unwrap()
        };
        assert!(make(1) == make(3));
    }

    #[test]
    fn numbers_of_filters() {
        (0..6).for_each(|number| assert_eq!(Filter::from_number(number).unwrap().number(), number));
        assert_eq!(Filter::from_number(6), None);
    }
}
