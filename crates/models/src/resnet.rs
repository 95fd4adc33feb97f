//! ResNet, [He et al. 2015](https://arxiv.org/abs/1512.03385), by itself and as the backbone of detectors.
//!
//! Batch norms keep the statistics they were trained with: networks are used and fine-tuned, not trained from nothing.

use bedstone_nn::{BatchNorm, Builder, Conv2d, ConvSpec, Linear, LinearSpec};
use bedstone_tensor::{
    Ctx, Order, Result as OpResult, Tensor, Window,
    ops::{self, Layout},
};
use serde::Deserialize;

use crate::{
    Architecture, Class, ImageInfo, Info, Inputs, ModelError, Network, Outputs,
    checkpoint::ConfigFile,
    encoder::{Problem, labels, sequence_loss},
    model::{config_error, layers, positive},
    vision::pictures,
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "resnet",
    classes: &[("ResNetModel", Class::Base), ("ResNetForImageClassification", Class::ImageClassification)],
    base_prefix: "resnet",
    build: |file, class, b| Ok(Box::new(ResNet::new(file, class, b)?)),
    tiny: r#"{"embedding_size": 6, "hidden_sizes": [8, 12], "depths": [2, 1], "layer_type": "bottleneck"}"#,
};

/// The fields of `config.json`, with the defaults of the released model.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ResNetConfig {
    pub(crate) num_channels: usize,
    embedding_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    layer_type: String,
    hidden_act: String,
    downsample_in_first_stage: bool,
    downsample_in_bottleneck: bool,
    /// Whether the last stage has taps further apart instead of a stride.
    #[serde(skip)]
    pub(crate) dilation: bool,
}

impl Default for ResNetConfig {
    fn default() -> Self {
        ResNetConfig {
            num_channels: 3,
            embedding_size: 64,
            hidden_sizes: vec![256, 512, 1024, 2048],
            depths: vec![3, 4, 6, 3],
            layer_type: "bottleneck".into(),
            hidden_act: "relu".into(),
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
            dilation: false,
        }
    }
}

impl ResNetConfig {
    /// Those of `timm` that go by a name.
    pub(crate) fn of_timm(name: &str) -> Option<Self> {
        // Names may have the weights' behind them: `resnet50.a1_in1k`.
        let (layer_type, depths) = match name.split('.').next()? {
            "resnet18" => ("basic", [2, 2, 2, 2]),
            "resnet34" => ("basic", [3, 4, 6, 3]),
            "resnet50" => ("bottleneck", [3, 4, 6, 3]),
            "resnet101" => ("bottleneck", [3, 4, 23, 3]),
            "resnet152" => ("bottleneck", [3, 8, 36, 3]),
            _ => return None,
        };
        let config = ResNetConfig { layer_type: layer_type.into(), depths: depths.into(), ..Self::default() };
        Some(config.with_widths(&[64, 128, 256, 512]))
    }

    /// With stages of these widths inside, of which a bottleneck's output has four times as many.
    pub(crate) fn with_widths(self, widths: &[usize]) -> Self {
        let factor = if self.layer_type == "bottleneck" { 4 } else { 1 };
        ResNetConfig { hidden_sizes: widths.iter().map(|w| factor * w).collect(), ..self }
    }

    /// With this many units a stage.
    pub(crate) fn with_depths(self, depths: Vec<usize>) -> Self {
        ResNetConfig { depths, ..self }
    }

    /// An error that names the first field without sense.
    fn check(&self) -> Result<(), ModelError> {
        positive(&[("num_channels", self.num_channels), ("embedding_size", self.embedding_size)])?;
        for &depth in &self.depths {
            layers("depths", depth)?;
        }
        if self.depths.is_empty() || self.depths.len() != self.hidden_sizes.len() {
            let wanted = format!("{} numbers, as many as hidden_sizes has, 1 or more", self.hidden_sizes.len());
            return Err(config_error("depths", self.depths.len(), wanted).into());
        }
        let divisor = match &self.layer_type[..] {
            "basic" => 1,
            "bottleneck" => 4,
            other => return Err(config_error("layer_type", other, "basic or bottleneck").into()),
        };
        for &size in &self.hidden_sizes {
            positive(&[("hidden_sizes", size)])?;
            if !size.is_multiple_of(divisor) {
                return Err(config_error("hidden_sizes", size, "multiples of 4 with bottleneck").into());
            }
        }
        if self.hidden_act != "relu" {
            return Err(config_error("hidden_act", &self.hidden_act, "relu").into());
        }
        Ok(())
    }

    /// Channels of the last stage.
    pub(crate) fn width(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or(self.embedding_size)
    }

