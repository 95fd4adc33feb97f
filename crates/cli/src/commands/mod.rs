//! One file a command: its arguments, and what it does with them.

pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod inspect;
pub(crate) mod parity;
pub(crate) mod pretrain;
pub(crate) mod tokenizer;

use std::{path::Path, process::ExitCode};

use bedstone_infer::{Runtime, TextModel};
use bedstone_run::dir::model_folder;

use crate::{args::Command, output};

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Pretrain(args) => pretrain::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Tokenizer(args) => tokenizer::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Parity(args) => parity::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// Loads the language model in a checkpoint or run directory, and says what it left aside.
fn text_model(dir: &Path, runtime: Runtime) -> anyhow::Result<TextModel> {
    let dir = model_folder(dir)?;
    let (model, report) = bedstone_models::load(&dir)?;
    if !report.unused.is_empty() {
        output::note(format!("note: {}: tensors not used: {}", dir.display(), report.unused.join(", ")));
    }
    Ok(TextModel::new(model, &dir, runtime)?)
}
