//! Classes whose vocabulary is a SentencePiece model.

use super::{
    DECIDING, Made, SAVED_AS,
    lists::{begin_and_end, marked},
    parts::{Roles, base64, mask_token, open},
    read, unsupported,
};
use crate::tokenizer::{
    Error,
    spm::{
        SPACE, SentencePiece,
        proto::{ModelKind, Piece, PieceKind, Proto},
    },
};
use ahash::AHashMap;
use serde_json::{Value, json};
use std::path::Path;

const KNOWN: &[&str] = &[
    "AlbertTokenizer",
    "CamembertTokenizer",
    "DebertaV2Tokenizer",
    "LlamaTokenizer",
    "T5Tokenizer",
    "XLMRobertaTokenizer",
];

/// A model file with what its class makes of it; without a class, with what its library makes of it.
pub(super) fn make(path: &Path, class: Option<&str>, mut roles: Roles<'_>) -> Result<Made, Error> {
    let wrong = |reason: String| Error::SentencePiece { path: path.to_path_buf(), reason };
    let model = SentencePiece::read(&read(path)?).map_err(wrong)?;
    let proto = model.proto();
    let class = match class {
        None => {
            let inner = by_itself(path, &model, &mut roles)?;
            roles.config.insert(DECIDING.into(), json!(SAVED_AS));
            roles.config.entry("tokenizer_class").or_insert(json!("PreTrainedTokenizerFast"));
            return Ok(Made { inner, sentencepiece: Some(model), config: roles.config });
        }
        Some(class) if KNOWN.contains(&class) => class,
        Some(class) => return Err(unsupported(path, class, KNOWN)),
    };
    let kind = if class == "LlamaTokenizer" { ModelKind::Bpe } else { ModelKind::Unigram };
    if kind != proto.trainer.kind {
        return Err(wrong(format!("it is a {} model, {class} takes {}", proto.trainer.kind.name(), kind.name())));
    }
    let parts = match class {
        "AlbertTokenizer" => albert(&model, &mut roles),
        "CamembertTokenizer" => camembert(&model, &mut roles),
        "DebertaV2Tokenizer" => deberta(&model, &mut roles),
        "LlamaTokenizer" => llama(&model, &mut roles),
        "T5Tokenizer" => t5(&model, &mut roles),
        _ => xlm_roberta(&model, &mut roles),
    };
    let inner = parts.open(path, proto, &roles)?;
    Ok(Made { inner, sentencepiece: None, config: roles.config })
}

/// What classes differ in.
struct Parts {
    vocab: Vocab,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    single: String,
    pair: String,
    /// Special tokens of the class beside those with roles.
    extra: Vec<Value>,
}

enum Vocab {
    Unigram { pieces: Vec<(String, f64)>, unknown: usize, byte_fallback: bool },
    Bpe { pieces: Vec<String>, merges: Vec<(String, String)>, unknown: Option<String>, byte_fallback: bool },
}

impl Parts {
    /// With the usual pre-tokenizer: words, each with the sign for a space before it.
    fn words(vocab: Vocab, normalizer: Value, single: &str, pair: &str) -> Self {
        Self {
            vocab,
            normalizer,
            pre_tokenizer: sequence(vec![json!({"type": "WhitespaceSplit"}), metaspace("always", true)]),
            decoder: metaspace("always", true),
            single: single.to_owned(),
            pair: pair.to_owned(),
            extra: Vec::new(),
        }
    }

    fn open(self, path: &Path, proto: &Proto, roles: &Roles<'_>) -> Result<tokenizers::Tokenizer, Error> {
        let ids = self.vocab.ids();
        let id_of = |token: &str| ids.get(token).copied();
        let own = proto.pieces.iter().filter_map(|piece| match piece.kind {
            PieceKind::Control => Some(marked(&piece.text, true)),
            PieceKind::UserDefined => Some(marked(&piece.text, false)),
            _ => None,
        });
        let added = roles.added_tokens(self.vocab.len(), id_of, own.chain(self.extra).collect())?;
        let template = roles.template(path, &self.single, &self.pair, &added, id_of)?;
        let model = self.vocab.model();
        open(
            path,
            json!({
                "added_tokens": added, "normalizer": self.normalizer, "pre_tokenizer": self.pre_tokenizer,
                "post_processor": template, "decoder": self.decoder, "model": model,
            }),
        )
    }
}