    /// Pixels from one place of the result to the next.
    pub(crate) fn reduction(&self) -> usize {
        let halved = self.depths.len() - 1 + usize::from(self.downsample_in_first_stage) - usize::from(self.dilation);
        4 << halved
    }
}

/// How a checkpoint names the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Names {
    /// As `transformers`.
    Transformers,
    /// As `timm`, whose networks released detectors stand on.
    #[default]
    Timm,
}

/// What training changes of a backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learns {
    /// All but the norms' statistics.
    All,
    /// Convolutions from this stage on.
    ConvolutionsFrom(usize),
}

/// The stem and the stages.
#[derive(Clone, Debug)]
pub(crate) struct Backbone {
    stem: ConvNorm,
    stages: Vec<Vec<Unit>>,
}

/// A convolution and its norm.
#[derive(Clone, Copy, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

/// `relu(branch(x) + shortcut(x))`.
#[derive(Clone, Debug)]
struct Unit {
    branch: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
}

/// Makes the parts of a backbone.
struct Maker<'c> {
    config: &'c ResNetConfig,
    names: Names,
    learns: Learns,
}

/// Where a convolution and its norm stand, and their sizes.
struct Part {
    conv: String,
    norm: String,
    n_in: usize,
    n_out: usize,
    window: Window,
    stage: usize,
}

impl Maker<'_> {
    fn conv_norm(&self, b: &mut Builder<'_>, part: Part) -> Result<ConvNorm, ModelError> {
        let Part { conv, norm, n_in, n_out, window, stage } = part;
        let (trainable, norms) = match self.learns {
            Learns::All => (true, true),
            Learns::ConvolutionsFrom(first) => (stage >= first, false),
        };
        let taps = window.kernel[0] * window.kernel[1];
        // He's initialisation by outputs.
        let std = (2.0 / (n_out * taps) as f32).sqrt();
        let spec = ConvSpec { n_in, n_out, window, bias: false, std, trainable };
        Ok(ConvNorm { conv: Conv2d::new(b.at(conv), spec)?, norm: BatchNorm::new(b.at(norm), n_out, 1e-5, norms)? })
    }

    /// Unit `i` of stage `stage`, from `n_in` channels.
    fn unit(&self, b: &mut Builder<'_>, [stage, i]: [usize; 2], n_in: usize) -> Result<Unit, ModelError> {
        let config = self.config;
        let n_out = config.hidden_sizes[stage];
        let dilated = config.dilation && stage + 1 == config.depths.len();
        let halves = i == 0 && (stage > 0 || config.downsample_in_first_stage) && !dilated;
        let stride = if halves { 2 } else { 1 };
        // The first unit of a dilated stage still sees its neighbours.
        let apart = if dilated && i > 0 { 2 } else { 1 };
        let three = |stride| Window { padding: [apart; 2], dilation: [apart; 2], ..Window::square(3, stride, 1) };
        let one = |stride| Window::square(1, stride, 0);
        let inner = n_out / 4;
        let windows = match (&config.layer_type[..], config.downsample_in_bottleneck) {
            ("bottleneck", false) => vec![(one(1), inner), (three(stride), inner), (one(1), n_out)],
            ("bottleneck", true) => vec![(one(stride), inner), (three(1), inner), (one(1), n_out)],
            _ => vec![(three(stride), n_out), (three(1), n_out)],
        };
        let root = match self.names {
            Names::Transformers => format!("encoder.stages.{stage}.layers.{i}"),
            Names::Timm => format!("layer{}.{i}", stage + 1),
        };
        let (mut from, mut branch) = (n_in, Vec::new());
        for (k, (window, n_out)) in windows.into_iter().enumerate() {
            let (conv, norm) = match self.names {
                Names::Transformers => {
                    (format!("{root}.layer.{k}.convolution"), format!("{root}.layer.{k}.normalization"))
                }
                Names::Timm => (format!("{root}.conv{}", k + 1), format!("{root}.bn{}", k + 1)),
            };
            branch.push(self.conv_norm(b, Part { conv, norm, n_in: from, n_out, window, stage })?);
            from = n_out;
        }
        let shortcut = (n_in != n_out || stride != 1).then(|| {
            let (conv, norm) = match self.names {
                Names::Transformers => {
                    (format!("{root}.shortcut.convolution"), format!("{root}.shortcut.normalization"))
                }
                Names::Timm => (format!("{root}.downsample.0"), format!("{root}.downsample.1")),
            };
            self.conv_norm(b, Part { conv, norm, n_in, n_out, window: one(stride), stage })
        });
        Ok(Unit { branch, shortcut: shortcut.transpose()? })
    }
}

