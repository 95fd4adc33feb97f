//! What an ETag of the hub says about a file's bytes.

use std::{fs::File, io::Read, path::Path};

use bedstone_run::files::FileError;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// A file's checksum by the form of its ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum<'a> {
    /// Large files: SHA-256 of the bytes.
    Sha256(&'a str),
    /// Small files: SHA-1, by git's rule (a header before the bytes) or plainly, as some mirrors have it.
    Sha1(&'a str),
    /// The server gave a name that tells nothing.
    None,
}

impl<'a> Checksum<'a> {
    pub(crate) fn of(etag: &'a str) -> Self {
        let hex = etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match etag.len() {
            64 if hex => Self::Sha256(etag),
            40 if hex => Self::Sha1(etag),
            _ => Self::None,
        }
    }

    /// `None` if the file is what it should be, else what it is instead.
    pub(crate) fn differs(self, path: &Path) -> Result<Option<String>, FileError> {
        let found = |wanted: &str, got: String| (got != wanted).then_some(got);
        match self {
            Self::None => Ok(None),
            Self::Sha256(wanted) => Ok(found(wanted, read(path, Context::new(&SHA256))?)),
            Self::Sha1(wanted) => {
                let length = path.metadata().map_err(FileError::at(path, "look at it"))?.len();
                let mut git = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                git.update(format!("blob {length}\0").as_bytes());
                match found(wanted, read(path, git)?) {
                    Some(got) if read(path, Context::new(&SHA1_FOR_LEGACY_USE_ONLY))? != wanted => Ok(Some(got)),
                    _ => Ok(None),
                }
            }
        }
    }

    /// For errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Sha1(_) => "git's SHA-1",
            Self::None => "no checksum",
        }
    }
}

fn read(path: &Path, mut digest: Context) -> Result<String, FileError> {
    let mut file = File::open(path).map_err(FileError::at(path, "open it"))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(FileError::at(path, "read it"))? {
            0 => break,
            n => digest.update(&buffer[..n]),
        }
    }
    Ok(digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(etag: &str, want: Option<&str>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        assert_eq!(Checksum::of(etag).differs(file.path()).unwrap().as_deref(), want, "{etag}");
    }

    #[test]
    fn checksums() {
        // `sha256sum`, `git hash-object` and `sha1sum` of a file that says hello.
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        check(sha256, None);
        check(git, None);
        check("f572d396fae9206628714fb2ce00f72e94f2258f", None);
        check(&sha256.replace("58", "68"), Some(sha256));
        check(&git.replace("ce", "cf"), Some(git));
    }

    #[test]
    fn names_that_tell_nothing() {
        for etag in ["", "abc", "5891B5B5", &"g".repeat(64), &"0".repeat(32)] {
            assert_eq!(Checksum::of(etag), Checksum::None, "{etag}");
        }
    }
}
