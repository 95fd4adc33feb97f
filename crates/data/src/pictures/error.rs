//! What can go wrong with pictures.

use super::decode::{Format, MAX_BYTES, MAX_PIXELS};
use crate::{corpus, labelled};
use std::{io, path::PathBuf};

/// Pictures that cannot be read or used; every variant of a file names it, and where it can the record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system cannot read a file or a folder.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system cannot write a file.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file without a byte.
    #[error("{name}: the picture is an empty file")]
    Empty {
        /// The file.
        name: String,
    },
    /// A file that is no picture of a known format.
    #[error("{name}: no picture that can be read: it begins with {begins}, want PNG, JPEG, WebP or GIF")]
    Format {
        /// The file.
        name: String,
        /// Its first bytes.
        begins: String,
    },
    /// A file that is larger than any picture should be.
    #[error("{name}: a picture of {size} bytes, want at most {MAX_BYTES}")]
    FileSize {
        /// The file.
        name: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A picture that would need too much memory.
    #[error("{name}: a picture of {width} x {height} pixels, want at most {MAX_PIXELS} pixels")]
    TooLarge {
        /// The file.
        name: String,
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// A truncated or corrupted picture.
    #[error("{name}: the {format} picture is truncated or corrupted: {reason}")]
    Broken {
        /// The file.
        name: String,
        /// Its format.
        format: Format,
        /// What the decoder said.
        reason: String,
    },
    /// Bytes that are no pixels of that many.
    #[error("{bytes} bytes for a picture of {width} x {height} pixels of 3 bytes")]
    Shape {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The bytes.
        bytes: usize,
    },
    /// A file of settings that cannot be followed.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Pictures of one batch that come out in different sizes.
    #[error("picture {index} of the batch is {} pixels, want {} as the first", by(*got), by(*want))]
    Sizes {
        /// Number of the picture.
        index: usize,
        /// Its width and height.
        got: [usize; 2],
        /// Those of the first.
        want: [usize; 2],
    },
    /// A picture that does not fit into the padded size.
    #[error("picture {index} of the batch is {} pixels, pad_size is {}", by(*got), by(*want))]
    Pad {
        /// Number of the picture.
        index: usize,
        /// Its width and height.
        got: [usize; 2],
        /// Those of the padded size.
        want: [usize; 2],
    },
    /// A setting out of its bounds.
    #[error("{name}: got {got}, want {wanted}")]
    Setting {
        /// What it is for.
        name: &'static str,
        /// Its value.
        got: String,
        /// Its bounds.
        wanted: &'static str,
    },
    /// A loader that has ended, or a place that is not in its set.
    #[error(transparent)]
    Sampler(#[from] crate::sampler::Error),
    /// What is wrong with a batch, and which record it is.
    #[error("{name}: {source}")]
    OfRecord {
        /// The record.
        name: String,
        /// What is wrong.
        source: Box<Error>,
    },
    /// Nothing to work on.
    #[error("there is not one picture")]
    NoRecords,
    /// Labels that cannot be read or used.
    #[error(transparent)]
    Labels(#[from] labelled::Error),
    /// A file that cannot be unpacked.
    #[error(transparent)]
    File(#[from] corpus::Error),
    /// A folder without a picture.
    #[error("{}: holds no picture (.png, .jpg, .jpeg, .webp, .gif); {ignored} other files", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
        /// How many other files it holds.
        ignored: u64,
    },
    /// Pictures beside folders of pictures.
    #[error("{}: {first} and {other}: pictures in folders of classes and beside them", path.display())]
    MixedFolder {
        /// The folder.
        path: PathBuf,
        /// A picture of the one kind.
        first: String,
        /// One of the other.
        other: String,
    },
    /// A picture without a label.
    #[error("{name}: the picture has no label")]
    NoLabel {
        /// The picture.
        name: String,
    },
    /// A record whose file is not there.
    #[error("{place}: no such file: {}", path.display())]
    Missing {
        /// The record.
        place: String,
        /// The file.
        path: PathBuf,
    },
    /// A file that is not of the form that its reader knows.
    #[error("{}: not as {format} has it: {reason}", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// The form.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A box that is none.
    #[error("{name}: the box [left, top, width, height] {bounds:?} in {picture} is not finite or of negative size")]
    Box {
        /// The annotation.
        name: String,
        /// The picture.
        picture: String,
        /// The box.
        bounds: [f64; 4],
    },
    /// An id that stands for nothing.
    #[error("{name}: no {what} has the id {id}")]
    UnknownId {
        /// The record.
        name: String,
        /// What it should be the id of.
        what: &'static str,
        /// The id.
        id: i64,
    },
    /// A picture of another size than its record says.
    #[error("{name}: {} is {} pixels, its record says {}", path.display(), by(*got), by(*want))]
    OtherSize {
        /// The record.
        name: String,
        /// The picture.
        path: PathBuf,
        /// Its width and height.
        got: [usize; 2],
        /// Those of the record.
        want: [usize; 2],
    },
    /// A picture that cannot be written as PNG.
    #[error("the picture cannot be written as PNG: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
}

impl Error {
    /// What the user could do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Format { .. } => "convert it, or leave it out".into(),
            Self::TooLarge { .. } => "make it smaller: models take pictures of a few hundred pixels".into(),
            Self::Broken { .. } | Self::Empty { .. } => "fetch the file again, or leave it out".into(),
            Self::OfRecord { source, .. } => return source.hint(),
            Self::Sampler(error) => return error.hint(),
            Self::Labels(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::NoPictures { .. } => "give a folder of pictures, or one with a folder for each class".into(),
            Self::MixedFolder { .. } => "put every picture into the folder of its class, or all into one folder".into(),
            Self::NoLabel { .. } => "put it into the folder of its class, or give it a label in its table".into(),
            Self::Missing { .. } => "paths are relative to the table, or to the folder of pictures".into(),
            Self::OtherSize { .. } => {
                "are its boxes those of the picture before it was turned as its EXIF orientation says, or resized?"
                    .into()
            }
            Self::Sizes { .. } => "resize to one height and width, crop, or pad".into(),
            _ => return None,
        })
    }
}

fn by([width, height]: [usize; 2]) -> String {
    format!("{width} x {height}")
}
