//! What an encoder's states are used for.

use bedstone_nn::{Builder, Linear, Span};
use bedstone_tensor::{
    Activation, Ctx, IGNORE, Result as OpResult, Tensor, TensorError,
    ops::{self, LossArgs, TargetLoss},
};

use super::{EncoderConfig, MaskedLm, labels, starts};
use crate::{Class, Inputs, Logits, ModelError, Outputs, checkpoint::ConfigFile};

/// `tanh(dense(x[0]))`, BERT's summary of a text.
pub(crate) type Pooler = Cls;

/// The first token's state through a layer: `f(dense(dropout(x[0])))`.
#[derive(Clone, Debug)]
pub(crate) struct Cls {
    pub(crate) before: f32,
    pub(crate) dense: Linear,
    pub(crate) activation: Activation,
}

impl Cls {
    /// `x: [B, T, C]` to `[B, C]` of f32.
    fn forward(&self, x: &Tensor, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
        let [b, t, _] = x.dims("pooler")?;
        let first: Vec<i32> = match &ctx.packed {
            Some(lengths) => starts(lengths).map(|row| row as i32).collect(),
            None => (0..b).map(|i| (i * t) as i32).collect(),
        };
        let x = ops::rows(x, &first, ctx)?;
        let x = ops::dropout(&x, self.before, ctx)?;
        let y = self.dense.forward_full(&x, ctx)?;
        ops::activation(&y, self.activation, ctx)
    }
}

/// What kind of labels a classifier has: `problem_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Numbers.
    Regression,
    /// One class.
    SingleLabel,
    /// Any of the classes.
    MultiLabel,
}

impl Problem {
    /// What the configuration says; by the number of labels where it does not, as `transformers` decides.
    pub(crate) fn of(config: &ConfigFile, labels: usize) -> Result<Self, ModelError> {
        Ok(match config.str("problem_type")? {
            Some("regression") => Problem::Regression,
            Some("single_label_classification") => Problem::SingleLabel,
            Some("multi_label_classification") => Problem::MultiLabel,
            Some(_) => {
                let wanted = "regression, single_label_classification or multi_label_classification";
                return Err(config.wrong("problem_type", wanted).into());
            }
            None if labels == 1 => Problem::Regression,
            None => Problem::SingleLabel,
        })
    }
}

/// The head of an encoder.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    /// None: states, and a summary where the family has one.
    Base { pooler: Option<Pooler> },
    /// Masked words.
    MaskedLm(Box<MaskedLm>),
    /// Masked words, and whether or how two texts follow each other.
    PreTraining { lm: Box<MaskedLm>, pooler: Pooler, relation: Linear, names: RelationNames },
    /// Whether two texts follow each other.
    NextSentence { pooler: Pooler, relation: Linear },
    /// A label, several labels or numbers for a text.
    Sequence { cls: Cls, dropout: f32, classifier: Linear, problem: Problem },
    /// A label for each token.
    Token { dropout: f32, classifier: Linear },
    /// Where an answer begins and ends.
    Question { dropout: f32, outputs: Linear },
    /// Whether each token was replaced, [Clark et al. 2020](https://arxiv.org/abs/2003.10555).
    Discriminator { dense: Linear, activation: Activation, prediction: Linear },
}

/// Names of a relation's logits and label in calls of `transformers`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelationNames {
    pub(crate) logits: &'static str,
    pub(crate) label: &'static str,
}

/// ELECTRA's discriminator.
pub(crate) fn discriminator(b: &mut Builder<'_>, config: &EncoderConfig) -> Result<Head, ModelError> {
    let mut b = b.at("discriminator_predictions");
    Ok(Head::Discriminator {
        dense: config.linear(b.at("dense"), config.hidden_size, config.hidden_size)?,
        activation: config.activation()?,
        prediction: config.linear(b.at("dense_prediction"), config.hidden_size, 1)?,
    })
}

