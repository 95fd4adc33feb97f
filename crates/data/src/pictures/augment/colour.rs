//! Changes of colours by a factor, as torchvision defines them for bytes; results may differ by one step of 255.

use crate::pictures::Picture;

/// A change of colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Every number multiplied.
    Brightness(f64),
    /// The distance to the mean grey multiplied.
    Contrast(f64),
    /// The distance to the grey of the same brightness multiplied.
    Saturation(f64),
    /// The hue turned by this share of a circle.
    Hue(f64),
    /// The distance to a blurred picture multiplied.
    Sharpness(f64),
    /// So many upper bits kept.
    Posterize(u32),
    /// Numbers from this one on inverted.
    Solarize(u8),
    /// Each colour stretched over all numbers.
    Autocontrast,
    /// Each colour spread so that all numbers are about equally frequent.
    Equalize,
}

impl Change {
    /// Changes `picture`.
    pub fn apply(self, picture: &mut Picture) {
        match self {
            Self::Brightness(factor) => each(picture, |byte| blend(byte, 0.0, factor)),
            Self::Contrast(factor) => {
                let greys: u64 = picture.data().chunks_exact(3).map(|pixel| u64::from(grey(pixel))).sum();
                let mean = greys as f64 / (picture.width() * picture.height()) as f64;
                each(picture, |byte| blend(byte, mean, factor));
            }
            Self::Saturation(factor) => {
                for pixel in picture.data_mut().chunks_exact_mut(3) {
                    let grey = f64::from(grey(pixel));
                    pixel.iter_mut().for_each(|byte| *byte = blend(*byte, grey, factor));
                }
            }
            Self::Hue(turn) => picture.data_mut().chunks_exact_mut(3).for_each(|pixel| turn_hue(pixel, turn)),
            Self::Sharpness(factor) => sharpen(picture, factor),
            Self::Posterize(bits) => {
                let mask = !(0xff_u32 >> bits.min(8)) as u8;
                each(picture, |byte| byte & mask);
            }
            Self::Solarize(least) => each(picture, |byte| if byte >= least { 255 - byte } else { byte }),
            Self::Autocontrast => by_channel(picture, |counts| {
                let low = counts.iter().position(|&count| count > 0).unwrap_or(0);
                let high = counts.iter().rposition(|&count| count > 0).unwrap_or(255);
                let scale = 255.0 / (high - low) as f64;
                std::array::from_fn(|n| match high > low {
                    true => ((n as f64 - low as f64) * scale).clamp(0.0, 255.0) as u8,
                    false => n as u8,
                })
            }),
            Self::Equalize => by_channel(picture, equalized),
        }
    }
}

fn each(picture: &mut Picture, change: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|byte| change(byte as u8));
    picture.data_mut().iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

/// Changes each colour by a table made from how often its numbers occur.
fn by_channel(picture: &mut Picture, table: impl Fn(&[u64; 256]) -> [u8; 256]) {
    for channel in 0..3 {
        let mut counts = [0; 256];
        picture.data().chunks_exact(3).for_each(|pixel| counts[usize::from(pixel[channel])] += 1);
        let table = table(&counts);
        picture.data_mut().chunks_exact_mut(3).for_each(|pixel| pixel[channel] = table[usize::from(pixel[channel])]);
    }
}

/// `factor` of the one and the rest of the other, cut off at the ends.
fn blend(byte: u8, other: f64, factor: f64) -> u8 {
    (f64::from(byte) * factor + other * (1.0 - factor)).clamp(0.0, 255.0) as u8
}

/// The brightness of a pixel by ITU-R 601.
fn grey(pixel: &[u8]) -> u8 {
    (0.2989 * f64::from(pixel[0]) + 0.587 * f64::from(pixel[1]) + 0.114 * f64::from(pixel[2])) as u8
}

/// To hue, saturation and value, and back.
fn turn_hue(pixel: &mut [u8], turn: f64) {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|byte| f64::from(byte) / 255.0);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    let range = high - low;
    if range == 0.0 {
        return;
    }
    let sixth = match high {
        _ if high == r => (g - b) / range,
        _ if high == g => 2.0 + (b - r) / range,
        _ => 4.0 + (r - g) / range,
    };
    let hue = (sixth / 6.0 + turn).rem_euclid(1.0) * 6.0;
    // How far each colour is from the highest, by its distance on the circle.
    let channel = |offset: f64| {
        let k = (offset + hue).rem_euclid(6.0);
        high - range * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    for (byte, value) in pixel.iter_mut().zip([channel(5.0), channel(3.0), channel(1.0)]) {
        *byte = (value * 255.0).round().clamp(0.0, 255.0) as u8;
    }
}

/// Against the mean of nine neighbours in which the middle counts five times; edges stay.
fn sharpen(picture: &mut Picture, factor: f64) {
    let (width, height) = (picture.width(), picture.height());
    if width < 3 || height < 3 {
        return;
    }
    let before = picture.data().to_vec();
    let at = |x: usize, y: usize, channel: usize| f64::from(before[(y * width + x) * 3 + channel]);
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            for channel in 0..3 {
                let mut sum = 4.0 * at(x, y, channel);
                for dy in 0..3 {
                    for dx in 0..3 {
                        sum += at(x + dx - 1, y + dy - 1, channel);
                    }
                }
                let blurred = (sum / 13.0).round();
                let place = (y * width + x) * 3 + channel;
                picture.data_mut()[place] = blend(before[place], blurred, factor);
            }
        }
    }
}

/// The table of Pillow's `equalize`.
fn equalized(counts: &[u64; 256]) -> [u8; 256] {
    let total: u64 = counts.iter().sum();
    let last = counts.iter().rev().copied().find(|&count| count > 0).unwrap_or(0);
    let step = (total - last) / 255;
    if step == 0 {
        return std::array::from_fn(|n| n as u8);
    }
    let mut sum = step / 2;
    std::array::from_fn(|n| {
        let value = (sum / step).min(255) as u8;
        sum += counts[n];
        value
    })
}
