//! From a picture to what a model takes, as the image processors of `transformers` do it.
//!
//! ```text
//! mod.rs     Processor: resize, crop, rescale, normalize, pad
//! config.rs  preprocessor_config.json, read and written
//! size.rs    how large a picture becomes
//! ```

mod config;
mod size;

pub use config::Class;
pub use size::Size;

use super::{Arithmetic, Error, Filter, Object, Picture, Placement, resize};
use bedstone_kernels::pool;
use std::borrow::Cow;

/// An image processor; the fields are those of `preprocessor_config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Processor {
    /// The class of `transformers`, `image_processor_type`.
    pub class: Class,
    /// Whether pictures are resized.
    pub do_resize: bool,
    /// To which size.
    pub size: Size,
    /// By which filter.
    pub resample: Filter,
    /// Whether the middle is cut out.
    pub do_center_crop: bool,
    /// Height and width of the middle.
    pub crop_size: Option<[usize; 2]>,
    /// Whether numbers are multiplied.
    pub do_rescale: bool,
    /// By what.
    pub rescale_factor: f64,
    /// Whether the mean is subtracted and the result divided by the deviation.
    pub do_normalize: bool,
    /// Means of red, green and blue.
    pub image_mean: [f64; 3],
    /// Standard deviations of red, green and blue.
    pub image_std: [f64; 3],
    /// Whether pictures of a batch are padded with zeros, right and below, to one size.
    pub do_pad: bool,
    /// Height and width of padded pictures; those of the largest of the batch if missing.
    pub pad_size: Option<[usize; 2]>,
    /// Whose rounding is followed.
    pub arithmetic: Arithmetic,
}

/// What a model takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// `[B, 3, H, W]`.
    pub values: Vec<f32>,
    /// Pictures, `B`.
    pub count: usize,
    /// Rows, `H`.
    pub height: usize,
    /// Columns, `W`.
    pub width: usize,
    /// 1 where a pixel belongs to a picture and 0 where it is padding, `[B, H, W]`; only of processors that pad.
    pub mask: Option<Vec<u8>>,
}

impl Processor {
    /// Where the pixels of a picture of `width` by `height` come to lie, and the width and height of the result,
    /// without padding.
    pub fn placement(&self, width: usize, height: usize) -> (Placement, [usize; 2]) {
        let [mut w, mut h] = [width, height];
        let mut placement = Placement::of(width, height);
        if self.do_resize {
            [h, w] = self.size.of(height, width);
            placement = placement.then(Placement::resize([width, height], [w, h]));
        }
        if let Some([rows, columns]) = self.crop() {
            placement = placement.then(Placement::crop(self.margin(w, columns), self.margin(h, rows), columns, rows));
            [w, h] = [columns, rows];
        }
        (placement, [w, h])
    }

    /// The numbers of one picture, `[3, h, w]`, with `w` and `h` as [`Processor::placement`] says.
    pub fn apply(&self, picture: &Picture) -> Vec<f32> {
        let picture = self.pixels(picture);
        let mut values = vec![0.0; picture.data().len()];
        self.write(&picture, &mut values, [picture.width(), picture.height()]);
        values
    }

