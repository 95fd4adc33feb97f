//! `bedstone bench`.

use std::{process::ExitCode, time::Duration};

use bedstone_run::units;
use bedstone_tensor::Isa;
use bedstone_train::{
    BENCH_MODELS, BenchModel, BenchOptions, BenchReport, KernelRow, TrainError, bench_infer, bench_kernels, bench_train,
};
use clap::{Args, Subcommand, builder::PossibleValuesParser};

use super::bench_embed::{self, EmbedBenchArgs};
use crate::{
    args::{RuntimeArgs, ThreadArgs},
    output,
};

/// Measure the speed of this machine
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Whole training steps of models of set sizes: tokens or pictures a second, memory
    Train(TrainArgs),
    /// Whole passes without gradients through the same models
    Infer(PassArgs),
    /// Single kernels on every instruction set of this machine, at the shapes of training and inference
    Kernels(KernelArgs),
    /// Texts to vectors, from text on, with a model of yours
    Embed(EmbedBenchArgs),
}

#[derive(Debug, Args)]
struct KernelArgs {
    /// Milliseconds that a row takes, at least
    #[arg(long, value_name = "N", default_value_t = 100)]
    ms: u16,
    /// One JSON object a row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(Debug, Args)]
struct TrainArgs {
    #[command(flatten)]
    pass: PassArgs,
    /// Compute blocks again in the backward pass, to save memory
    #[arg(long)]
    gradient_checkpointing: bool,
}

#[derive(Debug, Args)]
struct PassArgs {
    /// The model
    #[arg(long, value_parser = PossibleValuesParser::new(BENCH_MODELS.map(|m| m.name)), default_value = "gpt-6m")]
    model: String,
    /// Samples at a time, if not what is usual for the model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    batch: Option<u16>,
    /// Passes that are timed, after two that are not
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
    match &args.action {
        Action::Train(args) => {
            let runtime = args.pass.runtime.differentiable("bench train")?.runtime()?;
            passes(&args.pass, args.gradient_checkpointing, |model, options| bench_train(model, runtime, options))?;
        }
        Action::Infer(args) => {
            let runtime = args.runtime.runtime()?;
            passes(args, false, |model, options| bench_infer(model, runtime, options))?;
        }
        Action::Kernels(args) => kernels(args)?,
        Action::Embed(args) => bench_embed::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn passes(
    args: &PassArgs,
    gradient_checkpointing: bool,
    bench: impl Fn(BenchModel, BenchOptions) -> Result<BenchReport, TrainError>,
) -> anyhow::Result<()> {
    let options = BenchOptions {
        steps: args.steps.into(),
        batch: args.batch.map(usize::from),
        profile: args.profile,
        gradient_checkpointing,
    };
    for model in BENCH_MODELS.into_iter().filter(|m| m.name == args.model) {
        let report = bench(model, options)?;
        if args.json {
            output::line(serde_json::to_string(&report)?)?;
            continue;
        }
        let memory = report.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), units::bytes);
        output::line(format!(
            "{} {} on {}, {} threads: {} {unit}/s (best {}), {:.3} TFLOP/s, {memory} of memory",
            report.model,
            report.precision,
            report.isa,
            report.threads,
            units::rate(report.per_s),
            units::rate(report.best),
            report.tflops,
            unit = report.unit,
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
    Ok(())
}

fn kernels(args: &KernelArgs) -> anyhow::Result<()> {
    let best = args.threads.start()?;
    let isas: Vec<_> = Isa::available().into_iter().filter(|&isa| isa <= best).collect();
    let mut result = Ok(());
    bench_kernels(&isas, Duration::from_millis(args.ms.into()), |row| {
        if result.is_ok() {
            result = show(&row, args.json);
        }
    });
    result
}

fn show(row: &KernelRow, json: bool) -> anyhow::Result<()> {
    if json {
        output::line(serde_json::to_string(row)?)?;
        return Ok(());
    }
    let speed = match (row.gflops, row.gb_per_s) {
        (Some(gflops), _) => format!("{gflops:>9.1} GFLOP/s"),
        (_, Some(gb)) => format!("{gb:>9.1} GB/s"),
        _ => String::new(),
    };
    let KernelRow { kernel, shape, precision, isa, ms, .. } = row;
    output::line(format!("{kernel:<21} {shape:<14} {precision:<5}{isa:<11}{ms:>10.3} ms {speed}"))?;
    Ok(())
}
