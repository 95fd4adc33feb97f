//! Classes and their files; ids are compared with those of `transformers` in `parity`.

use super::super::{Error, Special, Tokenizer};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures-extra")).join(name)
}

/// A directory with copies of `files` from the fixture `name`, and a `tokenizer_config.json`.
fn copy(name: &str, files: &[&str], config: serde_json::Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(fixture(name).join(file), dir.path().join(file)).unwrap();
    }
    fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    dir
}

#[test]
fn special_ids_as_in_transformers() {
    let mut checked = 0;
    for entry in fs::read_dir(fixture("")).unwrap() {
        let dir = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(dir.join("parity.json")) else { continue };
        let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
        let Some(want) = recorded["special_ids"].as_object() else { continue };
        let tokenizer = Tokenizer::load(&dir).unwrap();
        let special = tokenizer.special().clone();
        for (role, got) in [
            ("bos_token", special.bos),
            ("eos_token", special.eos),
            ("unk_token", special.unk),
            ("sep_token", special.sep),
            ("pad_token", special.pad),
            ("cls_token", special.cls),
            ("mask_token", special.mask),
        ] {
            let want = want.get(role).and_then(serde_json::Value::as_u64);
            assert_eq!(got.map(|token| u64::from(token.id)), want, "{} {role}", dir.display());
        }
        checked += 1;
    }
    assert!(checked >= 13, "{checked}");
}

#[test]
fn saved_and_loaded() {
    let names = [
        "tokenizer-albert",
        "tokenizer-bert-vocab",
        "tokenizer-roberta-merges",
        "tokenizer-spm-bpe-symbols",
        "tokenizer-spm-unigram-suffix",
        "tokenizer-spm-unigram-cf",
    ];
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::load(&fixture(name)).unwrap();
        tokenizer.save(dir.path()).unwrap();
        let loaded = Tokenizer::load(dir.path()).unwrap();
        assert_eq!(loaded.hash(), tokenizer.hash(), "{name}");
        assert_eq!(loaded.special(), tokenizer.special(), "{name}");
        for text in ["A e\u{301}lan E\u{301}lan, <sep> 今!", "the cat "] {
            let [got, want] = [&loaded, &tokenizer].map(|t| t.encode(text, Special::With).unwrap());
            assert_eq!(got, want, "{name}");
        }
    }
}

#[test]
fn one_file_of_a_directory() {
    for (name, file) in [
        ("tokenizer-albert", "spiece.model"),
        ("tokenizer-bert-vocab", "vocab.txt"),
        ("tokenizer-spm-bpe-bytes", "tokenizer.model"),
    ] {
        let [whole, one] = [fixture(name), fixture(name).join(file)].map(|path| Tokenizer::load(&path).unwrap());
        assert_eq!(whole.hash(), one.hash());
    }
}

