//! The head of a causal language model.

use bedstone_nn::{Builder, Init, Result};
use bedstone_tensor::{
    Ctx, IGNORE, ParamId, Result as OpResult, Tensor, TensorError,
    ops::{self, LinearArgs, LossArgs},
};

use crate::{Inputs, Logits, Outputs};

/// Logits of the next token, and their loss.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LmHead {
    linear: ops::Linear,
    softcap: Option<f32>,
}

impl LmHead {
    /// With the embedding's table as weights if `tied`, else with its own: parameter `lm_head.weight`.
    pub(crate) fn new(
        b: &mut Builder<'_>,
        tied: Option<ParamId>,
        vocab: usize,
        width: usize,
        std: f32,
    ) -> Result<Self> {
        let weight = match tied {
            Some(table) => table,
            None => b.at("lm_head").param("weight", [vocab, width], Init::Normal { std })?,
        };
        Ok(LmHead { linear: ops::Linear { weight, bias: None, layout: ops::Layout::OutIn }, softcap: None })
    }

    /// With logits limited to `±cap`.
    pub(crate) fn with_softcap(self, cap: Option<f32>) -> Self {
        LmHead { softcap: cap, ..self }
    }

    /// From the last hidden states `x: [B, T, C]`: `logits` as far as they are wanted, and `loss` if there are labels.
    pub(crate) fn forward(&self, x: &Tensor, inputs: &Inputs, out: &mut Outputs, ctx: &mut Ctx<'_>) -> OpResult<()> {
        let targets = match (inputs.get("targets"), inputs.get("labels")) {
            (Some(targets), _) => Some(targets.clone()),
            (None, Some(labels)) => Some(shifted(labels)?),
            (None, None) => None,
        };
        if let Some(targets) = targets {
            let args = LossArgs { softcap: self.softcap, divisor: inputs.loss_divisor, ..LossArgs::default() };
            out.put("loss", ops::linear_cross_entropy(x, self.linear.weight, None, &targets, args, ctx)?);
        }
        let [b, t, width] = x.dims("head")?;
        let x = match &inputs.logits {
            Logits::None => return Ok(()),
            // A causal model has a label at every place but the last.
            Logits::All | Logits::Labelled => x.clone(),
            Logits::At(_) => {
                let what = "logits at chosen rows are for models of masked words".to_owned();
                return Err(TensorError::Unsupported { op: "head", what });
            }
            Logits::Last => {
                let last: Vec<i32> = (1..=b).map(|i| (i * t) as i32 - 1).collect();
                ops::rows(x, &last, ctx)?.reshape([b, 1, width])?
            }
        };
        let logits = ops::linear(&x, &[self.linear], LinearArgs { full: true, ..Default::default() }, ctx)?;
        let logits = match self.softcap {
            Some(cap) => ops::softcap(&logits, cap, ctx)?,
            None => logits,
        };
        out.put("logits", logits);
        Ok(())
    }
}

/// The label of each position is the id after it.
fn shifted(labels: &Tensor) -> OpResult<Tensor> {
    let [_, t] = labels.dims("labels")?;
    let mut shifted = labels.data::<i32>("labels")?.to_vec();
    for row in shifted.chunks_mut(t.max(1)) {
        row.rotate_left(1);
        if let Some(last) = row.last_mut() {
            *last = IGNORE;
        }
    }
    Ok(Tensor::from_slice(&shifted, labels.shape()))
}
