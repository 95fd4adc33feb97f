//! The directory that keeps shards by content, and how several programs share it.

use super::Error;
use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Where shards are kept unless the user says otherwise: `BEDSTONE_CACHE`, or `bedstone` in `XDG_CACHE_HOME` or in
/// `~/.cache`; shards lie in its folder `tokens`.
pub fn default_cache_dir() -> Result<PathBuf, Error> {
    cache_dir("tokens")
}

/// The folder `name` of that cache.
pub fn cache_dir(name: &str) -> Result<PathBuf, Error> {
    let base = resolve(|name| env::var_os(name).filter(|value| !value.is_empty())).ok_or(Error::NoCache)?;
    Ok(base.join(name))
}

fn resolve(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let own = var("BEDSTONE_CACHE").map(PathBuf::from);
    // The specification wants relative paths ignored.
    let xdg = || var("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || var("HOME").map(|home| Path::new(&home).join(".cache"));
    let windows = || var("LOCALAPPDATA").map(PathBuf::from);
    own.or_else(|| Some(xdg().or_else(home).or_else(windows)?.join("bedstone")))
}

const BUILDING: &str = ".building-";

/// A directory being built, deleted when dropped unless it was moved to its place.
pub(super) struct Building {
    dir: TempDir,
    // Held while the program lives; a directory whose lock is free was left by one that died.
    _lock: File,
}

impl Building {
    /// A new directory in `cache`, after those of dead programs were removed.
    pub(super) fn begin(cache: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Write { path: cache.to_path_buf(), source };
        fs::create_dir_all(cache).map_err(failed)?;
        // Creating and locking must not be seen half done by a program that tidies up.
        let all = File::create(cache.join(".lock")).map_err(failed)?;
        all.lock().map_err(failed)?;
        remove_dead(cache).map_err(failed)?;
        let dir = tempfile::Builder::new().prefix(BUILDING).tempdir_in(cache).map_err(failed)?;
        let lock = File::create(dir.path().join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Moves the directory to `place`. What lies there is kept if `is_good` says so, else replaced.
    pub(super) fn publish(self, place: &Path, is_good: impl Fn() -> bool) -> Result<(), Error> {
        let failed = |source: io::Error| Error::Write { path: place.to_path_buf(), source };
        let cache = place.parent().unwrap_or(Path::new("."));
        // Only here are places changed, and only under this lock.
        let all = File::create(cache.join(".lock")).map_err(failed)?;
        all.lock().map_err(failed)?;
        fs::remove_file(self.dir.path().join("lock")).map_err(failed)?;
        sync_dir(self.dir.path()).map_err(failed)?;
        if place.exists() {
            if is_good() {
                return Ok(());
            }
            let old = tempfile::Builder::new().prefix(BUILDING).tempdir_in(cache).map_err(failed)?;
            fs::rename(place, old.path().join("old")).map_err(failed)?;
        }
        fs::rename(self.dir.path(), place).map_err(failed)?;
        // Moved away, so there is nothing to delete.
        let _ = self.dir.keep();
        sync_dir(cache).map_err(failed)
    }
}

fn remove_dead(cache: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(BUILDING) {
            continue;
        }
        let alive = match File::open(entry.path().join("lock")) {
            Ok(lock) => matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
            Err(_) => false,
        };
        if !alive {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the names in `dir` survive a power cut, where the system can.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], want: Option<&str>) {
        let found = resolve(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()));
        assert_eq!(found, want.map(PathBuf::from));
    }

    #[test]
    fn default_places() {
        check(&[("BEDSTONE_CACHE", "/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/c"));
        check(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")], Some("/x/bedstone"));
        check(&[("XDG_CACHE_HOME", "rel"), ("HOME", "/h")], Some("/h/.cache/bedstone"));
        check(&[], None);
    }

    #[test]
    fn dead_directories_go_and_live_ones_stay() {
        let cache = tempfile::tempdir().unwrap();
        let dead = cache.path().join(".building-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let one = Building::begin(cache.path()).unwrap();
        let two = Building::begin(cache.path()).unwrap();
        assert!(!dead.exists() && one.path().exists() && two.path().exists());
        let place = cache.path().join("key");
        fs::write(one.path().join("x"), "1").unwrap();
        fs::write(two.path().join("x"), "2").unwrap();
        one.publish(&place, || unreachable!()).unwrap();
        two.publish(&place, || true).unwrap();
        assert_eq!(fs::read_to_string(place.join("x")).unwrap(), "1");
        let three = Building::begin(cache.path()).unwrap();
        fs::write(three.path().join("x"), "3").unwrap();
        three.publish(&place, || false).unwrap();
        assert_eq!(fs::read_to_string(place.join("x")).unwrap(), "3");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2, "only the lock and the place are left");
    }
}
