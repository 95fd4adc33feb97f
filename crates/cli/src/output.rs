//! Data to stdout, everything else to stderr.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use bedstone_hub::HubError;
use bedstone_infer::InferError;
use bedstone_run::{interrupt, recipe::RecipeError};
use bedstone_train::TrainError;
use bedstone_words::WordsError;

/// Writes data to stdout. A reader that has had enough (`| head`) ends the program without a word.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| anyhow::anyhow!("standard output: {e}")),
    }
}

/// Writes a line of data to stdout.
pub(crate) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    data(&format!("{text}\n"))
}

/// Writes a line for people to stderr.
pub(crate) fn note(text: impl std::fmt::Display) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error, before the work that fills a file, if there is no folder for it, or one in its place.
pub(crate) fn place_for(flag: &str, file: &Path) -> anyhow::Result<()> {
    match file.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => {
            let text = format!("{flag} {}: there is no folder {}", file.display(), folder.display());
            Err(Usage(text).into())
        }
        _ if file.is_dir() => Err(Usage(format!("{flag} {}: it is a folder, wanted a file", file.display())).into()),
        _ => Ok(()),
    }
}

/// Says what went wrong and gives the exit code: 2 for wrong usage, 1 otherwise.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    if matches!(error.downcast_ref::<HubError>(), Some(HubError::Interrupted)) {
        return interrupted();
    }
    note(format!("error: {error}"));
    let setting = |e: &InferError| matches!(e, InferError::Setting { .. } | InferError::TooLong { .. });
    let usage = error.downcast_ref::<InferError>().is_some_and(setting)
        || error.downcast_ref::<bedstone_tensor::IsaError>().is_some()
        || matches!(
            error.downcast_ref::<TrainError>(),
            Some(TrainError::Run(bedstone_run::Error::Recipe(e))) if is_usage(e)
        )
        || matches!(
            error.downcast_ref::<WordsError>(),
            Some(WordsError::Run(bedstone_run::Error::Recipe(e))) if is_usage(e)
        )
        || error.downcast_ref::<RecipeError>().is_some_and(is_usage)
        || matches!(error.downcast_ref::<HubError>(), Some(HubError::Setting { .. }))
        || error.downcast_ref::<Usage>().is_some();
    ExitCode::from(if usage { 2 } else { 1 })
}

/// The exit code after Ctrl-C.
pub(crate) fn interrupted() -> ExitCode {
    ExitCode::from(interrupt::EXIT_CODE as u8)
}

fn is_usage(error: &RecipeError) -> bool {
    // A file that cannot be read is a failure; everything else is the user's writing.
    !matches!(error, RecipeError::File(_))
}

/// A mistake in the words of a command.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
