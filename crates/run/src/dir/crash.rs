//! A disk that fails, and the proof that no failure leaves a mixture.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{disk::FileSystem, *};

/// What happens at the operation with the given number (from 0).
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Never,
    /// The process ends: this operation is done in half, nothing after it at all.
    Kill(usize),
    /// Nothing more can be written; removing works.
    Full(usize),
    /// Links are refused, all others work.
    NoLinks,
}

struct FaultyDisk {
    fault: Fault,
    done: AtomicUsize,
    failed: AtomicBool,
    trace: Mutex<Vec<String>>,
}

impl FaultyDisk {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            done: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            trace: Mutex::new(Vec::new()),
        })
    }

    /// Counts one operation; `writes` says whether it needs space. `half` is what a kill in its middle leaves.
    fn step(&self, what: String, writes: bool, half: impl FnOnce()) -> io::Result<()> {
        self.trace.lock().unwrap().push(what);
        let number = self.done.fetch_add(1, Ordering::SeqCst);
        let error = match self.fault {
            Fault::Kill(k) if number >= k => io::Error::other("killed"),
            Fault::Full(k) if number >= k && writes => io::Error::from(io::ErrorKind::StorageFull),
            _ => return Ok(()),
        };
        let dead = matches!(self.fault, Fault::Kill(k) if number > k);
        if !dead {
            half();
        }
        self.failed.store(true, Ordering::SeqCst);
        Err(error)
    }

    /// Whether the fault has struck.
    fn failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Flushing is counted, not done: it takes its time and changes nothing that a kill could show.
impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.step(format!("mkdir {}", name(path)), true, || {})?;
        FileSystem.create_dir(path)
    }
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step(format!("write {}", name(path)), true, || {
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        })?;
        FileSystem.write(path, bytes)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        assert!(path.is_file());
        self.step(format!("sync {}", name(path)), true, || {})
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        assert!(path.is_dir());
        self.step(format!("syncdir {}", name(path)), false, || {})
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(format!("rename {} {}", name(from), name(to)), false, || {})?;
        FileSystem.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(format!("link {}", name(from)), true, || {})?;
        if self.fault == Fault::NoLinks {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        FileSystem.hard_link(from, to)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(format!("copy {}", name(from)), true, || std::fs::write(to, "half").unwrap())?;
        FileSystem.copy(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(format!("unlink {}", name(path)), false, || {})?;
        FileSystem.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.step(format!("rmdir {}", name(path)), false, || {})?;
        FileSystem.remove_dir(path)
    }
}

/// What the checkpoint of a step holds; the names differ between steps, too.
fn content(step: u64) -> Vec<(String, String)> {
    let shard = format!("model-{step}.safetensors");
    ["config.json", &shard, "1_Pooling/config.json", "state/optimizer.bin"]
        .map(|name| (name.to_owned(), format!("{name} after {step} ").repeat(20)))
        .into()
}

fn write_content(disk: &dyn Disk, folder: &Path, step: u64) -> io::Result<()> {
    for sub in ["1_Pooling", "state"] {
        disk.create_dir(&folder.join(sub))?;
    }
    content(step).iter().try_for_each(|(name, text)| disk.write(&folder.join(name), text.as_bytes()))
}

fn commit(dir: &mut RunDir, step: u64) -> Result<Committed, DirError> {
    let disk = dir.disk.clone();
    dir.commit(step, |folder| write_content(&*disk, folder, step))
}

fn open(run: &Path, disk: Arc<FaultyDisk>) -> Result<(RunDir, Resume), DirError> {
    RunDir::resume_on(run, Verify::Checksums, disk)
}

