//! `bedstone eval`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_data::shards::{Build, Text, Validation, default_cache_dir};
use bedstone_run::units;
use bedstone_train::{TrainError, evaluate};
use bedstone_words::{Vectors, vectors::judge};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::text_model;
use crate::{
    args::{RuntimeArgs, TextArgs},
    output,
};

/// Measure how well a language model predicts a text, or word vectors do in a test
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A checkpoint or run directory, or a hub id (org/name or org/name@revision); with --task, a file of word vectors too
    model: PathBuf,
    /// What word vectors are asked: analogy (questions-words) or similarity (word, word and score with tabs between)
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    /// With --task analogy: answers among the N most frequent words; 0: all [default: 30000]
    #[arg(long, value_name = "N", requires = "task")]
    restrict: Option<usize>,
    #[command(flatten)]
    text: TextArgs,
    /// Tokens a window [default: as many as the model takes, at most 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Windows that go through the model at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Where tokens are kept [default: the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// One JSON object: loss, perplexity, bits_per_byte, tokens; or the task's results
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TaskArg {
    /// a is to b as c is to d
    Analogy,
    /// How alike two words are
    Similarity,
}

/// Words among which answers are looked for, as in word2vec's own test.
const RESTRICT: usize = 30_000;

pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    if let Some(task) = args.task {
        return words(args, task);
    }
    let model = text_model(&args.model, args.runtime.runtime()?)?;
    let corpus = args.text.open()?;
    let cache = match &args.cache {
        Some(dir) => dir.clone(),
        None => default_cache_dir().map_err(TrainError::from)?,
    };
    let mut build = Build::new(Text::Corpus(&corpus), &model.tokenizer, cache);
    build.validation = Validation::None;
    let shards = build.run().map_err(TrainError::from)?;
    let limit = model.model.info().max_length.unwrap_or(1024);
    let context = match args.context {
        Some(n) if n as usize > limit => {
            return Err(output::Usage(format!("--context: got {n}, the model takes {limit}")).into());
        }
        Some(n) => n as usize,
        None => limit.min(1024),
    };
    output::note(format!("tokens: in {}", shards.dir.display()));
    let e = evaluate(&model.model, model.runtime, &shards.train, context, args.batch as usize, 0)?;
    if !e.loss.is_finite() {
        anyhow::bail!("{}: the loss is {}: the weights are damaged", args.model.display(), e.loss);
    }
    if args.json {
        output::line(serde_json::to_string(&e)?)?;
    } else {
        output::line(format!("loss            {:.4}", e.loss))?;
        output::line(format!("perplexity      {:.3}", e.perplexity))?;
        output::line(format!("bits per byte   {:.4}", e.bits_per_byte))?;
        output::line(format!("tokens          {}", units::count(e.tokens)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A test of word vectors.
fn words(args: &EvalArgs, task: TaskArg) -> anyhow::Result<ExitCode> {
    args.runtime.exact()?;
    let [data] = args.text.paths() else {
        let text = format!("--data: got {} files, a task takes one", args.text.paths().len());
        return Err(output::Usage(text).into());
    };
    if args.restrict.is_some() && task != TaskArg::Analogy {
        return Err(output::Usage("--restrict: has no use for --task similarity".into()).into());
    }
    let vectors = Vectors::open(&args.model)?;
    match task {
        TaskArg::Analogy => {
            let found = judge::analogies(&vectors, data, args.restrict.unwrap_or(RESTRICT))?;
            let row = |s: &judge::Section| json!({"section": s.name, "accuracy": s.accuracy(), "correct": s.correct, "asked": s.asked, "total": s.total});
            if args.json {
                let sections: Vec<_> = found.sections.iter().map(row).collect();
                let (semantic, syntactic) = (row(&found.semantic), row(&found.syntactic));
                let object = json!({
                    "accuracy": found.all.accuracy(), "correct": found.all.correct, "asked": found.all.asked,
                    "total": found.all.total, "semantic": semantic, "syntactic": syntactic, "sections": sections,
                });
                output::line(object)?;
                return Ok(ExitCode::SUCCESS);
            }
            for s in found.sections.iter().chain([&found.semantic, &found.syntactic, &found.all]) {
                let share = 100.0 * s.accuracy();
                output::line(format!(
                    "{:<28} {share:>6.2} %  {:>5} of {:>5} asked, {} in the file",
                    s.name, s.correct, s.asked, s.total
                ))?;
            }
        }
        TaskArg::Similarity => {
            let s = judge::similarities(&vectors, data)?;
            if args.json {
                output::line(serde_json::to_string(&s)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            output::line(format!("spearman        {:.4}", s.spearman))?;
            output::line(format!("pearson         {:.4}", s.pearson))?;
            output::line(format!("pairs           {} of {} have both words", s.pairs, s.total))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
