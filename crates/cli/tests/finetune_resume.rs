//! A fine-tuning that is killed, interrupted or resumed ends with the bytes of an undisturbed one.

#![cfg(unix)]

mod common;

use std::process::Command;

use common::{Place, ended, wait_until};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

/// Texts whose class is in their first word, with some that say otherwise.
fn texts(n: usize) -> String {
    let rows = (0..n).map(|i| {
        let (word, label) = (["good", "bad"][i % 2], ["positive", "negative"][i * (i + 3) / 3 % 2]);
        format!("{word} day number {i}\t{label}\n")
    });
    std::iter::once("text\tlabel\n".to_owned()).chain(rows).collect()
}

#[track_caller]
fn refused(p: &Place, line: &str, code: i32, want: &str) {
    let e = p.run(line);
    assert!(e.code == Some(code) && e.stderr.contains(want), "bedstone {line}\n{}", e.stderr);
}

/// A run without a break, and the same one that is killed twice.
#[track_caller]
fn check_killed(p: &Place, line: &str, files: &[&str]) {
    p.done(&format!("finetune {line} --out calm"));
    let mut begin = format!("finetune {line} --out run --threads 1");
    for checkpoints in [1, 2] {
        let mut child = p.spawn(&mut p.command(&begin));
        let mut latest = p.latest("run");
        for _ in 0..checkpoints {
            wait_until("there is another checkpoint", || p.latest("run") != latest);
            latest = p.latest("run");
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().code(), None, "it only ends by being killed");
        // What others see is the best model so far: in its checkpoint, where the kill came before it was shown at the top.
        let latest = p.latest("run").unwrap();
        let places = [format!("run/{}", files[0]), format!("run/training/{latest}/{}", files[0])];
        assert!(places.iter().any(|place| p.path(place).exists()), "{places:?}");
        "finetune --resume --out run".clone_into(&mut begin);
    }
    let e = p.done("finetune --resume --out run");
    assert!(e.stderr.contains("resumed after step "), "{}", e.stderr);
    for file in files {
        assert!(p.read(&format!("run/{file}")) == p.read(&format!("calm/{file}")), "{file}");
    }
    assert_eq!(p.log("run"), p.log("calm"));
    // Every step once, counted through all seeds, and evaluations beside them.
    let (steps, evaluations): (Vec<_>, Vec<_>) = p.log("run").into_iter().partition(|line| line.get("lr").is_some());
    let numbers: Vec<u64> = steps.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert!(numbers.len() > 20 && numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    assert!(evaluations.iter().all(|line| line["mean_loss"].is_number() && line["accuracy"].is_number()));
    assert!(p.text("run/training/loss.svg").contains("training loss"));
    let e = p.done("finetune --resume --out run");
    assert!(e.stderr.starts_with("run: everything is done\n"), "{}", e.stderr);
}

#[test]
fn several_seeds() {
    let p = Place::new();
    p.write("train.tsv", texts(80));
    let line = format!(
        "{FIXTURES}/bert-seqcls --task classify --data train.tsv --epochs 6 --seeds 3 --set train.batch=4 --set train.lr=1e-3 \
         --set train.evaluations=3"
    );
    check_killed(&p, &line, &["model.safetensors", "README.md"]);
}

#[test]
fn factors() {
    let p = Place::new();
    p.write("train.tsv", texts(80));
    let line = format!(
        "{FIXTURES}/bert-seqcls --task classify --data train.tsv --epochs 12 --lora 2 --set lora.save=adapter --set train.batch=4 \
         --set train.lr=1e-2 --set train.checkpoint_every=7"
    );
    check_killed(&p, &line, &["adapter_model.safetensors", "README.md"]);
}

#[test]
fn averages() {
    let p = Place::new();
    let line = format!(
        "{FIXTURES}/vit --task classify --set data.pictures=60 --set data.side=24 --epochs 8 --set train.batch=8 --set train.ema=0.9 \
         --set train.evaluations=2"
    );
    check_killed(&p, &line, &["model.safetensors", "README.md"]);
}

#[test]
fn interrupted() {
    let p = Place::new();
    p.write("train.tsv", texts(80));
    let line = format!(
        "finetune {FIXTURES}/bert-seqcls --task classify --data train.tsv --epochs 40 --set train.batch=4 --set train.evaluations=0"
    );
    p.done(&format!("{line} --out calm"));
    let child = p.spawn(&mut p.command(&format!("{line} --set train.checkpoint_every=10 --out run")));
    wait_until("there is a checkpoint", || p.latest("run").is_some());
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
    let e = ended(child.wait_with_output().unwrap());
    assert_eq!((e.code, &e.stdout[..]), (Some(130), "run\n"), "{}", e.stderr);
    let step = p.latest("run").unwrap().replace("step-", "");
    let want =
        format!("stopped after step {step}: not evaluated yet; go on with: bedstone finetune --out run --resume");
    assert_eq!(e.stderr.lines().last(), Some(&want[..]));
    p.done("classify run 'good day'");
    refused(
        &p,
        "finetune --resume --out run --set train.lr=1",
        1,
        "hint: resume with the recipe of the run, or fine-tune its model anew",
    );
    refused(&p, "finetune --resume --out run --task tag", 1, "task was classify, now tag");
    let whole = p.read("train.tsv");
    p.write("train.tsv", texts(60));
    refused(&p, "finetune --resume --out run", 1, "hint: give the same data and model as before");
    p.write("train.tsv", whole);
    p.done("finetune --resume --out run");
    assert!(p.read("run/model.safetensors") == p.read("calm/model.safetensors"));
}

/// What is left to do when all is written, and when nothing is.
#[test]
fn at_both_ends() {
    let p = Place::new();
    p.write("train.tsv", texts(80));
    let line = format!(
        "{FIXTURES}/bert-seqcls --task classify --data train.tsv --epochs 9 --seeds 2 --set train.batch=4 --set train.lr=1e-3 \
         --set train.patience=2"
    );
    check_killed(&p, &line, &["model.safetensors", "README.md"]);
    // Killed before the mark that it is finished.
    std::fs::remove_file(p.path("run/training/finished")).unwrap();
    let e = p.done("finetune --resume --out run");
    assert!(e.stderr.contains(" over 2 seeds\n"), "{}", e.stderr);
    let e = p.done("finetune --resume --out run");
    assert!(e.stderr.starts_with("run: everything is done\n"), "{}", e.stderr);
    // Killed before the first checkpoint.
    let early =
        format!("finetune {} --set train.evaluations=0 --out early", line.replace(" --set train.patience=2", ""));
    let mut child = p.spawn(&mut p.command(&early));
    wait_until("it has begun", || {
        p.path("early/training/begun.json").exists() && p.path("early/training/log.jsonl").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    if p.latest("early").is_none() {
        refused(&p, "finetune --resume --out early --task tag", 1, "task was classify, now tag");
        p.done("finetune --resume --out early");
    }
    p.done(&early.replace("--out early", "--out late"));
    assert!(p.read("early/model.safetensors") == p.read("late/model.safetensors"));
}

#[test]
fn mistakes() {
    let p = Place::new();
    refused(&p, "finetune --resume --out nowhere", 1, "nowhere: holds no run that could go on");
    refused(&p, "finetune --task classify", 2, "required arguments were not provided");
    p.write("train.tsv", texts(40));
    let line =
        format!("finetune {FIXTURES}/bert-seqcls --task classify --data train.tsv --epochs 1 --set train.batch=8");
    refused(&p, &format!("{line} --allow-different-bits --out run"), 2, "--resume");
    p.done(&format!("{line} --out run"));
    let state = format!("run/training/{}/state/trainer.json", p.latest("run").unwrap());
    p.write(&state, "{}");
    refused(&p, "finetune --resume --out run", 1, "trainer.json");
}
