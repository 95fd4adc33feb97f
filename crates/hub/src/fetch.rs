//! A model from the hub or its cache.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use bedstone_run::{files::FileError, space, units};

use crate::{
    HubError, ModelId, Settings, Want, blob,
    cache::{Repo, told},
    client::{Client, Failure, Info, Remote},
    select,
};

/// What happens while a model is fetched.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes of a file are there.
    Bytes {
        /// Its name in the repository.
        file: &'a str,
        /// Bytes that are there.
        done: u64,
        /// Bytes that it has.
        of: Option<u64>,
    },
    /// Something the user should know.
    Note(String),
    /// Time passes: for another process, or before the next try.
    Waiting,
}

/// Told what happens; can end it with [`HubError::Interrupted`].
pub type Watch<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// A hub and the cache of its models.
pub struct Hub {
    settings: Settings,
    client: Client,
}

impl Hub {
    /// The hub that the settings name. Asks nobody yet.
    ///
    /// # Errors
    /// [`HubError::Certificates`], or the system's.
    pub fn new(settings: Settings) -> Result<Self, HubError> {
        Ok(Self { client: Client::new(&settings)?, settings })
    }

    /// The folder of a model, in the cache; what it lacks is fetched before.
    ///
    /// The hub is asked what the revision is at, unless the settings are offline. If it cannot be reached, a model that
    /// is in the cache is taken from there, and the watcher is told. Every file is checked against its checksum before
    /// it gets its name; what an interruption leaves is continued by the next call; several processes may call at once.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn fetch(&self, id: &ModelId, want: Want, watch: &mut Watch<'_>) -> Result<PathBuf, HubError> {
        let repo = Repo::new(&self.settings.cache, id);
        if self.settings.offline {
            let cached = cached(&repo, id, want)?;
            let cache = self.settings.cache.clone();
            return cached.map_err(|missing| HubError::Offline { id: id.to_string(), cache, missing });
        }
        let info = match self.client.info(id) {
            Ok(info) => info,
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Busy(error)) => {
                let dir = cached(&repo, id, want)?.map_err(|_| error)?;
                let text =
                    format!("{id}: {} is busy; using what the cache has, which may be old", self.client.endpoint);
                told(watch(Event::Note(text)))?;
                return Ok(dir);
            }
            Err(Failure::Unreachable(reason)) => {
                let address = self.client.endpoint.clone();
                let dir = cached(&repo, id, want)?.map_err(|missing| HubError::Unreachable {
                    id: id.to_string(),
                    address: address.clone(),
                    reason: reason.clone(),
                    missing,
                })?;
                let text = format!("{id}: {address} cannot be reached ({reason}); using what the cache has");
                told(watch(Event::Note(text)))?;
                return Ok(dir);
            }
        };
        let fetch = Fetch { hub: self, id, repo: &repo, info: &info };
        fetch.all(want, watch)?;
        // Last: a revision without a network is one that is whole.
        repo.set_ref(&id.revision, &info.commit)?;
        Ok(repo.snapshot(&info.commit))
    }
}

/// The files of one commit.
struct Fetch<'a> {
    hub: &'a Hub,
    id: &'a ModelId,
    repo: &'a Repo,
    info: &'a Info,
}

