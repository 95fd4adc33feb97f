//! `bedstone classify`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use bedstone_infer::tasks::{
    Labels,
    classify::{ScoreFunction, TextPair, classify},
};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    encoder_model,
    pictures::{Folder, each_group, folder, listed, vision_model},
    unnamed,
};
use crate::{
    args::RuntimeArgs,
    output,
    texts::{DataArgs, at_place, places},
};

/// Label texts or pictures
#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    /// A checkpoint or run directory, or a hub id: org/name or org/name@revision
    model: PathBuf,
    /// Texts, or files and folders of pictures
    #[arg(value_name = "TEXT|PICTURE")]
    texts: Vec<String>,
    /// Texts come in twos: one after the other, with a tab between them in lines, as fields `text` and `pair` in rows
    #[arg(long)]
    pair: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Labels to show, the likeliest first [default: 1, or all where several may hold]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    /// What makes scores of the model's numbers [default: by problem_type]
    #[arg(long, value_enum)]
    function: Option<FunctionArg>,
    /// One JSON object a text or picture: text or picture, labels (label, score), and pair and truncated where they hold
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FunctionArg {
    /// One label of several
    Softmax,
    /// Each label by itself
    Sigmoid,
    /// Numbers as they are
    None,
}

pub(crate) fn run(args: &ClassifyArgs) -> anyhow::Result<ExitCode> {
    let dir = match folder(&args.model)? {
        Folder::Pictures(dir) => return pictures(args, &dir),
        Folder::Texts(dir) => dir,
    };
    let texts = args.data.read(&args.texts, args.pair)?;
    let model = encoder_model(&dir, args.runtime.runtime()?)?;
    let labels = Labels::of(model.model.config())?;
    let function = args.function.map(|function| match function {
        FunctionArg::Softmax => ScoreFunction::Softmax,
        FunctionArg::Sigmoid => ScoreFunction::Sigmoid,
        FunctionArg::None => ScoreFunction::None,
    });
    let all: Vec<TextPair<'_>> = texts.iter().map(|t| TextPair { text: &t.text, pair: t.pair.as_deref() }).collect();
    let results = classify(model.encoder(), &all, function).map_err(|e| at_place(e, &texts))?;
    unnamed(&model, &labels);
    let cut: Vec<usize> = (0..results.len()).filter(|&i| results[i].truncated).collect();
    if !cut.is_empty() {
        let limit = model.encoder().max_length();
        output::note(format!("note: cut to {limit} tokens: {}", places(&texts, &cut)));
    }
    let several = function.map_or(ScoreFunction::of(model.encoder(), labels.names().len())?, |f| f);
    let top = match args.top {
        Some(top) => top as usize,
        None if several == ScoreFunction::Softmax => 1,
        None => labels.names().len(),
    };
    for (text, result) in texts.iter().zip(&results) {
        let best: Vec<(&str, f32)> = result.top(top).into_iter().map(|(c, score)| (labels.name(c), score)).collect();
        if args.json {
            let list: Vec<_> = best.iter().map(|(label, score)| json!({"label": label, "score": score})).collect();
            let mut object = json!({"text": text.text, "labels": list});
            if let Some(pair) = &text.pair {
                object["pair"] = pair.as_str().into();
            }
            if result.truncated {
                object["truncated"] = true.into();
            }
            output::line(object)?;
        } else {
            let list: Vec<String> = best.iter().map(|(label, score)| format!("{label} {score:.4}")).collect();
            let pair = text.pair.as_ref().map(|pair| format!("\t{pair}")).unwrap_or_default();
            output::line(format!("{}\t{}{pair}", list.join(", "), text.text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pictures(args: &ClassifyArgs, dir: &Path) -> anyhow::Result<ExitCode> {
    let of_texts = [
        ("--pair", args.pair),
        ("--data", !args.data.data.is_empty()),
        ("--field", args.data.field.is_some()),
        ("--function", args.function.is_some()),
    ];
    if let Some((flag, _)) = of_texts.into_iter().find(|(_, given)| *given) {
        return Err(output::Usage(format!("{flag}: has no use for a model of pictures")).into());
    }
    let paths = listed(&args.texts, None)?;
    let model = vision_model(dir, args.runtime.runtime()?)?;
    each_group(&paths, |paths, pictures| {
        let all = model.vision().classify(pictures, args.top.unwrap_or(1) as usize)?;
        for (path, best) in paths.iter().zip(all) {
            if args.json {
                let list: Vec<_> = best.iter().map(|c| json!({"label": c.label, "score": c.score})).collect();
                output::line(json!({"picture": path, "labels": list}))?;
            } else {
                let list: Vec<String> = best.iter().map(|c| format!("{} {:.4}", c.label, c.score)).collect();
                output::line(format!("{}\t{}", list.join(", "), path.display()))?;
            }
        }
        Ok(())
    })
}
