//! What encoders are used for: the commands, what they print, and wrong inputs.

mod common;

use common::{Place, keys};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

/// `VERB FIXTURE MORE` in f32: what it prints, and what it says on stderr.
#[track_caller]
fn check(p: &Place, verb: &str, model: &str, more: &str, want: &str, notes: &str) {
    let ended = p.done(&format!("{verb} {FIXTURES}/{model} {more} --precision f32"));
    assert_eq!(ended.stdout, want, "{verb} {more}");
    assert_eq!(ended.stderr.replace(FIXTURES, ""), notes, "{verb} {more}");
}

/// The same as a failure.
#[track_caller]
fn fails(p: &Place, verb: &str, model: &str, more: &str, code: i32, want: &str) {
    let ended = p.run(&format!("{verb} {FIXTURES}/{model} {more}"));
    let error = ended.error().replace(FIXTURES, "");
    let error = error.split("\n\nUsage:").next().unwrap().split("\n\nFor more").next().unwrap();
    assert_eq!((error, ended.code, &ended.stdout[..]), (want, Some(code), ""), "{verb} {more}\n{}", ended.stderr);
}

/// The header of a safetensors file.
fn header(bytes: &[u8]) -> serde_json::Value {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).unwrap()
}

#[test]
fn embed() {
    let p = Place::new();
    p.write("a.txt", "A man is playing a guitar.\n\nThe cat sat on the mat.\n");
    p.write("b.jsonl", "{\"text\": \"The cat sat on the mat.\", \"n\": 1}\n");
    let model = format!("{FIXTURES}/sentence-embedding");
    let e = p.done(&format!("embed {model} a.txt b.jsonl --precision f32"));
    let rows = e.json();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| keys(row) == ["text", "embedding"]), "{}", e.stdout);
    assert_eq!(rows[3]["text"], "The cat sat on the mat.");
    let vector = |row: usize| rows[row]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
    assert!(vector(2).zip(vector(3)).all(|(a, b)| (a - b).abs() < 1e-6));
    assert!((vector(0).map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    let (note, rest) = e.stderr.split_once('\n').unwrap();
    assert_eq!(note, "note: empty texts, whose vectors mean nothing: a.txt:2");
    assert!(rest.starts_with("4 texts of 32 numbers in "), "{rest}");
    // Of tables the texts alone.
    p.write("t.tsv", "label\ttext\n1\tThe cat sat on the mat.\n0\tA man.\n");
    p.write("t.csv", "Label,Body\n1,\"The cat, it sat.\"\n");
    let tables = p.done(&format!("embed {model} t.tsv --precision f32")).json();
    assert_eq!((tables.len(), &tables[0]["text"]), (2, &"The cat sat on the mat.".into()));
    // Beside fewer tokens another kernel may serve, which rounds otherwise.
    let table = tables[0]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
    assert!(table.zip(vector(3)).all(|(a, b)| (a - b).abs() < 1e-6));
    assert_eq!(p.done(&format!("embed {model} t.csv --field Body")).json()[0]["text"], "The cat, it sat.");
    // The same from other places into other files.
    p.done(&format!(
        "embed {model} --text 'A man is playing a guitar.' '' 'The cat sat on the mat.' --out v.safetensors"
    ));
    let tensor = p.read("v.safetensors");
    assert_eq!(header(&tensor)["embeddings"]["shape"], serde_json::json!([3, 32]));
    assert_eq!(header(&tensor)["embeddings"]["dtype"], "F32");
    let piped = p.run_with(&format!("embed {model} - --field q --out v.jsonl"), "{\"q\": \"x\"}\n\n{\"q\": \"y\"}\n");
    assert_eq!((piped.code, &piped.stdout[..]), (Some(0), ""), "{}", piped.stderr);
    assert_eq!(p.text("v.jsonl").lines().count(), 2);
    // What a compressed file holds is said by the name before.
    let rows = zstd::encode_all(&b"\xef\xbb\xbf{\"text\": \"x\"}\n{\"text\": \"y\"}\n"[..], 0).unwrap();
    p.write("rows.jsonl.zst", rows);
    p.done(&format!("embed {model} rows.jsonl.zst --out z.jsonl"));
    let vectors = |name: &str| {
        let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["embedding"].clone();
        p.text(name).lines().map(row).collect::<Vec<_>>()
    };
    assert_eq!(vectors("z.jsonl"), vectors("v.jsonl"));
    let long = p.done(&format!("embed {model} --text '{}'", "a cat ".repeat(30)));
    assert!(long.stderr.starts_with("note: cut to 24 tokens: 1 of 1 texts: text 1\n"), "{}", long.stderr);
    let plain = p.done(&format!("embed {FIXTURES}/bert --text a --pooling cls"));
    assert!(plain.stderr.starts_with("note: "), "{}", plain.stderr);
    let plain = p.done(&format!("embed {FIXTURES}/bert --text a"));
    assert!(plain.stderr.contains("bert: no modules.json: vectors are means of the last states\n"), "{}", plain.stderr);
    assert!(plain.stderr.contains("tensors not used: cls.predictions.bias, "), "{}", plain.stderr);
}

#[test]
fn embed_wrongly() {
    let p = Place::new();
    p.write("empty.txt", "");
    p.write("rows.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n");
    p.write("number.jsonl", "{\"text\": 3}\n");
    p.write("latin.txt", b"caf\xe9\n");
    let m = "sentence-embedding";
    fails(&p, "embed", m, "", 2, "no texts: give files, or --text");
    fails(&p, "embed", m, "no.txt", 1, "no.txt: no such file or directory");
    fails(&p, "embed", m, "empty.txt", 1, "empty.txt: holds no text");
    fails(&p, "embed", m, "latin.txt", 1, {
        "latin.txt:1: not UTF-8 at byte 3: 0xe9\nhint: convert the file to UTF-8: iconv -f LATIN1 -t UTF-8, if it is Latin-1"
    });
    p.write("photo.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    fails(&p, "embed", m, "photo.png", 1, {
        "photo.png:3: a binary file: NUL at byte 8\nhint: a picture, by its name, where a text is wanted: models of pictures take \
         it, such as ViT"
    });
    fails(&p, "embed", m, "rows.jsonl", 1, "rows.jsonl:2: no field `text`\nhint: there are: txt");
    fails(&p, "embed", m, "number.jsonl", 1, "number.jsonl:1: field `text`: got 3, wanted a string");
    fails(&p, "embed", m, "--text a --out v.txt", 2, "--out: got v.txt, wanted a name with .safetensors or .jsonl");
    fails(&p, "embed", m, "--text a --out none/v.jsonl", 2, "--out none/v.jsonl: there is no folder none");
    p.write("table.tsv", "body\tlabel\nA cat.\t1\n");
    fails(&p, "embed", m, "table.tsv --field text", 1, {
        "table.tsv:2: no column \"text\" for the text; there are body, label\nhint: --field NAME is the column of the text; of \
         columns without names their number, from 1"
    });
    p.write("pairs.csv", "sentence1,sentence2,label\nA cat.,A dog.,1\n");
    fails(&p, "embed", m, "pairs.csv", 1, {
        "pairs.csv:2: the table has two texts a row\nhint: --field NAME takes one of them, --pair of classify both"
    });
    fails(&p, "embed", m, "--text a --prompt-name q", 2, "prompt name: got q, wanted none: the model has no prompts");
    fails(&p, "embed", "gpt2", "--text a", 1, {
        "/gpt2: `GPT2LMHeadModel` cannot embed\nhint: `bedstone generate` serves this model"
    });
    fails(&p, "embed", m, "--text a --pooling middle", 2, {
        "invalid value 'middle' for '--pooling <POOLING>'\n  [possible values: mean, cls, max, lasttoken]"
    });
}