#[test]
fn the_class_of_a_model_type() {
    let dir = copy("tokenizer-albert", &["spiece.model"], json!({}));
    let by_itself = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(by_itself.encode_ids("the cat", Special::With).unwrap().len(), 2);
    fs::write(dir.path().join("config.json"), r#"{"model_type": "albert"}"#).unwrap();
    let albert = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(albert.hash(), Tokenizer::load(&fixture("tokenizer-albert")).unwrap().hash());
}

#[track_caller]
fn refused(dir: &Path, want: &str) -> Error {
    let error = Tokenizer::load(dir).err().unwrap();
    assert!(error.to_string().contains(want), "{error}");
    error
}

#[test]
fn classes_that_do_not_fit() {
    let class = |name: &str| json!({"tokenizer_class": name});
    let dir = copy("tokenizer-albert", &["spiece.model"], class("PegasusTokenizer"));
    let error = refused(dir.path(), "got the class PegasusTokenizer, want one of AlbertTokenizer");
    assert!(error.hint().unwrap().contains("tokenizer.json"));
    let dir = copy("tokenizer-albert", &["spiece.model"], class("LlamaTokenizerFast"));
    refused(dir.path(), "it is a unigram model, LlamaTokenizer takes BPE");
    let dir = copy("tokenizer-bert-vocab", &["vocab.txt"], class("MPNetTokenizer"));
    refused(dir.path(), "want one of BertTokenizer");
    let dir = copy("tokenizer-gpt2-merges", &["vocab.json", "merges.txt"], class("CLIPTokenizer"));
    refused(dir.path(), "want one of GPT2Tokenizer");
    fs::write(dir.path().join("config.json"), r#"{"model_type": "gpt9"}"#).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), "{}").unwrap();
    refused(dir.path(), "got the class of model_type `gpt9`, want one of GPT2Tokenizer");
    refused(tempfile::tempdir().unwrap().path(), "holds no tokenizer");
}

#[test]
fn files_that_are_broken() {
    let dir = copy("tokenizer-bert-vocab", &["vocab.txt"], json!({"unk_token": "nothing like it"}));
    refused(dir.path(), "unk_token is \"nothing like it\"");
    fs::write(dir.path().join("vocab.txt"), b"a\n\xff\n").unwrap();
    refused(dir.path(), "vocab.txt: not a tokenizer: not UTF-8");
    let dir = copy("tokenizer-gpt2-merges", &["vocab.json", "merges.txt"], json!({}));
    let merges = fs::read_to_string(dir.path().join("merges.txt")).unwrap();
    for (more, want) in
        [("th", "got \"th\", want two tokens"), ("t h e", "got \"t h e\""), ("t 今", "token \"今\" is not")]
    {
        fs::write(dir.path().join("merges.txt"), format!("{merges}{more}\n")).unwrap();
        refused(dir.path(), &format!("merges.txt: not a tokenizer: line {}: {want}", merges.lines().count() + 1));
    }
    fs::write(dir.path().join("vocab.json"), r#"{"a": -1}"#).unwrap();
    refused(dir.path(), "token \"a\" has the id -1");
    fs::write(dir.path().join("vocab.json"), "{").unwrap();
    refused(dir.path(), "not a JSON object");
    let dir = copy("tokenizer-albert", &["spiece.model"], json!({}));
    let whole = fs::read(dir.path().join("spiece.model")).unwrap();
    fs::write(dir.path().join("spiece.model"), &whole[..whole.len() - 5]).unwrap();
    refused(dir.path(), "spiece.model: not a SentencePiece model that can be used: byte");
    let dir = copy("tokenizer-albert", &["spiece.model"], json!({"sentencepiece_model": "../spiece.model"}));
    refused(dir.path(), "names \"../spiece.model\", which is not there");
}

#[test]
fn added_tokens_of_the_files() {
    let config = json!({"added_tokens_decoder": {"300": {"content": "[X]", "special": false, "lstrip": true}}});
    let dir = copy("tokenizer-bert-vocab", &["vocab.txt"], config);
    let size = fs::read_to_string(dir.path().join("vocab.txt")).unwrap().lines().count();
    refused(dir.path(), &format!("token \"[X]\" is to have id 300, with this vocabulary it has {size}"));
    let decoder = json!({size.to_string(): {"content": "[X]", "special": false, "lstrip": true}});
    fs::write(dir.path().join("tokenizer_config.json"), json!({"added_tokens_decoder": decoder}).to_string()).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    assert_eq!(tokenizer.encode("the [X]", Special::Without).unwrap().tokens, ["the", " [X]"]);
    assert_eq!(tokenizer.token_to_id("[X]"), Some(size as u32));
    // The way of older releases.
    fs::write(dir.path().join("tokenizer_config.json"), "{}").unwrap();
    fs::write(dir.path().join("added_tokens.json"), json!({"[Y]": size}).to_string()).unwrap();
    assert_eq!(Tokenizer::load(dir.path()).unwrap().token_to_id("[Y]"), Some(size as u32));
}

#[test]
fn any_byte_of_a_model_changed() {
    for (name, file) in [("tokenizer-albert", "spiece.model"), ("tokenizer-llama", "tokenizer.model")] {
        let dir = copy(name, &[], json!({}));
        fs::copy(fixture(name).join("tokenizer_config.json"), dir.path().join("tokenizer_config.json")).unwrap();
        let whole = fs::read(fixture(name).join(file)).unwrap();
        let mut read = 0;
        for at in (0..whole.len()).step_by(61) {
            let mut bytes = whole.clone();
            bytes[at] ^= if at % 2 == 0 { 1 } else { 0xff };
            fs::write(dir.path().join(file), bytes).unwrap();
            // It is read or refused; neither way may panic.
            if let Ok(tokenizer) = Tokenizer::load(dir.path()) {
                let ids = tokenizer.encode_ids("A cat, ``[MASK]'' e\u{301} ①今", Special::With).unwrap();
                tokenizer.decode(&ids, Special::With).unwrap();
                read += 1;
            }
        }
        assert!(read > 0, "{name}");
    }
}
