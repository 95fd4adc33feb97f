//! models

pub mod checkpoint;
