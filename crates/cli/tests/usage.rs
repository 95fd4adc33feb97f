//! Wrong words on the command line and in recipes: one clear error, exit code 2, and nothing is started.

mod common;

use common::Place;

/// A wrong command line: exit code 2 and this on stderr after `error: `, up to the usage that clap adds.
#[track_caller]
fn check(line: &str, want: &str) {
    let ended = Place::new().run(line);
    let error = ended.error().split("\n\nUsage:").next().unwrap();
    let error = error.split("\n\nFor more").next().unwrap();
    assert_eq!((error, ended.code), (want, Some(2)), "bedstone {line}\n{}", ended.stderr);
    assert_eq!(ended.stdout, "", "bedstone {line}");
}

/// A wrong recipe.
#[track_caller]
fn check_recipe(set: &str, want: &str) {
    let p = Place::new();
    p.fails(&format!("pretrain gpt --config tiny.toml --out run --set {set}"), 2, want);
}

#[track_caller]
fn check_file(recipe: &str, want: &str) {
    let p = Place::new();
    p.write("my.toml", recipe);
    p.fails("pretrain gpt --config my.toml --out run", 2, want);
}

#[test]
fn no_command() {
    let p = Place::new();
    let e = p.run("");
    assert_eq!((e.code, &e.stdout[..]), (Some(2), ""));
    for name in ["pretrain", "generate", "eval", "tokenizer", "inspect", "data", "parity", "bench", "doctor"] {
        assert!(e.stderr.contains(&format!("\n  {name} ")), "{name}: {}", e.stderr);
    }
    let help = p.done("--help");
    assert_eq!((&help.stdout, &help.stderr[..]), (&e.stderr, ""));
    assert!(p.done("--version").stdout.starts_with("bedstone "));
    assert!(p.done("help pretrain").stdout.contains("The last line on stdout is the checkpoint directory."));
}

#[test]
fn wrong_words() {
    check("pretrian gpt", "unrecognized subcommand 'pretrian'\n\n  tip: a similar subcommand exists: 'pretrain'");
    check("pretrain", "the following required arguments were not provided:\n  <FAMILY>");
    check("pretrain frog", {
        "invalid value 'frog' for '<FAMILY>'\n  [possible values: gpt, llama, bert, roberta, word2vec, glove, mae, vit]"
    });
    check("pretrain gpt --threads 0", "invalid value '0' for '--threads <T>': 0 is not in 1..=1024");
    check(
        "pretrain gpt --stpes 3",
        "unexpected argument '--stpes' found\n\n  tip: a similar argument exists: '--steps'",
    );
    check("pretrain gpt --steps many", "invalid value 'many' for '--steps <N>': invalid digit found in string");
    check("pretrain gpt --precision f16", {
        "invalid value 'f16' for '--precision <PRECISION>'\n  [possible values: auto, f32, bf16, int8]\n\n  \
         tip: a similar value exists: 'bf16'"
    });
    check("pretrain gpt --allow-different-bits", "the following required arguments were not provided:\n  --resume");
    check("generate run", "the following required arguments were not provided:\n  --prompt <TEXT>");
    check("generate run --prompt a --greedy --top-k 3", {
        "the argument '--greedy' cannot be used with '--top-k <K>'"
    });
    check("generate run --prompt a --n-best 2", "the following required arguments were not provided:\n  --beams <N>");
    check("eval run", "the following required arguments were not provided:\n  --data <PATH>...");
    check("eval run --data x --context 0", "invalid value '0' for '--context <N>': 0 is not in 1..=4294967295");
    check("eval run --data x --batch 0", "invalid value '0' for '--batch <N>': 0 is not in 1..=65535");
    check("tokenizer train --out x", "the following required arguments were not provided:\n  --data <PATH>...");
    check("tokenizer train --data x --out x --kind bpee", {
        "invalid value 'bpee' for '--kind <KIND>'\n  [possible values: bpe, roberta, wordpiece, unigram]\n\n  \
         tip: a similar value exists: 'bpe'"
    });
    check("tokenizer train --data x --out x --cased", {
        "--cased goes with --kind wordpiece; the others keep case anyway"
    });
    check("tokenizer decode x y", "invalid value 'y' for '[IDS]...': invalid digit found in string");
    check("inspect", "the following required arguments were not provided:\n  <DIR>");
    check("data world", "the following required arguments were not provided:\n  --out <DIR>");
    check("data world --kind dogs --out x", {
        "invalid value 'dogs' for '--kind <KIND>': the World has no kind `dogs`, it has stories, captions, sentences, tags, questions, pairs, pictures, boxes"
    });
    check("parity", "the following required arguments were not provided:\n  <DIRS>...");
    check("bench train --model bert", {
        "invalid value 'bert' for '--model <MODEL>'\n  [possible values: gpt-6m, gpt-17m, gpt-163m, vit-b16, yolos-s]"
    });
    check("doctor --jsn", "unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'");
}

