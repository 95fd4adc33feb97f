//! Finding the files of a corpus.

use super::Error;
use crate::walk::{Unread, files_below};
use globset::GlobBuilder;
use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Component, Path, PathBuf},
};

/// How documents lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.txt`: the file is one document.
    Text,
    /// `.jsonl`: each line is a JSON object, one of whose fields is a document.
    JsonLines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What the end of a file name says, and the name without it.
    pub(crate) fn of(name: &str) -> (&str, Self) {
        match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Self::Gzip),
            Some((stem, "zst")) => (stem, Self::Zstd),
            _ => (name, Self::None),
        }
    }

    /// The decompressed bytes of `file`; messages name it by `path`.
    pub(crate) fn open(self, file: &Path, path: &Path) -> Result<Box<dyn Read + Send>, Error> {
        let failed = |source: io::Error| Error::Read { path: path.to_path_buf(), source };
        let file = BufReader::with_capacity(1 << 18, File::open(file).map_err(failed)?);
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file).map_err(failed)?),
        })
    }
}

/// One file of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as it was found; `-` for the standard input.
    pub path: PathBuf,
    /// How documents lie in it.
    pub format: Format,
    /// Its size in bytes, compressed if it is.
    pub size: u64,
    pub(super) compression: Compression,
    /// Where the bytes are.
    pub(crate) file: PathBuf,
}

impl Source {
    /// The file at `path`, by its extension; `None` if that says nothing.
    fn from_extension(path: &Path) -> Option<(Format, Compression)> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, compression) = Compression::of(&name);
        let format = match name.rsplit_once('.')?.1 {
            "txt" => Format::Text,
            "jsonl" => Format::JsonLines,
            _ => return None,
        };
        Some((format, compression))
    }

    fn file(path: PathBuf) -> Result<Self, Error> {
        let Some((format, compression)) = Self::from_extension(&path) else { return Err(Error::Extension { path }) };
        let size = fs::metadata(&path).map_err(|source| Error::Read { path: path.clone(), source })?.len();
        if size == 0 {
            return Err(Error::Empty { path });
        }
        Ok(Self { file: path.clone(), path, format, size, compression })
    }

    /// The standard input, which was kept in `file`.
    pub(super) fn spooled(file: PathBuf, size: u64, format: Format) -> Result<Self, Error> {
        let path = PathBuf::from("-");
        if size == 0 {
            return Err(Error::Empty { path });
        }
        Ok(Self { path, format, size, compression: Compression::None, file })
    }

    /// How the bytes are read, for a content hash.
    pub(crate) fn kind(&self) -> String {
        format!("{:?} {:?}", self.format, self.compression)
    }

    /// The decompressed bytes.
    pub(super) fn open(&self) -> Result<Box<dyn Read + Send>, Error> {
        self.compression.open(&self.file, &self.path)
    }
}

/// The sources that `path` means (a file, a folder or a pattern), sorted, and how many files a folder holds besides.
pub(super) fn find(path: &Path) -> Result<(Vec<Source>, usize), Error> {
    if path.is_dir() {
        return in_folder(path);
    }
    let text = path.to_string_lossy();
    if !path.exists() && text.contains(['*', '?', '[', '{']) {
        return Ok((matching(path, &text)?, 0));
    }
    if !path.exists() {
        return Err(Error::Missing { path: path.to_path_buf() });
    }
    Ok((vec![Source::file(path.to_path_buf())?], 0))
}

/// All text files below `folder`, except hidden ones.
fn in_folder(folder: &Path) -> Result<(Vec<Source>, usize), Error> {
    let (files, others): (Vec<PathBuf>, Vec<PathBuf>) =
        walk(folder)?.into_iter().partition(|file| Source::from_extension(file).is_some());
    if files.is_empty() {
        return Err(Error::NoText { path: folder.to_path_buf(), ignored: others.len() });
    }
    Ok((files.into_iter().map(Source::file).collect::<Result<_, _>>()?, others.len()))
}

fn matching(path: &Path, pattern: &str) -> Result<Vec<Source>, Error> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .map_err(|e| Error::Pattern { pattern: pattern.to_string(), reason: e.kind().to_string() })?
        .compile_matcher();
    let plain = |part: &Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let base: PathBuf = path.components().take_while(plain).collect();
    let start = if base.as_os_str().is_empty() { Path::new(".") } else { &base };
    if !start.exists() {
        return Err(Error::NoMatch { pattern: pattern.to_string() });
    }
    let files = walk(start)?.into_iter().map(|file| match base.as_os_str().is_empty() {
        // Without a folder in the pattern there is none in the names either.
        true => file.strip_prefix(".").map(Path::to_path_buf).unwrap_or(file),
        false => file,
    });
    let sources = files.filter(|file| glob.is_match(file)).map(Source::file).collect::<Result<Vec<_>, _>>()?;
    if sources.is_empty() { Err(Error::NoMatch { pattern: pattern.to_string() }) } else { Ok(sources) }
}

/// All files below `folder`, as [`files_below`] finds them.
fn walk(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    files_below(folder).map(|file| file.map_err(|Unread { path, source }| Error::Read { path, source })).collect()
}
