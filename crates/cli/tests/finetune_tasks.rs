//! `bedstone finetune --task answer|embed` and `bedstone eval --task …` through the program.

mod common;

use common::{Place, keys};
use serde_json::{Value, json};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

fn model(name: &str) -> String {
    format!("{FIXTURES}/{name}")
}

/// Questions on contexts of which each names a number; every `none`-th names none.
fn squad(n: usize, none: usize) -> String {
    let paragraph = |i: usize| {
        let (start, number) = (["there are ", "we saw ", "he had as many as "][i % 3], 10 + i % 80);
        let has = none == 0 || !i.is_multiple_of(none);
        let context = if has { format!("{start}{number} days of rain") } else { format!("{start}days of rain") };
        let answers = if has { json!([{"text": number.to_string(), "answer_start": start.len()}]) } else { json!([]) };
        let question =
            json!({"id": i.to_string(), "question": "how many days?", "answers": answers, "is_impossible": !has});
        json!({"context": context, "qas": [question]})
    };
    json!({"data": [{"paragraphs": (0..n).map(paragraph).collect::<Vec<Value>>()}]}).to_string()
}

fn scores(report: &Value) -> &Value {
    &report["seeds"][0]["scores"]
}

#[track_caller]
fn number(scores: &Value, name: &str) -> f64 {
    scores[name].as_f64().unwrap_or_else(|| panic!("{name} of {scores}"))
}

/// Of the steps before each evaluation.
fn mean_losses(p: &Place, run: &str) -> Vec<f64> {
    p.log(run).iter().filter_map(|line| line.get("mean_loss")?.as_f64()).collect()
}

/// Runs it and wants a failure that says this.
#[track_caller]
fn fails(p: &Place, line: &str, code: i32, want: &str) {
    let e = p.run(line);
    assert_eq!(e.code, Some(code), "{line}: {}", e.stderr);
    assert!(e.stderr.contains(want), "{line}: {}", e.stderr);
}

const QUICK: &str = "--set train.batch=8 --set train.lr=3e-3";

#[test]
fn answers_are_learned_and_found_again() {
    let p = Place::new();
    p.write("train.json", squad(160, 0));
    p.write("eval.json", squad(40, 0));
    let line = format!("finetune {} --task answer --data train.json --eval eval.json {QUICK}", model("bert"));
    let e = p.done(&format!("{line} --epochs 5 --out run --json"));
    assert_eq!(keys(scores(&e.json()[0])), ["F1", "exact match"]);
    let exact = number(scores(&e.json()[0]), "exact match");
    assert!(exact > 80.0, "{}", e.stderr);
    assert!(p.text("run/config.json").contains("\"BertForQuestionAnswering\""));
    let losses = mean_losses(&p, "run");
    assert!(losses.last() < losses.first(), "{losses:?}");
    // Measured again it is the same, and what answers is the same, too.
    let again = p.json_of("eval run --task answer --data eval.json --json");
    assert_eq!(keys(&again), ["examples", "scores"]);
    assert_eq!((&again["examples"], number(&again["scores"], "exact match")), (&json!(40), exact));
    let answer = p.json_of("answer run --json --question 'how many days?' --context 'there are 73 days of rain'");
    assert_eq!(answer["answers"][0]["answer"], "73", "{answer}");
}

#[test]
fn questions_without_an_answer() {
    let p = Place::new();
    p.write("train.json", squad(160, 4));
    let line = format!("finetune {} --task answer --data train.json {QUICK} --epochs 6", model("bert"));
    let e = p.done(&format!("{line} --out run --json"));
    let scores = scores(&e.json()[0]).clone();
    assert!(number(&scores, "HasAns F1") > 80.0 && number(&scores, "NoAns F1") > 60.0, "{scores}");
    assert!(
        number(&scores, "best F1") >= number(&scores, "F1") && scores.get("best F1 threshold").is_some(),
        "{scores}"
    );
    p.done(&format!("{line} --lora 4 --set lora.save=adapter --out adapter"));
    p.json_of("answer adapter --json --question 'how many days?' --context 'there are 73 days of rain'");
    // Nothing is likelier than no answer by so much.
    p.write("eval.json", squad(20, 4));
    let all = p.json_of("eval run --task answer --data eval.json --json --set data.null_threshold=-1000");
    assert_eq!(number(&all["scores"], "HasAns F1"), 0.0, "{all}");
}

