//! Every command as it is meant to be used: what it prints, and the keys of its JSON.

mod common;

use common::{Ended, Place, ended, keys, redact};
use insta::assert_snapshot;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

/// The keys of each JSON line that a command prints.
#[track_caller]
fn check_keys(ended: &Ended, rows: usize, want: &[&str]) {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let objects = ended.json();
    assert_eq!(objects.len(), rows, "{}", ended.stdout);
    for object in &objects {
        assert_eq!(keys(object), want);
    }
}

#[test]
fn pretrain_gpt() {
    let p = Place::new();
    // The plan tells what the precision takes.
    let e = p.train("run", "--precision f32");
    assert_eq!(e.stdout, "run\n");
    assert_snapshot!(redact(&e.stderr), @r"
    run: run
    tokenizer: # tokens, trained on all of the training text
    tokens: made in cache/tokens/#
    data: # tokens for training, 3,633 for validation; validation text of its own
    run: 6 steps
    plan
    parameters # k
    steps 6
    tokens 768
    memory # MiB at most
    program and data # MiB
    weights # KiB
    optimizer state # KiB
    gradients # KiB
    activations # MiB
    logits # KiB
    recycling # KiB
    disk # KiB
    speed # tok/s
    time # s
    loss: how surprised the model is by each next token; # is blind guessing among # tokens, 0 is certainty
    step 1/6 loss # lr # # tok/s
    step 6/6 loss # lr # # tok/s
    step 6 validation loss # (as unsure as among # tokens, best so far)
    step 6 checkpoint run/training/step-6 (# KiB)
    done: 6 steps
    predicted measured ratio
    memory # MiB # MiB #
    disk # KiB # KiB #
    speed # tok/s # tok/s #
    time # s # s #
    of the time # % waiting for data, # % evaluating, # % writing checkpoints
    validation loss # (perplexity #, # bits per byte)
    ");
    assert!(e.stderr.contains("\nsample:\n"), "{}", e.stderr);
    assert_snapshot!(p.names("run").join("\n"), @r"
    README.md
    config.json
    generation_config.json
    model.safetensors
    recipe.toml
    special_tokens_map.json
    tokenizer.json
    tokenizer_config.json
    training
    ");
    assert_snapshot!(p.names("run/training").join("\n"), @r"
    finished
    latest
    lock
    log.jsonl
    loss.svg
    recipe.toml
    shown
    step-6
    ");
    assert_snapshot!(p.names("run/training/step-6/state").join("\n"), @r"
    model.safetensors
    trainer.json
    ");
    let log = p.log("run");
    assert_eq!(log.len(), 7);
    assert_eq!(keys(&log[5]), ["step", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "waiting"]);
    assert_eq!(keys(&log[6]), ["step", "val_loss", "val_tokens", "perplexity", "bits_per_byte"]);
    assert!(p.text("run/training/loss.svg").starts_with("<svg"));
    // The saved recipe says everything, by itself.
    let saved = p.text("run/recipe.toml");
    assert!(saved.contains("\nsteps = 6\n") && saved.contains("\nn_embd = 48\n"), "{saved}");
    p.done("pretrain gpt --config run/recipe.toml --out again");
    assert_eq!(p.read("again/model.safetensors"), p.read("run/model.safetensors"));
    // Blocks that are computed twice change no bit.
    p.done("pretrain gpt --config run/recipe.toml --set train.gradient_checkpointing=true --out twice");
    assert_eq!(p.read("twice/model.safetensors"), p.read("run/model.safetensors"));
}

#[test]
fn pretrain_llama() {
    let p = Place::new();
    let e = p.done("pretrain llama --config tiny-llama.toml --out run");
    assert_eq!(e.stdout, "run\n");
    assert_eq!(p.done("inspect run --json").json()[0]["architecture"][0], "LlamaForCausalLM");
    let e = p.done("generate run --prompt Once --max-tokens 5 --json");
    assert_eq!(e.json()[0]["prompt"], "Once");
}

#[test]
fn runs_are_numbered() {
    let p = Place::new();
    for want in ["runs/gpt\n", "runs/gpt-2\n", "runs/gpt-3\n"] {
        assert_eq!(p.done("pretrain gpt --config tiny.toml --steps 1").stdout, want);
    }
    let e = p.done("pretrain gpt --config tiny.toml --steps 1 --resume");
    assert_eq!((&e.stdout[..], &e.stderr[..]), ("runs/gpt-3\n", "runs/gpt-3: all 1 steps are done\n"));
}

#[test]
fn flags_stand_for_keys_and_win() {
    let p = Place::new();
    p.write("data.txt", "A cat sat on a mat. ".repeat(200));
    p.train("a", "--set train.steps=9 --steps 2 --seed 7 --precision f32 --data data.txt --threads 1");
    let recipe = p.text("a/recipe.toml");
    for line in ["steps = 2", "seed = 7", "precision = \"f32\"", "paths = [\"data.txt\"]"] {
        assert!(recipe.lines().any(|l| l == line), "{line}\n{recipe}");
    }
    p.train("b", "--tokenizer a --data data.txt --steps 1");
    assert_eq!(p.read("a/tokenizer.json"), p.read("b/tokenizer.json"));
    let recipe = p.done("pretrain gpt --print-recipe").stdout;
    assert!(recipe.starts_with("# Pretraining a GPT-2") && recipe.contains("[train]"), "{recipe}");
}

#[test]
fn generate() {
    let p = Place::new();
    p.train("run", "--steps 60");
    let e = p.done("generate run --prompt Once --max-tokens 8 --greedy");
    assert!(e.stdout.starts_with("Once") && e.stdout.ends_with('\n'), "{}", e.stdout);
    assert_snapshot!(redact(&e.stderr), @r"
    # tokens in # s (# tok/s)
    ");
    // Seeds reproduce.
    let sample = |seed: u64| p.done(&format!("generate run --prompt Once --max-tokens 20 --seed {seed}")).stdout;
    assert_eq!(sample(3), sample(3));
    assert_ne!(sample(3), sample(4));
    // Shown as it grows, it is the same text.
    let whole = p.done("generate run --prompt Once --max-tokens 8 --greedy --json");
    let text = whole.json()[0]["text"].as_str().unwrap().to_owned();
    assert_eq!(e.stdout, format!("Once{text}\n"));
    let e = p.done("generate run --prompt Once --prompt 'The cat' --max-tokens 8 --greedy");
    assert_eq!(e.stdout.matches("The cat").count(), 1);
    assert!(e.stdout.starts_with(&format!("Once{text}\n")), "left padding changes nothing\n{}", e.stdout);
    // Without a limit it takes what there is room for.
    assert_eq!(p.done("generate run --prompt Once").code, Some(0));
    assert_eq!(p.done("generate run --prompt Once --max-tokens 0").stdout, "Once\n");
    assert_eq!(p.run_with("generate run --prompt - --max-tokens 8 --greedy", "Once").stdout, format!("Once{text}\n"));
    // A stop string ends it and is left out.
    let stop = text.chars().nth(2).unwrap().to_string();
    let mut command = p.command("generate run --prompt Once --max-tokens 8 --greedy --json --stop");
    let e = ended(command.arg(&stop).output().unwrap());
    let stopped = &e.json()[0];
    assert_eq!(stopped["finish"], "stop");
    assert_eq!(Some(stopped["text"].as_str().unwrap()), text.split(&stop).next());

    let once = "generate run --prompt Once --json --max-tokens 4";
    check_keys(&p.run(once), 1, &["prompt", "text", "tokens", "finish"]);
    check_keys(&p.run(&format!("{once} --prompt Two")), 2, &["prompt", "text", "tokens", "finish"]);
    check_keys(&p.run(&format!("{once} --beams 3 --n-best 2")), 2, &["prompt", "text", "tokens", "finish", "score"]);
    check_keys(
        &p.run(&format!("{once} --top-k 5 --top-p 0.9 --min-p 0.01")),
        1,
        &["prompt", "text", "tokens", "finish"],
    );
}

#[test]
fn eval() {
    let p = Place::new();
    p.train("run", "");
    p.write("text.txt", "Once upon a time there was a cat. ".repeat(20));
    let e = p.done("eval run --data text.txt");
    let names: Vec<&str> = e.stdout.lines().map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(names, ["loss", "perplexity", "bits per byte", "tokens"]);
    let e = p.run("eval run --data text.txt --json");
    check_keys(&e, 1, &["loss", "perplexity", "bits_per_byte", "tokens"]);
    let number = |name: &str| e.json()[0][name].as_f64().unwrap();
    assert!((number("loss").exp() / number("perplexity") - 1.0).abs() < 1e-9);
    let bits = number("loss") * number("tokens") / std::f64::consts::LN_2 / (34.0 * 20.0);
    assert!((bits / number("bits_per_byte") - 1.0).abs() < 0.01, "{bits} {}", e.stdout);
    // How many windows go through at a time is a matter of memory only.
    let one = p.done("eval run --data text.txt --json --batch 1 --threads 1").json();
    assert!((one[0]["loss"].as_f64().unwrap() / number("loss") - 1.0).abs() < 1e-6);
    // What training said about its validation split, on the same text.
    p.write("rows.jsonl", "{\"text\": \"Once upon a time there was a cat.\"}\n".repeat(20));
    p.train("with", "--data text.txt --set data.validation=[\"rows.jsonl\"] --set train.context=8");
    let e = p.done("eval with --data rows.jsonl --context 8 --json");
    let log = p.log("with").pop().unwrap();
    assert!((e.json()[0]["loss"].as_f64().unwrap() / log["val_loss"].as_f64().unwrap() - 1.0).abs() < 1e-6);
}

#[test]
fn tokenizer() {
    let p = Place::new();
    p.write("text.txt", "the cat the cat the dog the dog\n".repeat(50));
    let e = p.done("tokenizer train --data text.txt --vocab-size 270 --out tok");
    assert_eq!(e.stdout, "tok\n");
    assert_snapshot!(e.stderr, @r"
    266 tokens from 5 different words in 1.56 KiB (all of the text)
    ");
    assert_eq!(p.names("tok"), ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]);
    let ids = p.done("tokenizer encode tok 'the cat' 'a dog'").stdout;
    assert_eq!(ids.lines().count(), 2);
    let line = ids.lines().next().unwrap();
    assert_eq!(p.done(&format!("tokenizer decode tok {line}")).stdout, "the cat\n");
    assert_eq!(p.run_with("tokenizer encode tok", "the cat").stdout, format!("{line}\n"));
    assert_eq!(p.run_with("tokenizer decode tok", line).stdout, "the cat\n");
    check_keys(&p.run("tokenizer encode --json tok 'the cat' 'a dog'"), 2, &["ids", "tokens", "offsets", "type_ids"]);
    check_keys(&p.run("tokenizer encode tok 'the cat' --json"), 1, &["ids", "tokens", "offsets", "type_ids"]);
    assert_eq!(p.done("tokenizer encode tok -1").stdout, p.run_with("tokenizer encode tok", "-1").stdout);
    // Every byte has a token, so every text comes back.
    for text in ["naïve 数学 🙂", " leading", "tab\tnew\nline", "-1", "é"] {
        let ids = p.run_with("tokenizer encode tok", text).stdout;
        assert_eq!(p.run_with("tokenizer decode tok", ids).stdout, format!("{text}\n"));
    }
    let id = p.done("tokenizer encode tok '<|endoftext|>'").stdout;
    assert_eq!(p.done(&format!("tokenizer decode tok {id}")).stdout, "\n");
    assert_eq!(p.done(&format!("tokenizer decode --special tok {id}")).stdout, "<|endoftext|>\n");

    p.done("tokenizer train --data text.txt --kind wordpiece --vocab-size 60 --out word");
    let ids = p.done("tokenizer encode word 'THE cat'").stdout;
    assert_eq!(p.done(&format!("tokenizer decode word {ids}")).stdout, "the cat\n");
    p.done("tokenizer train --data text.txt --kind unigram --vocab-size 60 --out uni");
    let ids = p.done("tokenizer encode uni 'the cat'").stdout;
    assert_eq!(p.done(&format!("tokenizer decode uni {ids}")).stdout, "the cat\n");
}

#[test]
fn inspect() {
    let p = Place::new();
    p.train("run", "");
    assert_snapshot!(p.done("inspect run").stdout, @r"
    model type       gpt2
    architecture     GPT2LMHeadModel
    parameters       77,376
    tensors          28 in 1 file(s)
    dtypes           F32
    weight           302 KiB
    memory to run    302 KiB of weights in f32
    memory to train  1.18 MiB for weights, gradients and optimizer, plus activations
    vocabulary       400 tokens
    training step    step 6, 932 KiB with the optimizer's state
    ");
    let all = p.done("inspect run --tensors").stdout;
    assert_eq!(all.lines().filter(|line| line.starts_with("F32 ")).count(), 28, "{all}");
    let mut want = vec!["model_type", "architecture", "parameters", "tensors", "dtypes", "weight_bytes"];
    want.extend(["memory_to_run_bytes", "memory_to_train_bytes", "vocabulary", "training_step", "config"]);
    check_keys(&p.run("inspect run --json"), 1, &want);
    want.push("tensors");
    let object = p.done("inspect run --json --tensors").json().remove(0);
    assert_eq!(object["config"]["n_embd"], 48);
    // A checkpoint that is no run of ours.
    let text = p.done(&format!("inspect {FIXTURES}/qwen3")).stdout;
    assert!(text.contains("Qwen3ForCausalLM") && text.contains("no training state: not a run of ours"), "{text}");
}

#[test]
fn data_world() {
    let p = Place::new();
    let e = p.done("data world --kind stories --out world --count 30 --validation 4");
    assert_eq!(e.stdout, "world\n");
    assert_snapshot!(redact(&e.stderr), @r"
    30 rows, # KiB: world/train.jsonl
    4 rows, # KiB: world/validation.jsonl
    ");
    assert_eq!(p.names("world"), ["README.md", "train.jsonl", "validation.jsonl"]);
    let rows = p.text("world/train.jsonl");
    let row: serde_json::Value = serde_json::from_str(rows.lines().last().unwrap()).unwrap();
    assert_eq!((rows.lines().count(), keys(&row)), (30, vec!["text"]));
    p.done("data world --out other --count 30 --validation 4 --seed 1");
    assert_ne!(p.text("other/train.jsonl"), rows);
    p.done("data world --out same --count 30 --validation 4");
    assert_eq!(p.text("same/train.jsonl"), rows);
    p.done("data world --kind captions --out captions --count 3 --validation 2");
    assert_eq!(p.text("captions/train.tsv").lines().next(), Some("en\tzh"));
    for (kind, file) in
        [("sentences", "train.tsv"), ("tags", "train.conll"), ("questions", "train.json"), ("pairs", "train.tsv")]
    {
        p.done(&format!("data world --kind {kind} --out {kind} --count 3 --validation 2"));
        assert!(p.names(kind).contains(&file.to_owned()));
    }
    // What it writes is what the other commands read.
    p.train("run", "--data world/train.jsonl --set data.validation=[\"world/validation.jsonl\"] --steps 1");
}

#[test]
fn parity() {
    let p = Place::new();
    let e = p.done(&format!("parity {FIXTURES}/llama {FIXTURES}/train-gpt2 --precision f32"));
    let last = e.stdout.lines().last().unwrap();
    assert!(last.ends_with(" passed, 0 failed"), "{last}");
    for line in e.stdout.lines().rev().skip(1) {
        assert!(line.starts_with("ok   llama: ") || line.starts_with("ok   train-gpt2: "), "{line}");
        assert!(line.ends_with(": equal") || (line.contains("error ") && line.contains(", allowed ")), "{line}");
    }
    assert_eq!(p.done(&format!("parity --quiet {FIXTURES}/llama")).stdout.lines().count(), 1);
    // Directories that hold a tokenizer alone.
    let extra = FIXTURES.replace("fixtures", "fixtures-extra");
    let e = p.done(&format!("parity {FIXTURES}/tokenizer-spm-unigram {extra}/tokenizer-albert"));
    assert!(e.stdout.contains("ok   tokenizer-spm-unigram: sentencepiece 2 \"a\": equal\n"), "{}", e.stdout);
    assert!(
        e.stdout.contains("ok   tokenizer-albert: tokenizer pair 0 \"Where is the cat?\": equal\n"),
        "{}",
        e.stdout
    );
    // An architecture that is not there yet fails, and says so.
    let e = p.run(&format!("parity {FIXTURES}/llama {FIXTURES}/siglip -q"));
    let text = e.stdout.replace(FIXTURES, "FIXTURES");
    assert_eq!(e.code, Some(1));
    assert!(text.contains("model_type `siglip` is not known here"), "{text}");
    assert!(!text.contains(" 0 failed"), "{text}");
    let e = p.run("parity runs/none");
    assert_eq!(e.code, Some(1));
    assert_snapshot!(e.stdout, @r"
    FAIL none: fixture: runs/none: no fixture here, wanted parity.json or trace.json
    0 passed, 1 failed
    ");
}

#[test]
fn bench_train() {
    let p = Place::new();
    let mut want = vec!["model", "batch", "precision", "isa", "threads", "unit", "per_s", "best", "tflops"];
    want.push("peak_memory_bytes");
    check_keys(&p.run("bench train --model gpt-6m --steps 1 --json"), 1, &want);
    want.push("profile");
    let e = p.run("bench train --model gpt-6m --steps 1 --json --profile --precision f32");
    check_keys(&e, 1, &want);
    let object = &e.json()[0];
    assert_eq!((&object["model"], &object["precision"]), (&"gpt-6m".into(), &"f32".into()));
    assert!(object["per_s"].as_f64().unwrap() > 0.0);
    let names: Vec<&str> =
        object["profile"].as_array().unwrap().iter().map(|k| k["kernel"].as_str().unwrap()).collect();
    assert!(names.contains(&"product") && names.contains(&"optimizer"), "{names:?}");
    let text = p.done("bench train --steps 1 --profile").stdout;
    assert!(text.starts_with("gpt-6m ") && text.contains("\n  product "), "{text}");
    let passes = p.done("bench infer --model gpt-6m --batch 2 --steps 1 --precision int8 --json").json();
    assert_eq!((&passes[0]["batch"], &passes[0]["unit"]), (&2.into(), &"tok".into()));
    let pictures = p.done("bench infer --model vit-b16 --batch 1 --steps 1").stdout;
    assert!(pictures.starts_with("vit-b16 ") && pictures.contains(" pictures/s "), "{pictures}");
}

#[test]
fn doctor() {
    let mut p = Place::new();
    let e = p.done("doctor");
    let names: Vec<&str> = e.stdout.lines().map(|line| line[..12].trim_end()).collect();
    let want = "cpu, cores, portable, avx2, avx512, avx512vnni, avx512bf16, amx, would run, int8, memory, huge pages, disk, cache";
    assert_eq!(names.join(", "), want);
    assert!(e.stdout.contains("(detected), products in "), "{}", e.stdout);
    let mut want = vec!["cpu", "cores", "portable", "avx2", "avx512", "avx512vnni", "avx512bf16", "amx"];
    want.extend(["would_run", "int8", "memory_bytes", "huge_pages", "disk_bytes", "cache"]);
    check_keys(&p.run("doctor --json"), 1, &want);
    p.set_env("BEDSTONE_ISA", "portable");
    assert_eq!(p.done("doctor --json").json()[0]["would_run"], "portable");
    assert!(p.done("doctor").stdout.contains("would run    portable (BEDSTONE_ISA), products in f32"));
    assert!(p.done("doctor").stdout.contains("int8         by plain Rust with --precision int8, the rest in f32"));
}

#[test]
fn bench_kernels() {
    let p = Place::new();
    let rows = p.done("bench kernels --ms 0 --json").json();
    let of = |kernel: &str| rows.iter().filter(|r| r["kernel"] == kernel).count();
    assert!(of("linear") >= 3 && of("AdamW") >= 1 && of("causal attention") == of("AdamW"), "{rows:?}");
    assert!(rows.iter().all(|r| r["ms"].as_f64().unwrap() > 0.0));
    assert!(p.run("bench kernels --ms much").code == Some(2));
}
