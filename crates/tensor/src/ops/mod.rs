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
pub mod boxes;
mod channels_first;
mod checkpoint;
mod column;
mod columns;
mod concat;
mod conv1d;
mod conv2d;
mod disentangled;
mod drop_path;
mod dropout;
mod elementwise;
mod embedding;
mod head;
mod keep_rows;
mod linear;
mod loss;
mod max_pool;
mod norm;
mod packed;
mod pooling;
mod probabilities;
mod resize_grid;
mod rotary;
mod rows;
mod similarity;
mod soft;
mod targets;

pub use activation::{activation, gated};
pub use attention::{AttentionArgs, Part, attention};
pub use boxes::giou_loss;
pub use channels_first::channels_first;
pub use checkpoint::checkpoint;
pub use column::column;
pub use columns::{BatchNorm, batch_norm, layer_scale};
pub use concat::{concat_columns, concat_tokens};
pub use conv1d::conv1d;
pub use conv2d::conv2d;
pub use disentangled::{DisentangledArgs, Positions, disentangled_attention};
pub use drop_path::drop_path;
pub use dropout::dropout;
pub use elementwise::{add, add_to_each, scale, sigmoid, softcap};
pub use embedding::embedding;
pub use head::linear_cross_entropy;
pub use keep_rows::keep_rows;
pub use linear::{Layout, Linear, LinearArgs, linear};
pub use loss::{LossArgs, cross_entropy};
pub use max_pool::max_pool;
pub use norm::{HeadNorm, NormArgs, norm, norm_heads, norm_operand};
pub use packed::attention_packed;
pub use pooling::{mean_pool, normalize};
pub use probabilities::attention_probabilities;
pub use resize_grid::{Grid, resize_grid};
pub use rotary::{RotaryTable, rotary};
pub use rows::rows;
pub use similarity::similarity;
pub use soft::{soft_cross_entropy, weighted_cross_entropy};
pub use targets::{TargetLoss, target_loss};