#[test]
fn long_contexts_are_seen_through_windows() {
    let p = Place::new();
    let squad = |question: &str, word: &str| {
        let contexts = (0..20).map(|i| {
            let before = "a long way to go on foot ".repeat(i % 4 * 2);
            let start = before.len() + "here is ".len();
            let context = format!("{before}here is number {i}, or so it seems");
            let answer = json!({"text": word, "answer_start": start});
            let question = json!({"id": i.to_string(), "question": question, "answers": [answer]});
            json!({"context": context, "qas": [question]})
        });
        json!({"data": [{"paragraphs": contexts.collect::<Vec<Value>>()}]}).to_string()
    };
    p.write("long.json", squad("which?", "number"));
    let line = format!("finetune {} --task answer --data long.json --epochs 1", model("bert"));
    let e = p.done(&format!("{line} --set data.doc_stride=12 --set train.max_length=30 --out run"));
    assert!(
        e.stderr.contains("training: 18 questions make ") && e.stderr.contains(" windows of 30 tokens"),
        "{}",
        e.stderr
    );
    // A part of a word is learned as the whole token, and told.
    p.write("part.json", squad("which?", "numb"));
    let e = p.done(&format!("{} --out part", line.replace("long.json", "part.json")));
    assert!(
        e.stderr.contains(" of 18 answers begin or end inside a token, which is learned whole (first: "),
        "{}",
        e.stderr
    );
    p.write("asks.json", squad(&"which one of all of these is it? ".repeat(5), "number"));
    fails(
        &p,
        &format!("{} --out no", line.replace("long.json", "asks.json")),
        1,
        "of 40 for the context, wanted more than the 20 that windows share\nhint: raise train.max_length",
    );
}

/// Pairs of sentences that share a word which no other pair has.
fn pairs(n: usize) -> String {
    let word = |i: usize| {
        format!("{} {}", ["red", "blue", "small", "old", "new"][i % 5], ["dog", "sea", "hat", "sun"][i / 5 % 4])
    };
    let rows = (0..n).map(|i| format!("we saw a {0}\tthe {0} is here\ta {1} was there\n", word(i), word(i + 1)));
    std::iter::once("anchor\tpositive\tnegative\n".to_owned()).chain(rows).collect()
}

#[test]
fn vectors_are_learned_from_the_world() {
    let p = Place::new();
    let line = format!("finetune {} --task embed --set data.sentences=200 {QUICK}", model("bert"));
    let before = p.done(&format!("{line} --epochs 1 --set train.lr=1e-9 --out none --json"));
    let after = p.done(&format!("{line} --epochs 4 --out run --json"));
    let (before, after) = (scores(&before.json()[0]).clone(), scores(&after.json()[0]).clone());
    assert_eq!(keys(&after), ["MRR", "accuracy@1", "triplet accuracy"]);
    assert!(number(&after, "MRR") > number(&before, "MRR") + 0.1, "{before} {after}");
    let losses = mean_losses(&p, "run");
    assert!(losses.last().unwrap() + 0.3 < losses[0], "{losses:?}");
    for name in ["modules.json", "1_Pooling", "sentence_bert_config.json", "README.md", "tokenizer.json"] {
        assert!(p.names("run").contains(&name.to_owned()), "{name} in {:?}", p.names("run"));
    }
    assert!(p.text("run/config.json").contains("\"BertModel\""));
    p.done("embed run --text 'a red dog'");
    // The same bits, whatever the threads and whatever is computed again.
    let same = line.replace("data.sentences=200", "data.sentences=40");
    p.done(&format!("{same} --epochs 1 --out one"));
    p.done(&format!("{same} --epochs 1 --out two --threads 1 --set train.gradient_checkpointing=true"));
    assert_eq!(p.read("one/model.safetensors"), p.read("two/model.safetensors"));
}

