//! `bedstone pretrain bert` and `pretrain roberta` through the program.

mod common;

use common::Place;

const TINY: &str = "--set data.stories=60 --set tokenizer.vocab_size=300 --set model.hidden_size=32 \
    --set model.num_hidden_layers=2 --set model.num_attention_heads=2 --set model.intermediate_size=64 --set train.context=48 \
    --set train.batch=8 --set train.warmup=2 --set train.evaluate_every=5 --set evaluate.tokens=400 \
    --set evaluate.final_tokens=400";

#[test]
fn masked_words_and_next_sentences() {
    let p = Place::new();
    let e = p.done(&format!("pretrain bert {TINY} --steps 12 --out run"));
    assert_eq!(e.stdout, "run\n");
    for said in [
        "by each masked token, plus by whether one text follows",
        ", masked tokens: right ",
        ", next sentences: right ",
    ] {
        assert!(e.stderr.contains(said), "{said}: {}", e.stderr);
    }
    assert!(!e.stderr.contains("sample"), "it writes nothing: {}", e.stderr);
    let config = p.text("run/config.json");
    assert!(config.contains("\"BertForPreTraining\""), "{config}");
    let (evaluations, steps): (Vec<_>, Vec<_>) =
        p.log("run").into_iter().partition(|line| line.get("val_loss").is_some());
    assert!(!evaluations.is_empty() && steps.len() == 12);
    for line in &steps {
        let get = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
        assert!((get("loss") - get("mlm_loss") - get("nsp_loss")).abs() < 1e-4, "{line}");
    }
    for line in &evaluations {
        let get = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line}"));
        assert!((get("val_loss") - get("mlm_loss") - get("nsp_loss")).abs() < 1e-4, "{line}");
        assert!((0.0..=1.0).contains(&get("mlm_accuracy")) && (0.0..=1.0).contains(&get("nsp_accuracy")), "{line}");
    }
    // Stopped half way and gone on with, on one thread: the same bits.
    let line = format!("pretrain bert {TINY} --set train.checkpoint_every=4 --out other");
    p.done(&format!("{line} --steps 12 --threads 1"));
    assert!(p.read("other/model.safetensors") == p.read("run/model.safetensors"));
    // It is a model of masked words from the start.
    assert_eq!(
        p.done("fill run 'the [MASK] sat' --top 2 --json").json()[0]["masks"][0].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn masked_words_alone() {
    let p = Place::new();
    let e = p.done(&format!("pretrain roberta {TINY} --steps 4 --set mask.whole_words=true --out run"));
    assert!(e.stderr.contains(", masked tokens: right ") && !e.stderr.contains("next sentences"), "{}", e.stderr);
    assert!(p.text("run/config.json").contains("\"RobertaForMaskedLM\""));
    // Bytes, as RoBERTa has them.
    let ids = p.done("tokenizer encode run 'naïve <mask>'").stdout;
    assert_eq!(p.done(&format!("tokenizer decode run {ids}")).stdout, "naïve\n");
    let guesses = p.done("fill run 'The <mask> went home.' --json").json();
    assert_eq!(guesses[0]["masks"][0].as_array().map(Vec::len), Some(5), "{guesses:?}");
    let e = p.run("fill run 'The cat went home.'");
    assert!(e.code == Some(1) && e.error().contains("<mask>"), "{}", e.stderr);
}

#[test]
fn wrong_inputs() {
    let p = Place::new();
    for (rest, code, says) in [
        ("--set mask.probability=1.5", 2, "mask.probability"),
        ("--set tokenizer.kind=bpe", 1, "token"),
        ("--set model.num_attention_heads=5", 2, "num_attention_heads"),
        ("--set train.context=4", 1, "sequences of 4 tokens, want at least 5\nhint: raise train.context"),
        ("--data none.txt", 1, "none.txt"),
    ] {
        let line =
            format!("pretrain bert {} {rest} --steps 2 --out run", if rest.starts_with("--data") { "" } else { TINY });
        let e = p.run(&line);
        assert_eq!(e.code, Some(code), "{rest}: {}", e.stderr);
        assert!(e.error().contains(says), "{rest}: {}", e.stderr);
        assert!(!p.path("run").exists(), "{rest}: nothing is left behind");
    }
    p.write("one.txt", "A single document. It has two sentences.");
    let e = p.run("pretrain bert --data one.txt --set tokenizer.vocab_size=300 --steps 2 --out run");
    assert_eq!(e.code, Some(1), "{}", e.stderr);
}
