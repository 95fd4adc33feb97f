//! Files mapped into memory, read-only.

use std::{fs::File, io, ops::Deref, path::Path};

/// A whole file as a byte slice, read by the system page by page when it is touched.
///
/// Checkpoints and token shards are larger than what a run may copy. Nobody may write into the
/// file, or shorten it, while it is mapped: the slice would change, or reading it would end the process, and no check here
/// can prevent that. Files of this project are therefore replaced by renaming, never rewritten.
pub struct MappedFile {
    // `None` for an empty file, which the system refuses to map.
    map: Option<memmap2::Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`; an empty file gives an empty slice.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None });
        }
        // SAFETY: the map is read-only, and it outlives every slice borrowed from `self`. That nobody writes into
        // or shortens the file meanwhile is the documented condition of this type.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self { map: Some(map) })
    }

    /// Tells the system that the file will be read from front to back.
    pub fn advise_sequential(&self) {
        #[cfg(unix)]
        if let Some(map) = &self.map {
            // Advice that is not taken costs speed only.
            let _ = map.advise(memmap2::Advice::Sequential);
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &[u8]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        assert_eq!(&*MappedFile::open(&path).unwrap(), content);
    }

    #[test]
    fn whole_content() {
        check(b"");
        check(b"x");
        check(&[7; 10_000]);
    }

    #[test]
    fn missing_file_is_an_error() {
        assert_eq!(MappedFile::open(Path::new("/no/such/file")).err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
