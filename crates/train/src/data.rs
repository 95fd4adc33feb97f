//! From a recipe's words about data to tokens.

use std::{ops::ControlFlow, path::PathBuf};

use bedstone_data::{
    corpus::{self, Corpus, Format, Options},
    shards::{
        Build, ONE_IN, Origin, SPLIT_SEED, Shards, Text as Source, Validation, default_cache_dir, training_texts,
    },
    tokenizer::{
        Tokenizer,
        train::{Kind, Training, train},
    },
};
use bedstone_run::{Interrupt, Progress};
use bedstone_world::{Split, World};

use crate::{
    Result, TrainError,
    recipe::{DataConfig, TokenizerConfig, TokenizerKind},
};

/// The text of a run.
pub enum Text {
    /// Files.
    Files {
        /// To train on.
        train: Box<Corpus>,
        /// For validation, if it has its own.
        validation: Option<Box<Corpus>>,
    },
    /// Stories of the World.
    Stories {
        /// How many to train on.
        count: u64,
    },
}

/// The seed of the embedded stories: the same data for every run.
const WORLD_SEED: u64 = 0;

/// Stories for validation, where so many are for training.
fn validation_stories(train: u64) -> u64 {
    (train / 20).max(1)
}

impl Text {
    /// Finds the files.
    pub fn open(data: &DataConfig) -> Result<Self> {
        if data.paths.is_empty() {
            return Ok(Text::Stories { count: data.stories });
        }
        // Who names a field means rows, in the standard input too.
        let stdin = if data.field == Options::default().field { Format::Text } else { Format::JsonLines };
        let options = Options { field: data.field.clone(), stdin, ..Options::default() };
        let open = |paths: &[PathBuf]| Corpus::open(paths, options.clone());
        let validation = if data.validation.is_empty() { None } else { Some(open(&data.validation)?) };
        Ok(Text::Files { train: Box::new(open(&data.paths)?), validation: validation.map(Box::new) })
    }

    /// The tokenizer that the recipe names, or one trained on this text; `note` says what happened.
    pub fn tokenizer(
        &self,
        config: &TokenizerConfig,
        note: &mut dyn FnMut(String),
        interrupt: &Interrupt,
    ) -> Result<Tokenizer> {
        if let Some(path) = &config.file {
            return Ok(Tokenizer::load(path)?);
        }
        let kind = match config.kind {
            TokenizerKind::Bpe => Kind::ByteLevelBpe,
            TokenizerKind::Roberta => Kind::Roberta,
            TokenizerKind::WordPiece => Kind::WordPiece { lowercase: true },
            TokenizerKind::Unigram => Kind::Unigram,
        };
        let training = Training::new(kind, config.vocab_size);
        let texts: Box<dyn Iterator<Item = Result<String, corpus::Error>> + '_> = match self {
            Text::Files { train: corpus, validation: Some(_) } => Box::new(corpus.texts()),
            Text::Files { train: corpus, validation: None } => Box::new(training_texts(corpus, ONE_IN, SPLIT_SEED)?),
            Text::Stories { count } => Box::new(World::new(WORLD_SEED).stories(Split::Train, *count).map(Ok)),
        };
        let trained = train(texts.take_while(|_| !interrupt.requested()), &training);
        if interrupt.requested() {
            return Err(TrainError::Interrupted);
        }
        let trained = trained?;
        let part = if trained.all_text { "all of the training text" } else { "the beginning of the training text" };
        note(format!("tokenizer: {} tokens, trained on {part}", trained.tokenizer.vocab_size()));
        Ok(trained.tokenizer)
    }

    /// Tokens for training and validation, made or found in the cache.
    pub fn shards(
        &self,
        tokenizer: &Tokenizer,
        data: &DataConfig,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Shards> {
        let cache = match &data.cache {
            Some(path) => path.clone(),
            None => default_cache_dir()?,
        };
        let mut build = match self {
            Text::Files { train, validation } => {
                let mut build = Build::new(Source::Corpus(train), tokenizer, cache);
                if let Some(corpus) = validation {
                    build.validation = Validation::Text(Source::Corpus(corpus));
                }
                build
            }
            Text::Stories { count } => {
                let mut build = Build::new(stories(Split::Train, *count), tokenizer, cache);
                build.validation = Validation::Text(stories(Split::Validation, validation_stories(*count)));
                build
            }
        };
        let mut told = 0;
        let mut sink = |bytes: u64| {
            // Every 64 MiB, so that a long tokenisation shows life.
            if bytes >> 26 > told {
                told = bytes >> 26;
                progress.note(&format!("tokenised {}", bedstone_run::units::bytes(bytes)));
            }
            if interrupt.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        build.progress = Box::new(&mut sink);
        let shards = build.run()?;
        let how = match &shards.origin {
            Origin::Built => "made".to_owned(),
            Origin::Reused => "found".to_owned(),
            Origin::Rebuilt { reason } => format!("made again ({reason})"),
        };
        progress.note(&format!("tokens: {how} in {}", shards.dir.display()));
        let validation = shards.validation.as_ref().map_or(0, |v| v.len());
        progress.note(&format!(
            "data: {} tokens for training, {} for validation; {}",
            bedstone_run::units::count(shards.train.len()),
            bedstone_run::units::count(validation),
            shards.manifest.split,
        ));
        Ok(shards)
    }

    /// In a few words, for the model card.
    pub(crate) fn describe(&self) -> String {
        match self {
            Text::Files { train, .. } => match train.sources() {
                [one] => format!("`{}`", one.path.display()),
                many => format!("{} files", many.len()),
            },
            Text::Stories { count } => format!("{count} stories of the embedded World"),
        }
    }
}

fn stories(split: Split, count: u64) -> Source<'static> {
    Source::Documents {
        name: format!("world stories 1, seed {WORLD_SEED}, {} {count}", split.name()),
        documents: Box::new(World::new(WORLD_SEED).stories(split, count)),
    }
}
