//! The cache that Python's `huggingface_hub` shares.
//!
//! ```text
//! models--org--name/
//!   refs/main              the commit that the branch was at
//!   snapshots/COMMIT/…     a folder as in the repository; its files are links into blobs/
//!   blobs/ETAG             contents, by checksum; ETAG.incomplete while they come
//! .locks/models--org--name/ETAG.lock   held by the process that fetches it
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bedstone_run::files::FileError;

use crate::{Event, HubError, ModelId, Watch, id::is_component};

/// The part of the cache that belongs to one repository.
pub(crate) struct Repo {
    cache: PathBuf,
    name: String,
}

impl Repo {
    pub(crate) fn new(cache: &Path, id: &ModelId) -> Self {
        Self { cache: cache.to_owned(), name: format!("models--{}", id.repo.replace('/', "--")) }
    }

    fn path(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.path().join("snapshots").join(commit)
    }

    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.path().join("blobs").join(etag)
    }

    /// The snapshot that a revision was at when it was last fetched.
    pub(crate) fn known(&self, revision: &str) -> Result<Option<PathBuf>, FileError> {
        let file = self.path().join("refs").join(revision);
        let commit = match fs::read_to_string(&file) {
            Ok(text) => text.trim().to_owned(),
            // A commit has no ref but stands for itself.
            Err(e) if e.kind() == io::ErrorKind::NotFound => revision.to_owned(),
            Err(e) => return Err(FileError::at(&file, "read it")(e)),
        };
        let snapshot = self.snapshot(&commit);
        Ok((is_component(&commit) && snapshot.is_dir()).then_some(snapshot))
    }

    /// Notes what a revision is at.
    pub(crate) fn set_ref(&self, revision: &str, commit: &str) -> Result<(), FileError> {
        if revision == commit {
            return Ok(());
        }
        let file = self.path().join("refs").join(revision);
        if fs::read_to_string(&file).is_ok_and(|text| text == commit) {
            return Ok(());
        }
        make_parent(&file)?;
        // Whole at any moment; another process may write the same.
        let beside = self.path().join(format!(".ref-{commit}-{}", std::process::id()));
        fs::write(&beside, commit).map_err(FileError::at(&beside, "write it"))?;
        fs::rename(&beside, &file).map_err(FileError::at(&file, "replace it"))
    }

    /// Puts a blob into a snapshot.
    pub(crate) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<(), FileError> {
        let place = self.snapshot(commit).join(name);
        if place.exists() {
            return Ok(());
        }
        make_parent(&place)?;
        let up = "../".repeat(2 + name.matches('/').count());
        // What stands there leads nowhere.
        match fs::remove_file(&place) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(FileError::at(&place, "remove it")(e)),
            _ => {}
        }
        match std::os::unix::fs::symlink(format!("{up}blobs/{etag}"), &place) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A file system without links: Python moves the file there, too.
            Err(e) if matches!(e.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                fs::rename(self.blob(etag), &place).map_err(FileError::at(&place, "put it there"))
            }
            Err(e) => Err(FileError::at(&place, "make the link")(e)),
        }
    }

    /// Waits until no other process fetches the blob, and keeps others from it until dropped.
    pub(crate) fn lock(&self, etag: &str, name: &str, watch: &mut Watch<'_>) -> Result<File, HubError> {
        let path = self.cache.join(".locks").join(&self.name).join(format!("{etag}.lock"));
        make_parent(&path)?;
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let file = open.map_err(FileError::at(&path, "open the lock"))?;
        let mut waited = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if waited => {}
                Err(TryLockError::WouldBlock) => {
                    waited = true;
                    told(watch(Event::Note(format!("{name}: waiting for another process that fetches it"))))?;
                }
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                    let text = format!("{}: this file system knows no locks; fetch once at a time", path.display());
                    told(watch(Event::Note(text)))?;
                    return Ok(file);
                }
                Err(TryLockError::Error(e)) => return Err(FileError::at(&path, "lock it")(e).into()),
            }
            thread::sleep(Duration::from_millis(100));
            told(watch(Event::Waiting))?;
        }
    }
}

/// An error if the watcher wants no more.
pub(crate) fn told(flow: ControlFlow<()>) -> Result<(), HubError> {
    if flow.is_break() { Err(HubError::Interrupted) } else { Ok(()) }
}

pub(crate) fn make_parent(path: &Path) -> Result<(), FileError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(FileError::at(parent, "make the folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(dir: &Path) -> Repo {
        Repo::new(dir, &"org/name".parse().unwrap())
    }

    #[test]
    fn refs_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        assert_eq!(repo.known("main").unwrap(), None);
        fs::create_dir_all(repo.blob("x").parent().unwrap()).unwrap();
        fs::write(repo.blob("x"), "content").unwrap();
        repo.link("abc", "config.json", "x").unwrap();
        repo.link("abc", "1_Pooling/config.json", "x").unwrap();
        repo.link("abc", "config.json", "x").unwrap();
        repo.set_ref("refs/pr/1", "abc").unwrap();
        let snapshot = repo.known("refs/pr/1").unwrap().unwrap();
        assert_eq!(snapshot, dir.path().join("models--org--name/snapshots/abc"));
        assert_eq!(fs::read_to_string(snapshot.join("1_Pooling/config.json")).unwrap(), "content");
        assert_eq!(fs::read_link(snapshot.join("config.json")).unwrap(), Path::new("../../blobs/x"));
        assert_eq!(repo.known("abc").unwrap(), Some(snapshot));
    }

    #[test]
    fn refs_that_lead_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        for commit in ["..", "", "a b", "none"] {
            repo.set_ref("main", commit).unwrap();
            assert_eq!(repo.known("main").unwrap(), None, "{commit:?}");
        }
    }

    #[test]
    fn dangling_links_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        repo.link("abc", "config.json", "old").unwrap();
        fs::create_dir_all(repo.blob("new").parent().unwrap()).unwrap();
        fs::write(repo.blob("new"), "content").unwrap();
        repo.link("abc", "config.json", "new").unwrap();
        assert_eq!(fs::read_to_string(repo.snapshot("abc").join("config.json")).unwrap(), "content");
    }

    #[test]
    fn locks_exclude() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repo(dir.path());
        let held = repo.lock("x", "f", &mut |_| ControlFlow::Continue(())).unwrap();
        let mut events = 0;
        let interrupted = repo.lock("x", "f", &mut |_| {
            events += 1;
            if events < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(matches!(interrupted, Err(HubError::Interrupted)));
        drop(held);
        repo.lock("x", "f", &mut |_| ControlFlow::Break(())).unwrap();
    }
}
