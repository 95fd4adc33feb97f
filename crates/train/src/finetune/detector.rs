//! What a detector that learns has in its `config.json`: what the recipe says, else what the model had, else what is usual.

use bedstone_infer::tasks::detected::NMS_KEY;
use bedstone_models::checkpoint::ConfigFile;
use bedstone_run::Recipe;
use serde_json::{Map, Value, json};

use super::recipe::{DetectConfig, PictureRecipe};
use crate::Result;

/// Kinds whose body a YOLOS has.
pub(super) const BECOMES_YOLOS: [&str; 3] = ["vit", "deit", "vit_mae"];

/// The weight of the loss of patches that a detector was trained with.
pub(super) const PATCH_LOSS_KEY: &str = "patch_loss_coefficient";

/// Boxes of a ViT that becomes a detector.
const QUERIES: usize = 30;

/// The cost or weight of a loss: its key, what the recipe says, and what is usual.
type Cost = (&'static str, Option<f64>, f64);

/// The one of them that need be no whole number.
const EOS_KEY: &str = "eos_coefficient";

fn costs(d: &DetectConfig) -> [Cost; 6] {
    [
        ("class_cost", d.class_cost, 1.0),
        ("bbox_cost", d.bbox_cost, 5.0),
        ("giou_cost", d.giou_cost, 2.0),
        (EOS_KEY, d.eos_coefficient, 0.1),
        ("bbox_loss_coefficient", d.bbox_loss_coefficient, 5.0),
        ("giou_loss_coefficient", d.giou_loss_coefficient, 2.0),
    ]
}

/// The fields that make a detector of the model with this `config`, beside its size.
pub(super) fn detector(config: &ConfigFile, recipe: &Recipe<PictureRecipe>) -> Result<Map<String, Value>> {
    let d = &recipe.values.detect;
    let model_type = config.model_type().map_err(bedstone_models::ModelError::from)?;
    let becomes = BECOMES_YOLOS.contains(&model_type);
    let mut fields = Map::new();
    for (key, given, usual) in costs(d) {
        if let Some(x) = given.or(becomes.then_some(usual)) {
            fields.insert(key.into(), if key == EOS_KEY { json!(x) } else { whole(x) });
        }
    }
    match d.patch_loss_coefficient {
        Some(weight) if weight > 0.0 && model_type == "detr" => {
            return Err(recipe.without_use("detect.patch_loss_coefficient", "patches of a detr say no boxes").into());
        }
        Some(weight) if weight > 0.0 || config.get(PATCH_LOSS_KEY).is_some() => {
            fields.insert(PATCH_LOSS_KEY.into(), json!(weight));
        }
        None if becomes => {
            fields.insert(PATCH_LOSS_KEY.into(), json!(1.0));
        }
        Some(_) | None => {}
    }
    // What the model had before holds no longer.
    if let Some(nms) = d.nms.filter(|nms| *nms > 0.0 || config.get(NMS_KEY).is_some()) {
        fields.insert(NMS_KEY.into(), if nms > 0.0 { json!(nms) } else { Value::Null });
    }
    if becomes {
        fields.insert("model_type".into(), "yolos".into());
        fields.insert("num_detection_tokens".into(), d.queries.unwrap_or(QUERIES).into());
        fields.insert("use_mid_position_embeddings".into(), false.into());
    } else if let Some(has) = boxes(config).filter(|has| d.queries.is_some_and(|queries| queries != *has)) {
        let why = format!("the model has {has} boxes; a ViT that becomes a detector gets as many as are wanted");
        recipe.refuse([("detect.queries", why)])?;
    }
    Ok(fields)
}

/// How many boxes a detector has.
fn boxes(config: &ConfigFile) -> Option<usize> {
    let key = match config.model_type() {
        Ok("yolos") => "num_detection_tokens",
        Ok("detr") => "num_queries",
        _ => return None,
    };
    config.usize(key).ok().map(|has| has.unwrap_or(100))
}

/// The weight of the loss of patches of a model with this `config`, which `detector` made; a detr has none.
pub(super) fn patch_loss(config: &ConfigFile) -> Result<f64> {
    let wrong = || bedstone_models::ModelError::from(config.wrong(PATCH_LOSS_KEY, "a number of 0 or more"));
    match config.get(PATCH_LOSS_KEY) {
        Some(value) if config.model_type().is_ok_and(|kind| kind == "yolos") => {
            Ok(value.as_f64().filter(|x| *x >= 0.0).ok_or_else(wrong)?)
        }
        Some(_) | None => Ok(0.0),
    }
}

/// What a model that is a detector already keeps of its own, for people; nothing where there is nothing.
pub(super) fn kept(config: &ConfigFile, recipe: &Recipe<PictureRecipe>) -> Option<String> {
    let d = &recipe.values.detect;
    let more = [(PATCH_LOSS_KEY, d.patch_loss_coefficient), (NMS_KEY, d.nms)];
    let all = costs(d).into_iter().map(|(key, given, _)| (key, given)).chain(more);
    let own = all.filter(|(_, given)| given.is_none()).filter_map(|(key, _)| Some((key, config.get(key)?)));
    let told = own.filter(|(_, x)| x.is_number()).map(|(key, x)| format!(", {key} {x}"));
    boxes(config).map(|boxes| format!("{boxes} boxes{}", told.collect::<String>()))
}

/// A whole number without a point, as `transformers` wants it.
fn whole(x: f64) -> Value {
    (x as i64).into()
}
