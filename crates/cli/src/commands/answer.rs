//! `bedstone answer`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_infer::{
    InferError,
    tasks::answer::{AnswerOptions, Answers, Question, answer},
};
use clap::Args;
use serde_json::json;

use super::encoder_model;
use crate::{
    args::RuntimeArgs,
    output::{self, Usage},
    texts::{DataArgs, Text, at_place, text_file},
};

/// Find the answer to a question in a text
#[derive(Debug, Args)]
#[command(after_help = "Offsets count code points. Contexts that are longer than the model are seen through windows.")]
pub(crate) struct AnswerArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// The question; can be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    question: Vec<String>,
    /// The text that holds the answer
    #[arg(long, value_name = "TEXT", conflicts_with = "context_file", allow_hyphen_values = true)]
    context: Option<String>,
    /// A file with that text
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// Files of questions, one a line, - for the standard input; each as QUESTION<tab>CONTEXT where no context is given
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Answers to show, the likeliest first
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Tokens of the longest answer
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    max_answer_len: u16,
    /// Tokens of a window
    #[arg(long, value_name = "N", default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..))]
    max_seq_len: u32,
    /// Tokens that windows share [default: half a window, at most 128]
    #[arg(long, value_name = "N")]
    doc_stride: Option<usize>,
    /// There may be no answer: it is left empty if that is likelier, by more than X in the logarithm
    #[arg(long, value_name = "X", num_args = 0..=1, default_missing_value = "0", allow_negative_numbers = true)]
    unanswerable: Option<f64>,
    /// One JSON object a question: question, answers (answer, score, start, end)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub(crate) fn run(args: &AnswerArgs) -> anyhow::Result<ExitCode> {
    let texts = questions(args)?;
    let model = encoder_model(&args.model, args.runtime.runtime()?)?;
    let all: Vec<Question<'_>> =
        texts.iter().map(|t| Question { question: &t.text, context: t.pair.as_deref().unwrap_or_default() }).collect();
    let options = AnswerOptions {
        top_k: args.top as usize,
        max_answer_len: args.max_answer_len as usize,
        max_seq_len: args.max_seq_len as usize,
        doc_stride: args.doc_stride,
        null_threshold: args.unanswerable,
        ..AnswerOptions::default()
    };
    let results = answer(model.encoder(), &all, &options).map_err(|e| match e {
        InferError::EmptyText { row } if all.get(row).is_some_and(|q| !q.question.trim().is_empty()) => {
            anyhow::anyhow!("{}: the context is empty", texts[row].place)
        }
        other => at_place(other, &texts),
    })?;
    for (i, (text, result)) in texts.iter().zip(&results).enumerate() {
        if args.json {
            output::line(object(&text.text, result, args.unanswerable.is_some()))?;
            continue;
        }
        for a in &result.answers {
            let which = if texts.len() > 1 { format!("{}\t", i + 1) } else { String::new() };
            output::line(format!("{which}{:.4}\t{}..{}\t{}", a.score, a.start, a.end, a.answer.replace('\n', " ")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn object(question: &str, result: &Answers, null: bool) -> serde_json::Value {
    let answers: Vec<_> = result
        .answers
        .iter()
        .map(|a| json!({"answer": a.answer, "score": a.score, "start": a.start, "end": a.end}))
        .collect();
    let mut object = json!({"question": question, "answers": answers});
    if null {
        object["null_score"] = result.null_score.into();
    }
    object
}

/// The questions, each with its context.
fn questions(args: &AnswerArgs) -> anyhow::Result<Vec<Text>> {
    let context = match (&args.context, &args.context_file) {
        (Some(context), _) => Some(context.clone()),
        (None, Some(path)) => Some(text_file(path)?),
        (None, None) => None,
    };
    if let (None, [question, ..]) = (&context, &args.question[..]) {
        return Err(Usage(format!("--question {question:?}: no text, wanted --context or --context-file")).into());
    }
    let data = DataArgs { data: args.data.clone(), field: None };
    if data.data.is_empty() && args.question.is_empty() {
        return Err(Usage("no questions: give --question, or files with --data".into()).into());
    }
    let mut texts = Vec::new();
    for (i, question) in args.question.iter().enumerate() {
        let place = format!("question {}", i + 1);
        texts.push(Text { text: question.clone(), pair: context.clone(), place });
    }
    if !data.data.is_empty() {
        let (own, mut read) = (context.is_none(), Vec::new());
        for path in &data.data {
            data.lines(path, own, &mut read)?;
        }
        for mut text in read {
            if !own {
                text.pair = context.clone();
            }
            texts.push(text);
        }
    }
    Ok(texts)
}
