//! Training a tokenizer on documents.
//!
//! ```text
//! mod.rs      what to train, the parts of each kind, the result
//! words.rs    documents to words with counts
//! merges.rs   merging the most frequent pair: byte-level BPE and WordPiece
//! unigram.rs  pruning pieces by likelihood: Unigram
//! ```
//!
//! The `tokenizers` crate gives the normalizers, pre-tokenizers, models and the file format. Learning the vocabulary is
//! our own: in that crate it follows the order of hash maps and the number of threads (the ids of `##` characters, the
//! scores of rare characters, sums of floats), so that two runs need not give the same file.

mod merges;
mod unigram;
mod words;

use super::{Error, SpecialToken, SpecialTokens, Tokenizer};
use serde_json::{Map, Value, json};
use words::Words;

/// The kind of tokenizer to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BPE over bytes with GPT-2's pre-tokenizer; loses nothing. `<|endoftext|>` has every role.
    /// [Radford et al. 2019](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf).
    ByteLevelBpe,
    /// The same with what masking needs: `<s>` and `</s>` around texts, `<mask>`, which takes the space before it.
    /// [Liu et al. 2019](https://arxiv.org/abs/1907.11692).
    Roberta,
    /// Word pieces with BERT's normalizer and template `[CLS] A [SEP] B [SEP]`.
    /// [Devlin et al. 2019](https://arxiv.org/abs/1810.04805).
    WordPiece {
        /// Lower-cases and strips accents.
        lowercase: bool,
    },
    /// A unigram language model over pieces, spaces shown as `▁`, text in NFKC.
    /// [Kudo 2018](https://arxiv.org/abs/1804.10959).
    Unigram,
}

/// What to train and on how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Training {
    /// The kind.
    pub kind: Kind,
    /// Tokens in the vocabulary, special ones included; a small text may give fewer.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
    /// Bytes of text that are read at most, from the beginning: what bounds memory and time.
    pub max_bytes: u64,
}

impl Training {
    /// The usual settings: pairs that occur twice, 256 MiB of text.
    pub fn new(kind: Kind, vocab_size: usize) -> Self {
        Self { kind, vocab_size, min_frequency: 2, max_bytes: 256 << 20 }
    }
}

/// A trained tokenizer and what it was trained on.
pub struct Trained {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Bytes of text used.
    pub bytes: u64,
    /// Whether that was all the text; false if `max_bytes` cut it short.
    pub all_text: bool,
    /// Different words found.
    pub words: usize,
}

/// Trains on `texts`, documents or parts of them in order.
///
/// The result depends on the texts and settings only, not on threads.
pub fn train<T, E>(texts: impl IntoIterator<Item = Result<T, E>>, training: &Training) -> Result<Trained, Error>
where
    T: Into<String>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let kind = training.kind;
    let parts = tokenizer(kind.file(json!({"type": "BPE", "vocab": {}, "merges": []}), &[]))?;
    let words = words::count(&parts, texts, training.max_bytes)?;
    if words.counts.is_empty() {
        return Err(Error::NoText);
    }
    let model = match kind {
        Kind::ByteLevelBpe | Kind::Roberta => byte_level_bpe(&words, training)?,
        Kind::WordPiece { .. } => word_piece(&words, training)?,
        Kind::Unigram => unigram(&words, training)?,
    };
    let inner = tokenizer(kind.file(model, kind.specials()))?;
    let special = kind.roles(&inner);
    let mut config = Map::new();
    config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
    config.insert("clean_up_tokenization_spaces".into(), json!(false));
    let tokenizer = Tokenizer::new(inner, special, config).map_err(built)?;
    Ok(Trained { tokenizer, bytes: words.bytes, all_text: words.all_text, words: words.counts.len() })
}

