//! `log.jsonl`: one JSON object a line, each with its `step`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::files::FileError;

/// The names that the fields of a log have everywhere.
pub mod field {
    /// The step, in every line.
    pub const STEP: &str = "step";
    /// Training loss of the step.
    pub const LOSS: &str = "loss";
    /// Loss on the validation split.
    pub const VALIDATION_LOSS: &str = "val_loss";
    /// Tokens of the validation split that this loss is of.
    pub const VALIDATION_TOKENS: &str = "val_tokens";
}

/// A log that is not one, or cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A line that is not a JSON object with a step.
    #[error("{}:{line}: broken log line: got `{got}`, wanted a JSON object with a whole number `step`", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// How it begins.
        got: String,
    },
    /// The caller's record is not an object, or has a `step` of its own.
    #[error("log record of step {step}: {problem}")]
    Record {
        /// The step.
        step: u64,
        /// What is wrong.
        problem: String,
    },
    /// The system refused something.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    // Up to here all lines are whole.
    length: u64,
}

/// What [`Log::resume`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Lines that stay.
    pub kept: usize,
    /// Lines removed: of later steps, or torn by a kill.
    pub removed: usize,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The step.
    pub step: u64,
    /// All fields, `step` included.
    pub fields: Map<String, Value>,
}

impl Log {
    /// Starts an empty log, replacing what is at `path`.
    pub fn create(path: &Path) -> Result<Self, LogError> {
        File::create(path).map_err(FileError::at(path, "make the log"))?;
        Self::open(path)
    }

