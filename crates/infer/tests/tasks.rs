//! Tasks on encoders: batches, wrong inputs, sentence-transformers' files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bedstone_infer::{
    Runtime,
    tasks::{
        EncoderModel, Labels,
        answer::{AnswerOptions, Question, answer},
        classify::classify,
        embed::{Module, Pooling, SentenceConfig, SentenceEncoder, save_sentence_transformer},
        fill::{FillOptions, fill},
        tag::{Aggregation, TagOptions, tag},
    },
};
use bedstone_tensor::{Activation, Isa, Precision, Tensor};

const RUNTIME: Runtime = Runtime { isa: Isa::PORTABLE, precision: Precision::F32 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn model(name: &str) -> EncoderModel {
    EncoderModel::load(&fixture(name), RUNTIME).unwrap().0
}

fn sentences() -> (SentenceEncoder, Vec<String>) {
    let dir = fixture("sentence-embedding");
    let texts = fs::read_to_string(dir.join("sentences.json")).unwrap();
    (SentenceEncoder::load(&dir, RUNTIME).unwrap().0, serde_json::from_str(&texts).unwrap())
}

/// An error of this text, for the fixture's model.
#[track_caller]
fn check<T>(result: bedstone_infer::Result<T>, dir: &str, want: &str) {
    let got = result.err().expect("an error").to_string();
    assert_eq!(got.replace(&fixture(dir).display().to_string(), dir), want);
}

#[test]
fn a_batch_changes_no_result_beyond_rounding() {
    let (mut encoder, texts) = sentences();
    let many: Vec<&String> = texts.iter().cycle().take(40).collect();
    let together = encoder.embed(&many, None).unwrap();
    encoder.model.runtime.isa = Isa::detect();
    for (i, text) in many.iter().enumerate() {
        let alone = encoder.embed(&[text], None).unwrap();
        let error = alone.row(0).iter().zip(together.row(i)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 2e-6, "text {i}: {error}");
    }
    // The third text of the fixture is empty, the last is too long for it.
    assert_eq!(encoder.embed(&texts, None).unwrap().truncated, [4]);
    assert!(encoder.embed::<&str>(&[], None).unwrap().is_empty());
}

#[test]
fn small_batches_give_the_same() {
    let model = model("bert-seqcls");
    let texts: Vec<String> = (1..9).map(|n| "fox dog ".repeat(n)).collect();
    let inputs: Vec<_> = texts.iter().map(|t| t.as_str().into()).collect();
    let all = classify(model.encoder(), &inputs, None).unwrap();
    let mut encoder = model.encoder();
    encoder.batch_tokens = 1;
    let single = classify(encoder, &inputs, None).unwrap();
    for (a, b) in all.iter().zip(&single) {
        assert!(a.scores.iter().zip(&b.scores).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }
}

#[test]
fn other_models_name_their_command() {
    let (bert, classes) = (model("bert"), model("bert-seqcls"));
    let no = "`BertForPreTraining` cannot";
    check(
        classify(bert.encoder(), &["a".into()], None),
        "bert",
        &format!(
            "bert: {no} classify\nhint: `bedstone fill` serves this model; `bedstone finetune --task classify` makes one of it that can"
        ),
    );
    check(
        tag(bert.encoder(), &["a"], &TagOptions::default()),
        "bert",
        &format!(
            "bert: {no} tag\nhint: `bedstone fill` serves this model; `bedstone finetune --task tag` makes one of it that can"
        ),
    );
    let question = Question { question: "a", context: "b" };
    check(
        answer(bert.encoder(), &[question], &AnswerOptions::default()),
        "bert",
        &format!(
            "bert: {no} answer\nhint: `bedstone fill` serves this model; `bedstone finetune --task answer` makes one of it that can"
        ),
    );
    check(fill(classes.encoder(), &["[MASK]"], &FillOptions::default()), "bert-seqcls", {
        "bert-seqcls: `BertForSequenceClassification` cannot fill\nhint: `bedstone classify` serves this model"
    });
    check(SentenceEncoder::load(&fixture("gpt2"), RUNTIME), "gpt2", {
        "gpt2: `GPT2LMHeadModel` cannot embed\nhint: `bedstone generate` serves this model"
    });
}

#[test]
fn wrong_texts_are_named() {
    let options = FillOptions::default();
    let (bert, classes, tags) = (model("bert"), model("bert-seqcls"), model("bert-tokencls"));
    check(fill(bert.encoder(), &["a [MASK]", "no such thing"], &options), "", {
        "text 1 has no [MASK]: \"no such thing\"\nhint: write [MASK] where a word is to be guessed"
    });
    let long = "fox ".repeat(50) + "[MASK]";
    let got = fill(bert.encoder(), &[&long], &options).err().unwrap().to_string();
    assert!(got.starts_with("text 0 has ") && got.ends_with(" tokens, the model takes 40"), "{got}");
    check(fill(bert.encoder(), &[""], &options), "", "text 0 is empty");
    check(classify(classes.encoder(), &["a".into(), " \n".into()], None), "", "text 1 is empty");
    check(tag(tags.encoder(), &["\t"], &TagOptions::default()), "", "text 0 is empty");
    let long = classify(classes.encoder(), &[long.as_str().into()], None).unwrap();
    assert!(long[0].truncated);
    let window = AnswerOptions { doc_stride: Some(36), ..AnswerOptions::default() };
    let question = Question { question: "Who?", context: &"fox dog cat ".repeat(40) };
    let got = answer(model("bert-qa").encoder(), &[question], &window).err().unwrap().to_string();
    assert!(got.starts_with("windows of 40 tokens leave "), "{got}");
}

#[test]
fn tokens_of_several_windows_come_once() {
    let model = model("bert-tokencls");
    let text = "the quick brown fox jumps over the lazy dog, ".repeat(6);
    let options = TagOptions { aggregation: Aggregation::None, ignore_labels: vec![], ..TagOptions::default() };
    let tokens = tag(model.encoder(), &[&text], &options).unwrap().remove(0);
    assert!(tokens.windows(2).all(|w| w[0].end <= w[1].start), "{tokens:?}");
    // Nothing of the text is without a label.
    let covered: usize = tokens.iter().map(|t| t.end - t.start).sum();
    assert_eq!(covered, text.chars().filter(|c| !c.is_whitespace()).count());
}

#[test]
fn problem_types_choose_the_function() {
    use bedstone_infer::tasks::classify::ScoreFunction;
    use bedstone_models::{checkpoint::ConfigFile, load_with};
    let dir = fixture("bert-seqcls");
    let function = |problem: Option<&str>| {
        let mut fields = ConfigFile::open(&dir).unwrap().fields().clone();
        fields.insert("problem_type".into(), problem.into());
        let (model, _) = load_with(&dir, ConfigFile::new("config.json", fields)).unwrap();
        let model = EncoderModel::new(model, &dir, RUNTIME).unwrap();
        let labels = Labels::of(model.model.config()).unwrap();
        ScoreFunction::of(model.encoder(), labels.names().len()).unwrap()
    };
    assert_eq!(function(None), ScoreFunction::Softmax);
    assert_eq!(function(Some("single_label_classification")), ScoreFunction::Softmax);
    assert_eq!(function(Some("multi_label_classification")), ScoreFunction::Sigmoid);
    assert_eq!(function(Some("regression")), ScoreFunction::None);
}

#[test]
fn what_is_saved_is_read_again() {
    let (encoder, texts) = sentences();
    let dense = Module::Dense {
        weight: Tensor::from_slice(&(0..7 * 64).map(|i| (i as f32).sin()).collect::<Vec<_>>(), [7, 64]),
        bias: Some(Tensor::from_slice(&[0.1f32, -0.2, 0.3, 0.0, 0.5, 0.6, 0.7], [7])),
        activation: Activation::Tanh,
    };
    let pooling = Module::Pooling { modes: vec![Pooling::Mean, Pooling::Cls], include_prompt: false };
    let config = SentenceConfig {
        max_seq_length: Some(20),
        do_lower_case: true,
        modules: vec![pooling, dense, Module::Normalize],
        prompts: vec![("query".into(), "query: ".into())],
        default_prompt_name: Some("query".into()),
    };
    let dir = tempfile::tempdir().unwrap();
    let model = &encoder.model;
    save_sentence_transformer(dir.path(), &model.model, &model.tokenizer, &config).unwrap();
    let (again, report) = SentenceEncoder::load(dir.path(), RUNTIME).unwrap();
    assert!(report.unused.is_empty(), "{report:?}");
    let before =
        SentenceEncoder::new(EncoderModel::load(&fixture("sentence-embedding"), RUNTIME).unwrap().0, config).unwrap();
    let prompt = again.config.prompt(None).unwrap();
    assert_eq!(prompt, Some("query: "));
    let (a, b) = (again.embed(&texts, prompt).unwrap(), before.embed(&texts, prompt).unwrap());
    assert_eq!((a.width, &a), (7, &b));
}

/// An error of this text for a copy of the fixture whose file `name` holds `content`.
#[track_caller]
fn check_layout(name: &str, content: &str, want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let from = fixture("sentence-embedding");
    fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    fs::create_dir(dir.path().join("2_Dense")).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"] {
        fs::copy(from.join(file), dir.path().join(file)).unwrap();
    }
    fs::write(dir.path().join(name), content).unwrap();
    let got = SentenceEncoder::load(dir.path(), RUNTIME).err().expect("an error").to_string();
    let got = got.replace(&dir.path().display().to_string(), "dir");
    assert!(got.contains(want), "{got}\n{want}");
}

#[test]
fn wrong_layouts_are_named() {
    check_layout("modules.json", "[", "dir/modules.json: EOF");
    check_layout("modules.json", "[]", "dir/modules.json: no modules");
    let one = |kind: &str, path: &str| {
        let t = r#"{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}"#;
        format!(r#"[{t}, {{"idx": 1, "name": "1", "path": "{path}", "type": "{kind}"}}]"#)
    };
    let module = |kind: &str| one(&format!("sentence_transformers.models.{kind}"), "1_Pooling");
    check_layout("modules.json", &module("CNN"), "module 1: got `sentence_transformers.models.CNN`, known are");
    check_layout("modules.json", &one("custom.Pooling", "1_Pooling"), "module 1: got `custom.Pooling`");
    check_layout(
        "modules.json",
        &module("Normalize"),
        "first module after the encoder: got another one, wanted Pooling",
    );
    check_layout("modules.json", &one("sentence_transformers.models.Pooling", "../x"), "leads out of the checkpoint");
    check_layout(
        "1_Pooling/config.json",
        r#"{"pooling_mode": "middle"}"#,
        "1_Pooling/config.json: field `pooling_mode`",
    );
    check_layout("1_Pooling/config.json", r#"{"pooling_mode": 3}"#, "field `pooling_mode`");
    check_layout("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": 3}"#, "field `pooling_mode_mean_tokens`");
    check_layout("sentence_bert_config.json", r#"{"max_seq_length": 0}"#, "field `max_seq_length`");
    check_layout("config_sentence_transformers.json", r#"{"default_prompt_name": "q"}"#, "field `default_prompt_name`");
    check_layout("config_sentence_transformers.json", r#"{"prompts": ["q"]}"#, "field `prompts`");
}

#[test]
fn spellings_of_pooling() {
    #[track_caller]
    fn check(json: &str, want: &[Pooling]) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        let from = fixture("sentence-embedding");
        fs::copy(from.join("modules.json"), dir.path().join("modules.json")).unwrap();
        fs::write(dir.path().join("1_Pooling/config.json"), json).unwrap();
        assert_eq!(SentenceConfig::open(dir.path(), 32).unwrap().pooling(), want, "{json}");
    }
    check(r#"{"pooling_mode": "cls"}"#, &[Pooling::Cls]);
    check(r#"{"pooling_mode": ["mean", "max"]}"#, &[Pooling::Mean, Pooling::Max]);
    check(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#, &[Pooling::Cls, Pooling::Mean]);
    check(r#"{"pooling_mode_lasttoken": true}"#, &[Pooling::LastToken]);
    check(r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#, &[Pooling::MeanSqrtLen]);
    check(r#"{"word_embedding_dimension": 32}"#, &[Pooling::Mean]);
}

#[test]
fn prompts_by_name() {
    let config = SentenceConfig { prompts: vec![("a".into(), "A: ".into())], ..SentenceConfig::plain(Pooling::Mean) };
    assert_eq!(config.prompt(None).unwrap(), None);
    assert_eq!(config.prompt(Some("a")).unwrap(), Some("A: "));
    assert_eq!(config.prompt(Some("b")).err().unwrap().to_string(), "prompt name: got b, wanted a");
    let none = SentenceConfig::plain(Pooling::Mean).prompt(Some("b")).err().unwrap().to_string();
    assert_eq!(none, "prompt name: got b, wanted none: the model has no prompts");
}
