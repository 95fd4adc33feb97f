//! What the encoders share: configuration, embeddings, a stack of blocks, heads for tasks.

mod head;
mod lm;

use bedstone_nn::{
    Attention, AttentionInput, AttentionSpec, Block, Builder, Embedding, Linear, LinearSpec, Mlp, Norm, PostNormBlock,
};
use bedstone_tensor::{
    Ctx, ParamId, Result as OpResult, Tensor, TensorError,
    ops::{self, Layout},
};
use serde::Deserialize;

pub(crate) use head::{Cls, Head, Pooler, Problem, RelationNames, discriminator, sequence_loss};
pub(crate) use lm::{MaskedLm, MaskedLmNames};

use crate::{
    Info, Inputs, ModelError, Network, Outputs,
    causal::{HiddenStates, activation, mask},
    checkpoint::ConfigFile,
    model::{config_error, layers, positive, probabilities},
};

/// The fields of `config.json` that most encoders share, with the defaults of BERT.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct EncoderConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) hidden_act: String,
    pub(crate) hidden_dropout_prob: f32,
    pub(crate) attention_probs_dropout_prob: f32,
    pub(crate) classifier_dropout: Option<f32>,
    pub(crate) max_position_embeddings: usize,
    pub(crate) type_vocab_size: usize,
    pub(crate) initializer_range: f32,
    pub(crate) layer_norm_eps: f32,
    pub(crate) pad_token_id: Option<usize>,
    pub(crate) tie_word_embeddings: bool,
    pub(crate) position_embedding_type: Option<String>,
    pub(crate) is_decoder: bool,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: "gelu".into(),
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            tie_word_embeddings: true,
            position_embedding_type: None,
            is_decoder: false,
        }
    }
}

/// Names of the parts of a block that differ between families.
pub(crate) struct BlockNames {
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) out: &'static str,
    pub(crate) attn_norm: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    pub(crate) mlp_norm: &'static str,
}

/// Those of BERT, RoBERTa and ELECTRA.
pub(crate) const BERT_BLOCK: BlockNames = BlockNames {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    out: "attention.output.dense",
    attn_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

impl EncoderConfig {
    /// An error that names the first field without sense.
    pub(crate) fn check(&self) -> Result<(), ModelError> {
        positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        layers("num_hidden_layers", self.num_hidden_layers)?;
        probabilities(&[
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout.unwrap_or(0.0)),
        ])?;
        if self.layer_norm_eps.is_nan() || self.layer_norm_eps <= 0.0 {
            return Err(config_error("layer_norm_eps", self.layer_norm_eps, "above 0").into());
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let wanted = format!("a multiple of num_attention_heads ({})", self.num_attention_heads);
            return Err(config_error("hidden_size", self.hidden_size, wanted).into());
        }
        if let Some(kind) = self.position_embedding_type.as_deref().filter(|k| *k != "absolute") {
            return Err(config_error("position_embedding_type", kind, "absolute").into());
        }
        if self.is_decoder {
            return Err(config_error("is_decoder", true, "false").into());
        }
        Ok(())
    }

    /// Dropout before a classifier.
    pub(crate) fn head_dropout(&self) -> f32 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// A linear map with a bias.
    pub(crate) fn linear(&self, b: Builder<'_>, n_in: usize, n_out: usize) -> Result<Linear, ModelError> {
        let std = self.initializer_range;
        Ok(Linear::new(b, LinearSpec { n_in, n_out, bias: true, layout: Layout::OutIn, std })?)
    }

    /// A layer norm.
    pub(crate) fn norm(&self, b: Builder<'_>, width: usize) -> Result<Norm, ModelError> {
        Ok(Norm::layer(b, width, self.layer_norm_eps)?)
    }

    /// The activation of blocks and heads.
    pub(crate) fn activation(&self) -> Result<bedstone_tensor::Activation, ModelError> {
        activation("hidden_act", &self.hidden_act)
    }

    /// A block with norms behind its branches.
    pub(crate) fn block(
        &self,
        mut b: Builder<'_>,
        layer: usize,
        names: &BlockNames,
    ) -> Result<PostNormBlock, ModelError> {
        let (c, inner) = (self.hidden_size, self.intermediate_size);
        let spec = AttentionSpec {
            dropout: self.attention_probs_dropout_prob,
            out_dropout: self.hidden_dropout_prob,
            ..AttentionSpec::bidirectional(layer, c, self.num_attention_heads)
        };
        let projections = [names.query, names.key, names.value].map(|name| self.linear(b.at(name), c, c));
        let projections = projections.into_iter().collect::<Result<_, _>>()?;
        let out = self.linear(b.at(names.out), c, c)?;
        Ok(PostNormBlock {
            attn: Attention::new(spec, projections, out, None)?,
            attn_norm: self.norm(b.at(names.attn_norm), c)?,
            mlp: Mlp::Plain {
                up: self.linear(b.at(names.up), c, inner)?,
                down: self.linear(b.at(names.down), inner, c)?,
                activation: self.activation()?,
            },
            mlp_norm: self.norm(b.at(names.mlp_norm), c)?,
            dropout: self.hidden_dropout_prob,
        })
    }

    /// Tables of words, positions and (if there are any) segments, of rows of `width`, and their norm.
    pub(crate) fn embeddings(
        &self,
        mut b: Builder<'_>,
        width: usize,
        positions: Positions,
    ) -> Result<Embeddings, ModelError> {
        let std = self.initializer_range;
        let words = Embedding::new(b.at("word_embeddings"), self.vocab_size, width, std)?;
        let places = match positions {
            Positions::None => None,
            _ => Some(Embedding::new(b.at("position_embeddings"), self.max_position_embeddings, width, std)?),
        };
        let segments = match self.type_vocab_size {
            0 => None,
            n => Some(Embedding::new(b.at("token_type_embeddings"), n, width, std)?),
        };
        let norm = self.norm(b.at("LayerNorm"), width)?;
        let (dropout, limit) = (self.hidden_dropout_prob, self.max_position_embeddings);
        Ok(Embeddings { words, places, segments, norm, dropout, positions, limit, without_padding: false })
    }
}

