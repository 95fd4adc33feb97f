//! What Word2Vec and GloVe compute, on matrices that all threads change at once.
//!
//! ```text
//! rows.rs       SharedRows: the matrix; gathering and scattering its rows
//! logistic.rs   a step of negative sampling or hierarchical softmax, for a block of inputs and outputs
//! glove.rs      a step of weighted least squares with AdaGrad, for one pair of words
//! ```
//!
//! # Why this is sound
//!
//! Threads race for the same rows, which plain loads and stores must not: a data race is undefined behaviour whatever the
//! processor does. So the numbers are [`AtomicU32`]s and every access is a relaxed atomic one. The compiler does not turn
//! those into vector instructions, which is why the x86 side of `Simd::load_cells` and `Simd::store_cells` says
//! the instruction itself, in `asm!`: what such a block does is, to the compiler, what some code of the language does,
//! and here that code is one relaxed load (or store) of each of the numbers. The instruction keeps that promise: these processors
//! read and write aligned groups of four bytes whole, in vector instructions too. Elsewhere the code *is* that
//! code. No order between numbers is promised, and none is needed.

pub mod glove;
pub mod logistic;
mod rows;

use std::sync::atomic::AtomicU32;

pub use rows::{SharedRows, gather, gather_sum, scatter_add};

/// Sixteen numbers that threads share: a cache line, and a register of AVX-512.
pub(crate) type Line = [AtomicU32; 16];
