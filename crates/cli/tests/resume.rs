//! Runs that are killed, interrupted or resumed end with the bytes of an undisturbed one.

#![cfg(unix)]

mod common;

use std::{
    process::{Child, Command},
    thread,
    time::Duration,
};

use common::{Place, ended, wait_until};
use serde_json::Value;

const WEIGHTS: &str = "model.safetensors";

/// The log without what the clock decides.
fn log(p: &Place, run: &str) -> Vec<Value> {
    let mut lines = p.log(run);
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for clock in ["tokens_per_s", "waiting"] {
            line.remove(clock);
        }
    }
    lines
}

#[track_caller]
fn check_same(p: &Place, run: &str, want: &str) {
    assert!(p.read(&format!("{run}/{WEIGHTS}")) == p.read(&format!("{want}/{WEIGHTS}")), "weights of {run} and {want}");
    let moments = |run: &str| {
        let step = p.latest(run).unwrap();
        p.read(&format!("{run}/training/{step}/state/{WEIGHTS}"))
    };
    assert!(moments(run) == moments(want), "moments of {run} and {want}");
    assert_eq!(log(p, run), log(p, want), "logs of {run} and {want}");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap().success());
}

#[test]
fn killed_at_random_moments() {
    /// How many checkpoints to wait for, and how many milliseconds after that.
    const KILLS: [(usize, u64); 10] =
        [(0, 5), (0, 120), (1, 3), (1, 17), (2, 0), (1, 41), (0, 60), (1, 9), (2, 23), (1, 1)];
    let p = Place::new();
    let settings = "--config tiny.toml --steps 400 --set train.checkpoint_every=10 --set model.resid_pdrop=0.1 \
                    --set train.evaluate_every=50 --set evaluate.tokens=100";
    p.done(&format!("pretrain gpt {settings} --out calm"));
    let mut killed = 0;
    for (checkpoints, delay) in KILLS {
        let mut child = p.spawn(&mut p.command(&format!("pretrain gpt {settings} --out run --resume")));
        let mut latest = p.latest("run");
        for _ in 0..checkpoints {
            wait_until("there is another checkpoint", || p.latest("run") != latest);
            latest = p.latest("run");
        }
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        let e = ended(child.wait_with_output().unwrap());
        assert!(matches!(e.code, None | Some(0)), "it only ends by being killed\n{}", e.stderr);
        killed += usize::from(e.code.is_none());
        // What others see at any moment is one checkpoint, whole.
        if p.latest("run").is_some() {
            p.done("inspect run");
            p.done("generate run --prompt Once --max-tokens 1");
        }
    }
    assert!(killed >= 6, "the run was over after {killed} kills");
    p.done(&format!("pretrain gpt {settings} --out run --resume"));
    check_same(&p, "run", "calm");
    assert_eq!(p.names("run/training"), p.names("calm/training"), "nothing half written stays");
}

/// The signal ends it with a checkpoint; what it says to do next gives the same bytes.
#[track_caller]
fn check_interrupted(name: &str) {
    let p = Place::new();
    let settings = "--config tiny.toml --steps 300 --set train.checkpoint_every=0";
    p.done(&format!("pretrain gpt {settings} --out calm"));
    let child = p.spawn(&mut p.command(&format!("pretrain gpt {settings} --out run")));
    let log = p.path("run/training/log.jsonl");
    wait_until("there are some steps", || std::fs::read(&log).is_ok_and(|log| log.len() > 2000));
    signal(&child, name);
    let e = ended(child.wait_with_output().unwrap());
    assert_eq!((e.code, &e.stdout[..]), (Some(130), ""), "{}", e.stderr);
    let step = p.latest("run").unwrap().replace("step-", "");
    let resume = "pretrain gpt --out run --resume";
    let want = format!("stopped after step {step}; go on with: bedstone {resume}");
    assert_eq!(e.stderr.lines().last(), Some(&want[..]));
    assert!(p.path("run/training/loss.svg").exists());
    let e = p.done(resume);
    assert!(e.stderr.contains(&format!("resumed after step {step}\n")), "{}", e.stderr);
    check_same(&p, "run", "calm");
}

