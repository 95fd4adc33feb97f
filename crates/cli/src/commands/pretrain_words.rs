//! `bedstone pretrain word2vec` and `glove`.

use std::{path::Path, process::ExitCode};

use bedstone_run::{Ending, Interrupt, Setting, progress};
use bedstone_train::WordVectors;
use bedstone_words::{Request, Vectors};
use bedstone_world::{Split, World};

use super::pretrain::{PretrainArgs, stopped};
use crate::output;

/// Word vectors for the embedding of a language model.
pub(super) fn open_vectors(path: &Path) -> Result<Box<dyn WordVectors>, String> {
    Ok(Box::new(Rows(Vectors::open(path).map_err(|e| e.to_string())?)))
}

struct Rows(Vectors);

impl WordVectors for Rows {
    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn vector(&self, word: &str) -> Option<&[f32]> {
        self.0.id(word).map(|id| self.0.row(id))
    }
}

/// Which word vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    Word2Vec,
    Glove,
}

impl Words {
    fn name(self) -> &'static str {
        match self {
            Words::Word2Vec => "word2vec",
            Words::Glove => "glove",
        }
    }
}

/// The seed of the embedded stories: the same data for every run.
const WORLD_SEED: u64 = 0;

pub(super) fn run(args: &PretrainArgs, words: Words) -> anyhow::Result<ExitCode> {
    if args.print_recipe {
        output::data(match words {
            Words::Word2Vec => bedstone_words::word2vec::RECIPE,
            Words::Glove => bedstone_words::glove::RECIPE,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let isa = args.threads.start()?;
    let settings = settings(args, words)?;
    let request = Request {
        config: args.config.as_deref(),
        settings: &settings,
        out: args.out.as_deref(),
        start: args.start(),
        isa,
        stories: &|count| Box::new(World::new(WORLD_SEED).stories(Split::Train, count)),
    };
    let interrupt = Interrupt::of_process(|| output::note("stopping; once more ends at once"))?;
    let progress = &mut *progress::on_stderr();
    let report = match words {
        Words::Word2Vec => bedstone_words::word2vec::pretrain(&request, progress, &interrupt)?,
        Words::Glove => bedstone_words::glove::pretrain(&request, progress, &interrupt)?,
    };
    if report.outcome == Ending::Interrupted {
        return Ok(stopped(words.name(), report.step, &report.dir));
    }
    output::line(report.dir.display())?;
    Ok(ExitCode::SUCCESS)
}

fn settings(args: &PretrainArgs, words: Words) -> anyhow::Result<Vec<Setting>> {
    let name = words.name();
    let refuse =
        |flag: &str, hint: &str| Err(output::Usage(format!("{flag}: has no use for {name}\nhint: {hint}")).into());
    if args.tokenizer.is_some() {
        return refuse("--tokenizer", "[text] of the recipe says what a word is; see --print-recipe");
    }
    if args.steps.is_some() {
        return refuse("--steps", "set the times through the text: --set train.epochs=5");
    }
    if args.precision.is_some() {
        return refuse("--precision", "word vectors are trained in f32");
    }
    if args.init_embeddings.is_some() {
        return refuse(
            "--init-embeddings",
            "it starts the embedding of a gpt or llama; --init goes on with word vectors",
        );
    }
    let mut settings = Vec::new();
    for set in &args.set {
        settings.push(Setting::parse(set)?);
    }
    // Flags win over --set.
    if !args.data.is_empty() {
        let paths: bedstone_run::recipe::Value = args.data.iter().map(String::as_str).collect();
        settings.push(Setting::flag(format!("--data {}", args.data.join(" ")), "data.paths", paths));
    }
    match (&args.init, words) {
        (None, _) => {}
        (Some(dir), Words::Word2Vec) => {
            settings.push(Setting::flag(format!("--init {dir}"), "train.init", dir.as_str()));
        }
        (Some(_), Words::Glove) => {
            return refuse("--init", "counts of other text cannot be added to vectors; train on all of it");
        }
    }
    if let Some(seed) = args.seed {
        settings.push(Setting::flag(format!("--seed {seed}"), "train.seed", seed));
    }
    // GloVe's runs are the same bits for any number of threads anyway.
    if args.deterministic && words == Words::Word2Vec {
        settings.push(Setting::flag("--deterministic", "train.deterministic", true));
    }
    Ok(settings)
}
