//! Adapters of `peft`: LoRA, [Hu et al. 2021](https://arxiv.org/abs/2106.09685), over the weights of another checkpoint.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use bedstone_kernels::{
    Isa,
    gemm::{Epilogue, Gemm, Mat, gemm},
};
use bedstone_tensor::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Architecture, Class, ModelError,
    checkpoint::{ConfigFile, WeightFiles},
};

/// The file that makes a directory one of an adapter.
pub const CONFIG: &str = "adapter_config.json";
/// Its field that names the checkpoint it belongs to.
pub const BASE: &str = "base_model_name_or_path";
/// The factors, and what else takes the place of weights.
pub const WEIGHTS: &str = "adapter_model.safetensors";
/// Where `peft` wraps a model, its modules' names go on.
pub const PREFIX: &str = "base_model.model.";

/// The directory that the adapter in `dir` names as its base: as it is written, or seen from `dir`; `None` if there is none here.
pub fn base_of(dir: &Path, base: &str) -> Option<PathBuf> {
    [PathBuf::from(base), dir.join(base)].into_iter().find(|folder| folder.is_dir())
}

/// What a directory of `peft` changes of another checkpoint: `W + s B A` for some weights, others in place of its own.
pub(crate) struct Adapter {
    path: PathBuf,
    fields: Fields,
    files: WeightFiles,
    /// The tensors that found their weights.
    used: RefCell<BTreeSet<String>>,
}

/// `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct Fields {
    peft_type: String,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    rank_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    alpha_pattern: Option<Map<String, Value>>,
    #[serde(default)]
    bias: Option<String>,
}

impl Adapter {
    /// The adapter in `dir`, if there is one.
    pub(crate) fn find(dir: &Path) -> Result<Option<Self>, ModelError> {
        let path = dir.join(CONFIG);
        if !path.is_file() {
            return Ok(None);
        }
        let file = ConfigFile::open(&path)?;
        let fields: Fields = file.parse()?;
        let wrong = |got: String, wanted: &str| ModelError::Adapter { path: path.clone(), got, wanted: wanted.into() };
        if fields.peft_type != "LORA" {
            return Err(wrong(format!("peft_type `{}`", fields.peft_type), "`LORA`"));
        }
        if fields.r == 0 {
            return Err(wrong("r 0".into(), "1 or more"));
        }
        let patterns = [("rank_pattern", &fields.rank_pattern), ("alpha_pattern", &fields.alpha_pattern)];
        if let Some((name, _)) = patterns.iter().find(|(_, p)| p.as_ref().is_some_and(|p| !p.is_empty())) {
            return Err(wrong(format!("a {name}"), "one rank and alpha for all modules"));
        }
        if fields.use_dora {
            return Err(wrong("use_dora".into(), "LoRA alone"));
        }
        if fields.bias.as_deref().is_some_and(|b| b != "none") {
            return Err(wrong(format!("bias `{}`", fields.bias.unwrap_or_default()), "`none`"));
        }
        let files = WeightFiles::open(dir.join(WEIGHTS))?;
        Ok(Some(Adapter { path, fields, files, used: RefCell::default() }))
    }

    /// The directory of the checkpoint that it belongs to: as it is written, or seen from the adapter's directory.
    pub(crate) fn base(&self) -> Result<PathBuf, ModelError> {
        let wrong =
            |got: String, wanted: &str| ModelError::Adapter { path: self.path.clone(), got, wanted: wanted.into() };
        let Some(base) = &self.fields.base_model_name_or_path else {
            return Err(wrong(format!("no {BASE}"), "the directory of the model that it adapts"));
        };
        base_of(&self.path.with_file_name(""), base).ok_or_else(|| {
            let wanted =
                "a directory\nhint: fetch the model that the adapter belongs to, and write its directory there";
            wrong(format!("{BASE} `{base}`, which is not here"), wanted)
        })
    }

    /// The configuration of the adapted model: the adapter's own where there is one, else that of its base with the
    /// classes of the adapter's head.
    pub(crate) fn config(&self) -> Result<ConfigFile, ModelError> {
        let dir = self.path.with_file_name("");
        if dir.join("config.json").is_file() {
            return Ok(ConfigFile::open(dir)?);
        }
        let base = ConfigFile::open(self.base()?)?;
        let class = match self.fields.task_type.as_deref() {
            Some("SEQ_CLS") => Class::SequenceClassification,
            Some("TOKEN_CLS") => Class::TokenClassification,
            Some("QUESTION_ANS") => Class::QuestionAnswering,
            _ => return Ok(base),
        };
        let mut fields = base.fields().clone();
        if let Some(name) = Architecture::of_type(&base)?.class_name(class) {
            fields.insert("architectures".into(), json!([name]));
        }
        let heads = ["classifier.weight", "score.weight", "classifier.out_proj.weight"];
        let classes = heads.iter().find_map(|head| Some(self.files.get(&format!("{PREFIX}{head}"))?.shape[0]));
        let named = fields.get("id2label").and_then(Value::as_object).map_or(2, Map::len);
        if let Some(classes) = classes.filter(|&n| n != named) {
            let label = |i: usize| format!("LABEL_{i}");
            let by_id: Map<String, Value> = (0..classes).map(|i| (i.to_string(), label(i).into())).collect();
            let by_label: Map<String, Value> = (0..classes).map(|i| (label(i), i.into())).collect();
            fields.insert("id2label".into(), by_id.into());
            fields.insert("label2id".into(), by_label.into());
        }
        Ok(ConfigFile::new(base.path(), fields))
    }

