//! Word vectors through the program: training, resuming, asking, converting, and mistakes.

#![cfg(unix)]

mod common;

use std::{thread, time::Duration};

use common::{Place, ended, keys, wait_until};

const WEIGHTS: &str = "model.safetensors";

/// A run of a second.
const SMALL: &str =
    "--set data.stories=400 --set model.vector_size=16 --set train.epochs=2 --set vocabulary.min_count=2";

fn glove(epochs: u64) -> String {
    format!(
        "--set data.stories=300 --set model.vector_size=8 --set vocabulary.min_count=2 --set counts.window=4 \
         --set train.epochs={epochs}"
    )
}

#[test]
fn from_text_to_neighbours() {
    let p = Place::new();
    let e = p.done(&format!("pretrain word2vec {SMALL} --out run"));
    assert_eq!(e.stdout, "run\n");
    assert!(e.stderr.contains("data: ") && e.stderr.contains(" words in the vocabulary, "), "{}", e.stderr);
    for name in ["README.md", "config.json", WEIGHTS, "recipe.toml", "vocab.txt"] {
        assert!(p.path(&format!("run/{name}")).exists(), "{name}");
    }
    assert!(!p.path("run/training/corpus").exists(), "the numbered text of a finished run is gone");
    assert!(p.path("run/training/loss.svg").exists());

    let e = p.done("similar run cat -n 3");
    assert_eq!(e.stdout.lines().count(), 3, "{}", e.stdout);
    let e = p.done("similar run cat dog -n 2 --json");
    assert_eq!((e.json().len(), keys(&e.json()[0])), (2, vec!["word", "neighbours"]));
    assert_eq!(keys(&e.json()[1]["neighbours"][0]), ["word", "similarity"]);
    assert_eq!(p.done("similar run cat dog -n 1").stdout.lines().count(), 4);
    let e = p.done("analogy run cat dog bird -n 4 --json");
    assert_eq!(keys(&e.json()[0]), ["a", "b", "c", "answers"]);
    assert_eq!(p.done("analogy run cat dog bird").stdout.lines().count(), 5);
    let e = p.done("map run cat dog -n 3 --out map.svg");
    assert_eq!(e.stdout, "map.svg\n");
    assert!(p.text("map.svg").starts_with("<svg"));
    p.write("list.txt", "cat\ndog\nbird\n");
    p.done("map run --words list.txt --out list.svg");
    assert_eq!(p.text("list.svg").matches("<circle").count(), 3);

    let e = p.done("inspect run --json");
    let object = &e.json()[0];
    assert_eq!((object["model_type"].as_str(), object["dimensions"].as_u64()), (Some("word2vec"), Some(16)));
    assert!(p.done("inspect run").stdout.contains("words            "));
}

#[test]
fn every_format_gives_the_same_neighbours() {
    let p = Place::new();
    p.done(&format!("pretrain word2vec {SMALL} --out run"));
    let want = p.done("similar run cat -n 5").stdout;
    for format in ["word2vec-text", "word2vec-binary", "glove-text", "safetensors"] {
        let e = p.done(&format!("convert run --to {format} --out v"));
        assert_eq!(e.stdout, "v\n");
        assert_eq!(p.done("similar v cat -n 5").stdout, want, "{format}");
        assert!(p.done("inspect v").stdout.contains(format), "{format}");
    }
}