#[test]
fn interrupted() {
    check_interrupted("INT");
}

#[test]
fn terminated() {
    check_interrupted("TERM");
}

#[test]
fn what_changes_no_bits() {
    let p = Place::new();
    p.train("want", "--steps 12 --threads 1");
    for (run, more) in [
        ("two", "--threads 2"),
        ("three", "--threads 3"),
        ("often", "--set train.checkpoint_every=1 --set train.keep=3"),
        ("looking", "--set train.evaluate_every=1 --set evaluate.tokens=50"),
    ] {
        p.train(run, &format!("--steps 12 {more}"));
        assert!(p.read(&format!("{run}/{WEIGHTS}")) == p.read(&format!("want/{WEIGHTS}")), "{more}");
    }
    assert_eq!(p.names("often/training").iter().filter(|name| name.starts_with("step-")).count(), 3);
    p.train("seed", "--steps 12 --seed 1");
    assert!(p.read(&format!("seed/{WEIGHTS}")) != p.read(&format!("want/{WEIGHTS}")), "another seed");
}

#[test]
fn without_a_run_it_starts_afresh() {
    let p = Place::new();
    let e = p.train("run", "--resume");
    assert!(e.stderr.starts_with("run: there is no checkpoint to resume: starting afresh\n"), "{}", e.stderr);
    let e = p.done("pretrain gpt --config tiny.toml --resume");
    assert!(e.stderr.starts_with("there is no run to resume: starting a new one\n"), "{}", e.stderr);
    assert_eq!(e.stdout, "runs/gpt\n");
}

#[test]
fn finished() {
    let p = Place::new();
    p.train("run", "");
    let before = p.read("run/model.safetensors");
    let e = p.done("pretrain gpt --out run --resume");
    assert_eq!((&e.stdout[..], &e.stderr[..]), ("run\n", "run: all 6 steps are done\n"));
    assert!(p.read("run/model.safetensors") == before);
}

/// A run that stands at step 4 of 8.
fn half_done() -> Place {
    let p = Place::new();
    p.write("data.jsonl", "{\"text\": \"The cat saw the dog and the dog saw the cat\"}\n".repeat(100));
    p.write("other.jsonl", "{\"text\": \"The hen saw the cow and the cow saw the hen\"}\n".repeat(100));
    let settings = "--set tokenizer.vocab_size=270 --data data.jsonl --steps 8 --set train.checkpoint_every=4";
    p.train("run", settings);
    p.train("four", &format!("{settings} --set train.keep=9"));
    // As if it had been killed there.
    for name in ["latest", "shown"] {
        p.write(&format!("four/training/{name}"), "step-4\n");
    }
    std::fs::remove_file(p.path("four/training/finished")).unwrap();
    p
}

#[test]
fn another_recipe_is_refused() {
    let p = half_done();
    let refused = |more: &str, what: &str| {
        let want = format!(
            "four/training/step-4: cannot go on with the same bits: {what}\n\
             hint: resume with the recipe of the run, or start another run from its weights with --init"
        );
        p.fails(&format!("pretrain gpt --out four --resume {more}"), 1, &want);
    };
    refused("--set train.lr=1", "`train.lr`: 3e-3 → 1");
    refused("--steps 9", "`train.steps`: 8 → 9");
    refused("--seed 5", "`train.seed`: 0 → 5");
    refused("--data other.jsonl", "`data.paths`: [\"data.jsonl\"] → [\"other.jsonl\"]");
    refused("--set train.micro_batch=2", "`train.micro_batch`: 0 → 2");
    let spelled = "--set train.lr=0.003 --steps 8 --set train.checkpoint_every=1 --set train.keep=2";
    p.done(&format!("pretrain gpt --out four --resume {spelled}"));
    check_same(&p, "four", "run");
}

