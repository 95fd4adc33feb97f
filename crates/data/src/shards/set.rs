//! Tokens of a split, read through mapped files.

use super::{
    Error,
    manifest::{Manifest, Series, Span},
};
use bedstone_kernels::mem::MappedFile;
use std::{io, ops::Range, path::Path, sync::Arc};

/// The tokens for training or for validation: all documents in a row, each with its end token.
///
/// Cheap to clone; the system reads from disk what is touched, so the set may be larger than memory.
#[derive(Clone)]
pub struct TokenSet {
    files: Arc<Files>,
    span: Span,
}

/// The mapped files of a series.
pub(super) struct Files {
    shards: Vec<MappedFile>,
    ends: MappedFile,
    shard_tokens: u64,
    token_bytes: usize,
}

impl Files {
    /// Maps the files of `series`, whose sizes must be those of the manifest; with `verify` their content too.
    pub(super) fn open(dir: &Path, manifest: &Manifest, series: &Series, verify: bool) -> Result<Self, Error> {
        let mut maps = Vec::new();
        for record in series.files() {
            let path = dir.join(&record.file);
            let damaged = |reason: String| Error::Damaged { path: path.clone(), reason };
            let map = MappedFile::open(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => damaged("it is missing".into()),
                _ => Error::Read { path: path.clone(), source },
            })?;
            if map.len() as u64 != record.size {
                return Err(damaged(format!("{} bytes, the manifest says {}", map.len(), record.size)));
            }
            if verify && super::hash_bytes(&map) != record.blake3 {
                return Err(damaged("its checksum is not that of the manifest".into()));
            }
            maps.push(map);
        }
        // `Series::files` ends with this one, so there is at least one map.
        let Some(ends) = maps.pop() else {
            return Err(Error::Damaged { path: dir.to_path_buf(), reason: "no files".into() });
        };
        Ok(Self { shards: maps, ends, shard_tokens: manifest.shard_tokens, token_bytes: manifest.token_bytes })
    }

    /// Token after the end, and bytes of text up to there, of document `index`.
    fn end(&self, index: usize) -> (u64, u64) {
        let number = |at: usize| {
            let bytes = &self.ends[at * 8..at * 8 + 8];
            u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
        };
        (number(2 * index), number(2 * index + 1))
    }
}

impl TokenSet {
    pub(super) fn new(files: Arc<Files>, span: Span) -> Self {
        Self { files, span }
    }

    /// The number of tokens.
    pub fn len(&self) -> u64 {
        self.span.end - self.span.begin
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// UTF-8 bytes of the text, without end tokens: what bits per byte are counted over.
    pub fn bytes(&self) -> u64 {
        self.span.text_bytes
    }

    /// Copies the tokens of `range` to `out`.
    ///
    /// # Panics
    /// If `range` is not within the set, or `out` has another length.
    pub fn copy(&self, range: Range<u64>, out: &mut [u32]) {
        assert!(range.start <= range.end && range.end <= self.len(), "tokens {range:?} of {}", self.len());
        assert_eq!(range.end - range.start, out.len() as u64, "length of the output");
        let (width, shard_tokens) = (self.files.token_bytes, self.files.shard_tokens);
        let mut at = self.span.begin + range.start;
        let mut out = out;
        while !out.is_empty() {
            let inside = at % shard_tokens;
            let count = (out.len() as u64).min(shard_tokens - inside) as usize;
            let (now, later) = out.split_at_mut(count);
            let bytes = &self.files.shards[(at / shard_tokens) as usize][inside as usize * width..][..count * width];
            decode(bytes, width, now);
            (out, at) = (later, at + count as u64);
        }
    }

    /// The number of documents, cut ones included.
    pub fn documents(&self) -> usize {
        self.document_range().len()
    }

    /// For each document the token after its end, in order; the last one is [`TokenSet::len`].
    pub fn document_ends(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.document_range().map(|index| self.files.end(index).0.min(self.span.end).saturating_sub(self.span.begin))
    }

    /// Documents of which at least one token is in the set.
    fn document_range(&self) -> Range<usize> {
        // The first document that ends after `token`.
        let after = |token: u64| {
            let (mut low, mut high) = (0, self.files.ends.len() / 16);
            while low < high {
                let middle = low.midpoint(high);
                if self.files.end(middle).0 > token { high = middle } else { low = middle + 1 }
            }
            low
        };
        if self.is_empty() { 0..0 } else { after(self.span.begin)..after(self.span.end - 1) + 1 }
    }
}

/// Little-endian ids of `width` bytes.
fn decode(bytes: &[u8], width: usize, out: &mut [u32]) {
    if width == 2 {
        let pairs = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        out.iter_mut().zip(pairs).for_each(|(out, id)| *out = u32::from(id));
    } else {
        let quads = bytes.chunks_exact(4).map(|quad| u32::from_le_bytes([quad[0], quad[1], quad[2], quad[3]]));
        out.iter_mut().zip(quads).for_each(|(out, id)| *out = id);
    }
}
