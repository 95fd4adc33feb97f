//! `bedstone inspect`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use bedstone_data::tokenizer::Tokenizer;
use bedstone_hub::Want;
use bedstone_models::{Architecture, adapter, checkpoint::WeightFiles};
use bedstone_run::{Checkpoint, Verify, dir::model_folder, units};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    model::{locate, word_vectors},
    output,
};

/// Say what a checkpoint or run directory holds
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A checkpoint or run directory, a hub id (org/name or org/name@revision), or a file of word vectors
    dir: PathBuf,
    /// Every tensor as well
    #[arg(long)]
    tensors: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    if args.dir.is_file() || bedstone_words::vectors::is_directory(&args.dir) {
        return words(args);
    }
    let model = locate(&args.dir, Want::Model)?;
    let dir = model_folder(&model)?;
    let config = bedstone_models::config(&dir)?;
    // The factors of a low-rank adapter, which belong to another checkpoint.
    let factors = dir.join(adapter::CONFIG);
    let files = match factors.is_file() {
        true => WeightFiles::open(dir.join(adapter::WEIGHTS))?,
        false => WeightFiles::open(&dir)?,
    };
    let summary = files.summary();
    let architecture = Architecture::of(&config);
    let training = Checkpoint::open(&model, Verify::Sizes)?;
    let tokenizer = Tokenizer::load(&dir);
    let dtypes: Vec<String> = summary.dtypes.iter().map(|d| d.dtype.name().to_owned()).collect();
    let beside = if factors.is_file() { "; the base model's come on top" } else { "" };
    let mut rows: Vec<(&str, Value, String)> = vec![
        ("model_type", json!(config.model_type()?), config.model_type()?.to_owned()),
        (
            "architecture",
            json!(config.architectures()?),
            match &architecture {
                Ok((a, class)) => a.class_name(*class).unwrap_or_default().to_owned(),
                Err(e) => e.to_string().lines().next().unwrap_or_default().to_owned(),
            },
        ),
        ("parameters", json!(summary.parameters), units::count(summary.parameters)),
        ("tensors", json!(summary.tensors), format!("{} in {} file(s)", summary.tensors, summary.files)),
        ("dtypes", json!(dtypes), dtypes.join(", ")),
        ("weight_bytes", json!(summary.bytes), units::bytes(summary.bytes)),
        (
            "memory_to_run_bytes",
            json!(4 * summary.parameters),
            format!("{} of weights in f32{beside}", units::bytes(4 * summary.parameters)),
        ),
        (
            "memory_to_train_bytes",
            json!(16 * summary.parameters),
            format!(
                "{} for weights, gradients and optimizer, plus activations{beside}",
                units::bytes(16 * summary.parameters)
            ),
        ),
    ];
    if factors.is_file() {
        let text = std::fs::read(&factors).with_context(|| factors.display().to_string())?;
        let of: Value = serde_json::from_slice(&text).with_context(|| factors.display().to_string())?;
        let base = of[adapter::BASE].as_str().unwrap_or("an unknown model");
        rows.push(("adapter", json!({"base": base, "r": of["r"]}), format!("of rank {}, for {base}", of["r"])));
    }
    let of_pictures = architecture.as_ref().is_ok_and(|(a, _)| a.takes_pictures());
    match &tokenizer {
        _ if of_pictures => {
            let size = ["image_size", "patch_size"].map(|key| config.get(key).cloned().unwrap_or(Value::Null));
            let [image, patch] = size.each_ref().map(|size| match size {
                Value::Null => "any size".to_owned(),
                size => size.to_string().replace(['[', ']'], "").replace(',', " by "),
            });
            let processor = dir.join("preprocessor_config.json").is_file();
            let how = if processor { "" } else { "; no preprocessor_config.json" };
            rows.push(("pictures", json!(size), format!("of {image}, patches of {patch}{how}")));
        }
        Ok(t) => {
            rows.push(("vocabulary", json!(t.vocab_size()), format!("{} tokens", units::count(t.vocab_size() as u64))))
        }
        Err(_) => rows.push(("vocabulary", Value::Null, "no tokenizer that opens here".into())),
    }
    match &training {
        Some(c) => {
            let optimizer = c.files.iter().any(|f| f.is_state() && f.name.ends_with(".safetensors"));
            let of = if optimizer { "with the optimizer's state" } else { "finished, without an optimizer's state" };
            rows.push(("training_step", json!(c.step), format!("step {}, {} {of}", c.step, units::bytes(c.bytes()))));
        }
        None => rows.push(("training_step", Value::Null, "no training state: not a run of ours".into())),
    }
    if args.json {
        let mut object: serde_json::Map<String, Value> =
            rows.into_iter().map(|(name, value, _)| (name.to_owned(), value)).collect();
        object.insert("config".into(), Value::Object(config.fields().clone()));
        if args.tensors {
            let tensors: Vec<Value> = files
                .names()
                .filter_map(|n| files.get(n))
                .map(|w| json!({"name": w.name, "dtype": w.dtype.name(), "shape": w.shape}))
                .collect();
            object.insert("tensors".into(), tensors.into());
        }
        output::line(Value::Object(object))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, _, text) in rows {
        output::line(format!("{:<16} {text}", name.trim_end_matches("_bytes").replace('_', " ")))?;
    }
    if args.tensors {
        for weight in files.names().filter_map(|n| files.get(n)) {
            output::line(format!("{:<5} {:<18} {}", weight.dtype.name(), format!("{:?}", weight.shape), weight.name))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Word vectors, in a directory or a file.
fn words(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    if args.tensors {
        return Err(output::Usage("--tensors: has no use for word vectors".into()).into());
    }
    let v = word_vectors(&args.dir)?;
    let norms = v.norms();
    let training = if args.dir.is_dir() { Checkpoint::open(&args.dir, Verify::Sizes)? } else { None };
    let counted: u64 = v.vocab.counts().iter().sum();
    let first: Vec<&str> = v.vocab.words().take(5).collect();
    let mut rows: Vec<(&str, Value, String)> = vec![
        ("format", json!(v.format.to_string()), v.format.to_string()),
        ("model_type", json!(v.model_type), v.model_type.clone().unwrap_or_else(|| "not known".into())),
        ("words", json!(v.len()), units::count(v.len() as u64)),
        ("dimensions", json!(v.dimension()), v.dimension().to_string()),
        ("memory_bytes", json!(4 * v.rows().len()), units::bytes(4 * v.rows().len() as u64)),
        ("first_words", json!(first), first.join(" ")),
        (
            "norm",
            json!({"mean": norms.mean, "min": norms.min, "max": norms.max}),
            format!("{:.3} on average, {:.3} to {:.3}", norms.mean, norms.min, norms.max),
        ),
    ];
    if counted > 0 {
        rows.push(("words_counted", json!(counted), units::count(counted)));
    }
    if let Some(n) = v.ngrams() {
        let text = format!("of {} to {} characters in {} buckets", n.minn, n.maxn, units::count(n.bucket as u64));
        rows.push(("ngrams", json!(n), text));
    }
    if let Some(c) = &training {
        rows.push(("training_step", json!(c.step), format!("step {}", c.step)));
    }
    if args.json {
        let object: serde_json::Map<String, Value> =
            rows.into_iter().map(|(name, value, _)| (name.to_owned(), value)).collect();
        output::line(Value::Object(object))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, _, text) in rows {
        output::line(format!("{:<16} {text}", name.trim_end_matches("_bytes").replace('_', " ")))?;
    }
    Ok(ExitCode::SUCCESS)
}
