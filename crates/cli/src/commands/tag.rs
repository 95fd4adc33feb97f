//! `bedstone tag`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_infer::tasks::{
    Labels,
    tag::{Aggregation, Entity, TagOptions, tag},
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{encoder_model, unnamed};
use crate::{
    args::RuntimeArgs,
    output,
    texts::{DataArgs, at_place},
};

/// Label words, and find spans such as names
#[derive(Debug, Args)]
#[command(after_help = "Offsets count code points. Texts that are longer than the model are seen through windows.")]
pub(crate) struct TagArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// Texts
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
    /// How tokens become spans
    #[arg(long, value_enum, default_value = "simple")]
    aggregation: AggregationArg,
    /// Labels that are left out [default: O]
    #[arg(long, value_name = "LABEL", num_args = 0..)]
    ignore: Option<Vec<String>>,
    /// Tokens that windows over a long text share [default: a quarter of the window]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// One JSON object a text: text, entities (label, score, word, start, end)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AggregationArg {
    /// Each token has its label
    None,
    /// Neighbours of one label make a span
    Simple,
    /// A word has the label of its first token
    First,
    /// A word has the label with the largest mean score
    Average,
    /// A word has the label of its surest token
    Max,
}

pub(crate) fn run(args: &TagArgs) -> anyhow::Result<ExitCode> {
    let texts = args.data.read(&args.texts, false)?;
    let model = encoder_model(&args.model, args.runtime.runtime()?)?;
    let labels = Labels::of(model.model.config())?;
    let mut options = TagOptions {
        aggregation: match args.aggregation {
            AggregationArg::None => Aggregation::None,
            AggregationArg::Simple => Aggregation::Simple,
            AggregationArg::First => Aggregation::First,
            AggregationArg::Average => Aggregation::Average,
            AggregationArg::Max => Aggregation::Max,
        },
        stride: args.stride,
        ..TagOptions::default()
    };
    if let Some(ignore) = &args.ignore {
        options.ignore_labels = ignore.clone();
    }
    let all: Vec<&str> = texts.iter().map(|t| t.text.as_str()).collect();
    let results = tag(model.encoder(), &all, &options).map_err(|e| at_place(e, &texts))?;
    unnamed(&model, &labels);
    for (i, (text, entities)) in texts.iter().zip(&results).enumerate() {
        if args.json {
            let entity = |e: &Entity| {
                let mut object =
                    json!({"label": e.label, "score": e.score, "word": e.word, "start": e.start, "end": e.end});
                if let Some(index) = e.index {
                    object["index"] = index.into();
                }
                object
            };
            let entities: Vec<_> = entities.iter().map(entity).collect();
            output::line(json!({"text": text.text, "entities": entities}))?;
            continue;
        }
        for e in entities {
            let which = if texts.len() > 1 { format!("{}\t", i + 1) } else { String::new() };
            output::line(format!("{which}{}..{}\t{}\t{:.4}\t{}", e.start, e.end, e.label, e.score, e.word))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
