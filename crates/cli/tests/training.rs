//! What training must not get wrong: micro-batches, starting weights, losses that are no numbers, full disks.

#![cfg(unix)]

mod common;

use common::{Place, ended, wait_until};

/// Losses and norms of gradients in micro-batches are those of the whole batch.
#[track_caller]
fn check_micro(settings: &str) {
    let p = Place::new();
    let run = |micro: usize| {
        let out = format!("micro-{micro}");
        p.train(&out, &format!("{settings} --steps 5 --set train.batch=6 --set train.micro_batch={micro}"));
        let log = p.log(&out);
        let field = |name: &str| log.iter().filter_map(|line| line.get(name)?.as_f64()).collect::<Vec<f64>>();
        [field("loss"), field("grad_norm")].concat()
    };
    let whole = run(0);
    assert_eq!(whole.len(), 10);
    for micro in [1, 2, 4, 6, 100] {
        for (got, want) in run(micro).iter().zip(&whole) {
            assert!((got / want - 1.0).abs() < 1e-5, "{settings}: micro_batch {micro}: got {got}, wanted {want}");
        }
    }
}

#[test]
fn micro_batches() {
    // Products of bf16 round differently where gradients differ in the last bit.
    check_micro("--precision f32");
    check_micro("--precision f32 --set model.embd_pdrop=0.1 --set model.attn_pdrop=0.1 --set model.resid_pdrop=0.1");
}

#[test]
fn init_starts_from_weights() {
    let p = Place::new();
    p.train("first", "--steps 150");
    let e = p.done("pretrain gpt --init first --set data.stories=200 --set train.context=32 --set train.batch=4 --steps 3 --out next");
    assert!(e.stderr.contains("weights: from first\n"), "{}", e.stderr);
    let (first, next) = (p.losses("first"), p.losses("next"));
    let last = first[140..].iter().sum::<f64>() / 10.0;
    assert!(first[0] > 5.8 && last < 4.8, "it has learnt something: {first:?}");
    assert!((next[0] - last).abs() < 0.4, "first loss {}, last loss before {last}", next[0]);
    assert!(p.read("next/tokenizer.json") == p.read("first/tokenizer.json"));
    // The new run stands by itself.
    p.done("pretrain gpt --out next --resume");

    p.fails("pretrain gpt --init first --set model.n_embd=64 --out a", 2, {
        "--set model.n_embd=64: `model.n_embd` is 64, wanted nothing: the checkpoint of train.init decides the model"
    });
    p.fails("pretrain llama --init first --out b", 2, {
        "--init first: `train.init` is \"first\", wanted a checkpoint of model_type `llama`"
    });
    p.fails("pretrain gpt --init first --set train.context=33 --out c", 1, {
        "train.context is 33, the model takes 32 tokens\n\
         hint: lower train.context, or train a model with more positions"
    });
    p.fails("pretrain gpt --init ./none --out d", 1, "./none: cannot be read: No such file or directory (os error 2)");
}

const EXPLODES: &str = "--set train.lr=1e30 --set train.clip=0 --set train.warmup=0";

/// A loss that is no number ends the run, and says when and on which data.
#[track_caller]
fn check_not_finite(p: &Place, line: &str, hint: &str) {
    let e = p.run(line);
    assert_eq!((e.code, &e.stdout[..]), (Some(1), ""), "{}", e.stderr);
    let mut lines = e.error().lines();
    assert_eq!(lines.next(), Some("step 2: the loss is NaN"), "{}", e.stderr);
    let data = lines.next().unwrap();
    assert!(data.starts_with("  data: tokens ") && data.matches(" (documents ").count() == 4, "{data}");
    assert_eq!(lines.next(), Some(hint));
    assert_eq!(lines.next(), None);
}

#[test]
fn not_finite() {
    let p = Place::new();
    let rest = "lower train.lr, raise train.warmup, or look at the data named here";
    let line = format!("pretrain gpt --config tiny.toml {EXPLODES} --out a");
    check_not_finite(&p, &line, &format!("hint: there is no checkpoint yet; {rest}"));
    // Ruined weights are no checkpoint to go on from.
    let e = p.run(&format!("pretrain gpt --config tiny.toml {EXPLODES} --set train.checkpoint_every=1 --out b"));
    assert_eq!((e.code, p.latest("b")), (Some(1), None), "{}", e.stderr);
    assert!(e.error().starts_with("step 1: the norm of the weights is inf"), "{}", e.stderr);
}

#[test]
fn not_finite_in_the_last_step() {
    let p = Place::new();
    let e = p.run(&format!("pretrain gpt --config tiny.toml {EXPLODES} --steps 1 --out a"));
    assert_eq!(e.code, Some(1), "{}", e.stderr);
}

