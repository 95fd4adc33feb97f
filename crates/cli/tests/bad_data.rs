//! Text that cannot be read: named by file, line and byte, exit code 1, and nothing half written.

mod common;

use std::io::Write;

use common::Place;

/// Every command that reads text refuses this file in the same words.
#[track_caller]
fn check(name: &str, content: &[u8], want: &str) {
    let p = Place::new();
    p.write(name, content);
    p.fails(&format!("pretrain gpt --config tiny.toml --out run --data {name}"), 1, want);
    assert!(!p.path("run/training/latest").exists());
    p.fails(&format!("tokenizer train --out tok --data {name}"), 1, want);
    assert!(!p.path("tok").exists(), "nothing is half written");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn missing() {
    let p = Place::new();
    p.write("folder/other.md", "x");
    for (data, want) in [
        ("none.txt", "none.txt: no such file or directory"),
        ("folder", "folder: holds no .txt or .jsonl file, plain or as .gz or .zst; 1 other files"),
        ("'folder/*.txt'", "folder/*.txt: matches no file\nhint: put the pattern in quotes, or check the folder"),
        ("'none/*.txt'", "none/*.txt: matches no file\nhint: put the pattern in quotes, or check the folder"),
        ("folder/other.md", {
            "folder/other.md: unknown extension, want .txt or .jsonl, plain or with .gz or .zst\n\
             hint: if it is plain text, name it .txt"
        }),
    ] {
        p.fails(&format!("pretrain gpt --config tiny.toml --resume --out run --data {data}"), 1, want);
        p.fails(&format!("tokenizer train --out tok --data {data}"), 1, want);
    }
}

#[test]
fn empty() {
    check("a.txt", b"", "a.txt: is empty");
    check("a.jsonl", b"", "a.jsonl: is empty");
    check("a.jsonl", b"\n\n", "a.jsonl: is empty");
    check("a.txt.gz", &gzip(b""), "a.txt.gz: is empty");
    let p = Place::new();
    p.run_with("pretrain gpt --config tiny.toml --out run --data -", "").failed("--data -", 1, "-: is empty");
}

#[test]
fn not_text() {
    let binary = "\nhint: texts are UTF-8 (from UTF-16: iconv -f UTF-16 -t UTF-8), plain or compressed as their names say: .gz or .zst";
    check("a.txt", b"\x7fELF\x02\x01\x01\0\0\0\xff", &format!("a.txt:1: a binary file: NUL at byte 7{binary}"));
    check("a.txt", b"one\ntwo\0\n", &format!("a.txt:2: a binary file: NUL at byte 7{binary}"));
    check("a.jsonl", b"{\"text\": \"a\"}\n\0\0\n", &format!("a.jsonl:2: a binary file: NUL at byte 14{binary}"));
    let hint = "\nhint: convert the file to UTF-8: iconv -f LATIN1 -t UTF-8, if it is Latin-1";
    check("a.txt", b"Good\nna\xefve\n", &format!("a.txt:2: not UTF-8 at byte 7: 0xef{hint}"));
    check("a.txt", "Good\n数".as_bytes().split_last().unwrap().1, &format!("a.txt:2: not UTF-8 at byte 5: 0xe6{hint}"));
    check(
        "a.jsonl",
        b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n",
        &format!("a.jsonl:2: not UTF-8 at byte 24: 0xff{hint}"),
    );
    check("a.txt.gz", &gzip(b"Good\nna\xefve\n"), &format!("a.txt.gz:2: not UTF-8 at byte 7: 0xef{hint}"));
    check("a.txt", b"\xff\xfea\0b\0", &format!("a.txt:1: a binary file: NUL at byte 3{binary}"));
}

#[test]
fn rows() {
    let good = "{\"text\": \"a good row\"}\n";
    let row = |bad: &str| format!("{good}{good}{bad}\n{good}").into_bytes();
    check("a.jsonl", &row("{\"text\": "), "a.jsonl:3: not a JSON object: EOF while parsing a value at column 9");
    check("a.jsonl", &row("[1, 2]"), {
        "a.jsonl:3: not a JSON object: invalid type: sequence, expected an object with a string \"text\" at column 0"
    });
    check("a.jsonl", &row("{\"text\": \"a\"} x"), "a.jsonl:3: not a JSON object: trailing characters at column 15");
    check("a.jsonl", &row("{\"text\": 3}"), "a.jsonl:3: field \"text\" is a number, want a string");
    check("a.jsonl", &row("{\"text\": null}"), "a.jsonl:3: field \"text\" is null, want a string");
    check("a.jsonl", &row("{\"body\": \"x\", \"id\": 3}"), {
        "a.jsonl:3: no field \"text\"; the row has body, id\nhint: name the field that holds the text"
    });
    check("a.jsonl", &row("{}"), "a.jsonl:3: no field \"text\"; the row has none");
}

#[test]
fn another_field() {
    let p = Place::new();
    p.write("a.jsonl", "{\"body\": \"the cat and the dog and the mouse\"}\n".repeat(100));
    p.train("run", "--data a.jsonl --set data.field=body --set tokenizer.vocab_size=262 --steps 1");
    p.done("tokenizer train --data a.jsonl --field body --out tok");
    p.done("eval run --data a.jsonl --field body");
    p.fails("eval run --data a.jsonl", 1, {
        "a.jsonl:1: no field \"text\"; the row has body\nhint: name the field that holds the text"
    });
}

#[test]
fn broken_archives() {
    let text = b"Once upon a time there was a cat".repeat(50);
    let whole = gzip(&text);
    check("a.txt.gz", &whole[..whole.len() / 2], "a.txt.gz: cannot be read: incomplete deflate stream");
    check("a.txt.gz", b"no archive at all", "a.txt.gz: cannot be read: invalid gzip header");
    let whole = zstd::encode_all(&text[..], 1).unwrap();
    check("a.txt.zst", &whole[..whole.len() / 2], "a.txt.zst: cannot be read: incomplete frame");
}

#[test]
fn too_little_text() {
    let p = Place::new();
    p.write("a.txt", "Once upon a time there was a cat.");
    p.fails("pretrain gpt --config tiny.toml --out run --data a.txt", 1, {
        "the set has 29 tokens, want at least 33 for one window of 32\n\
         hint: give more text, or a sequence length of at most 28"
    });
    p.fails("pretrain gpt --config tiny.toml --out run2 --set tokenizer.vocab_size=100", 1, {
        "vocabulary of 100 is too small: special tokens and characters alone need 257\nhint: ask for at least 257"
    });
}

#[test]
fn standard_input_that_is_no_text() {
    let p = Place::new();
    p.train("run", "--steps 1");
    for line in ["generate run --prompt -", "tokenizer encode run", "tokenizer decode run"] {
        p.run_with(line, b"ab\xff").failed(
            line,
            1,
            "standard input:1: not UTF-8 at byte 2: 0xff\nhint: convert the file to UTF-8: iconv -f LATIN1 -t UTF-8, if it is Latin-1",
        );
    }
    let e = p.run_with("eval run --data -", b"ab\n\xff");
    assert!(e.code == Some(1) && e.error().starts_with("-:2: not UTF-8 at byte 3: 0xff"), "{}", e.stderr);
}

#[test]
fn a_failed_start_can_be_repeated() {
    let p = Place::new();
    for wrong in ["--set train.lrr=1", "--data none.txt", "--init none"] {
        assert_ne!(p.run(&format!("pretrain gpt --config tiny.toml --out run {wrong}")).code, Some(0));
    }
    p.train("run", "");
}

#[test]
fn output_in_the_way() {
    let p = Place::new();
    p.train("run", "--steps 1");
    p.write("other/file.txt", "precious");
    let new = "pretrain gpt --config tiny.toml --out";
    p.fails(&format!("{new} run"), 1, {
        "run: holds a run already (checkpoint of step 1), wanted a new or empty folder\n\
         hint: continue that run with `--resume`, or choose another `--out`"
    });
    p.fails(&format!("{new} other"), 1, {
        "other: holds `file.txt`, which belongs to no run; wanted a new or empty folder, or a run to resume\n\
         hint: choose another `--out`"
    });
    p.fails(&format!("{new} other --resume"), 1, {
        "other: holds `file.txt`, which belongs to no run; wanted a new or empty folder, or a run to resume\n\
         hint: choose another `--out`"
    });
    p.fails(&format!("{new} other/file.txt"), 1, "other/file.txt: is a file, wanted a folder");
    p.fails("data world --out other", 1, {
        "other: the directory is not empty; hint: name one that does not exist yet"
    });
    p.fails("data world --out other/file.txt", 1, {
        "other/file.txt: cannot be used as the output directory: Not a directory (os error 20)"
    });
    p.write("text.txt", "Once upon a time");
    p.fails("tokenizer train --data text.txt --out other/file.txt", 1, {
        "other/file.txt: cannot make the folder: File exists (os error 17)"
    });
    assert_eq!(p.names("other"), ["file.txt"]);
    assert_eq!(p.text("other/file.txt"), "precious");
    std::fs::create_dir(p.path("empty")).unwrap();
    p.train("empty", "--steps 1");
}