    /// Goes on with the log of a run that resumes after `step`: later lines and a torn last line are removed.
    ///
    /// A missing log is begun anew. The log is replaced as a whole, so that a kill here leaves the old or the new one.
    ///
    /// # Errors
    /// [`LogError::Line`] when a line before the last one is broken, and the system's.
    pub fn resume(path: &Path, step: u64) -> Result<(Self, Cut), LogError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(path)?, Cut { kept: 0, removed: 0 }));
            }
            Err(e) => return Err(FileError::at(path, "read the log")(e).into()),
        };
        let mut cut = Cut { kept: 0, removed: 0 };
        let mut kept = Vec::with_capacity(text.len());
        for_each_line(path, &text, |line, bytes| match line {
            Some(line) if line.step <= step => {
                kept.extend_from_slice(bytes);
                cut.kept += 1;
            }
            _ => cut.removed += 1,
        })?;
        if kept.len() != text.len() {
            let beside = path.with_extension("jsonl.tmp");
            let write = || {
                fs::write(&beside, &kept)?;
                OpenOptions::new().write(true).open(&beside)?.sync_all()?;
                fs::rename(&beside, path)
            };
            write().map_err(FileError::at(path, "cut the log"))?;
        }
        Ok((Self::open(path)?, cut))
    }

    fn open(path: &Path) -> Result<Self, LogError> {
        let file = OpenOptions::new().append(true).open(path).map_err(FileError::at(path, "open the log"))?;
        let length = file.metadata().map_err(FileError::at(path, "look at the log"))?.len();
        Ok(Self { path: path.to_path_buf(), file, length })
    }

    /// Writes one line: `step`, then the fields of `record`.
    ///
    /// Numbers that JSON does not have (NaN, infinite) become `null`. The line is written in one piece, and flushed to
    /// the disk by the commit of a checkpoint.
    pub fn append(&mut self, step: u64, record: &impl Serialize) -> Result<(), LogError> {
        let wrong = |problem: String| LogError::Record { step, problem };
        let fields = match serde_json::to_value(record).map_err(|e| wrong(e.to_string()))? {
            Value::Object(fields) => fields,
            other => return Err(wrong(format!("got {other}, wanted an object"))),
        };
        let mut line = Map::new();
        line.insert(field::STEP.to_owned(), step.into());
        for (name, value) in fields {
            if name == field::STEP {
                return Err(wrong("the field `step` is the log's own".to_owned()));
            }
            line.insert(name, value);
        }
        let text = format!("{}\n", Value::Object(line));
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // On a full disk half a line may be there, to which the next one would be glued. If this fails as well,
            // the first error is the one to report.
            let _ = self.file.set_len(self.length);
            return Err(FileError::at(&self.path, "append to the log")(error).into());
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// The log's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a log; a torn last line, which a running or killed process leaves, is left out.
pub fn read(path: &Path) -> Result<Vec<Line>, LogError> {
    let text = fs::read(path).map_err(FileError::at(path, "read the log"))?;
    let mut lines = Vec::new();
    for_each_line(path, &text, |line, _| lines.extend(line))?;
    Ok(lines)
}

/// The values of one field over the steps; lines without it are skipped, `null` is NaN.
pub fn series(lines: &[Line], name: &str) -> Vec<(u64, f64)> {
    let value = |line: &Line| match line.fields.get(name)? {
        Value::Null => Some(f64::NAN),
        value => value.as_f64(),
    };
    lines.iter().filter_map(|line| Some((line.step, value(line)?))).collect()
}

/// Calls `each` with every line, parsed, and its bytes with the line end; a torn last line is `None`.
fn for_each_line(path: &Path, text: &[u8], mut each: impl FnMut(Option<Line>, &[u8])) -> Result<(), LogError> {
    let mut lines = text.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((number, bytes)) = lines.next() {
        // A power cut may leave a last line that is long enough but not all there.
        let last = lines.peek().is_none();
        match parse(bytes) {
            Some(line) if bytes.ends_with(b"\n") => each(Some(line), bytes),
            _ if last => each(None, bytes),
            _ => {
                let got = String::from_utf8_lossy(bytes).trim_end().chars().take(60).collect();
                return Err(LogError::Line { path: path.to_path_buf(), line: number + 1, got });
            }
        }
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Option<Line> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    Some(Line { step: fields.get(field::STEP)?.as_u64()?, fields })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn log_of(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    const THREE: &str = "{\"step\":1,\"loss\":3.5}\n{\"step\":2,\"loss\":null}\n{\"step\":2,\"val_loss\":3.0}\n";

    #[test]
    fn appended_lines_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let mut log = Log::create(&path).unwrap();
        log.append(1, &json!({"loss": 3.5})).unwrap();
        log.append(2, &json!({"loss": f64::NAN})).unwrap();
        log.append(2, &json!({"val_loss": 3.0})).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), THREE);
        let lines = read(&path).unwrap();
        let loss = series(&lines, field::LOSS);
        assert_eq!((loss.len(), loss[0]), (2, (1, 3.5)));
        assert!(loss[1].1.is_nan());
        assert_eq!(series(&lines, field::VALIDATION_LOSS), [(2, 3.0)]);
        assert_eq!(series(&lines, "other"), []);
    }

    #[test]
    fn records_are_objects() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::create(&dir.path().join("log.jsonl")).unwrap();
        assert_eq!(log.append(1, &3).unwrap_err().to_string(), "log record of step 1: got 3, wanted an object");
        assert!(log.append(1, &json!({"step": 2})).is_err());
        assert_eq!(read(log.path()).unwrap(), []);
    }

    #[track_caller]
    fn check(text: &str, step: u64, kept: usize, removed: usize) {
        let (_dir, path) = log_of(text);
        let (mut log, cut) = Log::resume(&path, step).unwrap();
        assert_eq!(cut, Cut { kept, removed });
        log.append(step + 1, &json!({})).unwrap();
        let lines = read(&path).unwrap();
        assert_eq!(lines.len(), kept + 1);
        assert!(lines.iter().all(|line| line.step <= step + 1));
    }

    #[test]
    fn resume_cuts_back() {
        check("", 5, 0, 0);
        check(THREE, 2, 3, 0);
        check(THREE, 1, 1, 2);
        check(THREE, 0, 0, 3);
        check(&THREE[..THREE.len() - 1], 2, 2, 1);
        check(&format!("{THREE}{{\"st"), 2, 3, 1);
        check(&format!("{THREE}\0\0\0\0\n"), 2, 3, 1);
    }

    #[test]
    fn missing_log_is_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (_, cut) = Log::resume(&dir.path().join("log.jsonl"), 5).unwrap();
        assert_eq!(cut, Cut { kept: 0, removed: 0 });
        assert!(Log::resume(&dir.path().join("no/log.jsonl"), 5).is_err());
    }

    #[test]
    fn broken_lines_are_named() {
        #[track_caller]
        fn check(broken: &str) {
            let (_dir, path) = log_of(&format!("{{\"step\":1}}\n{broken}\n{{\"step\":3}}\n"));
            for error in [read(&path).unwrap_err(), Log::resume(&path, 1).unwrap_err()] {
                let text = error.to_string();
                assert!(text.contains(&format!("log.jsonl:2: broken log line: got `{broken}`")), "{text}");
            }
        }
        check("");
        check("step 2");
        check("{\"step\":2");
        check("{\"step\":-2}");
        check("{\"loss\":2}");
        check("[2]");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn cut_anywhere_keeps_whole_lines(cut in 0..THREE.len()) {
            let (_dir, path) = log_of(&THREE[..cut]);
            let whole = THREE[..cut].matches('\n').count();
            prop_assert_eq!(read(&path).unwrap().len(), whole);
            prop_assert_eq!(Log::resume(&path, 9).unwrap().1.kept, whole);
            prop_assert_eq!(fs::read_to_string(&path).unwrap().matches('\n').count(), whole);
        }
    }
}