#[test]
fn words_that_need_a_model() {
    let p = Place::new();
    p.train("run", "--steps 1");
    p.write("text.txt", "Once upon a time");
    p.fails("eval run --data text.txt --context 33", 2, "--context: got 33, the model takes 32");
    let error = p.run_with("tokenizer decode run", "65 no");
    error.failed("tokenizer decode", 2, "standard input: got `no`, wanted an id");
}

#[test]
fn unknown_keys_name_the_nearest() {
    check_recipe("train.lrr=1", "--set train.lrr=1: unknown key `train.lrr`\nhint: did you mean `train.lr`?");
    check_recipe(
        "train.n_embd=1",
        "--set train.n_embd=1: unknown key `train.n_embd`\nhint: did you mean `model.n_embd`?",
    );
    check_recipe("lr=1", "--set lr=1: unknown key `lr`\nhint: did you mean `train.lr`?");
    // What other models and programs call so.
    check_recipe(
        "model.hidden_size=8",
        "--set model.hidden_size=8: unknown key `model.hidden_size`\nhint: did you mean `model.n_embd`?",
    );
    check_recipe("model.cats=8", "--set model.cats=8: unknown key `model.cats`");
    check_recipe("steps", "--set steps: wanted `key=value`");
    check_file("[train]\nlr = 1e-3\nwarmpu = 3\n", {
        "my.toml:3: unknown key `train.warmpu`\nhint: did you mean `train.warmup`?"
    });
    check_file("[trian]\nlr = 1e-3\n", "my.toml:1: unknown key `trian`\nhint: did you mean `train`?");
    check_file("[train\nlr = 1e-3\n", "my.toml:1: not TOML: unclosed table, expected `]`, got `[train`");
    check_file("[train]\nlr = 1\nlr = 2\n", "my.toml:3: not TOML: duplicate key, got `lr = 2`");
}

#[test]
fn wrong_types() {
    check_recipe("train.warmup=soon", {
        "--set train.warmup=soon: `train.warmup` is \"soon\", wanted a whole number, 0 or more\nhint: the built-in value is 50"
    });
    check_recipe("train.warmup=1.5", {
        "--set train.warmup=1.5: `train.warmup` is 1.5, wanted a whole number, 0 or more\nhint: the built-in value is 50"
    });
    check_recipe("data.paths=a.txt", {
        "--set data.paths=a.txt: `data.paths` is \"a.txt\", wanted a list `[…]`\nhint: the built-in value is []"
    });
    check_recipe("train.schedule=cosin", {
        "--set train.schedule=cosin: `train.schedule` is \"cosin\", wanted one of `cosine`, `linear`, `wsd`, \
         `constant`\nhint: did you mean `cosine`?"
    });
    check_recipe("train=3", "--set train=3: `train` is 3, wanted a table with keys of its own");
    check_file(
        "[train]\nlr = \"x\"\n",
        "my.toml:2: `train.lr` is \"x\", wanted a number\nhint: the built-in value is 3e-3",
    );
    check_file("[tokenizer]\nkind = \"bep\"\n", {
        "my.toml:2: `tokenizer.kind` is \"bep\", wanted one of `bpe`, `roberta`, `wordpiece`, `unigram`\nhint: did you mean `bpe`?"
    });
}

#[test]
fn values_out_of_range() {
    for (set, wanted) in [
        ("train.steps=0", "1 or more"),
        ("train.context=0", "1 or more"),
        ("train.batch=0", "1 or more"),
        ("train.lr=0", "above 0"),
        ("train.lr=nan", "above 0"),
        ("train.min_lr=1.5", "0 to 1, a share of train.lr"),
        ("train.decay=-0.1", "0 to 1, a share of the steps"),
        ("train.beta1=1.0", "0 or more and below 1"),
        ("train.beta2=1.0", "0 or more and below 1"),
        ("train.eps=0.0", "above 0"),
        ("train.weight_decay=-1", "0 or more"),
        ("train.clip=nan", "0 or more"),
        ("data.stories=19", "20 or more"),
    ] {
        let (key, value) = set.split_once('=').unwrap();
        check_recipe(set, &format!("--set {set}: `{key}` is {value}, wanted {wanted}"));
    }
    check("pretrain gpt --out run --steps -3", {
        "--steps -3: `train.steps` is -3, wanted a whole number, 0 or more\nhint: the built-in value is 600"
    });
}

