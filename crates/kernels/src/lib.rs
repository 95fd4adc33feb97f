//! Slices in, slices out: what the processor does, and the memory it does it on.
//!
//! This is the only crate of the project with `unsafe` code; each use names what proves it.

pub mod attention;
pub mod columns;
pub mod elementwise;
pub mod gemm;
pub mod image;
pub mod isa;
pub mod loss;
pub mod mem;
pub mod norm;
pub mod number;
pub mod optim;
mod out;
pub mod pool;
pub mod profile;
pub mod random;
pub mod rotary;
mod simd;
pub mod words;

pub use half::bf16;
pub use isa::Isa;
