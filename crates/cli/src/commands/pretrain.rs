//! `bedstone pretrain`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_hub::Want;
use bedstone_infer::{GenerationConfig, Runtime};
use bedstone_run::{Ending, Interrupt, Setting, Start, progress};
use bedstone_tensor::Precision;
use bedstone_train::{Evaluated, Family, Needs, Report, Request, pretrain};
use clap::{Args, ValueEnum};

use super::{
    pretrain_words::{self, Words},
    text_model,
};
use crate::{
    args::{PrecisionArg, ThreadArgs},
    model::locate_until,
    output,
};

/// Train a model on unlabelled data
#[derive(Debug, Args)]
#[command(after_help = "Without --data the model learns the stories or pictures of the embedded World.\n\
    The last line on stdout is the checkpoint directory.")]
pub(crate) struct PretrainArgs {
    /// What to train
    #[arg(value_enum)]
    family: FamilyArg,
    /// Text: files (.txt, .jsonl, also .gz or .zst), folders, patterns, or - for the standard input. Pictures: a folder, a table,
    /// .tar files
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(super) data: Vec<String>,
    /// The tokenizer (a checkpoint directory, a hub id, tokenizer.json, a SentencePiece model, vocab.txt) instead of a new one
    #[arg(long, value_name = "FILE")]
    pub(super) tokenizer: Option<String>,
    /// Begin with the weights of this checkpoint: a directory, or a hub id
    #[arg(long, value_name = "MODEL")]
    pub(super) init: Option<String>,
    /// Begin the embedding of words with these word vectors: a run of word2vec or glove, or a file
    #[arg(long, value_name = "V")]
    pub(super) init_embeddings: Option<String>,
    /// The run directory [default: runs/NAME, runs/NAME-2, …]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Optimizer steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(super) steps: Option<i64>,
    /// A recipe over the built-in one
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// One key of the recipe, such as train.lr=1e-3
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Equal seeds give equal weights, bit for bit
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub(super) seed: Option<i64>,
    #[command(flatten)]
    pub(super) threads: ThreadArgs,
    /// What computes matrix products
    #[arg(long, value_enum)]
    pub(super) precision: Option<PrecisionArg>,
    /// Word2Vec: the same bits for any number of threads, by training on one of them
    #[arg(long)]
    pub(super) deterministic: bool,
    /// Go on where an earlier process stopped: in --out, or in the newest run
    #[arg(long)]
    pub(super) resume: bool,
    /// Resume although instruction set or precision differ, which changes the bits
    #[arg(long, requires = "resume")]
    pub(super) allow_different_bits: bool,
    /// Print the built-in recipe and do nothing else
    #[arg(long)]
    pub(super) print_recipe: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FamilyArg {
    /// GPT-2
    Gpt,
    /// Llama
    Llama,
    /// BERT: masked words and next sentences
    Bert,
    /// RoBERTa: masked words
    Roberta,
    /// Word2Vec: skip-gram or CBOW, with or without subwords
    Word2vec,
    /// GloVe
    Glove,
    /// Masked autoencoder: pictures without labels
    Mae,
    /// ViT: pictures with classes
    Vit,
}

impl PretrainArgs {
    /// Where the run begins.
    pub(super) fn start(&self) -> Start {
        match self.resume {
            true => Start::Resume { allow_different_bits: self.allow_different_bits },
            false => Start::New,
        }
    }

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
        if let Some(v) = &self.init_embeddings {
            settings.push(Setting::flag(format!("--init-embeddings {v}"), "train.init_embeddings", v.as_str()));
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
        FamilyArg::Bert => Family::Bert,
        FamilyArg::Roberta => Family::Roberta,
        FamilyArg::Mae => Family::Mae,
        FamilyArg::Vit => Family::Vit,
        FamilyArg::Word2vec => return pretrain_words::run(args, Words::Word2Vec),
        FamilyArg::Glove => return pretrain_words::run(args, Words::Glove),
    };
    if args.deterministic {
        let text = "--deterministic: has no use here: these runs give the same bits anyway";
        return Err(output::Usage(text.into()).into());
    }
    if args.print_recipe {
        output::data(family.recipe())?;
        return Ok(ExitCode::SUCCESS);
    }
    let isa = args.threads.start()?;
    let settings = args.settings()?;
    let interrupt = Interrupt::of_process(|| output::note("stopping; once more ends at once"))?;
    let request = Request {
        family,
        config: args.config.as_deref(),
        settings: &settings,
        out: args.out.as_deref(),
        start: args.start(),
        isa,
        open_vectors: &pretrain_words::open_vectors,
        locate: &|model, needs| {
            let want = if needs == Needs::Tokenizer { Want::Tokenizer } else { Want::Model };
            locate_until(model, want, &interrupt)
        },
    };
    let report = pretrain(&request, &mut *progress::on_stderr(), &interrupt)?;
    match report.outcome {
        Ending::Interrupted => Ok(stopped(family.name(), report.step, &report.dir)),
        Ending::AlreadyFinished => {
            output::line(report.dir.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Ending::Finished => {
            if let Some(e) = report.evaluation {
                output::note(match e {
                    Evaluated::Causal(e) => format!(
                        "validation loss {:.4} (perplexity {:.2}, {:.3} bits per byte)",
                        e.loss, e.perplexity, e.bits_per_byte
                    ),
                    e => e
                        .rows()
                        .into_iter()
                        .map(|(name, value)| format!("{name} {value}"))
                        .collect::<Vec<_>>()
                        .join(", "),
                });
            }
            // The run is done whatever becomes of its sample.
            if family.generates()
                && let Err(e) = sample(&report, isa)
            {
                output::note(format!("no sample: {e}"));
            }
            output::line(report.dir.display())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says how to go on with a run that the user stopped.
pub(super) fn stopped(family: &str, step: u64, dir: &Path) -> ExitCode {
    let out = dir.display();
    let go_on = format!("go on with: bedstone pretrain {family} --out {out} --resume");
    output::note(match step {
        0 if dir.join("training").exists() => format!("stopped before the first checkpoint; {go_on}"),
        0 => "stopped before the first step; nothing was kept: start it again by the same command".to_owned(),
        step => format!("stopped after step {step}; {go_on}"),
    });
    output::interrupted()
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
