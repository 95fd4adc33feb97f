use std::fs;

use super::*;

fn write(folder: &Path, step: u64) -> io::Result<()> {
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("state/cursor.json"), format!("{{\"at\":{step}}}"))?;
    fs::write(folder.join("config.json"), "{}")?;
    fs::write(folder.join("model.safetensors"), format!("weights after {step}"))
}

fn new_run(steps: &[u64]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("deep/run");
    let mut dir = RunDir::create(Some(&run), "gpt").unwrap();
    dir.set_keep(Keep { last: 2, every: None });
    for &step in steps {
        dir.commit(step, |folder| write(folder, step)).unwrap();
    }
    (root, run)
}

#[track_caller]
fn check_error<T>(result: Result<T, DirError>, want: &[&str]) {
    let text = result.err().expect("an error").to_string();
    for want in want {
        assert!(text.contains(want), "{text}\nlacks {want}");
    }
}

#[test]
fn numbered_runs() {
    let root = tempfile::tempdir().unwrap();
    let runs = root.path().join("runs");
    for want in ["gpt", "gpt-2", "gpt-3"] {
        let path = numbered(&runs, "gpt").unwrap();
        assert_eq!(path, runs.join(want));
        let dir = RunDir::create(Some(&path), "gpt").unwrap();
        fs::write(dir.log(), "").unwrap();
    }
    fs::create_dir(runs.join("gpt-10")).unwrap();
    drop(RunDir::create(Some(&runs.join("gpt-11")), "gpt").unwrap());
    assert_eq!(last_run_in(&runs, "gpt").unwrap(), Some(runs.join("gpt-3")));
    assert_eq!(last_run_in(&runs, "llama").unwrap(), None);
    assert_eq!(last_run_in(&root.path().join("missing"), "gpt").unwrap(), None);
}

#[test]
fn a_number_is_given_back_where_no_run_began() {
    let root = tempfile::tempdir().unwrap();
    for begins in [false, true] {
        let path = numbered(root.path(), "gpt").unwrap();
        fs::remove_dir(&path).unwrap();
        let dir = RunDir::create(Some(&path), "gpt").unwrap();
        assert!(path.exists());
        if begins {
            fs::write(dir.log(), "").unwrap();
        }
        drop(dir);
        assert_eq!(path.exists(), begins);
    }
}

#[test]
fn numbers_are_given_once() {
    let root = tempfile::tempdir().unwrap();
    let mut paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| numbered(root.path(), "gpt").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 8);
}

#[test]
fn create_refuses_what_is_not_free() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("file"), "").unwrap();
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other/thesis.txt"), "").unwrap();
    fs::create_dir_all(at("empty/training")).unwrap();
    check_error(RunDir::create(Some(&at("file")), "gpt"), &["file: is a file, wanted a folder"]);
    check_error(
        RunDir::create(Some(&at("other")), "gpt"),
        &["other: holds `thesis.txt`", "hint: choose another `--out`"],
    );
    check_error(RunDir::resume(&at("other"), Verify::Sizes), &["other: holds `thesis.txt`"]);
    check_error(RunDir::create(Some(&at("file/under")), "gpt"), &["file/under: cannot "]);

    // Of a run that was refused before its log there is nothing to lose.
    drop(RunDir::create(Some(&at("empty")), "gpt").unwrap());
    let mut dir = RunDir::create(Some(&at("empty")), "gpt").unwrap();
    check_error(RunDir::create(Some(&at("empty")), "gpt"), &["another process", "is training in this folder"]);
    fs::write(dir.log(), "").unwrap();
    check_error(RunDir::create(Some(&at("empty")), "gpt"), &["holds a run already (no checkpoint yet)", "`--resume`"]);
    dir.commit(7, |folder| write(folder, 7)).unwrap();
    drop(dir);
    check_error(RunDir::create(Some(&at("empty")), "gpt"), &["holds a run already (checkpoint of step 7)"]);
}

#[test]
fn one_process_a_run() {
    let (_root, run) = new_run(&[]);
    let first = RunDir::resume(&run, Verify::Sizes).unwrap();
    let number = format!("another process (number {})", std::process::id());
    check_error(RunDir::resume(&run, Verify::Sizes), &[&number, "hint: wait for it"]);
    drop(first);
    RunDir::resume(&run, Verify::Sizes).unwrap();
}

