//! Labelled files of every form, and every way they can be wrong.

use super::*;
use proptest::prelude::*;
use std::{fs, io::Write};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The message without the folder, with the hint.
    fn said(&self, error: &Error) -> String {
        let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("{error}{hint}").replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Examples as lines `place | text | pair | label`, or the message.
fn show_texts(name: &str, content: &[u8], options: &TextOptions) -> String {
    let folder = Folder::new();
    match read_texts(folder.write(name, content), options) {
        Err(e) => folder.said(&e),
        Ok(examples) => {
            let line = |e: &TextExample| {
                let label = match &e.label {
                    Label::None => "-".into(),
                    Label::One(class) => class.clone(),
                    Label::Many(classes) => format!("{classes:?}"),
                    Label::Number(number) => format!("{number:?}"),
                };
                let pair = e.pair.as_ref().map(|pair| format!(" | {pair}")).unwrap_or_default();
                format!("{} | {}{pair} | {label}", e.place.record, e.text)
            };
            examples.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

#[track_caller]
fn check_texts(name: &str, content: &str, options: &TextOptions, want: &str) {
    assert_eq!(show_texts(name, content.as_bytes(), options), want, "{content}");
}

#[track_caller]
fn check_wrong(name: &str, content: &str, options: &TextOptions, want: &str) {
    let got = show_texts(name, content.as_bytes(), options);
    assert!(got.contains(want), "got  {got}\nwant {want}");
}

fn options() -> TextOptions {
    TextOptions::default()
}

fn named(text: &str, pair: Option<&str>, label: &str) -> TextOptions {
    TextOptions {
        text: Some(text.into()),
        pair: pair.map(str::to_owned),
        label: Some(label.into()),
        ..TextOptions::default()
    }
}

fn form(form: LabelForm) -> TextOptions {
    TextOptions { form, ..TextOptions::default() }
}

fn unlabelled() -> TextOptions {
    TextOptions { unlabelled: Unlabelled::Allowed, ..TextOptions::default() }
}

#[test]
fn tables_with_a_header() {
    check_texts("a.tsv", "text\tlabel\na \"b\tpos\nc d\t neg \n", &options(), "2 | a \"b | pos\n3 | c d | neg");
    check_texts("a.csv", "label,Text\n1,\"a, \"\"b\"\"\"\n0,c", &options(), "2 | a, \"b\" | 1\n3 | c | 0");
    let pairs = "idx,sentence1,sentence2,score\n0,a b,c,4.5\n\n1,d,e,-1\n";
    check_texts("a.csv", pairs, &form(LabelForm::Number), "2 | a b | c | 4.5\n4 | d | e | -1.0");
    check_texts("a.tsv", "question\tsentence\tlabel\nq\ts\tyes\n", &options(), "2 | q | s | yes");
    check_texts(
        "a.tsv",
        "text\tlabel\na\tx, y\nb\tz\n",
        &form(LabelForm::Many),
        "2 | a | [\"x\", \"y\"]\n3 | b | [\"z\"]",
    );
    check_texts("a.tsv", "a\tb\tc\none\ttwo\tthree\n", &named("c", Some("a"), "b"), "2 | three | one | two");
    check_texts("a.tsv", "\u{feff}text\tlabel\r\na\tb\r\n", &options(), "2 | a | b");
    check_texts("a.tsv", "text\nhello\n", &unlabelled(), "2 | hello | -");
    check_texts("a.tsv", "text\tlabel\nhello\t\n", &unlabelled(), "2 | hello | -");
}

#[test]
fn quoted_cells_of_several_lines() {
    let text = "text,label\r\n\"one\r\ntwo\",a\r\n\r\nx,b\r\n\"\",c";
    check_wrong("a.csv", text, &options(), "a.csv:6: field \"text\" is empty");
    let text = text.replace("\"\",c", "y,c");
    check_texts("a.csv", &text, &options(), "2 | one\ntwo | a\n5 | x | b\n6 | y | c");
    check_wrong("a.csv", "text,label\na,b\n\"c,d\ne,f\n", &options(), "a.csv:3: a quoted field begins here and never");
}

#[test]
fn tables_without_a_header() {
    let two = "pos\tthis is a good film\nneg\tbad\n";
    check_texts("a.tsv", two, &options(), "1 | this is a good film | pos\n2 | bad | neg");
    check_texts("a.tsv", "this is a good film\tpos\n", &options(), "1 | this is a good film | pos");
    // Columns that are named by number are columns without names.
    check_texts("a.tsv", "good film\tpos\nbad\tneg\n", &named("1", None, "2"), "1 | good film | pos\n2 | bad | neg");
    let absent = TextOptions { header: Header::Absent, ..options() };
    check_texts("a.tsv", "a b\tx\nc\ty", &absent, "1 | a b | x\n2 | c | y");
    check_texts("a.tsv", "a b\tx\nc\ty", &TextOptions { header: Header::Absent, ..named("2", Some("1"), "1") }, {
        "1 | x | a b | a b\n2 | y | c | c"
    });
    check_wrong("a.tsv", "comment\trating\nthis is a good film\t5\n", &options(), {
        "a.tsv:1: cannot tell whether this line is a header: comment, rating\nhint: name the columns"
    });
    check_wrong("a.tsv", "this is a good film\tvery good\n", &options(), "a.tsv:1: cannot tell which of 2 columns");
    check_wrong("a.tsv", "x\tthis is a good film\ty\n", &options(), "a.tsv:1: cannot tell which of 3 columns");
    check_wrong("a.tsv", "this is a good film\n", &options(), "a.tsv:1: no column for the label; there are 1");
    check_wrong(
        "a.tsv",
        "a\tb\nc\td\n",
        &absent,
        "cannot tell which of 2 columns without names holds the label\nhint:",
    );
}

#[test]
fn json_rows() {
    let rows = r#"{"text": "a", "label": "x", "more": {}}

{"label": 1, "text": "b"}
{"text": "c", "label": true}"#;
    check_texts("a.jsonl", rows, &options(), "1 | a | x\n3 | b | 1\n4 | c | true");
    check_texts("a.jsonl", r#"{"text": "a", "label": 0.5}"#, &options(), "1 | a | 0.5");
    check_texts("a.ndjson", r#"{"text": "a", "label": 3}"#, &form(LabelForm::Number), "1 | a | 3.0");
    check_texts("a.jsonl", r#"{"text": "a", "labels": ["x", 2]}"#, &options(), "1 | a | [\"x\", \"2\"]");
    check_texts("a.jsonl", r#"{"text": "a", "labels": []}"#, &options(), "1 | a | []");
    check_texts("a.jsonl", r#"{"text": "a", "label": "x,y"}"#, &form(LabelForm::Many), "1 | a | [\"x,y\"]");
    check_texts("a.jsonl", r#"{"premise": "a", "hypothesis": "b", "label": null}"#, &unlabelled(), "1 | a | b | -");
    check_texts("a.jsonl", r#"{"body": "a", "y": "b"}"#, &named("body", None, "y"), "1 | a | b");
}

#[test]
fn packed_files() {
    let content = b"text\tlabel\na\tb\n";
    assert_eq!(show_texts("a.tsv.gz", &gzip(content), &options()), "2 | a | b");
    assert_eq!(show_texts("a.TSV.zst", &zstd::encode_all(&content[..], 1).unwrap(), &options()), "2 | a | b");
    let long = gzip(&b"text\tlabel\n".iter().copied().chain(b"some text\tx\n".repeat(900)).collect::<Vec<_>>());
    let got = show_texts("a.tsv.gz", &long[..long.len() / 2], &options());
    assert!(got.starts_with("a.tsv.gz: cannot be read"), "{got}");
}

#[test]
fn wrong_tables() {
    let o = options();
    check_wrong(
        "a.tsv",
        "text\tlabel\na\tb\nc\n",
        &o,
        "a.tsv:3: 1 columns, want 2 as in line 1\nhint: are the columns",
    );
    check_wrong("a.tsv", "text\tlabel\na\tb\tc\n", &o, "a.tsv:2: 3 columns, want 2 as in line 1\nhint: a tab inside");
    check_wrong(
        "a.csv",
        "text,label\na,b,c\n",
        &o,
        "a.csv:2: 3 columns, want 2 as in line 1\nhint: a text that holds a",
    );
    check_wrong("a.tsv", "text\tlabel\na\t\n", &o, "a.tsv:2: the label is missing: field \"label\" is empty\nhint:");
    check_wrong("a.tsv", "text\tlabel\n \tb\n", &o, "a.tsv:2: field \"text\" is empty");
    check_wrong("a.tsv", "text\tpair\tlabel\na\t\tb\n", &o, "a.tsv:2: field \"pair\" is empty");
    check_wrong(
        "a.tsv",
        "text\tidx\na\t1\n",
        &o,
        "a.tsv:2: no column for the label; there are text, idx\nhint: found by",
    );
    check_wrong("a.tsv", "body\tlabel\na\t1\n", &o, {
        "a.tsv:2: no column for the text; there are body, label\nhint: found by themselves are text, sentence1"
    });
    check_wrong(
        "a.tsv",
        "text\tlabel\na\t1\n",
        &named("body", None, "label"),
        "no column \"body\" for the text; there are text, la",
    );
    check_wrong("a.tsv", "text\tlabel\ttext\na\t1\tb\n", &o, "a.tsv:1: two columns are named \"text\"");
    let number = form(LabelForm::Number);
    check_wrong("a.tsv", "text\tlabel\na\tbad\n", &number, "a.tsv:2: field \"label\" is \"bad\", want a finite number");
    check_wrong("a.tsv", "text\tlabel\na\tNaN\n", &number, "a.tsv:2: field \"label\" is \"NaN\", want a finite number");
    check_wrong("a.tsv", "text\tlabel\na\tx,,y\n", &form(LabelForm::Many), "a.tsv:2: field \"label\" is empty");
    check_wrong("a.tsv", "text\tlabel\n", &o, "a.tsv: is empty");
    check_wrong("a.tsv", "\n", &o, "a.tsv: is empty");
    check_wrong("a.parquet", "PAR1", &o, "a.parquet: unknown extension, want .tsv, .csv or .jsonl");
    check_wrong("a.json", "[]", &o, "name the file .jsonl");
    let latin = show_texts("a.tsv", b"text\tlabel\ngood\t1\ncaf\xe9\t1\n", &o);
    assert!(latin.starts_with("a.tsv:3: not UTF-8 at byte 21: 0xe9"), "{latin}");
    let missing = read_texts("no/such.tsv", &o).unwrap_err().to_string();
    assert_eq!(missing, "no/such.tsv: no such file or directory");
}

#[test]
fn wrong_rows() {
    let o = options();
    let rows = |second: &str| format!("{{\"text\": \"a\", \"label\": \"x\"}}\n{second}\n");
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": \"b\""),
        &o,
        "a.jsonl:2: not a JSON object: EOF while parsing an object at col",
    );
    check_wrong("a.jsonl", &rows("[1]"), &o, "a.jsonl:2: a list, want a JSON object");
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": 3, \"label\": \"x\"}"),
        &o,
        "a.jsonl:2: field \"text\" is a number, want a str",
    );
    check_wrong("a.jsonl", &rows("{\"text\": null, \"label\": \"x\"}"), &o, "a.jsonl:2: field \"text\" is empty");
    check_wrong(
        "a.jsonl",
        &rows("{\"label\": \"x\"}"),
        &o,
        "a.jsonl:2: field \"text\" is missing, unlike in the first",
    );
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": \"b\"}"),
        &o,
        "a.jsonl:2: field \"label\" is missing, unlike in the first",
    );
    check_wrong("a.jsonl", &rows("{\"text\": \"b\", \"label\": null}"), &o, "a.jsonl:2: the label is missing");
    check_wrong("a.jsonl", &rows("{\"text\": \"b\", \"label\": \"\"}"), &o, "a.jsonl:2: the label is missing");
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": \"b\", \"label\": {}}"),
        &o,
        "a.jsonl:2: field \"label\" is an object, want",
    );
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": \"b\", \"label\": [[]]}"),
        &o,
        "a.jsonl:2: field \"label\" is a list, want",
    );
    check_wrong(
        "a.jsonl",
        &rows("{\"text\": \"b\", \"label\": [\"\"]}"),
        &o,
        "a.jsonl:2: field \"label\" is a string, want",
    );
    check_wrong("a.jsonl", &rows("{\"text\": \"b\", \"text_pair\": \"c\", \"label\": \"x\"}"), &o, {
        "a.jsonl:2: field \"text_pair\" is there, unlike in the first record"
    });
    let one = form(LabelForm::One);
    check_wrong(
        "a.jsonl",
        "{\"text\": \"a\", \"label\": 0.5}",
        &one,
        "field \"label\" is a number with a fraction, want",
    );
    check_wrong(
        "a.jsonl",
        "{\"text\": \"a\", \"label\": [\"b\"]}",
        &one,
        "field \"label\" is a list, want a string or",
    );
    let number = form(LabelForm::Number);
    check_wrong(
        "a.jsonl",
        "{\"text\": \"a\", \"label\": \"b\"}",
        &number,
        "field \"label\" is a string, want a number",
    );
    check_wrong("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"a\", \"label\": 1}", &unlabelled(), {
        "a.jsonl:2: field \"label\" is there, unlike in the first record"
    });
}

/// Sentences as lines `place | word/tag …`, or the message.
#[track_caller]
fn check_tags(name: &str, content: &str, options: &TagOptions, want: &str) {
    let folder = Folder::new();
    let got = match read_tags(folder.write(name, content.as_bytes()), options) {
        Err(e) => folder.said(&e),
        Ok(examples) => {
            let line = |e: &TagExample| {
                let tags = e.tags.iter().map(String::as_str).chain(std::iter::repeat("-"));
                let words: Vec<String> = e.words.iter().zip(tags).map(|(word, tag)| format!("{word}/{tag}")).collect();
                format!("{} | {}", e.place.record, words.join(" "))
            };
            examples.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    assert_eq!(got, want, "{content}");
}

#[test]
fn words_with_tags() {
    let o = TagOptions::default();
    let conll = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects  VBZ B-VP O\r\n\n\nPeter NNP B-NP B-PER\n";
    check_tags("a.conll", conll, &o, "3 | EU/B-ORG rejects/O\n7 | Peter/B-PER");
    check_tags(
        "a.txt",
        conll,
        &TagOptions { tags: Some("2".into()), ..o.clone() },
        "3 | EU/NNP rejects/VBZ\n7 | Peter/NNP",
    );
    check_tags("a.tsv", "New York\tB-LOC\n!\tO\n \t\nx\tO", &o, "1 | New York/B-LOC !/O\n4 | x/O");
    let unlabelled = TagOptions { unlabelled: Unlabelled::Allowed, ..o.clone() };
    check_tags("a.bio", "one\ntwo\n\nthree", &unlabelled, "1 | one/- two/-\n4 | three/-");
    check_tags("a.jsonl", r#"{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}"#, &o, "1 | a/O b/B-X");
    check_tags("a.jsonl", r#"{"tokens": ["a", "b"]}"#, &unlabelled, "1 | a/- b/-");
}

#[test]
fn wrong_tags() {
    let o = TagOptions::default();
    check_tags("a.conll", "a O\nb\n", &o, {
        "a.conll:2: 1 columns, want 2 as in line 1\nhint: are the columns separated as the extension says?"
    });
    check_tags("a.conll", "a\tO\nb\t\n", &o, "a.conll:2: field \"2\" is empty");
    check_tags("a.conll", "a\nb\n", &o, "a.conll:1: no column for the tags; there are 1");
    check_tags("a.conll", "a O\n", &TagOptions { tags: Some("3".into()), ..o.clone() }, {
        "a.conll:1: no column for the tags; there are 1, 2"
    });
    check_tags("a.conll", "a O\n", &TagOptions { words: Some("word".into()), ..o.clone() }, {
        "a.conll:1: no column for the words; there are numbers from 1, not \"word\""
    });
    check_tags("a.conll", "\n-DOCSTART-\n", &o, "a.conll: is empty");
    check_tags("a.jsonl", r#"{"tokens": ["a", "b"], "tags": ["O"]}"#, &o, "a.jsonl:1: 1 tags for 2 words");
    check_tags("a.jsonl", r#"{"tokens": ["a"], "tags": [1]}"#, &o, {
        "a.jsonl:1: field \"tags\" is a list with a number, want a list of strings"
    });
    check_tags("a.jsonl", r#"{"tokens": [], "tags": []}"#, &o, "a.jsonl:1: field \"tokens\" is empty");
    check_tags("a.jsonl", r#"{"tokens": ["a"]}"#, &o, {
        "a.jsonl:1: no column for the tags; there are tokens\nhint: found by themselves are tags, ner_tags, labels, \
         pos_tags; name another column"
    });
    let folder = Folder::new();
    let examples = read_tags(folder.write("a.bio", b"a B-X\nb I-X\n\nc O\nd I-Y\n\ne I-X\nf B-Z"), &o).unwrap();
    assert_eq!(folder.said(&check_scheme(&examples).unwrap_err()), {
        "a.bio:4: tag 2 is \"I-Y\": I- without a B- or I- of Y before it\nhint: the schemes are IOB1, IOB2 (BIO), IOBES \
         and BILOU"
    });
    assert_eq!(check_scheme(&examples[..1]).unwrap(), Some(Scheme::Iob2));
}

/// Questions as lines `place | id | context | question | answers`, or the message.
fn show_answers(name: &str, content: &str, options: AnswerOptions) -> String {
    let folder = Folder::new();
    match read_answers(folder.write(name, content.as_bytes()), &options) {
        Err(e) => folder.said(&e),
        Ok(examples) => {
            let line = |e: &AnswerExample| {
                let answers: Vec<String> = e.answers.iter().map(|a| format!("{}@{}", a.text, a.start)).collect();
                let none = if e.impossible { "impossible" } else { "-" };
                let answers = if answers.is_empty() { none.into() } else { answers.join(", ") };
                format!("{} | {} | {} | {} | {answers}", e.place, e.id, e.context, e.question)
                    .replace(&format!("{}/", folder.0.path().display()), "")
            };
            examples.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    }
}

#[track_caller]
fn check_answers(name: &str, content: &str, options: AnswerOptions, want: &str) {
    assert_eq!(show_answers(name, content, options), want, "{content}");
}

#[track_caller]
fn check_wrong_answers(name: &str, content: &str, want: &str) {
    let got = show_answers(name, content, AnswerOptions::default());
    assert!(got.contains(want), "got  {got}\nwant {want}");
}

fn squad(qas: &str) -> String {
    format!(
        "{{\"version\": \"v2.0\", \"data\": [{{\"paragraphs\": [{{\"context\": \"Ein Käse.\", \"qas\": [{qas}]}}]}}]}}"
    )
}

#[test]
fn questions_with_answers() {
    let o = AnswerOptions::default();
    let one = r#"{"id": "a", "question": "Was?", "answers": [{"text": "Käse", "answer_start": 4}, {"text": "Ein Käse", "answer_start": 0}]}"#;
    let two = r#"{"id": "b", "question": "Wo?", "answers": [], "is_impossible": true, "plausible_answers": []}"#;
    check_answers("a.json", &squad(&format!("{one}, {two}")), o, {
        "a.json, record 1 | a | Ein Käse. | Was? | Käse@4, Ein Käse@0\na.json, record 2 | b | Ein Käse. | Wo? | impossible"
    });
    let rows = r#"{"context": "ab c", "question": "q", "answers": {"text": ["c"], "answer_start": [3]}}
{"id": "x", "context": "ab c", "question": "q", "answers": {"text": [], "answer_start": []}}
{"context": "ab c", "question": "q", "answers": [{"text": "ab", "answer_start": 0}]}"#;
    check_answers("a.jsonl", rows, o, {
        "a.jsonl:1 | 1 | ab c | q | c@3\na.jsonl:2 | x | ab c | q | impossible\na.jsonl:3 | 3 | ab c | q | ab@0"
    });
    let allowed = AnswerOptions { unlabelled: Unlabelled::Allowed };
    check_answers("a.jsonl", r#"{"context": "ab c", "question": "q"}"#, allowed, "a.jsonl:1 | 1 | ab c | q | -");
    check_answers("a.json", &squad(r#"{"id": "a", "question": "Was?"}"#), allowed, {
        "a.json, record 1 | a | Ein Käse. | Was? | -"
    });
}

#[test]
fn wrong_answers() {
    let qa = |answers: &str| squad(&format!("{{\"id\": \"a\", \"question\": \"q\", {answers}}}"));
    check_wrong_answers("a.json", &qa(r#""answers": [{"text": "Käse", "answer_start": 5}]"#), {
        "a.json, record 1 (id \"a\"): answer \"Käse\" is not at character 5, where the context has \"äse.\"\nhint: it is at \
         character 4; positions count"
    });
    check_wrong_answers("a.json", &qa(r#""answers": [{"text": "Brot", "answer_start": 99}]"#), {
        "where the context has \"\"\nhint: the context does not hold this text at all"
    });
    check_wrong_answers("a.json", &qa(r#""answers": [{"text": "Käse", "answer_start": -1}]"#), {
        "a.json:1: not JSON of the form of SQuAD: data[0].paragraphs[0].qas[0].answers[0].answer_start: invalid value"
    });
    check_wrong_answers("a.json", &qa(r#""answers": [{"text": "Käse", "answer_start": 4}], "is_impossible": true"#), {
        "a.json, record 1 (id \"a\"): is_impossible is true, but there are answers"
    });
    check_wrong_answers("a.json", &qa(r#""answers": [], "is_impossible": false"#), "but there are no answers");
    check_wrong_answers(
        "a.json",
        &qa(r#""is_impossible": false"#),
        "a.json, record 1: the label is missing: field \"answers\"",
    );
    check_wrong_answers("a.json", &squad("{\"id\": \"a\", \"question\": \" \", \"answers\": []}"), {
        "a.json, record 1: field \"question\" is empty"
    });
    let same = r#"{"id": "a", "question": "q", "answers": []}, {"id": "a", "question": "r", "answers": []}"#;
    check_wrong_answers("a.json", &squad(same), "record 2: id \"a\" is taken by a.json, record 1");
    check_wrong_answers(
        "a.json",
        "{\"data\": [",
        "a.json:1: not JSON of the form of SQuAD: data: EOF while parsing a list at column 10",
    );
    check_wrong_answers("a.json", "{\"data\": []} x", "a.json:1: not JSON of the form of SQuAD: trailing characters");
    check_wrong_answers("a.json", "{\"data\": []}", "a.json: is empty");
    check_wrong_answers("a.json", "", "a.json: is empty");
    check_wrong_answers("a.tsv", "", "a.tsv: unknown extension, want .json (SQuAD) or .jsonl");
    let row = |answers: &str| format!("{{\"context\": \"ab\", \"question\": \"q\", \"answers\": {answers}}}");
    check_wrong_answers("a.jsonl", &row("null"), "a.jsonl:1: the label is missing");
    check_wrong_answers("a.jsonl", &row("{\"text\": [\"a\"], \"answer_start\": []}"), {
        "a.jsonl:1: field \"answers\" is an object of another form, want"
    });
    check_wrong_answers("a.jsonl", &row("3"), "a.jsonl:1: field \"answers\" is a number, want");
}

/// Pairs as lines `anchor | positive | negative | score`, or the message.
#[track_caller]
fn check_pairs(name: &str, content: &str, options: &PairOptions, want: &str) {
    let folder = Folder::new();
    let got = match read_pairs(folder.write(name, content.as_bytes()), options) {
        Err(e) => folder.said(&e),
        Ok(examples) => {
            let line = |e: &PairExample| {
                let negative = e.negative.as_ref().map(|n| format!(" | {n}")).unwrap_or_default();
                let score = e.score.map(|n| format!(" | {n:?}")).unwrap_or_default();
                format!("{} | {} | {}{negative}{score}", e.place.record, e.anchor, e.positive)
            };
            examples.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    assert_eq!(got, want, "{content}");
}

#[test]
fn pairs_and_triplets() {
    let o = PairOptions::default();
    check_pairs("a.tsv", "anchor\tpositive\na b\tc\n", &o, "2 | a b | c");
    check_pairs("a.tsv", "anchor\tpositive\tnegative\na b\tc\td\n", &o, "2 | a b | c | d");
    check_pairs("a.csv", "sentence1,sentence2,score\na,\"b, c\",0.5\n", &o, "2 | a | b, c | 0.5");
    check_pairs("a.jsonl", r#"{"query": "a", "positive": "b"}"#, &o, "1 | a | b");
    check_pairs("a.tsv", "a b c d\te f\tg h\n", &o, "1 | a b c d | e f | g h");
    check_pairs("a.tsv", "a b c d\te f\t3\ng\th\t4.5\n", &o, "1 | a b c d | e f | 3.0\n2 | g | h | 4.5");
    let asked = PairOptions { anchor: Some("x".into()), positive: Some("y".into()), ..o };
    check_pairs("a.tsv", "y\tx\ta\n1\t2\t3\n", &asked, "2 | 2 | 1");
}

#[test]
fn wrong_pairs() {
    let o = PairOptions::default();
    check_pairs("a.tsv", "anchor\tpositive\na\t\n", &o, "a.tsv:2: field \"positive\" is empty");
    check_pairs("a.tsv", "anchor\tpositive\tscore\na\tb\thigh\n", &o, {
        "a.tsv:2: field \"score\" is \"high\", want a finite number"
    });
    check_pairs("a.tsv", "a b c d\te\tf\tg\n", &o, {
        "a.tsv:1: cannot tell which of 4 columns without names holds the anchor\nhint: name the columns; without a header \
         their names are their numbers, from 1, in quotes: \"1\""
    });
    check_pairs(
        "a.jsonl",
        "{\"anchor\": \"a\", \"positive\": \"b\"}\n{\"anchor\": \"a\", \"positive\": \"b\", \"score\": 1}",
        &o,
        "a.jsonl:2: field \"score\" is there, unlike in the first record",
    );
    let options = PairOptions { anchor: Some("x".into()), ..o };
    check_pairs("a.tsv", "anchor\tpositive\na\tb\n", &options, {
        "a.tsv:2: no column for the pair; there are anchor, positive\nhint: found by themselves are anchor with positive, \
         query with positive, sentence1 with sentence2, text1 with text2, question1 with question2, premise with \
         hypothesis, question with answer, query with answer, text with text_pair, text with pair; name another column"
    });
}

fn texts(name: &str, content: &str, options: &TextOptions) -> (Folder, Vec<TextExample>) {
    let folder = Folder::new();
    let examples = read_texts(folder.write(name, content.as_bytes()), options).unwrap();
    (folder, examples)
}

#[track_caller]
fn check_labels(rows: &[&str], want: &str) {
    let rows: Vec<String> = rows.iter().map(|label| format!("{{\"text\": \"a\", \"label\": {label}}}")).collect();
    let (folder, examples) = texts("a.jsonl", &rows.join("\n"), &unlabelled());
    let got = Labels::of_texts(&examples).map_or_else(|e| folder.said(&e), |labels| labels.names().join(" "));
    assert_eq!(got, want, "{rows:?}");
}

#[test]
fn labels_in_order() {
    check_labels(&["\"b\"", "\"a\"", "\"B\"", "\"b\""], "B a b");
    check_labels(&["10", "9", "-1", "9"], "-1 9 10");
    check_labels(&["10", "\"9\"", "\"x\""], "10 9 x");
    check_labels(&["[\"b\", \"a\"]", "[]", "[\"c\"]"], "a b c");
    check_labels(&["true", "false"], "false true");
    check_labels(&["1", "1"], {
        "a.jsonl: all 2 labels are \"1\", want two or more\nhint: there is nothing to tell apart; is the right column read?"
    });
    check_labels(&["1", "0.5"], {
        "a.jsonl:2: the label is a number, at a.jsonl:1 it is a class\nhint: write all labels in one form"
    });
    check_labels(&["\"a\"", "[\"a\"]"], {
        "a.jsonl:2: the label is a list, at a.jsonl:1 it is a class\nhint: write all labels in one form"
    });
    check_labels(&["0.5", "0.25"], {
        "a.jsonl:1: the label is a number, want a class\nhint: to predict numbers, regress; classes are strings or whole \
         numbers"
    });
    check_labels(&["\"a\"", "null"], "a.jsonl:2: the label is missing, want a class");
    assert_eq!(Labels::of_texts(&[]).unwrap_err().to_string(), "no labelled records were given");
}

#[test]
fn numbers_of_labels() {
    let (folder, train) = texts("train.tsv", "text\tlabel\na\tpos\nb\tneg\n", &options());
    let labels = Labels::of_texts(&train).unwrap();
    assert_eq!((labels.len(), labels.name(1), labels.id("neg"), labels.id("x")), (2, Some("pos"), Some(0), None));
    assert_eq!(train.iter().map(|e| labels.class(e).unwrap()).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(folder.said(&numbers(&train).unwrap_err()), {
        "train.tsv:2: the label is a class, want a number\nhint: to predict classes, classify"
    });
    let (folder, eval) = texts("eval.tsv", "text\tlabel\na\tneutral\n", &options());
    assert_eq!(folder.said(&labels.class(&eval[0]).unwrap_err()), {
        "eval.tsv:2: unknown label \"neutral\"; known are neg, pos\nhint: the labels are those of the training data"
    });
    let (_folder, many) = texts("many.tsv", "text\tlabel\na\tpos,neg,pos\n", &form(LabelForm::Many));
    assert_eq!(labels.classes(&many[0]).unwrap(), [0, 1]);
    assert_eq!(labels.class(&many[0]).unwrap_err().hint().unwrap(), "this task takes one label a record");
    let (_folder, scores) = texts("scores.tsv", "text\tlabel\na\t1\nb\t2.5\n", &form(LabelForm::Number));
    assert_eq!(numbers(&scores).unwrap(), [1.0, 2.5]);
    let twice = Labels::new(vec!["a".into(), "b".into(), "a".into()]).unwrap_err().to_string();
    assert_eq!(twice, "labels: \"a\" is the name of 0 and of 2");
    let folder = Folder::new();
    let tags = read_tags(folder.write("a.bio", b"x B-PER\ny O\n"), &TagOptions::default()).unwrap();
    let labels = Labels::of_tags(&tags).unwrap();
    assert_eq!((labels.names().join(" "), labels.tags(&tags[0]).unwrap()), ("B-PER O".into(), vec![0, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a CSV writer writes comes back, with the line ends of texts as `\n`.
    #[test]
    fn csv_comes_back(texts in prop::collection::vec("[a-c,\"é\n ]{0,8}x", 1..12), windows: bool) {
        let end = if windows { "\r\n" } else { "\n" };
        let mut content = format!("text,label{end}");
        for (number, text) in texts.iter().enumerate() {
            content += &format!("\"{}\",{number}{end}", text.replace('"', "\"\"").replace('\n', end));
        }
        let folder = Folder::new();
        let got = read_texts(folder.write("a.csv", content.as_bytes()), &options()).unwrap();
        prop_assert_eq!(got.iter().map(|e| e.text.clone()).collect::<Vec<_>>(), texts.clone());
        let mut line = 2;
        for (example, text) in got.iter().zip(&texts) {
            prop_assert_eq!(example.place.record, line);
            line += 1 + text.matches('\n').count() as u64;
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 1..80), text in "[\\[\\]{}:,\"a\t\n]{1,60}") {
        let folder = Folder::new();
        for content in [&bytes[..], text.as_bytes()] {
            for name in ["x.tsv", "x.csv", "x.jsonl", "x.json", "x.conll", "x.tsv.gz", "x.json.zst"] {
                let path = folder.write(name, content);
                let errors = [
                    read_texts(&path, &TextOptions { header: Header::Absent, ..unlabelled() }).err(),
                    read_tags(&path, &TagOptions::default()).err(),
                    read_answers(&path, &AnswerOptions::default()).err(),
                    read_pairs(&path, &PairOptions::default()).err(),
                ];
                for error in errors.into_iter().flatten() {
                    prop_assert!(error.to_string().contains(name), "{}", error);
                }
            }
        }
    }
}
