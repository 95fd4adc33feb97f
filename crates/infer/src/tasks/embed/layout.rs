//! The files of sentence-transformers: `modules.json` and what it names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bedstone_kernels::{
    gemm::{Activation, Epilogue, Gemm, Mat, gemm},
    isa::Isa,
    mem::Buf,
};
use bedstone_models::checkpoint::{ConfigFile, WeightFiles};
use bedstone_tensor::Tensor;
use serde::Deserialize;

use super::Pooling;
use crate::{InferError, Result};

/// What follows the encoder, and how texts are prepared for it.
#[derive(Clone, Debug, Default)]
pub struct SentenceConfig {
    /// Tokens of the longest text; what the model takes if `None`.
    pub max_seq_length: Option<usize>,
    /// Whether texts are made lower case before the tokenizer sees them.
    pub do_lower_case: bool,
    /// What follows the encoder: a pooling first.
    pub modules: Vec<Module>,
    /// Texts that are put before a text, by name.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is used where none is named.
    pub default_prompt_name: Option<String>,
}

/// A part behind the encoder.
#[derive(Clone, Debug)]
pub enum Module {
    /// States to one vector; several modes stand side by side.
    Pooling {
        /// The modes.
        modes: Vec<Pooling>,
        /// Whether tokens of the prompt take part.
        include_prompt: bool,
    },
    /// `activation(x Wᵀ + b)`.
    Dense {
        /// `[out, in]`.
        weight: Tensor,
        /// `[out]`.
        bias: Option<Tensor>,
        /// What follows.
        activation: Activation,
    },
    /// To length 1.
    Normalize,
}

/// One entry of `modules.json`.
#[derive(Deserialize)]
struct Entry {
    path: PathBuf,
    #[serde(rename = "type")]
    kind: String,
}

/// Names that the transformer's own file has had.
const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

impl SentenceConfig {
    /// Only a pooling.
    pub fn plain(pooling: Pooling) -> Self {
        let pooling = Module::Pooling { modes: vec![pooling], include_prompt: true };
        SentenceConfig { modules: vec![pooling], ..Self::default() }
    }

    /// Of the checkpoint directory `dir`, whose encoder has states of `width`; a plain mean where there is no
    /// `modules.json`.
    pub fn open(dir: &Path, width: usize) -> Result<Self> {
        let Some(entries) = entries(dir)? else { return Ok(Self::plain(Pooling::Mean)) };
        let path = dir.join("modules.json");
        let wrong = |reason: String| InferError::Config { path: path.clone(), reason };
        let Some((first, rest)) = entries.split_first() else {
            return Err(wrong("no modules, wanted a Transformer first".into()));
        };
        if first.name() != Some("Transformer") {
            return Err(wrong(format!("module 0 is `{}`, wanted a Transformer", first.kind)));
        }
        let mut config = SentenceConfig::default();
        config.transformer(&dir.join(&first.path))?;
        config.prompts(dir)?;
        for (i, entry) in rest.iter().enumerate() {
            let folder = dir.join(&entry.path);
            let module = match entry.name() {
                Some("Pooling") => pooling(&folder)?,
                Some("Dense") => dense(&folder)?,
                Some("Normalize") => Module::Normalize,
                // Acts in training only.
                Some("Dropout") => continue,
                _ => {
                    let known = "Transformer, Pooling, Dense, Normalize, Dropout";
                    return Err(wrong(format!("module {}: got `{}`, known are {known}", i + 1, entry.kind)));
                }
            };
            config.modules.push(module);
        }
        config.check(width).map_err(|e| match e {
            InferError::Setting { name, got, wanted } => wrong(format!("{name}: got {got}, wanted {wanted}")),
            other => other,
        })?;
        Ok(config)
    }

    /// The directory of the encoder itself, which older files have in a folder of its own.
    pub fn encoder_folder(dir: &Path) -> Result<PathBuf> {
        Ok(match entries(dir)?.as_deref() {
            Some([first, ..]) if !first.path.as_os_str().is_empty() => dir.join(&first.path),
            _ => dir.to_owned(),
        })
    }

    /// The prompt `name`; without a name the default one, if there is one.
    pub fn prompt(&self, name: Option<&str>) -> Result<Option<&str>> {
        let Some(name) = name.or(self.default_prompt_name.as_deref()) else { return Ok(None) };
        match self.prompts.iter().find(|(n, _)| n == name) {
            Some((_, prompt)) => Ok(Some(prompt)),
            None => {
                let known: Vec<&str> = self.prompts.iter().map(|(name, _)| name.as_str()).collect();
                let wanted = match known.is_empty() {
                    true => "none: the model has no prompts".into(),
                    false => known.join(", "),
                };
                Err(InferError::Setting { name: "prompt name", got: name.into(), wanted })
            }
        }
    }

