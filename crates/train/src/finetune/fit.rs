//! The steps of one fine-tuning.

use std::{thread::ScopedJoinHandle, time::Instant};

use bedstone_data::sampler::Permutation;
use bedstone_infer::Runtime;
use bedstone_kernels::{optim::sum_squares, random};
use bedstone_models::Model;
use bedstone_run::{Event, Interrupt, Progress, progress};
use serde::{Deserialize, Serialize};

use super::{
    Started,
    adapt::{body, layer_rates},
    examples::{Draws, Evaluate, Scores, Train},
    recipe::FitConfig,
};
use crate::{
    Result, TrainError,
    ema::Ema,
    optimizer::{AdamW, AdamWConfig},
    schedule::Schedule,
    step::{Done, Pass, Update},
};

/// Scores of an evaluation that its line tells, the one that judges first; the end tells all.
const TOLD: usize = 3;

/// The batches of a run: each epoch in an order of its own.
#[derive(Clone, Copy)]
struct Batches {
    examples: u64,
    batch: u64,
    epochs: u64,
    seed: u64,
}

impl Batches {
    fn iter(self) -> impl Iterator<Item = (Draws, Vec<u64>)> {
        let Batches { examples, batch, epochs, seed } = self;
        (0..epochs).flat_map(move |epoch| {
            let order = Permutation::new(examples, random::key(seed, epoch));
            let samples = move |from: u64| (from..(from + batch).min(examples)).map(|i| order.at(i)).collect();
            (0..examples).step_by(batch as usize).map(move |from| (Draws { seed, epoch }, samples(from)))
        })
    }
}

/// What a thread has made; a panic goes on where it is waited for.
fn joined<T>(made: ScopedJoinHandle<'_, T>) -> T {
    made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Where the learning of one seed stands, beside what numbers it has.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Seat {
    /// Steps done.
    pub(crate) step: u64,
    /// Losses of the steps since the last evaluation.
    pub(crate) losses: Vec<f64>,
    /// Evaluations without a better result, one after another.
    pub(crate) worse: u64,
    /// The best scores so far.
    pub(crate) best: Option<Scores>,
}

/// What is told of an evaluation.
pub(crate) struct Evaluated<'a> {
    pub(crate) step: u64,
    /// The mean training loss since the one before.
    pub(crate) loss: f64,
    pub(crate) scores: &'a Scores,
    /// The model as it was evaluated.
    pub(crate) model: &'a Model,
    pub(crate) optimizer: &'a AdamW,
}

/// What looks after the results while a seed learns.
pub(crate) trait Keep {
    /// A step is done, at this learning rate.
    fn stepped(&mut self, step: u64, done: &Done, lr: f64) -> Result<()>;

    fn evaluated(&mut self, evaluated: Evaluated<'_>) -> Result<()>;

    /// It is time to write what is needed to go on from here.
    fn checkpoint(&mut self, learner: &mut Learner, progress: &mut dyn Progress) -> Result<()>;

    /// The step of the last checkpoint, counted through all seeds.
    fn checkpointed(&self) -> Option<u64>;
}

/// How learning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All steps are done, or more of them would have made nothing better.
    Done,
    /// By the user.
    Interrupted,
}

/// One seed's model, and what it learns with.
pub(crate) struct Learner {
    pub(crate) seed: u64,
    pub(crate) model: Model,
    pub(crate) optimizer: AdamW,
    /// What is judged and kept in the place of the weights.
    pub(crate) average: Option<Ema>,
    pub(crate) seat: Seat,
}

impl Learner {
    /// Before the first step.
    pub(crate) fn new(config: &FitConfig, seed: u64, (model, _, low_rank): Started) -> Self {
        let adamw = AdamWConfig {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            weight_decay: config.weight_decay,
        };
        let rates = layer_rates(model.params(), model.info().layers, &body(&model), config.layer_decay);
        let optimizer = AdamW::new(adamw, model.params()).with_rates(rates).with_low_rank(low_rank);
        let average = (config.ema > 0.0).then(|| Ema::new(config.ema, model.params()));
        Learner { seed, model, optimizer, average, seat: Seat::default() }
    }

    /// Exchanges the weights and their average, if there is one.
    pub(crate) fn swap(&mut self) {
        if let Some(average) = &mut self.average {
            average.swap(self.model.params_mut());
        }
    }

