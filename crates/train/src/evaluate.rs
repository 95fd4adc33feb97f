//! How well a model does on a set of tokens.

use bedstone_data::{
    sampler::{IGNORE, InOrder, Masked, Sampler},
    shards::TokenSet,
};
use bedstone_infer::{Runtime, metrics::argmax};
use bedstone_models::{Logits, Model, Outputs};
use bedstone_tensor::Ctx;
use serde::Serialize;

use crate::{
    Result,
    objective::{CausalLm, MaskedLm, Objective},
};

/// How well a language model predicts a text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean of `-ln p(token)`.
    pub loss: f64,
    /// `e^loss`.
    pub perplexity: f64,
    /// Bits a byte of text: comparable between tokenizers.
    pub bits_per_byte: f64,
    /// Tokens predicted.
    pub tokens: u64,
}

/// Predicts the tokens of `set` in windows of `context`, `batch` at a time; the first `limit` of them if it is not 0.
pub fn evaluate(
    model: &Model,
    runtime: Runtime,
    set: &TokenSet,
    context: usize,
    batch: usize,
    limit: u64,
) -> Result<Evaluation> {
    let objective = CausalLm { context };
    let (mut sum, mut tokens) = (0.0, 0);
    for batch in InOrder::new(set, context, batch)? {
        let n = batch.samples.len();
        let mut ctx = Ctx::inference(model.env(runtime.isa, runtime.precision));
        let out = model.forward(&objective.inputs(&batch, 0..n, 1.0), &mut ctx)?;
        sum += out.need("loss")?.item()? as f64;
        tokens += objective.weight(&batch);
        if limit > 0 && tokens >= limit {
            break;
        }
    }
    let loss = sum / tokens.max(1) as f64;
    // Of a loss that is not finite nothing else can be said; callers see it in `loss`.
    // Bytes of the part that was evaluated, by its share of the tokens.
    let bytes = set.bytes() as f64 * tokens as f64 / set.len().max(1) as f64;
    let bits_per_byte = sum / std::f64::consts::LN_2 / bytes.max(1.0);
    Ok(Evaluation { loss, perplexity: loss.exp(), bits_per_byte, tokens })
}

/// How well an encoder guesses masked tokens and relations of texts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MaskedEvaluation {
    /// The sum of both losses.
    pub loss: f64,
    /// Mean of `-ln p(token)` of masked tokens.
    pub mlm_loss: f64,
    /// Share of masked tokens guessed right.
    pub mlm_accuracy: f64,
    /// Mean of `-ln p(relation)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nsp_loss: Option<f64>,
    /// Share of relations guessed right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nsp_accuracy: Option<f64>,
    /// Masked tokens.
    pub tokens: u64,
}

/// Guesses the masked tokens of `sampler`, `batch` sequences of `context` at a time, until `limit` tokens were read or, if
/// it is 0, an epoch is done.
pub(crate) fn evaluate_masked(
    model: &Model,
    runtime: Runtime,
    mut sampler: Masked,
    context: usize,
    batch: usize,
    limit: u64,
) -> Result<MaskedEvaluation> {
    let objective = MaskedLm { context };
    let (mut words, mut relations, mut read, mut done) = (Score::default(), Score::default(), 0, 0);
    let sequences = sampler.sequences();
    while done < sequences && (limit == 0 || read < limit) {
        let batch = sampler.next_batch((batch as u64).min(sequences - done) as usize);
        let n = batch.samples.len();
        done += n as u64;
        read += batch.lengths.iter().map(|&l| l as u64).sum::<u64>();
        let mut inputs = objective.inputs(&batch, 0..n, 1.0);
        inputs.logits = Logits::Labelled;
        inputs.sample_divisor = Some(1.0);
        let out = model.forward(&inputs, &mut Ctx::inference(model.env(runtime.isa, runtime.precision)))?;
        let labels: Vec<u32> = batch.labels.iter().copied().filter(|&l| l != IGNORE).collect();
        match out.get("relation_loss") {
            Some(loss) => {
                words.add(&out, "mlm_loss", "prediction_logits", &labels)?;
                relations.sum += loss.item()? as f64;
                relations.count(&out, "seq_relationship_logits", &batch.relations)?;
            }
            None => words.add(&out, "loss", "logits", &labels)?,
        }
    }
    let nsp = |x: f64| (relations.of > 0).then_some(x);
    Ok(MaskedEvaluation {
        loss: words.mean() + nsp(relations.mean()).unwrap_or(0.0),
        mlm_loss: words.mean(),
        mlm_accuracy: words.accuracy(),
        nsp_loss: nsp(relations.mean()),
        nsp_accuracy: nsp(relations.accuracy()),
        tokens: words.of,
    })
}

