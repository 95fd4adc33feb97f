//! Arguments that several commands share.

use clap::{Args, ValueEnum};

/// How a model is run.
#[derive(Debug, Args)]
pub(crate) struct RuntimeArgs {
    /// Threads; all cores if not given. Results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// What computes matrix products
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) precision: PrecisionArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionArg {
    /// The fastest that there is for this processor
    Auto,
    /// Single precision
    F32,
    /// bfloat16, where the processor has it
    Bf16,
}

impl RuntimeArgs {
    /// Starts the thread pool and resolves the instruction set, once for the process.
    pub(crate) fn runtime(&self) -> anyhow::Result<bedstone_infer::Runtime> {
        let isa = start(self.threads)?;
        let precision = match self.precision {
            PrecisionArg::Auto | PrecisionArg::F32 => bedstone_tensor::Precision::F32,
            PrecisionArg::Bf16 => anyhow::bail!("--precision bf16: not there yet, wanted auto or f32"),
        };
        Ok(bedstone_infer::Runtime { isa, precision })
    }
}

/// Starts the thread pool and gives the instruction set that `BEDSTONE_ISA` names, or the best there is.
pub(crate) fn start(threads: Option<u16>) -> anyhow::Result<bedstone_tensor::Isa> {
    bedstone_kernels::pool::set_threads(threads.map(usize::from)).map_err(anyhow::Error::msg)?;
    Ok(bedstone_tensor::Isa::from_env()?)
}
