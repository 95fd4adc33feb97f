//! What the commands do with models of pictures.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_data::pictures::{self, Picture};
use bedstone_hub::Want;
use bedstone_infer::{Runtime, tasks::vision::VisionModel};
use bedstone_models::Class;
use bedstone_run::dir::model_folder;
use bedstone_train::is_vision;
use walkdir::{DirEntry, WalkDir};

use super::unused;
use crate::{
    model::locate,
    output::{self, Usage},
};

/// Pictures that go through a model at a time.
pub(super) const BATCH: usize = 16;

/// The folder of a checkpoint, by what its model takes.
pub(super) enum Folder {
    Pictures(PathBuf),
    Texts(PathBuf),
}

/// Finds the folder of a checkpoint or run directory or a hub id.
pub(super) fn folder(model: &Path) -> anyhow::Result<Folder> {
    // A path that is none is for the reader to name.
    let dir = model_folder(&locate(model, Want::Model)?).unwrap_or_else(|_| model.to_owned());
    Ok(if is_vision(&dir) { Folder::Pictures(dir) } else { Folder::Texts(dir) })
}

/// Loads a model of pictures and says what it left aside.
pub(super) fn vision_model(dir: &Path, runtime: Runtime) -> anyhow::Result<VisionModel> {
    let (model, report) = VisionModel::load(dir, runtime)?;
    unused(dir, &report);
    Ok(model)
}

/// The same without its head.
pub(super) fn vision_body(dir: &Path, runtime: Runtime) -> anyhow::Result<VisionModel> {
    let (mut model, _) = VisionModel::load(dir, runtime)?;
    if model.model.class() != Class::Base {
        model.model = bedstone_models::load_head(dir, Class::Base, &Default::default(), 0)?.0;
    }
    Ok(model)
}

/// Reads pictures, a few at a time, and does something with each of these groups.
///
/// A picture that cannot be read is named on stderr and left out: the exit code tells, and the others are done.
pub(super) fn each_group<'a>(
    paths: &'a [PathBuf],
    mut work: impl FnMut(&[&'a PathBuf], &[Picture]) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for paths in paths.chunks(BATCH) {
        let mut group = Vec::with_capacity(paths.len());
        for path in paths {
            match pictures::open(path) {
                Ok(picture) => group.push((path, picture)),
                Err(e) => code = output::failure(&e.into()),
            }
        }
        if !group.is_empty() {
            let (paths, pictures): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            work(&paths, &pictures)?;
        }
    }
    Ok(code)
}

/// The pictures that a command was given, folders taken apart with all below them, hidden files left out.
pub(super) fn listed(given: &[impl AsRef<Path>]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in given {
        let path = path.as_ref();
        if !path.is_dir() {
            all.push(path.to_owned());
            continue;
        }
        let before = all.len();
        let hidden = |e: &DirEntry| e.depth() > 0 && e.file_name().to_string_lossy().starts_with('.');
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name().into_iter().filter_entry(|e| !hidden(e))
        {
            let entry = entry?;
            if entry.file_type().is_file() && pictures::decode::Format::named(entry.path()) {
                all.push(entry.into_path());
            }
        }
        if all.len() == before {
            output::note(format!("note: {}: holds no pictures, nor do folders in it", path.display()));
        }
    }
    if all.is_empty() {
        return Err(Usage("no pictures: give files or folders of them".into()).into());
    }
    Ok(all)
}