    /// The numbers of several pictures.
    ///
    /// # Errors
    ///
    /// [`Error::Sizes`] if they do not come out equally large and this processor does not pad, [`Error::Pad`] if one
    /// does not fit into `pad_size`, [`Error::NoRecords`] if there is none.
    pub fn batch(&self, pictures: &[Picture]) -> Result<Pixels, Error> {
        let sizes: Vec<[usize; 2]> = pictures.iter().map(|p| self.placement(p.width(), p.height()).1).collect();
        let first = *sizes.first().ok_or(Error::NoRecords)?;
        let largest = sizes.iter().fold([0, 0], |[w, h], size| [w.max(size[0]), h.max(size[1])]);
        let [width, height] = match (self.do_pad, self.pad_size) {
            (true, Some([height, width])) => match sizes.iter().position(|&[w, h]| w > width || h > height) {
                Some(index) => return Err(Error::Pad { index, got: sizes[index], want: [width, height] }),
                None => [width, height],
            },
            (true, None) => largest,
            (false, _) => match sizes.iter().position(|&size| size != first) {
                Some(index) => return Err(Error::Sizes { index, got: sizes[index], want: first }),
                None => first,
            },
        };
        let mut values = vec![0.0; pictures.len() * 3 * height * width];
        pool::for_chunks(&mut values, 3 * height * width, |index, values| {
            self.write(&self.pixels(&pictures[index]), values, [width, height]);
        });
        let mask = self.do_pad.then(|| {
            let mut mask = vec![0; pictures.len() * height * width];
            for (mask, [w, h]) in mask.chunks_exact_mut(height * width).zip(&sizes) {
                mask.chunks_exact_mut(width).take(*h).for_each(|row| row[..*w].fill(1));
            }
            mask
        });
        Ok(Pixels { values, count: pictures.len(), height, width, mask })
    }

    /// The objects of a picture of `width` by `height` in the processed picture, in pixels; those of which the crop
    /// leaves nothing are dropped.
    pub fn objects(&self, objects: &[Object], width: usize, height: usize) -> Vec<Object> {
        self.placement(width, height).0.objects(objects)
    }

    fn crop(&self) -> Option<[usize; 2]> {
        self.crop_size.filter(|_| self.do_center_crop)
    }

    /// Pixels before a crop of `crop` from `size`; negative where the picture is too small.
    fn margin(&self, size: usize, crop: usize) -> isize {
        match (size >= crop, self.arithmetic) {
            (true, _) => ((size - crop) / 2) as isize,
            (false, Arithmetic::Torchvision) => -(((crop - size) / 2) as isize),
            (false, Arithmetic::Pillow) => -((crop - size).div_ceil(2) as isize),
        }
    }

    /// Resized and cropped.
    fn pixels<'p>(&self, picture: &'p Picture) -> Cow<'p, Picture> {
        let mut picture = Cow::Borrowed(picture);
        if self.do_resize {
            let [height, width] = self.size.of(picture.height(), picture.width());
            if [width, height] != [picture.width(), picture.height()] {
                picture = Cow::Owned(resize(&picture, width, height, self.resample, self.arithmetic));
            }
        }
        if let Some([height, width]) = self.crop() {
            let (x, y) = (self.margin(picture.width(), width), self.margin(picture.height(), height));
            picture = Cow::Owned(picture.crop(x, y, width, height, [0; 3]));
        }
        picture
    }

    /// Writes `[3, height, width]`, the picture in the upper left; the rest of `out` stays as it is.
    fn write(&self, picture: &Picture, out: &mut [f32], [width, height]: [usize; 2]) {
        let tables = [0, 1, 2].map(|channel| self.table(channel));
        pool::for_chunks(out, width, |line, out| {
            let (channel, row) = (line / height, line % height);
            if row < picture.height() {
                let bytes = &picture.data()[row * picture.width() * 3..][..picture.width() * 3];
                for (out, pixel) in out.iter_mut().zip(bytes.chunks_exact(3)) {
                    *out = tables[channel][usize::from(pixel[channel])];
                }
            }
        });
    }

    /// What each of 256 values becomes.
    fn table(&self, channel: usize) -> [f32; 256] {
        let (mean, std) = (self.image_mean[channel] as f32, self.image_std[channel] as f32);
        std::array::from_fn(|value| {
            let value = value as f32;
            match (self.arithmetic, self.do_rescale, self.do_normalize) {
                (_, false, false) => value,
                (_, false, true) => (value - mean) / std,
                (Arithmetic::Torchvision, true, false) => value * self.rescale_factor as f32,
                (Arithmetic::Torchvision, true, true) => {
                    // Both in one step.
                    let inverse = (1.0 / self.rescale_factor) as f32;
                    (value - mean * inverse) / (std * inverse)
                }
                (Arithmetic::Pillow, true, normalize) => {
                    let value = (f64::from(value) * self.rescale_factor) as f32;
                    if normalize { (value - mean) / std } else { value }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