#[test]
fn resume_says_from_where() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let resume = || RunDir::resume(&run, Verify::Checksums).unwrap();
    assert_eq!(resume().1, Resume::Fresh);
    let (mut dir, state) = resume();
    assert_eq!(state, Resume::Fresh);
    check_error(dir.finish(), &["no checkpoint yet"]);
    dir.commit(5, |folder| write(folder, 5)).unwrap();
    drop(dir);
    let (dir, state) = resume();
    assert_eq!((state, dir.step()), (Resume::At(5), Some(5)));
    dir.finish().unwrap();
    drop(dir);
    let (mut dir, state) = resume();
    assert_eq!(state, Resume::Finished(5));
    check_error(dir.commit(5, |folder| write(folder, 5)), &["checkpoint of step 5 cannot follow the one of step 5"]);
    // Trained on, it is no longer complete.
    dir.commit(6, |folder| write(folder, 6)).unwrap();
    drop(dir);
    assert_eq!(resume().1, Resume::At(6));
}

#[test]
fn old_checkpoints_go() {
    #[track_caller]
    fn check(keep: Keep, want: &[u64]) {
        let (_root, run) = new_run(&[]);
        let (mut dir, _) = RunDir::resume(&run, Verify::Sizes).unwrap();
        dir.set_keep(keep);
        for step in [10, 20, 25, 30, 40] {
            let done = dir.commit(step, |folder| write(folder, step)).unwrap();
            assert!(done.notes.is_empty() && done.step == step && done.bytes > 0);
        }
        assert_eq!(open::steps(&run).unwrap(), want);
    }
    check(Keep::default(), &[40]);
    check(Keep { last: 0, every: None }, &[40]);
    check(Keep { last: 3, every: None }, &[25, 30, 40]);
    check(Keep { last: 1, every: Some(20) }, &[20, 40]);
    check(Keep { last: 2, every: Some(0) }, &[30, 40]);
}

