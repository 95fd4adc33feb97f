//! The model card of a fine-tuned model.

use std::borrow::Cow;

use bedstone_infer::tasks::detected::NMS_KEY;
use bedstone_models::Model;
use bedstone_run::units;
use serde_json::Value;

use super::{FinetuneRequest, Task, standing::Best};

/// How a model is used.
struct Use {
    library: &'static str,
    pipeline: &'static str,
    /// After `bedstone`.
    command: &'static str,
    /// The class of Python's library.
    python: &'static str,
}

impl Use {
    fn of(task: Task, pictures: bool) -> Self {
        let library = "transformers";
        match task {
            Task::Classify if pictures => Use {
                library,
                pipeline: "image-classification",
                command: "classify DIR picture.png",
                python: "AutoModelForImageClassification",
            },
            Task::Detect => Use {
                library,
                pipeline: "object-detection",
                command: "detect DIR picture.png",
                python: "AutoModelForObjectDetection",
            },
            Task::Classify | Task::Regress => Use {
                library,
                pipeline: "text-classification",
                command: "classify DIR \"a text\"",
                python: "AutoModelForSequenceClassification",
            },
            Task::Tag => Use {
                library,
                pipeline: "token-classification",
                command: "tag DIR \"a text\"",
                python: "AutoModelForTokenClassification",
            },
            Task::Answer => Use {
                library,
                pipeline: "question-answering",
                command: "answer DIR --question \"a question\" --context \"a text\"",
                python: "AutoModelForQuestionAnswering",
            },
            Task::Embed => Use {
                library: "sentence-transformers",
                pipeline: "sentence-similarity",
                command: "embed DIR texts.txt --out vectors.safetensors",
                python: "SentenceTransformer",
            },
        }
    }

    fn python(&self, task: Task, pictures: bool) -> String {
        let class = self.python;
        match task {
            _ if pictures => format!(
                "from transformers import {class}, AutoImageProcessor\n\
                 model, processor = {class}.from_pretrained(DIR), AutoImageProcessor.from_pretrained(DIR)"
            ),
            Task::Embed => format!(
                "from sentence_transformers import {class}\n\
                 vectors = {class}(DIR).encode([\"a text\", \"another one\"])"
            ),
            _ => format!(
                "from transformers import {class}, AutoTokenizer\n\
                 model, tokenizer = {class}.from_pretrained(DIR), AutoTokenizer.from_pretrained(DIR)"
            ),
        }
    }
}

/// How Python opens factors: with the model that they belong to, under the adapter's configuration.
fn python_of_adapter(class: &str, base: &str) -> String {
    format!(
        "from peft import PeftModel\nfrom transformers import AutoConfig, {class}\n\
         config = AutoConfig.from_pretrained(DIR)\n\
         base = {class}.from_pretrained({base:?}, config=config, ignore_mismatched_sizes=True)\n\
         model = PeftModel.from_pretrained(base, DIR)"
    )
}

/// `README.md` of the checkpoint, of an `adapter` or of the whole model; `data` is the training data's name, `best` the evaluation that it
/// is of, if there was one.
pub(super) fn card(
    model: &Model,
    adapter: bool,
    request: &FinetuneRequest<'_>,
    data: &str,
    best: Option<&Best>,
) -> String {
    let pictures = model.architecture().takes_pictures();
    let usage = Use::of(request.task, pictures);
    let Use { library, pipeline, command, .. } = usage;
    let row = |(name, value): &(Cow<'static, str>, f64)| format!("| {name} | {value:.4} |\n");
    let scores: String = best.iter().flat_map(|best| &best.scores.0).map(row).collect();
    let python = match adapter {
        true => python_of_adapter(model.class_name(), request.name),
        false => usage.python(request.task, pictures),
    };
    // `transformers` leaves this to whoever uses the boxes.
    let nms = model.config().get(NMS_KEY).and_then(Value::as_f64).filter(|iou| *iou > 0.0).map(|iou| {
        format!(
            " Boxes of one class that overlap by more than {iou} were suppressed (`nms_threshold`), which `bedstone` does by itself; \
             after `transformers` use `torchvision.ops.batched_nms`."
        )
    });
    let step = best.map_or("none yet".to_owned(), |best| best.step.to_string());
    format!(
        "---\nlibrary_name: {library}\npipeline_tag: {pipeline}\ntags: [bedstone]\n---\n\n\
         # {} fine-tuned on {data}\n\n\
         | | |\n|---|---|\n| architecture | {} |\n| parameters | {} |\n| from | `{}` |\n| step of the best evaluation | {} |\n\
         {scores}\n`recipe.toml` describes the training completely; metrics are those of the evaluation data.{alone}\n\n\
         ```sh\nbedstone {command}\n```\n\n```python\n{}\n```\n",
        model.architecture().model_type,
        model.class_name(),
        units::count(model.params().numel() as u64),
        request.name,
        step,
        python,
        alone = nms.unwrap_or_default(),
    )
}
