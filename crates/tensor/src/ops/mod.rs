//! The operations. Each file has one: the function, what its gradient keeps, and its finite-difference check.

/// Runs `$body` with `$T` as the type of numbers that `$dtype` names: f32, unless it is bf16.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::Dtype::Bf16 => {
                type $T = bedstone_kernels::bf16;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}

mod activation;
mod attention;
mod checkpoint;
mod column;
mod conv1d;
mod disentangled;
mod dropout;
mod elementwise;
mod embedding;
mod head;
mod keep_rows;
mod linear;
mod loss;
mod norm;
mod packed;
mod pooling;
mod probabilities;
mod rotary;
mod rows;
mod similarity;
mod targets;
mod weighted;

pub use activation::{activation, gated};
pub use attention::{AttentionArgs, Part, attention};
pub use checkpoint::checkpoint;
pub use column::column;
pub use conv1d::conv1d;
pub use disentangled::{DisentangledArgs, Positions, disentangled_attention};
pub use dropout::dropout;
pub use elementwise::{add, scale, softcap};
pub use embedding::embedding;
pub use head::linear_cross_entropy;
pub use keep_rows::keep_rows;
pub use linear::{Layout, Linear, LinearArgs, linear};
pub use loss::{LossArgs, cross_entropy};
pub use norm::{HeadNorm, NormArgs, norm, norm_heads, norm_operand};
pub use packed::attention_packed;
pub use pooling::{mean_pool, normalize};
pub use probabilities::attention_probabilities;
pub use rotary::{RotaryTable, rotary};
pub use rows::rows;
pub use similarity::similarity;
pub use targets::{TargetLoss, target_loss};
pub use weighted::weighted_cross_entropy;
