//! `bedstone finetune` through the program.

mod common;

use common::{Place, keys};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

fn model(name: &str) -> String {
    format!("{FIXTURES}/{name}")
}

/// Texts whose class is in their first word.
fn texts(n: usize) -> String {
    let rows = (0..n).map(|i| match i % 2 {
        0 => format!("good day number {i}\tpositive\n"),
        _ => format!("bad day number {i}\tnegative\n"),
    });
    std::iter::once("text\tlabel\n".to_owned()).chain(rows).collect()
}

fn sentences(n: usize) -> String {
    (0..n).map(|i| format!("the O\n{} B-NUM\nof O\ndays O\n\n", i % 9)).collect()
}

const QUICK: &str = "--epochs 2 --set train.batch=8 --set train.lr=1e-3 --set train.max_length=24";

#[test]
fn a_class_for_a_text() {
    let p = Place::new();
    p.write("train.tsv", texts(60));
    p.write("eval.tsv", texts(20));
    let line = format!("finetune {} --task classify --data train.tsv --eval eval.tsv {QUICK}", model("bert-seqcls"));
    let e = p.done(&format!("{line} --out one --json"));
    let report = &e.json()[0];
    assert_eq!(keys(report), ["dir", "kept", "seeds"]);
    let scores = &report["seeds"][0]["scores"];
    assert!(scores["accuracy"].as_f64().unwrap() > 0.9, "{scores}");
    assert!(e.stderr.contains(": 60 examples for training, 20 for evaluation"), "{}", e.stderr);
    // The fixture's classifier has three labels: it is made anew, and nothing else is.
    assert!(e.stderr.contains("new: classifier.weight, classifier.bias\n"), "{}", e.stderr);
    for name in ["README.md", "config.json", "model.safetensors", "recipe.toml", "tokenizer.json", "training"] {
        assert!(p.names("one").contains(&name.to_owned()), "{name} in {:?}", p.names("one"));
    }
    let config = p.text("one/config.json");
    assert!(config.contains("\"BertForSequenceClassification\"") && config.contains("\"positive\": 1"), "{config}");
    // The same bits for any number of threads, and with blocks that are computed twice.
    p.done(&format!("{line} --out two --threads 1"));
    p.done(&format!("{line} --out three --set train.gradient_checkpointing=true"));
    assert_eq!(p.read("one/model.safetensors"), p.read("two/model.safetensors"));
    assert_eq!(p.read("one/model.safetensors"), p.read("three/model.safetensors"));
    // What came out can be gone on from: its head fits.
    let e = p.done(&format!("finetune one --task classify --data train.tsv --eval eval.tsv {QUICK} --out four"));
    assert!(!e.stderr.contains("new: "), "{}", e.stderr);
    assert_eq!(e.stdout, "four\n");
}

#[test]
fn several_seeds_and_what_else_can_be_set() {
    let p = Place::new();
    p.write("train.tsv", texts(60));
    let line = format!("finetune {} --task classify --data train.tsv {QUICK} --out run --json", model("distilbert"));
    let e = p.done(&format!("{line} --seeds 2 --set train.class_weights=balanced --set train.layer_decay=0.9"));
    assert_eq!(e.json()[0]["seeds"].as_array().unwrap().len(), 2);
    assert!(e.stderr.contains(" over 2 seeds\n") && e.stderr.contains(" ± "), "{}", e.stderr);
    assert!(e.stderr.contains("54 examples for training, 6 for evaluation"), "{}", e.stderr);
    let frozen = line.replace("--out run", "--out frozen");
    let e = p.done(&format!("{frozen} --freeze 'distilbert.*'"));
    assert!(e.stderr.contains("trained: ") && e.stderr.contains(" numbers, beside "), "{}", e.stderr);
    let stopped = line.replace("--out run", "--out stopped").replace("--epochs 2", "--epochs 9");
    let e = p.done(&format!("{stopped} --set train.patience=1 --set train.lr=1e-9"));
    assert!(e.stderr.contains("no better for 1 evaluations: stopping after step "), "{}", e.stderr);
}

