//! Arguments that several commands share.

use std::path::PathBuf;

use bedstone_data::corpus::{Corpus, Format, Options};
use bedstone_tensor::Precision;
use bedstone_train::TrainError;
use clap::{Args, ValueEnum};

use crate::output::Usage;

/// How many threads.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ThreadArgs {
    /// Threads; all cores if not given. Results do not depend on it, but for word2vec without --deterministic
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl ThreadArgs {
    /// Starts the thread pool and gives the instruction set that `BEDSTONE_ISA` names, or the best there is: once for the
    /// process.
    pub(crate) fn start(self) -> anyhow::Result<bedstone_tensor::Isa> {
        bedstone_kernels::pool::set_threads(self.threads.map(usize::from)).map_err(anyhow::Error::msg)?;
        Ok(bedstone_tensor::Isa::from_env()?)
    }
}

/// How a model is run.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RuntimeArgs {
    #[command(flatten)]
    threads: ThreadArgs,
    /// What computes matrix products
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// The fastest that there is for this processor
    Auto,
    /// Single precision
    F32,
    /// bfloat16, where the processor has it
    Bf16,
    /// Linear maps on numbers of eight bits, the rest as auto; to use models, not to train them
    Int8,
}

impl RuntimeArgs {
    /// The same with f32 for `auto`.
    pub(crate) fn exact(&self) -> anyhow::Result<bedstone_infer::Runtime> {
        let precision = if self.precision == PrecisionArg::Auto { PrecisionArg::F32 } else { self.precision };
        RuntimeArgs { precision, ..*self }.runtime()
    }

    /// The same for a command that computes gradients, which int8 has none of.
    pub(crate) fn differentiable(&self, command: &str) -> anyhow::Result<Self> {
        if self.precision == PrecisionArg::Int8 {
            let text = format!(
                "--precision int8: wanted auto, f32 or bf16: {command} computes gradients, int8 is for inference only"
            );
            return Err(Usage(text).into());
        }
        Ok(*self)
    }

    /// Starts the thread pool and resolves instruction set and precision.
    pub(crate) fn runtime(&self) -> anyhow::Result<bedstone_infer::Runtime> {
        let isa = self.threads.start()?;
        let precision = match self.precision {
            PrecisionArg::Auto => Precision::best(isa),
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::Int8 => Precision::Int8,
            PrecisionArg::Bf16 if isa.has_bf16() => Precision::Bf16,
            PrecisionArg::Bf16 => {
                let text = format!("--precision bf16: got {isa}, which has no products of bf16, wanted auto or f32");
                return Err(Usage(text).into());
            }
        };
        Ok(bedstone_infer::Runtime { isa, precision })
    }
}

/// Text that a command must have.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// Text: files (.txt, .jsonl, also .gz or .zst), folders, patterns, or - for the standard input
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// The field of a JSON row that holds the text [default: text]; with it, the standard input holds rows too
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
}

impl TextArgs {
    /// The paths as they were given.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.data
    }

    /// Finds the files.
    pub(crate) fn open(&self) -> anyhow::Result<Corpus> {
        let options = match &self.field {
            Some(field) => Options { field: field.clone(), stdin: Format::JsonLines, ..Options::default() },
            None => Options::default(),
        };
        Ok(Corpus::open(&self.data, options).map_err(TrainError::from)?)
    }
}
