//! Pictures changed at random, so that a model sees each of them differently every time.
//!
//! ```text
//! mod.rs       Augment: steps in a row; which boxes follow
//! draws.rs     random numbers of one picture
//! crop.rs      parts of pictures: resized, padded, erased
//! colour.rs    brightness, contrast, saturation, hue and others, by a factor
//! policy.rs    RandAugment
//! mix.rs       Mixup and CutMix of whole batches
//! ```
//!
//! What is drawn is a function of the seed, the epoch and the number of the record: the same for any number of threads and
//! any batch size.

pub mod colour;
mod crop;
mod draws;
mod mix;
mod policy;

pub use draws::Draws;
pub use mix::{Mix, Mixed};

use super::{Arithmetic, Error, Filter, Object, Picture, Placement};
use colour::Change;

/// One random change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A part of random size and shape, resized to `height` by `width`
    /// ([Szegedy et al. 2014](https://arxiv.org/abs/1409.4842)).
    ResizedCrop {
        /// Rows of the result.
        height: usize,
        /// Columns of the result.
        width: usize,
        /// Least and largest share of the area.
        scale: [f64; 2],
        /// Least and largest width over height.
        ratio: [f64; 2],
        /// By which it is resized.
        filter: Filter,
    },
    /// A part of `height` by `width` at a random place, after `padding` black pixels at each side.
    PaddedCrop {
        /// Rows of the result.
        height: usize,
        /// Columns of the result.
        width: usize,
        /// Pixels at each side.
        padding: usize,
    },
    /// Left and right exchanged with this probability.
    FlipHorizontal(f64),
    /// Top and bottom exchanged with this probability.
    FlipVertical(f64),
    /// Each multiplied by a factor of `1 - x` to `1 + x`, in random order; the hue is turned by `-hue` to `hue` of a
    /// circle.
    ColourJitter {
        /// Of brightness.
        brightness: f64,
        /// Of contrast.
        contrast: f64,
        /// Of saturation.
        saturation: f64,
        /// Of hue, at most 0.5.
        hue: f64,
    },
    /// Some changes out of fourteen, each of the same strength, as torchvision has them
    /// ([Cubuk et al. 2019](https://arxiv.org/abs/1909.13719)).
    RandAugment {
        /// Changes to a picture.
        changes: usize,
        /// Strength, 0 to 30.
        magnitude: usize,
    },
    /// A rectangle of noise over a random place ([Zhong et al. 2017](https://arxiv.org/abs/1708.04896)).
    Erase {
        /// How often.
        probability: f64,
        /// Least and largest share of the area.
        scale: [f64; 2],
        /// Least and largest height over width.
        ratio: [f64; 2],
    },
}

/// Random changes, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    steps: Vec<Step>,
}

