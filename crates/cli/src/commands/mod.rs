//! The command line: one file a command, with its arguments and what it does with them.

mod analogy;
mod answer;
mod bench;
mod bench_embed;
mod classify;
mod convert;
mod data;
mod detect;
mod doctor;
mod embed;
mod eval;
mod fill;
mod finetune;
mod generate;
mod inspect;
mod map;
mod parity;
mod pictures;
mod pretrain;
mod pretrain_words;
mod similar;
mod tag;
mod tokenizer;

use std::{path::Path, process::ExitCode};

use bedstone_hub::Want;
use bedstone_infer::{
    Runtime, TextModel,
    tasks::{EncoderModel, Labels},
};
use bedstone_models::LoadReport;
use bedstone_run::dir::model_folder;
use clap::{Parser, Subcommand};

use crate::{model::locate, output};

/// Pretrain, adapt and use foundation models on ordinary CPUs.
#[derive(Debug, Parser)]
#[command(name = "bedstone", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model on unlabelled data
    Pretrain(pretrain::PretrainArgs),
    /// Adapt a model to a task with labelled data
    Finetune(finetune::FinetuneArgs),
    /// Continue text with a language model
    Generate(generate::GenerateArgs),
    /// Guess masked words
    Fill(fill::FillArgs),
    /// Label texts or pictures
    Classify(classify::ClassifyArgs),
    /// Label words, and find spans such as names
    Tag(tag::TagArgs),
    /// Find the answer to a question in a text
    Answer(answer::AnswerArgs),
    /// Find objects in pictures
    Detect(detect::DetectArgs),
    /// Turn texts or pictures into vectors
    Embed(embed::EmbedArgs),
    /// Measure how well a language model predicts a text, an encoder does its task, or word vectors do in a test
    Eval(eval::EvalArgs),
    /// List the nearest words of a word
    Similar(similar::SimilarArgs),
    /// Answer: A is to B as C is to what?
    Analogy(analogy::AnalogyArgs),
    /// Draw words on a plane
    Map(map::MapArgs),
    /// Write word vectors in a format of other programs
    Convert(convert::ConvertArgs),
    /// Train a tokenizer, or use one
    Tokenizer(tokenizer::TokenizerArgs),
    /// Say what a checkpoint or run directory holds
    Inspect(inspect::InspectArgs),
    /// Write the embedded data set in standard formats
    Data(data::DataArgs),
    /// Check checkpoints against recorded results of a reference implementation
    Parity(parity::ParityArgs),
    /// Measure the speed of this machine
    Bench(bench::BenchArgs),
    /// Say what this machine has and what would run on it
    Doctor(doctor::DoctorArgs),
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Pretrain(args) => pretrain::run(&args),
        Command::Finetune(args) => finetune::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Fill(args) => fill::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Tag(args) => tag::run(&args),
        Command::Answer(args) => answer::run(&args),
        Command::Detect(args) => detect::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Similar(args) => similar::run(&args),
        Command::Analogy(args) => analogy::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Tokenizer(args) => tokenizer::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Parity(args) => parity::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

/// Loads the language model of a checkpoint or run directory or a hub id, and says what it left aside.
fn text_model(model: &Path, runtime: Runtime) -> anyhow::Result<TextModel> {
    let dir = model_folder(&locate(model, Want::Model)?)?;
    let (model, report) = bedstone_models::load(&dir)?;
    unused(&dir, &report);
    Ok(TextModel::new(model, &dir, runtime)?)
}

/// Loads the encoder of a checkpoint or run directory or a hub id, and says what it left aside.
fn encoder_model(model: &Path, runtime: Runtime) -> anyhow::Result<EncoderModel> {
    let dir = model_folder(&locate(model, Want::Model)?)?;
    let (model, report) = EncoderModel::load(&dir, runtime)?;
    unused(&dir, &report);
    Ok(model)
}

/// Says which tensors of a checkpoint were not used.
fn unused(dir: &Path, report: &LoadReport) {
    /// As many names say what kind they are.
    const NAMED: usize = 6;
    if !report.unused.is_empty() {
        let named = report.unused.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match report.unused.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        output::note(format!("note: {}: tensors not used: {named}{more}", dir.display()));
    }
}

/// Says that a model's classes have no names.
fn unnamed(model: &EncoderModel, labels: &Labels) {
    if !labels.given {
        let path = model.model.config().path();
        output::note(format!("note: {}: no names of classes in `id2label`: they are numbered", path.display()));
    }
}
