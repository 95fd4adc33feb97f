//! A language model on a text.

use std::process::ExitCode;

use bedstone_data::shards::{Build, Text, Validation, default_cache_dir};
use bedstone_infer::tasks::command_of;
use bedstone_models::{Architecture, Class, checkpoint::ConfigFile};
use bedstone_run::units;
use bedstone_train::{TrainError, evaluate};

use super::{
    super::{
        pictures::{Folder, folder},
        text_model,
    },
    EvalArgs,
};
use crate::output;

/// How well a language model predicts a text.
pub(super) fn run(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    if let Folder::Pictures(dir) = folder(&args.model)? {
        let hint = match Architecture::of(&ConfigFile::open(&dir)?) {
            Ok((_, Class::ObjectDetection)) => "--task detect",
            Ok((_, Class::ImageClassification | Class::DistilledImageClassification)) => "--task classify",
            _ => "it has none yet: `bedstone finetune` gives it one",
        };
        let name = args.model.display();
        let text = format!("{name}: a model of pictures is measured by its task\nhint: {hint}");
        return Err(output::Usage(text).into());
    }
    let model = text_model(&args.model, args.runtime.runtime()?)?;
    let class = model.model.class();
    if class != Class::CausalLm {
        let (name, got) = (args.model.display(), model.model.class_name());
        let task = match command_of(class) {
            command @ ("classify" | "tag" | "answer" | "detect") => command,
            _ => "embed",
        };
        let text = format!(
            "{name}: `{got}` is no language model, which is what is measured without --task\nhint: --task {task}"
        );
        return Err(output::Usage(text).into());
    }
    let corpus = args.text.open()?;
    let cache = match &args.cache {
        Some(dir) => dir.clone(),
        None => default_cache_dir().map_err(TrainError::from)?,
    };
    let mut build = Build::new(Text::Corpus(&corpus), &model.tokenizer, cache);
    build.validation = Validation::None;
    let shards = build.run().map_err(TrainError::from)?;
    let limit = model.model.info().max_length.unwrap_or(1024);
    let context = match args.context {
        Some(n) if n as usize > limit => {
            return Err(output::Usage(format!("--context: got {n}, the model takes {limit}")).into());
        }
        Some(n) => n as usize,
        None => limit.min(1024),
    };
    output::note(format!("tokens: in {}", shards.dir.display()));
    let e = evaluate(&model.model, model.runtime, &shards.train, context, args.batch.unwrap_or(8).into(), 0)?;
    if !e.loss.is_finite() {
        anyhow::bail!("{}: the loss is {}: the weights are damaged", args.model.display(), e.loss);
    }
    if args.json {
        output::line(serde_json::to_string(&e)?)?;
    } else {
        output::line(format!("loss            {:.4}", e.loss))?;
        output::line(format!("perplexity      {:.3}", e.perplexity))?;
        output::line(format!("bits per byte   {:.4}", e.bits_per_byte))?;
        output::line(format!("tokens          {}", units::count(e.tokens)))?;
    }
    Ok(ExitCode::SUCCESS)
}
