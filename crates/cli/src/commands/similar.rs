//! `bedstone similar`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_words::vectors::near::Index;
use clap::Args;
use serde_json::json;

use crate::{args::ThreadArgs, model::word_vectors, output};

/// List the nearest words of a word
#[derive(Debug, Args)]
pub(crate) struct SimilarArgs {
    /// Word vectors: a run directory, or a file (word2vec text or binary, GloVe text, safetensors, .npy beside .parquet)
    vectors: PathBuf,
    /// The words
    #[arg(required = true)]
    words: Vec<String>,
    /// How many neighbours
    #[arg(short, long = "number", value_name = "N", default_value_t = 10)]
    n: usize,
    /// One JSON object a word: word, neighbours
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

pub(crate) fn run(args: &SimilarArgs) -> anyhow::Result<ExitCode> {
    args.threads.start()?;
    let vectors = word_vectors(&args.vectors)?;
    let index = Index::new(&vectors);
    // A word that is unknown must not come after half of the answers.
    let found =
        args.words.iter().map(|word| Ok((word, index.similar(word, args.n)?))).collect::<anyhow::Result<Vec<_>>>()?;
    for (word, near) in found {
        if args.json {
            let rows: Vec<_> = near.iter().map(|n| json!({"word": n.word, "similarity": n.similarity})).collect();
            output::line(json!({"word": word, "neighbours": rows}))?;
            continue;
        }
        if args.words.len() > 1 {
            output::line(format!("{word}:"))?;
        }
        for n in near {
            output::line(format!("{:.4}  {}", n.similarity, n.word))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
