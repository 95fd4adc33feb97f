//! `bedstone tokenizer`.

use std::{fs, path::PathBuf, process::ExitCode};

use bedstone_data::tokenizer::{
    Special, Tokenizer,
    train::{Kind, Training, train},
};
use bedstone_hub::Want;
use bedstone_run::units;
use bedstone_train::TrainError;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::{
    args::{TextArgs, ThreadArgs},
    model::locate,
    output,
    texts::stdin,
};

/// Train a tokenizer, or use one
#[derive(Debug, Args)]
pub(crate) struct TokenizerArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Learn a vocabulary from text; writes tokenizer.json and what Hugging Face keeps beside it
    Train(TrainArgs),
    /// Text to ids, one line of ids a text
    Encode(EncodeArgs),
    /// Ids to text
    Decode(DecodeArgs),
}

#[derive(Debug, Args)]
struct TrainArgs {
    #[command(flatten)]
    text: TextArgs,
    /// What to learn
    #[arg(long, value_enum, default_value = "bpe")]
    kind: KindArg,
    /// Tokens in the vocabulary, special ones included
    #[arg(long, value_name = "N", default_value_t = 8192)]
    vocab_size: usize,
    /// Pairs that occur less often are not merged
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_frequency: u64,
    /// Keep upper case (WordPiece)
    #[arg(long)]
    cased: bool,
    /// The directory to write into; missing or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// Byte-level BPE, as GPT-2
    Bpe,
    /// Byte-level BPE with `<s>`, `</s>` and `<mask>`, as RoBERTa
    Roberta,
    /// WordPiece, as BERT
    Wordpiece,
    /// Unigram, as T5
    Unigram,
}

#[derive(Debug, Args)]
struct EncodeArgs {
    /// A checkpoint directory, a hub id, tokenizer.json, a SentencePiece model, or vocab.txt
    tokenizer: PathBuf,
    /// The text; the standard input if not given
    #[arg(allow_negative_numbers = true)]
    text: Vec<String>,
    /// Without the special tokens around a text
    #[arg(long)]
    no_special: bool,
    /// One JSON object a text: ids, tokens, offsets (in characters), type_ids
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DecodeArgs {
    /// A checkpoint directory, a hub id, tokenizer.json, a SentencePiece model, or vocab.txt
    tokenizer: PathBuf,
    /// Ids; the standard input if not given
    ids: Vec<u32>,
    /// Show special tokens
    #[arg(long)]
    special: bool,
}

pub(crate) fn run(args: &TokenizerArgs) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Train(args) => learn(args)?,
        Action::Encode(args) => encode(args)?,
        Action::Decode(args) => decode(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn learn(args: &TrainArgs) -> anyhow::Result<()> {
    args.threads.start()?;
    let kind = match args.kind {
        KindArg::Bpe => Kind::ByteLevelBpe,
        KindArg::Roberta => Kind::Roberta,
        KindArg::Wordpiece => Kind::WordPiece { lowercase: !args.cased },
        KindArg::Unigram => Kind::Unigram,
    };
    if args.cased && !matches!(args.kind, KindArg::Wordpiece) {
        return Err(output::Usage("--cased goes with --kind wordpiece; the others keep case anyway".into()).into());
    }
    if fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some()) {
        anyhow::bail!("{}: the folder is not empty\nhint: choose another --out", args.out.display());
    }
    let corpus = args.text.open()?;
    let training = Training { min_frequency: args.min_frequency, ..Training::new(kind, args.vocab_size) };
    let trained = train(corpus.texts(), &training).map_err(TrainError::from)?;
    fs::create_dir_all(&args.out)
        .map_err(|e| anyhow::anyhow!("{}: cannot make the folder: {e}", args.out.display()))?;
    trained.tokenizer.save(&args.out).map_err(TrainError::from)?;
    let part = if trained.all_text { "all" } else { "the beginning" };
    output::note(format!(
        "{} tokens from {} different words in {} ({part} of the text)",
        units::count(trained.tokenizer.vocab_size() as u64),
        units::count(trained.words as u64),
        units::bytes(trained.bytes),
    ));
    output::line(args.out.display())
}

fn load(path: &std::path::Path) -> anyhow::Result<Tokenizer> {
    Ok(Tokenizer::load(&locate(path, Want::Tokenizer)?).map_err(TrainError::from)?)
}

fn encode(args: &EncodeArgs) -> anyhow::Result<()> {
    let tokenizer = load(&args.tokenizer)?;
    let special = if args.no_special { Special::Without } else { Special::With };
    let texts = if args.text.is_empty() { vec![stdin()?] } else { args.text.clone() };
    for text in texts {
        let e = tokenizer.encode(&text, special).map_err(TrainError::from)?;
        if args.json {
            let object = json!({"ids": e.ids, "tokens": e.tokens, "offsets": e.offsets, "type_ids": e.type_ids});
            output::line(object)?;
        } else {
            output::line(e.ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))?;
        }
    }
    Ok(())
}

fn decode(args: &DecodeArgs) -> anyhow::Result<()> {
    let tokenizer = load(&args.tokenizer)?;
    let special = if args.special { Special::With } else { Special::Without };
    let ids = if args.ids.is_empty() {
        let text = stdin()?;
        let parse = |word: &str| {
            word.parse::<u32>().map_err(|_| output::Usage(format!("standard input: got `{word}`, wanted an id")))
        };
        text.split_whitespace().map(parse).collect::<Result<Vec<u32>, _>>()?
    } else {
        args.ids.clone()
    };
    if let Some(id) = ids.iter().find(|&&id| id as usize >= tokenizer.vocab_size()) {
        anyhow::bail!("{}: id {id}, wanted below {}", args.tokenizer.display(), tokenizer.vocab_size());
    }
    output::line(tokenizer.decode(&ids, special).map_err(TrainError::from)?)
}
