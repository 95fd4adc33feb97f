//! Fine-tuning models of pictures: from a recipe to examples and a model.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bedstone_data::{
    labelled::Labels,
    pictures::{LoaderOptions, PictureSet, source::Part},
};
use bedstone_infer::{
    Runtime,
    tasks::{detected::PostProcess, vision::VisionModel},
};
use bedstone_models::{Architecture, Class, LoadReport, Model, ModelError, checkpoint::ConfigFile, transfer};
use bedstone_run::{Interrupt, Layers, Progress, Recipe, Setting};
use serde_json::{Map, Value, json};

use super::{
    FinetuneReport, FinetuneRequest, Prepared, Task, TaskReport,
    adapt::dropout,
    adapted, balance,
    begun::Begun,
    check,
    detector::{BECOMES_YOLOS, detector, kept, patch_loss},
    examples::Evaluate,
    pictures::{PictureEvaluation, PictureTraining},
    points::begin_at_points,
    recipe::{PictureRecipe, PicturesConfig, Used, without_use},
    run::learn,
    texts::named,
};
use crate::{
    Result, TrainError,
    pictures::{self, Sets, Source, Want, WorldSource, column, processor},
    plan::{Load, check_memory},
    precision::resolve,
};

/// The built-in recipe.
pub const PICTURES_RECIPE: &str = include_str!("../../../../recipes/finetune_pictures.toml");

/// Kinds whose blocks cannot be left out at random.
const WITHOUT_DROP_PATH: [&str; 2] = ["detr", "resnet"];

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
    recipe.refuse(without_use(used(r, request.task)))?;
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
    let config = ConfigFile::open(dir).map_err(ModelError::from)?;
    let kind = Architecture::of_type(&config)?;
    if !BECOMES_YOLOS.contains(&kind.model_type) && kind.with_head(class).is_none() {
        let (wanted, hint) = match request.task {
            Task::Detect => {
                ("a detector, or what becomes one", "YOLOS and DETR are, ViT, DeiT and masked autoencoders do")
            }
            _ => (
                "one that tells classes of whole pictures",
                "ViT, DeiT, DINOv2 and ResNet do; a detector learns with --task detect",
            ),
        };
        return Err(TrainError::Examples {
            what: request.name.to_owned(),
            got: format!("a model of type {}", kind.model_type),
            wanted: wanted.into(),
            hint: hint.into(),
        });
    }
    let fields = fields(&config, &recipe, request.task, &train)?;
    if let Some(kept) = kept(&config, &recipe).filter(|_| want == Want::Objects) {
        progress.note(&format!("detect: as in the model's config.json: {kept}"));
    }
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
    let checked = Cell::new(false);
    let start = |seed| {
        let (mut model, mut report) = transfer(dir, class, &fields, seed)?;
        if t.random_weights {
            model = Model::random(model.config().clone(), seed)?;
            report = LoadReport { fresh: Vec::new(), ..report };
        }
        let [down, across] = size(&model)?.grid();
        let load = Load {
            batch: t.batch.min(set.len()),
            micro: t.micro().min(set.len()),
            // One is made while another is learned from.
            batches: 2,
            context: model.info().max_length.unwrap_or(down * across),
            clip: t.clip > 0.0,
            recompute: t.gradient_checkpointing,
            average: t.ema > 0.0,
            all_learn: r.lora.r == 0 && t.freeze.is_empty(),
            runtime,
        };
        // The models of later seeds take the place of the first.
        if !checked.replace(true) {
            check_memory(&model, load)?;
        }
        if want == Want::Objects {
            let options = options(&model)?;
            begin_at_points(&mut model, &report, &set, &options, runtime.isa)?;
        }
        let low_rank = adapted(&mut model, &report, &r.lora, &t, seed)?;
        Ok::<_, TrainError>((model, report, low_rank))
    };
    let first: (Model, LoadReport, BTreeMap<_, _>) = start(t.seed)?;
    let (image, options, post) = (size(&first.0)?, options(&first.0)?, PostProcess::of(first.0.config(), 0.0)?);
    let processor = options.processor.clone();
    let grid = image.grid();
    let mut training = PictureTraining {
        set: train,
        options,
        label_smoothing: t.label_smoothing,
        weights: None,
        repeated: (r.detect.repeat, (t.epochs as f64 * r.detect.repeat_share).round() as u64),
        patch_loss: if want == Want::Objects { patch_loss(first.0.config())? as f32 } else { 0.0 },
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
        eval: Box::new(PictureEvaluation { set: eval, processor: processor.clone(), post }),
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
    let post = match recipe.values.detect.nms {
        Some(nms) => PostProcess::new(0.0, nms as f32),
        None => PostProcess::of(model.model.config(), 0.0)?,
    };
    let evaluation = PictureEvaluation { set, processor: model.processor.clone(), post };
    let report = evaluation.report(&model.model, model.runtime)?;
    let notes = evaluation.notes().into_iter().chain(report.notes.iter().cloned()).collect();
    Ok(TaskReport { examples: evaluation.len(), notes, ..report })
}

