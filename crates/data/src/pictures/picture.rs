//! A picture in memory.

use super::Error;
use std::{fs, path::Path};

/// Pixels of red, green and blue in rows from the top, 8 bits each, `[height, width, 3]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Picture {
    /// From pixels.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `data` is not `height * width * 3` bytes or there is no pixel.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Result<Self, Error> {
        let want = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        match want {
            Some(want) if want == data.len() && want > 0 => Ok(Self { width, height, data }),
            _ => Err(Error::Shape { width, height, bytes: data.len() }),
        }
    }

    /// All pixels of one colour; at least one pixel in each direction.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, data: colour.repeat(width * height) }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes, `[height, width, 3]`.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The bytes, `[height, width, 3]`, to be changed.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The colour at column `x` of row `y`.
    ///
    /// # Panics
    ///
    /// If there is no such pixel.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }

    /// The bytes of a PNG file that holds it.
    ///
    /// # Errors
    ///
    /// [`Error::Encode`] for more than 2³¹ columns or rows.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let fail = |reason: String| Error::Encode { reason };
        let mut bytes = Vec::new();
        let side = |n: usize| u32::try_from(n).map_err(|e| fail(e.to_string()));
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|e| fail(e.to_string()))?;
        writer.write_image_data(&self.data).map_err(|e| fail(e.to_string()))?;
        writer.finish().map_err(|e| fail(e.to_string()))?;
        Ok(bytes)
    }

    /// Writes it as a PNG file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the system refuses.
    pub fn write_png(&self, path: &Path) -> Result<(), Error> {
        let bytes = self.to_png()?;
        fs::write(path, bytes).map_err(|source| Error::Write { path: path.to_path_buf(), source })
    }

    /// The part of `width` by `height` pixels whose upper left corner is column `x` of row `y`; what lies outside is
    /// `fill`.
    pub fn crop(&self, x: isize, y: isize, width: usize, height: usize, fill: [u8; 3]) -> Self {
        let mut out = Self::filled(width, height, fill);
        let (width, height) = (out.width, out.height);
        // Columns of the result that exist here.
        let begin = (-x).clamp(0, width as isize) as usize;
        let end = (self.width as isize - x).clamp(0, width as isize) as usize;
        for row in 0..height {
            let from = y + row as isize;
            if (0..self.height as isize).contains(&from) && begin < end {
                let from = (from as usize * self.width + (x + begin as isize) as usize) * 3;
                let (to, bytes) = ((row * width + begin) * 3, (end - begin) * 3);
                out.data[to..to + bytes].copy_from_slice(&self.data[from..from + bytes]);
            }
        }
        out
    }

    /// Each pixel as a square of `times` by `times`; 0 is taken for 1.
    pub fn enlarged(&self, times: usize) -> Self {
        if times <= 1 {
            return self.clone();
        }
        let mut data = Vec::with_capacity(self.data.len() * times * times);
        for row in self.data.chunks_exact(self.width * 3) {
            let wide: Vec<u8> =
                row.chunks_exact(3).flat_map(|pixel| std::iter::repeat_n(pixel, times).flatten()).copied().collect();
            (0..times).for_each(|_| data.extend_from_slice(&wide));
        }
        Self { width: self.width * times, height: self.height * times, data }
    }

    /// Left and right exchanged.
    pub fn flip_horizontal(&mut self) {
        let width = self.width;
        for row in self.data.chunks_exact_mut(width * 3) {
            for x in 0..width / 2 {
                let (left, right) = row.split_at_mut((width - 1 - x) * 3);
                left[x * 3..][..3].swap_with_slice(&mut right[..3]);
            }
        }
    }

    /// Top and bottom exchanged.
    pub fn flip_vertical(&mut self) {
        let (bytes, height) = (self.width * 3, self.height);
        for y in 0..height / 2 {
            let (top, bottom) = self.data.split_at_mut((height - 1 - y) * bytes);
            top[y * bytes..][..bytes].swap_with_slice(&mut bottom[..bytes]);
        }
    }

    /// Rows become columns: mirrored at the diagonal from the upper left.
    pub fn transpose(&self) -> Self {
        let mut data = Vec::with_capacity(self.data.len());
        for x in 0..self.width {
            for y in 0..self.height {
                data.extend_from_slice(&self.pixel(x, y));
            }
        }
        Self { width: self.height, height: self.width, data }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 2 3 over 4 5 6.
    fn numbered() -> Picture {
        Picture::new(3, 2, (1..=6).flat_map(|n| [n; 3]).collect()).unwrap()
    }

    fn rows(picture: &Picture) -> Vec<Vec<u8>> {
        let row = |y| (0..picture.width()).map(|x| picture.pixel(x, y)[0]).collect();
        (0..picture.height()).map(row).collect()
    }

    #[test]
    fn flips_and_transposes() {
        let mut picture = numbered();
        picture.flip_horizontal();
        assert_eq!(rows(&picture), [[3, 2, 1], [6, 5, 4]]);
        picture.flip_vertical();
        assert_eq!(rows(&picture), [[6, 5, 4], [3, 2, 1]]);
        assert_eq!(rows(&picture.transpose()), [[6, 3], [5, 2], [4, 1]]);
    }

    #[test]
    fn crops_fill_what_is_outside() {
        assert_eq!(rows(&numbered().crop(1, 0, 2, 1, [9; 3])), [[2, 3]]);
        assert_eq!(rows(&numbered().crop(-1, 1, 3, 2, [9; 3])), [[9, 4, 5], [9, 9, 9]]);
        assert_eq!(rows(&numbered().crop(7, 7, 1, 2, [9; 3])), [[9], [9]]);
        assert_eq!(rows(&numbered().crop(-9, 0, 2, 1, [9; 3])), [[9, 9]]);
    }

    #[test]
    fn as_many_bytes_as_pixels() {
        for (width, height, bytes) in [(2, 2, 11), (0, 2, 0), (usize::MAX, 2, 6)] {
            assert!(matches!(Picture::new(width, height, vec![0; bytes]), Err(Error::Shape { .. })));
        }
    }
}