/// How positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positions {
    /// From 0, padding included.
    All,
    /// Tokens that are not this one, from the number after it; it has its own number as position (RoBERTa).
    Tokens {
        /// The id of padding.
        pad: usize,
    },
    /// Not at all: attention knows distances, which have no end (DeBERTa).
    None,
}

/// Words, positions and segments.
#[derive(Clone, Debug)]
pub(crate) struct Embeddings {
    words: Embedding,
    places: Option<Embedding>,
    segments: Option<Embedding>,
    norm: Norm,
    dropout: f32,
    positions: Positions,
    limit: usize,
    /// Whether states of padding begin as zeros.
    without_padding: bool,
}

impl Embeddings {
    /// The table of words, which heads share.
    pub(crate) fn words(&self) -> ParamId {
        self.words.table
    }

    /// With zeros for padding, where a mask tells it.
    pub(crate) fn without_padding(self) -> Self {
        Embeddings { without_padding: true, ..self }
    }

    /// The longest sequence.
    pub(crate) fn max_length(&self) -> usize {
        match self.positions {
            Positions::All | Positions::None => self.limit,
            Positions::Tokens { pad } => self.limit.saturating_sub(pad + 1),
        }
    }

    /// Whether there are no positions beyond that.
    fn positions_end(&self) -> bool {
        self.places.is_some()
    }

    /// `[B, T]` to `[B, T, width]`.
    fn forward(&self, inputs: &Inputs, ids: &Tensor, mask: Option<&Tensor>, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let [b, t] = ids.dims("input_ids")?;
        let longest = inputs.lengths.iter().flatten().copied().max().unwrap_or(t);
        if longest > self.max_length() && self.positions_end() {
            let what = format!("{longest} tokens, the model has max_position_embeddings for {}", self.max_length());
            return Err(TensorError::Unsupported { op: "encoder", what });
        }
        let positions = match (inputs.get("position_ids"), self.positions) {
            (None, Positions::All) if inputs.lengths.is_some() => {
                let places = inputs.lengths.iter().flatten().flat_map(|&n| 0..n as i32);
                Tensor::from_slice(&places.collect::<Vec<_>>(), [b, t])
            }
            (Some(_), _) | (None, Positions::All | Positions::None) => crate::causal::positions(inputs, ids, ctx)?,
            (None, Positions::Tokens { pad }) => {
                let mut places = vec![pad as i32; b * t];
                let lengths = inputs.lengths.clone().unwrap_or_else(|| vec![t; b]);
                let (mut ids, mut rest) = (ids.data::<i32>("input_ids")?, &mut places[..]);
                for n in lengths {
                    let (row, later) = ids.split_at(n);
                    let (places, others) = rest.split_at_mut(n);
                    let mut next = pad as i32;
                    for (place, _) in places.iter_mut().zip(row).filter(|(_, id)| **id != pad as i32) {
                        next += 1;
                        *place = next;
                    }
                    (ids, rest) = (later, others);
                }
                Tensor::from_slice(&places, [b, t])
            }
        };
        let mut tables = vec![(self.words.table, ids)];
        if let Some(places) = &self.places {
            tables.push((places.table, &positions));
        }
        let types = match inputs.get("token_type_ids") {
            Some(types) => types.clone(),
            None => Tensor::zeros::<i32>([b, t]),
        };
        if let Some(segments) = &self.segments {
            tables.push((segments.table, &types));
        }
        let x = ops::embedding(&tables, ctx)?;
        let mut x = self.norm.forward(&x, ctx)?;
        if let Some(mask) = mask.filter(|_| self.without_padding) {
            x = ops::keep_rows(&x, mask, ctx)?;
        }
        ops::dropout(&x, self.dropout, ctx)
    }
}

