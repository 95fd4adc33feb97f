//! Speeds of this machine: whole passes through models, and single kernels.

mod kernels;
mod models;
mod steps;

pub(crate) use kernels::best;
pub use kernels::{KernelRow, bench_kernels};
pub use models::{BENCH_MODELS, BenchModel};
pub use steps::{BenchOptions, BenchReport, Share, bench_infer, bench_train};
