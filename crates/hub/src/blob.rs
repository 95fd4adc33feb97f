//! One file into the cache: continued where an earlier try ended, tried again when the connection breaks, checked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use bedstone_run::files::FileError;

use crate::{
    Event, HubError, ModelId, Watch,
    cache::{Repo, make_parent, told},
    checksum::Checksum,
    client::{Client, Failure, Remote},
};

/// Tries one after the other that bring nothing.
const TRIES: u32 = 3;

/// Fetches a file's blob unless it is there.
pub(crate) fn fetch(
    client: &Client,
    repo: &Repo,
    id: &ModelId,
    file: &Remote,
    watch: &mut Watch<'_>,
) -> Result<(), HubError> {
    let blob = repo.blob(&file.etag);
    if is_there(&blob, file) {
        return Ok(());
    }
    let _lock = repo.lock(&file.etag, &file.name, watch)?;
    // Another process may have fetched it meanwhile.
    if is_there(&blob, file) {
        return Ok(());
    }
    make_parent(&blob)?;
    let incomplete = blob.with_file_name(format!("{}.incomplete", file.etag));
    let mut transfer = Transfer { client, id, file, path: incomplete };
    let checksum = Checksum::of(&file.etag);
    loop {
        let continued = transfer.length()? > 0;
        transfer.complete(watch)?;
        let Some(got) = checksum.differs(&transfer.path)? else { break };
        transfer.discard()?;
        // What an earlier process left may be the damaged part.
        if !continued {
            return Err(HubError::Checksum {
                id: id.to_string(),
                file: file.name.clone(),
                got: format!("{} {got}", checksum.name()),
                wanted: file.etag.clone(),
            });
        }
    }
    if checksum == Checksum::None {
        let text = format!("{}: the server names no checksum; only the size is known to be right", file.name);
        told(watch(Event::Note(text)))?;
    }
    fs::rename(&transfer.path, &blob).map_err(FileError::at(&blob, "rename the finished file to it"))?;
    Ok(())
}

/// Whether the cache has the file's blob; a blob of another size is none.
pub(crate) fn is_there(blob: &Path, file: &Remote) -> bool {
    blob.metadata().is_ok_and(|meta| meta.is_file() && file.size.is_none_or(|size| meta.len() == size))
}

/// Bytes of an earlier try that will be continued.
pub(crate) fn begun(repo: &Repo, file: &Remote) -> u64 {
    let path = repo.blob(&file.etag).with_file_name(format!("{}.incomplete", file.etag));
    path.metadata().map_or(0, |meta| meta.len())
}

struct Transfer<'a> {
    client: &'a Client,
    id: &'a ModelId,
    file: &'a Remote,
    path: PathBuf,
}

impl Transfer<'_> {
    /// Bytes that are there.
    fn length(&self) -> Result<u64, FileError> {
        match self.path.metadata() {
            Ok(meta) => Ok(meta.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(e) => Err(FileError::at(&self.path, "look at it")(e)),
        }
    }

    fn discard(&mut self) -> Result<(), FileError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::at(&self.path, "remove it")(e)),
            _ => Ok(()),
        }
    }

    /// Brings all bytes, whatever they are.
    fn complete(&mut self, watch: &mut Watch<'_>) -> Result<(), HubError> {
        if self.file.size.is_some_and(|size| self.length().is_ok_and(|got| got > size)) {
            self.discard()?;
        }
        let mut vain = 0;
        loop {
            let before = self.length()?;
            if before > 0 && self.file.size == Some(before) {
                return Ok(());
            }
            let reason = match self.attempt(before, watch) {
                Ok(()) => match (self.file.size, self.length()?) {
                    (Some(size), got) if got < size => "it ended too early".to_owned(),
                    (Some(size), got) if got > size => {
                        self.discard()?;
                        "more bytes came than there should be".to_owned()
                    }
                    _ => return Ok(()),
                },
                Err(Stop::Later(reason)) => reason,
                Err(Stop::Now(error)) => return Err(error),
            };
            let got = self.length()?;
            vain = if got > before { 0 } else { vain + 1 };
            if vain == TRIES {
                let (id, file, wanted) = (self.id.to_string(), self.file.name.clone(), self.file.size);
                return Err(HubError::Broken { id, file, got, wanted, reason });
            }
            for _ in 0..5 * vain {
                thread::sleep(Duration::from_millis(100));
                told(watch(Event::Waiting))?;
            }
        }
    }

    /// One request; appends what comes to the `from` bytes that are there.
    fn attempt(&self, from: u64, watch: &mut Watch<'_>) -> Result<(), Stop> {
        let (body, start) = self.client.open(self.id, self.file, from)?;
        let at = || FileError::at(&self.path, "write it");
        let open = OpenOptions::new().create(true).write(true).truncate(false).open(&self.path);
        let mut out: File = open.map_err(at())?;
        out.set_len(start).map_err(at())?;
        out.seek(io::SeekFrom::Start(start)).map_err(at())?;
        let mut reader = body.into_reader();
        let mut buffer = vec![0; 256 << 10];
        let mut done = start;
        loop {
            told(watch(Event::Bytes { file: &self.file.name, done, of: self.file.size }))?;
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    out.write_all(&buffer[..n]).map_err(at())?;
                    done += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Stop::Later(e.to_string())),
            }
        }
        // A name in the cache stands for the bytes, also after the power went.
        out.sync_all().map_err(at())?;
        Ok(())
    }
}

/// Why an attempt ended.
enum Stop {
    Later(String),
    Now(HubError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(reason) => Stop::Later(reason),
            Failure::Busy(error) => Stop::Later(error.to_string().lines().next().unwrap_or_default().to_owned()),
            Failure::Final(error) => Stop::Now(error),
        }
    }
}

impl<E: Into<HubError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Now(error.into())
    }
}