impl Augment {
    /// These steps, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for a number out of its bounds.
    pub fn new(steps: Vec<Step>) -> Result<Self, Error> {
        steps.iter().try_for_each(Step::check)?;
        Ok(Self { steps })
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Height and width of every result, if the steps make them the same for all.
    pub fn size(&self) -> Option<[usize; 2]> {
        self.steps.iter().rev().find_map(|step| match *step {
            Step::ResizedCrop { height, width, .. } | Step::PaddedCrop { height, width, .. } => Some([height, width]),
            _ => None,
        })
    }

    /// Whether boxes can follow.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] names a step that turns pictures by other angles.
    pub fn allows_boxes(&self) -> Result<(), Error> {
        match self.steps.iter().any(|step| matches!(step, Step::RandAugment { .. })) {
            true => Err(setting("RandAugment", "pictures with boxes", "classes: boxes cannot follow a rotation")),
            false => Ok(()),
        }
    }

    /// The picture changed as `draws` says, and where its pixels came to lie.
    pub fn apply(&self, mut picture: Picture, draws: &mut Draws) -> (Picture, Placement) {
        let mut placement = Placement::of(picture.width(), picture.height());
        for (number, step) in self.steps.iter().enumerate() {
            // Each step has numbers of its own: another one more or less changes nothing for it.
            let draws = &mut draws.fork(number as u64);
            let (next, moved) = step.apply(picture, draws);
            picture = next;
            placement = placement.then(moved);
        }
        (picture, placement)
    }

    /// [`Augment::apply`] to a picture with objects; objects of which nothing is left are dropped.
    pub fn apply_with(&self, picture: Picture, objects: &[Object], draws: &mut Draws) -> (Picture, Vec<Object>) {
        let (picture, placement) = self.apply(picture, draws);
        (picture, placement.objects(objects))
    }
}

impl Step {
    fn apply(&self, mut picture: Picture, draws: &mut Draws) -> (Picture, Placement) {
        let stays = Placement::of(picture.width(), picture.height());
        match *self {
            Self::ResizedCrop { height, width, scale, ratio, filter } => {
                let crop::Part { x, y, width: w, height: h } = crop::part(&picture, scale, ratio, draws);
                let part = picture.crop(x as isize, y as isize, w, h, [0; 3]);
                let placement =
                    Placement::crop(x as isize, y as isize, w, h).then(Placement::resize([w, h], [width, height]));
                (super::resize(&part, width, height, filter, Arithmetic::default()), placement)
            }
            Self::PaddedCrop { height, width, padding } => {
                let mut place = |size: usize, part: usize| {
                    let (size, part) = ((size + 2 * padding) as isize, part as isize);
                    let free = size - part;
                    // A picture that is too small lies in the middle.
                    let offset = if free < 0 { free / 2 } else { draws.below(free as u64 + 1) as isize };
                    offset - padding as isize
                };
                let (x, y) = (place(picture.width(), width), place(picture.height(), height));
                (picture.crop(x, y, width, height, [0; 3]), Placement::crop(x, y, width, height))
            }
            Self::FlipHorizontal(probability) if draws.uniform() < probability => {
                picture.flip_horizontal();
                let placement = Placement::flip_horizontal(picture.width());
                (picture, placement)
            }
            Self::FlipVertical(probability) if draws.uniform() < probability => {
                picture.flip_vertical();
                let placement = Placement::flip_vertical(picture.height());
                (picture, placement)
            }
            Self::FlipHorizontal(_) | Self::FlipVertical(_) => (picture, stays),
            Self::ColourJitter { brightness, contrast, saturation, hue } => {
                let mut factor = |x: f64| draws.between((1.0 - x).max(0.0), 1.0 + x);
                let mut changes = [
                    (brightness, Change::Brightness(factor(brightness))),
                    (contrast, Change::Contrast(factor(contrast))),
                    (saturation, Change::Saturation(factor(saturation))),
                    (hue, Change::Hue(draws.between(-hue, hue))),
                ];
                draws.shuffle(&mut changes);
                for (_, change) in changes.iter().filter(|(strength, _)| *strength > 0.0) {
                    change.apply(&mut picture);
                }
                (picture, stays)
            }
            Self::RandAugment { changes, magnitude } => {
                (0..changes).for_each(|_| policy::change(&mut picture, magnitude, draws));
                (picture, stays)
            }
            Self::Erase { probability, scale, ratio } => {
                if draws.uniform() < probability {
                    crop::erase(&mut picture, scale, ratio, draws);
                }
                (picture, stays)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let name = match self {
            Self::ResizedCrop { .. } => "resized crop",
            Self::PaddedCrop { .. } => "padded crop",
            Self::FlipHorizontal(_) | Self::FlipVertical(_) => "flip",
            Self::ColourJitter { .. } => "colour jitter",
            Self::RandAugment { .. } => "RandAugment",
            Self::Erase { .. } => "erasing",
        };
        let check = |good: bool, got: String, wanted| if good { Ok(()) } else { Err(setting(name, &got, wanted)) };
        let share = |p: f64| check((0.0..=1.0).contains(&p), p.to_string(), "a probability");
        let range =
            |[a, b]: [f64; 2], most: f64, wanted| check(0.0 < a && a <= b && b <= most, format!("{a} to {b}"), wanted);
        let shapes = |scale, ratio| {
            range(scale, 1.0, "shares of the area, above 0 and at most 1")?;
            range(ratio, 1e3, "ratios above 0, the smaller first")
        };
        match *self {
            Self::ResizedCrop { height, width, scale, ratio, .. } => {
                check(height > 0 && width > 0, format!("{width} x {height}"), "pixels")?;
                shapes(scale, ratio)
            }
            Self::PaddedCrop { height, width, padding } => {
                check(height > 0 && width > 0, format!("{width} x {height}"), "pixels")?;
                check(padding < 1 << 20, padding.to_string(), "less than 2^20 pixels")
            }
            Self::FlipHorizontal(p) | Self::FlipVertical(p) => share(p),
            Self::ColourJitter { brightness, contrast, saturation, hue } => {
                let all = [brightness, contrast, saturation];
                check(all.iter().all(|x| (0.0..=10.0).contains(x)), format!("{all:?}"), "0 to 10")?;
                check((0.0..=0.5).contains(&hue), hue.to_string(), "a hue of 0 to 0.5")
            }
            Self::RandAugment { changes, magnitude } => {
                check(changes <= 14, changes.to_string(), "at most 14 changes")?;
                check(magnitude <= policy::STRONGEST, magnitude.to_string(), "a magnitude of 0 to 30")
            }
            Self::Erase { probability, scale, ratio } => {
                share(probability)?;
                shapes(scale, ratio)
            }
        }
    }
}

fn setting(name: &'static str, got: &str, wanted: &'static str) -> Error {
    Error::Setting { name, got: got.to_owned(), wanted }
}

#[cfg(test)]
mod tests;
