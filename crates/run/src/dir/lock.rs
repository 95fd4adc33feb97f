//! One process a run directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Seek, Write},
    path::Path,
};

use super::error::DirError;
use crate::files::FileError;

/// An advisory lock on `training/lock`. The system releases it when the process ends, however it ends.
///
/// The file stays: removing it would let two processes lock two files of the same name.
pub(super) struct Lock {
    _file: File,
    /// Set when the file system knows no locks.
    pub(super) note: Option<String>,
}

impl Lock {
    /// Locks `path` for the run in `run`.
    pub(super) fn take(run: &Path, path: &Path) -> Result<Self, DirError> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(FileError::at(path, "open the lock"))?;
        let note = match file.try_lock() {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
                return Err(DirError::Locked { path: run.to_path_buf(), pid });
            }
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Some(format!(
                "{}: this file system knows no locks; do not start a second run in the same folder",
                run.display()
            )),
            Err(TryLockError::Error(e)) => return Err(FileError::at(path, "lock it")(e).into()),
        };
        // The number only helps to name the holder.
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())
        };
        write(&mut file).map_err(FileError::at(path, "write the lock"))?;
        Ok(Self { _file: file, note })
    }
}