#[test]
fn fill() {
    let p = Place::new();
    check(&p, "fill", "bert", "'The [MASK] sat.' --top 2", FILLED, "");
    let one = p.done(&format!("fill {FIXTURES}/roberta-mlm 'The [MASK] sat on <mask>.' 'A <mask>' --json --top 3"));
    let rows = one.json();
    assert!(rows.iter().all(|row| keys(row) == ["text", "masks"]));
    assert_eq!(keys(&rows[0]["masks"][0][0]), ["score", "token", "token_str", "sequence"]);
    let counts: Vec<usize> = rows.iter().map(|row| row["masks"].as_array().unwrap().len()).collect();
    // A text that has the model's own mask is taken as it is.
    assert_eq!(counts, [1, 1]);
    let e = p.done(&format!("fill {FIXTURES}/bert 'The [MASK] sat.' --targets the supercalifragilistic --json"));
    assert!(e.stderr.starts_with("note: --targets: \"supercalifragilistic\" is no single token"), "{}", e.stderr);
    assert_eq!(e.json()[0]["masks"][0].as_array().unwrap().len(), 2);
    p.write("t.txt", "a [MASK]\nno mask\n");
    fails(&p, "fill", "bert", "--data t.txt", 1, {
        "t.txt:2 has no [MASK]: \"no mask\"\nhint: write [MASK] where a word is to be guessed"
    });
    fails(&p, "fill", "bert-qa", "[MASK]", 1, {
        "/bert-qa: `BertForQuestionAnswering` cannot fill\nhint: `bedstone answer` serves this model"
    });
    fails(&p, "fill", "bert", "a --top 0", 2, "invalid value '0' for '--top <K>': 0 is not in 1..=4294967295");
    fails(&p, "fill", "bert", "", 2, "no texts: give some, or files with --data");
}