    /// Learns from `train` to the end, judged by `eval`.
    pub(crate) fn learn(
        &mut self,
        config: &FitConfig,
        runtime: Runtime,
        (train, eval): (&dyn Train, &dyn Evaluate),
        keep: &mut dyn Keep,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Ended> {
        let seed = self.seed;
        let per_epoch = train.len().div_ceil(config.batch) as u64;
        let steps = per_epoch * config.epochs;
        let schedule = Schedule {
            kind: config.schedule,
            lr: config.lr,
            min_lr: 0.0,
            warmup: (config.warmup * steps as f64).round() as u64,
            steps,
            decay: 0.0,
        };
        let interval = per_epoch.checked_div(config.evaluations).map_or(u64::MAX, |steps| steps.max(1));
        // Speed is that of this process, evaluations included.
        let (mut tokens, started) = (0, Instant::now());
        let batches = Batches { examples: train.len() as u64, batch: config.batch as u64, epochs: config.epochs, seed };
        std::thread::scope(|scope| {
            let mut coming = None;
            let mut left = batches.iter().skip(self.seat.step as usize).peekable();
            while let Some((draws, samples)) = left.next() {
                if interrupt.requested() {
                    return Ok(Ended::Interrupted);
                }
                let work = match coming.take() {
                    Some(made) => joined(made)?,
                    None => train.work(draws, samples.clone())?,
                };
                if let Some((draws, samples)) = left.peek().filter(|_| train.ahead()).cloned() {
                    coming = Some(scope.spawn(move || train.work(draws, samples)));
                }
                let pass = Pass {
                    runtime,
                    work: &*work,
                    micro: config.micro(),
                    recompute: config.gradient_checkpointing,
                    seed,
                    step: self.seat.step,
                };
                let lr = schedule.at(self.seat.step);
                let update = Update { lr, clip: config.clip, norm: false };
                let step = self.seat.step + 1;
                let checkpoint = keep.checkpointed();
                let check = |done: &Done| {
                    let wrong = [("loss", done.loss), ("norm of the gradient", done.norm)];
                    match wrong.into_iter().find(|(_, value)| !value.is_finite()) {
                        Some((what, value)) => {
                            Err(TrainError::not_finite(what, value, step, format!("examples {samples:?}"), checkpoint))
                        }
                        None => Ok(()),
                    }
                };
                let done = pass.optimize(&mut self.model, &mut self.optimizer, update, check)?;
                if let Some(average) = &mut self.average {
                    average.follow(self.model.params());
                }
                self.seat.losses.push(done.loss);
                self.seat.step = step;
                keep.stepped(step, &done, lr)?;
                tokens += train.tokens(&samples);
                progress.event(&Event::Step(progress::Step {
                    step,
                    of: steps,
                    loss: done.loss,
                    lr,
                    grad_norm: f64::NAN,
                    tokens_per_s: tokens as f64 / started.elapsed().as_secs_f64(),
                    unit: train.unit(),
                    waiting_fraction: 0.0,
                }));
                let evaluates = step.is_multiple_of(interval) || step == steps;
                if evaluates {
                    self.evaluate(eval, runtime, keep, progress)?;
                    if config.patience > 0 && self.seat.worse >= config.patience {
                        let worse = self.seat.worse;
                        progress
                            .note(&format!("no better for {worse} evaluations: stopping after step {step} of {steps}"));
                        break;
                    }
                }
                let due = match config.checkpoint_every {
                    0 => evaluates,
                    n => step.is_multiple_of(n),
                };
                if due && step < steps {
                    self.check_finite(runtime, keep)?;
                    keep.checkpoint(self, progress)?;
                }
            }
            Ok(Ended::Done)
        })
    }

    /// An error where the update has ruined the weights: from what is committed a run can go on.
    fn check_finite(&self, runtime: Runtime, keep: &dyn Keep) -> Result<()> {
        let squares: f64 = self.model.params().iter().map(|(_, p)| sum_squares(runtime.isa, p.value.f32s())).sum();
        if squares.is_finite() {
            return Ok(());
        }
        let (what, data) = ("norm of the weights", "the update of this step".into());
        Err(TrainError::not_finite(what, squares.sqrt(), self.seat.step, data, keep.checkpointed()))
    }

    /// The averages are what is judged, and what is kept.
    fn evaluate(
        &mut self,
        eval: &dyn Evaluate,
        runtime: Runtime,
        keep: &mut dyn Keep,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.swap();
        let scores = eval.report(&self.model, runtime)?.scores;
        let seat = &mut self.seat;
        let step = seat.step;
        let loss = seat.losses.iter().sum::<f64>() / seat.losses.len().max(1) as f64;
        seat.losses.clear();
        let better = seat.best.as_ref().is_none_or(|best| scores.judge() > best.judge());
        let told: Vec<String> = scores.0.iter().take(TOLD).map(|(name, value)| format!("{name} {value:.4}")).collect();
        let mark = if better { ", best so far" } else { "" };
        progress.note(&format!("step {step}: training loss {loss:.4}, evaluation {}{mark}", told.join(", ")));
        seat.worse = if better { 0 } else { seat.worse + 1 };
        if better {
            seat.best = Some(scores.clone());
        }
        let (model, optimizer) = (&self.model, &self.optimizer);
        keep.evaluated(Evaluated { step, loss, scores: &scores, model, optimizer })?;
        self.swap();
        Ok(())
    }
}
