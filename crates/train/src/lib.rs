//! Objectives, trainer, optimizer, schedules; parity with reference implementations.

mod grads;
mod optimizer;
pub mod parity;
