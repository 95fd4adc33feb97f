//! What every run has, with or without tensors: recipe, run directory.
pub mod dir;
pub mod files;
pub mod hint;
pub mod recipe;
pub mod space;
pub mod units;
