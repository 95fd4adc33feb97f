//! RandAugment, with the ranges of torchvision.

use super::{Draws, colour::Change};
use crate::pictures::Picture;

/// The largest magnitude.
pub(super) const STRONGEST: usize = 30;

/// One of fourteen changes.
pub(super) fn change(picture: &mut Picture, magnitude: usize, draws: &mut Draws) {
    let share = magnitude as f64 / STRONGEST as f64;
    let which = draws.below(14);
    let sign = if draws.uniform() < 0.5 { -1.0 } else { 1.0 };
    let (width, height) = (picture.width() as f64, picture.height() as f64);
    let affine = match which {
        0 => return,
        1 => Affine { shear: [sign * share * 0.3, 0.0], ..Affine::NONE },
        2 => Affine { shear: [0.0, sign * share * 0.3], ..Affine::NONE },
        3 => Affine { shift: [(sign * share * 150.0 / 331.0 * width).trunc(), 0.0], ..Affine::NONE },
        4 => Affine { shift: [0.0, (sign * share * 150.0 / 331.0 * height).trunc()], ..Affine::NONE },
        5 => Affine { angle: sign * share * 30.0, ..Affine::NONE },
        6 => return Change::Brightness(1.0 + sign * share * 0.9).apply(picture),
        7 => return Change::Saturation(1.0 + sign * share * 0.9).apply(picture),
        8 => return Change::Contrast(1.0 + sign * share * 0.9).apply(picture),
        9 => return Change::Sharpness(1.0 + sign * share * 0.9).apply(picture),
        10 => return Change::Posterize(8 - (share * 4.0).round() as u32).apply(picture),
        11 => return Change::Solarize((255.0 * (1.0 - share)) as u8).apply(picture),
        12 => return Change::Autocontrast.apply(picture),
        _ => return Change::Equalize.apply(picture),
    };
    *picture = affine.apply(picture);
}

/// A shear, shift or rotation about the middle; the nearest pixel is taken, and black outside.
struct Affine {
    /// By row and by column, as tangents.
    shear: [f64; 2],
    /// In pixels.
    shift: [f64; 2],
    /// In degrees, counter-clockwise.
    angle: f64,
}

impl Affine {
    const NONE: Self = Self { shear: [0.0; 2], shift: [0.0; 2], angle: 0.0 };

    fn apply(&self, picture: &Picture) -> Picture {
        let (width, height) = (picture.width(), picture.height());
        let (sin, cos) = self.angle.to_radians().sin_cos();
        let mut out = Picture::filled(width, height, [0; 3]);
        let middle = [width as f64 / 2.0, height as f64 / 2.0];
        for (n, pixel) in out.data_mut().chunks_exact_mut(3).enumerate() {
            // Where this pixel came from: its centre, seen from the middle.
            let u = (n % width) as f64 + 0.5 - middle[0] - self.shift[0];
            let v = (n / width) as f64 + 0.5 - middle[1] - self.shift[1];
            let x = cos * u - sin * v + self.shear[0] * v + middle[0];
            let y = sin * u + cos * v + self.shear[1] * u + middle[1];
            if (0.0..width as f64).contains(&x) && (0.0..height as f64).contains(&y) {
                pixel.copy_from_slice(&picture.pixel(x as usize, y as usize));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> Picture {
        Picture::new(3, 3, (1..=9).flat_map(|n| [n; 3]).collect()).unwrap()
    }

    fn values(picture: &Picture) -> Vec<u8> {
        picture.data().iter().step_by(3).copied().collect()
    }

    #[test]
    fn affine_changes() {
        let turned = Affine { angle: 90.0, ..Affine::NONE }.apply(&numbered());
        assert_eq!(values(&turned), [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        let shifted = Affine { shift: [1.0, -1.0], ..Affine::NONE }.apply(&numbered());
        assert_eq!(values(&shifted), [0, 4, 5, 0, 7, 8, 0, 0, 0]);
        let sheared = Affine { shear: [1.0, 0.0], ..Affine::NONE }.apply(&numbered());
        assert_eq!(values(&sheared), [0, 1, 2, 4, 5, 6, 8, 9, 0]);
    }

    #[test]
    fn no_strength_changes_little() {
        for record in 0..40 {
            let mut picture = numbered();
            change(&mut picture, 0, &mut Draws::new(0, 0, record));
            let (got, want) = (values(&picture), values(&numbered()));
            // The changes without strength of their own stretch it.
            assert!(got == want || got.contains(&255) || got.contains(&0), "{got:?}");
        }
    }
}
