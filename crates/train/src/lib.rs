//! Training: objectives, trainer, optimizer, schedules; parity with reference implementations.

mod augment;
mod bench;
mod card;
mod data;
mod ema;
mod embeddings;
mod error;
mod evaluate;
mod finetune;
mod grads;
mod local_heads;
mod lora;
mod objective;
mod optimizer;
pub mod parity;
mod pictures;
mod plan;
mod precision;
mod pretrain;
mod recipe;
mod schedule;
mod state;
mod step;

pub use bench::{
    BENCH_MODELS, BenchModel, BenchOptions, BenchReport, KernelRow, Share, bench_infer, bench_kernels, bench_train,
};
pub use data::Text;
pub use embeddings::{OpenVectors, WordVectors};
pub use error::{Result, TrainError};
pub use evaluate::{Evaluated, Evaluation, MaskedEvaluation, PictureEvaluated, evaluate};
pub use finetune::{
    FINETUNE_RECIPE, FinetuneReport, FinetuneRequest, MeasureRequest, PICTURES_RECIPE, Scores, Task, TaskReport,
    begun_finetune, finetune, is_vision, measure, measure_pictures,
};
pub use optimizer::{AdamW, AdamWConfig, clip_factor, global_norm};
pub use pretrain::{Locate, Needs, Report, Request, local, pretrain};
pub use recipe::{DataConfig, EvaluateConfig, Family, PretrainRecipe, TokenizerConfig, TokenizerKind, TrainConfig};
pub use schedule::{Kind as ScheduleKind, Schedule};
