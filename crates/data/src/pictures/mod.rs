//! Pictures: from files to what models take.
//!
//! ```text
//! picture.rs   Picture: pixels in memory
//! decode/      PNG, JPEG, WebP and GIF to pixels
//! resize.rs    pictures of another size, as Pillow and torchvision make them
//! boxes.rs     objects in pictures, and what geometry does to them
//! processor/   from a picture to numbers, as the image processors of transformers do it
//! source/      sets of pictures with classes or boxes: folders, tables, MNIST, CIFAR, COCO, tar files
//! augment/     pictures changed at random
//! loader.rs    batches of them, decoded and changed ahead of a training step
//! error.rs     what can go wrong
//! ```

// An error ends the reading, and says much: its size costs nothing.
#![allow(clippy::result_large_err)]

pub mod augment;
mod boxes;
pub mod decode;
mod error;
mod loader;
mod picture;
mod processor;
mod resize;
pub mod source;

#[cfg(test)]
mod testing;

pub use boxes::{Object, Placement};
pub use decode::{decode, open};
pub use error::Error;
pub use loader::{Batch, Batches, LoaderOptions, Targets, gather, in_order, spawn};
pub use picture::Picture;
pub use processor::{Class, Pixels, Processor, Size};
pub use resize::{Arithmetic, Filter, resize};
pub use source::{Notes, Part, PictureSet, Record, Target};
