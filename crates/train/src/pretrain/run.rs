//! The steps of a run.

use std::{fs, time::Instant};

use bedstone_data::{
    sampler::{Batch, Loader},
    shards::{Shards, TokenSet},
    tokenizer::Tokenizer,
};
use bedstone_infer::Runtime;
use bedstone_kernels::optim::sum_squares;
use bedstone_models::{Class, Model, save};
use bedstone_run::{
    Comparison, Curve, Ending, Event, Interrupt, Log, Outcome as Measured, Plan, Progress, Recipe, RunDir,
    begin::RECIPE,
    files::FileError,
    log,
    plan::{self as run_plan, Aside},
    progress, space,
};
use bedstone_tensor::Tensor;
use serde::Serialize;

use super::{
    Report,
    prepare::{masked, objective, with_special_ids},
};
use crate::{
    Result, TrainError,
    card::{Facts, card},
    data::Text,
    evaluate::{Evaluated, evaluate, evaluate_masked},
    optimizer::AdamW,
    recipe::PretrainRecipe,
    schedule::Schedule,
    state::State,
    step::{Done, Pass, Update},
};

/// Masks of validation texts are the same for every run.
const VALIDATION_SEED: u64 = 0;

/// Everything a run needs.
pub(super) struct Run {
    pub(super) recipe: Recipe<PretrainRecipe>,
    pub(super) runtime: Runtime,
    pub(super) dir: RunDir,
    pub(super) text: Text,
    pub(super) tokenizer: Tokenizer,
    pub(super) shards: Shards,
    pub(super) model: Model,
    pub(super) optimizer: AdamW,
    pub(super) loader: Loader,
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) state: State,
    /// Tokens a second are those of this process.
    pub(super) started: Instant,
    /// The most bytes that the run directory had.
    pub(super) disk: u64,
    pub(super) aside: Aside,
}

/// One line of the log.
#[derive(Serialize)]
struct StepLine {
    loss: f64,
    lr: f64,
    grad_norm: f64,
    tokens: u64,
    tokens_per_s: f64,
    waiting: f64,
}