#[test]
fn top_files_are_links() {
    let (_root, run) = new_run(&[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |name: &str| fs::metadata(run.join(name)).unwrap().ino();
        assert_eq!(inode("model.safetensors"), inode("training/step-1/model.safetensors"));
    }
    assert!(!run.join("state").exists() && !run.join("manifest.json").exists());
    assert_eq!(model_folder(&run).unwrap(), run);

    // What the user deletes is repaired, what the user edits stays.
    fs::remove_file(run.join("model.safetensors")).unwrap();
    fs::remove_file(run.join("config.json")).unwrap();
    RunDir::resume(&run, Verify::Checksums).unwrap();
    assert_eq!(fs::read_to_string(run.join("model.safetensors")).unwrap(), "weights after 1");
    fs::remove_file(run.join("config.json")).unwrap();
    fs::write(run.join("config.json"), "edited").unwrap();
    RunDir::resume(&run, Verify::Checksums).unwrap();
    assert_eq!(fs::read_to_string(run.join("config.json")).unwrap(), "edited");
}

#[test]
fn failed_writers_leave_nothing() {
    let (_root, run) = new_run(&[1]);
    let (mut dir, _) = RunDir::resume(&run, Verify::Sizes).unwrap();
    let result = dir.commit(2, |folder| {
        write(folder, 2).unwrap();
        Err("tensor `wte` is NaN")
    });
    check_error(result, &["step 2 could not be written: tensor `wte` is NaN; the checkpoint of step 1 is whole"]);
    let full = dir.commit(2, |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
    check_error(full, &["disk full while writing the checkpoint of step 2", " free; ", "hint: free some space"]);
    let taken = dir.commit(2, |folder| {
        fs::create_dir(folder.join("training")).and_then(|()| fs::write(folder.join("training/x"), ""))
    });
    check_error(taken, &["training/x: a name that the run directory uses itself cannot be part of a checkpoint"]);
    #[cfg(unix)]
    check_error(
        dir.commit(2, |folder| std::os::unix::fs::symlink("/tmp", folder.join("link"))),
        &["neither file nor folder"],
    );
    assert_eq!(open::steps(&run).unwrap(), [1]);
    assert!(!run.join("training/step-2.partial").exists());
    dir.commit(2, |folder| write(folder, 2)).unwrap();
}

#[test]
fn damage_is_named() {
    #[track_caller]
    fn check(file: &str, damage: impl FnOnce(&Path), verify: Verify, want: &[&str]) {
        let (_root, run) = new_run(&[1, 2]);
        damage(&run.join("training").join(file));
        for want in want {
            check_error(Checkpoint::open(&run, verify), &[file, want, "hint: restore the file from a copy"]);
            check_error(RunDir::resume(&run, verify), &[file, want]);
        }
    }
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let put = |text: &'static str| move |path: &Path| fs::write(path, text).unwrap();
    let older = "write `step-1` into ";
    check("step-2/model.safetensors", remove, Verify::Sizes, &["got no file, wanted 15 bytes", older]);
    check("step-2/model.safetensors", put("weights"), Verify::Sizes, &["got 7 bytes, wanted 15 bytes", older]);
    check("step-2/model.safetensors", put("weights after 3"), Verify::Checksums, &["got checksum ", older]);
    check("step-2/state/cursor.json", put(""), Verify::Sizes, &["got 0 bytes, wanted 8 bytes"]);
    check("step-2/manifest.json", remove, Verify::Sizes, &["got no file, wanted the list of"]);
    check("step-2/manifest.json", put("{\"format\":1"), Verify::Sizes, &["got broken JSON"]);
    check("step-2/manifest.json", put(""), Verify::Sizes, &["got broken JSON"]);
    check(
        "step-2/manifest.json",
        put("{\"format\":1,\"step\":3,\"files\":[]}"),
        Verify::Sizes,
        &["got step 3, wanted step 2"],
    );
    check(
        "step-2/manifest.json",
        put("{\"format\":9,\"step\":2,\"files\":[]}"),
        Verify::Sizes,
        &["got format 9, wanted format 1"],
    );
    let outside = "{\"format\":1,\"step\":2,\"files\":[{\"name\":\"../../x\",\"size\":0,\"blake3\":\"\"}]}";
    check("step-2/manifest.json", put(outside), Verify::Sizes, &["got the name \"../../x\""]);
    check(
        "latest",
        put("step-"),
        Verify::Sizes,
        &["got \"step-\", wanted the name of a checkpoint", "write `step-2` into "],
    );
    check("latest", put(""), Verify::Sizes, &["got \"\""]);
    check("latest", put("step-2\nstep-1\n"), Verify::Sizes, &["got \"step-2\\nstep-1\\n\""]);
}

#[test]
fn sizes_alone_do_not_read() {
    let (_root, run) = new_run(&[1]);
    fs::write(run.join("training/step-1/config.json"), "[]").unwrap();
    assert!(Checkpoint::open(&run, Verify::Sizes).unwrap().is_some());
    assert!(Checkpoint::open(&run, Verify::Checksums).is_err());
}

#[test]
fn the_hint_for_damage_works() {
    let (_root, run) = new_run(&[1, 2]);
    fs::remove_file(run.join("training/step-2/config.json")).unwrap();
    fs::write(run.join("training/latest"), "step-1").unwrap();
    let (mut dir, resume) = RunDir::resume(&run, Verify::Checksums).unwrap();
    assert_eq!(resume, Resume::At(1));
    assert_eq!(fs::read_to_string(run.join("model.safetensors")).unwrap(), "weights after 1");
    dir.commit(2, |folder| write(folder, 2)).unwrap();
    drop(dir);
    assert_eq!(RunDir::resume(&run, Verify::Checksums).unwrap().1, Resume::At(2));
}

#[test]
fn readers_meet_whole_checkpoints_only() {
    let (_root, run) = new_run(&[1]);
    let (mut dir, _) = RunDir::resume(&run, Verify::Sizes).unwrap();
    dir.set_keep(Keep { last: 1, every: None });
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 2..40 {
                dir.commit(step, |folder| write(folder, step)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut last = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let checkpoint = Checkpoint::open(&run, Verify::Checksums).unwrap().unwrap();
            assert!(checkpoint.step >= last);
            last = checkpoint.step;
        }
    });
    assert_eq!(Checkpoint::open(&run, Verify::Checksums).unwrap().unwrap().step, 39);
}

#[test]
fn other_directories_are_read_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), "{}").unwrap();
    assert_eq!(model_folder(root.path()).unwrap(), root.path());
    assert_eq!(Checkpoint::open(root.path(), Verify::Sizes).unwrap(), None);
}
