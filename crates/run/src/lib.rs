//! What every run has, with or without tensors: recipe, run directory, log, plan, progress, interruption.
//!
//! This crate knows no tensors and no models. It does not print: what should be shown goes through
//! [`progress::Progress`], and only the sinks there, which the command line chooses, write to a stream.

pub mod begin;
pub mod confusion;
pub mod curve;
pub mod dir;
pub mod error;
pub mod files;
pub mod hint;
pub mod interrupt;
pub mod log;
pub mod plan;
pub mod progress;
pub mod recipe;
pub mod space;
pub mod units;

pub use begin::{Ending, Start};
pub use curve::Curve;
pub use dir::{Checkpoint, Committed, Keep, Resume, RunDir, Verify};
pub use error::Error;
pub use hint::nearest;
pub use interrupt::Interrupt;
pub use log::Log;
pub use plan::{Comparison, Outcome, Plan};
pub use progress::{Event, Progress};
pub use recipe::{Layers, Recipe, Setting};
