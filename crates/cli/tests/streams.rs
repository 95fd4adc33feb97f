//! Where text comes from and where it goes: standard input, archives, folders; closed and full outputs.

#![cfg(unix)]

mod common;

use std::{fs::File, io::Read, process::Stdio};

use common::{Place, ended};

/// Rows that make a corpus of 60 documents.
fn rows() -> Vec<String> {
    let animals = ["cat", "dog", "mouse", "horse", "hen"];
    (0..60).map(|i| format!("The {} saw the {} and ran. ", animals[i % 5], animals[i % 4]).repeat(3)).collect()
}

fn jsonl(rows: &[String]) -> String {
    rows.iter().map(|row| format!("{{\"text\": \"{row}\"}}\n")).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::fast()).read_to_end(&mut encoded).unwrap();
    encoded
}

/// The same text, however it comes, gives the same weights.
#[track_caller]
fn check_same(p: &Place, want: &str, data: &str) {
    let _ = std::fs::remove_dir_all(p.path("run"));
    p.train("run", &format!("--set tokenizer.vocab_size=280 --data {data}"));
    assert!(p.read("run/model.safetensors") == p.read(want), "--data {data}");
}

#[test]
fn the_same_rows_in_many_forms() {
    let p = Place::new();
    let text = jsonl(&rows());
    p.write("all.jsonl", &text);
    p.write("all.jsonl.gz", gzip(text.as_bytes()));
    p.write("all.jsonl.zst", zstd::encode_all(text.as_bytes(), 3).unwrap());
    p.write("windows.jsonl", text.replace('\n', "\r\n"));
    p.write("folder/a/1.jsonl", jsonl(&rows()[..25]));
    p.write("folder/a/2.jsonl.gz", gzip(jsonl(&rows()[25..40]).as_bytes()));
    p.write("folder/b/3.jsonl", jsonl(&rows()[40..]));
    p.write("folder/b/readme.md", "not text to train on");
    p.write("folder/.hidden/4.jsonl", "not read");
    p.train("first", "--set tokenizer.vocab_size=280 --data all.jsonl");
    let want = "first/model.safetensors";
    check_same(&p, want, "all.jsonl.gz");
    check_same(&p, want, "all.jsonl.zst");
    check_same(&p, want, "windows.jsonl");
    check_same(&p, want, "folder");
    check_same(&p, want, "'folder/**/*.jsonl*'");
    check_same(&p, want, "folder/a/1.jsonl folder/a/2.jsonl.gz --data folder/b");
}

#[test]
fn standard_input() {
    let p = Place::new();
    let text: String = rows().concat();
    p.write("all.txt", &text);
    let tiny = "pretrain gpt --config tiny.toml --set tokenizer.vocab_size=280";
    p.done(&format!("{tiny} --out file --data all.txt"));
    let e = p.run_with(&format!("{tiny} --out stdin --data -"), &text);
    assert_eq!((e.code, &e.stdout[..]), (Some(0), "stdin\n"), "{}", e.stderr);
    assert!(e.stderr.contains("fewer than 20 documents: the last 5"), "{}", e.stderr);
    assert!(p.read("stdin/model.safetensors") == p.read("file/model.safetensors"));
    p.run_with("tokenizer train --data - --vocab-size 280 --out tok", &text);
    assert!(p.read("tok/tokenizer.json") == p.read("file/tokenizer.json"));
    let from_file = p.done("eval file --data all.txt --json").stdout;
    assert_eq!(p.run_with("eval file --data - --json", &text).stdout, from_file);
    assert_eq!(p.names("").iter().filter(|name| name.starts_with(".tmp")).count(), 0, "what was kept is gone");
}

#[test]
fn the_cache_is_found_again() {
    let p = Place::new();
    p.write("all.jsonl", jsonl(&rows()));
    let train = |out: &str| p.train(out, "--set tokenizer.vocab_size=280 --data all.jsonl").stderr;
    assert!(train("a").contains("\ntokens: made in cache/tokens/"));
    assert!(train("b").contains("\ntokens: found in cache/tokens/"));
    // Damaged, it is made again, and that is said.
    let set = p.names("cache/tokens").into_iter().find(|name| name.len() == 32).unwrap();
    let file = p.names(&format!("cache/tokens/{set}")).into_iter().find(|name| name.starts_with("train")).unwrap();
    let file = format!("cache/tokens/{set}/{file}");
    let bytes = p.read(&file);
    p.write(&file, &bytes[..bytes.len() - 2]);
    let said = train("c");
    assert!(said.contains("tokens: made again (cache/tokens/"), "{said}");
    assert!(p.read(&file) == bytes);
    p.train("d", "--data all.jsonl --set tokenizer.vocab_size=280 --set data.cache=elsewhere");
    assert!(p.names("elsewhere").contains(&set));
}

/// A reader that has had enough ends the program, and nothing is said about it.
#[track_caller]
fn check_closed(p: &Place, line: &str, stdin: &str) {
    p.write("stdin", stdin);
    let mut command = p.command(line);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let stdin = File::open(p.path("stdin")).unwrap();
    let child = command.stdin(stdin).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let e = ended(child.wait_with_output().unwrap());
    assert_eq!(e.code, Some(0), "bedstone {line}\n{}", e.stderr);
    assert!(!e.stderr.contains("panicked") && !e.stderr.contains("error"), "bedstone {line}\n{}", e.stderr);
}

#[test]
fn closed_output() {
    let p = Place::new();
    p.train("run", "--steps 1");
    check_closed(&p, "generate run --prompt Once", "");
    check_closed(&p, "generate run --prompt Once --prompt Two --json", "");
    check_closed(&p, "inspect run --tensors", "");
    check_closed(&p, "tokenizer encode run", &"many words ".repeat(50_000));
    check_closed(&p, "tokenizer decode run", &"65 66 67 ".repeat(50_000));
    check_closed(&p, "eval run --data -", &"many words ".repeat(50));
    check_closed(&p, "data world --out world --count 20 --validation 2", "");
    check_closed(&p, "doctor", "");
    check_closed(&p, "pretrain gpt --print-recipe", "");
    check_closed(&p, "pretrain gpt --config tiny.toml --out other", "");
    assert_eq!(p.latest("other").as_deref(), Some("step-6"));
}

#[test]
fn closed_errors() {
    // Nobody reads what is said about a training: it goes on.
    let p = Place::new();
    let e = ended(p.shell("exec 2>&-; \"$@\"", "pretrain gpt --config tiny.toml --out run").output().unwrap());
    assert_eq!((e.code, &e.stdout[..]), (Some(0), "run\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn full_output() {
    let p = Place::new();
    p.train("run", "--steps 1");
    for line in ["generate run --prompt Once", "inspect run", "tokenizer decode run 65", "doctor"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let e = ended(p.command(line).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap());
        assert_eq!((e.code, e.error()), (Some(1), "standard output: No space left on device (os error 28)"), "{line}");
    }
}
