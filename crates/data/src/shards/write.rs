//! Writing a series of shards.

use super::{
    Error,
    manifest::{FileRecord, Series},
};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Writes tokens to shards of equal size, and the ends of documents.
pub(super) struct SeriesWriter {
    dir: PathBuf,
    name: &'static str,
    shape: Shape,
    series: Series,
    shard: Option<HashedFile>,
    ends: HashedFile,
    buffer: Vec<u8>,
}

/// The layout of shards.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) token_bytes: usize,
    pub(super) shard_tokens: u64,
}

impl SeriesWriter {
    pub(super) fn create(dir: &Path, name: &'static str, shape: Shape) -> Result<Self, Error> {
        let ends = HashedFile::create(dir, format!("{name}.ends"))?;
        let (series, buffer) = (Series::default(), Vec::new());
        Ok(Self { dir: dir.to_path_buf(), name, shape, series, shard: None, ends, buffer })
    }

    /// Appends tokens of the open document, and `text_bytes` bytes of text that they stand for.
    pub(super) fn push(&mut self, ids: &[u32], text_bytes: u64) -> Result<(), Error> {
        self.series.text_bytes += text_bytes;
        let mut ids = ids;
        while !ids.is_empty() {
            let inside = self.series.tokens % self.shape.shard_tokens;
            if inside == 0 {
                self.finish_shard()?;
                let file = format!("{}-{:05}.bin", self.name, self.series.shards.len());
                self.shard = Some(HashedFile::create(&self.dir, file)?);
            }
            let (now, later) = ids.split_at(ids.len().min((self.shape.shard_tokens - inside) as usize));
            self.buffer.clear();
            for id in now {
                // Ids fit, because the width was chosen by the size of the vocabulary.
                self.buffer.extend_from_slice(&id.to_le_bytes()[..self.shape.token_bytes]);
            }
            if let Some(shard) = &mut self.shard {
                shard.write(&self.buffer)?;
            }
            self.series.tokens += now.len() as u64;
            ids = later;
        }
        Ok(())
    }

    /// Ends the document with the token `end`.
    pub(super) fn end_document(&mut self, end: u32) -> Result<(), Error> {
        self.push(&[end], 0)?;
        self.series.documents += 1;
        self.ends.write(&self.series.tokens.to_le_bytes())?;
        self.ends.write(&self.series.text_bytes.to_le_bytes())
    }

    /// Tokens written.
    pub(super) fn tokens(&self) -> u64 {
        self.series.tokens
    }

    /// Bytes of text they stand for.
    pub(super) fn text_bytes(&self) -> u64 {
        self.series.text_bytes
    }

    /// Brings everything to disk.
    pub(super) fn finish(mut self) -> Result<Series, Error> {
        self.finish_shard()?;
        self.series.ends = self.ends.finish()?;
        Ok(self.series)
    }

    fn finish_shard(&mut self) -> Result<(), Error> {
        if let Some(shard) = self.shard.take() {
            self.series.shards.push(shard.finish()?);
        }
        Ok(())
    }
}

/// A file that is hashed while it is written.
struct HashedFile {
    path: PathBuf,
    record: FileRecord,
    hasher: blake3::Hasher,
    file: BufWriter<File>,
}

impl HashedFile {
    fn create(dir: &Path, name: String) -> Result<Self, Error> {
        let path = dir.join(&name);
        let file = File::create(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        let record = FileRecord { file: name, size: 0, blake3: String::new() };
        Ok(Self { path, record, hasher: blake3::Hasher::new(), file: BufWriter::with_capacity(1 << 18, file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.record.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    fn finish(mut self) -> Result<FileRecord, Error> {
        let synced = |file: &mut BufWriter<File>| -> io::Result<()> {
            file.flush()?;
            file.get_ref().sync_all()
        };
        synced(&mut self.file).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        self.record.blake3 = self.hasher.finalize().to_hex().to_string();
        Ok(self.record)
    }
}
