//! What every causal language model does around its layers: positions, padding, states, the head.

use bedstone_nn::Norm;
use bedstone_tensor::{Activation, Ctx, Result as OpResult, Tensor, TensorError};

use crate::{Inputs, ModelError, Outputs, head::LmHead, model::config_error};

/// States between layers, kept if they are wanted.
pub(crate) struct HiddenStates(Option<Vec<Tensor>>);

impl HiddenStates {
    pub(crate) fn new(inputs: &Inputs) -> Self {
        HiddenStates(inputs.hidden_states.then(Vec::new))
    }

    /// As outputs `hidden_states.N`.
    pub(crate) fn put(self, out: &mut Outputs) {
        self.put_as(out, "hidden_states");
    }

    /// As outputs `NAME.N`.
    pub(crate) fn put_as(self, out: &mut Outputs, name: &str) {
        for (i, state) in self.0.into_iter().flatten().enumerate() {
            out.put(format!("{name}.{i}"), state);
        }
    }

    /// The input of a layer.
    pub(crate) fn push(&mut self, x: &Tensor) {
        if let Some(states) = &mut self.0 {
            states.push(x.clone());
        }
    }
}

/// The last norm, the head, and what remains to do after a pass.
pub(crate) fn finish(
    x: Tensor,
    norm: &Norm,
    head: &LmHead,
    mut states: HiddenStates,
    inputs: &Inputs,
    ids: &Tensor,
    ctx: &mut Ctx<'_>,
) -> OpResult<Outputs> {
    let x = norm.forward(&x, ctx)?;
    states.push(&x);
    let mut out = Outputs::default();
    states.put(&mut out);
    head.forward(&x, inputs, &mut out, ctx)?;
    let [_, t] = ids.dims("input_ids")?;
    if let Some(cache) = &mut ctx.cache {
        cache.advance(t);
    }
    Ok(out)
}

/// `position_ids`, or those that follow the tokens in the cache.
pub(crate) fn positions(inputs: &Inputs, ids: &Tensor, ctx: &Ctx<'_>) -> OpResult<Tensor> {
    let [b, t] = ids.dims("input_ids")?;
    if let Some(given) = inputs.get("position_ids") {
        // One row serves all sequences.
        let row = given.data::<i32>("position_ids")?;
        return match row.len() {
            n if n == b * t => given.reshape([b, t]),
            n if n == t => Ok(Tensor::from_slice(&row.repeat(b), [b, t])),
            _ => Err(TensorError::Shape { op: "position_ids", got: given.shape(), wanted: format!("[{b}, {t}]") }),
        };
    }
    let start = ctx.cache.as_ref().map_or(0, |c| c.len()) as i32;
    let row: Vec<i32> = (start..start + t as i32).collect();
    Ok(Tensor::from_slice(&row.repeat(b), [b, t]))
}

/// `attention_mask` as bytes.
pub(crate) fn mask(inputs: &Inputs) -> OpResult<Option<Tensor>> {
    let Some(mask) = inputs.get("attention_mask") else { return Ok(None) };
    if mask.dtype() == bedstone_tensor::Dtype::U8 {
        return Ok(Some(mask.clone()));
    }
    let bytes: Vec<u8> = mask.data::<i32>("attention_mask")?.iter().map(|&m| (m != 0) as u8).collect();
    // A mask without padding hides nothing.
    Ok(bytes.contains(&0).then(|| Tensor::from_slice(&bytes, mask.shape())))
}

/// The activation that a configuration names.
pub(crate) fn activation(field: &str, name: &str) -> Result<Activation, ModelError> {
    Ok(match name {
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "quick_gelu" => Activation::QuickGelu,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        "tanh" => Activation::Tanh,
        _ => {
            let wanted = "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, quick_gelu, silu, swish, relu or tanh";
            return Err(config_error(field, name, wanted).into());
        }
    })
}
