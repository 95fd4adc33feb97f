//! Documents from files, folders, patterns and the standard input, one piece at a time.
//!
//! ```text
//! mod.rs     Corpus: its sources, its documents
//! source.rs  finding files, decompressing them
//! text.rs    a text, whole or in pieces
//! lines.rs   a file line by line
//! jsonl.rs   a field of JSON rows
//! cut.rs     where a long text may be cut
//! ```
//!
//! A `.txt` is one document, each row of a `.jsonl` is one; both may be `.gz` or `.zst`.

pub(crate) mod cut;
mod error;
pub(crate) mod jsonl;
pub(crate) mod lines;
pub(crate) mod source;
pub(crate) mod text;

pub use error::Error;
pub use source::{Format, Source};
pub use text::{read_text, text_of};

use cut::cut;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// How to read a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The field of a JSON row that holds the document.
    pub field: String,
    /// How documents lie in the standard input.
    pub stdin: Format,
    /// Where the standard input is kept while it is used; `None` for the system's place for temporary files.
    pub spool: Option<PathBuf>,
    /// Longer documents come in pieces of about this many bytes, cut at line ends. Tokenizers that put a space before a
    /// text (Unigram here, Llama's) put one before each piece; the others give the tokens of the whole document.
    pub piece_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { field: "text".into(), stdin: Format::Text, spool: None, piece_bytes: 256 << 10 }
    }
}

/// A list of files that hold documents, in a fixed order.
#[derive(Debug)]
pub struct Corpus {
    sources: Vec<Source>,
    ignored: usize,
    options: Options,
    // Deletes the kept standard input in the end.
    _spool: Option<tempfile::TempPath>,
}

/// A document or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number of the document, from 0 over all sources.
    pub document: u64,
    /// The text; never empty unless the document is.
    pub text: String,
    /// Whether the document ends with it.
    pub last: bool,
}

impl Corpus {
    /// Finds the files that `paths` mean: files, folders (all below, sorted, hidden ones left out), patterns (`*`, `**`,
    /// `?`, `[a-z]`, `{a,b}`) or `-` for the standard input, which is read here, to a temporary file.
    pub fn open<P: AsRef<Path>>(paths: &[P], options: Options) -> Result<Self, Error> {
        let (mut sources, mut ignored, mut spool) = (Vec::new(), 0, None);
        for path in paths {
            if path.as_ref() == Path::new("-") {
                // A second `-` finds nothing left, and says so.
                let (source, kept) = keep_stdin(&options)?;
                sources.push(source);
                spool = Some(kept);
                continue;
            }
            let (found, others) = source::find(path.as_ref())?;
            sources.extend(found);
            ignored += others;
        }
        if sources.is_empty() {
            return Err(Error::NoPaths);
        }
        Ok(Self { sources, ignored, options, _spool: spool })
    }

    /// The files in the order in which they are read.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// How many files in the folders are not text and were left out.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// How it is read.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// All documents in order, long ones in pieces.
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces { corpus: self, next_source: 0, open: None, next_document: 0, rest: None, failed: false }
    }

    /// The texts of all documents, for training a tokenizer; long documents in pieces.
    pub fn texts(&self) -> impl Iterator<Item = Result<String, Error>> + '_ {
        self.pieces().map(|piece| piece.map(|piece| piece.text))
    }

    /// Whether there are `count` documents, without reading more than that takes.
    pub(crate) fn has_documents(&self, count: u64) -> Result<bool, Error> {
        let mut found = 0;
        for source in &self.sources {
            if found >= count {
                break;
            }
            match source.format {
                Format::Text => found += 1,
                Format::JsonLines => {
                    let mut rows = jsonl::Rows::open(source)?;
                    while found < count && rows.next(&source.path, &self.options.field)?.is_some() {
                        found += 1;
                    }
                }
            }
        }
        Ok(found >= count)
    }
}

/// The documents of a corpus; ends after the first error.
pub struct Pieces<'a> {
    corpus: &'a Corpus,
    next_source: usize,
    open: Option<(&'a Source, Reader)>,
    next_document: u64,
    /// What is left of a long row.
    rest: Option<String>,
    failed: bool,
}

enum Reader {
    Text(text::TextPieces),
    Rows { rows: jsonl::Rows, any: bool },
}

impl Pieces<'_> {
    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        let options = &self.corpus.options;
        loop {
            if let Some(text) = self.rest.take() {
                return Ok(Some(self.row_piece(text)));
            }
            let Some((source, reader)) = &mut self.open else {
                let Some(source) = self.corpus.sources.get(self.next_source) else { return Ok(None) };
                self.next_source += 1;
                let reader = match source.format {
                    Format::Text => Reader::Text(text::TextPieces::open(source, options.piece_bytes)?),
                    Format::JsonLines => Reader::Rows { rows: jsonl::Rows::open(source)?, any: false },
                };
                self.open = Some((source, reader));
                continue;
            };
            match reader {
                Reader::Text(pieces) => {
                    if let Some((text, last)) = pieces.next(&source.path)? {
                        let document = self.next_document;
                        self.next_document += u64::from(last);
                        return Ok(Some(Piece { document, text, last }));
                    }
                }
                Reader::Rows { rows, any } => match rows.next(&source.path, &options.field)? {
                    Some(text) => {
                        *any = true;
                        return Ok(Some(self.row_piece(text)));
                    }
                    None if !*any => return Err(Error::Empty { path: source.path.clone() }),
                    None => {}
                },
            }
            self.open = None;
        }
    }

    fn row_piece(&mut self, mut text: String) -> Piece {
        let limit = self.corpus.options.piece_bytes;
        if text.len() > limit {
            let rest = text.split_off(cut(&text[..text.floor_char_boundary(limit.max(4))]));
            self.rest = Some(rest);
        }
        let (document, last) = (self.next_document, self.rest.is_none());
        self.next_document += u64::from(last);
        Piece { document, text, last }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_piece().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn keep_stdin(options: &Options) -> Result<(Source, tempfile::TempPath), Error> {
    let failed = |source: io::Error| Error::Read { path: "-".into(), source };
    let folder = options.spool.clone().unwrap_or_else(std::env::temp_dir);
    let kept = tempfile::NamedTempFile::new_in(folder).map_err(failed)?.into_temp_path();
    let mut file = File::create(&kept).map_err(failed)?;
    let size = io::copy(&mut io::stdin().lock(), &mut file).map_err(failed)?;
    Ok((Source::spooled(kept.to_path_buf(), size, options.stdin)?, kept))
}

#[cfg(test)]
mod tests;