/// The vocabulary starts with the special tokens and the 256 bytes, in the order of the characters that stand for them.
fn byte_level_bpe(words: &Words, training: &Training) -> Result<Value, Error> {
    let mut alphabet: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut tokens: Vec<String> = training.kind.specials().iter().map(|token| token.to_string()).collect();
    let first = tokens.len();
    tokens.extend(alphabet.iter().map(char::to_string));
    enough(training.vocab_size, tokens.len())?;
    // The pre-tokenizer gives characters of this alphabet only.
    let id = |c: char| alphabet.binary_search(&c).ok().map(|at| (first + at) as u32);
    let symbols = words.counts.iter().map(|(word, count)| (word.chars().filter_map(id).collect(), *count)).collect();
    let merges = merges::learn(symbols, &mut tokens, &merges::Limits::of(training, ""));
    let merges: Vec<_> = merges.iter().map(|&(a, b)| json!([tokens[a as usize], tokens[b as usize]])).collect();
    Ok(json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocab(&tokens), "merges": merges,
    }))
}

/// Characters beyond these are `[UNK]`: the number BERT's vocabularies were made with.
const WORD_PIECE_ALPHABET: usize = 1000;

/// The vocabulary starts with special tokens, the characters, and the characters inside a word (`##x`).
fn word_piece(words: &Words, training: &Training) -> Result<Value, Error> {
    let prefix = "##";
    let mut alphabet: Vec<char> = words.characters().into_iter().take(WORD_PIECE_ALPHABET).map(|(c, _)| c).collect();
    alphabet.sort_unstable();
    let known = |word: &str| word.chars().all(|c| alphabet.binary_search(&c).is_ok());
    // A word with an unknown character is [UNK] as a whole, so it teaches nothing.
    let kept: Vec<&(String, u64)> = words.counts.iter().filter(|(word, _)| known(word)).collect();
    let mut inner: Vec<char> = kept.iter().flat_map(|(word, _)| word.chars().skip(1)).collect();
    inner.sort_unstable();
    inner.dedup();
    let mut tokens: Vec<String> = training.kind.specials().iter().map(|token| token.to_string()).collect();
    let first = tokens.len();
    tokens.extend(alphabet.iter().map(char::to_string));
    let second = tokens.len();
    tokens.extend(inner.iter().map(|c| format!("{prefix}{c}")));
    enough(training.vocab_size, tokens.len())?;
    let id = |(i, c): (usize, char)| match i {
        0 => alphabet.binary_search(&c).ok().map(|at| (first + at) as u32),
        _ => inner.binary_search(&c).ok().map(|at| (second + at) as u32),
    };
    let symbols =
        kept.iter().map(|(word, count)| (word.chars().enumerate().filter_map(id).collect(), *count)).collect();
    merges::learn(symbols, &mut tokens, &merges::Limits::of(training, prefix));
    Ok(json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
        "max_input_chars_per_word": 100, "vocab": vocab(&tokens),
    }))
}

