//! DeBERTa, versions 2 and 3, [He et al. 2020](https://arxiv.org/abs/2006.03654) and
//! [2021](https://arxiv.org/abs/2111.09543): contents and relative positions attend to each other.

use bedstone_nn::{
    AttentionInput, Block, Buckets, Builder, DisentangledAttention, Distances, Embedding, Init, Linear, Mlp, Norm,
};
use bedstone_tensor::{Activation, Ctx, ParamId, Result as OpResult, Tensor, ops};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Architecture, Class, ModelError, Network,
    causal::activation,
    checkpoint::ConfigFile,
    encoder::{Cls, Encoder, EncoderConfig, Head, MaskedLm, MaskedLmNames, Positions, Problem, labels},
    model::{config_error, probabilities},
};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    model_type: "deberta-v2",
    classes: &[
        ("DebertaV2Model", Class::Base),
        ("DebertaV2ForMaskedLM", Class::MaskedLm),
        ("DebertaV2ForSequenceClassification", Class::SequenceClassification),
        ("DebertaV2ForTokenClassification", Class::TokenClassification),
        ("DebertaV2ForQuestionAnswering", Class::QuestionAnswering),
    ],
    base_prefix: "deberta",
    build,
    tiny: r#"{"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
              "intermediate_size": 40, "max_position_embeddings": 24, "relative_attention": true,
              "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": true, "pos_att_type": "p2c|c2p",
              "position_biased_input": false, "conv_kernel_size": 3}"#,
};

/// The fields of `config.json` that BERT does not have.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Config {
    relative_attention: bool,
    /// Below 1: as many as `max_position_embeddings`.
    max_relative_positions: i64,
    /// Below 1: distances are not bucketed.
    position_buckets: i64,
    /// A list, or names with `|` between them.
    pos_att_type: Value,
    share_att_key: bool,
    norm_rel_ebd: String,
    position_biased_input: bool,
    pooler_dropout: f32,
    pooler_hidden_act: String,
    cls_dropout: Option<f32>,
    /// 0: no convolution beside the first layer.
    conv_kernel_size: usize,
    conv_groups: usize,
    conv_act: String,
    /// Whether the head for masked words has the shape that it had at first.
    legacy: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            relative_attention: false,
            max_relative_positions: -1,
            position_buckets: -1,
            pos_att_type: Value::Null,
            share_att_key: false,
            norm_rel_ebd: "none".into(),
            position_biased_input: true,
            pooler_dropout: 0.0,
            pooler_hidden_act: "gelu".into(),
            cls_dropout: None,
            conv_kernel_size: 0,
            conv_groups: 1,
            conv_act: "tanh".into(),
            legacy: true,
        }
    }
}

/// Which looks at which.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    /// Contents at positions.
    c2p: bool,
    /// Positions at contents.
    p2c: bool,
}

impl Config {
    fn looks(&self) -> Result<Looks, ModelError> {
        let names: Option<Vec<&str>> = match &self.pos_att_type {
            Value::Null => Some(Vec::new()),
            Value::String(names) => Some(names.split('|').map(str::trim).collect()),
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let mut looks = Looks::default();
        for name in names.iter().flatten().filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "c2p" => looks.c2p = true,
                "p2c" => looks.p2c = true,
                _ => return Err(config_error("pos_att_type", name, "c2p, p2c or both").into()),
            }
        }
        match (names, self.relative_attention) {
            (None, _) => Err(config_error("pos_att_type", &self.pos_att_type, "a list of names").into()),
            (_, true) if !looks.c2p && !looks.p2c => {
                Err(config_error("pos_att_type", "neither", "c2p, p2c or both with relative_attention").into())
            }
            (_, false) => {
                let wanted = "true: without relative positions the architecture is BERT";
                Err(config_error("relative_attention", false, wanted).into())
            }
            _ => Ok(looks),
        }
    }

    fn buckets(&self, max_position_embeddings: usize) -> Result<Buckets, ModelError> {
        let positive = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
        let most = positive(self.max_relative_positions).unwrap_or(max_position_embeddings);
        let Some(span) = positive(self.position_buckets) else { return Ok(Buckets { span: most, farthest: None }) };
        if span < 2 || most <= span / 2 + 1 {
            let wanted = format!("2 or more, and less than twice the farthest distance ({most})");
            return Err(config_error("position_buckets", span, wanted).into());
        }
        Ok(Buckets { span, farthest: Some(most) })
    }
}

