//! `bedstone parity`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_hub::Want;
use bedstone_train::parity::check;
use clap::Args;

use crate::{args::RuntimeArgs, model::locate, output};

/// Check checkpoints against recorded results of a reference implementation
#[derive(Debug, Args)]
#[command(
    after_help = "A fixture directory holds a checkpoint with parity.json and parity.safetensors (inputs and the \
    outputs of the reference), or trace.json and trace.safetensors (a training run), or tokenizer files alone.\n\
    Products are f32 unless --precision says bf16, which has wider tolerances. Exit code 1 if any case fails."
)]
pub(crate) struct ParityArgs {
    /// Fixture directories, or hub ids
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Show failures and the sum only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(crate) fn run(args: &ParityArgs) -> anyhow::Result<ExitCode> {
    // Rounding to bf16 would hide what this looks for.
    let runtime = args.runtime.differentiable("parity")?.exact()?;
    let (mut passed, mut failed) = (0, 0);
    for dir in &args.dirs {
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
        let dir = match locate(dir, Want::Fixture) {
            Ok(dir) => dir,
            Err(e) => {
                failed += 1;
                output::line(format!("FAIL {name}: fixture: {e}"))?;
                continue;
            }
        };
        for case in check(&dir, runtime) {
            if case.passed() {
                passed += 1;
            } else {
                failed += 1;
            }
            if !args.quiet || !case.passed() {
                let text = case.to_string();
                let (mark, rest) = text.split_at(4);
                output::line(format!("{mark} {name}:{rest}"))?;
            }
        }
    }
    output::line(format!("{passed} passed, {failed} failed"))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