fn unigram(words: &Words, training: &Training) -> Result<Value, Error> {
    let specials = training.kind.specials();
    let pieces = unigram::learn(words, training.vocab_size.saturating_sub(specials.len()))
        .map_err(|need| Error::VocabularyTooSmall { got: training.vocab_size, need: need + specials.len() })?;
    let vocab: Vec<_> = specials.iter().map(|token| json!([token, 0.0])).collect();
    let vocab: Vec<_> = vocab.into_iter().chain(pieces.iter().map(|(piece, score)| json!([piece, score]))).collect();
    Ok(json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": vocab}))
}

impl Kind {
    /// The special tokens, which take the first ids.
    fn specials(self) -> &'static [&'static str] {
        match self {
            Self::ByteLevelBpe => &["<|endoftext|>"],
            // The first four as in the released models: positions are counted from the number of `<pad>`.
            Self::Roberta => &["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            Self::WordPiece { .. } => &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            Self::Unigram => &["<unk>", "<s>", "</s>", "<pad>"],
        }
    }

    fn roles(self, inner: &tokenizers::Tokenizer) -> SpecialTokens {
        let token = |text: &str| inner.token_to_id(text).map(|id| SpecialToken { id, text: text.to_string() });
        match self {
            Self::ByteLevelBpe => SpecialTokens {
                bos: token("<|endoftext|>"),
                eos: token("<|endoftext|>"),
                unk: token("<|endoftext|>"),
                ..SpecialTokens::default()
            },
            Self::Roberta => SpecialTokens {
                bos: token("<s>"),
                eos: token("</s>"),
                unk: token("<unk>"),
                sep: token("</s>"),
                pad: token("<pad>"),
                cls: token("<s>"),
                mask: token("<mask>"),
            },
            Self::WordPiece { .. } => SpecialTokens {
                unk: token("[UNK]"),
                sep: token("[SEP]"),
                pad: token("[PAD]"),
                cls: token("[CLS]"),
                mask: token("[MASK]"),
                ..SpecialTokens::default()
            },
            Self::Unigram => SpecialTokens {
                bos: token("<s>"),
                eos: token("</s>"),
                unk: token("<unk>"),
                pad: token("<pad>"),
                ..SpecialTokens::default()
            },
        }
    }

    /// The content of `tokenizer.json` around `model`.
    fn file(self, model: Value, specials: &[&str]) -> Value {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
        let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
        let (normalizer, pre_tokenizer, post_processor, decoder) = match self {
            Self::ByteLevelBpe => (Value::Null, byte_level.clone(), byte_level.clone(), byte_level),
            Self::Roberta => {
                let around = json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                                    "trim_offsets": true, "add_prefix_space": false});
                (Value::Null, byte_level.clone(), around, byte_level)
            }
            Self::WordPiece { lowercase } => (
                json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": lowercase}),
                json!({"type": "BertPreTokenizer"}),
                bert_template(),
                json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            ),
            Self::Unigram => (json!({"type": "NFKC"}), metaspace.clone(), Value::Null, metaspace),
        };
        let added: Vec<_> = specials.iter().enumerate().map(|(id, token)| added_token(id, token)).collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model,
        })
    }
}

fn bert_template() -> Value {
    let special = |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let sequence = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    let single = [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)];
    let second = [sequence("B", 1), special("[SEP]", 1)];
    let pair: Vec<_> = single.iter().chain(&second).cloned().collect();
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        },
    })
}

fn added_token(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": content == "<mask>", "rstrip": false,
           "normalized": false, "special": true})
}

fn vocab(tokens: &[String]) -> Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect()
}

fn enough(got: usize, need: usize) -> Result<(), Error> {
    if got < need { Err(Error::VocabularyTooSmall { got, need }) } else { Ok(()) }
}

fn tokenizer(file: Value) -> Result<tokenizers::Tokenizer, Error> {
    tokenizers::Tokenizer::from_bytes(file.to_string()).map_err(|e| built(e.to_string()))
}

fn built(reason: String) -> Error {
    Error::Parse { path: "the trained tokenizer".into(), reason }
}

#[cfg(test)]
mod tests {
    use super::super::Special;
    use super::*;
    use std::convert::Infallible;

    const KINDS: [Kind; 4] = [Kind::ByteLevelBpe, Kind::Roberta, Kind::WordPiece { lowercase: true }, Kind::Unigram];

    /// Some English with rare characters, so that ties are frequent.
    fn text() -> Vec<Result<String, Infallible>> {
        let words =
            ["the", "cat", "sat", "on", "a", "mat", "while", "Ångström", "naïve", "你好", "re-reads", "walking"];
        (0..400usize)
            .map(|i| Ok((0..9).map(|j| words[(i * i + j * 7) % 12]).collect::<Vec<_>>().join(" ") + ".\n"))
            .collect()
    }

    fn run(kind: Kind, vocab_size: usize) -> Trained {
        train(text(), &Training::new(kind, vocab_size)).unwrap()
    }

