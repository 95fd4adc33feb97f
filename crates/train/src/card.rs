//! The model card, made from the run.

use bedstone_models::Model;
use bedstone_run::units;

use crate::{evaluate::Evaluation, recipe::PretrainRecipe};

/// What the card tells beside the model.
pub(crate) struct Facts<'a> {
    pub(crate) recipe: &'a PretrainRecipe,
    pub(crate) data: String,
    pub(crate) step: u64,
    pub(crate) tokens: u64,
    pub(crate) evaluation: Option<Evaluation>,
}

/// `README.md` of a checkpoint.
pub(crate) fn card(model: &Model, facts: &Facts<'_>) -> String {
    let info = model.info();
    let class = model.class_name();
    let loss = facts.evaluation.map_or(String::new(), |e| {
        format!("| validation loss | {:.4} |\n| bits per byte | {:.4} |\n", e.loss, e.bits_per_byte)
    });
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [bedstone]\n---\n\n\
         # A {} pretrained on {}\n\n\
         | | |\n|---|---|\n\
         | architecture | {class} |\n| parameters | {} |\n| layers, width | {}, {} |\n| vocabulary | {} |\n\
         | context | {} |\n| steps | {} of {} |\n| tokens seen | {} |\n{loss}\n\
         `recipe.toml` describes the training completely; `training/` (beside it, in the run) has the log.\n\n\
         ```sh\nbedstone generate DIR --prompt \"Once\"\n```\n\n\
         ```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\
         model, tokenizer = AutoModelForCausalLM.from_pretrained(DIR), AutoTokenizer.from_pretrained(DIR)\n```\n",
        model.architecture().model_type,
        facts.data,
        units::count(model.params().numel() as u64),
        info.layers,
        info.width,
        info.vocab_size,
        facts.recipe.train.context,
        facts.step,
        facts.recipe.train.steps,
        units::count(facts.tokens),
    )
}
