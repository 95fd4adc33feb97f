//! `bedstone`: pretrain, adapt and use foundation models on ordinary CPUs.

// Comments of arguments are texts of the help, which is not Markdown.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

mod adapter;
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
