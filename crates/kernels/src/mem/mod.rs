//! Memory that kernels read and write: recycled aligned buffers and mapped files.

mod buf;
mod map;
mod region;

pub use buf::{Buf, Usage, trim, usage};
pub use map::MappedFile;