/// Attention and feed-forward network, with norms behind them.
#[derive(Clone, Debug)]
struct DebertaBlock {
    attn: DisentangledAttention,
    attn_norm: Norm,
    mlp: Mlp,
    mlp_norm: Norm,
    dropout: f32,
    conv: Option<Conv>,
}

/// A convolution over the input of a layer, beside it: `norm(layer(x) + f(dropout(conv(x))))`.
#[derive(Clone, Debug)]
struct Conv {
    weight: ParamId,
    bias: ParamId,
    activation: Activation,
    norm: Norm,
    dropout: f32,
}

impl Block for DebertaBlock {
    fn forward(&self, x: &Tensor, input: AttentionInput<'_>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        // A convolution goes over all tokens, and a layer in many has one.
        let attended = AttentionInput { wanted: input.wanted.filter(|_| self.conv.is_none()), ..input };
        let kept = attended.kept(x, ctx)?;
        let h = self.attn_norm.forward(&self.attn.forward_residual(x, attended, &kept, ctx)?, ctx)?;
        let y = self.mlp_norm.forward(&self.mlp.forward_residual(&h, self.dropout, &h, ctx)?, ctx)?;
        let Some(conv) = &self.conv else { return Ok(y) };
        let c = ops::conv1d(x, conv.weight, conv.bias, ctx)?;
        let c = ops::activation(&ops::dropout(&c, conv.dropout, ctx)?, conv.activation, ctx)?;
        let y = conv.norm.forward(&ops::add(&y, &c, ctx)?, ctx)?;
        let y = match input.mask {
            Some(mask) => ops::keep_rows(&y, mask, ctx)?,
            None => y,
        };
        input.kept(&y, ctx)
    }
}

impl Conv {
    fn new(mut b: Builder<'_>, own: &Config, config: &EncoderConfig) -> Result<Option<Self>, ModelError> {
        if own.conv_kernel_size == 0 {
            return Ok(None);
        }
        if own.conv_kernel_size.is_multiple_of(2) {
            return Err(config_error("conv_kernel_size", own.conv_kernel_size, "an odd number, or 0 for none").into());
        }
        if own.conv_groups != 1 {
            return Err(config_error("conv_groups", own.conv_groups, "1").into());
        }
        let (c, std) = (config.hidden_size, config.initializer_range);
        Ok(Some(Conv {
            weight: b.param("conv.weight", [c, c, own.conv_kernel_size], Init::Normal { std })?,
            bias: b.param("conv.bias", [c], Init::Constant(0.0))?,
            activation: activation("conv_act", &own.conv_act)?,
            norm: config.norm(b.at("LayerNorm"), c)?,
            dropout: config.hidden_dropout_prob,
        }))
    }
}

/// The embeddings of distances, which all blocks share.
struct Relative {
    table: ParamId,
    norm: Option<Norm>,
    buckets: Buckets,
    looks: Looks,
}