/// Opens like a resumed run and checks that all is of one step, and that nothing else lies about.
#[track_caller]
fn check_whole(run: &Path, case: &str) -> Resume {
    let (dir, resume) = open(run, FaultyDisk::new(Fault::Never)).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut top: Vec<(String, String)> = Vec::new();
    if let Resume::At(step) = resume {
        let folder = dir.open_latest(Verify::Checksums).unwrap().unwrap().path;
        assert_eq!(folder, run.join(format!("training/step-{step}")), "{case}");
        for (name, text) in content(step) {
            assert_eq!(std::fs::read_to_string(folder.join(&name)).unwrap(), text, "{case}: {name}");
        }
        top = content(step).into_iter().filter(|(name, _)| !name.starts_with("state/")).collect();
    }
    top.sort();
    let found: Vec<(String, String)> = manifest::list(run)
        .unwrap()
        .0
        .into_iter()
        .filter(|name| !name.starts_with("training/"))
        .map(|name| (name.clone(), std::fs::read_to_string(run.join(name)).unwrap()))
        .collect();
    assert_eq!(found, top, "{case}");
    let names = files::names(&run.join("training")).unwrap();
    assert!(!names.iter().any(|name| layout::is_leftover(name)), "{case}: {names:?}");
    resume
}

/// A run with a checkpoint of each given step.
fn run_with(steps: &[u64]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (mut open, _) = open(&run, FaultyDisk::new(Fault::Never)).unwrap();
    for &step in steps {
        commit(&mut open, step).unwrap();
    }
    (dir, run)
}

/// Kills a commit after each of its operations; `before` are the steps committed earlier.
#[track_caller]
fn check_kills(before: &[u64]) {
    let old = before.last().map_or(Resume::Fresh, |&step| Resume::At(step));
    let mut was_new = false;
    for k in 0.. {
        let (_guard, run) = run_with(before);
        let disk = FaultyDisk::new(Fault::Kill(k));
        let (mut dir, resume) = open(&run, disk.clone()).unwrap();
        assert_eq!(resume, old);
        let result = commit(&mut dir, 20);
        drop(dir);
        let case = format!("kill at {k} after {before:?}: {:?}", disk.trace.lock().unwrap().last());
        // What a reader without the lock gets is whole as well.
        let folder = model_folder(&run).unwrap();
        let now = check_whole(&run, &case);
        if let Resume::At(step) = now {
            assert!(folder == run || folder == run.join(format!("training/step-{step}")), "{case}");
        }
        let new = now == Resume::At(20);
        assert!(new || now == old, "{case}: {now:?}");
        assert!(new || !was_new, "{case}: new checkpoint is lost again");
        assert!(new || result.is_err(), "{case}: reported as committed");
        was_new = new;
        // The run goes on.
        let (mut dir, _) = open(&run, FaultyDisk::new(Fault::Never)).unwrap();
        commit(&mut dir, 30).unwrap();
        drop(dir);
        assert_eq!(check_whole(&run, &case), Resume::At(30));
        assert_eq!(super::open::steps(&run).unwrap(), [30], "{case}");
        if !disk.failed() {
            assert!(new && result.is_ok());
            assert!(k > 30, "only {k} operations");
            return;
        }
    }
}

#[test]
fn killed_first_commit() {
    check_kills(&[]);
}

#[test]
fn killed_later_commit() {
    check_kills(&[10]);
}

#[test]
fn killed_while_repairing() {
    for k in 0.. {
        let (_guard, run) = run_with(&[10]);
        let disk = FaultyDisk::new(Fault::Kill(k));
        let (mut dir, _) = open(&run, disk.clone()).unwrap();
        // An error is what is tested here.
        let _ = commit(&mut dir, 20);
        drop(dir);
        // The second kill hits the repair; each goes one operation further until one passes.
        for j in 0.. {
            let repair = FaultyDisk::new(Fault::Kill(j));
            let done = open(&run, repair.clone()).is_ok();
            if !repair.failed() {
                assert!(done);
                break;
            }
        }
        check_whole(&run, &format!("kills at {k} and while repairing"));
        if !disk.failed() {
            return;
        }
    }
}