#[test]
fn pairs_triplets_and_scores() {
    let p = Place::new();
    p.write("triplets.tsv", pairs(40));
    let two = |line: &str| line.rsplit_once('\t').map(|(start, _)| format!("{start}\n")).unwrap_or_default();
    p.write("pairs.tsv", pairs(40).lines().map(two).collect::<String>());
    let scored =
        (0..40).map(|i| format!("a dog number {i},{} number {i},{}\n", ["a dog", "the sea"][i % 2], [4.5, 0.5][i % 2]));
    p.write("scores.csv", format!("sentence1,sentence2,score\n{}", scored.collect::<String>()));
    let line = |data: &str, rest: &str| {
        format!("finetune {} --task embed --data {data} {QUICK} --epochs 4 {rest}", model("sentence-embedding"))
    };
    let e = p.done(&line("pairs.tsv", "--out pairs --json"));
    assert_eq!(keys(scores(&e.json()[0])), ["MRR", "accuracy@1"]);
    let e = p.done(&line("scores.csv", "--out scores --json --set data.score_scale=5 --set train.micro_batch=3"));
    assert_eq!(keys(scores(&e.json()[0])), ["Spearman", "Pearson"]);
    assert!(number(scores(&e.json()[0]), "Pearson") > 0.5, "{}", e.stderr);
    // By factors, too, which are merged; layers at their own rates.
    let e = p.done(&line("triplets.tsv", "--out lora --lora 2 --set train.layer_decay=0.9"));
    assert!(e.stderr.contains("trained: ") && p.names("lora").contains(&"modules.json".to_owned()), "{}", e.stderr);
    fails(&p, &line("pairs.tsv", "--out no --lora 2 --set lora.save=adapter"), 2, "lora.save");
    // A sentence-transformer keeps its pooling, unless another one is asked for.
    p.done(&line("triplets.tsv", "--out cls --set train.pooling=cls"));
    assert!(p.text("pairs/1_Pooling/config.json").contains("\"pooling_mode_mean_tokens\": true"));
    assert!(p.text("cls/1_Pooling/config.json").contains("\"pooling_mode_cls_token\": true"));
    let measured = p.json_of("eval cls --task embed --data triplets.tsv --json");
    assert_eq!(keys(&measured["scores"]), ["MRR", "accuracy@1", "triplet accuracy"]);
    fails(
        &p,
        &line("scores.csv", "--out no"),
        1,
        ": got the score 4.5, wanted at most 1 either way\nhint: scores are compared with cosines",
    );
    fails(&p, &line("pairs.tsv", "--out no --set train.micro_batch=4"), 2, "train.micro_batch");
    p.write("both.csv", "anchor,positive,negative,score\n".to_owned() + &"a,b,c,0.5\n".repeat(20));
    fails(&p, &line("both.csv", "--out no"), 1, "got a negative and a score, wanted one of them");
    fails(&p, &line("pairs.tsv", "--out no --set train.class_weights=balanced"), 2, "train.class_weights");
    fails(&p, &line("pairs.tsv", "--out no --set train.pooling=max"), 2, "train.pooling");
    assert!(!p.path("no").exists(), "nothing is left behind");
}

