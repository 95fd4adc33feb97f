//! How a camera was held: the EXIF tag 0x0112.

use crate::pictures::Picture;

/// What is to be done with a stored picture to see it upright; EXIF numbers them from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    /// First, at the diagonal from the upper left.
    transpose: bool,
    flip_horizontal: bool,
    flip_vertical: bool,
}

impl Orientation {
    /// From the TIFF structure of an EXIF block, with or without `Exif\0\0` before it. Anything unusual is no
    /// orientation, as in Pillow: the pixels are whole without it.
    pub(super) fn of(exif: Option<&[u8]>) -> Self {
        exif.and_then(tag).map_or_else(Self::default, Self::from_tag)
    }

    fn from_tag(tag: u16) -> Self {
        let (transpose, flip_horizontal, flip_vertical) = match tag {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => (false, false, false),
        };
        Self { transpose, flip_horizontal, flip_vertical }
    }

    pub(super) fn apply(self, picture: Picture) -> Picture {
        let mut picture = if self.transpose { picture.transpose() } else { picture };
        if self.flip_horizontal {
            picture.flip_horizontal();
        }
        if self.flip_vertical {
            picture.flip_vertical();
        }
        picture
    }
}

/// The value of tag 0x0112 in the first directory.
fn tag(exif: &[u8]) -> Option<u16> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = <[u8; 2]>::try_from(tiff.get(at..at.checked_add(2)?)?).ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = <[u8; 4]>::try_from(tiff.get(at..at.checked_add(4)?)?).ok()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let directory = long(4)?;
    let entries = usize::from(short(directory)?);
    let entry = (0..entries).map(|n| directory + 2 + n * 12).find(|&at| short(at) == Some(0x0112))?;
    // A short of its own; the value stands in the entry.
    (short(entry + 2)? == 3 && long(entry + 4)? == 1).then(|| short(entry + 8))?
}