impl Relative {
    fn new(mut b: Builder<'_>, own: &Config, config: &EncoderConfig) -> Result<Self, ModelError> {
        let (looks, buckets) = (own.looks()?, own.buckets(config.max_position_embeddings)?);
        let (c, std) = (config.hidden_size, config.initializer_range);
        let table = Embedding::new(b.at("rel_embeddings"), 2 * buckets.span, c, std)?.table;
        let norms = own.norm_rel_ebd.to_lowercase();
        let norm = match norms.split('|').map(str::trim).find(|name| !["none", ""].contains(name)) {
            None => None,
            Some("layer_norm") => Some(config.norm(b.at("LayerNorm"), c)?),
            Some(name) => return Err(config_error("norm_rel_ebd", name, "none or layer_norm").into()),
        };
        Ok(Relative { table, norm, buckets, looks })
    }

    /// With the maps of a layer.
    fn block(&self, mut b: Builder<'_>, own: &Config, config: &EncoderConfig) -> Result<DebertaBlock, ModelError> {
        let (c, inner, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
        let mut at = b.at("attention.self");
        let [query, key, value] = ["query_proj", "key_proj", "value_proj"].map(|name| config.linear(at.at(name), c, c));
        let (query, key, value) = (query?, key?, value?);
        let mut map = |wanted: bool, shared: Linear, name: &str| match (wanted, own.share_att_key) {
            (false, _) => Ok(None),
            (true, true) => Ok(Some(shared)),
            (true, false) => config.linear(at.at(name), c, c).map(Some),
        };
        let distances = Distances {
            table: self.table,
            norm: self.norm,
            dropout: config.hidden_dropout_prob,
            keys: map(self.looks.c2p, key, "pos_key_proj")?,
            queries: map(self.looks.p2c, query, "pos_query_proj")?,
            buckets: self.buckets,
        };
        // Sums of so many products have so many times the variance.
        let sums = 1 + self.looks.c2p as usize + self.looks.p2c as usize;
        let head_dim = c / heads;
        Ok(DebertaBlock {
            attn: DisentangledAttention {
                projections: [query, key, value],
                distances,
                out: config.linear(b.at("attention.output.dense"), c, c)?,
                heads,
                head_dim,
                scale: 1.0 / ((head_dim * sums) as f32).sqrt(),
                dropout: config.attention_probs_dropout_prob,
                out_dropout: config.hidden_dropout_prob,
            },
            attn_norm: config.norm(b.at("attention.output.LayerNorm"), c)?,
            mlp: Mlp::Plain {
                up: config.linear(b.at("intermediate.dense"), c, inner)?,
                down: config.linear(b.at("output.dense"), inner, c)?,
                activation: config.activation()?,
            },
            mlp_norm: config.norm(b.at("output.LayerNorm"), c)?,
            dropout: config.hidden_dropout_prob,
            conv: None,
        })
    }
}

fn build(file: &ConfigFile, class: Class, mut b: Builder<'_>) -> Result<Box<dyn Network>, ModelError> {
    let own: Config = file.parse()?;
    let config = common(file)?;
    probabilities(&[("pooler_dropout", own.pooler_dropout), ("cls_dropout", own.cls_dropout.unwrap_or(0.0))])?;
    let c = config.hidden_size;
    for (field, wanted) in
        [("embedding_size", c), ("pooler_hidden_size", c), ("attention_head_size", c / config.num_attention_heads)]
    {
        if let Some(got) = file.usize(field)?.filter(|got| *got != wanted) {
            return Err(config_error(field, got, format!("{wanted}, as the other sizes make it")).into());
        }
    }
    let mut body = if class == Class::Base { b.at("") } else { b.at("deberta") };
    let positions = if own.position_biased_input { Positions::All } else { Positions::None };
    let embeddings = config.embeddings(body.at("embeddings"), c, positions)?.without_padding();
    let relative = Relative::new(body.at("encoder"), &own, &config)?;
    let blocks = (0..config.num_hidden_layers).map(|i| {
        let block = relative.block(body.at("encoder.layer").at(i), &own, &config)?;
        // The input of the first layer only, the embeddings.
        let conv = if i == 0 { Conv::new(body.at("encoder.conv"), &own, &config)? } else { None };
        Ok(DebertaBlock { conv, ..block })
    });
    let blocks = blocks.collect::<Result<_, ModelError>>()?;
    let head = match class {
        Class::MaskedLm => {
            let (place, dense, norm) = match own.legacy {
                true => ("cls.predictions", "transform.dense", "transform.LayerNorm"),
                false => ("lm_predictions.lm_head", "dense", "LayerNorm"),
            };
            // Only the old head can have weights of its own.
            let decoder = own.legacy.then_some("decoder.weight");
            let names = MaskedLmNames { dense, norm, bias: "bias", decoder };
            let words = embeddings.words();
            let lm = MaskedLm::new(&mut b.at(place), &config, &names, c, words, config.activation()?)?;
            Head::MaskedLm(Box::new(lm))
        }
        Class::SequenceClassification => {
            let n = labels(file)?;
            let cls = Cls {
                before: own.pooler_dropout,
                dense: config.linear(b.at("pooler.dense"), c, c)?,
                activation: activation("pooler_hidden_act", &own.pooler_hidden_act)?,
            };
            let classifier = config.linear(b.at("classifier"), c, n)?;
            let dropout = own.cls_dropout.unwrap_or(config.hidden_dropout_prob);
            Head::Sequence { cls, dropout, classifier, problem: Problem::of(file, n)? }
        }
        _ => Head::common(class, file, &config, &mut b)?.unwrap_or(Head::Base { pooler: None }),
    };
    Ok(Box::new(Encoder::new(&config, embeddings, blocks, head)))
}

/// The fields that it shares with BERT, with its own defaults where the file does not say.
fn common(file: &ConfigFile) -> Result<EncoderConfig, ModelError> {
    let mut config: EncoderConfig = file.parse()?;
    for (field, to, default) in [
        ("vocab_size", &mut config.vocab_size, 128_100),
        ("hidden_size", &mut config.hidden_size, 1536),
        ("num_hidden_layers", &mut config.num_hidden_layers, 24),
        ("num_attention_heads", &mut config.num_attention_heads, 24),
        ("intermediate_size", &mut config.intermediate_size, 6144),
        ("type_vocab_size", &mut config.type_vocab_size, 0),
    ] {
        if file.get(field).is_none() {
            *to = default;
        }
    }
    if file.get("layer_norm_eps").is_none() {
        config.layer_norm_eps = 1e-7;
    }
    config.classifier_dropout = None;
    config.check()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;

    #[track_caller]
    fn check(field: &str, value: Value, want: &str) {
        let mut fields = serde_json::from_str::<serde_json::Map<_, _>>(ARCHITECTURE.tiny).unwrap();
        fields.insert(field.into(), value);
        let error = Model::from_fields(&ARCHITECTURE, &fields, 1).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(want).filter(|w| !w.is_empty()));
    }

    #[test]
    fn configurations_that_are_not_served_are_named() {
        let bert = "relative_attention: got false, wanted true: without relative positions the architecture is BERT";
        check("relative_attention", false.into(), bert);
        check("pos_att_type", "p2p".into(), "pos_att_type: got p2p, wanted c2p, p2c or both");
        let neither = "pos_att_type: got neither, wanted c2p, p2c or both with relative_attention";
        check("pos_att_type", Value::Null, neither);
        check("norm_rel_ebd", "rms".into(), "norm_rel_ebd: got rms, wanted none or layer_norm");
        check("conv_kernel_size", 4.into(), "conv_kernel_size: got 4, wanted an odd number, or 0 for none");
        check("conv_kernel_size", 3.into(), "");
        let wide = "embedding_size: got 12, wanted 24, as the other sizes make it";
        check("embedding_size", 12.into(), wide);
        let far = "position_buckets: got 60, wanted 2 or more, and less than twice the farthest distance (24)";
        check("position_buckets", 60.into(), far);
        check("pos_att_type", vec!["C2P"].into(), "");
    }
}
