//! Documents to a directory of shards.

use super::{
    Error, Manifest, ONE_IN, Origin, SPLIT_SEED, Shards, Span, SplitRule, Text, Validation,
    cache::Building,
    manifest::{self, FORMAT},
    marks::Marks,
    source::{Identity, Pieces},
    write::{SeriesWriter, Shape},
};
use crate::{corpus, corpus::Piece, tokenizer::Special, tokenizer::Tokenizer};
use rayon::prelude::*;
use std::{fs, io::Write, ops::ControlFlow, path::PathBuf};

/// What to tokenise, and where to keep it.
pub struct Build<'a> {
    /// What to train on.
    pub text: Text<'a>,
    /// What to validate on; a part of the text unless changed.
    pub validation: Validation<'a>,
    /// What makes tokens of text.
    pub tokenizer: &'a Tokenizer,
    /// The cache directory; see [`super::default_cache_dir`].
    pub cache: PathBuf,
    /// Tokens in a file.
    pub shard_tokens: u64,
    /// Told again and again how many bytes of text have become tokens; can end it with [`Error::Interrupted`].
    pub progress: Box<dyn FnMut(u64) -> ControlFlow<()> + 'a>,
}

impl<'a> Build<'a> {
    /// The usual settings: one document in twenty for validation, files of at most 256 MiB.
    pub fn new(text: Text<'a>, tokenizer: &'a Tokenizer, cache: PathBuf) -> Self {
        let validation = Validation::Split { one_in: ONE_IN, seed: SPLIT_SEED };
        Self {
            text,
            validation,
            tokenizer,
            cache,
            shard_tokens: 1 << 26,
            progress: Box::new(|_| ControlFlow::Continue(())),
        }
    }

    /// Opens the shards if an earlier run made them, or makes them.
    ///
    /// The tokens are the same for any number of threads. Interrupted, it leaves no shards behind that could be taken
    /// for whole ones; of two programs at once one comes first, and both have the same shards.
    pub fn run(mut self) -> Result<Shards, Error> {
        let end = self.tokenizer.document_end().ok_or(Error::NoDocumentEnd)?.id;
        let identity = self.text.identity()?;
        let validation_identity = match &self.validation {
            Validation::Text(text) => Some(text.identity()?),
            _ => None,
        };
        let key = self.key(&identity, validation_identity.as_ref());
        let dir = self.cache.join(&key[..32]);
        let mut origin = Origin::Built;
        if dir.exists() {
            match Shards::open(&dir) {
                Ok(shards) => return Ok(shards),
                Err(damaged @ Error::Damaged { .. }) => origin = Origin::Rebuilt { reason: damaged.to_string() },
                Err(other) => return Err(other),
            }
        }
        let building = Building::begin(&self.cache)?;
        let written = self.write(&building, end)?;
        self.text.check_unchanged(&identity)?;
        if let (Validation::Text(text), Some(identity)) = (&self.validation, &validation_identity) {
            text.check_unchanged(identity)?;
        }
        let mut sources = identity.records;
        sources.extend(validation_identity.into_iter().flat_map(|identity| identity.records));
        write_manifest(&building, &Manifest { key, sources, ..written }.sealed())?;
        building.publish(&dir, || Shards::open(&dir).is_ok())?;
        Ok(Shards { origin, ..Shards::open(&dir)? })
    }

    /// The hash of everything that decides the tokens and how they lie.
    fn key(&self, text: &Identity, validation: Option<&Identity>) -> String {
        let split = match self.validation {
            Validation::Split { one_in, seed } => Some((one_in, seed)),
            _ => None,
        };
        let tokenizer = (self.tokenizer.hash(), self.tokenizer.document_end().map(|end| end.id));
        let all = serde_json::json!([FORMAT, self.shard_tokens, tokenizer, text, validation, split]);
        blake3::hash(all.to_string().as_bytes()).to_hex().to_string()
    }

