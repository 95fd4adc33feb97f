//! `bedstone fill`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_infer::tasks::fill::{FillOptions, Guess, fill, target_ids};
use clap::Args;
use serde_json::json;

use super::encoder_model;
use crate::{
    args::RuntimeArgs,
    output,
    texts::{DataArgs, at_place},
};

/// Guess masked words
#[derive(Debug, Args)]
#[command(
    after_help = "[MASK] and <mask> stand for the model's mask token. With several masks in a text each is guessed with the \
    others unknown."
)]
pub(crate) struct FillArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// Texts with [MASK] where a word is to be guessed
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// Guesses for each mask
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Compare these words only
    #[arg(long, value_name = "WORD", num_args = 1..)]
    targets: Vec<String>,
    /// One JSON object a text: text, masks (a list of guesses each: score, token, token_str, sequence)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(crate) fn run(args: &FillArgs) -> anyhow::Result<ExitCode> {
    let texts = args.data.read(&args.texts, false)?;
    let model = encoder_model(&args.model, args.runtime.runtime()?)?;
    let mut options = FillOptions { top_k: args.top as usize, targets: None };
    if !args.targets.is_empty() {
        let (ids, replaced) = target_ids(&model.tokenizer, &args.targets)?;
        for (word, token) in replaced {
            output::note(format!("note: --targets: {word:?} is no single token, its first one is taken: {token:?}"));
        }
        options.targets = Some(ids);
    }
    let all: Vec<&str> = texts.iter().map(|t| t.text.as_str()).collect();
    let results = fill(model.encoder(), &all, &options).map_err(|e| at_place(e, &texts))?;
    for (text, masks) in texts.iter().zip(&results) {
        if args.json {
            let guess = |g: &Guess| json!({"score": g.score, "token": g.token, "token_str": g.token_str, "sequence": g.sequence});
            let masks: Vec<Vec<_>> = masks.iter().map(|guesses| guesses.iter().map(guess).collect()).collect();
            output::line(json!({"text": text.text, "masks": masks}))?;
            continue;
        }
        for (i, guesses) in masks.iter().enumerate() {
            for g in guesses {
                let which = if masks.len() > 1 { format!("{}\t", i + 1) } else { String::new() };
                output::line(format!("{which}{:.4}\t{}\t{}", g.score, g.token_str, g.sequence))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
