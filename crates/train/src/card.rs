//! The model card, made from the run.

use bedstone_models::{Class, Model};
use bedstone_run::units;

use crate::evaluate::Evaluated;

/// What the card tells beside the model.
pub(crate) struct Facts {
    /// What the model learned from.
    pub(crate) data: String,
    /// Rows of its own.
    pub(crate) more: Vec<(&'static str, String)>,
    pub(crate) step: u64,
    pub(crate) steps: u64,
    /// What was guessed so far.
    pub(crate) seen: u64,
    pub(crate) evaluation: Option<Evaluated>,
}

/// `README.md` of a checkpoint.
pub(crate) fn card(model: &Model, facts: &Facts) -> String {
    let info = model.info();
    let class = model.class_name();
    let rows = facts.evaluation.map(|e| e.rows()).unwrap_or_default();
    let table = |rows: &[(&str, String)]| -> String {
        rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect()
    };
    let (more, loss) = (table(&facts.more), table(&rows));
    let (task, auto, example) = match model.class() {
        Class::CausalLm => ("text-generation", "AutoModelForCausalLM", "generate DIR --prompt \"Once\""),
        Class::MaskedImage => ("image-feature-extraction", "ViTMAEForPreTraining", "embed DIR picture.png"),
        Class::ImageClassification => {
            ("image-classification", "AutoModelForImageClassification", "classify DIR picture.png")
        }
        _ => ("fill-mask", "AutoModelForMaskedLM", "fill DIR \"The [MASK] sleeps.\""),
    };
    let pictures = model.architecture().takes_pictures();
    let (before, variable) =
        if pictures { ("AutoImageProcessor", "processor") } else { ("AutoTokenizer", "tokenizer") };
    let seen = if pictures { "pictures seen" } else { "tokens seen" };
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: {task}\ntags: [bedstone]\n---\n\n\
         # A {} pretrained on {}\n\n\
         | | |\n|---|---|\n\
         | architecture | {class} |\n| parameters | {} |\n| layers, width | {}, {} |\n{more}\
         | steps | {} of {} |\n| {seen} | {} |\n{loss}\n\
         `recipe.toml` describes the training completely; `training/` (beside it, in the run) has the log.\n\n\
         ```sh\nbedstone {example}\n```\n\n\
         ```python\nfrom transformers import {auto}, {before}\n\
         model, {variable} = {auto}.from_pretrained(DIR), {before}.from_pretrained(DIR)\n```\n",
        model.architecture().model_type,
        facts.data,
        units::count(model.params().numel() as u64),
        info.layers,
        info.width,
        facts.step,
        facts.steps,
        units::count(facts.seen),
    )
}
