//! What the commands do with models of pictures.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_data::{
    pictures::{self, Picture, decode::Format},
    walk::{Unread, files_below},
};
use bedstone_hub::Want;
use bedstone_infer::{Runtime, tasks::vision::VisionModel};
use bedstone_models::Class;
use bedstone_run::dir::model_folder;
use bedstone_train::is_vision;

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

/// The pictures that a command was given, folders taken apart with all below them, without hidden files and those that lie in `out`
/// if that is a folder below, since its own pictures go there.
pub(super) fn listed(given: &[impl AsRef<Path>], out: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let out = out.and_then(|out| out.canonicalize().ok());
    let is_out = |folder: &Path| out.as_ref().is_some_and(|out| folder.canonicalize().is_ok_and(|it| it == *out));
    let (mut all, mut own) = (Vec::new(), 0);
    for path in given {
        let path = path.as_ref();
        if !path.is_dir() {
            all.push(path.to_owned());
            continue;
        }
        let (before, below) = (all.len(), !is_out(path));
        for file in files_below(path) {
            match file {
                Ok(file) if below && file.parent().is_some_and(is_out) => own += 1,
                Ok(file) if Format::named(&file) => all.push(file),
                Ok(_) => {}
                // Reading it will say what is wrong.
                Err(Unread { path, .. }) if Format::named(&path) => all.push(path),
                Err(Unread { path, source }) => output::note(format!("note: {}: left out: {source}", path.display())),
            }
        }
        if all.len() == before {
            output::note(format!("note: {}: holds no pictures, nor do folders in it", path.display()));
        }
    }
    if own > 0 {
        output::note(format!("note: {own} files in the folder of --out are left out"));
    }
    if all.is_empty() {
        return Err(Usage("no pictures: give files or folders of them".into()).into());
    }
    Ok(all)
}