#[test]
fn measured_by_classes() {
    let p = Place::new();
    let rows =
        |n: usize| (0..n).map(|i| format!("{} day number {i}\t{}\n", ["good", "bad"][i % 2], ["yes", "no"][i % 2]));
    p.write("train.tsv", format!("text\tlabel\n{}", rows(60).collect::<String>()));
    p.write("eval.tsv", format!("review\tlabel\n{}", rows(21).collect::<String>()));
    p.done(&format!("finetune {} --task classify --data train.tsv {QUICK} --epochs 2 --out run", model("bert")));
    let line = "eval run --task classify --data eval.tsv --set data.text=review";
    let e = p.done(line);
    assert!(
        e.stdout.contains("accuracy                   1.0000\n") && e.stdout.contains("\nyes       1.0000  1.0000"),
        "{}",
        e.stdout
    );
    assert!(
        e.stdout.ends_with("\ntrue       no     yes\nno         10       0\nyes         0      11\n"),
        "{}",
        e.stdout
    );
    let object = p.json_of(&format!("{line} --json --confusion matrix.svg"));
    assert!(p.text("matrix.svg").contains("<svg") && p.text("matrix.svg").contains("\n11\n"));
    assert_eq!(keys(&object), ["examples", "scores", "classes", "confusion"]);
    assert_eq!(object["confusion"], json!([[10, 0], [0, 11]]));
    assert_eq!(
        object["classes"][1],
        json!({"label": "yes", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 11})
    );
    // A label that the model does not have, and what else is wrong.
    p.write("other.tsv", "text\tlabel\na day\tyes\nno day\tmaybe\n");
    fails(&p, "eval run --task classify --data other.tsv", 1, "other.tsv:3");
    fails(&p, "eval run --task tag --data eval.tsv", 1, "`bedstone classify` serves this model");
    p.write("numbers.tsv", "text\tlabel\na day\t0.5\nno day\t1\n");
    fails(&p, "eval run --task regress --data numbers.tsv", 1, "got a model of classes, wanted --task classify");
    fails(&p, &format!("{line} --set train.lr=1"), 2, "train.lr");
    fails(&p, &format!("{line} --confusion none/matrix.svg"), 2, "none/matrix.svg: there is no folder none");
    fails(&p, "eval run --task tag --data eval.tsv --confusion m.svg", 2, "--confusion: has no use for --task tag");
    fails(&p, &format!("{line} --restrict 5"), 2, "--restrict: has no use for --task classify");
    fails(&p, "eval run --data eval.tsv --set data.text=review", 2, "--task");
    fails(
        &p,
        "eval run --data eval.tsv",
        2,
        "is no language model, which is what is measured without --task\nhint: --task classify",
    );
    fails(&p, "eval run --task classify --data eval.tsv train.tsv", 2, "--data: got 2 files, a task takes one");
}

#[test]
fn measured_otherwise() {
    let p = Place::new();
    let rows = |f: &dyn Fn(usize) -> String| (0..40).map(f).collect::<String>();
    p.write(
        "many.jsonl",
        rows(&|i| format!("{{\"text\": \"day {i}\", \"labels\": [\"a\"{}]}}\n", [", \"b\"", ""][i % 2])),
    );
    p.write("numbers.csv", format!("text,label\n{}", rows(&|i| format!("day {i},{}.5\n", i % 5))));
    p.write("tags.conll", rows(&|i| format!("the O\n{} B-NUM\ndays O\n\n", i % 9)));
    let measured = |task: &str, data: &str| {
        let line = format!("finetune {} --task {task} --data {data} {QUICK} --epochs 1 --out {task}", model("bert"));
        p.done(&line);
        p.json_of(&format!("eval {task} --task {task} --data {data} --json"))
    };
    let many = measured("classify", "many.jsonl");
    assert_eq!(keys(&many["scores"]), ["micro F1", "macro F1", "subset accuracy"]);
    assert_eq!((many["classes"].as_array().map(Vec::len), many.get("confusion")), (Some(2), None));
    assert_eq!(keys(&measured("regress", "numbers.csv")["scores"]), ["R²", "Pearson", "Spearman", "MSE"]);
    let tags = measured("tag", "tags.conll");
    assert_eq!(keys(&tags["scores"]), ["span F1", "precision", "recall", "accuracy"]);
    assert_eq!(tags["examples"], 40);
    p.write("other.conll", "the O\ndays B-DAY\n\n");
    fails(&p, "eval tag --task tag --data other.conll", 1, "other.conll:1");
}