/// One line of the log, of an evaluation.
#[derive(Serialize)]
#[serde(untagged)]
enum EvaluationLine {
    Causal {
        val_loss: f64,
        val_tokens: u64,
        perplexity: f64,
        bits_per_byte: f64,
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

impl From<Evaluated> for EvaluationLine {
    fn from(e: Evaluated) -> Self {
        let (val_loss, val_tokens) = (e.loss(), e.tokens());
        match e {
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
        }
    }
}

impl Run {
    /// Trains to the end, or until the user stops it.
    pub(super) fn train(mut self, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
        let t = self.recipe.values.train.clone();
        let schedule =
            Schedule { kind: t.schedule, lr: t.lr, min_lr: t.min_lr, warmup: t.warmup, steps: t.steps, decay: t.decay };
        let first = self.state.step;
        let vocab_size = self.model.info().vocab_size as u64;
        let meaning = match &self.recipe.values.mask {
            Some(mask) => progress::LossMeaning::Masked { vocab_size, next_sentence: mask.next_sentence },
            None => progress::LossMeaning::Tokens { vocab_size },
        };
        progress.event(&Event::Started(progress::Started {
            run: self.dir.path().to_owned(),
            done: first,
            of: t.steps,
            plan: self.plan.clone(),
            loss: meaning,
        }));
        self.started = Instant::now();
        let mut final_evaluation = None;
        while self.state.step < t.steps {
            if interrupt.requested() {
                return self.interrupted(progress);
            }
            let step = self.step(&schedule, first)?;
            progress.event(&Event::Step(step));
            let last = step.step == t.steps;
            if last || (t.evaluate_every > 0 && step.step.is_multiple_of(t.evaluate_every)) {
                let limits = self.recipe.values.evaluate;
                let limit = if last { limits.final_tokens } else { limits.tokens };
                if let Some(e) = self.evaluate(limit)? {
                    // The last evaluation, of more of the split, is no better or worse than those of its beginning.
                    let usual = limits.tokens;
                    let alike = limit == usual || e.tokens() <= usual || self.state.best.is_none();
                    let best = alike && self.state.best.is_none_or(|b| e.loss() < b);
                    if best {
                        self.state.best = Some(e.loss());
                    }
                    let (step, loss, more) = (step.step, e.loss(), e.more());
                    progress.event(&Event::Evaluated(progress::Evaluated { step, loss, best, more }));
                    final_evaluation = Some(e);
                }
            } else {
                // A checkpoint's card shows the loss of its own step only.
                final_evaluation = None;
            }
            let saves = last || (t.checkpoint_every > 0 && step.step.is_multiple_of(t.checkpoint_every));
            if saves {
                self.check_finite(final_evaluation)?;
            }
            if saves {
                self.checkpoint(final_evaluation, progress)?;
            }
        }
        self.dir.finish()?;
        let comparison = self.compare(first);
        progress.event(&Event::Finished(progress::Finished {
            step: self.state.step,
            of: t.steps,
            comparison: Some(comparison),
        }));
        Ok(Report {
            dir: self.dir.path().to_owned(),
            step: self.state.step,
            outcome: Ending::Finished,
            evaluation: final_evaluation,
        })
    }

    /// One optimizer step.
    fn step(&mut self, schedule: &Schedule, first: u64) -> Result<progress::Step> {
        let r = &self.recipe.values;
        let objective = objective(r);
        let batch = self.loader.next_batch()?;
        let step = self.state.step;
        let pass = Pass {
            runtime: self.runtime,
            objective: &*objective,
            batch: &batch,
            micro: r.micro_batch(),
            recompute: r.train.gradient_checkpointing,
            seed: r.train.seed,
            step,
        };
        let lr = schedule.at(step);
        let update = Update { lr, clip: r.train.clip, norm: true };
        let checkpoint = self.dir.step();
        let check = |done: Done| {
            let wrong = [("loss", done.loss), ("norm of the gradient", done.norm)];
            match wrong.into_iter().find(|(_, value)| !value.is_finite()) {
                Some((what, value)) => {
                    let data = describe(&self.shards.train, &batch, r.train.context);
                    Err(not_finite(what, value, step + 1, data, checkpoint))
                }
                None => Ok(()),
            }
        };
        let Done { loss, norm } = pass.optimize(&mut self.model, &mut self.optimizer, update, check)?;
        let of = r.train.steps;
        self.state.step += 1;
        self.state.cursor = self.loader.cursor();
        self.state.tokens += objective.weight(&batch);
        let seconds = self.started.elapsed().as_secs_f64();
        let done = (self.state.step - first) as f64 * batch.labels.len() as f64;
        let step = progress::Step {
            step: self.state.step,
            of,
            loss,
            lr,
            grad_norm: norm,
            tokens_per_s: done / seconds,
            waiting_fraction: self.loader.waited().as_secs_f64() / seconds,
        };
        let line = StepLine {
            loss: step.loss,
            lr,
            grad_norm: norm,
            tokens: self.state.tokens,
            tokens_per_s: step.tokens_per_s.round(),
            waiting: (step.waiting_fraction * 1e4).round() / 1e4,
        };
        self.log.append(step.step, &line)?;
        Ok(step)
    }

    /// An error where the update has ruined the weights: what is committed can be gone on from.
    fn check_finite(&self, evaluation: Option<Evaluated>) -> Result<()> {
        let squares = |x: &Tensor| sum_squares(self.runtime.isa, x.f32s());
        let weights: f64 = self.model.params().iter().map(|(_, p)| squares(&p.value)).sum();
        let validation = evaluation.map_or(0.0, |e| e.loss());
        let wrong = [("norm of the weights", weights.sqrt()), ("validation loss", validation)];
        match wrong.into_iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some((what, value)) => {
                let data = "the update of this step".into();
                Err(not_finite(what, value, self.state.step, data, self.dir.step()))
            }
        }
    }

    fn evaluate(&mut self, limit: u64) -> Result<Option<Evaluated>> {
        let begin = Instant::now();
        let Some(set) = self.shards.validation.as_ref().filter(|s| s.len() > 1) else { return Ok(None) };
        let r = &self.recipe.values;
        let (context, batch) = (r.train.context, r.micro_batch());
        let e = match masked(r, set, &self.tokenizer, VALIDATION_SEED)? {
            Some(m) => Evaluated::Masked(evaluate_masked(&self.model, self.runtime, m, context, batch, limit)?),
            None => Evaluated::Causal(evaluate(&self.model, self.runtime, set, context, batch, limit)?),
        };
        self.log.append(self.state.step, &EvaluationLine::from(e))?;
        self.aside.evaluating += begin.elapsed().as_secs_f64();
        Ok(Some(e))
    }

    /// Writes everything of this step and commits it.
    fn checkpoint(&mut self, evaluation: Option<Evaluated>, progress: &mut dyn Progress) -> Result<()> {
        let begin = Instant::now();
        self.draw()?;
        let before = space::used(self.dir.path())?;
        let (model, tokenizer, state, optimizer) = (&self.model, &self.tokenizer, &self.state, &self.optimizer);
        let facts = Facts {
            recipe: &self.recipe.values,
            data: self.text.describe(),
            step: state.step,
            tokens: state.tokens,
            evaluation,
        };
        let (card, recipe) = (card(model, &facts), self.recipe.to_toml());
        let generation = (model.class() == Class::CausalLm).then(|| generation_config(tokenizer));
        let committed = self.dir.commit(state.step, |staging| {
            save(model, staging)?;
            tokenizer.save(staging)?;
            state.save(&staging.join("state"), model.params(), optimizer)?;
            let texts = [("README.md", Some(&card)), (RECIPE, Some(&recipe))];
            let texts = texts.into_iter().chain([("generation_config.json", generation.as_ref())]);
            for (name, text) in texts.filter_map(|(name, text)| Some((name, text?))) {
                let path = staging.join(name);
                fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
            }
            Ok::<_, TrainError>(())
        })?;
        self.disk = self.disk.max(before + committed.bytes);
        self.aside.saving += begin.elapsed().as_secs_f64();
        for note in &committed.notes {
            progress.note(note);
        }
        progress.event(&Event::Checkpoint(progress::Saved {
            step: committed.step,
            path: committed.path,
            bytes: committed.bytes,
        }));
        Ok(())
    }

    fn interrupted(mut self, progress: &mut dyn Progress) -> Result<Report> {
        // Between two checkpoints; right after one there is nothing to save.
        if self.dir.step() != Some(self.state.step) && self.state.step > 0 {
            self.check_finite(None)?;
            self.checkpoint(None, progress)?;
        }
        let dir = self.dir.path().to_owned();
        Ok(Report { dir, step: self.state.step, outcome: Ending::Interrupted, evaluation: None })
    }

    /// Draws the losses so far.
    fn draw(&self) -> Result<()> {
        let lines = log::read(&self.dir.log())?;
        let title = self.dir.path().display().to_string();
        Curve::from_log(title, "loss (nats per token)", &lines).write(&self.dir.curve())?;
        Ok(())
    }

    fn compare(&self, first: u64) -> Comparison {
        let t = &self.recipe.values.train;
        let steps = self.state.step - first;
        let outcome = Measured {
            tokens: steps * (t.batch * t.context) as u64,
            steps,
            peak_bytes: run_plan::peak_memory(),
            seconds: self.started.elapsed().as_secs_f64(),
            disk_bytes: Some(self.disk),
            aside: Some(Aside { waiting: self.loader.waited().as_secs_f64(), ..self.aside }),
        };
        Comparison { plan: self.plan.clone(), outcome }
    }
}

/// A run that has come to nothing, with the checkpoint to go on from if there is one.
fn not_finite(what: &'static str, value: f64, step: u64, data: String, checkpoint: Option<u64>) -> TrainError {
    match checkpoint {
        Some(checkpoint) => TrainError::NotFinite { step, what, value, data, checkpoint },
        None => TrainError::NotFiniteFresh { step, what, value, data },
    }
}

fn generation_config(tokenizer: &Tokenizer) -> String {
    let fields = with_special_ids(Default::default(), tokenizer);
    serde_json::to_string_pretty(&fields).unwrap_or_default() + "\n"
}

/// Which data a batch was, for people: tokens and documents of the training split.
fn describe(set: &TokenSet, batch: &Batch, context: usize) -> String {
    let ends: Vec<u64> = set.document_ends().collect();
    let document = |token: u64| ends.partition_point(|&end| end <= token);
    let mut parts: Vec<String> = batch
        .begins
        .iter()
        .take(4)
        .map(|&b| {
            let (first, last) = (document(b), document(b + context as u64));
            format!("tokens {b} to {} (documents {first} to {last})", b + context as u64)
        })
        .collect();
    if batch.begins.len() > parts.len() {
        parts.push(format!("and {} more windows", batch.begins.len() - parts.len()));
    }
    parts.join(", ")
}
