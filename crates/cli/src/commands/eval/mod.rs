//! `bedstone eval`: one file a kind of model.

mod task;
mod text;
mod words;

use std::{path::PathBuf, process::ExitCode};

use bedstone_train::Task;
use clap::{Args, ValueEnum};

use self::words::Test;
use crate::{
    args::{RuntimeArgs, TextArgs},
    output::{self, Usage},
};

/// Measure how well a language model predicts a text, an encoder does its task, or word vectors do in a test
#[derive(Debug, Args)]
#[command(
    after_help = "Without --task: how well a language model predicts a text. With it, --data is one labelled file, as\n\
    finetune takes them; its labels have to be the model's."
)]
pub(crate) struct EvalArgs {
    /// A checkpoint or run directory, or a hub id (org/name or org/name@revision); a file of word vectors too
    model: PathBuf,
    /// What the model is to do
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    /// With --task analogy: answers among the N most frequent words; 0: all [default: 30000]
    #[arg(long, value_name = "N", requires = "task")]
    restrict: Option<usize>,
    /// With an encoder's task: how the data is read, by keys of finetune's recipe such as data.text=review
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "task")]
    set: Vec<String>,
    /// With --task classify: draw what was taken for what
    #[arg(long, value_name = "FILE.svg", requires = "task")]
    confusion: Option<PathBuf>,
    #[command(flatten)]
    text: TextArgs,
    /// Tokens a window [default: as many as the model takes, at most 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// Windows that go through the model at a time [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
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
    /// A class, or several, for a text or a pair of texts; a class for a picture
    Classify,
    /// A number for a text or a pair of texts
    Regress,
    /// A tag for each word
    Tag,
    /// The place of an answer in a text
    Answer,
    /// Vectors of texts that belong together
    Embed,
    /// Objects in pictures, as COCO measures them
    Detect,
    /// Word vectors: a is to b as c is to d (questions-words)
    Analogy,
    /// Word vectors: how alike two words are (word, word and score with tabs between)
    Similarity,
}

pub(crate) fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    let Some(task) = args.task else { return text::run(args) };
    let [data] = args.text.paths() else {
        let text = format!("--data: got {} files, a task takes one", args.text.paths().len());
        return Err(Usage(text).into());
    };
    let name = task.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
    let words = matches!(task, TaskArg::Analogy | TaskArg::Similarity);
    let classes = task == TaskArg::Classify;
    for (flag, given, of_use) in [
        ("--restrict", args.restrict.is_some(), task == TaskArg::Analogy),
        ("--set", !args.set.is_empty(), !words),
        ("--confusion", args.confusion.is_some(), classes),
        ("--context", args.context.is_some(), false),
        ("--batch", args.batch.is_some(), false),
        ("--cache", args.cache.is_some(), false),
    ] {
        if given && !of_use {
            return Err(Usage(format!("{flag}: has no use for --task {name}")).into());
        }
    }
    if let Some(path) = args.confusion.as_ref().filter(|path| path.extension().is_none_or(|e| e != "svg")) {
        return Err(Usage(format!("--confusion {}: wanted a name that ends with .svg", path.display())).into());
    }
    if let Some(path) = &args.confusion {
        output::place_for("--confusion", path)?;
    }
    let on = |task: Task| task::run(args, data, task);
    match task {
        TaskArg::Classify => on(Task::Classify),
        TaskArg::Regress => on(Task::Regress),
        TaskArg::Tag => on(Task::Tag),
        TaskArg::Answer => on(Task::Answer),
        TaskArg::Embed => on(Task::Embed),
        TaskArg::Detect => on(Task::Detect),
        TaskArg::Analogy => words::run(args, data, Test::Analogy),
        TaskArg::Similarity => words::run(args, data, Test::Similarity),
    }
}