impl Vocab {
    fn unigram(pieces: Vec<(String, f64)>, unknown: u32) -> Self {
        Self::Unigram { pieces, unknown: unknown as usize, byte_fallback: false }
    }

    fn len(&self) -> usize {
        match self {
            Self::Unigram { pieces, .. } => pieces.len(),
            Self::Bpe { pieces, .. } => pieces.len(),
        }
    }

    fn ids(&self) -> AHashMap<String, u32> {
        match self {
            Self::Unigram { pieces, .. } => pieces.iter().zip(0..).map(|((text, _), id)| (text.clone(), id)).collect(),
            Self::Bpe { pieces, .. } => pieces.iter().zip(0..).map(|(text, id)| (text.clone(), id)).collect(),
        }
    }

    fn model(self) -> Value {
        match self {
            Self::Unigram { pieces, unknown, byte_fallback } => {
                json!({"type": "Unigram", "unk_id": unknown, "byte_fallback": byte_fallback, "vocab": pieces})
            }
            Self::Bpe { pieces, merges, unknown, byte_fallback } => {
                let vocab: serde_json::Map<_, _> =
                    pieces.into_iter().zip(0..).map(|(text, id)| (text, json!(id))).collect();
                json!({
                    "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                    "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": byte_fallback,
                    "ignore_merges": false, "vocab": vocab, "merges": merges,
                })
            }
        }
    }
}

/// [Lan et al. 2020](https://arxiv.org/abs/1909.11942).
fn albert(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    roles.defaults(&[
        ("bos_token", json!("[CLS]")),
        ("eos_token", json!("[SEP]")),
        ("unk_token", json!("<unk>")),
        ("sep_token", json!("[SEP]")),
        ("pad_token", json!("<pad>")),
        ("cls_token", json!("[CLS]")),
        ("mask_token", json!("[MASK]")),
    ]);
    let quotes = ["``", "''"].map(|quote| json!({"type": "Replace", "pattern": {"String": quote}, "content": "\""}));
    let mut normalizers = quotes.to_vec();
    if !roles.flag("keep_accents", false) {
        normalizers.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
    }
    if roles.flag("do_lower_case", true) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers.extend(rules(model.proto()));
    let vocab = Vocab::unigram(scored(model.proto(), 0), model.unknown());
    Parts::words(vocab, sequence(normalizers), "cls A sep", "cls A sep B:1 sep:1")
}

/// [He et al. 2021](https://arxiv.org/abs/2006.03654). The rules of the model are not used: canonical composition takes
/// their place, as in transformers 5.
fn deberta(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    roles.defaults(&[
        ("bos_token", json!("[CLS]")),
        ("eos_token", json!("[SEP]")),
        ("unk_token", json!("[UNK]")),
        ("sep_token", json!("[SEP]")),
        ("pad_token", json!("[PAD]")),
        ("cls_token", json!("[CLS]")),
        ("mask_token", json!("[MASK]")),
    ]);
    let mut normalizers = Vec::new();
    if roles.flag("do_lower_case", false) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers.extend([
        json!({"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "}),
        json!({"type": "NFC"}),
        json!({"type": "Strip", "strip_left": false, "strip_right": true}),
    ]);
    let mut pre_tokenizers = Vec::new();
    if roles.flag("split_by_punct", false) {
        pre_tokenizers.push(json!({"type": "Punctuation", "behavior": "Isolated"}));
    }
    pre_tokenizers.push(metaspace("always", true));
    let vocab = Vocab::unigram(scored(model.proto(), 0), model.unknown());
    let words = Parts::words(vocab, sequence(normalizers), "cls A sep", "cls A sep B:1 sep:1");
    Parts { pre_tokenizer: sequence(pre_tokenizers), ..words }
}

