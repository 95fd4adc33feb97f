//! `bedstone bench embed`.

use std::{path::PathBuf, time::Instant};

use bedstone_hub::Want;
use bedstone_infer::tasks::embed::SentenceEncoder;
use bedstone_kernels::{pool, profile};
use bedstone_run::dir::model_folder;
use clap::Args;
use serde_json::json;

use crate::{args::RuntimeArgs, model::locate, output, texts::DataArgs};

/// Texts to vectors, from text on, with a model of yours
#[derive(Debug, Args)]
pub(crate) struct EmbedBenchArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Times that all texts are embedded, after one that is not timed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Show what the time goes to
    #[arg(long)]
    profile: bool,
    /// One JSON object: texts, precision, isa, threads, seconds (a round each)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(super) fn run(args: &EmbedBenchArgs) -> anyhow::Result<()> {
    let texts: Vec<String> = args.data.read(&[], false)?.into_iter().map(|t| t.text).collect();
    let runtime = args.runtime.runtime()?;
    let (encoder, _) = SentenceEncoder::load(&model_folder(&locate(&args.model, Want::Model)?)?, runtime)?;
    encoder.embed(&texts, None)?;
    profile::set(args.profile);
    let mut seconds = Vec::new();
    for _ in 0..args.rounds {
        let started = Instant::now();
        encoder.embed(&texts, None)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let kernels = if args.profile { profile::read() } else { Vec::new() };
    profile::set(false);
    let (precision, isa, threads) = (runtime.precision.name(), runtime.isa.to_string(), pool::threads());
    if args.json {
        let object = json!({
            "texts": texts.len(), "precision": precision, "isa": isa, "threads": threads, "seconds": seconds,
        });
        return output::line(object);
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    let rate = texts.len() as f64 / median;
    output::line(format!("{precision} on {isa}, {threads} threads: {rate:.0} texts/s ({median:.3} s a round)"))?;
    for (kind, seconds, calls) in kernels.into_iter().filter(|(_, _, calls)| *calls > 0) {
        let (each, calls) = (seconds / f64::from(args.rounds), calls / u64::from(args.rounds));
        let share = 100.0 * each / median;
        output::line(format!("  {:<20}{:>10.2} ms{share:>8.1} %{calls:>8} calls", kind.name(), each * 1e3))?;
    }
    Ok(())
}
