//! Files of pictures to pixels.
//!
//! ```text
//! mod.rs          what a file is, limits, orientation
//! formats.rs      PNG, JPEG, WebP, GIF, each by its own library
//! orientation.rs  how a camera was held
//! ```

mod formats;
mod orientation;

use super::{Error, Picture};
use formats::Broken;
use std::{fmt, fs, path::Path};

/// The most pixels that a picture may have. Beyond, Pillow warns of a decompression bomb, too.
pub const MAX_PIXELS: u64 = 178_956_970;

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 30;

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PNG; the first frame of an animated one.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP; the first frame of an animated one.
    WebP,
    /// GIF; its first frame.
    Gif,
}

impl Format {
    /// By the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            _ => None,
        }
    }

    /// Whether the end of a file name is that of a picture that is read here.
    pub fn named(path: &Path) -> bool {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg" | "webp" | "gif"))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
        })
    }
}

/// The picture in the file `path`, as [`decode`] gives it.
///
/// # Errors
///
/// As [`decode`], and if the file cannot be read or is larger than [`MAX_BYTES`].
pub fn open(path: &Path) -> Result<Picture, Error> {
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(Error::FileSize { name: path.display().to_string(), size });
    }
    decode(&fs::read(path).map_err(failed)?, &path.display().to_string())
}

/// The picture in `bytes`; `name` is what errors call it.
///
/// Its format is what the bytes say, whatever the name. The picture is turned as its EXIF orientation says. Grey becomes
/// red, green and blue; transparency is dropped and the colours under it stay; of 16 bits the upper 8 are taken; inks
/// (CMYK) become light without a colour profile. All that is as in Pillow's `convert("RGB")` after `exif_transpose`, but
/// for grey of 16 bits, which Pillow cuts off at 255.
///
/// # Errors
///
/// [`Error::Empty`], [`Error::Format`], [`Error::TooLarge`] for more than [`MAX_PIXELS`] (before pixels are decoded), and
/// [`Error::Broken`] for what is truncated or corrupted.
pub fn decode(bytes: &[u8], name: &str) -> Result<Picture, Error> {
    if bytes.is_empty() {
        return Err(Error::Empty { name: name.to_owned() });
    }
    let Some(format) = Format::of(bytes) else {
        let begins = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        return Err(Error::Format { name: name.to_owned(), begins });
    };
    let decoded = match format {
        Format::Png => formats::png(bytes),
        Format::Jpeg => formats::jpeg(bytes),
        Format::WebP => formats::webp(bytes),
        Format::Gif => formats::gif(bytes),
    };
    let (picture, turn) = decoded.map_err(|broken| match broken {
        Broken::TooLarge { width, height } => Error::TooLarge { name: name.to_owned(), width, height },
        Broken::Because(reason) => Error::Broken { name: name.to_owned(), format, reason },
    })?;
    Ok(turn.apply(picture))
}

#[cfg(test)]
mod tests;