#[test]
fn tests_of_vectors() {
    let p = Place::new();
    p.write("v.txt", "5 2\nking 1 1\nman 1 0\nqueen -1 1\nwoman -1 0\nelephant 0.1 -1\n");
    p.write("q.txt", ": family\nman king woman queen\nMan King Woman Queen\nman king woman pope\n");
    let e = p.done("eval v.txt --task analogy --data q.txt --json");
    let o = &e.json()[0];
    assert_eq!(keys(o), ["accuracy", "correct", "asked", "total", "semantic", "syntactic", "sections"]);
    assert_eq!((o["correct"].as_u64(), o["asked"].as_u64(), o["total"].as_u64()), (Some(2), Some(2), Some(3)));
    let e = p.done("eval v.txt --task analogy --data q.txt");
    assert!(
        e.stdout.ends_with("all                          100.00 %      2 of     2 asked, 3 in the file\n"),
        "{}",
        e.stdout
    );
    p.write("s.tsv", "king\tman\t8\nking\tqueen\t6\nking\telephant\t1\nking\tpope\t9\n");
    let e = p.done("eval v.txt --task similarity --data s.tsv --json");
    assert_eq!(keys(&e.json()[0]), ["spearman", "pearson", "pairs", "total"]);
    let want = "spearman        1.0000\npearson         0.";
    let e = p.done("eval v.txt --task similarity --data s.tsv");
    assert!(
        e.stdout.starts_with(want) && e.stdout.ends_with("pairs           3 of 4 have both words\n"),
        "{}",
        e.stdout
    );
    p.fails("eval v.txt --task similarity --data q.txt", 1, {
        "q.txt: line 1: 1 fields, wanted two words and a score with tabs between"
    });
    p.fails("eval v.txt --task analogy --data q.txt s.tsv", 2, "--data: got 2 files, a task takes one");
    p.fails("eval v.txt --task similarity --data s.tsv --restrict 5", 2, {
        "--restrict: has no use for --task similarity"
    });
}

#[test]
fn mistakes() {
    let p = Place::new();
    p.write("v.txt", "2 2\nking 1 1\nqueen -1 1\n");
    p.fails("similar v.txt kinf", 1, "`kinf` is not in the vocabulary of 2 words\nhint: did you mean `king`?");
    p.fails("analogy v.txt king Queen x", 1, {
        "`Queen` is not in the vocabulary of 2 words\nhint: did you mean `queen`?"
    });
    p.fails("map v.txt king --out m.svg", 1, "cannot draw the map: 2 words, wanted three or more");
    p.write("v.bin", b"2 2\nking \0\0\x80\x3f\0\0\x80\x3fqueen \0\0\x80\x3f\0");
    p.fails("similar v.bin king", 1, {
        "v.bin: cut short: word 2 of 2 has no whole vector (the file ends at byte 28)"
    });
    p.write("text.txt", "once upon a time there was a cat\n");
    p.fails("pretrain word2vec --data text.txt --out run", 1, {
        "text.txt: no word occurs 5 times or more: 8 words, the most frequent 2 time(s)\n\
         hint: lower vocabulary.min_count, or give more text"
    });
    assert!(!p.path("run").exists(), "a refused run leaves nothing");
    p.fails("pretrain word2vec --steps 5", 2, {
        "--steps: has no use for word2vec\nhint: set the times through the text: --set train.epochs=5"
    });
    p.fails("pretrain glove --init v.txt", 2, {
        "--init: has no use for glove\nhint: counts of other text cannot be added to vectors; train on all of it"
    });
    p.fails("pretrain gpt --deterministic", 2, {
        "--deterministic: has no use here: these runs give the same bits anyway"
    });
    p.fails("pretrain glove --set train.eta=0", 2, "--set train.eta=0: `train.eta` is 0, wanted above 0");
    p.fails("pretrain word2vec --init v.txt --out run", 1, {
        "v.txt: vectors have 2 dimensions, wanted 100\nhint: go on with --set model.vector_size=2"
    });
    p.fails("pretrain word2vec --set train.sample=2", 2, {
        "--set train.sample=2: `train.sample` is 2, wanted 0 to 1, such as 1e-3"
    });
    p.fails("pretrain glove --set train.lr=0.1", 2, {
        "--set train.lr=0.1: unknown key `train.lr`\nhint: did you mean `train.eta`?"
    });
    p.fails("pretrain glove --resume --out none", 1, {
        "none: holds no run that could go on\n\
         hint: name the folder of the run with `--out`; to begin one, say what to train on: `--data`, `--config` or `--set`"
    });
    assert!(!p.path("none").exists());
    p.fails("map v.txt king --out m.png", 2, "--out m.png: the picture is an SVG, wanted a name that ends with .svg");
    p.fails("convert v.txt --to glove-text --out none/v", 1, {
        "none/v: cannot write: No such file or directory (os error 2)"
    });
    p.write("vocab.txt", "king 10\nqueen 9\n");
    p.fails("similar vocab.txt king", 1, {
        "vocab.txt: line 1: one number behind the word\n\
         hint: this looks like a list of words with counts; the vectors of a run are opened by its directory"
    });
    p.write("odd.txt", "");
    p.fails("inspect odd.txt", 1, "odd.txt: an empty file");
}

