//! `bedstone convert`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_run::units;
use bedstone_words::vectors::write::{Target, write};
use clap::{Args, ValueEnum};

use crate::{model::word_vectors, output};

/// Write word vectors in a format of other programs
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Word vectors: a run directory or a file
    vectors: PathBuf,
    /// The format
    #[arg(long, value_enum)]
    to: TargetArg,
    /// The file to write; what stands there is replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TargetArg {
    /// A line a word behind a line of numbers (gensim: load_word2vec_format)
    Word2vecText,
    /// The same in bytes (gensim: load_word2vec_format with binary=True)
    Word2vecBinary,
    /// A line a word (gensim: load_word2vec_format with no_header=True)
    GloveText,
    /// A matrix `vectors` with the words in the metadata
    Safetensors,
}

pub(crate) fn run(args: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let target = match args.to {
        TargetArg::Word2vecText => Target::Word2VecText,
        TargetArg::Word2vecBinary => Target::Word2VecBinary,
        TargetArg::GloveText => Target::GloveText,
        TargetArg::Safetensors => Target::Safetensors,
    };
    let vectors = word_vectors(&args.vectors)?;
    write(&vectors, target, &args.out)?;
    if vectors.ngrams().is_some() {
        output::note("note: vectors of n-grams are left out: unknown words have no vectors in this file");
    }
    output::note(format!("{} words of {} dimensions", units::count(vectors.len() as u64), vectors.dimension()));
    output::line(args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