/// Sums over guesses.
#[derive(Default)]
struct Score {
    sum: f64,
    right: u64,
    of: u64,
}

impl Score {
    fn add(&mut self, out: &Outputs, loss: &'static str, logits: &'static str, labels: &[u32]) -> Result<()> {
        self.sum += out.need(loss)?.item()? as f64;
        self.count(out, logits, labels)
    }

    fn count(&mut self, out: &Outputs, logits: &'static str, labels: &[u32]) -> Result<()> {
        let logits = out.need(logits)?;
        let rows = logits.f32s().chunks_exact(logits.shape().width().max(1));
        for (row, &label) in rows.zip(labels) {
            self.right += u64::from(argmax(row) as u32 == label);
            self.of += 1;
        }
        Ok(())
    }

    fn mean(&self) -> f64 {
        self.sum / self.of.max(1) as f64
    }

    fn accuracy(&self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }
}

/// What a run's evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evaluated {
    /// Of a model that predicts the next token.
    Causal(Evaluation),
    /// Of a model that guesses masked tokens.
    Masked(MaskedEvaluation),
    /// Of a model of pictures.
    Pictures(PictureEvaluated),
}

/// How well a model does on pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PictureEvaluated {
    /// What training makes small.
    pub loss: f64,
    /// Share of the classes guessed right, where classes are learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Pictures looked at.
    pub pictures: u64,
}

impl Evaluated {
    /// What training makes small.
    pub fn loss(&self) -> f64 {
        match self {
            Evaluated::Causal(e) => e.loss,
            Evaluated::Masked(e) => e.loss,
            Evaluated::Pictures(e) => e.loss,
        }
    }

    /// Tokens predicted.
    pub fn places(&self) -> u64 {
        match self {
            Evaluated::Causal(e) => e.tokens,
            Evaluated::Masked(e) => e.tokens,
            Evaluated::Pictures(e) => e.pictures,
        }
    }

    /// The line of the log.
    pub(crate) fn line(&self) -> EvaluationLine {
        let (val_loss, val_tokens) = (self.loss(), self.places());
        match *self {
            Evaluated::Causal(e) => EvaluationLine::Causal {
                val_loss,
                val_tokens,
                perplexity: e.perplexity,
                bits_per_byte: e.bits_per_byte,
            },
            Evaluated::Masked(e) => EvaluationLine::Masked {
                val_loss,
                val_tokens,
                mlm_loss: e.mlm_loss,
                mlm_accuracy: e.mlm_accuracy,
                nsp_loss: e.nsp_loss,
                nsp_accuracy: e.nsp_accuracy,
            },
            Evaluated::Pictures(e) => {
                EvaluationLine::Pictures { val_loss, val_pictures: val_tokens, val_accuracy: e.accuracy }
            }
        }
    }

    /// What there is to tell beside the loss while a run goes on.
    pub(crate) fn more(&self) -> String {
        match self {
            Evaluated::Causal(_) => String::new(),
            Evaluated::Masked(_) | Evaluated::Pictures(_) => {
                let right = self.rows().into_iter().filter(|(name, _)| name.ends_with("right"));
                right.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Names and values, for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        match self {
            Evaluated::Causal(e) => vec![
                ("validation loss", format!("{:.4}", e.loss)),
                ("perplexity", format!("{:.2}", e.perplexity)),
                ("bits per byte", format!("{:.3}", e.bits_per_byte)),
            ],
            Evaluated::Masked(e) => {
                let percent = |x: f64| format!("{:.1} %", 100.0 * x);
                let mut rows = vec![
                    ("validation loss", format!("{:.4}", e.loss)),
                    ("masked tokens: loss", format!("{:.4}", e.mlm_loss)),
                    ("masked tokens: right", percent(e.mlm_accuracy)),
                ];
                rows.extend(e.nsp_accuracy.map(|right| ("next sentences: right", percent(right))));
                rows
            }
            Evaluated::Pictures(e) => {
                let mut rows = vec![("validation loss", format!("{:.4}", e.loss))];
                rows.extend(e.accuracy.map(|right| ("classes: right", format!("{:.1} %", 100.0 * right))));
                rows
            }
        }
    }
}

/// One line of the log, of an evaluation.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum EvaluationLine {
    Causal {
        val_loss: f64,
        val_tokens: u64,
        perplexity: f64,
        bits_per_byte: f64,
    },
    Pictures {
        val_loss: f64,
        val_pictures: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        val_accuracy: Option<f64>,
    },
    Masked {
        val_loss: f64,
        val_tokens: u64,
        mlm_loss: f64,
        mlm_accuracy: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        nsp_loss: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nsp_accuracy: Option<f64>,
    },
}
