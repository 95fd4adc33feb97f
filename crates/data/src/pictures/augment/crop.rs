//! Parts of pictures.

use super::Draws;
use crate::pictures::Picture;

/// A rectangle inside a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

const ATTEMPTS: usize = 10;

/// A part with a share of the area in `scale` and a width over height in `ratio`, whose logarithm is uniform; the
/// largest part of an allowed shape in the middle if ten attempts do not fit, as torchvision does it.
pub(super) fn part(picture: &Picture, scale: [f64; 2], ratio: [f64; 2], draws: &mut Draws) -> Part {
    let (width, height) = (picture.width(), picture.height());
    for _ in 0..ATTEMPTS {
        let area = (width * height) as f64 * draws.between(scale[0], scale[1]);
        let shape = draws.between(ratio[0].ln(), ratio[1].ln()).exp();
        let (w, h) = ((area * shape).sqrt().round() as usize, (area / shape).sqrt().round() as usize);
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return place(width, height, w, h, draws);
        }
    }
    let shape = (width as f64 / height as f64).clamp(ratio[0], ratio[1]);
    let w = ((height as f64 * shape).round() as usize).clamp(1, width);
    let h = ((width as f64 / shape).round() as usize).clamp(1, height);
    Part { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
}

/// Noise over a part with a share of the area in `scale` and a height over width in `ratio`; nothing if ten attempts do
/// not fit.
pub(super) fn erase(picture: &mut Picture, scale: [f64; 2], ratio: [f64; 2], draws: &mut Draws) {
    let (width, height) = (picture.width(), picture.height());
    for _ in 0..ATTEMPTS {
        let area = (width * height) as f64 * draws.between(scale[0], scale[1]);
        let shape = draws.between(ratio[0].ln(), ratio[1].ln()).exp();
        let (h, w) = ((area * shape).sqrt().round() as usize, (area / shape).sqrt().round() as usize);
        if !(1..width).contains(&w) || !(1..height).contains(&h) {
            continue;
        }
        let part = place(width, height, w, h, draws);
        for y in part.y..part.y + h {
            let row = &mut picture.data_mut()[(y * width + part.x) * 3..][..w * 3];
            row.iter_mut().for_each(|byte| *byte = draws.bits() as u8);
        }
        return;
    }
}

/// At a random place.
fn place(width: usize, height: usize, w: usize, h: usize, draws: &mut Draws) -> Part {
    let x = draws.below((width - w) as u64 + 1) as usize;
    let y = draws.below((height - h) as u64 + 1) as usize;
    Part { x, y, width: w, height: h }
}