#[test]
fn recipes_are_printed_and_taken() {
    let p = Place::new();
    for family in ["word2vec", "glove"] {
        let e = p.done(&format!("pretrain {family} --print-recipe"));
        p.write(
            "recipe.toml",
            e.stdout.replace("stories = 20000", "stories = 300").replace("epochs = ", "epochs = 1 # "),
        );
        p.done(&format!("pretrain {family} --config recipe.toml --out {family}"));
        p.done(&format!("pretrain {family} --out {family} --resume"));
    }
    p.fails("pretrain glove --out word2vec --resume", 1, {
        "word2vec: cannot go on as before: it holds a run of word2vec, not of glove\n\
         hint: name the model of that run after `pretrain`, or choose another --out"
    });
}

/// Killed at several moments and resumed, a run ends with the bytes of one that was left alone.
#[track_caller]
fn check_killed(family: &str, settings: &str) {
    const KILLS: [(usize, u64); 6] = [(0, 30), (1, 3), (1, 40), (0, 90), (2, 10), (1, 0)];
    let p = Place::new();
    p.done(&format!("pretrain {family} {settings} --out calm"));
    let mut killed = 0;
    for (checkpoints, delay) in KILLS {
        let mut child = p.spawn(&mut p.command(&format!("pretrain {family} {settings} --out run --resume")));
        let mut latest = p.latest("run");
        for _ in 0..checkpoints {
            wait_until("there is another checkpoint", || {
                p.latest("run") != latest || p.path("run/training/finished").exists()
            });
            latest = p.latest("run");
        }
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        let e = ended(child.wait_with_output().unwrap());
        assert!(matches!(e.code, None | Some(0)), "it only ends by being killed\n{}", e.stderr);
        killed += usize::from(e.code.is_none());
        if p.latest("run").is_some() {
            p.done("similar run the -n 1");
        }
    }
    assert!(killed >= 3, "the run was over after {killed} kills");
    p.done(&format!("pretrain {family} {settings} --out run --resume"));
    for name in [WEIGHTS, "vocab.txt"] {
        assert!(p.read(&format!("run/{name}")) == p.read(&format!("calm/{name}")), "{family}: {name}");
    }
    assert_eq!(p.names("run/training"), p.names("calm/training"), "nothing half written stays");
}

#[test]
fn word2vec_killed_and_resumed() {
    check_killed(
        "word2vec",
        "--deterministic --set data.stories=4000 --set model.vector_size=32 --set train.epochs=12 \
         --set train.step_words=8192 --set train.checkpoint_every=10",
    );
}

#[test]
fn glove_killed_and_resumed() {
    check_killed("glove", &format!("{} --set train.checkpoint_every=1", glove(60)));
}

#[test]
fn interrupted() {
    let p = Place::new();
    let settings = "--deterministic --set data.stories=3000 --set train.epochs=30 --set train.step_words=8192";
    let child = p.spawn(&mut p.command(&format!("pretrain word2vec {settings} --out run")));
    let log = p.path("run/training/log.jsonl");
    wait_until("there are some steps", || std::fs::read(&log).is_ok_and(|log| log.len() > 1000));
    assert!(
        std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success()
    );
    let e = ended(child.wait_with_output().unwrap());
    assert_eq!((e.code, &e.stdout[..]), (Some(130), ""), "{}", e.stderr);
    let step = p.latest("run").unwrap().replace("step-", "");
    let want = format!("stopped after step {step}; go on with: bedstone pretrain word2vec --out run --resume");
    assert_eq!(e.stderr.lines().last(), Some(&want[..]));
    p.fails(
        "pretrain word2vec --out run --resume --set train.alpha=0.1",
        1,
        &format!(
            "run/training/step-{step}: cannot go on as before: `train.alpha`: 0.025 → 0.1\n\
         hint: resume with the recipe of the run, or start another run from its vectors with --init"
        ),
    );
}

