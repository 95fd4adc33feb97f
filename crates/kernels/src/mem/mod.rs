//! Memory that kernels read and write: mapped files.

mod map;

pub use map::MappedFile;