    /// The modes whose results stand side by side.
    pub fn pooling(&self) -> &[Pooling] {
        match self.modules.first() {
            Some(Module::Pooling { modes, .. }) => modes,
            _ => &[],
        }
    }

    /// Whether tokens of the prompt are pooled.
    pub(super) fn include_prompt(&self) -> bool {
        !matches!(self.modules.first(), Some(Module::Pooling { include_prompt: false, .. }))
    }

    /// The width of the vectors of an encoder with states of `width`; an error where parts do not fit.
    pub fn check(&self, width: usize) -> Result<usize> {
        let wrong = |name: &'static str, got: String, wanted: String| Err(InferError::Setting { name, got, wanted });
        let mut width = match self.pooling() {
            [] => return wrong("first module after the encoder", "another one".into(), "Pooling".into()),
            modes => modes.len() * width,
        };
        for module in &self.modules[1..] {
            match module {
                Module::Pooling { .. } => return wrong("Pooling", "a second one".into(), "one".into()),
                Module::Normalize => {}
                Module::Dense { weight, bias, .. } => {
                    let [n, k] = weight.dims("Dense")?;
                    if k != width {
                        return wrong("Dense in_features", k.to_string(), width.to_string());
                    }
                    if let Some(bias) = bias.as_ref().filter(|bias| bias.shape() != [n].into()) {
                        return wrong("Dense bias", bias.shape().to_string(), format!("[{n}]"));
                    }
                    width = n;
                }
            }
        }
        Ok(width)
    }

    /// `states: [T, c]` of one text, without the first `skipped` tokens, to `out: [modes · c]`.
    pub(super) fn pool(&self, states: &[f32], c: usize, skipped: usize, out: &mut [f32]) {
        for (mode, out) in self.pooling().iter().zip(out.chunks_exact_mut(c)) {
            mode.apply(states, c, skipped, out);
        }
    }

    /// What follows the pooling: `x: [N, modes · c]` to `[N, width]`.
    pub(super) fn finish(&self, mut x: Tensor, isa: Isa) -> Tensor {
        for module in &self.modules[1..] {
            match module {
                Module::Pooling { .. } => {}
                Module::Normalize => {
                    let width = x.shape().width().max(1);
                    x.f32s_mut().chunks_exact_mut(width).for_each(normalize);
                }
                Module::Dense { weight, bias, activation } => {
                    let (m, n, k) = (x.shape().rows(), weight.shape().rows(), weight.shape().width());
                    let mut out = Buf::for_overwrite(m * n);
                    let epilogue = Epilogue::default().bias(bias.as_ref().map(|b| b.f32s())).activation(*activation);
                    let (a, b) = (Mat::new(x.f32s(), k), Mat::t(weight.f32s(), k));
                    gemm(isa, Gemm { m, n, k }, a, b, &mut out, n, epilogue);
                    x = Tensor::from_buf(out, [m, n]);
                }
            }
        }
        x
    }

    /// What the encoder's own file says.
    fn transformer(&mut self, folder: &Path) -> Result<()> {
        let Some(path) = TRANSFORMER_FILES.iter().map(|name| folder.join(name)).find(|path| path.exists()) else {
            return Ok(());
        };
        let file = ConfigFile::open(path)?;
        self.max_seq_length = file.usize("max_seq_length")?;
        if self.max_seq_length == Some(0) {
            return Err(file.wrong("max_seq_length", "1 or more").into());
        }
        self.do_lower_case = file.bool("do_lower_case")?.unwrap_or(false);
        Ok(())
    }

    /// What `config_sentence_transformers.json` says.
    fn prompts(&mut self, dir: &Path) -> Result<()> {
        let path = dir.join("config_sentence_transformers.json");
        if !path.exists() {
            return Ok(());
        }
        let file = ConfigFile::open(path)?;
        if let Some(prompts) = file.get("prompts") {
            let all = prompts.as_object().ok_or_else(|| file.wrong("prompts", "an object of texts"))?;
            for (name, text) in all {
                let text = text.as_str().ok_or_else(|| file.wrong("prompts", "an object of texts"))?;
                self.prompts.push((name.clone(), text.to_owned()));
            }
        }
        self.default_prompt_name = file.str("default_prompt_name")?.map(str::to_owned);
        if let Some(name) = self.default_prompt_name.as_ref().filter(|n| !self.prompts.iter().any(|(p, _)| p == *n)) {
            return Err(file.wrong("default_prompt_name", format!("one of `prompts`, not {name:?}")).into());
        }
        Ok(())
    }
}

