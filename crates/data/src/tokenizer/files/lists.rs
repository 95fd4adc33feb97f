//! Classes whose vocabulary is a list in a text file: BERT's word pieces, GPT-2's and RoBERTa's merges.

use super::{
    Made,
    parts::{Roles, open, plain_token},
    read_text, unsupported,
};
use crate::tokenizer::Error;
use serde_json::{Map, Value, json};
use std::path::Path;

/// BERT's tokenizer from `vocab.txt`, one token a line.
pub(super) fn word_piece(path: &Path, class: Option<&str>, mut roles: Roles<'_>) -> Result<Made, Error> {
    const KNOWN: &[&str] = &["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"];
    match class {
        None => {}
        Some(class) if KNOWN.contains(&class) => {}
        Some(class) => return Err(unsupported(path, class, KNOWN)),
    }
    let text = read_text(path)?;
    let tokens: Vec<&str> = text.lines().collect();
    let vocab: Map<String, Value> = tokens.iter().zip(0..).map(|(token, id)| (token.to_string(), json!(id))).collect();
    let id_of = |token: &str| vocab.get(token)?.as_u64().map(|id| id as u32);
    roles.defaults(&[
        ("unk_token", json!("[UNK]")),
        ("sep_token", json!("[SEP]")),
        ("pad_token", json!("[PAD]")),
        ("cls_token", json!("[CLS]")),
        ("mask_token", json!("[MASK]")),
    ]);
    let unknown = roles.token("unk_token").unwrap_or("[UNK]");
    if id_of(unknown).is_none() {
        let reason = format!("unk_token is {unknown:?}, which none of its {} lines holds", tokens.len());
        return Err(Error::Parse { path: path.to_path_buf(), reason });
    }
    let added = roles.added_tokens(tokens.len(), id_of, Vec::new())?;
    let template = roles.template(path, "cls A sep", "cls A sep B:1 sep:1", &added, id_of)?;
    let inner = open(
        path,
        json!({
            "added_tokens": added,
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": roles.flag("tokenize_chinese_chars", true),
                "strip_accents": roles.config.get("strip_accents").cloned().unwrap_or(Value::Null),
                "lowercase": roles.flag("do_lower_case", true),
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": template,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {
                "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab,
            },
        }),
    )?;
    Ok(Made { inner, sentencepiece: None, config: roles.config })
}

/// GPT-2's or RoBERTa's tokenizer from `vocab.json` and `merges.txt`.
pub(super) fn byte_level(
    vocab_path: &Path,
    merges_path: &Path,
    class: Option<&str>,
    mut roles: Roles<'_>,
) -> Result<Made, Error> {
    const KNOWN: &[&str] = &["GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"];
    let roberta = match class {
        None | Some("GPT2Tokenizer") => false,
        Some(class) if KNOWN.contains(&class) => true,
        Some(class) => return Err(unsupported(vocab_path, class, KNOWN)),
    };
    let wrong = |path: &Path, reason: String| Error::Parse { path: path.to_path_buf(), reason };
    let vocab: Map<String, Value> = serde_json::from_str(&read_text(vocab_path)?)
        .map_err(|e| wrong(vocab_path, format!("not a JSON object: {e}")))?;
    let mut size = 0;
    for (token, id) in &vocab {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| wrong(vocab_path, format!("token {token:?} has the id {}", vocab[token])))?;
        size = size.max(id as usize + 1);
    }
    let id_of = |token: &str| vocab.get(token)?.as_u64().map(|id| id as u32);
    let mut merges = Vec::new();
    for (line, number) in read_text(merges_path)?.lines().zip(1..) {
        if line.is_empty() || line.starts_with("#version") {
            continue;
        }
        let pair = line.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
        let (a, b) = pair.ok_or_else(|| wrong(merges_path, format!("line {number}: got {line:?}, want two tokens")))?;
        if let Some(missing) = [a, b, &format!("{a}{b}")].into_iter().find(|token| id_of(token).is_none()) {
            return Err(wrong(merges_path, format!("line {number}: token {missing:?} is not in vocab.json")));
        }
        merges.push(json!([a, b]));
    }
    let defaults: &[(&str, &str)] = match roberta {
        true => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
            ("sep_token", "</s>"),
            ("pad_token", "<pad>"),
            ("cls_token", "<s>"),
            ("mask_token", "<mask>"),
        ],
        false => &[("bos_token", "<|endoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>")],
    };
    let defaults: Vec<_> = defaults.iter().map(|&(role, token)| (role, json!(token))).collect();
    roles.defaults(&defaults);
    let added = roles.added_tokens(size, id_of, Vec::new())?;
    let prefix_space = roles.flag("add_prefix_space", false);
    let post_processor = match roberta {
        true => {
            // Resolved as a template is, then written as the processor that trims offsets too.
            let template = roles.template(vocab_path, "cls A sep", "cls A sep sep B sep", &added, id_of)?;
            let token = |role: &str| {
                let token = roles.token(role).unwrap_or_default();
                json!([token, template["special_tokens"][token]["ids"][0]])
            };
            json!({
                "type": "RobertaProcessing", "sep": token("sep_token"), "cls": token("cls_token"),
                "trim_offsets": roles.flag("trim_offsets", true), "add_prefix_space": prefix_space,
            })
        }
        false => {
            let (single, pair) = begin_and_end(&roles, false);
            roles.template(vocab_path, &single, &pair, &added, id_of)?
        }
    };
    let byte_level =
        |prefix| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true});
    let inner = open(
        vocab_path,
        json!({
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": byte_level(prefix_space),
            "post_processor": post_processor,
            "decoder": byte_level(true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": merges,
            },
        }),
    )?;
    Ok(Made { inner, sentencepiece: None, config: roles.config })
}

/// Templates of decoders: begin and end tokens where the configuration asks for them.
pub(super) fn begin_and_end(roles: &Roles<'_>, begin: bool) -> (String, String) {
    let begin = roles.flag("add_bos_token", begin) && roles.token("bos_token").is_some();
    let end = roles.flag("add_eos_token", false) && roles.token("eos_token").is_some();
    let around = |text: &str, kind: &str| {
        let bos = if begin { format!("bos{kind} ") } else { String::new() };
        let eos = if end { format!(" eos{kind}") } else { String::new() };
        format!("{bos}{text}{kind}{eos}")
    };
    let single = around("A", "");
    let pair = format!("{single} {}", around("B", ":1"));
    (single, pair)
}

/// A token that a vocabulary marks by itself.
pub(super) fn marked(content: &str, special: bool) -> Value {
    let mut token = plain_token(content);
    token["special"] = json!(special);
    token
}