#[test]
fn other_data_is_refused() {
    let p = half_done();
    p.write("data.jsonl", p.read("other.jsonl"));
    let e = p.run("pretrain gpt --out four --resume");
    let error = e.error();
    assert!(error.starts_with("four/training/step-4: cannot go on with the same bits: data was "), "{error}");
    assert!(e.code == Some(1) && error.ends_with("\nhint: give the same data as before"), "{error}");
    std::fs::remove_file(p.path("data.jsonl")).unwrap();
    p.fails("pretrain gpt --out four --resume", 1, "data.jsonl: no such file or directory");
}

#[test]
fn instruction_sets() {
    let mut p = half_done();
    p.set_env("BEDSTONE_ISA", "portable");
    let e = p.run("pretrain gpt --out four --resume");
    let best = p.text("run/training/step-8/state/trainer.json");
    let best: Value = serde_json::from_str(&best).unwrap();
    let best = best["isa"].as_str().unwrap().to_owned();
    if best == "portable" {
        // This machine has no other instruction set to differ from.
        assert_eq!(e.code, Some(0), "{}", e.stderr);
    } else {
        let want = format!(
            "four/training/step-4: cannot go on with the same bits: instruction set was {best}, now portable\n\
             hint: set BEDSTONE_ISA or train.precision as before, or accept with --allow-different-bits"
        );
        e.failed("pretrain gpt --out four --resume", 1, &want);
        p.done("pretrain gpt --out four --resume --allow-different-bits");
    }
    p.train("run-portable", "--steps 2");
    p.set_env("BEDSTONE_ISA", "nonsense");
    let want = "BEDSTONE_ISA: got `nonsense`, wanted one of portable, avx2, avx512, avx512vnni, avx512bf16, amx";
    for line in ["pretrain gpt --out x", "generate run --prompt a", "eval run --data data.jsonl", "parity run"] {
        p.fails(line, 2, want);
    }
    let e = p.run("doctor");
    assert!(e.code == Some(1) && e.stdout.contains(want), "{}", e.stdout);
    assert!(!p.path("x").exists());
}

#[test]
fn an_instruction_set_that_is_no_text() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let p = Place::new();
    let e = ended(p.command("doctor").env("BEDSTONE_ISA", OsStr::from_bytes(b"\xff")).output().unwrap());
    assert_eq!(e.code, Some(1), "{}", e.stdout);
}

#[test]
fn another_family_is_refused() {
    let p = half_done();
    let e = p.run("pretrain llama --out four --resume");
    assert!(e.code == Some(1) && e.error().contains("gpt2"), "{}", e.stderr);
}

/// Stopped while it still reads its text, it must not tell the user to go on with another recipe.
#[test]
fn interrupted_before_the_first_step() {
    let p = Place::new();
    let settings = "--config tiny.toml --set tokenizer.vocab_size=270 --data - --out run";
    let mut child = p.spawn(p.command(&format!("pretrain gpt {settings}")).stdin(std::process::Stdio::piped()));
    wait_until("it has begun", || p.path("run/training/lock").exists());
    thread::sleep(Duration::from_millis(200));
    signal(&child, "INT");
    let text = "Once upon a time there was a cat. ".repeat(100);
    // It may be over already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes());
    let e = ended(child.wait_with_output().unwrap());
    assert_eq!(e.code, Some(130), "{}", e.stderr);
    if e.stderr.contains("go on with: bedstone pretrain gpt --out run --resume") {
        let e = p.run_with("pretrain gpt --out run --resume --steps 1", &text);
        assert_eq!(e.code, Some(0), "{}", e.stderr);
        let recipe = String::from_utf8(p.read("run/recipe.toml")).unwrap();
        assert!(recipe.contains("vocab_size = 270") && recipe.contains("paths = [\"-\"]"), "{recipe}");
    }
}

#[test]
fn one_process_a_run() {
    let p = Place::new();
    let mut child = p.spawn(&mut p.command("pretrain gpt --config tiny.toml --steps 1000000 --out run"));
    wait_until("it trains", || p.path("run/training/log.jsonl").exists());
    let want = format!(
        "run: another process (number {}) is training in this folder\n\
         hint: wait for it or stop it, or choose another `--out`",
        child.id()
    );
    p.fails("pretrain gpt --config tiny.toml --out run --resume", 1, &want);
    child.kill().unwrap();
    child.wait().unwrap();
}