impl Fetch<'_> {
    fn all(&self, want: Want, watch: &mut Watch<'_>) -> Result<(), HubError> {
        let names: Vec<&str> = self.info.names.iter().map(String::as_str).collect();
        let (mut files, mut bytes) = (0, 0);
        let mut one_by_one = |remotes: Vec<Remote>, watch: &mut Watch<'_>| {
            for remote in remotes {
                blob::fetch(&self.hub.client, self.repo, self.id, &remote, watch)?;
                self.repo.link(&self.info.commit, &remote.name, &remote.etag)?;
                files += 1;
                bytes += remote.size.unwrap_or_default();
            }
            Ok::<_, HubError>(())
        };
        one_by_one(self.missing(&want.small(&names))?, watch)?;
        if want != Want::Tokenizer {
            let weights = select::weights(&names);
            if weights.is_empty() && want == Want::Model {
                return Err(HubError::NoWeights { id: self.id.to_string(), found: self.info.names.clone() });
            }
            let indices: Vec<&str> = weights.iter().copied().filter(|name| select::is_index(name)).collect();
            one_by_one(self.missing(&indices)?, watch)?;
            let shards = self.shards(&indices)?;
            let single = weights.iter().copied().filter(|name| !select::is_index(name));
            let large: Vec<&str> = single.chain(shards.iter().map(String::as_str)).collect();
            let large = self.missing(&large)?;
            self.check_space(&large)?;
            one_by_one(large, watch)?;
        }
        if files > 0 {
            let place = self.repo.snapshot(&self.info.commit);
            let text = format!("{}: {files} files ({}) fetched into {}", self.id, units::bytes(bytes), place.display());
            told(watch(Event::Note(text)))?;
        }
        Ok(())
    }

    /// Those that the snapshot lacks.
    fn missing(&self, names: &[&str]) -> Result<Vec<Remote>, HubError> {
        let snapshot = self.repo.snapshot(&self.info.commit);
        let mut remotes = Vec::new();
        for name in names.iter().filter(|name| !snapshot.join(name).exists()) {
            let found = self.hub.client.look(self.id, &self.info.commit, name);
            remotes.push(found.map_err(|failure| match failure {
                Failure::Busy(error) | Failure::Final(error) => error,
                Failure::Unreachable(reason) => {
                    HubError::Broken { id: self.id.to_string(), file: (*name).to_owned(), got: 0, wanted: None, reason }
                }
            })?);
        }
        Ok(remotes)
    }

    /// All shards that the indices name.
    fn shards(&self, indices: &[&str]) -> Result<Vec<String>, HubError> {
        let mut all = Vec::new();
        for index in indices {
            let wrong = |reason| HubError::Index { id: self.id.to_string(), file: (*index).to_owned(), reason };
            let path = self.repo.snapshot(&self.info.commit).join(index);
            let text = fs::read(&path).map_err(FileError::at(&path, "read it"))?;
            for shard in select::shards(index, &text).map_err(wrong)? {
                if self.info.names.binary_search(&shard).is_err() {
                    return Err(wrong(format!("names `{shard}`, which the model does not have")));
                }
                all.push(shard);
            }
        }
        Ok(all)
    }

    fn check_space(&self, files: &[Remote]) -> Result<(), HubError> {
        let cache = &self.hub.settings.cache;
        let lacking = files.iter().filter(|file| !blob::is_there(&self.repo.blob(&file.etag), file));
        let rest = |file: &Remote| file.size.unwrap_or_default().saturating_sub(blob::begun(self.repo, file));
        let needs: u64 = lacking.map(rest).sum();
        let has = space::available(cache)?;
        if needs > has {
            return Err(HubError::Space { id: self.id.to_string(), cache: cache.clone(), needs, has });
        }
        Ok(())
    }
}

/// The folder of a model that the cache has for the purpose, or what a model that is there lacks.
fn cached(repo: &Repo, id: &ModelId, want: Want) -> Result<Result<PathBuf, Option<&'static str>>, HubError> {
    let Some(dir) = repo.known(&id.revision)? else { return Ok(Err(None)) };
    let names = names(&dir)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lacks = match want {
        Want::Fixture => None,
        Want::Tokenizer => want.small(&names).iter().all(|name| *name == "config.json").then_some("a tokenizer"),
        // An adapter may have none of its own.
        Want::Model if !["config.json", select::ADAPTER].iter().any(|name| names.contains(name)) => {
            Some("`config.json`")
        }
        Want::Model => {
            let weights = select::weights(&names);
            let whole = |name: &&str| match select::is_index(name) {
                true => fs::read(dir.join(name)).is_ok_and(|text| {
                    select::shards(name, &text).is_ok_and(|all| all.iter().all(|shard| dir.join(shard).exists()))
                }),
                false => true,
            };
            (weights.is_empty() || !weights.iter().all(whole)).then_some("all of its weights")
        }
    };
    Ok(match lacks {
        None => Ok(dir),
        lacks => Err(lacks),
    })
}

/// The names of all files in a snapshot, sorted; links that lead nowhere are none.
fn names(dir: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = dir.join(&folder);
        let list = || FileError::at(&path, "list the folder");
        for entry in path.read_dir().map_err(list())? {
            let entry = entry.map_err(list())?;
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            match entry.path().metadata() {
                Ok(meta) if meta.is_dir() && folder.is_empty() => folders.push(format!("{name}/")),
                Ok(meta) if meta.is_file() => names.push(name),
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::at(&entry.path(), "look at it")(e));
                }
                _ => {}
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}
