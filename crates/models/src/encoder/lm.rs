//! Predicting masked words.

use bedstone_nn::{Builder, Init, Linear, Norm};
use bedstone_tensor::{
    Activation, Ctx, IGNORE, ParamId, Result as OpResult, Tensor,
    ops::{self, Layout, LinearArgs, LossArgs},
};

use super::EncoderConfig;
use crate::{Inputs, Logits, ModelError};

/// The places that have labels.
fn labelled(labels: &Tensor) -> OpResult<Vec<i32>> {
    let all = labels.data::<i32>("labels")?;
    Ok((0..all.len() as i32).filter(|&i| all[i as usize] != IGNORE).collect())
}

/// `logits = norm(f(dense(x))) Wᵀ + b`, with the table of words as `W`, [Devlin et al. 2018](https://arxiv.org/abs/1810.04805).
#[derive(Clone, Debug)]
pub(crate) struct MaskedLm {
    dense: Linear,
    activation: Activation,
    norm: Norm,
    decoder: ops::Linear,
}

/// Names of its parts.
pub(crate) struct MaskedLmNames {
    pub(crate) dense: &'static str,
    pub(crate) norm: &'static str,
    /// The bias alone, as checkpoints name it.
    pub(crate) bias: &'static str,
    /// The weights, where they are not the table of words; `None` where they always are.
    pub(crate) decoder: Option<&'static str>,
}

impl MaskedLm {
    /// From blocks of `hidden_size` to words of `width`.
    pub(crate) fn new(
        b: &mut Builder<'_>,
        config: &EncoderConfig,
        names: &MaskedLmNames,
        width: usize,
        words: ParamId,
        activation: Activation,
    ) -> Result<Self, ModelError> {
        let dense = config.linear(b.at(names.dense), config.hidden_size, width)?;
        let norm = config.norm(b.at(names.norm), width)?;
        let std = config.initializer_range;
        let (weight, bias) = match names.decoder {
            // An output layer of its own has its own bias too: the one beside it, that heads share, then has no use.
            Some(decoder) if !config.tie_word_embeddings => {
                let own = decoder.replace("weight", "bias");
                let bias = if b.has(&own) { own } else { names.bias.to_owned() };
                (b.param(decoder, [config.vocab_size, width], Init::Normal { std })?, bias)
            }
            _ => (words, names.bias.to_owned()),
        };
        let bias = Some(b.param(&bias, [config.vocab_size], Init::Constant(0.0))?);
        Ok(MaskedLm { dense, activation, norm, decoder: ops::Linear { weight, bias, layout: Layout::OutIn } })
    }

    fn states(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let x = self.dense.forward_activated(x, self.activation, ctx)?;
        self.norm.operand(&x, ctx)
    }

    /// `x: [.., C]` to `[.., V]`; with [`Logits::Labelled`] and [`Logits::At`] only where they say, `[places, V]`.
    pub(crate) fn logits(&self, x: &Tensor, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let x = match (&inputs.logits, inputs.get("labels")) {
            (Logits::At(places), _) => ops::rows(x, places, ctx)?,
            (Logits::Labelled, Some(labels)) => ops::rows(x, &labelled(labels)?, ctx)?,
            _ => x.clone(),
        };
        let x = self.states(&x, ctx)?;
        ops::linear(&x, &[self.decoder], LinearArgs { full: true, ..Default::default() }, ctx)
    }

    /// The loss at the places that have labels, which are the only ones that are computed.
    pub(crate) fn loss(&self, x: &Tensor, labels: &Tensor, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let all = labels.data::<i32>("labels")?;
        let mut places = labelled(labels)?;
        if places.is_empty() {
            // One that does not count, so that the loss is what it is for nothing, and gradients are zeros.
            places.extend((!all.is_empty()).then_some(0));
        }
        let labels: Vec<i32> = places.iter().map(|&i| all[i as usize]).collect();
        let labels = Tensor::from_slice(&labels, [labels.len()]);
        let x = ops::rows(x, &places, ctx)?;
        let x = self.states(&x, ctx)?;
        let args = LossArgs { divisor: inputs.loss_divisor, ..LossArgs::default() };
        ops::linear_cross_entropy(&x, self.decoder.weight, self.decoder.bias, &labels, args, ctx)
    }
}