#[test]
fn full_disk() {
    for k in 0.. {
        let (_guard, run) = run_with(&[10]);
        let disk = FaultyDisk::new(Fault::Full(k));
        let (mut dir, _) = open(&run, disk.clone()).unwrap();
        let result = commit(&mut dir, 20);
        let case = format!("full at {k}");
        match &result {
            Ok(_) => assert!(!disk.failed(), "{case}: not reported"),
            Err(DirError::DiskFull { previous, step, .. }) => {
                assert_eq!((*previous, *step), (Some(10), 20));
                let text = result.as_ref().unwrap_err().to_string();
                assert!(text.contains("disk full while writing the checkpoint of step 20"), "{text}");
                assert!(text.contains("the checkpoint of step 10 is whole"), "{text}");
                // The half-written files are gone at once, while the run still has the directory.
                let names = files::names(&run.join("training")).unwrap();
                assert!(!names.iter().any(|name| layout::is_leftover(name)), "{case}: {names:?}");
                assert_eq!(dir.step(), Some(10));
                assert_eq!(dir.open_latest(Verify::Checksums).unwrap().unwrap().step, 10);
            }
            Err(DirError::AfterCommit { step, .. }) => assert_eq!((*step, dir.step()), (20, Some(20))),
            Err(other) => panic!("{case}: {other}"),
        }
        let step = dir.step().unwrap();
        drop(dir);
        assert_eq!(check_whole(&run, &case), Resume::At(step));
        if !disk.failed() {
            return;
        }
    }
}

#[test]
fn links_refused() {
    let (_guard, run) = run_with(&[10]);
    let (mut dir, _) = open(&run, FaultyDisk::new(Fault::NoLinks)).unwrap();
    let done = commit(&mut dir, 20).unwrap();
    assert_eq!(done.notes.len(), 1);
    assert!(
        done.notes[0].starts_with("the file system refuses hard links: 1_Pooling/config.json, "),
        "{:?}",
        done.notes
    );
    drop(dir);
    assert_eq!(check_whole(&run, "copies"), Resume::At(20));
}

/// A power cut may lose what was not flushed: everything is flushed before what refers to it gets its name.
#[test]
fn flushed_before_named() {
    let (_guard, run) = run_with(&[10]);
    std::fs::write(run.join("training/log.jsonl"), "{\"step\":20}\n").unwrap();
    let disk = FaultyDisk::new(Fault::Never);
    let (mut dir, _) = open(&run, disk.clone()).unwrap();
    commit(&mut dir, 20).unwrap();
    let trace = disk.trace.lock().unwrap().clone();
    let at = |what: &str| trace.iter().position(|op| op == what).unwrap_or_else(|| panic!("no {what} in {trace:#?}"));
    let check = |first: &str, then: &str| assert!(at(first) < at(then), "{first} after {then}");

    for file in ["optimizer.bin", "model-20.safetensors", "manifest.json"] {
        check(&format!("write {file}"), &format!("sync {file}"));
        check(&format!("sync {file}"), "rename step-20.partial step-20");
    }
    for folder in ["state", "1_Pooling", "step-20.partial"] {
        check(&format!("syncdir {folder}"), "rename step-20.partial step-20");
    }
    check("rename step-20.partial step-20", "write latest.tmp");
    assert_eq!(trace[at("rename step-20.partial step-20") + 1], "syncdir training");
    check("sync log.jsonl", "rename latest.tmp latest");
    check("sync latest.tmp", "rename latest.tmp latest");
    assert_eq!(trace[at("rename latest.tmp latest") + 1], "syncdir training");
    check("rename latest.tmp latest", "link config.json");
    check("syncdir run", "rename shown.tmp shown");
    check("rename shown.tmp shown", "rename step-10 step-10.partial");
}

#[test]
fn uncommitted_folder_is_said_and_removed() {
    let (_guard, run) = run_with(&[10]);
    write_content(
        &FileSystem,
        &{
            let folder = run.join("training/step-15");
            std::fs::create_dir(&folder).unwrap();
            folder
        },
        15,
    )
    .unwrap();
    let (mut dir, resume) = open(&run, FaultyDisk::new(Fault::Never)).unwrap();
    assert_eq!(resume, Resume::At(10));
    assert!(dir.notes()[0].ends_with("step-15: was never committed and is not used"), "{:?}", dir.notes());
    dir.set_keep(Keep { last: 5, every: None });
    assert_eq!(commit(&mut dir, 20).unwrap().removed, [15]);
    assert_eq!(super::open::steps(&run).unwrap(), [10, 20]);
}
