//! The steps of a run.

use std::{collections::BTreeMap, fs, time::Instant};

use bedstone_infer::Runtime;
use bedstone_kernels::optim::sum_squares;
use bedstone_models::{Model, save};
use bedstone_run::{
    Comparison, Ending, Event, Interrupt, Log, Outcome as Measured, Plan, Progress, RunDir,
    begin::RECIPE,
    files::FileError,
    plan::{self as run_plan, Aside},
    progress, space,
};
use bedstone_tensor::Tensor;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Report, material::Material};
use crate::{
    Result, TrainError,
    card::{Facts, card},
    ema::Ema,
    evaluate::Evaluated,
    optimizer::AdamW,
    recipe::{Limits, TrainConfig},
    schedule::Schedule,
    state::State,
    step::{Done, Pass, Update},
};

/// Everything a run needs.
pub(super) struct Run {
    /// As it is kept with the checkpoints.
    pub(super) recipe: String,
    pub(super) train: TrainConfig,
    pub(super) limits: Limits,
    pub(super) runtime: Runtime,
    pub(super) dir: RunDir,
    pub(super) material: Box<dyn Material>,
    pub(super) model: Model,
    pub(super) optimizer: AdamW,
    /// What is evaluated and kept in the place of the weights.
    pub(super) average: Option<Ema>,
    pub(super) log: Log,
    pub(super) plan: Plan,
    pub(super) state: State,
    /// Places that went through the model in this process.
    pub(super) done: u64,
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
    /// What the loss is made of, by name.
    #[serde(flatten)]
    parts: BTreeMap<&'static str, f64>,
    lr: f64,
    grad_norm: f64,
    /// `tokens` so far and `tokens_per_s`, or `pictures` and `pictures_per_s`.
    #[serde(flatten)]
    amounts: Map<String, Value>,
    waiting: f64,
}

impl Run {
    /// Trains to the end, or until the user stops it.
    pub(super) fn train(mut self, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
        let trained = self.steps(progress, interrupt);
        if trained.as_ref().is_err_and(TrainError::refuses) {
            self.dir.abandon();
        }
        trained
    }

