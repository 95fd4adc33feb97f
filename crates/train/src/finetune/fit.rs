//! The steps of one fine-tuning.

use std::{collections::BTreeMap, thread::ScopedJoinHandle, time::Instant};

use bedstone_data::sampler::Permutation;
use bedstone_infer::Runtime;
use bedstone_kernels::random;
use bedstone_models::Model;
use bedstone_run::{Event, Interrupt, Progress, progress};
use bedstone_tensor::{ParamId, Params};

use super::{
    adapt::{body, layer_rates},
    examples::{Draws, Evaluate, Scores, Train},
    recipe::FitConfig,
};
use crate::{
    Result, TrainError,
    ema::Ema,
    lora::LowRank,
    optimizer::{AdamW, AdamWConfig},
    schedule::Schedule,
    step::{Done, Pass, Update},
};

/// Scores of an evaluation that its line tells, the one that judges first; the end tells all.
const TOLD: usize = 3;

/// What fitting gave.
pub(crate) struct Fitted {
    /// Of the best evaluation, whose weights the model has now.
    pub(crate) scores: Scores,
    /// The step of that evaluation.
    pub(crate) step: u64,
    /// Steps done.
    pub(crate) steps: u64,
    /// The factors of weights that learned by them.
    pub(crate) low_rank: BTreeMap<ParamId, LowRank>,
    /// Evaluations in order: step, mean training loss since the one before, scores.
    pub(crate) history: Vec<(u64, f64, Scores)>,
    /// Whether the user stopped it.
    pub(crate) interrupted: bool,
}

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

/// Trains `model` on `train`, evaluates it on `eval`, and leaves it with the weights of the best evaluation.
pub(crate) fn fit(
    model: &mut Model,
    config: &FitConfig,
    seed: u64,
    runtime: Runtime,
    low_rank: BTreeMap<ParamId, LowRank>,
    (train, eval): (&dyn Train, &dyn Evaluate),
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<Fitted> {
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
    let adamw =
        AdamWConfig { beta1: config.beta1, beta2: config.beta2, eps: config.eps, weight_decay: config.weight_decay };
    let rates = layer_rates(model.params(), model.info().layers, &body(model), config.layer_decay);
    let mut optimizer = AdamW::new(adamw, model.params()).with_rates(rates).with_low_rank(low_rank);
    let interval = per_epoch.checked_div(config.evaluations).map_or(u64::MAX, |steps| steps.max(1));
    let mut history: Vec<(u64, f64, Scores)> = Vec::new();
    let mut best: Option<(u64, Scores, Params, BTreeMap<ParamId, LowRank>)> = None;
    let (mut losses, mut worse, mut step, mut interrupted) = (Vec::new(), 0, 0, false);
    // Speed is that of this process, evaluations included.
    let (mut tokens, started) = (0, Instant::now());
    let mut ema = (config.ema > 0.0).then(|| Ema::new(config.ema, model.params()));
    let batches = Batches { examples: train.len() as u64, batch: config.batch as u64, epochs: config.epochs, seed };
    std::thread::scope(|scope| {
        let mut coming = None;
        let mut left = batches.iter().peekable();
        while let Some((draws, samples)) = left.next() {
            if interrupt.requested() {
                interrupted = true;
                break;
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
                micro: if config.micro_batch == 0 { config.batch } else { config.micro_batch },
                recompute: config.gradient_checkpointing,
                seed,
                step,
            };
            let lr = schedule.at(step);
            let update = Update { lr, clip: config.clip, norm: false };
            let check = |done: Done| match done.loss.is_finite() && done.norm.is_finite() {
                true => Ok(()),
                false => Err(TrainError::NotFiniteFresh {
                    step: step + 1,
                    what: "loss",
                    value: done.loss,
                    data: format!("examples {samples:?}"),
                }),
            };
            let done = pass.optimize(model, &mut optimizer, update, check)?;
            if let Some(ema) = &mut ema {
                ema.follow(model.params());
            }
            losses.push(done.loss);
            (step, tokens) = (step + 1, tokens + train.tokens(&samples));
            progress.event(&Event::Step(progress::Step {
                step,
                of: steps,
                loss: done.loss,
                lr,
                grad_norm: f64::NAN,
                tokens_per_s: tokens as f64 / started.elapsed().as_secs_f64(),
                waiting_fraction: 0.0,
            }));
            if !step.is_multiple_of(interval) && step != steps {
                continue;
            }
            // The averages are what is judged, and what is kept.
            if let Some(ema) = &mut ema {
                ema.swap(model.params_mut());
            }
            let scores = eval.report(model, runtime)?.scores;
            let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
            losses.clear();
            let better = best.as_ref().is_none_or(|(_, b, ..)| scores.judge() > b.judge());
            let told: Vec<String> =
                scores.0.iter().take(TOLD).map(|(name, value)| format!("{name} {value:.4}")).collect();
            let mark = if better { ", best so far" } else { "" };
            progress.note(&format!("step {step}: training loss {loss:.4}, evaluation {}{mark}", told.join(", ")));
            history.push((step, loss, scores.clone()));
            if better {
                best = Some((step, scores, model.params().clone(), optimizer.low_rank().clone()));
                worse = 0;
            } else {
                worse += 1;
            }
            if let Some(ema) = &mut ema {
                ema.swap(model.params_mut());
            }
            if config.patience > 0 && worse >= config.patience {
                progress.note(&format!("no better for {worse} evaluations: stopping after step {step} of {steps}"));
                break;
            }
        }
        Ok::<_, TrainError>(())
    })?;
    let (at, scores, low_rank) = match best {
        Some((at, scores, params, low_rank)) => {
            *model.params_mut() = params;
            (at, scores, low_rank)
        }
        None => {
            if let Some(ema) = &mut ema {
                ema.swap(model.params_mut());
            }
            (step, eval.report(model, runtime)?.scores, optimizer.low_rank().clone())
        }
    };
    Ok(Fitted { scores, step: at, steps: step, low_rank, history, interrupted })
}
