//! Slices in, slices out: what the processor does, and the memory it does it on.
//!
//! This is the only crate of the project with `unsafe` code; each use names what proves it.

pub mod mem;
