//! What the states of a vision transformer are used for.

use bedstone_nn::{Builder, Linear, Span};
use bedstone_tensor::{Activation, Ctx, Result as OpResult, Tensor, ops};

use super::VisionConfig;
use crate::{
    Inputs, ModelError, Outputs,
    causal::activation,
    checkpoint::ConfigFile,
    encoder::{Problem, sequence_loss},
};

/// What stands for a whole picture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Summary {
    /// The class token's state: `[B, C]`.
    Class,
    /// The same through a layer: `f(dense(x))`.
    Dense(Linear, Activation),
    /// The class token's state and the mean of the patches': `[B, 2 C]`.
    ClassAndMean,
}

impl Summary {
    /// Of `x: [B, T, C]`, as f32.
    pub(crate) fn forward(self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let class = token(x, 0, ctx)?;
        match self {
            Summary::Class => Ok(class),
            Summary::Dense(dense, f) => {
                let y = dense.forward_full(&class, ctx)?;
                ops::activation(&y, f, ctx)
            }
            Summary::ClassAndMean => {
                let [b, t, _] = x.dims("summary")?;
                let mut patches = vec![1u8; b * t];
                patches.iter_mut().step_by(t.max(1)).for_each(|first| *first = 0);
                let mean = ops::mean_pool(x, Some(&Tensor::from_slice(&patches, [b, t])), ctx)?;
                ops::concat_columns(&[&class, &mean], ctx)
            }
        }
    }
}

/// Token `first` of each picture: `[B, T, C]` to `[B, C]`.
fn token(x: &Tensor, first: usize, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
    let one = Span { first, count: 1 }.of(x, ctx)?;
    let [b, _, c] = one.dims("token")?;
    one.reshape([b, c])
}

/// A layer on the class token, `pooler`, if the checkpoint has one.
pub(crate) fn pooler(
    mut b: Builder<'_>,
    file: &ConfigFile,
    config: &VisionConfig,
) -> Result<Option<Summary>, ModelError> {
    if !b.has("pooler.dense.weight") {
        return Ok(None);
    }
    let width = file.usize("pooler_output_size")?.unwrap_or(config.hidden_size);
    let f = activation("pooler_act", file.str("pooler_act")?.unwrap_or("tanh"))?;
    Ok(Some(Summary::Dense(config.linear(b.at("pooler.dense"), config.hidden_size, width)?, f)))
}

/// The head of a vision transformer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VisionHead {
    /// None: states, and a summary where there is one.
    Base { summary: Option<Summary> },
    /// Labels of a picture.
    Classifier { summary: Summary, classifier: Linear, problem: Problem },
    /// Labels from the class token and, as a teacher gives them, from the token after it; together their mean.
    ///
    /// [Touvron et al. 2020](https://arxiv.org/abs/2012.12877); the loss is that of hard distillation, with
    /// `teacher_labels` or, without a teacher, `labels` for the second token.
    Distilled { class: Linear, distillation: Linear, problem: Problem },
}

impl VisionHead {
    /// The tokens whose last states it reads, if not all.
    pub(crate) fn wanted(&self) -> Option<Span> {
        match self {
            VisionHead::Classifier { summary: Summary::Class | Summary::Dense(..), .. } => {
                Some(Span { first: 0, count: 1 })
            }
            VisionHead::Distilled { .. } => Some(Span { first: 0, count: 2 }),
            VisionHead::Base { .. } | VisionHead::Classifier { summary: Summary::ClassAndMean, .. } => None,
        }
    }

    /// From the last states `x: [B, T, C]`, or those of the tokens that are wanted: the outputs that `transformers` gives, and `loss` if there are labels.
    pub(crate) fn forward(&self, x: &Tensor, inputs: &Inputs, out: &mut Outputs, ctx: &mut Ctx<'_>) -> OpResult<()> {
        let labels = inputs.get("labels");
        match self {
            VisionHead::Base { summary } => {
                if let Some(summary) = summary {
                    out.put("pooler_output", summary.forward(x, ctx)?);
                }
                out.put("last_hidden_state", x.clone());
            }
            VisionHead::Classifier { summary, classifier, problem } => {
                let features = summary.forward(x, ctx)?;
                let logits = classifier.forward_full(&features, ctx)?;
                if let Some(labels) = labels {
                    out.put("loss", sequence_loss(&logits, labels, *problem, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
            VisionHead::Distilled { class, distillation, problem } => {
                let (first, second) = (token(x, 0, ctx)?, token(x, 1, ctx)?);
                let class = class.forward_full(&first, ctx)?;
                let taught = distillation.forward_full(&second, ctx)?;
                if let Some(labels) = labels {
                    let teacher = inputs.get("teacher_labels").unwrap_or(labels);
                    let own = sequence_loss(&class, labels, *problem, inputs, ctx)?;
                    let taught = sequence_loss(&taught, teacher, *problem, inputs, ctx)?;
                    let sum = ops::add(&own, &taught, ctx)?;
                    out.put("loss", ops::scale(&sum, 0.5, ctx)?);
                }
                let sum = ops::add(&class, &taught, ctx)?;
                out.put("logits", ops::scale(&sum, 0.5, ctx)?);
                out.put("cls_logits", class);
                out.put("distillation_logits", taught);
            }
        }
        Ok(())
    }
}
