//! `bedstone pretrain`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_infer::{GenerationConfig, Runtime};
use bedstone_run::{Interrupt, Setting, progress};
use bedstone_tensor::Precision;
use bedstone_train::{Family, Outcome, Report, Request, Start, pretrain};
use clap::{Args, ValueEnum};

use super::text_model;
use crate::{
    args::{PrecisionArg, ThreadArgs},
    output,
};

/// Train a model on unlabelled data
#[derive(Debug, Args)]
#[command(after_help = "Without --data the model learns the stories of the embedded World.\n\
    The last line on stdout is the checkpoint directory.")]
pub(crate) struct PretrainArgs {
    /// What to train
    #[arg(value_enum)]
    family: FamilyArg,
    /// Text: files (.txt, .jsonl, also .gz or .zst), folders, patterns, or - for the standard input
    #[arg(long, value_name = "PATH", num_args = 1..)]
    data: Vec<String>,
    /// The tokenizer (a checkpoint directory, tokenizer.json, a SentencePiece model, vocab.txt) instead of a new one
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Begin with the weights of this checkpoint
    #[arg(long, value_name = "DIR")]
    init: Option<String>,
    /// The run directory [default: runs/NAME, runs/NAME-2, …]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Optimizer steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    steps: Option<i64>,
    /// A recipe over the built-in one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key of the recipe, such as train.lr=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Equal seeds give equal weights, bit for bit
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    seed: Option<i64>,
    #[command(flatten)]
    threads: ThreadArgs,
    /// What computes matrix products
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// Go on where an earlier process stopped: in --out, or in the newest run
    #[arg(long)]
    resume: bool,
    /// Resume although instruction set or precision differ, which changes the bits
    #[arg(long, requires = "resume")]
    allow_different_bits: bool,
    /// Print the built-in recipe and do nothing else
    #[arg(long)]
    print_recipe: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FamilyArg {
    /// GPT-2
    Gpt,
    /// Llama
    Llama,
}

impl PretrainArgs {
    fn settings(&self) -> anyhow::Result<Vec<Setting>> {
        let mut settings = Vec::new();
        for set in &self.set {
            settings.push(Setting::parse(set).map_err(bedstone_train::TrainError::from)?);
        }
        // Flags win over --set.
        if !self.data.is_empty() {
            let paths: bedstone_run::recipe::Value = self.data.iter().map(String::as_str).collect();
            settings.push(Setting::flag(format!("--data {}", self.data.join(" ")), "data.paths", paths));
        }
        if let Some(file) = &self.tokenizer {
            settings.push(Setting::flag(format!("--tokenizer {file}"), "tokenizer.file", file.as_str()));
        }
        if let Some(dir) = &self.init {
            settings.push(Setting::flag(format!("--init {dir}"), "train.init", dir.as_str()));
        }
        if let Some(steps) = self.steps {
            settings.push(Setting::flag(format!("--steps {steps}"), "train.steps", steps));
        }
        if let Some(seed) = self.seed {
            settings.push(Setting::flag(format!("--seed {seed}"), "train.seed", seed));
        }
        if let Some(precision) = self.precision {
            let name = precision.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
            settings.push(Setting::flag(format!("--precision {name}"), "train.precision", name));
        }
        Ok(settings)
    }
}

pub(crate) fn run(args: &PretrainArgs) -> anyhow::Result<ExitCode> {
    let family = match args.family {
        FamilyArg::Gpt => Family::Gpt,
        FamilyArg::Llama => Family::Llama,
    };
    if args.print_recipe {
        output::data(family.recipe())?;
        return Ok(ExitCode::SUCCESS);
    }
    let isa = args.threads.start()?;
    let settings = args.settings()?;
    let request = Request {
        family,
        config: args.config.as_deref(),
        settings: &settings,
        out: args.out.as_deref(),
        start: match args.resume {
            true => Start::Resume { allow_different_bits: args.allow_different_bits },
            false => Start::New,
        },
        isa,
    };
    let interrupt = Interrupt::of_process(|| output::note("stopping; once more ends at once"))?;
    let report = pretrain(&request, &mut *progress::on_stderr(), &interrupt)?;
    match report.outcome {
        Outcome::Interrupted => {
            output::note(match report.step {
                0 => "stopped before the first step".to_owned(),
                step => format!(
                    "stopped after step {step}; go on with: bedstone pretrain {} --out {} --resume",
                    family.name(),
                    report.dir.display()
                ),
            });
            Ok(output::interrupted())
        }
        Outcome::AlreadyFinished => {
            output::line(report.dir.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Finished => {
            if let Some(e) = report.evaluation {
                output::note(format!(
                    "validation loss {:.4} (perplexity {:.2}, {:.3} bits per byte)",
                    e.loss, e.perplexity, e.bits_per_byte
                ));
            }
            // The run is done whatever becomes of its sample.
            if let Err(e) = sample(&report, isa) {
                output::note(format!("no sample: {e}"));
            }
            output::line(report.dir.display())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Shows what the model writes.
fn sample(report: &Report, isa: bedstone_tensor::Isa) -> anyhow::Result<()> {
    let model = text_model(&report.dir, Runtime { isa, precision: Precision::best(isa) })?;
    let length = model.model.info().max_length.unwrap_or(256).min(200);
    let config = GenerationConfig {
        max_new_tokens: Some(length.saturating_sub(2)),
        do_sample: true,
        temperature: 0.8,
        top_p: 0.95,
        ..model.generation.clone()
    };
    output::note("sample:");
    for completion in model.complete(&[String::new()], &config, &[], &mut |_, _| {})? {
        output::note(format!("{}\n", completion.text.trim()));
    }
    Ok(())
}
