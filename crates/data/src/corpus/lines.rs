//! Reading a file line by line.

use super::{Error, text::Place};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// A longer line is taken for a file that has no lines at all.
const MAX_LINE_BYTES: usize = 256 << 20;

/// The lines of one file as text, without their ends (`\n` or `\r\n`) and without a byte order mark.
pub(crate) struct Lines {
    bytes: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    place: Place,
}

impl Lines {
    pub(crate) fn new(bytes: Box<dyn Read + Send>) -> Self {
        let bytes = BufReader::with_capacity(1 << 18, bytes);
        Self { bytes, line: Vec::new(), place: Place { line: 1, byte: 0 } }
    }

    /// The next line and its number from 1, or `None` at the end; `path` is for messages.
    pub(crate) fn next(&mut self, path: &Path) -> Result<Option<(u64, &str)>, Error> {
        self.place.advance(&self.line);
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.bytes.by_ref().take(limit).read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        if read == 0 {
            return Ok(None);
        }
        if read > MAX_LINE_BYTES {
            let (path, line) = (path.to_path_buf(), self.place.line);
            return Err(Error::RowTooLong { path, line, limit: MAX_LINE_BYTES });
        }
        let text = self.place.check(path, &self.line, true)?;
        let text = if self.place.byte == 0 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Some((self.place.line, text.strip_suffix('\r').unwrap_or(text))))
    }
}
