//! What can go wrong with a run directory.

use std::path::PathBuf;

use crate::{files::FileError, units};

/// A run directory that cannot be used, or a checkpoint that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// A new run was to start where there is one.
    #[error(
        "{}: holds a run already ({}), wanted a new or empty folder\n\
         hint: continue that run with `--resume`, or choose another `--out`",
        path.display(), match step { Some(step) => format!("checkpoint of step {step}"), None => "no checkpoint yet".to_owned() }
    )]
    HoldsRun {
        /// The directory.
        path: PathBuf,
        /// Its last checkpoint.
        step: Option<u64>,
    },
    /// A run was to go on where there is none, and nothing said what another should train on.
    #[error(
        "{}: holds no run that could go on\nhint: name the folder of the run with `--out`; to begin one, say what to train on: `--data`, `--config` or `--set`",
        path.display()
    )]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// The folder holds something that no run wrote.
    #[error("{}: holds `{found}`, which belongs to no run; wanted a new or empty folder, or a run to resume\nhint: choose another `--out`", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// The first name found.
        found: String,
    },
    /// A file stands where a folder should.
    #[error("{}: is a file, wanted a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// Another process trains here.
    #[error(
        "{}: another process{} is training in this folder\nhint: wait for it or stop it, or choose another `--out`",
        path.display(), match pid { Some(pid) => format!(" (number {pid})"), None => String::new() }
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, if it left its number.
        pid: Option<u32>,
    },
    /// A committed checkpoint is not as it was written.
    #[error("{}: checkpoint is damaged: got {got}, wanted {wanted}\nhint: {hint}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is there.
        got: String,
        /// What should be there.
        wanted: String,
        /// What can be done.
        hint: String,
    },
    /// Checkpoints go forward.
    #[error("{}: checkpoint of step {step} cannot follow the one of step {latest}", path.display())]
    StepOrder {
        /// The directory.
        path: PathBuf,
        /// The new step.
        step: u64,
        /// The committed step.
        latest: u64,
    },
    /// A run without a checkpoint cannot be complete.
    #[error("{}: the run has no checkpoint yet, so it cannot be complete", path.display())]
    NothingCommitted {
        /// The directory.
        path: PathBuf,
    },
    /// The caller put something into a checkpoint that cannot be there.
    #[error("{}: {what} cannot be part of a checkpoint", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The disk is full.
    #[error(
        "{}: disk full while writing the checkpoint of step {step}, {} free; {}\nhint: free some space, then continue with `--resume`",
        path.display(), match free { Some(free) => units::bytes(*free), None => "unknown space".to_owned() }, whole(*previous)
    )]
    DiskFull {
        /// What was being written.
        path: PathBuf,
        /// The step of the checkpoint that could not be written.
        step: u64,
        /// Free space after the half-written files were removed.
        free: Option<u64>,
        /// The checkpoint that stays.
        previous: Option<u64>,
    },
    /// The caller's closure failed.
    #[error("{}: checkpoint of step {step} could not be written: {source}; {}", path.display(), whole(*previous))]
    Write {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Its step.
        step: u64,
        /// The checkpoint that stays.
        previous: Option<u64>,
        /// The closure's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The checkpoint is committed, but something after that failed.
    #[error("checkpoint of step {step} is written and whole, but: {source}")]
    AfterCommit {
        /// Its step.
        step: u64,
        /// What failed.
        source: FileError,
    },
    /// The system refused something.
    #[error(transparent)]
    File(#[from] FileError),
}

fn whole(previous: Option<u64>) -> String {
    match previous {
        Some(step) => format!("the checkpoint of step {step} is whole"),
        None => "there is no earlier checkpoint".to_owned(),
    }
}
