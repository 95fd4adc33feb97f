//! A low-rank adapter (`peft`) and its base as one folder.
//!
//! An adapter names its base, by a directory or by an id of the hub, and often comes without a tokenizer. Readers of
//! checkpoints know folders alone: where the base has to be fetched, or has files that the adapter lacks, they are given
//! a folder of links in the cache.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
};

use bedstone_data::shards::cache_dir;
use bedstone_hub::{ModelId, Want};
use bedstone_models::adapter::{BASE, CONFIG, base_of};
use bedstone_run::files::{FileError, names};
use serde_json::{Map, Value};

/// The folder of a model, where `dir` may be an adapter whose base is elsewhere; `fetch` brings a base from the hub.
///
/// What cannot be resolved is left to the reader of the checkpoint, which says what is wrong with it.
pub(crate) fn whole<E: From<FileError>>(
    dir: PathBuf,
    want: Want,
    fetch: impl FnOnce(&ModelId, Want) -> Result<PathBuf, E>,
) -> Result<PathBuf, E> {
    let config = dir.join(CONFIG);
    if !config.is_file() {
        return Ok(dir);
    }
    let text = fs::read(&config).map_err(FileError::at(&config, "read it"))?;
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(&text) else { return Ok(dir) };
    let Some(base) = fields.get(BASE).and_then(Value::as_str) else { return Ok(dir) };
    let (base, fetched) = match (base_of(&dir, base), base.parse::<ModelId>()) {
        (Some(folder), _) => (folder, false),
        (None, Ok(mut id)) => {
            if let Some(revision) = fields.get("revision").and_then(Value::as_str) {
                id.revision = revision.to_owned();
            }
            (fetch(&id, want)?, true)
        }
        (None, Err(_)) => return Ok(dir),
    };
    let lacking = lacking(&dir, &base)?;
    if !fetched && lacking.is_empty() {
        return Ok(dir);
    }
    Ok(view(&dir, &base, fields, &lacking)?)
}

/// The files of the base that the adapter needs and lacks: its tokenizer, and how pictures are prepared.
fn lacking(dir: &Path, base: &Path) -> Result<Vec<String>, FileError> {
    let (own, others) = (names(dir)?, names(base)?);
    let vocabulary = |name: &String| {
        ["tokenizer.json", "vocab.txt", "vocab.json"].contains(&name.as_str())
            || [".model", ".spm"].iter().any(|end| name.ends_with(end))
    };
    let others: Vec<&str> = others.iter().map(String::as_str).filter(|name| *name != "config.json").collect();
    let mut wanted = match own.iter().any(vocabulary) {
        true => Vec::new(),
        false => Want::Tokenizer.small(&others),
    };
    wanted.extend(others.iter().filter(|name| **name == "preprocessor_config.json"));
    Ok(wanted.into_iter().filter(|name| !own.iter().any(|own| own == name)).map(str::to_owned).collect())
}

/// A folder of links to the adapter's files and the `lacking` ones of its base, which it names where it is now.
fn view(dir: &Path, base: &Path, mut fields: Map<String, Value>, lacking: &[String]) -> Result<PathBuf, FileError> {
    let full = |path: &Path| path.canonicalize().map_err(FileError::at(path, "find it"));
    let (dir, base) = (full(dir)?, full(base)?);
    let mut hasher = DefaultHasher::new();
    (&dir, &base).hash(&mut hasher);
    let cache = cache_dir("adapters").map_err(|e| FileError::at(&dir, "find the cache")(io::Error::other(e)))?;
    let view = cache.join(format!("{:016x}", hasher.finish()));
    fs::create_dir_all(&view).map_err(FileError::at(&view, "create it"))?;
    let own = names(&dir)?;
    let own = own.iter().filter(|name| *name != CONFIG).map(|name| (name, dir.join(name)));
    let links: BTreeMap<&String, PathBuf> = own.chain(lacking.iter().map(|name| (name, base.join(name)))).collect();
    // Others may be reading: what is right stays, and nothing is missing for a moment.
    for (&name, to) in &links {
        let path = view.join(name);
        if fs::read_link(&path).is_ok_and(|there| there == *to) {
            continue;
        }
        let beside = view.join(format!(".{name}.{}", std::process::id()));
        std::os::unix::fs::symlink(to, &beside).map_err(FileError::at(&beside, "make the link"))?;
        fs::rename(&beside, &path).map_err(FileError::at(&path, "replace it"))?;
    }
    let stays = |name: &String| links.contains_key(name) || name == CONFIG || name.starts_with('.');
    for name in names(&view)?.iter().filter(|name| !stays(name)) {
        let path = view.join(name);
        fs::remove_file(&path).or_else(gone).map_err(FileError::at(&path, "remove it"))?;
    }
    fields.insert(BASE.into(), base.display().to_string().into());
    let (path, text) = (view.join(CONFIG), Value::Object(fields).to_string());
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(view);
    }
    let beside = view.join(format!(".{CONFIG}.{}", std::process::id()));
    fs::write(&beside, text).map_err(FileError::at(&beside, "write it"))?;
    fs::rename(&beside, &path).map_err(FileError::at(&path, "replace it"))?;
    Ok(view)
}

fn gone(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }
}
