//! Training: objectives, trainer, optimizer, schedules; parity with reference implementations.

mod bench;
mod card;
mod data;
mod error;
mod evaluate;
mod grads;
mod objective;
mod optimizer;
pub mod parity;
mod plan;
mod pretrain;
mod recipe;
mod schedule;
mod state;
mod step;

pub use bench::{BENCH_MODELS, BenchModel, BenchOptions, BenchReport, KernelRow, Share, bench_kernels, bench_train};
pub use data::Text;
pub use error::{Result, TrainError};
pub use evaluate::{Evaluation, evaluate};
pub use optimizer::{AdamW, AdamWConfig, clip_factor, global_norm};
pub use pretrain::{Locate, Needs, Outcome, Report, Request, Start, local, pretrain};
pub use recipe::{DataConfig, EvaluateConfig, Family, PretrainRecipe, TokenizerConfig, TokenizerKind, TrainConfig};
pub use schedule::{Kind as ScheduleKind, Schedule};
