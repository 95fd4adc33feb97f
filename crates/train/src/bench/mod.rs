//! Speeds of this machine: whole training steps, and single kernels.

mod kernels;
mod steps;

pub(crate) use kernels::best;
pub use kernels::{KernelRow, bench_kernels};
pub use steps::{BENCH_MODELS, BenchModel, BenchOptions, BenchReport, Share, bench_train};
