//! SIGKILL at random moments of real commits, in a process of their own: this test starts itself again as the child.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bedstone_run::{Log, Resume, RunDir, Verify, log};

const CHILD: &str = "BEDSTONE_TEST_RUN";
const STEPS: u64 = 400;

/// Weights that depend on all steps before, as in training.
fn next(state: u64, step: u64) -> u64 {
    (state ^ step).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17)
}

fn write(folder: &Path, state: u64) -> io::Result<()> {
    fs::create_dir(folder.join("state"))?;
    fs::write(folder.join("state/optimizer"), state.to_le_bytes())?;
    fs::write(folder.join("model"), state.to_string().repeat(2000))
}

/// A run that commits every third step and writes a log.
fn train(run: &Path) {
    let (mut dir, resume) = RunDir::resume(run, Verify::Checksums).unwrap();
    let (mut state, done) = match resume {
        Resume::Fresh => (1, 0),
        Resume::At(step) | Resume::Finished(step) => {
            let folder = dir.open_latest(Verify::Sizes).unwrap().unwrap().state();
            (u64::from_le_bytes(fs::read(folder.join("optimizer")).unwrap().try_into().unwrap()), step)
        }
    };
    let (mut log, _) = Log::resume(&dir.log(), done).unwrap();
    for step in done + 1..=STEPS {
        state = next(state, step);
        log.append(step, &serde_json::json!({"loss": state % 1000})).unwrap();
        if step % 3 == 0 || step == STEPS {
            dir.commit(step, |folder| write(folder, state)).unwrap();
        }
    }
    dir.finish().unwrap();
}

#[test]
#[ignore = "the child of the test below"]
fn child() {
    if let Some(run) = std::env::var_os(CHILD) {
        train(Path::new(&run));
    }
}

#[test]
fn killed_runs_end_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (calm, killed) = (root.path().join("calm"), root.path().join("killed"));
    train(&calm);

    let mut kills = 0;
    for round in 0_u64.. {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--include-ignored"])
            .env(CHILD, &killed)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        if round < 12 {
            std::thread::sleep(Duration::from_millis(20 + round * 37 % 61));
            child.kill().unwrap();
        }
        if child.wait().unwrap().success() {
            break;
        }
        kills += 1;
        assert!(round < 12, "the run failed without being killed");
        // Whatever the moment, what other programs see is of one step.
        if let Some(checkpoint) = bedstone_run::Checkpoint::open(&killed, Verify::Checksums).unwrap() {
            let (_dir, resume) = RunDir::resume(&killed, Verify::Checksums).unwrap();
            assert_eq!(resume, Resume::At(checkpoint.step));
            assert_eq!(fs::read(killed.join("model")).unwrap(), fs::read(checkpoint.path.join("model")).unwrap());
        }
    }
    assert!(kills > 0);
    for file in ["model", "training/log.jsonl", "training/latest", "training/finished"] {
        assert!(fs::read(calm.join(file)).unwrap() == fs::read(killed.join(file)).unwrap(), "{file} differs");
    }
    assert_eq!(log::read(&killed.join("training/log.jsonl")).unwrap().len(), STEPS as usize);
}
