//! `bedstone analogy`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_words::vectors::near::Index;
use clap::Args;
use serde_json::json;

use crate::{args::ThreadArgs, model::word_vectors, output};

/// Answer: A is to B as C is to what?
#[derive(Debug, Args)]
#[command(after_help = "bedstone analogy V man king woman: what is to woman as king is to man.")]
pub(crate) struct AnalogyArgs {
    /// Word vectors: a run directory or a file
    vectors: PathBuf,
    /// As in `man`
    a: String,
    /// is to `king`
    b: String,
    /// so is `woman` to the answer
    c: String,
    /// How many answers
    #[arg(short, long = "number", value_name = "N", default_value_t = 5)]
    n: usize,
    /// One JSON object: a, b, c, answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

pub(crate) fn run(args: &AnalogyArgs) -> anyhow::Result<ExitCode> {
    args.threads.start()?;
    let vectors = word_vectors(&args.vectors)?;
    let answers = Index::new(&vectors).analogy(&args.a, &args.b, &args.c, args.n)?;
    if args.json {
        let rows: Vec<_> = answers.iter().map(|n| json!({"word": n.word, "similarity": n.similarity})).collect();
        output::line(json!({"a": args.a, "b": args.b, "c": args.c, "answers": rows}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for n in answers {
        output::line(format!("{:.4}  {}", n.similarity, n.word))?;
    }
    Ok(ExitCode::SUCCESS)
}
