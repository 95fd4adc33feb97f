//! From a MODEL on the command line to a directory.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use bedstone_hub::{Event, Hub, HubError, ModelId, Settings, Want};
use bedstone_run::{Interrupt, interrupt, progress::Transfer, units};
use bedstone_train::TrainError;
use bedstone_words::Vectors;

use crate::{adapter, output};

/// The directory (or file) that a command's MODEL stands for.
///
/// What exists is itself. Otherwise `org/name`, `name`, or either with `@revision`, is a model of the hub, whose folder
/// in the cache this is, fetched before. Anything else is given back, for the reader to say what is wrong with it.
/// Ctrl-C ends the process from the first request on.
pub(crate) fn locate(model: &Path, want: Want) -> anyhow::Result<PathBuf> {
    Ok(fetch(model, want, None)?)
}

/// The same for commands that train, which handle Ctrl-C themselves.
pub(crate) fn locate_until(model: &Path, want: Want, interrupt: &Interrupt) -> Result<PathBuf, TrainError> {
    fetch(model, want, Some(interrupt)).map_err(|e| match e {
        HubError::Interrupted => TrainError::Interrupted,
        e => TrainError::Locate(e.into()),
    })
}

/// Word vectors, with a note on what of the file is not used.
pub(crate) fn word_vectors(path: &Path) -> anyhow::Result<Vectors> {
    let vectors = Vectors::open(path)?;
    if let Some((word, rows)) = &vectors.repeated {
        let rows = units::count(*rows);
        output::note(format!(
            "{}: words such as `{word}` stand there more than once; the first counts, {rows} rows are left out",
            path.display()
        ));
    }
    Ok(vectors)
}

/// Without `until` Ctrl-C ends the process.
fn fetch(model: &Path, want: Want, until: Option<&Interrupt>) -> Result<PathBuf, HubError> {
    let id = model.to_str().and_then(|text| text.parse::<ModelId>().ok());
    let dir = match id.filter(|_| model.symlink_metadata().is_err()) {
        Some(id) => fetch_id(&id, want, until)?,
        None => model.to_owned(),
    };
    adapter::whole(dir, want, |base, want| {
        output::note(format!("{}: an adapter of {base}", model.display()));
        fetch_id(base, want, until)
    })
}

fn fetch_id(id: &ModelId, want: Want, until: Option<&Interrupt>) -> Result<PathBuf, HubError> {
    if until.is_none() {
        // What has come stays in the cache, whole or to be continued: there is nothing to tidy.
        interrupt::exit_at_once()
            .map_err(bedstone_run::files::FileError::at(Path::new(&id.repo), "watch for Ctrl-C"))?;
    }
    let mut shown = Transfer::on_stderr();
    Hub::new(Settings::from_env()?)?.fetch(id, want, &mut |event| {
        match event {
            Event::Bytes { file, done, of } => shown.bytes(file, done, of),
            Event::Note(text) => shown.note(&text),
            Event::Waiting => {}
        }
        if until.is_some_and(Interrupt::requested) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}