impl Backbone {
    /// Below `b`, under the names of `names`.
    pub(crate) fn new(
        mut b: Builder<'_>,
        config: &ResNetConfig,
        names: Names,
        learns: Learns,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let maker = Maker { config, names, learns };
        let (conv, norm) = match names {
            Names::Transformers => ("embedder.embedder.convolution", "embedder.embedder.normalization"),
            Names::Timm => ("conv1", "bn1"),
        };
        let (n_in, n_out) = (config.num_channels, config.embedding_size);
        let (conv, norm, window) = (conv.into(), norm.into(), Window::square(7, 2, 3));
        let stem = maker.conv_norm(&mut b, Part { conv, norm, n_in, n_out, window, stage: 0 })?;
        let (mut n_in, mut stages) = (n_out, Vec::new());
        for (stage, &depth) in config.depths.iter().enumerate() {
            let mut units = Vec::with_capacity(depth);
            for i in 0..depth {
                units.push(maker.unit(&mut b, [stage, i], n_in)?);
                n_in = config.hidden_sizes[stage];
            }
            stages.push(units);
        }
        Ok(Backbone { stem, stages })
    }

    /// From pictures `[B, C, H, W]` to what each stage gives, the stem first, each `[B, h, w, channels]`.
    pub(crate) fn forward(&self, pictures: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Vec<Tensor>> {
        let x = self.stem.conv.forward(pictures, Order::ChannelsFirst, ctx)?;
        let x = self.stem.norm.forward(&x, true, ctx)?;
        let mut x = ops::max_pool(&x, Window::square(3, 2, 1), ctx)?;
        let mut states = vec![x.clone()];
        for units in &self.stages {
            for unit in units {
                x = unit.forward(&x, ctx)?;
            }
            states.push(x.clone());
        }
        Ok(states)
    }
}

impl Unit {
    fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let residual = match &self.shortcut {
            Some(part) => {
                let y = part.conv.forward(x, Order::ChannelsLast, ctx)?;
                part.norm.forward(&y, false, ctx)?
            }
            None => x.clone(),
        };
        let (mut y, last) = (x.clone(), self.branch.len() - 1);
        for (i, part) in self.branch.iter().enumerate() {
            y = part.conv.forward(&y, Order::ChannelsLast, ctx)?;
            y = match i == last {
                true => part.norm.forward_residual(&y, &residual, ctx)?,
                false => part.norm.forward(&y, true, ctx)?,
            };
        }
        Ok(y)
    }
}

struct ResNet {
    config: ResNetConfig,
    backbone: Backbone,
    classifier: Option<(Linear, Problem)>,
}

impl ResNet {
    fn new(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Self, ModelError> {
        let config: ResNetConfig = file.parse()?;
        let body = if class == Class::Base { b.at("") } else { b.at("resnet") };
        let backbone = Backbone::new(body, &config, Names::Transformers, Learns::All)?;
        let classifier = match class {
            Class::ImageClassification => {
                let (n_in, n_out) = (config.width(), labels(file)?);
                let spec = LinearSpec { n_in, n_out, bias: true, layout: Layout::OutIn, std: 0.01 };
                Some((Linear::new(b.at("classifier.1"), spec)?, Problem::of(file, n_out)?))
            }
            _ => None,
        };
        Ok(ResNet { config, backbone, classifier })
    }
}

impl Network for ResNet {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let mut out = Outputs::default();
        let x = pictures(inputs, self.config.num_channels, None)?;
        let states = self.backbone.forward(x, ctx)?;
        if inputs.hidden_states {
            for (i, state) in states.iter().enumerate() {
                out.put(format!("hidden_states.{i}"), ops::channels_first(state, ctx)?);
            }
        }
        let Some(last) = states.last() else { return Ok(out) };
        let [b, h, w, c] = last.dims("resnet")?;
        let mean = ops::mean_pool(&last.to_f32(ctx.isa)?.reshape([b, h * w, c])?, None, ctx)?;
        match &self.classifier {
            Some((classifier, problem)) => {
                let logits = classifier.forward_full(&mean, ctx)?;
                if let Some(labels) = inputs.get("labels") {
                    out.put("loss", sequence_loss(&logits, labels, *problem, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
            None => {
                out.put("last_hidden_state", ops::channels_first(last, ctx)?);
                out.put("pooler_output", mean.reshape([b, c, 1, 1])?);
            }
        }
        Ok(out)
    }

    fn info(&self) -> Info {
        let step = self.config.reduction();
        Info {
            vocab_size: 0,
            max_length: None,
            positions_end: false,
            layers: self.config.depths.iter().sum(),
            width: self.config.width(),
            attention_width: 0,
            kept_per_layer: 8 * self.config.width(),
            read: None,
            masked: None,
            image: Some(ImageInfo {
                channels: self.config.num_channels,
                size: [224; 2],
                patch: [step; 2],
                resizes: true,
            }),
        }
    }
}