    fn write(&mut self, building: &Building, end: u32) -> Result<Manifest, Error> {
        let vocab_size = self.tokenizer.vocab_size();
        let token_bytes = if vocab_size <= 1 << 16 { 2 } else { 4 };
        let shape = Shape { token_bytes, shard_tokens: self.shard_tokens.max(1) };
        let create = |name| SeriesWriter::create(building.path(), name, shape);
        let rule = match &self.validation {
            Validation::None => SplitRule::None,
            Validation::Text(_) => SplitRule::Separate,
            &Validation::Split { one_in, seed } if self.text.has_documents(SplitRule::fewest(one_in))? => {
                SplitRule::Documents { one_in, seed }
            }
            &Validation::Split { one_in, .. } => SplitRule::TailTokens { one_in },
        };
        let field = self.text.field();
        let mut run = Tokenise { tokenizer: self.tokenizer, end, marks: None, progress: &mut self.progress, bytes: 0 };
        let (series, train, validation) = match rule {
            SplitRule::TailTokens { one_in } => {
                let mut writer = [create("all")?];
                run.marks = Some(Marks::default());
                run.all(self.text.pieces(), &mut writer, |_| 0)?;
                let marks = run.marks.take().unwrap_or_default();
                let [writer] = writer;
                let series = writer.finish()?;
                // At least one token, at the end, is for validation.
                let last = (series.tokens / one_in.max(2)).max(1);
                let cut = marks.before(series.tokens.saturating_sub(last));
                let (cut, bytes) = cut.ok_or(Error::TooFewTokens { tokens: series.tokens, want: 2 })?;
                let train = Span { series: 0, begin: 0, end: cut, text_bytes: bytes };
                let rest = series.text_bytes - bytes;
                let validation = Span { series: 0, begin: cut, end: series.tokens, text_bytes: rest };
                (vec![series], train, Some(validation))
            }
            SplitRule::None => {
                let mut writer = [create("train")?];
                run.all(self.text.pieces(), &mut writer, |_| 0)?;
                let [writer] = writer;
                let series = writer.finish()?;
                let train = whole(&series, 0);
                (vec![series], train, None)
            }
            SplitRule::Documents { .. } | SplitRule::Separate => {
                let mut writers = [create("train")?, create("validation")?];
                run.all(self.text.pieces(), &mut writers, |document| usize::from(rule.is_validation(document)))?;
                if let Validation::Text(text) = &mut self.validation {
                    run.all(text.pieces(), &mut writers, |_| 1)?;
                }
                let [train, validation] = writers;
                let series = vec![train.finish()?, validation.finish()?];
                let (train, validation) = (whole(&series[0], 0), whole(&series[1], 1));
                (series, train, Some(validation))
            }
        };
        for span in [Some(train), validation].into_iter().flatten() {
            if span.begin == span.end {
                return Err(Error::TooFewTokens { tokens: 0, want: 1 });
            }
        }
        Ok(Manifest {
            format: FORMAT,
            key: String::new(),
            tokenizer: self.tokenizer.hash(),
            vocab_size,
            token_bytes,
            document_end: end,
            field,
            sources: Vec::new(),
            split: rule,
            shard_tokens: shape.shard_tokens,
            series,
            train,
            validation,
            checksum: String::new(),
        })
    }
}

/// Text that is tokenised at once.
const BATCH_BYTES: usize = 8 << 20;

/// Pieces of text to tokens in series.
struct Tokenise<'a, 'p> {
    tokenizer: &'a Tokenizer,
    end: u32,
    /// Kept where the series will be cut between two tokens.
    marks: Option<Marks>,
    progress: &'p mut dyn FnMut(u64) -> ControlFlow<()>,
    bytes: u64,
}

impl Tokenise<'_, '_> {
    /// Writes each document to the writer that `route` names by number.
    fn all(
        &mut self,
        mut pieces: Pieces<'_>,
        writers: &mut [SeriesWriter],
        route: impl Fn(u64) -> usize,
    ) -> Result<(), Error> {
        let mut batch = read(&mut pieces)?;
        while !batch.is_empty() {
            // The next text is read while this one is tokenised.
            let (tokenizer, marked) = (self.tokenizer, self.marks.is_some());
            let (tokens, next) = rayon::join(|| encode(tokenizer, &batch, marked), || read(&mut pieces));
            for (piece, Encoded { ids, ends }) in batch.iter().zip(tokens?) {
                let writer = &mut writers[route(piece.document)];
                if let Some(marks) = &mut self.marks {
                    let (tokens, bytes) = (writer.tokens(), writer.text_bytes());
                    (1..).zip(&ends).for_each(|(i, &end)| marks.add(tokens + i, bytes + end as u64));
                }
                writer.push(&ids, piece.text.len() as u64)?;
                if piece.last {
                    writer.end_document(self.end)?;
                    if let Some(marks) = &mut self.marks {
                        marks.add(writer.tokens(), writer.text_bytes());
                    }
                }
                self.bytes += piece.text.len() as u64;
            }
            if (self.progress)(self.bytes).is_break() {
                return Err(Error::Interrupted);
            }
            batch = next?;
        }
        Ok(())
    }
}

/// The ids of a piece, and the byte where each token ends if that is wanted.
struct Encoded {
    ids: Vec<u32>,
    ends: Vec<usize>,
}

fn encode(tokenizer: &Tokenizer, batch: &[Piece], want_ends: bool) -> Result<Vec<Encoded>, Error> {
    let encode = |piece: &Piece| -> Result<Encoded, Error> {
        if want_ends {
            let (ids, ends) = tokenizer.encode_ends(&piece.text)?;
            return Ok(Encoded { ids, ends });
        }
        Ok(Encoded { ids: tokenizer.encode_ids(&piece.text, Special::Without)?, ends: Vec::new() })
    };
    batch.par_iter().map(encode).collect()
}

fn read(pieces: &mut Pieces<'_>) -> Result<Vec<Piece>, corpus::Error> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(piece) = pieces.next().transpose()? else { break };
        // An empty document has a token too.
        bytes += piece.text.len() + 64;
        batch.push(piece);
    }
    Ok(batch)
}

fn whole(series: &super::Series, number: usize) -> Span {
    Span { series: number, begin: 0, end: series.tokens, text_bytes: series.text_bytes }
}

fn write_manifest(building: &Building, manifest: &Manifest) -> Result<(), Error> {
    let path = building.path().join(manifest::NAME);
    let write = || {
        let mut file = fs::File::create(&path)?;
        serde_json::to_writer_pretty(&mut file, manifest)?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|source| Error::Write { path: path.clone(), source })
}