impl Entry {
    /// The class without its path; `None` for code of others.
    fn name(&self) -> Option<&str> {
        let name = self.kind.strip_prefix("sentence_transformers.")?;
        Some(name.rsplit_once('.').map_or(name, |(_, name)| name))
    }
}

/// The entries of `modules.json`, if there is one.
fn entries(dir: &Path) -> Result<Option<Vec<Entry>>> {
    let path = dir.join("modules.json");
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |reason: String| InferError::Config { path: path.clone(), reason };
    let text = fs::read(&path).map_err(|e| wrong(e.to_string()))?;
    let entries: Vec<Entry> = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    // A folder of this checkpoint, not of another.
    let inside = |p: &Path| p.components().all(|c| matches!(c, std::path::Component::Normal(_)));
    match entries.iter().find(|entry| !inside(&entry.path)) {
        Some(entry) => Err(wrong(format!("path {:?} leads out of the checkpoint", entry.path))),
        None => Ok(Some(entries)),
    }
}

/// `1_Pooling/config.json`, in the spelling with one name and in that with a truth value for each mode.
fn pooling(folder: &Path) -> Result<Module> {
    let file = ConfigFile::open(folder.join("config.json"))?;
    let names = Pooling::ALL.map(Pooling::name).join(", ");
    let by_name = |name: &str| Pooling::by_name(name).ok_or_else(|| file.wrong("pooling_mode", format!("of {names}")));
    let mut modes = Vec::new();
    match file.get("pooling_mode") {
        Some(serde_json::Value::String(name)) => modes.push(by_name(name)?),
        Some(serde_json::Value::Array(list)) => {
            for name in list {
                modes.push(by_name(name.as_str().unwrap_or_default())?);
            }
        }
        Some(_) => return Err(file.wrong("pooling_mode", format!("of {names}")).into()),
        None => {
            for mode in Pooling::ALL {
                if file.bool(mode.field())? == Some(true) {
                    modes.push(mode);
                }
            }
        }
    }
    if modes.is_empty() {
        modes.push(Pooling::Mean);
    }
    Ok(Module::Pooling { modes, include_prompt: file.bool("include_prompt")?.unwrap_or(true) })
}

/// `2_Dense/config.json` and its weights.
fn dense(folder: &Path) -> Result<Module> {
    let file = ConfigFile::open(folder.join("config.json"))?;
    if file.bool("use_residual")? == Some(true) {
        return Err(file.wrong("use_residual", "false").into());
    }
    for field in ["module_input_name", "module_output_name"] {
        if file.str(field)?.is_some_and(|name| name != "sentence_embedding") {
            return Err(file.wrong(field, "sentence_embedding").into());
        }
    }
    let activation = match file.str("activation_function")?.map(|name| name.rsplit('.').next().unwrap_or(name)) {
        None | Some("Tanh") => Activation::Tanh,
        Some("Identity") => Activation::None,
        Some("ReLU") => Activation::Relu,
        Some("GELU") => Activation::Gelu,
        Some("SiLU") => Activation::Silu,
        Some(_) => return Err(file.wrong("activation_function", "Tanh, Identity, ReLU, GELU or SiLU of torch").into()),
    };
    let files = WeightFiles::open(folder)?;
    let tensor = |name: &str| -> Result<Option<Tensor>> {
        let Some(weight) = files.get(name) else { return Ok(None) };
        Ok(Some(Tensor::from_slice(&weight.to_f32()?, &weight.shape[..])))
    };
    let weight = tensor("linear.weight")?.ok_or_else(|| InferError::Config {
        path: files.path().to_owned(),
        reason: "tensor `linear.weight` is missing".into(),
    })?;
    weight.dims::<2>("linear.weight")?;
    Ok(Module::Dense { weight, bias: tensor("linear.bias")?, activation })
}

/// `x / max(|x|, 1e-12)`.
fn normalize(x: &mut [f32]) {
    let length = x.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt().max(1e-12);
    x.iter_mut().for_each(|x| *x = (*x as f64 / length) as f32);
}
