//! The model card of a fine-tuned model.

use bedstone_models::{Class, Model};
use bedstone_run::units;

use super::{FinetuneRequest, data::Data, fit::Fitted};

/// `README.md` of the checkpoint.
pub(super) fn card(model: &Model, request: &FinetuneRequest<'_>, data: &Data, fitted: &Fitted) -> String {
    let (pipeline, auto, verb) = match model.class() {
        Class::TokenClassification => ("token-classification", "AutoModelForTokenClassification", "tag"),
        _ => ("text-classification", "AutoModelForSequenceClassification", "classify"),
    };
    let scores: String = fitted.scores.0.iter().map(|(name, value)| format!("| {name} | {value:.4} |\n")).collect();
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: {pipeline}\ntags: [bedstone]\n---\n\n\
         # {} fine-tuned on {}\n\n\
         | | |\n|---|---|\n| architecture | {} |\n| parameters | {} |\n| from | `{}` |\n| step of the best evaluation | {} |\n\
         {scores}\n`recipe.toml` describes the training completely; metrics are those of the evaluation data.\n\n\
         ```sh\nbedstone {verb} DIR \"a text\"\n```\n\n\
         ```python\nfrom transformers import {auto}, AutoTokenizer\n\
         model, tokenizer = {auto}.from_pretrained(DIR), AutoTokenizer.from_pretrained(DIR)\n```\n",
        model.architecture().model_type,
        data.name,
        model.class_name(),
        units::count(model.params().numel() as u64),
        request.name,
        fitted.step,
    )
}
