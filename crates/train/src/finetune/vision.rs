//! Fine-tuning models of pictures: from a recipe to examples and a model.

use std::{collections::BTreeMap, path::Path};

use bedstone_data::{
    labelled::Labels,
    pictures::{LoaderOptions, PictureSet, source::Part},
};
use bedstone_infer::{
    Runtime,
    tasks::{
        detected::{NMS_KEY, PostProcess},
        vision::VisionModel,
    },
};
use bedstone_models::{Class, LoadReport, Model, checkpoint::ConfigFile, transfer};
use bedstone_run::{Interrupt, Layers, Progress, Recipe, Setting};
use serde_json::{Map, Value, json};

use super::{
    FinetuneReport, FinetuneRequest, LoraSave, Prepared, Task, TaskReport,
    adapt::dropout,
    adapted, balance,
    begun::Begun,
    check,
    examples::Evaluate,
    pictures::{PictureEvaluation, PictureTraining},
    points::begin_at_points,
    recipe::{PictureRecipe, PicturesConfig},
    run::learn,
    texts::named,
};
use crate::{
    Result, TrainError,
    pictures::{self, Sets, Source, Want, WorldSource, column, processor},
    precision::resolve,
};

/// The built-in recipe.
pub const PICTURES_RECIPE: &str = include_str!("../../../../recipes/finetune_pictures.toml");

/// Kinds whose body a YOLOS has.
const BODIES: [&str; 3] = ["vit", "deit", "vit_mae"];

/// Kinds whose blocks cannot be left out at random.
const WITHOUT_DROP_PATH: [&str; 2] = ["detr", "resnet"];

/// The weight of the loss of patches that a detector was trained with, in its `config.json`.
const PATCH_LOSS_KEY: &str = "patch_loss_coefficient";

/// Keys that mean something for one task alone.
const OF_ONE_TASK: [(Task, &[&str], &str); 3] = [
    (
        Task::Detect,
        &[
            "detect.queries",
            "detect.repeat",
            "detect.repeat_share",
            "detect.class_cost",
            "detect.bbox_cost",
            "detect.giou_cost",
            "detect.eos_coefficient",
            "detect.bbox_loss_coefficient",
            "detect.giou_loss_coefficient",
            "detect.patch_loss_coefficient",
            "detect.nms",
            "data.images",
            "data.eval_images",
        ],
        "there are no boxes",
    ),
    (Task::Classify, &["augment.mixup", "augment.cutmix", "augment.rand_augment"], "boxes cannot follow"),
    (Task::Classify, &["train.label_smoothing"], "boxes are matched with one class each"),
];