    fn steps(&mut self, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
        let t = self.train.clone();
        let schedule =
            Schedule { kind: t.schedule, lr: t.lr, min_lr: t.min_lr, warmup: t.warmup, steps: t.steps, decay: t.decay };
        let first = self.state.step;
        progress.event(&Event::Started(progress::Started {
            run: self.dir.path().to_owned(),
            done: first,
            of: t.steps,
            plan: self.plan.clone(),
            loss: self.material.meaning(),
        }));
        self.started = Instant::now();
        let mut final_evaluation = None;
        while self.state.step < t.steps {
            if interrupt.requested() {
                return self.interrupted(progress);
            }
            let step = self.step(&schedule)?;
            progress.event(&Event::Step(step));
            let last = step.step == t.steps;
            if last || (t.evaluate_every > 0 && step.step.is_multiple_of(t.evaluate_every)) {
                let limits = self.limits;
                let limit = if last { limits.last } else { limits.usual };
                if let Some(e) = self.evaluate(limit)? {
                    // The last evaluation, of more of the split, is no better or worse than those of its beginning.
                    let usual = limits.usual;
                    let alike = limit == usual || e.places() <= usual || self.state.best.is_none();
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
    fn step(&mut self, schedule: &Schedule) -> Result<progress::Step> {
        self.material.next()?;
        let (t, material, step) = (&self.train, &self.material, self.state.step);
        let work = material.work();
        let pass = Pass {
            runtime: self.runtime,
            work: &*work,
            micro: t.micro_batch(),
            recompute: t.gradient_checkpointing,
            seed: t.seed,
            step,
        };
        let lr = schedule.at(step);
        let update = Update { lr, clip: t.clip, norm: true };
        let checkpoint = self.dir.step();
        let check = |done: &Done| {
            let wrong = [("loss", done.loss), ("norm of the gradient", done.norm)];
            match wrong.into_iter().find(|(_, value)| !value.is_finite()) {
                Some((what, value)) => {
                    Err(TrainError::not_finite(what, value, step + 1, material.describe(), checkpoint))
                }
                None => Ok(()),
            }
        };
        let Done { loss, parts, norm } = pass.optimize(&mut self.model, &mut self.optimizer, update, check)?;
        drop(work);
        if let Some(average) = &mut self.average {
            average.follow(self.model.params());
        }
        let of = t.steps;
        self.state.step += 1;
        self.state.cursor = self.material.cursor();
        self.state.tokens += self.material.guessed();
        self.done += self.material.tokens();
        let seconds = self.started.elapsed().as_secs_f64();
        let step = progress::Step {
            step: self.state.step,
            of,
            loss,
            lr,
            grad_norm: norm,
            tokens_per_s: self.done as f64 / seconds,
            unit: self.material.unit(),
            waiting_fraction: self.material.waited().as_secs_f64() / seconds,
        };
        let (counted, each) = step.unit.counted();
        let mut amounts = Map::new();
        amounts.insert(counted.into(), self.state.tokens.into());
        amounts.insert(format!("{counted}_per_s"), json!((step.tokens_per_s / each as f64 * 100.0).round() / 100.0));
        let line = StepLine {
            loss: step.loss,
            parts: parts.into_iter().collect(),
            lr,
            grad_norm: norm,
            amounts,
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
                Err(TrainError::not_finite(what, value, self.state.step, data, self.dir.step()))
            }
        }
    }

    fn evaluate(&mut self, limit: u64) -> Result<Option<Evaluated>> {
        let begin = Instant::now();
        self.swap();
        let evaluated = self.material.evaluate(&self.model, self.runtime, limit)?;
        self.swap();
        let Some(e) = evaluated else { return Ok(None) };
        self.log.append(self.state.step, &e.line())?;
        self.aside.evaluating += begin.elapsed().as_secs_f64();
        Ok(Some(e))
    }

    /// Exchanges the weights and their average, if there is one.
    fn swap(&mut self) {
        if let Some(average) = &mut self.average {
            average.swap(self.model.params_mut());
        }
    }

    /// Writes everything of this step and commits it.
    fn checkpoint(&mut self, evaluation: Option<Evaluated>, progress: &mut dyn Progress) -> Result<()> {
        let begin = Instant::now();
        self.draw()?;
        let before = space::used(self.dir.path())?;
        self.swap();
        let (model, material, state, optimizer) = (&self.model, &self.material, &self.state, &self.optimizer);
        let learning = self.average.as_ref().map(Ema::params);
        let facts = Facts {
            data: material.name(),
            more: material.facts(),
            step: state.step,
            steps: self.train.steps,
            seen: state.tokens,
            evaluation,
        };
        let card = card(model, &facts);
        let committed = self.dir.commit(state.step, |staging| {
            save(model, staging)?;
            material.save(staging)?;
            state.save(&staging.join("state"), model.params(), optimizer, learning)?;
            for (name, text) in [("README.md", &card), (RECIPE, &self.recipe)] {
                let path = staging.join(name);
                fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
            }
            Ok::<_, TrainError>(())
        })?;
        self.swap();
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

    fn interrupted(&mut self, progress: &mut dyn Progress) -> Result<Report> {
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
        Ok(self.dir.draw_curve(self.material.axis())?)
    }

    fn compare(&self, first: u64) -> Comparison {
        let steps = self.state.step - first;
        let outcome = Measured {
            tokens: self.done,
            steps,
            peak_bytes: run_plan::peak_memory(),
            seconds: self.started.elapsed().as_secs_f64(),
            disk_bytes: Some(self.disk),
            aside: Some(Aside { waiting: self.material.waited().as_secs_f64(), ..self.aside }),
        };
        Comparison { plan: self.plan.clone(), outcome }
    }
}