    /// Whether it has the parameter `name` in place of the base's.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.get(&format!("{PREFIX}{name}")).is_some()
    }

    /// A parameter that the adapter has in place of the base's.
    pub(crate) fn replaced(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        self.tensor(&format!("{PREFIX}{name}"), shape)
    }

    /// Adds `s B A` to the weight of the parameter `name`, if the adapter has factors for it.
    pub(crate) fn add(&self, name: &str, shape: &[usize], weight: &mut Tensor) -> Result<(), ModelError> {
        let Some(module) = name.strip_suffix(".weight") else { return Ok(()) };
        let names = ["lora_A", "lora_B"].map(|side| format!("{PREFIX}{module}.{side}.weight"));
        if names.iter().all(|name| self.files.get(name).is_none()) {
            return Ok(());
        }
        let missing = |name: &str| {
            let path = self.files.path().to_owned();
            ModelError::Missing { path, name: name.to_owned(), hint: Vec::new() }
        };
        let &[rows, cols] = shape else { return Err(missing(&names[0])) };
        let (out, inner) = if self.fields.fan_in_fan_out { (cols, rows) } else { (rows, cols) };
        let r = self.fields.r;
        let a = self.tensor(&names[0], &[r, inner])?.ok_or_else(|| missing(&names[0]))?;
        let mut b = self.tensor(&names[1], &[out, r])?.ok_or_else(|| missing(&names[1]))?;
        let by = if self.fields.use_rslora { (r as f64).sqrt() } else { r as f64 };
        b.iter_mut().for_each(|b| *b = (*b as f64 * self.fields.lora_alpha / by) as f32);
        let (left, right) = match self.fields.fan_in_fan_out {
            true => (Mat::t(&a, inner), Mat::t(&b, r)),
            false => (Mat::new(&b, r), Mat::new(&a, inner)),
        };
        gemm(
            Isa::detect(),
            Gemm { m: rows, n: cols, k: r },
            left,
            right,
            weight.f32s_mut(),
            cols,
            Epilogue::default().accumulate(true),
        );
        Ok(())
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, ModelError> {
        let Some(weight) = self.files.get(name) else { return Ok(None) };
        if weight.shape != shape {
            let (path, name) = (weight.path.to_owned(), name.to_owned());
            return Err(ModelError::Shape { path, name, got: weight.shape.clone(), want: shape.to_vec() });
        }
        self.used.borrow_mut().insert(name.to_owned());
        Ok(Some(weight.to_f32()?))
    }

    /// The tensors that found no weight.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.files.names().filter(|name| !used.contains(*name)).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures-extra/lora-bert-seqcls")
    }

    /// The fixture's files elsewhere, with one field changed, and its base beside.
    fn changed(field: &str, value: Value) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(fixture().join(WEIGHTS), dir.path().join(WEIGHTS)).unwrap();
        let mut fields: Map<String, Value> =
            serde_json::from_str(&fs::read_to_string(fixture().join(CONFIG)).unwrap()).unwrap();
        let base = fixture().join("../../fixtures/bert-seqcls");
        fields.insert("base_model_name_or_path".into(), base.to_str().unwrap().into());
        fields.insert(field.into(), value);
        fs::write(dir.path().join(CONFIG), Value::from(fields).to_string()).unwrap();
        dir
    }

    #[track_caller]
    fn check(field: &str, value: Value, says: &str) {
        let dir = changed(field, value);
        let error = crate::load(dir.path()).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(says), "{field}: {error}");
    }

    #[test]
    fn what_cannot_be_applied_is_refused() {
        check("peft_type", "IA3".into(), "got peft_type `IA3`, wanted `LORA`");
        check("r", 0.into(), "got r 0, wanted 1 or more");
        check("r", 4.into(), "has shape [3, 32], config needs [4, 32]");
        check("rank_pattern", json!({"query": 2}), "got a rank_pattern, wanted one rank");
        check("use_dora", true.into(), "got use_dora, wanted LoRA alone");
        check("bias", "all".into(), "got bias `all`, wanted `none`");
        check("base_model_name_or_path", Value::Null, "got no base_model_name_or_path");
        check("base_model_name_or_path", "org/none".into(), "`org/none`, which is not here, wanted a directory\nhint:");
        check("lora_alpha", "x".into(), "lora_alpha");
    }

    #[test]
    fn cut_weights_are_refused() {
        let dir = changed("r", 3.into());
        let path = dir.path().join(WEIGHTS);
        let whole = fs::read(&path).unwrap();
        for n in [0, 7, 100, whole.len() - 1] {
            fs::write(&path, &whole[..n]).unwrap();
            let error = crate::load(dir.path()).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains(WEIGHTS), "{n}: {error}");
        }
    }

    #[test]
    fn everything_of_it_is_used() {
        let (model, report) = crate::load(&fixture()).unwrap();
        assert_eq!((model.class(), report.unused), (Class::SequenceClassification, vec![]));
    }
}