#[test]
fn dropout_is_set_by_the_run() {
    let p = Place::new();
    p.write("train.tsv", texts(60));
    let fields = [("bert-seqcls", "hidden_dropout_prob"), ("distilbert", "attention_dropout")];
    for (name, field) in fields {
        let line = format!("finetune {} --task classify --data train.tsv {QUICK}", model(name));
        let run =
            |out: &str, dropout: &str| p.done(&format!("{line} --set train.dropout={dropout} --out {name}-{out}"));
        run("0", "0");
        run("0.2", "0.2");
        assert!(p.text(&format!("{name}-0.2/config.json")).contains(&format!("\"{field}\": 0.2,")));
        let weights = |out: &str| p.read(&format!("{name}-{out}/model.safetensors"));
        assert_ne!(weights("0"), weights("0.2"));
    }
    let line = format!("finetune {} --task classify --data train.tsv --out wrong", model("bert-seqcls"));
    for (value, want) in [("1", "`train.dropout`"), ("none", "got `none`, wanted a number or \"auto\"")] {
        let ended = p.run(&format!("{line} --set train.dropout={value}"));
        assert!(ended.code == Some(2) && ended.error().contains(want), "{}", ended.stderr);
    }
}

#[test]
fn by_factors() {
    let p = Place::new();
    p.write("train.tsv", texts(60));
    p.write("eval.tsv", texts(20));
    let quick = QUICK.replace("lr=1e-3", "lr=3e-2").replace("--epochs 2", "--epochs 4");
    let line = format!(
        "finetune {} --task classify --data train.tsv --eval eval.tsv {quick} --lora 2 --json",
        model("bert-seqcls")
    );
    let e = p.done(&format!("{line} --out merged"));
    // Two factors of rank 2 for queries and values of both layers, and a head of two classes.
    let of = format!("trained: {} numbers, beside ", 4 * 2 * (32 + 32) + 2 * 32 + 2);
    assert!(e.stderr.contains(&of), "{}", e.stderr);
    let scores = &e.json()[0]["seeds"][0]["scores"];
    assert!(scores["accuracy"].as_f64().unwrap() > 0.9, "{scores}");
    assert!(!p.names("merged").contains(&"adapter_config.json".to_owned()));
    p.done(&format!("{line} --out adapter --set lora.save=adapter"));
    assert!(!p.names("adapter").contains(&"model.safetensors".to_owned()));
    let shown = p.done("inspect adapter").stdout;
    assert!(shown.contains("adapter          of rank ") && shown.contains("bert-seqcls"), "{shown}");
    assert!(shown.contains(" of weights in f32; the base model's come on top\n"), "{shown}");
    assert!(shown.contains(" finished, without an optimizer's state\n"), "{shown}");
    let card = p.text("adapter/README.md");
    assert!(card.contains("PeftModel.from_pretrained(base, DIR)"), "{card}");
    let config = p.text("adapter/adapter_config.json");
    assert!(config.contains("\"peft_type\": \"LORA\"") && config.contains("attention.self.query"), "{config}");
    // Both are the same model.
    let classify = |dir: &str| p.done(&format!("classify {dir} 'good day number 3' 'bad day' --json")).json();
    let (merged, adapter) = (classify("merged"), classify("adapter"));
    for (a, b) in merged.iter().zip(&adapter) {
        assert_eq!(a["labels"][0]["label"], b["labels"][0]["label"]);
    }
    let same = line.replace("--json", "--threads 1 --out one");
    p.done(&same);
    assert_eq!(p.read("one/model.safetensors"), p.read("merged/model.safetensors"));
    for (rest, code, want) in [
        ("--lora 2 --set 'lora.target_modules=[\"dense9\"]'", 1, "lora.target_modules `dense9`: no matrix of the body"),
        ("--lora 2 --set lora.alpha=0", 2, "lora.alpha"),
        ("--lora -1", 2, "lora.r"),
    ] {
        let e = p.run(&format!("{} --out x", line.replace("--lora 2", rest)));
        assert_eq!(e.code, Some(code), "{rest}: {}", e.stderr);
        assert!(e.stderr.contains(want), "{rest}: {}", e.stderr);
    }
}