#[test]
fn classify() {
    let p = Place::new();
    check(&p, "classify", "bert-seqcls", "'A fine film.' 'No.'", CLASSIFIED, "");
    let e = p.done(&format!("classify {FIXTURES}/bert-seqcls a b --pair --top 3 --json"));
    assert_eq!(keys(&e.json()[0]), ["text", "labels", "pair"]);
    assert_eq!(e.json()[0]["labels"].as_array().unwrap().len(), 3);
    p.write("pairs.txt", "one\ttwo\nthree\n");
    fails(&p, "classify", "bert-seqcls", "--pair --data pairs.txt", 1, {
        "pairs.txt:2: no tab, wanted two texts with a tab between them"
    });
    // Tables with two texts, by their names or as the only two columns.
    p.write("pairs.csv", "sentence1,sentence2,label\nA cat.,A dog.,1\n");
    p.write("plain.tsv", "A cat that sat on a mat.\tA dog.\n");
    p.write("short.tsv", "A cat.\tA dog.\n");
    p.write("word.tsv", "A cat that sat on a mat.\tdog\n");
    let pairs = p.done(&format!("classify {FIXTURES}/bert-seqcls --pair --data pairs.csv plain.tsv --json")).json();
    assert_eq!((&pairs[0]["pair"], &pairs[1]["pair"]), (&"A dog.".into(), &"A dog.".into()));
    for (file, pair) in [("short.tsv", "A dog."), ("word.tsv", "dog")] {
        let e = p.done(&format!("classify {FIXTURES}/bert-seqcls --pair --data {file} --json"));
        assert_eq!(e.json()[0]["pair"], pair);
    }
    fails(&p, "classify", "bert-seqcls", "--pair --data pairs.csv --field sentence1", 2, {
        "--field sentence1: has no use with --pair for pairs.csv, whose two texts have names"
    });
    p.write("single.tsv", "text\tlabel\nA cat.\t1\n");
    fails(&p, "classify", "bert-seqcls", "--pair --data single.tsv", 1, {
        "single.tsv:2: no second text\nhint: --pair wants columns such as sentence1 and sentence2, or two without names"
    });
    let named = p.done(&format!("classify {FIXTURES}/bert-seqcls single.tsv"));
    assert_eq!(named.stderr, "note: `single.tsv` is a text here, not the file of that name\n");
    fails(&p, "classify", "bert-seqcls", "a b c --pair", 2, "--pair: got 3 texts, wanted them in twos");
    fails(&p, "classify", "bert-seqcls", "a ''", 1, "text 2 is empty");
    let long = p.done(&format!("classify {FIXTURES}/bert-seqcls '{}'", "a cat ".repeat(30)));
    assert_eq!(long.stderr, "note: cut to 40 tokens: text 1\n");
    // Without names classes have numbers, and several labels may hold.
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        p.write(&format!("m/{file}"), std::fs::read(format!("{FIXTURES}/bert-seqcls/{file}")).unwrap());
    }
    let mut config: serde_json::Value = serde_json::from_str(&p.text("m/config.json")).unwrap();
    config["problem_type"] = "multi_label_classification".into();
    config["num_labels"] = 3.into();
    config.as_object_mut().unwrap().remove("id2label");
    p.write("m/config.json", config.to_string());
    let e = p.done("classify m a --json");
    assert_eq!(e.stderr, "note: m/config.json: no names of classes in `id2label`: they are numbered\n");
    let labels = e.json()[0]["labels"].as_array().unwrap().clone();
    assert_eq!(labels.len(), 3);
    assert!(labels.iter().all(|l| l["label"].as_str().unwrap().starts_with("LABEL_")));
}