/// Embeddings, blocks, head.
pub(crate) struct Encoder<B> {
    pub(crate) embeddings: Embeddings,
    /// From the embeddings' width to that of the blocks, where these differ.
    pub(crate) projection: Option<Linear>,
    /// Each block's parameters.
    pub(crate) blocks: Vec<B>,
    /// Which of them each layer is.
    pub(crate) order: Vec<usize>,
    pub(crate) head: Head,
    pub(crate) info: Info,
}

impl<B: Block> Encoder<B> {
    /// With every block once.
    pub(crate) fn new(config: &EncoderConfig, embeddings: Embeddings, blocks: Vec<B>, head: Head) -> Self {
        let (c, inner) = (config.hidden_size, config.intermediate_size);
        let info = Info {
            vocab_size: config.vocab_size,
            max_length: Some(embeddings.max_length()),
            positions_end: embeddings.positions_end(),
            layers: config.num_hidden_layers,
            width: c,
            attention_width: c,
            // The residual stream twice, two sums before norms, the projection, the attention's output, the inner
            // states before and after their activation.
            kept_per_layer: 8 * c + 2 * inner,
            read: head.wanted().map(|span| span.count),
            masked: None,
            image: None,
        };
        let order = (0..blocks.len()).collect();
        Encoder { embeddings, projection: None, blocks, order, head, info }
    }
}

impl<B: Block> Network for Encoder<B> {
    fn forward(&self, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Outputs> {
        let ids = inputs.need("input_ids")?;
        let mask = mask(inputs)?;
        if let Some(lengths) = &inputs.lengths {
            check_packed(lengths, ids, inputs)?;
        }
        ctx.packed = inputs.lengths.clone();
        let mut x = self.embeddings.forward(inputs, ids, mask.as_ref(), ctx)?;
        if let Some(projection) = &self.projection {
            x = projection.forward_full(&x, ctx)?;
        }
        if inputs.attentions {
            ctx.attentions = Some(Vec::new());
        }
        // Sequences that stand one after another have their first tokens anywhere.
        let whole = inputs.wants_all_tokens() || ctx.packed.is_some();
        let wanted = if whole { None } else { self.head.wanted() };
        let mut states = HiddenStates::new(inputs);
        for (i, &block) in self.order.iter().enumerate() {
            states.push(&x);
            let wanted = wanted.filter(|_| i + 1 == self.order.len());
            x = self.blocks[block].run(&x, AttentionInput { rotation: None, mask: mask.as_ref(), wanted }, ctx)?;
        }
        states.push(&x);
        let mut out = Outputs::default();
        states.put(&mut out);
        for (i, shown) in ctx.attentions.take().into_iter().flatten().enumerate() {
            out.put(format!("attentions.{i}"), shown);
        }
        self.head.forward(&x, inputs, mask.as_ref(), &mut out, ctx)?;
        ctx.packed = None;
        Ok(out)
    }

    fn info(&self) -> Info {
        self.info
    }

    fn packs(&self) -> bool {
        B::PACKS
    }
}

/// An error unless the lengths are those of the ids, and nothing else is asked that needs rows of one length.
fn check_packed(lengths: &[usize], ids: &Tensor, inputs: &Inputs) -> OpResult<()> {
    let total: usize = lengths.iter().sum();
    if ids.shape() != [1, total].into() || lengths.contains(&0) {
        return Err(TensorError::Shape {
            op: "input_ids",
            got: ids.shape(),
            wanted: format!("[1, {total}] in rows of 1 or more"),
        });
    }
    if inputs.attentions || inputs.get("attention_mask").is_some() {
        let what = "packed sequences have no mask and show no probabilities".to_owned();
        return Err(TensorError::Unsupported { op: "encoder", what });
    }
    Ok(())
}

/// The first row of each of the sequences that stand one after another.
fn starts(lengths: &[usize]) -> impl Iterator<Item = usize> {
    lengths.iter().scan(0, |next, n| Some(std::mem::replace(next, *next + n)))
}

/// How many labels a configuration has: `id2label`, `num_labels`, or two.
pub(crate) fn labels(config: &ConfigFile) -> Result<usize, ModelError> {
    let named = config.get("id2label").and_then(|v| v.as_object()).map(|map| map.len());
    let count = match named {
        Some(n) => n,
        None => config.usize("num_labels")?.unwrap_or(2),
    };
    positive(&[("id2label", count)])?;
    Ok(count)
}
