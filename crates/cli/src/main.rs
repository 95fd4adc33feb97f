//! `bedstone`: pretrain, adapt and use foundation models on ordinary CPUs.

mod args;
mod commands;
mod model;
mod output;
mod texts;

use std::process::ExitCode;

use clap::Parser;

/// Tokenizers make many small strings on all threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => output::failure(&error),
    }
}