impl Head {
    /// The heads that all families have alike; `None` for the others.
    pub(crate) fn common(
        class: Class,
        file: &ConfigFile,
        config: &EncoderConfig,
        b: &mut Builder<'_>,
    ) -> Result<Option<Self>, ModelError> {
        Ok(match class {
            Class::TokenClassification => {
                let classifier = config.linear(b.at("classifier"), config.hidden_size, labels(file)?)?;
                Some(Head::Token { dropout: config.head_dropout(), classifier })
            }
            Class::QuestionAnswering => {
                let outputs = config.linear(b.at("qa_outputs"), config.hidden_size, 2)?;
                Some(Head::Question { dropout: 0.0, outputs })
            }
            _ => None,
        })
    }

    /// The tokens whose last states it reads, if not all.
    pub(crate) fn wanted(&self) -> Option<Span> {
        match self {
            Head::NextSentence { .. } | Head::Sequence { .. } => Some(Span { first: 0, count: 1 }),
            _ => None,
        }
    }

    /// From the last states `x: [B, T, C]`, or those of the tokens that are wanted: the outputs that `transformers` gives, and `loss` if there are labels.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        inputs: &Inputs,
        mask: Option<&Tensor>,
        out: &mut Outputs,
        ctx: &mut Ctx<'_>,
    ) -> OpResult<()> {
        let targets = inputs.get("labels");
        let shown = inputs.logits != Logits::None;
        match self {
            Head::Base { pooler } => {
                if let Some(pooler) = pooler {
                    out.put("pooler_output", pooler.forward(x, ctx)?);
                }
                out.put("last_hidden_state", x.clone());
            }
            Head::MaskedLm(lm) => {
                if let Some(labels) = targets {
                    out.put("loss", lm.loss(x, labels, inputs, ctx)?);
                }
                if shown {
                    out.put("logits", lm.logits(x, inputs, ctx)?);
                }
            }
            Head::PreTraining { lm, pooler, relation, names } => {
                let pooled = pooler.forward(x, ctx)?;
                let scores = relation.forward_full(&pooled, ctx)?;
                if let (Some(labels), Some(relations)) = (targets, inputs.get(names.label)) {
                    let words = lm.loss(x, labels, inputs, ctx)?;
                    let args = LossArgs { divisor: inputs.sample_divisor, ..LossArgs::default() };
                    let order = ops::cross_entropy(&scores, relations, args, ctx)?;
                    out.put("loss", ops::add(&words, &order, ctx)?);
                    out.put("mlm_loss", words);
                    out.put("relation_loss", order);
                }
                if shown {
                    out.put("prediction_logits", lm.logits(x, inputs, ctx)?);
                }
                out.put(names.logits, scores);
            }
            Head::NextSentence { pooler, relation } => {
                let pooled = pooler.forward(x, ctx)?;
                let logits = relation.forward_full(&pooled, ctx)?;
                if let Some(labels) = targets {
                    out.put("loss", class_loss(&logits, labels, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
            Head::Sequence { cls, dropout, classifier, problem } => {
                let pooled = cls.forward(x, ctx)?;
                let pooled = ops::dropout(&pooled, *dropout, ctx)?;
                let logits = classifier.forward_full(&pooled, ctx)?;
                if let Some(labels) = targets {
                    out.put("loss", sequence_loss(&logits, labels, *problem, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
            Head::Token { dropout, classifier } => {
                let x = ops::dropout(x, *dropout, ctx)?;
                let logits = classifier.forward_full(&x, ctx)?;
                if let Some(labels) = targets {
                    out.put("loss", class_loss(&logits, labels, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
            Head::Question { dropout, outputs } => {
                let x = ops::dropout(x, *dropout, ctx)?;
                let both = outputs.forward_full(&x, ctx)?;
                let (start, end) = (ops::column(&both, 0, ctx)?, ops::column(&both, 1, ctx)?);
                if let (Some(first), Some(last)) = (inputs.get("start_positions"), inputs.get("end_positions")) {
                    let first = position_loss(&start, first, inputs, ctx)?;
                    let last = position_loss(&end, last, inputs, ctx)?;
                    let sum = ops::add(&first, &last, ctx)?;
                    out.put("loss", ops::scale(&sum, 0.5, ctx)?);
                }
                out.put("start_logits", start);
                out.put("end_logits", end);
            }
            Head::Discriminator { dense, activation, prediction } => {
                let x = dense.forward_activated(x, *activation, ctx)?;
                let logits = ops::column(&prediction.forward_full(&x, ctx)?, 0, ctx)?;
                if let Some(labels) = targets {
                    out.put("loss", replaced_loss(&logits, labels, mask, inputs, ctx)?);
                }
                out.put("logits", logits);
            }
        }
        Ok(())
    }
}

fn class_loss(logits: &Tensor, labels: &Tensor, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
    if let Some(weights) = inputs.get("class_weights") {
        return ops::weighted_cross_entropy(logits, labels, weights, inputs.loss_divisor, ctx);
    }
    let args = LossArgs { divisor: inputs.loss_divisor, ..LossArgs::default() };
    ops::cross_entropy(logits, labels, args, ctx)
}

/// The loss of labels of whole texts or pictures, whose logits are `[B, labels]`.
pub(crate) fn sequence_loss(
    logits: &Tensor,
    labels: &Tensor,
    problem: Problem,
    inputs: &Inputs,
    ctx: &mut Ctx<'_>,
) -> OpResult<Tensor> {
    let loss = match problem {
        Problem::SingleLabel => return class_loss(logits, labels, inputs, ctx),
        Problem::Regression => TargetLoss::SquaredError,
        Problem::MultiLabel => TargetLoss::BinaryCrossEntropy,
    };
    // The divisor counts samples, of which each has a row of numbers.
    let divisor = inputs.loss_divisor.map(|samples| samples * logits.shape().width() as f64);
    ops::target_loss(logits, &labels.reshape(logits.shape())?, loss, divisor, ctx)
}

/// Over the places of each text: `logits: [B, T]`; positions beyond it take no part.
fn position_loss(logits: &Tensor, places: &Tensor, inputs: &Inputs, ctx: &mut Ctx<'_>) -> OpResult<Tensor> {
    let [_, t] = logits.dims("positions")?;
    let inside = |p: i32| if p >= t as i32 { IGNORE } else { p.max(0) };
    let places: Vec<i32> = places.data::<i32>("positions")?.iter().map(|&p| inside(p)).collect();
    class_loss(logits, &Tensor::from_slice(&places, [places.len()]), inputs, ctx)
}

/// Over the tokens that are no padding.
fn replaced_loss(
    logits: &Tensor,
    labels: &Tensor,
    mask: Option<&Tensor>,
    inputs: &Inputs,
    ctx: &mut Ctx<'_>,
) -> OpResult<Tensor> {
    if labels.shape() != logits.shape() {
        return Err(TensorError::Shape { op: "labels", got: labels.shape(), wanted: logits.shape().to_string() });
    }
    let n = logits.shape().numel();
    let kept: Vec<i32> = match mask {
        Some(mask) => {
            let mask = mask.data::<u8>("attention_mask")?;
            (0..n as i32).filter(|&i| mask[i as usize] != 0).collect()
        }
        None => (0..n as i32).collect(),
    };
    let all = labels.data::<i32>("labels")?;
    let targets: Vec<f32> = kept.iter().map(|&i| all[i as usize] as f32).collect();
    let x = ops::rows(&logits.reshape([n, 1])?, &kept, ctx)?;
    let targets = Tensor::from_slice(&targets, [kept.len(), 1]);
    ops::target_loss(&x, &targets, TargetLoss::BinaryCrossEntropy, inputs.loss_divisor, ctx)
}
