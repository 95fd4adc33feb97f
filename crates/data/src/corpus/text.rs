//! Reading a text file, whole or piece by piece.

use super::{
    Error, cut,
    source::{Compression, Source},
};
use std::{io::Read, path::Path};

/// All of the file at `path`, decompressed where its name ends in `.gz` or `.zst`, as text without a byte order mark.
///
/// # Errors
/// [`Error::Missing`], [`Error::Read`], and those of [`text_of`].
pub fn read_text(path: &Path) -> Result<String, Error> {
    if !path.exists() {
        return Err(Error::Missing { path: path.to_path_buf() });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let mut bytes = Vec::new();
    let read = Compression::of(&name).1.open(path, path)?.read_to_end(&mut bytes);
    read.map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    text_of(&bytes, path)
}

/// All that was read from `path`, as text without a byte order mark.
///
/// # Errors
/// [`Error::Utf8`] and [`Error::Binary`].
pub fn text_of(bytes: &[u8], path: &Path) -> Result<String, Error> {
    let text = Place { line: 1, byte: 0 }.check(path, bytes, true)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}

/// A reader of one `.txt`, in pieces that put together are its text.
///
/// A byte order mark is left out, and line ends are `\n`: `\r\n` is how a system writes them, not text.
pub(super) struct TextPieces {
    bytes: Box<dyn Read + Send>,
    /// Read and not yet given out.
    buffer: Vec<u8>,
    place: Place,
    limit: usize,
    at_start: bool,
    at_end: bool,
}

impl TextPieces {
    /// Pieces of about `limit` bytes.
    pub(super) fn open(source: &Source, limit: usize) -> Result<Self, Error> {
        let place = Place { line: 1, byte: 0 };
        Ok(Self { bytes: source.open()?, buffer: Vec::new(), place, limit, at_start: true, at_end: false })
    }

    /// The next piece and whether it is the last one; `None` after that.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<(String, bool)>, Error> {
        if self.at_end && self.buffer.is_empty() && !self.at_start {
            return Ok(None);
        }
        self.fill(path)?;
        if self.at_start {
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.place.byte += 3;
                self.buffer.drain(..3);
                self.fill(path)?;
            }
            if self.buffer.is_empty() {
                return Err(Error::Empty { path: path.to_path_buf() });
            }
            self.at_start = false;
        }
        let text = self.place.check(path, &self.buffer, self.at_end)?;
        let mut end = if self.at_end && text.len() <= self.limit { text.len() } else { cut(text) };
        if !self.at_end && end == text.len() && text.ends_with('\r') {
            // Its line feed may come with the next bytes.
            end -= 1;
        }
        let piece = text[..end].replace("\r\n", "\n");
        self.place.advance(&self.buffer[..end]);
        self.buffer.drain(..end);
        Ok(Some((piece, self.at_end && self.buffer.is_empty())))
    }

    /// Reads until there are more bytes than a piece takes, or no more at all.
    fn fill(&mut self, path: &Path) -> Result<(), Error> {
        let want = (self.limit + 1).saturating_sub(self.buffer.len()) as u64;
        let got = self.bytes.by_ref().take(want).read_to_end(&mut self.buffer);
        let got = got.map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        self.at_end |= (got as u64) < want;
        Ok(())
    }
}

/// A place in a decompressed file, for messages: a line from 1 and a byte from 0.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) byte: u64,
}

impl Place {
    /// Moves over `bytes`.
    pub(crate) fn advance(&mut self, bytes: &[u8]) {
        self.line += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.byte += bytes.len() as u64;
    }

    /// `bytes`, which begin here, as text; unless they are complete, half a character at the end is left out.
    pub(crate) fn check<'a>(&self, path: &Path, bytes: &'a [u8], complete: bool) -> Result<&'a str, Error> {
        let at = |index: usize| {
            let mut place = *self;
            place.advance(&bytes[..index]);
            (path.to_path_buf(), place)
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) if e.error_len().is_none() && !complete => {
                // Valid up to there, as the error says.
                std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default()
            }
            Err(e) => {
                // A binary file is better named as such than by the first byte that is no UTF-8.
                if let Some(nul) = bytes.iter().position(|&byte| byte == 0) {
                    let (path, Place { line, byte }) = at(nul);
                    return Err(Error::Binary { path, line, byte });
                }
                let (path, Place { line, byte }) = at(e.valid_up_to());
                return Err(Error::Utf8 { path, line, byte, got: bytes[e.valid_up_to()] });
            }
        };
        match text.bytes().position(|byte| byte == 0) {
            Some(nul) => {
                let (path, Place { line, byte }) = at(nul);
                Err(Error::Binary { path, line, byte })
            }
            None => Ok(text),
        }
    }
}