pub(super) fn run(
    request: &FinetuneRequest<'_>,
    dir: &Path,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<FinetuneReport> {
    let begun = Begun::open(request, progress)?;
    let recipe: Recipe<PictureRecipe> = begun.recipe(PICTURES_RECIPE, request)?;
    if let Some(report) = begun.finished(progress) {
        return Ok(report);
    }
    let (r, t) = (&recipe.values, recipe.values.train.clone());
    if r.lora.save == LoraSave::Adapter && r.lora.r == 0 {
        return Err(recipe.without_use("lora.save", "there are factors with lora.r above 0 only").into());
    }
    if t.ema > 0.0 && r.lora.r > 0 {
        return Err(recipe.without_use("train.ema", "factors of lora.r have no average").into());
    }
    let (class, want) = match request.task {
        Task::Classify => (Class::ImageClassification, Want::Classes),
        Task::Detect => (Class::ObjectDetection, Want::Objects),
        other => {
            return Err(TrainError::Examples {
                what: request.name.to_owned(),
                got: format!("--task {}", other.name()),
                wanted: "--task classify or detect".into(),
                hint: "this is a model of pictures".into(),
            });
        }
    };
    let plain: Recipe<PictureRecipe> =
        Recipe::resolve(Layers { built_in: PICTURES_RECIPE, config: None, settings: &[] })?;
    let others = OF_ONE_TASK.iter().filter(|(task, ..)| *task != request.task);
    for (task, keys, why) in others {
        if let Some(key) = keys.iter().find(|key| recipe.value(key) != plain.value(key)) {
            return Err(recipe.without_use(key, format!("{why}, see --task {}", task.name())).into());
        }
    }
    let mixes = r.augment.mix();
    let runtime = Runtime { isa: request.isa, precision: resolve(t.precision, request.isa, &recipe)? };
    let Sets { train, eval, name } = sets(&r.data, want, t.seed)?;
    if want == Want::Objects && r.data.train.is_some() && train.records().iter().all(|p| p.target.objects().is_empty())
    {
        return Err(TrainError::Examples {
            what: name,
            got: "no boxes".into(),
            wanted: "objects to learn to find".into(),
            hint: "`annotations` of COCO hold them: image_id, category_id, bbox".into(),
        });
    }
    let fields = fields(dir, &recipe, request.task, &train)?;
    let size = |model: &Model| {
        model.info().image.ok_or_else(|| TrainError::Examples {
            what: request.name.to_owned(),
            got: "a model of a size that is not known".into(),
            wanted: "a model of pictures".into(),
            hint: "ViT, DeiT, DINOv2, YOLOS and DETR are".into(),
        })
    };
    let options = |model: &Model| {
        let size = size(model)?.size;
        let (augment, processor) = (r.augment.steps(size)?, processor(Some(dir), model, size)?);
        Ok::<_, TrainError>(LoaderOptions { seed: t.seed, augment, processor, mix: mixes })
    };
    let set = train.clone();
    let start = |seed| {
        let (mut model, mut report) = transfer(dir, class, &fields, seed)?;
        if t.random_weights {
            model = Model::random(model.config().clone(), seed)?;
            report = LoadReport { fresh: Vec::new(), ..report };
        }
        if want == Want::Objects {
            let options = options(&model)?;
            begin_at_points(&mut model, &report, &set, &options, runtime.isa)?;
        }
        let low_rank = adapted(&mut model, &report, &r.lora, &t, seed)?;
        Ok::<_, TrainError>((model, report, low_rank))
    };
    let first: (Model, LoadReport, BTreeMap<_, _>) = start(t.seed)?;
    let (image, options) = (size(&first.0)?, options(&first.0)?);
    let processor = options.processor.clone();
    let grid = image.grid();
    let mut training = PictureTraining {
        set: train,
        options,
        label_smoothing: t.label_smoothing,
        weights: None,
        repeated: (r.detect.repeat, (t.epochs as f64 * r.detect.repeat_share).round() as u64),
        patch_loss: fields.get(PATCH_LOSS_KEY).and_then(Value::as_f64).unwrap_or(0.0) as f32,
        grid,
        tokens: (grid[0] * grid[1]) as u64,
    };
    balance(&recipe, &t, &mut training)?;
    let save = |_: &Model, staging: &Path| Ok(processor.save(staging)?);
    let prepared = Prepared {
        start: &start,
        first,
        data_key: [&training.set, &eval].map(|set| set.fingerprint()).concat(),
        train: Box::new(training),
        eval: Box::new(PictureEvaluation {
            set: eval,
            processor: processor.clone(),
            post: PostProcess::new(0.0, r.detect.nms as f32),
        }),
        fit: t.clone(),
        lora: &r.lora,
        runtime,
        save: &save,
        saves_weights: false,
        data: name,
        recipe: recipe.to_toml(),
    };
    learn(request, begun, prepared, progress, interrupt)
}

/// Measures a model of pictures by labelled ones, as fine-tuning does; `settings` are keys of `[data]` of the recipe.
///
/// # Errors
///
/// A model of another class; data that cannot be used, and a label that the model does not have, which name the record.
pub fn measure_pictures(model: &VisionModel, task: Task, data: &Path, settings: &[Setting]) -> Result<TaskReport> {
    let layers = Layers { built_in: PICTURES_RECIPE, config: None, settings };
    let recipe: Recipe<PictureRecipe> = Recipe::resolve(layers)?;
    check(&recipe)?;
    for key in settings.iter().map(Setting::key) {
        match &key[..] {
            "data.images" | "data.picture" | "data.label" => {}
            "detect.nms" if task == Task::Detect => {}
            _ => return Err(recipe.without_use(&key, "nothing is trained").into()),
        }
    }
    let (class, want) = match task {
        Task::Detect => (Class::ObjectDetection, Want::Objects),
        _ => (Class::ImageClassification, Want::Classes),
    };
    model.vision().need(task.name(), class)?;
    let labels = Labels::new(bedstone_infer::tasks::Labels::of(model.model.config())?.names().to_vec())?;
    let d = &recipe.values.data;
    let (picture, label) = (column(&d.picture), column(&d.label));
    let source = Source { path: data, images: d.images.as_deref(), picture, label };
    let set = pictures::read(&source, Part::Test, Some(&labels), want)?;
    let post = match settings.iter().any(|s| s.key() == "detect.nms") {
        true => PostProcess::new(0.0, recipe.values.detect.nms as f32),
        false => PostProcess::of(model.model.config(), 0.0)?,
    };
    let evaluation = PictureEvaluation { set, processor: model.processor.clone(), post };
    let report = evaluation.report(&model.model, model.runtime)?;
    let notes = evaluation.notes().into_iter().chain(report.notes.iter().cloned()).collect();
    Ok(TaskReport { examples: evaluation.len(), notes, ..report })
}

fn sets(data: &PicturesConfig, want: Want, seed: u64) -> Result<Sets> {
    let Some(path) = &data.train else {
        let source = WorldSource { pictures: data.pictures, side: data.side, classes: data.classes };
        return pictures::world(source, want);
    };
    let (picture, label) = (column(&data.picture), column(&data.label));
    let images = data.images.as_deref();
    let train = Source { path, images, picture, label };
    let eval =
        data.eval.as_ref().map(|path| Source { path, images: data.eval_images.as_deref().or(images), picture, label });
    pictures::open(&train, eval.as_ref(), want, seed)
}

/// The fields of `config.json` that the task needs: names of classes, size, and what a detector has.
fn fields(dir: &Path, recipe: &Recipe<PictureRecipe>, task: Task, train: &PictureSet) -> Result<Map<String, Value>> {
    let r = &recipe.values;
    let mut fields = train.labels().map(|labels: &Labels| named(labels)).unwrap_or_default();
    if r.train.image_size > 0 {
        fields.insert("image_size".into(), r.train.image_size.into());
    }
    let config = ConfigFile::open(dir).map_err(bedstone_models::ModelError::from)?;
    let model_type = config.model_type().map_err(bedstone_models::ModelError::from)?;
    if r.train.drop_path > 0.0 {
        if WITHOUT_DROP_PATH.contains(&model_type) {
            return Err(recipe.without_use("train.drop_path", format!("{model_type} has no such blocks")).into());
        }
        fields.insert("drop_path_rate".into(), json!(r.train.drop_path));
    }
    if let Some(p) = r.train.dropout {
        if model_type == "resnet" {
            return Err(recipe.without_use("train.dropout", "resnet has no dropout").into());
        }
        fields.extend(dropout(model_type, p));
    }
    if task == Task::Classify {
        fields.insert("problem_type".into(), "single_label_classification".into());
        if model_type == "vit_mae" {
            fields.insert("model_type".into(), "vit".into());
        }
        return Ok(fields);
    }
    let d = &r.detect;
    fields.insert("class_cost".into(), whole(d.class_cost));
    fields.insert("bbox_cost".into(), whole(d.bbox_cost));
    fields.insert("giou_cost".into(), whole(d.giou_cost));
    fields.insert("eos_coefficient".into(), json!(d.eos_coefficient));
    fields.insert("bbox_loss_coefficient".into(), whole(d.bbox_loss_coefficient));
    fields.insert("giou_loss_coefficient".into(), whole(d.giou_loss_coefficient));
    let patch_loss = match (d.patch_loss_coefficient, model_type) {
        (Some(weight), "detr") if weight > 0.0 => {
            return Err(recipe.without_use("detect.patch_loss_coefficient", "patches of a detr say no boxes").into());
        }
        (Some(weight), _) => weight,
        (None, _) if BODIES.contains(&model_type) => 1.0,
        (None, "detr") => 0.0,
        (None, _) => match config.get(PATCH_LOSS_KEY) {
            None => 0.0,
            Some(value) => value.as_f64().filter(|x| *x >= 0.0).ok_or_else(|| {
                bedstone_models::ModelError::from(config.wrong(PATCH_LOSS_KEY, "a number of 0 or more"))
            })?,
        },
    };
    if patch_loss > 0.0 || config.get(PATCH_LOSS_KEY).is_some() {
        fields.insert(PATCH_LOSS_KEY.into(), json!(patch_loss));
    }
    // What the model had before holds no longer.
    if d.nms > 0.0 || config.get(NMS_KEY).is_some() {
        fields.insert(NMS_KEY.into(), if d.nms > 0.0 { json!(d.nms) } else { Value::Null });
    }
    if BODIES.contains(&model_type) {
        fields.insert("model_type".into(), "yolos".into());
        fields.insert("num_detection_tokens".into(), d.queries.into());
        fields.insert("use_mid_position_embeddings".into(), false.into());
    }
    if BODIES.contains(&model_type) || model_type == "yolos" {
        // Two numbers always, where a ViT may have one.
        let size = fields.get("image_size").or(config.get("image_size")).cloned().unwrap_or(224.into());
        if size.is_number() {
            fields.insert("image_size".into(), json!([size, size]));
        }
    }
    Ok(fields)
}

/// A whole number without a point, as `transformers` wants it.
fn whole(x: f64) -> Value {
    (x as i64).into()
}
