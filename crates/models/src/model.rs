//! What every model is: parameters, a configuration, and a network that runs on them.

use std::collections::BTreeMap;

use bedstone_kernels::pool;
use bedstone_nn::{NnError, Random, Source};
use bedstone_tensor::{Ctx, Env, Isa, Packing, Params, Precision, Result as OpResult, Tensor, TensorError};
use serde_json::{Map, Value};

use crate::{Architecture, Class, ModelError, checkpoint::ConfigFile};

/// Named tensors that go into a model, under the argument names of `transformers`: `input_ids`, `attention_mask`,
/// `pixel_values`, `labels`, … Entries of lists are numbered: `labels.1.boxes` are the boxes of picture 1.
///
/// Pictures are `[B, C, H, W]` of f32. `labels` of a causal model are the ids themselves and are shifted inside; `targets` are labels already in place.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    tensors: BTreeMap<String, Tensor>,
    /// The loss is a sum over labels divided by this; by their number if `None`.
    pub loss_divisor: Option<f64>,
    /// The same of a loss that counts samples beside one that counts tokens: of how two texts follow each other.
    pub sample_divisor: Option<f64>,
    /// Which logits are wanted.
    pub logits: Logits,
    /// Lengths of sequences that stand one after another in `input_ids: [1, N]`, without padding; for inference with
    /// models that pack, see [`Model::packs`]. Outputs of tokens are `[1, N, ..]`, of sequences `[lengths, ..]`.
    pub lengths: Option<Vec<usize>>,
    /// Whether pictures may be of another size than the model was made for: positions are then resized.
    pub interpolate_pos_encoding: bool,
    /// Whether a masked autoencoder sees all patches, in their order: for vectors of pictures.
    pub unmasked: bool,
    /// Weight of the loss of a detector's patches: each learns what is at its own place, by the heads of the boxes, and boxes learn from
    /// patches; 0: there is none. After the collaborative hybrid assignments of
    /// [Zong et al. 2022](https://arxiv.org/abs/2211.12860), with the same heads instead of others.
    pub patch_loss: f32,
    /// What that loss is divided by: patches that have an object, [`covered_patches`](crate::covered_patches); by their number if `None`.
    pub patch_divisor: Option<f64>,
    /// Whether the states between layers are wanted.
    pub hidden_states: bool,
    /// Whether the last states of tokens are wanted that the model's head does not read, such as those of a YOLOS's patches: without them, and
    /// without states or probabilities of layers, the last layer computes what the head reads only, of encoders and vision transformers
    /// without [`Self::lengths`].
    pub last_states: bool,
    /// Whether the probabilities of attentions are wanted.
    pub attentions: bool,
}

/// Which logits a language model computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Logits {
    /// At every position.
    #[default]
    All,
    /// At the last position only.
    Last,
    /// At the places that have labels, in their order: `[labels, V]`.
    Labelled,
    /// At these rows of `[B · T]`, of a model of masked words: `[rows, V]`.
    At(Vec<i32>),
    /// None: the loss alone is wanted.
    None,
}

impl Inputs {
    /// With one tensor.
    pub fn new(name: &str, tensor: Tensor) -> Self {
        Self::default().with(name, tensor)
    }

    /// With one more tensor.
    pub fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.tensors.insert(name.to_owned(), tensor);
        self
    }

    /// The tensor `name`, if it was given.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Whether all tokens' states are wanted from the last layer.
    pub(crate) fn wants_all_tokens(&self) -> bool {
        self.last_states || self.hidden_states || self.attentions
    }

    /// The tensor `name`, or an error that names it.
    pub fn need(&self, name: &'static str) -> OpResult<&Tensor> {
        let what = || TensorError::Unsupported { op: "forward", what: format!("input `{name}` is missing") };
        self.get(name).ok_or_else(what)
    }
}

/// Named tensors that come out of a model, under the field names of `transformers`: `logits`, `loss`,
/// `hidden_states.0`, …
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    tensors: BTreeMap<String, Tensor>,
}

impl Outputs {
    /// Adds a tensor.
    pub fn put(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// All that was computed, by names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, x)| (name.as_str(), x))
    }

    /// The tensor `name`, if it was computed.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The tensor `name`, or an error that names it.
    pub fn need(&self, name: &'static str) -> OpResult<&Tensor> {
        let what =
            || TensorError::Unsupported { op: "forward", what: format!("the model gives no `{name}` for this input") };
        self.get(name).ok_or_else(what)
    }
}

/// The computation of an architecture: layers that hold ids of parameters, nothing that changes.
pub trait Network: Send + Sync {
    /// From named inputs to named outputs.
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs>;

    /// What other parts of the toolkit need to know of it.
    fn info(&self) -> Info;

    /// Whether it serves [`Inputs::lengths`].
    fn packs(&self) -> bool {
        false
    }
}

/// Facts about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Ids that it knows.
    pub vocab_size: usize,
    /// The longest sequence it was made for, where there is one.
    pub max_length: Option<usize>,
    /// Whether positions beyond `max_length` do not exist at all (a table of positions).
    pub positions_end: bool,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Columns of queries in each attention, for estimates.
    pub attention_width: usize,
    /// Numbers of activations that training keeps, a token and layer, for estimates.
    pub kept_per_layer: usize,
    /// The pictures that it takes, if it takes any.
    pub image: Option<ImageInfo>,
    /// Tokens of a sequence that the model's head reads from the last layer, if not all, for estimates.
    pub read: Option<usize>,
    /// What is different in a masked autoencoder, for estimates.
    pub masked: Option<MaskedInfo>,
}

