//! The configuration of a DETR, in the spellings of all releases.

use bedstone_nn::{Builder, Linear, LinearSpec, Norm};
use bedstone_tensor::{Activation, ops::Layout};
use serde::Deserialize;

use crate::{
    ModelError,
    causal::activation,
    checkpoint::ConfigFile,
    model::{config_error, layers, positive, probabilities},
    resnet::{Names, ResNetConfig},
};

/// The fields of `config.json`, with the defaults of the released model.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) d_model: usize,
    pub(super) num_queries: usize,
    pub(super) encoder_layers: usize,
    pub(super) encoder_ffn_dim: usize,
    pub(super) encoder_attention_heads: usize,
    pub(super) decoder_layers: usize,
    pub(super) decoder_ffn_dim: usize,
    pub(super) decoder_attention_heads: usize,
    activation_function: String,
    pub(super) dropout: f32,
    pub(super) attention_dropout: f32,
    activation_dropout: f32,
    pub(super) init_std: f32,
    position_embedding_type: String,
    dilation: bool,
    num_channels: usize,
    #[serde(skip)]
    pub(super) resnet: ResNetConfig,
    #[serde(skip)]
    pub(super) names: Names,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            d_model: 256,
            num_queries: 100,
            encoder_layers: 6,
            encoder_ffn_dim: 2048,
            encoder_attention_heads: 8,
            decoder_layers: 6,
            decoder_ffn_dim: 2048,
            decoder_attention_heads: 8,
            activation_function: "relu".into(),
            dropout: 0.1,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            init_std: 0.02,
            position_embedding_type: "sine".into(),
            dilation: false,
            num_channels: 3,
            resnet: ResNetConfig::default(),
            names: Names::Timm,
        }
    }
}

impl Config {
    pub(super) fn of(file: &ConfigFile) -> Result<Self, ModelError> {
        let mut config: Config = file.parse()?;
        config.check()?;
        (config.resnet, config.names) = config.backbone(file)?;
        Ok(config)
    }

    /// An error that names the first field without sense.
    fn check(&self) -> Result<(), ModelError> {
        positive(&[
            ("d_model", self.d_model),
            ("num_queries", self.num_queries),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
        ])?;
        layers("encoder_layers", self.encoder_layers)?;
        layers("decoder_layers", self.decoder_layers)?;
        probabilities(&[
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ])?;
        for (what, heads) in [
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
        ] {
            if !self.d_model.is_multiple_of(heads) || !self.d_model.is_multiple_of(4) {
                let wanted = format!("a multiple of 4 and of {what} ({heads})");
                return Err(config_error("d_model", self.d_model, wanted).into());
            }
        }
        if self.position_embedding_type != "sine" {
            return Err(config_error("position_embedding_type", &self.position_embedding_type, "sine").into());
        }
        if self.activation_dropout != 0.0 {
            return Err(config_error("activation_dropout", self.activation_dropout, "0").into());
        }
        Ok(())
    }

    /// The backbone: an object `backbone_config`, or the name of one of timm's.
    fn backbone(&self, file: &ConfigFile) -> Result<(ResNetConfig, Names), ModelError> {
        let inner = file.get("backbone_config").is_some_and(|v| v.is_object());
        let inner = inner.then(|| file.section("backbone_config")).transpose()?;
        if let Some(inner) = inner.as_ref().filter(|inner| matches!(inner.model_type(), Ok("resnet"))) {
            if self.dilation {
                return Err(config_error("dilation", true, "false with a backbone of transformers").into());
            }
            return Ok((inner.parse()?, Names::Transformers));
        }
        let kind = inner.as_ref().map(ConfigFile::model_type).transpose()?;
        if let Some(kind) = kind.filter(|k| *k != "timm_backbone") {
            return Err(config_error("backbone_config.model_type", kind, "resnet or timm_backbone").into());
        }
        let named = inner.as_ref().map(|c| c.str("backbone")).transpose()?.flatten();
        let name = named.or(file.str("backbone")?).unwrap_or("resnet50");
        let mut resnet = ResNetConfig::of_timm(name)
            .ok_or_else(|| config_error("backbone", name, "resnet18, resnet34, resnet50, resnet101 or resnet152"))?;
        resnet.num_channels = self.num_channels;
        resnet.dilation = self.dilation;
        // What timm is asked to change of the network.
        let options = file.get("backbone_kwargs").and_then(|v| v.as_object());
        let numbers = |field: &str| -> Result<Option<Vec<usize>>, ModelError> {
            let Some(value) = options.and_then(|o| o.get(field)) else { return Ok(None) };
            let numbers = value.as_array().and_then(|a| a.iter().map(|n| Some(n.as_u64()? as usize)).collect());
            let wrong = || config_error(&format!("backbone_kwargs.{field}"), value, "a list of numbers");
            Ok(Some(numbers.ok_or_else(wrong)?))
        };
        if let Some(depths) = numbers("layers")? {
            resnet = resnet.with_depths(depths);
        }
        if let Some(widths) = numbers("channels")? {
            resnet = resnet.with_widths(&widths);
        }
        Ok((resnet, Names::Timm))
    }

    /// A linear map with a bias.
    pub(super) fn linear(&self, b: Builder<'_>, n_in: usize, n_out: usize) -> Result<Linear, ModelError> {
        let std = self.init_std;
        Ok(Linear::new(b, LinearSpec { n_in, n_out, bias: true, layout: Layout::OutIn, std })?)
    }

    /// A layer norm.
    pub(super) fn norm(&self, b: Builder<'_>) -> Result<Norm, ModelError> {
        Ok(Norm::layer(b, self.d_model, 1e-5)?)
    }

    /// The activation between the maps of layers.
    pub(super) fn activation(&self) -> Result<Activation, ModelError> {
        activation("activation_function", &self.activation_function)
    }
}
