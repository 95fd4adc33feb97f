//! The operations. Each file has one: the function, what its gradient keeps, and its finite-difference check.

mod activation;
mod attention;
mod dropout;
mod elementwise;
mod embedding;
mod linear;
mod loss;
mod norm;
mod rotary;
mod rows;

pub use activation::{activation, gated};
pub use attention::{AttentionArgs, Part, attention};
pub use dropout::dropout;
pub use elementwise::{add, scale, softcap};
pub use embedding::embedding;
pub use linear::{Layout, Linear, LinearArgs, linear};
pub use loss::{LossArgs, cross_entropy, linear_cross_entropy};
pub use norm::{HeadNorm, NormArgs, norm, norm_heads};
pub use rotary::{RotaryTable, rotary};
pub use rows::rows;
