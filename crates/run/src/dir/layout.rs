//! Where things are in a run directory.

use std::path::{Path, PathBuf};

/// The paths of a run directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) top: PathBuf,
}

impl Layout {
    pub(super) fn new(top: &Path) -> Self {
        Self { top: top.to_path_buf() }
    }

    pub(super) fn training(&self) -> PathBuf {
        self.top.join(TRAINING)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.training().join("lock")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.training().join("log.jsonl")
    }

    pub(super) fn curve(&self) -> PathBuf {
        self.training().join("loss.svg")
    }

    /// Names the committed checkpoint.
    pub(super) fn latest(&self) -> PathBuf {
        self.training().join("latest")
    }

    /// Names the checkpoint that the files at the top show.
    pub(super) fn shown(&self) -> PathBuf {
        self.training().join("shown")
    }

    /// Names the checkpoint with which the run was complete.
    pub(super) fn finished(&self) -> PathBuf {
        self.training().join("finished")
    }

    pub(super) fn step(&self, step: u64) -> PathBuf {
        self.training().join(step_name(step))
    }

    /// A checkpoint that is being written or removed.
    pub(super) fn partial(&self, step: u64) -> PathBuf {
        self.training().join(format!("{}{PARTIAL}", step_name(step)))
    }

    /// A file on its way to the top.
    pub(super) fn incoming(&self) -> PathBuf {
        self.training().join("incoming.tmp")
    }
}

/// The folder of what the model itself does not need.
pub(super) const TRAINING: &str = "training";

const PARTIAL: &str = ".partial";

pub(super) fn step_name(step: u64) -> String {
    format!("step-{step}")
}

/// `step-12` as 12. Only the exact spelling counts, so that a name is a step's and no other's.
pub(super) fn parse_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_name(step) == name).then_some(step)
}

/// Whether a name in `training/` is a leftover that the next opening removes.
pub(super) fn is_leftover(name: &str) -> bool {
    name.ends_with(".tmp") || name.strip_suffix(PARTIAL).is_some_and(|name| parse_step(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, step: Option<u64>, leftover: bool) {
        assert_eq!((parse_step(name), is_leftover(name)), (step, leftover), "{name:?}");
    }

    #[test]
    fn names() {
        check("step-0", Some(0), false);
        check("step-120", Some(120), false);
        check("step-007", None, false);
        check("step-+7", None, false);
        check("step-", None, false);
        check("step-99999999999999999999", None, false);
        check("step-12.partial", None, true);
        check("my.partial", None, false);
        check("latest.tmp", None, true);
        check("log.jsonl", None, false);
    }
}