#[test]
fn tag() {
    let p = Place::new();
    check(&p, "tag", "bert-tokencls", "'The quick brown fox.' --aggregation first", TAGGED, "");
    let e = p.done(&format!("tag {FIXTURES}/bert-tokencls 'A fox.' --aggregation none --json"));
    assert_eq!(keys(&e.json()[0]), ["text", "entities"]);
    assert_eq!(keys(&e.json()[0]["entities"][0]), ["label", "score", "word", "start", "end", "index"]);
    let few = p.done(&format!("tag {FIXTURES}/bert-tokencls 'A fox.' --ignore 0 1 2 3 4"));
    assert_eq!(few.stdout, "");
    fails(&p, "tag", "bert-tokencls", "' '", 1, "text 1 is empty");
    fails(&p, "tag", "bert-tokencls", &format!("'{}' --stride 38", "a cat ".repeat(30)), 1, {
        "windows of 40 tokens leave 38 for the text beside 2 special tokens and 0 of the other text, want more than the \
         stride of 38\nhint: give a larger length or a smaller stride, or let the longer text be cut"
    });
    fails(&p, "tag", "bert-seqcls", "a", 1, {
        "/bert-seqcls: `BertForSequenceClassification` cannot tag\nhint: `bedstone classify` serves this model; `bedstone \
         finetune --task tag` makes one of it that can"
    });
}

#[test]
fn answer() {
    let p = Place::new();
    p.write("c.txt", "Ada lives in London.");
    p.write("q.txt", "Who?\nWhere?\n");
    p.write("both.txt", "Who?\tAda lives in London.\n");
    check(&p, "answer", "bert-qa", "--question Who? --context-file c.txt --top 2", ANSWERED, "");
    let e = p.done(&format!("answer {FIXTURES}/bert-qa --data q.txt --context-file c.txt --json --unanswerable"));
    assert_eq!(e.json().len(), 2);
    assert_eq!(keys(&e.json()[0]), ["question", "answers", "null_score"]);
    let e = p.done(&format!("answer {FIXTURES}/bert-qa --data both.txt --json"));
    assert_eq!(keys(&e.json()[0]), ["question", "answers"]);
    let text = e.json()[0]["answers"][0]["answer"].as_str().unwrap().to_owned();
    assert!("Ada lives in London.".contains(&text) && !text.is_empty(), "{text}");
    let none = p.done(&format!("answer {FIXTURES}/bert-qa --data both.txt --json --unanswerable -100"));
    assert_eq!(none.json()[0]["answers"][0]["answer"], "");
    fails(&p, "answer", "bert-qa", "--question Who?", 2, {
        "--question \"Who?\": no text, wanted --context or --context-file"
    });
    fails(&p, "answer", "bert-qa", "", 2, "no questions: give --question, or files with --data");
    fails(&p, "answer", "bert-qa", "--question Who? --context ' '", 1, "question 1: the context is empty");
    fails(&p, "answer", "bert-qa", "--question '' --context x", 1, "question 1 is empty");
    fails(&p, "answer", "bert", "--question a --context b", 1, {
        "/bert: `BertForPreTraining` cannot answer\nhint: `bedstone fill` serves this model; `bedstone finetune --task answer` \
         makes one of it that can"
    });
}

const FILLED: &str = "0.3428\tε\tthe ε sat.\n0.0893\t##le\tthele sat.\n";
const CLASSIFIED: &str = "label-1 0.4439\tA fine film.\nlabel-1 0.5656\tNo.\n";
const TAGGED: &str = "0..20\t4\t0.6865\tthe quick brown fox.\n";
const ANSWERED: &str = "0.1427\t0..19\tAda lives in London\n0.0731\t0..9\tAda lives\n";
