//! Random changes of pictures, as recipes name them.

use bedstone_data::pictures::{
    Filter,
    augment::{Augment, Mix, Step},
};
use serde::Deserialize;

use crate::Result;

/// `[augment]`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct AugmentConfig {
    pub(crate) scale: [f64; 2],
    pub(crate) ratio: [f64; 2],
    pub(crate) flip: f64,
    #[serde(default)]
    pub(crate) jitter: f64,
    #[serde(default)]
    pub(crate) rand_augment: usize,
    #[serde(default)]
    pub(crate) magnitude: usize,
    #[serde(default)]
    pub(crate) erase: f64,
    #[serde(default)]
    pub(crate) mixup: f64,
    #[serde(default)]
    pub(crate) cutmix: f64,
}

impl AugmentConfig {
    /// Keys, whether their values make sense, and what they should be.
    pub(crate) fn rules(&self) -> Vec<(&'static str, bool, &'static str)> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let [least, most] = self.scale;
        let [narrow, wide] = self.ratio;
        vec![
            ("augment.scale", least > 0.0 && least <= most && most <= 1.0, "two shares above 0, the smaller first"),
            (
                "augment.ratio",
                narrow > 0.0 && narrow <= wide && wide.is_finite(),
                "two numbers above 0, the smaller first",
            ),
            ("augment.flip", share(self.flip), "0 to 1"),
            ("augment.jitter", share(self.jitter), "0 to 1"),
            ("augment.rand_augment", self.rand_augment <= 14, "0 to 14"),
            ("augment.magnitude", self.magnitude <= 30, "0 to 30"),
            ("augment.erase", share(self.erase), "0 to 1"),
            ("augment.mixup", (0.0..=100.0).contains(&self.mixup), "0 to 100"),
            ("augment.cutmix", (0.0..=100.0).contains(&self.cutmix), "0 to 100"),
        ]
    }

    /// The changes, for pictures that become `height` by `width`.
    pub(crate) fn steps(&self, [height, width]: [usize; 2]) -> Result<Augment> {
        let mut steps = Vec::new();
        let (scale, ratio) = (self.scale, self.ratio);
        if scale != [1.0, 1.0] {
            steps.push(Step::ResizedCrop { height, width, scale, ratio, filter: Filter::Bilinear });
        }
        if self.flip > 0.0 {
            steps.push(Step::FlipHorizontal(self.flip));
        }
        if self.jitter > 0.0 {
            let x = self.jitter;
            steps.push(Step::ColourJitter { brightness: x, contrast: x, saturation: x, hue: 0.0 });
        }
        if self.rand_augment > 0 {
            steps.push(Step::RandAugment { changes: self.rand_augment, magnitude: self.magnitude });
        }
        if self.erase > 0.0 {
            let (scale, ratio) = ([0.02, 1.0 / 3.0], [0.3, 1.0 / 0.3]);
            steps.push(Step::Erase { probability: self.erase, scale, ratio });
        }
        Ok(Augment::new(steps)?)
    }

    /// Pictures mixed with each other, if any are.
    pub(crate) fn mix(&self) -> Option<Mix> {
        let on = self.mixup > 0.0 || self.cutmix > 0.0;
        on.then_some(Mix { mixup: self.mixup, cutmix: self.cutmix, probability: 1.0, switch: 0.5 })
    }
}