#[test]
fn the_checkpoint_that_stays_is_good() {
    let p = Place::new();
    p.train("first", "--steps 20");
    let settings = "--init first --set train.context=32 --set train.batch=4 --set data.stories=200 --set train.clip=0";
    let e = p.run(&format!(
        "pretrain gpt {settings} --set train.lr=1e30 --set train.warmup=0 --set train.checkpoint_every=1 --steps 9 --out run"
    ));
    assert_eq!(e.code, Some(1), "{}", e.stderr);
    p.write("text.txt", "Once upon a time there was a cat.");
    let e = p.run("eval run --data text.txt --json");
    assert!(p.latest("run").is_none() || e.json()[0]["loss"].is_number(), "{}", e.stdout);
}

#[test]
fn full_disk() {
    let p = Place::new();
    let settings = "--config tiny.toml --steps 400 --set train.checkpoint_every=10";
    p.done(&format!("pretrain gpt {settings} --out calm"));
    let mut child = p.spawn(&mut p.command(&format!("pretrain gpt {settings} --out run")));
    wait_until("there is a checkpoint", || p.latest("run").is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let latest = p.latest("run").unwrap();
    // The log as a kill right after the checkpoint leaves it: nothing is to be cut off before it goes on.
    let last: u64 = latest.trim_start_matches("step-").parse().unwrap();
    let step = |line: &&str| {
        serde_json::from_str::<serde_json::Value>(line).is_ok_and(|l| l["step"].as_u64().unwrap() <= last)
    };
    let log = p.text("run/training/log.jsonl");
    p.write("run/training/log.jsonl", log.lines().filter(step).map(|line| format!("{line}\n")).collect::<String>());
    let whole = format!("the checkpoint of {} is whole", latest.replace('-', " "));
    // Files of at most so many blocks of 512 bytes: the log, the weights, the moments are too large.
    for (blocks, path, says) in [
        (1, "run/training/log.jsonl", ": cannot append to the log: "),
        (200, "run/training/step-", "model.safetensors: cannot be written: "),
        (1000, "run/training/step-", "state/model.safetensors: cannot be written: "),
    ] {
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let e = ended(p.shell(&limit, &format!("pretrain gpt {settings} --out run --resume")).output().unwrap());
        assert_eq!((e.code, &e.stdout[..]), (Some(1), ""), "{blocks}: {}", e.stderr);
        let error = e.error();
        assert!(error.starts_with(path) && error.contains(says), "{blocks}: {error}");
        assert!(error.contains("File too large"), "{blocks}: {error}");
        assert!(blocks == 1 || error.contains(&whole), "{blocks}: {error}");
        assert_eq!(p.latest("run").as_deref(), Some(&latest[..]));
        assert!(p.names("run/training").iter().all(|name| !name.ends_with(".partial")), "nothing half written stays");
        p.done("generate run --prompt Once --max-tokens 1");
    }
    p.done(&format!("pretrain gpt {settings} --out run --resume"));
    assert!(p.read("run/model.safetensors") == p.read("calm/model.safetensors"));
}

#[test]
fn full_disk_for_data() {
    let p = Place::new();
    p.write("text.txt", "Once upon a time there was a cat. ".repeat(1000));
    // The path at which each command fails, and what must not be there afterwards.
    for (line, path, gone) in [
        ("data world --out world", "train.jsonl: cannot write the file", "world"),
        (
            "tokenizer train --data text.txt --out tok",
            "tok/tokenizer.json: cannot be written",
            "tok/tokenizer_config.json",
        ),
        ("pretrain gpt --config tiny.toml --out run", "run/training/recipe.toml", "run/training/latest"),
    ] {
        let e = ended(p.shell("trap '' XFSZ; ulimit -f 4; exec \"$@\"", line).output().unwrap());
        assert_eq!((e.code, &e.stdout[..]), (Some(1), ""), "{line}: {}", e.stderr);
        assert!(e.error().contains(path), "{line}: {}", e.stderr);
        assert!(!p.path(gone).exists(), "{line}: {gone} is there");
    }
}

#[test]
fn full_disk_for_a_tokenizer() {
    let p = Place::new();
    p.write("text.txt", "Once upon a time there was a cat. ".repeat(1000));
    let line = "tokenizer train --data text.txt --out tok";
    let e = ended(p.shell("trap '' XFSZ; ulimit -f 4; exec \"$@\"", line).output().unwrap());
    assert_eq!(e.code, Some(1));
    assert!(!p.path("tok/tokenizer.json").exists());
}