#[test]
fn keys_without_use() {
    check_recipe("tokenizer.file=x --set tokenizer.kind=unigram", {
        "--set tokenizer.kind=unigram: `tokenizer.kind` is \"unigram\", but has no use here: the tokenizer is \
         given, by tokenizer.file or train.init"
    });
    check_recipe("data.validation=[\"x\"]", {
        "--set data.validation=[\"x\"]: `data.validation` is [\"x\"], but has no use here: without \
         data.paths the stories are read, which have a validation split of their own"
    });
    check_recipe("train.decay=0.1", {
        "--set train.decay=0.1: `train.decay` is 0.1, but has no use here: train.schedule is not \"wsd\""
    });
    // In a file they are no mistake: a recipe that was printed, or saved with a run, can be used whole.
    let p = Place::new();
    let printed = p.run("pretrain gpt --print-recipe");
    p.write("all.toml", printed.stdout.replace("schedule = \"cosine\"", "schedule = \"constant\""));
    p.fails("pretrain gpt --config all.toml --out run --set data.paths=[\"missing.txt\"]", 1, {
        "missing.txt: no such file or directory"
    });
}

#[test]
fn what_lies_there_stays() {
    let p = Place::new();
    p.train("run", "--steps 1");
    let tokenizer = p.read("run/tokenizer.json");
    p.write("text.txt", "Once upon a time");
    p.fails("tokenizer train --data text.txt --vocab-size 300 --out run", 1, {
        "run: the folder is not empty\nhint: choose another --out"
    });
    assert!(p.read("run/tokenizer.json") == tokenizer);
    p.fails("generate tiny.toml --prompt a", 1, "tiny.toml: is a file, wanted a folder");
}

#[test]
fn rows_in_the_standard_input() {
    let p = Place::new();
    p.train("run", "--steps 1");
    let rows = "{\"body\": \"Once there was a cat.\"}\n";
    p.write("rows.jsonl", rows);
    let file = p.done("eval run --data rows.jsonl --field body --json").stdout;
    let piped = p.run_with("eval run --data - --field body --json", rows).stdout;
    assert_eq!(file, piped);
}

#[test]
fn a_model_that_no_machine_holds() {
    let e = Place::new().run("pretrain gpt --config tiny.toml --out run --set model.n_embd=4000000");
    assert!(e.code == Some(1) && e.error().starts_with("the size of the model: got "), "{}", e.stderr);
    check_recipe("model.n_layer=100000000000", {
        "--set model.n_layer=100000000000: `model.n_layer` is 100000000000, wanted 1 to 10000"
    });
}

#[test]
fn precision_that_is_not_there() {
    let mut p = Place::new();
    p.set_env("BEDSTONE_ISA", "avx2");
    p.fails("pretrain gpt --config tiny.toml --out run --precision bf16", 2, {
        "--precision bf16: `train.precision` is \"bf16\", wanted auto or f32: avx2 has no products of bf16"
    });
    p.train("run", "--steps 1");
    p.fails("generate run --prompt cat --precision bf16", 2, {
        "--precision bf16: got avx2, which has no products of bf16, wanted auto or f32"
    });
}

#[test]
fn int8_trains_nothing() {
    let p = Place::new();
    p.fails("pretrain gpt --config tiny.toml --out run --precision int8", 2, {
        "--precision int8: `train.precision` is \"int8\", wanted auto, f32 or bf16: int8 is for inference only"
    });
    p.fails("parity anything --precision int8", 2, {
        "--precision int8: wanted auto, f32 or bf16: parity computes gradients, int8 is for inference only"
    });
    p.fails("bench train --precision int8", 2, {
        "--precision int8: wanted auto, f32 or bf16: bench train computes gradients, int8 is for inference only"
    });
}

#[test]
fn a_refused_run_leaves_no_directory() {
    let p = Place::new();
    assert_eq!(p.run("pretrain gpt --data missing.txt").code, Some(1));
    assert_eq!(p.names("runs"), Vec::<String>::new());
    // What was refused leaves no trace in the next run.
    let e = p.run("pretrain gpt --config tiny.toml --out run --set train.lr=1e-7 --set model.n_embd=47");
    assert_eq!(e.code, Some(2), "{}", e.stderr);
    assert!(!p.path("run").exists());
    p.train("run", "--steps 1");
    assert!(p.text("run/recipe.toml").contains("\nlr = 3e-3\n"));
}

#[test]
fn models_of_no_size() {
    for set in ["model.n_embd=0", "model.n_layer=0", "model.n_head=0"] {
        let e = Place::new().run(&format!("pretrain gpt --config tiny.toml --out run --set {set}"));
        assert!(e.code == Some(2) && e.error().contains(set), "{set}\n{}", e.stderr);
    }
}

#[test]
fn recipes_that_are_no_text() {
    let p = Place::new();
    p.fails("pretrain gpt --config none.toml --out a", 1, {
        "none.toml: cannot read the recipe: No such file or directory (os error 2)"
    });
    p.write("bad.toml", b"[train]\n# \xff\n");
    p.fails("pretrain gpt --config bad.toml --out b", 2, "bad.toml: not UTF-8 text at byte 10, wanted a TOML file");
}