/// [Raffel et al. 2020](https://arxiv.org/abs/1910.10683): `extra_ids` sentinels behind the pieces, the last one first.
fn t5(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    roles.defaults(&[("eos_token", json!("</s>")), ("unk_token", json!("<unk>")), ("pad_token", json!("<pad>"))]);
    let extra_ids = roles.config.get("extra_ids").and_then(Value::as_u64).unwrap_or(100).min(10_000);
    let sentinels: Vec<String> = (0..extra_ids).rev().map(|at| format!("<extra_id_{at}>")).collect();
    let mut pieces = scored(model.proto(), 0);
    pieces.extend(sentinels.iter().map(|sentinel| (sentinel.clone(), 0.0)));
    let vocab = Vocab::unigram(pieces, model.unknown());
    let words = Parts::words(vocab, rules_alone(model.proto()), "A eos", "A eos B eos");
    Parts { extra: sentinels.iter().map(|sentinel| marked(sentinel, true)).collect(), ..words }
}

/// [Conneau et al. 2020](https://arxiv.org/abs/1911.02116): the ids of fairseq, where four tokens take the place of
/// the model's first three pieces.
fn xlm_roberta(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    fairseq(roles, json!("<mask>"));
    let token = |role: &str| (roles.token(role).unwrap_or_default().to_owned(), 0.0);
    let mut pieces = vec![token("bos_token"), token("pad_token"), token("eos_token"), token("unk_token")];
    pieces.extend(scored(model.proto(), 3));
    pieces.push(token("mask_token"));
    let vocab = Vocab::unigram(pieces, 3);
    Parts::words(vocab, rules_alone(model.proto()), "bos A eos", "bos A eos eos B eos")
}

/// [Martin et al. 2020](https://arxiv.org/abs/1911.03894): fairseq's ids again, with places that nothing uses.
fn camembert(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    // The mask swallows the space before it.
    fairseq(roles, mask_token("<mask>"));
    let token = |role: &str| (roles.token(role).unwrap_or_default().to_owned(), 0.0);
    let unused = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"].map(str::to_owned);
    let [begin, end, unknown] = unused.clone();
    let mut pieces = vec![(begin, 0.0), token("pad_token"), (end, 0.0), token("unk_token"), (unknown, -100.0)];
    pieces.extend(scored(model.proto(), 1));
    pieces.push(token("mask_token"));
    let vocab = Vocab::unigram(pieces, 3);
    let words = Parts::words(vocab, rules_alone(model.proto()), "bos A eos", "bos A eos eos B eos");
    Parts { extra: unused.iter().map(|token| marked(token, true)).collect(), ..words }
}

fn fairseq(roles: &mut Roles<'_>, mask: Value) {
    roles.defaults(&[
        ("bos_token", json!("<s>")),
        ("eos_token", json!("</s>")),
        ("unk_token", json!("<unk>")),
        ("sep_token", json!("</s>")),
        ("pad_token", json!("<pad>")),
        ("cls_token", json!("<s>")),
        ("mask_token", mask),
    ]);
}

/// [Touvron et al. 2023](https://arxiv.org/abs/2302.13971): no normalization, unknown characters as bytes.
fn llama(model: &SentencePiece, roles: &mut Roles<'_>) -> Parts {
    roles.defaults(&[("bos_token", json!("<s>")), ("eos_token", json!("</s>")), ("unk_token", json!("<unk>"))]);
    let prefix = roles.flag("add_prefix_space", true);
    let scheme = match (prefix, roles.flag("legacy", false)) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    let (single, pair) = begin_and_end(roles, false);
    Parts {
        vocab: Vocab::Bpe {
            pieces: model.proto().pieces.iter().map(|piece| piece.text.clone()).collect(),
            merges: merges(&model.proto().pieces, |_, id| id as f64),
            unknown: None,
            byte_fallback: true,
        },
        normalizer: Value::Null,
        pre_tokenizer: metaspace(scheme, false),
        decoder: spaces_and_bytes(prefix),
        single,
        pair,
        extra: Vec::new(),
    }
}