/// Published files have words twice.
#[test]
fn the_first_of_equal_words_counts() {
    let p = Place::new();
    p.write("v.txt", "4 2\nking 1 1\nqueen -1 1\nking 0 0\nmen 1 0\n");
    let e = p.done("similar v.txt queen");
    assert_eq!(e.stdout, "0.0000  king\n-0.7071  men\n");
    let note = "v.txt: words such as `king` stand there more than once; the first counts, 1 rows are left out\n";
    assert_eq!(e.stderr, note);
    p.done("convert v.txt --to word2vec-binary --out v.bin");
    assert!(p.read("v.bin").starts_with(b"3 2\nking "));
}

/// A run of words in lower case answers whatever the case; other files have words of their own.
#[test]
fn words_of_any_case() {
    let p = Place::new();
    p.done("pretrain word2vec --set data.stories=300 --set subwords.minn=3 --set subwords.maxn=4 --set subwords.bucket=1000 --set train.epochs=1 --out v");
    let [lower, upper] = ["cat", "Cat"].map(|word| p.done(&format!("similar v {word}")).stdout);
    assert_eq!(lower, upper);
    assert!(!lower.contains(" cat\n"), "{lower}");
    p.fails("classify v cat", 1, {
        "v/config.json: model_type `word2vec` is not known here\n\
         hint: these are word vectors, for similar, analogy, map, convert, eval --task analogy|similarity and --init-embeddings"
    });
}

#[test]
fn a_text_is_read_once() {
    let p = Place::new();
    let line = "the cat sat on the mat and the dog sat on the log\n";
    p.write("text.txt", line.repeat(8000));
    let settings = "--data text.txt --deterministic --set train.epochs=40 --set train.step_words=8192 --set train.checkpoint_every=3";
    let mut child = p.spawn(&mut p.command(&format!("pretrain word2vec {settings} --out run")));
    wait_until("there is a checkpoint", || p.latest("run").is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(p.path("text.txt")).unwrap();
    let e = p.done("pretrain word2vec --out run --resume");
    assert!(e.stderr.contains("words: found in run/training/corpus\n"), "{}", e.stderr);
}

#[test]
fn text_from_the_standard_input() {
    let p = Place::new();
    let e = p.run_with("pretrain word2vec --data - --set train.epochs=1 --out run", "to be or not to be\n".repeat(50));
    assert_eq!(e.code, Some(0), "{}", e.stderr);
    assert!(p.text("run/vocab.txt").starts_with("be 100\nto 100\n"));
}

#[test]
fn vectors_begin_an_embedding() {
    let p = Place::new();
    p.done("pretrain word2vec --set data.stories=400 --set model.vector_size=48 --set train.epochs=2 --out v");
    let e = p.train("gpt", "--init-embeddings v --steps 2");
    let line = e.stderr.lines().find(|l| l.starts_with("embedding: ")).unwrap();
    let filled: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(line.contains(" of 400 rows from v, times ") && filled > 20, "{line}");
    p.train("plain", "--steps 2");
    assert!(p.read("gpt/model.safetensors") != p.read("plain/model.safetensors"));
    p.done("pretrain gpt --out gpt --resume");
    p.fails("pretrain gpt --config tiny.toml --init-embeddings v --set model.n_embd=96 --out x", 1, {
        "v: vectors have 48 dimensions, the embedding 96\n\
         hint: set the width of the model (model.n_embd, model.hidden_size) to 48, or train vectors with --set model.vector_size=96"
    });
    p.fails("pretrain gpt --config tiny.toml --init-embeddings none --out x", 1, {
        "train.init_embeddings: none: cannot open: No such file or directory (os error 2)"
    });
    p.fails("pretrain glove --init-embeddings v", 2, {
        "--init-embeddings: has no use for glove\n\
         hint: it starts the embedding of a gpt or llama; --init goes on with word vectors"
    });
}
