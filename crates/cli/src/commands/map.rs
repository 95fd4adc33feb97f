//! `bedstone map`.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use anyhow::Context;
use bedstone_words::vectors::{map, near::Index};
use clap::Args;

use crate::{args::ThreadArgs, model::word_vectors, output};

/// Draw words on a plane
#[derive(Debug, Args)]
#[command(after_help = "The two directions are those in which the vectors differ most (principal components).")]
pub(crate) struct MapArgs {
    /// Word vectors: a run directory or a file
    vectors: PathBuf,
    /// Words, each shown with its neighbours
    #[arg(required_unless_present = "words_file")]
    words: Vec<String>,
    /// Neighbours of each word
    #[arg(short, long = "number", value_name = "N", default_value_t = 10)]
    n: usize,
    /// A file of words, one a line, shown without neighbours
    #[arg(long = "words", value_name = "FILE")]
    words_file: Option<PathBuf>,
    /// The picture to write
    #[arg(long, value_name = "FILE.svg")]
    out: PathBuf,
    #[command(flatten)]
    threads: ThreadArgs,
}

pub(crate) fn run(args: &MapArgs) -> anyhow::Result<ExitCode> {
    args.threads.start()?;
    output::place_for("--out", &args.out)?;
    if args.out.extension().is_none_or(|e| !e.eq_ignore_ascii_case("svg")) {
        let text = format!("--out {}: the picture is an SVG, wanted a name that ends with .svg", args.out.display());
        return Err(output::Usage(text).into());
    }
    let vectors = word_vectors(&args.vectors)?;
    let index = Index::new(&vectors);
    let mut listed = args.words.clone();
    if let Some(path) = &args.words_file {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        listed.extend(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned));
    }
    let (mut shown, mut seen) = (Vec::new(), BTreeSet::new());
    for word in listed {
        let vector = vectors.vector(&word)?;
        if seen.insert(word.clone()) {
            shown.push((word, vector, true));
        }
    }
    for word in &args.words {
        for near in index.similar(word, args.n)? {
            if seen.insert(near.word.to_owned()) {
                shown.push((near.word.to_owned(), vectors.row(near.id).to_vec(), false));
            }
        }
    }
    let title = format!("{}: {} words", args.vectors.display(), shown.len());
    let svg = map::svg(&title, &map::pca(&shown)?)?;
    std::fs::write(&args.out, svg).with_context(|| args.out.display().to_string())?;
    output::line(args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
