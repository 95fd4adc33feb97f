//! `bedstone finetune`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_hub::Want;
use bedstone_run::{Ending, Interrupt, Setting, Start, progress};
use bedstone_train::{FINETUNE_RECIPE, FinetuneRequest, PICTURES_RECIPE, Task, begun_finetune, finetune};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::pictures::{Folder, folder};
use crate::{
    args::{PrecisionArg, ThreadArgs},
    model::locate_until,
    output,
};

/// Adapt a model to a task with labelled data
#[derive(Debug, Args)]
#[command(
    after_help = "Without --data the model learns labelled sentences, questions, pairs or pictures of the embedded World.\n\
    The last line on stdout is the checkpoint directory."
)]
pub(crate) struct FinetuneArgs {
    /// An encoder, or a model of pictures: a checkpoint or run directory, or a hub id (org/name or org/name@revision)
    #[arg(required_unless_present_any = ["print_recipe", "resume"])]
    model: Option<PathBuf>,
    /// What for
    #[arg(long, value_enum, required_unless_present_any = ["print_recipe", "resume"])]
    task: Option<TaskArg>,
    /// Labelled data: TSV, CSV or JSON lines; for tags also CoNLL; for answers SQuAD's JSON or JSON lines (each also .gz or
    /// .zst). Pictures: a folder with a folder a class, a table of paths and labels, MNIST or CIFAR files, .tar; COCO JSON
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Data for evaluation [default: a tenth of the training data]
    #[arg(long, value_name = "FILE")]
    eval: Option<String>,
    /// Parameters that stay as they are, such as "bert.embeddings.*"
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Learn factors of this rank instead of the weights (LoRA): more keys under [lora] of the recipe
    #[arg(long, value_name = "RANK", allow_negative_numbers = true)]
    lora: Option<i64>,
    /// The directory of the result [default: runs/finetune, runs/finetune-2, …]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Times through the data
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    epochs: Option<i64>,
    /// Runs with so many seeds: the best one is kept, mean and spread are told
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seeds: Option<i64>,
    /// A recipe over the built-in one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key of the recipe, such as train.lr=3e-5
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
    /// Go on where an earlier process stopped, in --out or in the newest run of finetune; model, task and settings are those of the run
    #[arg(long)]
    resume: bool,
    /// Resume although instruction set or precision differ, which changes the bits
    #[arg(long, requires = "resume")]
    allow_different_bits: bool,
    /// One JSON object: dir, kept, and the metrics of each seed
    #[arg(long)]
    json: bool,
    /// Print the built-in recipe and do nothing else; with a model of pictures or --task detect that of pictures
    #[arg(long)]
    print_recipe: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskArg {
    /// A class, or several, for a text or a pair of texts
    Classify,
    /// A number for a text or a pair of texts
    Regress,
    /// A tag for each word
    Tag,
    /// The place of an answer in a text
    Answer,
    /// A vector for a text, near to those of texts that belong to it
    Embed,
    /// Objects in pictures
    Detect,
}

impl From<TaskArg> for Task {
    fn from(task: TaskArg) -> Self {
        match task {
            TaskArg::Classify => Task::Classify,
            TaskArg::Regress => Task::Regress,
            TaskArg::Tag => Task::Tag,
            TaskArg::Answer => Task::Answer,
            TaskArg::Embed => Task::Embed,
            TaskArg::Detect => Task::Detect,
        }
    }
}

impl FinetuneArgs {
    fn settings(&self) -> anyhow::Result<Vec<Setting>> {
        let mut settings = Vec::new();
        for set in &self.set {
            settings.push(Setting::parse(set).map_err(bedstone_train::TrainError::from)?);
        }
        // Flags win over --set.
        for (flag, key, value) in [("--data", "data.train", &self.data), ("--eval", "data.eval", &self.eval)] {
            if let Some(value) = value {
                settings.push(Setting::flag(format!("{flag} {value}"), key, value.as_str()));
            }
        }
        if !self.freeze.is_empty() {
            let patterns: bedstone_run::recipe::Value = self.freeze.iter().map(String::as_str).collect();
            settings.push(Setting::flag(format!("--freeze {}", self.freeze.join(" ")), "train.freeze", patterns));
        }
        let numbers = [
            ("--epochs", "train.epochs", self.epochs),
            ("--seeds", "train.seeds", self.seeds),
            ("--seed", "train.seed", self.seed),
            ("--lora", "lora.r", self.lora),
        ];
        for (flag, key, value) in numbers {
            if let Some(value) = value {
                settings.push(Setting::flag(format!("{flag} {value}"), key, value));
            }
        }
        if let Some(precision) = self.precision {
            let name = precision.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default();
            settings.push(Setting::flag(format!("--precision {name}"), "train.precision", name));
        }
        Ok(settings)
    }
}

/// Metrics by their names.
pub(super) fn scores_object(scores: &bedstone_train::Scores) -> serde_json::Value {
    scores
        .0
        .iter()
        .map(|(name, value)| (name.clone().into_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

pub(crate) fn run(args: &FinetuneArgs) -> anyhow::Result<ExitCode> {
    if args.print_recipe {
        let pictures = matches!(args.task, Some(TaskArg::Detect))
            || match &args.model {
                Some(model) => matches!(folder(model)?, Folder::Pictures(_)),
                None => false,
            };
        output::data(if pictures { PICTURES_RECIPE } else { FINETUNE_RECIPE })?;
        return Ok(ExitCode::SUCCESS);
    }
    let isa = args.threads.start()?;
    let settings = args.settings()?;
    let interrupt = Interrupt::of_process(|| output::note("stopping; once more ends at once"))?;
    // Of a run that goes on they need not be said again.
    let (name, task) = match (&args.model, args.task) {
        (Some(model), Some(task)) => (model.display().to_string(), task.into()),
        (model, task) => {
            let (name, of_run) = begun_finetune(args.out.as_deref())?;
            (model.as_ref().map_or(name, |model| model.display().to_string()), task.map_or(of_run, Task::from))
        }
    };
    let path = args.model.as_deref().unwrap_or(Path::new(&name));
    let model = locate_until(path, Want::Model, &interrupt)?;
    let request = FinetuneRequest {
        model: &model,
        name: &name,
        task,
        config: args.config.as_deref(),
        settings: &settings,
        out: args.out.as_deref(),
        start: match args.resume {
            true => Start::Resume { allow_different_bits: args.allow_different_bits },
            false => Start::New,
        },
        isa,
    };
    let report = finetune(&request, &mut *progress::on_stderr(), &interrupt)?;
    for (name, mean, spread) in report.spread() {
        output::note(match report.scores.len() {
            1 => format!("{name} {mean:.4}"),
            n => format!("{name} {mean:.4} ± {spread:.4} over {n} seeds"),
        });
    }
    if args.json {
        let of = |(seed, scores): &(u64, _)| json!({"seed": seed, "scores": scores_object(scores)});
        let seeds: Vec<_> = report.scores.iter().map(of).collect();
        output::line(json!({"dir": report.dir, "kept": report.kept, "seeds": seeds}))?;
    } else {
        output::line(report.dir.display())?;
    }
    if report.outcome == Ending::Interrupted {
        let go_on = format!("go on with: bedstone finetune --out {} --resume", report.dir.display());
        let kept = if report.scores.is_empty() { "not evaluated yet" } else { "the best model so far was kept" };
        output::note(format!("stopped after step {}: {kept}; {go_on}", report.step));
        return Ok(output::interrupted());
    }
    Ok(ExitCode::SUCCESS)
}
