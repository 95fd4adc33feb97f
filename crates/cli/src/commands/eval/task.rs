//! An encoder on labelled data.

use std::{path::Path, process::ExitCode};

use bedstone_infer::{
    metrics::{ClassReport, Prf},
    tasks::embed::{SentenceEncoder, is_sentence_transformer},
};
use bedstone_run::{Setting, confusion::ConfusionPicture, dir::model_folder};
use bedstone_train::{MeasureRequest, Task, TaskReport, TrainError, measure, measure_pictures};
use serde_json::json;

use super::{
    super::{
        encoder_model,
        finetune::scores_object,
        pictures::{Folder, folder, vision_model},
        unused,
    },
    EvalArgs,
};
use crate::output;

/// How well an encoder does its task.
pub(super) fn run(args: &EvalArgs, data: &Path, task: Task) -> anyhow::Result<ExitCode> {
    let settings: Vec<Setting> =
        args.set.iter().map(|set| Setting::parse(set)).collect::<Result<_, _>>().map_err(TrainError::from)?;
    let runtime = args.runtime.runtime()?;
    let dir = match folder(&args.model)? {
        Folder::Pictures(dir) => {
            if !matches!(task, Task::Classify | Task::Detect) {
                let text = format!(
                    "--task {}: {} is a model of pictures: classify or detect",
                    task.name(),
                    args.model.display()
                );
                return Err(output::Usage(text).into());
            }
            let report = measure_pictures(&vision_model(&dir, runtime)?, task, data, &settings)?;
            return tell(args, data, &report);
        }
        Folder::Texts(dir) => dir,
    };
    let (model, sentence) = match task {
        Task::Embed => {
            let dir = model_folder(&dir)?;
            let (encoder, report) = SentenceEncoder::load(&dir, runtime)?;
            unused(&dir, &report);
            if !is_sentence_transformer(&dir) {
                output::note(format!("note: {}: no modules.json: vectors are means of the last states", dir.display()));
            }
            (encoder.model, Some(encoder.config))
        }
        _ => (encoder_model(&dir, runtime)?, None),
    };
    let report = measure(MeasureRequest { model, sentence, task, data, settings: &settings })?;
    tell(args, data, &report)
}

/// Shows what was measured.
fn tell(args: &EvalArgs, data: &Path, report: &TaskReport) -> anyhow::Result<ExitCode> {
    report.notes.iter().for_each(|note| output::note(format!("note: {}: {note}", data.display())));
    if let Some(path) = &args.confusion {
        picture(path, data, report)?;
    }
    if args.json {
        output::line(object(report))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in &report.scores.0 {
        output::line(format!("{name:<26} {value:.4}"))?;
    }
    output::line(format!("{:<26} {}", "examples", report.examples))?;
    table(report)
}

fn picture(path: &Path, data: &Path, report: &TaskReport) -> anyhow::Result<()> {
    let Some(counts) = report.confusion.clone() else {
        let what = "texts with several classes have no confusion matrix";
        return Err(output::Usage(format!("--confusion {}: {what}", path.display())).into());
    };
    let names = report.classes.iter().map(|(name, _)| name.clone()).collect();
    Ok(ConfusionPicture { title: data.display().to_string(), names, counts }.write(path)?)
}

fn object(report: &TaskReport) -> serde_json::Value {
    let mut object = json!({"examples": report.examples, "scores": scores_object(&report.scores)});
    if !report.classes.is_empty() {
        let row = |(name, p): &(String, Prf)| json!({"label": name, "precision": p.precision, "recall": p.recall, "f1": p.f1, "support": p.support});
        object["classes"] = report.classes.iter().map(row).collect();
    }
    if !report.objects.is_empty() {
        // A class that does not occur has no figures: null.
        let row = |(name, c): &(String, ClassReport)| json!({"label": name, "AP": c.ap, "AP50": c.ap50, "AR@100": c.ar100, "support": c.support});
        object["classes"] = report.objects.iter().map(row).collect();
    }
    if let Some(confusion) = &report.confusion {
        object["confusion"] = json!(confusion);
    }
    object
}

/// How well objects of each class are found; of classes that do not occur there is nothing to say.
fn objects(report: &TaskReport) -> anyhow::Result<()> {
    let occurring = report.objects.iter().filter(|(_, c)| c.support > 0);
    let wide = occurring.clone().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
    if occurring.clone().next().is_some() {
        output::line(format!("\n{:<wide$}      AP    AP50  AR@100  support", "label"))?;
    }
    for (name, c) in occurring {
        let [ap, ap50, ar] = [c.ap, c.ap50, c.ar100].map(|x| x.map_or("-".to_owned(), |x| format!("{x:.4}")));
        output::line(format!("{name:<wide$}  {ap:>6}  {ap50:>6}  {ar:>6}  {:>7}", c.support))?;
    }
    Ok(())
}

/// Classes by themselves, and what was taken for what.
fn table(report: &TaskReport) -> anyhow::Result<ExitCode> {
    objects(report)?;
    let names = report.classes.iter().map(|(name, _)| name.as_str());
    let wide = names.clone().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    if !report.classes.is_empty() {
        output::line(format!("\n{:<wide$}  precision  recall      F1  support", "label"))?;
    }
    for (name, p) in &report.classes {
        let Prf { precision, recall, f1, support } = p;
        output::line(format!("{name:<wide$}  {precision:>9.4}  {recall:.4}  {f1:.4}  {support:>7}"))?;
    }
    let Some(confusion) = &report.confusion else { return Ok(ExitCode::SUCCESS) };
    let cell = names.clone().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    let head: String = names.clone().map(|name| format!("  {name:>cell$}")).collect();
    output::line(format!("\n{:<wide$}{head}", "true"))?;
    for (name, row) in names.zip(confusion) {
        let cells: String = row.iter().map(|n| format!("  {n:>cell$}")).collect();
        output::line(format!("{name:<wide$}{cells}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