/// The nearest that a `tokenizer.json` comes to the model, for other programs and for its vocabulary; encoding follows
/// the model itself.
fn by_itself(path: &Path, model: &SentencePiece, roles: &mut Roles<'_>) -> Result<tokenizers::Tokenizer, Error> {
    let proto = model.proto();
    let piece = |id: i32| u32::try_from(id).ok().and_then(|id| model.piece(id)).map(|piece| json!(piece.text));
    let trainer = &proto.trainer;
    let named = [
        ("bos_token", piece(trainer.bos_id)),
        ("eos_token", piece(trainer.eos_id)),
        ("unk_token", piece(model.unknown() as i32)),
        ("pad_token", piece(trainer.pad_id)),
    ];
    let named: Vec<_> = named.into_iter().filter_map(|(role, token)| Some((role, token?))).collect();
    roles.defaults(&named);
    let mut normalizers: Vec<Value> = rules(proto).collect();
    if proto.normalizer.remove_extra_whitespaces {
        normalizers.extend(
            [("^ +| +$", ""), (" {2,}", " ")]
                .map(|(regex, content)| json!({"type": "Replace", "pattern": {"Regex": regex}, "content": content})),
        );
    }
    let unigram = trainer.kind == ModelKind::Unigram;
    let vocab = match unigram {
        true => Vocab::Unigram {
            pieces: scored(proto, 0),
            unknown: model.unknown() as usize,
            byte_fallback: trainer.byte_fallback,
        },
        false => Vocab::Bpe {
            pieces: proto.pieces.iter().map(|piece| piece.text.clone()).collect(),
            merges: merges(&proto.pieces, |piece, _| -f64::from(piece.score)),
            unknown: model.piece(model.unknown()).map(|piece| piece.text.clone()),
            byte_fallback: trainer.byte_fallback,
        },
    };
    let scheme = if proto.normalizer.add_dummy_prefix { "always" } else { "never" };
    let parts = Parts {
        vocab,
        normalizer: sequence(normalizers),
        pre_tokenizer: metaspace(scheme, unigram && trainer.split_by_whitespace),
        decoder: spaces_and_bytes(proto.normalizer.add_dummy_prefix || proto.normalizer.remove_extra_whitespaces),
        single: "A".into(),
        pair: "A B:1".into(),
        extra: Vec::new(),
    };
    parts.open(path, proto, roles)
}

/// Pieces with scores, from the `from`-th on.
fn scored(proto: &Proto, from: usize) -> Vec<(String, f64)> {
    proto.pieces.iter().skip(from).map(|piece| (piece.text.clone(), f64::from(piece.score))).collect()
}

/// Every way to put a piece together from two others; those of pieces with a lower rank come first.
fn merges(pieces: &[Piece], rank: impl Fn(&Piece, usize) -> f64) -> Vec<(String, String)> {
    let ids: AHashMap<&str, usize> = pieces.iter().zip(0..).map(|(piece, id)| (piece.text.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (id, piece) in pieces.iter().enumerate() {
        let text = piece.text.as_str();
        let mut own: Vec<_> = text
            .char_indices()
            .skip(1)
            .map(|(at, _)| text.split_at(at))
            .filter_map(|(a, b)| Some((ids.get(a)?, ids.get(b)?, a, b)))
            .collect();
        own.sort_by_key(|&(a, b, ..)| (a, b));
        merges
            .extend(own.into_iter().map(|(_, _, a, b)| (rank(piece, id), a.chars().count(), b.chars().count(), a, b)));
    }
    merges.sort_by(|x, y| x.0.total_cmp(&y.0).then_with(|| (x.1, x.2).cmp(&(y.1, y.2))));
    merges.into_iter().map(|(_, _, _, a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// The model's rules, if it has any.
fn rules(proto: &Proto) -> impl Iterator<Item = Value> {
    let charsmap = &proto.normalizer.precompiled_charsmap;
    let rules = || json!({"type": "Precompiled", "precompiled_charsmap": base64(charsmap)});
    (!charsmap.is_empty()).then(rules).into_iter()
}

fn rules_alone(proto: &Proto) -> Value {
    rules(proto).next().unwrap_or(Value::Null)
}

fn metaspace(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split})
}

fn spaces_and_bytes(strip: bool) -> Value {
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if strip {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": decoders})
}

/// Normalizers, or pre-tokenizers, one after another.
fn sequence(parts: Vec<Value>) -> Value {
    let field = match parts.first().and_then(|part| part["type"].as_str()) {
        Some("WhitespaceSplit" | "Punctuation" | "Metaspace") => "pretokenizers",
        _ => "normalizers",
    };
    json!({"type": "Sequence", field: parts})
}