#[test]
fn several_classes_numbers_and_pairs() {
    let p = Place::new();
    let rows = |f: &dyn Fn(usize) -> String| (0..40).map(f).collect::<String>();
    p.write(
        "many.jsonl",
        rows(&|i| format!("{{\"text\": \"day {i}\", \"labels\": [\"a\"{}]}}\n", [", \"b\"", ""][i % 2])),
    );
    p.write(
        "numbers.csv",
        format!("sentence1,sentence2,score\n{}", rows(&|i| format!("day {i},night {i},{}.5\n", i % 5))),
    );
    let run = |model_name: &str, task: &str, data: &str, out: &str| {
        let line = format!("finetune {} --task {task} --data {data} {QUICK} --out {out} --json", model(model_name));
        p.done(&line).json()[0]["seeds"][0]["scores"].clone()
    };
    assert_eq!(keys(&run("bert", "classify", "many.jsonl", "many")), ["micro F1", "macro F1", "subset accuracy"]);
    assert!(p.text("many/config.json").contains("multi_label_classification"));
    assert_eq!(keys(&run("roberta-mlm", "regress", "numbers.csv", "numbers")), ["R²", "Pearson", "Spearman", "MSE"]);
    assert!(p.text("numbers/config.json").contains("\"regression\""));
}

#[test]
fn tags_of_words() {
    let p = Place::new();
    p.write("train.conll", sentences(60));
    for name in ["bert-tokencls", "roberta-mlm"] {
        let quick = QUICK.replace("--epochs 2", "--epochs 12");
        let line = format!("finetune {} --task tag --data train.conll {quick} --out {name} --json", model(name));
        let scores = &p.done(&line).json()[0]["seeds"][0]["scores"];
        assert!(scores["span F1"].as_f64().unwrap() > 0.9, "{name}: {scores}");
    }
}

#[test]
fn the_world_by_itself() {
    let p = Place::new();
    let line = format!("finetune {} --task classify --set data.sentences=40 {QUICK} --out run", model("bert"));
    let e = p.done(&line);
    assert_eq!(e.stdout, "run\n");
    // What is too long for the model is cut for a class, and told; a tag would be lost.
    assert!(
        e.stderr.contains("training: ") && e.stderr.contains(" of 40 examples are longer than 24 tokens, and are cut"),
        "{}",
        e.stderr
    );
    let e = p.run(&format!("finetune {} --task tag --set data.sentences=40 {QUICK} --out tags", model("bert")));
    assert_eq!(e.code, Some(1));
    assert!(e.stderr.contains("tokens, wanted at most 24\nhint: "), "{}", e.stderr);
    let line = format!("finetune {} --task regress --out run", model("bert"));
    assert!(p.run(&line).stderr.contains("--task regress: got no data, wanted --data FILE"));
}

#[test]
fn wrong_inputs() {
    let p = Place::new();
    p.write("train.tsv", texts(60));
    p.write("one.tsv", texts(60).replace("negative", "positive"));
    p.write("few.tsv", texts(8));
    p.write("hole.tsv", texts(60).replace("number 7\tnegative", "number 7\t"));
    p.write("other.tsv", texts(20).replace("number 5\tnegative", "number 5\tneutral"));
    let bert = model("bert");
    let fails = |rest: &str, code: i32, want: &str| {
        let e = p.run(&format!("finetune {rest} --out run"));
        assert_eq!(e.code, Some(code), "{rest}: {}", e.stderr);
        assert!(e.stderr.contains(want), "{rest}: {}", e.stderr);
    };
    fails(&format!("{bert} --task classify --data none.tsv"), 1, "none.tsv: ");
    fails(&format!("{bert} --task classify --data one.tsv"), 1, "one.tsv: all 54 labels are \"positive\"");
    fails(&format!("{bert} --task classify --data few.tsv"), 1, "few.tsv: got 8 examples, wanted at least 20");
    fails(&format!("{bert} --task classify --data hole.tsv"), 1, "hole.tsv:9");
    fails(&format!("{bert} --task classify --data train.tsv --eval other.tsv"), 1, "other.tsv:7");
    p.write("body.tsv", texts(60).replace("text\tlabel", "body\tlabel"));
    fails(&format!("{bert} --task classify --data body.tsv"), 1, "name another column: --set data.text=NAME");
    let asked = "train.tsv:2: no column \"kind\" for the label; there are text, label";
    fails(&format!("{bert} --task classify --data train.tsv --set data.label=kind"), 1, asked);
    fails(
        &format!("{bert} --task classify --data train.tsv --freeze gpt.*"),
        1,
        "freeze `gpt.*`: it matches no parameter",
    );
    fails(&format!("{} --task classify --data train.tsv", model("gpt2")), 1, "SequenceClassification");
    fails(&format!("{bert} --task classify --data train.tsv --set train.lr=-1"), 2, "train.lr");
    fails(&format!("{bert} --task dance"), 2, "dance");
    fails(&bert, 2, "--task");
    assert!(!p.path("run").exists(), "nothing is left behind");
}
