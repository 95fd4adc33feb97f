//! `bedstone bench`.

use std::process::ExitCode;

use bedstone_run::units;
use bedstone_train::{BENCH_MODELS, bench_train};
use clap::{Args, Subcommand, builder::PossibleValuesParser};

use crate::{args::RuntimeArgs, output};

/// Measure the speed of this machine
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Whole training steps of GPTs of set sizes: tokens a second, memory
    Train(TrainArgs),
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// The model
    #[arg(long, value_parser = PossibleValuesParser::new(BENCH_MODELS.map(|m| m.name)), default_value = "gpt-6m")]
    model: String,
    /// Steps that are timed, after two that are not
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    steps: u16,
    /// Show what the time goes to
    #[arg(long)]
    profile: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let Action::Train(args) = &args.action;
    let runtime = args.runtime.runtime()?;
    for model in BENCH_MODELS.into_iter().filter(|m| m.name == args.model) {
        let report = bench_train(model, runtime, args.steps.into(), args.profile)?;
        if args.json {
            output::line(serde_json::to_string(&report)?)?;
            continue;
        }
        let memory = report.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), units::bytes);
        output::line(format!(
            "{} {} on {}, {} threads: {} tok/s (best {}), {:.3} TFLOP/s, {memory} of memory",
            report.model,
            report.precision,
            report.isa,
            report.threads,
            units::rate(report.tokens_per_s),
            units::rate(report.best),
            report.tflops,
        ))?;
        for s in report.profile {
            output::line(format!(
                "  {:<20}{:>10.2} ms{:>8.1} %{:>8.0} calls",
                s.kernel,
                s.ms,
                100.0 * s.share,
                s.calls
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