    #[test]
    fn same_file_for_any_number_of_threads() {
        for kind in KINDS {
            let files = [1, 2, 3, 2].map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(kind, 330)).tokenizer.inner.to_string(false).unwrap()
            });
            assert!(files.iter().all(|file| *file == files[0]), "{kind:?}");
        }
    }

    #[test]
    fn round_trip() {
        for (kind, want) in [
            (Kind::ByteLevelBpe, "The naïve cat,  你好!\n"),
            (Kind::Roberta, "The naïve cat,  你好!\n"),
            (Kind::WordPiece { lowercase: true }, "the naive cat [UNK] 你 好 [UNK]"),
            (Kind::Unigram, "<unk>he naïve cat<unk>  你好<unk>\n"),
        ] {
            let tokenizer = run(kind, 400).tokenizer;
            let ids = tokenizer.encode_ids("The naïve cat,  你好!\n", Special::Without).unwrap();
            assert_eq!(tokenizer.decode(&ids, Special::With).unwrap(), want, "{kind:?}");
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        }
    }

    /// As the released models have it.
    #[test]
    fn masks_take_the_space_before_them() {
        let tokenizer = run(Kind::Roberta, 400).tokenizer;
        let ids = tokenizer.encode_ids("the <mask> sat", Special::With).unwrap();
        let tokens: Vec<String> = ids.iter().filter_map(|&id| tokenizer.id_to_token(id)).collect();
        assert_eq!(tokens, ["<s>", "the", "<mask>", "Ġsat", "</s>"]);
        assert_eq!((ids[0], ids[2], ids[4]), (0, 4, 2));
        assert_eq!(tokenizer.special().pad.as_ref().map(|t| t.id), Some(1));
    }

    #[test]
    fn saved_and_loaded() {
        for kind in KINDS {
            let dir = tempfile::tempdir().unwrap();
            let trained = run(kind, 300).tokenizer;
            trained.save(dir.path()).unwrap();
            let loaded = Tokenizer::load(dir.path()).unwrap();
            assert_eq!(loaded.special(), trained.special());
            assert_eq!(loaded.hash(), trained.hash());
        }
    }

    #[test]
    fn merges_equal_the_reference() {
        // Where no two routes lead to one token, the crate's own trainer is deterministic, and must agree.
        let mut reference =
            tokenizer(Kind::ByteLevelBpe.file(json!({"type": "BPE", "vocab": {}, "merges": []}), &[])).unwrap();
        let mut trainer: tokenizers::models::TrainerWrapper = tokenizers::models::bpe::BpeTrainer::builder()
            .vocab_size(300)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect())
            .special_tokens(vec![tokenizers::AddedToken::from("<|endoftext|>", true)])
            .build()
            .into();
        reference.train(&mut trainer, text().into_iter().map(Result::unwrap)).unwrap();
        let ours = run(Kind::ByteLevelBpe, 300).tokenizer;
        assert_eq!(ours.inner.get_vocab(true), reference.get_vocab(true));
    }

    #[test]
    fn too_small_and_empty() {
        for kind in KINDS {
            let error = train(text(), &Training::new(kind, 10)).err().unwrap();
            assert!(matches!(error, Error::VocabularyTooSmall { got: 10, .. }), "{kind:?}: {error}");
            let none = std::iter::empty::<Result<String, Infallible>>();
            assert!(matches!(train(none, &Training::new(kind, 300)), Err(Error::NoText)), "{kind:?}");
        }
    }

    #[test]
    fn cap_is_reported() {
        let trained = train(text(), &Training { max_bytes: 1000, ..Training::new(Kind::ByteLevelBpe, 300) }).unwrap();
        assert_eq!((trained.bytes, trained.all_text), (1000, false));
        assert!(run(Kind::ByteLevelBpe, 300).all_text);
    }
}