/// Which keys mean something for `task`, and under the others.
fn used(r: &PictureRecipe, task: Task) -> Vec<Used> {
    let d = &r.data;
    let is = |path: &Option<PathBuf>, extensions: &[&str]| {
        path.as_ref().is_some_and(|path| extensions.contains(&&*pictures::extension(path)))
    };
    let of_tasks = OF_ONE_TASK.iter().flat_map(|(of, keys, why)| {
        keys.iter().map(move |key| (*key, *of == task, format!("{why}, see --task {}", of.name())))
    });
    let world = ["data.pictures", "data.side", "data.classes"]
        .map(|key| (key, d.train.is_none(), "data.train takes the place of the World's pictures".into()));
    let (train, eval) = (&d.train, d.train.as_ref().and(d.eval.clone()));
    let tables = is(train, &pictures::TABLES) || is(&eval, &pictures::TABLES);
    let columns =
        ["data.picture", "data.label"].map(|key| (key, tables, "there is no table (.csv, .tsv, .jsonl)".into()));
    let coco = "the pictures of a COCO .json are in a folder of their own, others are not";
    let others = [
        ("data.eval", d.train.is_some(), "there is no data.train: the World has its own".into()),
        ("data.images", is(train, &["json"]), coco.into()),
        ("data.eval_images", is(&eval, &["json"]), coco.into()),
        ("augment.magnitude", r.augment.rand_augment > 0, "augment.rand_augment is 0".into()),
        ("detect.repeat_share", r.detect.repeat > 1, "detect.repeat is 1".into()),
    ];
    of_tasks.chain(world).chain(columns).chain(others).chain(r.lora.used()).collect()
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
fn fields(
    config: &ConfigFile,
    recipe: &Recipe<PictureRecipe>,
    task: Task,
    train: &PictureSet,
) -> Result<Map<String, Value>> {
    let r = &recipe.values;
    let mut fields = train.labels().map(|labels: &Labels| named(labels)).unwrap_or_default();
    let model_type = config.model_type().map_err(ModelError::from)?;
    let wanted = (r.train.image_size > 0).then(|| Value::from(r.train.image_size));
    // A YOLOS has two numbers, where a ViT may have one.
    let yolos = task == Task::Detect && (model_type == "yolos" || BECOMES_YOLOS.contains(&model_type));
    let size = match yolos {
        true => wanted.or(config.get("image_size").cloned()).or(Some(224.into())),
        false => wanted,
    };
    if let Some(size) = size {
        fields.insert("image_size".into(), if yolos && size.is_number() { json!([size, size]) } else { size });
    }
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
    if task == Task::Detect {
        fields.extend(detector(config, recipe)?);
        return Ok(fields);
    }
    fields.insert("problem_type".into(), "single_label_classification".into());
    if model_type == "vit_mae" {
        fields.insert("model_type".into(), "vit".into());
    }
    Ok(fields)
}
