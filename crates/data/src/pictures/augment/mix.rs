//! Pictures of a batch mixed with each other.

use super::{Draws, setting};
use crate::pictures::{Error, Pixels};
use bedstone_kernels::pool;

/// Mixup ([Zhang et al. 2017](https://arxiv.org/abs/1710.09412)) and CutMix
/// ([Yun et al. 2019](https://arxiv.org/abs/1905.04899)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Shape of the beta distribution of Mixup's share; 0 for no Mixup.
    pub mixup: f64,
    /// Shape of the beta distribution of CutMix's share; 0 for no CutMix.
    pub cutmix: f64,
    /// How often a batch is mixed at all.
    pub probability: f64,
    /// How often it is CutMix, where both are on.
    pub switch: f64,
}

/// What was mixed: picture `i` is `share[i]` itself and the rest `partner[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Number of the other picture in the batch, `[B]`.
    pub partner: Vec<usize>,
    /// What counts of the picture's own class, `[B]`.
    pub share: Vec<f32>,
}

impl Mix {
    /// An error for a number out of its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let shapes = [self.mixup, self.cutmix];
        if !shapes.iter().all(|shape| (0.0..=1e3).contains(shape)) {
            return Err(setting("mix", &format!("{shapes:?}"), "shapes of 0 to 1000"));
        }
        let shares = [self.probability, self.switch];
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) {
            return Err(setting("mix", &format!("{shares:?}"), "probabilities"));
        }
        Ok(())
    }

    /// Mixes a batch, each picture with the one at the same place from its end.
    pub fn apply(&self, pixels: &mut Pixels, draws: &mut Draws) -> Option<Mixed> {
        let (count, height, width) = (pixels.count, pixels.height, pixels.width);
        let wanted = draws.uniform() < self.probability && (self.mixup > 0.0 || self.cutmix > 0.0);
        let cut = self.cutmix > 0.0 && (self.mixup <= 0.0 || draws.uniform() < self.switch);
        if !wanted || count < 2 {
            return None;
        }
        let mut share = draws.beta(if cut { self.cutmix } else { self.mixup });
        let before = pixels.values.clone();
        let size = 3 * height * width;
        let partner = |index: usize| count - 1 - index;
        if cut {
            let [top, bottom] = side(height, share, draws);
            let [left, right] = side(width, share, draws);
            // What is left of the picture, after the rectangle was cut off at its edges.
            share = 1.0 - ((bottom - top) * (right - left)) as f64 / (height * width) as f64;
            pool::for_chunks(&mut pixels.values, size, |index, values| {
                let other = &before[partner(index) * size..][..size];
                for (row, (own, other)) in values.chunks_exact_mut(width).zip(other.chunks_exact(width)).enumerate() {
                    if (top..bottom).contains(&(row % height)) {
                        own[left..right].copy_from_slice(&other[left..right]);
                    }
                }
            });
        } else {
            let (own, rest) = (share as f32, 1.0 - share as f32);
            pool::for_chunks(&mut pixels.values, size, |index, values| {
                let other = &before[partner(index) * size..][..size];
                values.iter_mut().zip(other).for_each(|(a, b)| *a = *a * own + b * rest);
            });
        }
        Some(Mixed { partner: (0..count).map(partner).collect(), share: vec![share as f32; count] })
    }
}

impl Mixed {
    /// What a model should say of each picture, `[B, classes]`, with `smoothing` spread over all classes.
    pub fn targets(&self, own: &[usize], classes: usize, smoothing: f32) -> Vec<f32> {
        let mut targets = vec![smoothing / classes as f32; own.len() * classes];
        for (index, row) in targets.chunks_exact_mut(classes).enumerate() {
            row[own[index]] += (1.0 - smoothing) * self.share[index];
            row[own[self.partner[index]]] += (1.0 - smoothing) * (1.0 - self.share[index]);
        }
        targets
    }
}

/// The bounds of a rectangle along one side: its length is `sqrt(1 - share)` of it, its middle anywhere.
fn side(length: usize, share: f64, draws: &mut Draws) -> [usize; 2] {
    let half = (length as f64 * (1.0 - share).sqrt()) as usize / 2;
    let middle = draws.below(length as u64) as usize;
    [middle.saturating_sub(half), (middle + half).min(length)]
}