/// Facts about a masked autoencoder: its layers see some places only, those of a decoder see all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskedInfo {
    /// Places that its layers see.
    pub seen: usize,
    /// Layers of the decoder.
    pub layers: usize,
    /// Width of the decoder.
    pub width: usize,
    /// Numbers of activations that training keeps, a place and layer of the decoder.
    pub kept_per_layer: usize,
}

/// Facts about a network's pictures; pairs are of height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Numbers a pixel.
    pub channels: usize,
    /// The size that it was made for.
    pub size: [usize; 2],
    /// Pixels that become one token.
    pub patch: [usize; 2],
    /// Whether it takes pictures of any size without being asked to.
    pub resizes: bool,
}

impl ImageInfo {
    /// Patches down and across.
    pub fn grid(&self) -> [usize; 2] {
        [0, 1].map(|i| self.size[i] / self.patch[i].max(1))
    }
}

/// A model: its parameters, and what to do with them.
pub struct Model {
    architecture: &'static Architecture,
    class: Class,
    config: ConfigFile,
    params: Params,
    network: Box<dyn Network>,
}

impl Model {
    /// A model of the configuration's architecture with weights from `source`.
    pub fn build(config: ConfigFile, source: &mut dyn Source) -> Result<Self, ModelError> {
        let (architecture, class) = Architecture::of(&config)?;
        let mut params = Params::default();
        let builder = bedstone_nn::Builder::new(&mut params, source);
        let network = (architecture.build)(&config, class, builder)?;
        Ok(Model { architecture, class, config, params, network })
    }

    /// A model with random weights.
    pub fn random(config: ConfigFile, seed: u64) -> Result<Self, ModelError> {
        Self::build(config, &mut Random { seed })
    }

    /// A model of `architecture` with random weights; `fields` override its defaults under their names in
    /// `config.json`.
    pub fn from_fields(
        architecture: &'static Architecture,
        fields: &Map<String, Value>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        Self::random(Self::config_of(architecture, architecture.classes[0].1, fields), seed)
    }

    /// The configuration of such a model for a use; the architecture's first one where it does not have that.
    pub fn config_of(architecture: &'static Architecture, class: Class, fields: &Map<String, Value>) -> ConfigFile {
        let mut all = Map::new();
        all.insert("model_type".into(), architecture.model_type.into());
        let name = architecture.class_name(class).unwrap_or(architecture.classes[0].0);
        all.insert("architectures".into(), vec![Value::from(name)].into());
        all.insert("dtype".into(), "float32".into());
        all.extend(fields.clone());
        ConfigFile::new("config.json", all)
    }

    /// What it is an instance of.
    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// What its outputs are for.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its class in `transformers`.
    pub fn class_name(&self) -> &'static str {
        self.architecture.class_name(self.class).unwrap_or(self.architecture.classes[0].0)
    }

    /// Its configuration.
    pub fn config(&self) -> &ConfigFile {
        &self.config
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Its parameters, for the optimizer.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Facts about its network.
    pub fn info(&self) -> Info {
        self.network.info()
    }

    /// What a context of this model starts from.
    pub fn env(&self, isa: Isa, precision: Precision) -> Env<'_> {
        Env { isa, precision, packing: Packing::Kept, params: &self.params }
    }

    /// Whether it takes sequences of different lengths one after another, see [`Inputs::lengths`].
    pub fn packs(&self) -> bool {
        self.network.packs()
    }

    /// From named inputs to named outputs.
    pub fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        if inputs.lengths.is_some() && !self.packs() {
            let what = format!("`{}` takes no packed sequences", self.class_name());
            return Err(TensorError::Unsupported { op: "forward", what });
        }
        pool::inside(|| self.network.forward(inputs, ctx))
    }
}

/// An error that names the first of these sizes that is 0, or beyond all sense.
pub(crate) fn positive(sizes: &[(&str, usize)]) -> Result<(), NnError> {
    match sizes.iter().find(|(_, size)| !(1..=MOST).contains(size)) {
        Some((what, size)) => Err(config_error(what, size, format!("1 to {MOST}"))),
        None => Ok(()),
    }
}

/// No size of a network is larger: what is, is a slip of the pen.
const MOST: usize = 100_000_000;
/// The most layers.
const MOST_LAYERS: usize = 10_000;

/// An error unless there is a layer, and not more of them than anyone means.
pub(crate) fn layers(what: &str, layers: usize) -> Result<(), NnError> {
    match layers {
        1..=MOST_LAYERS => Ok(()),
        _ => Err(config_error(what, layers, format!("1 to {MOST_LAYERS}"))),
    }
}

/// An error that names the first of these that is no probability below 1.
pub(crate) fn probabilities(values: &[(&str, f32)]) -> Result<(), NnError> {
    match values.iter().find(|(_, p)| !(0.0..1.0).contains(p)) {
        Some((what, p)) => Err(config_error(what, p, "0 or more and below 1")),
        None => Ok(()),
    }
}

/// The error of sizes that do not go together.
pub(crate) fn config_error(what: &str, got: impl ToString, wanted: impl Into<String>) -> NnError {
    NnError::Config { what: what.to_owned(), got: got.to_string(), wanted: wanted.into() }
}
