//! A fine-tuning from seed to seed: its directory, its checkpoints, and how it goes on.

use std::{collections::BTreeMap, fs, path::Path};

use bedstone_models::{Model, save};
use bedstone_run::{Ending, Interrupt, Log, Progress, RunDir, begin::RECIPE, files::FileError, log::field, units};
use bedstone_tensor::{Param, ParamId};
use serde_json::{Map, json};

use super::{
    FinetuneReport, FinetuneRequest, LoraSave, Prepared, Started, adapter,
    begun::{Begun, begun_with, check_bits, material},
    card::card,
    examples::{Evaluate, Scores, Train},
    fit::{Ended, Evaluated, Keep, Learner},
    recipe::LoraConfig,
    standing::{Best, Kept, Standing},
};
use crate::{Result, lora::LowRank, step::Done};

/// The name of runs of this kind.
pub(super) const NAME: &str = "finetune";

/// Learns with each seed and keeps the best model.
pub(super) fn learn(
    request: &FinetuneRequest<'_>,
    begun: Begun,
    p: Prepared<'_>,
    progress: &mut dyn Progress,
    interrupt: &Interrupt,
) -> Result<FinetuneReport> {
    let Prepared { start, first, train, eval, fit, lora, runtime, save, saves_weights, data, data_key, recipe } = p;
    let (train, eval) = (&*train, &*eval);
    tell(&first, &data, train, eval, progress);
    let now = Standing {
        model: request.name.to_owned(),
        task: request.task.name().to_owned(),
        material: material(&data_key, request.model)?,
        isa: runtime.isa.to_string(),
        precision: runtime.precision.name().to_owned(),
        ..Standing::default()
    };
    let (mut state, standing) = match begun.saved {
        Some((saved, old)) => {
            check_bits(request, &saved, &old, &now)?;
            (Some(saved.state()), Standing { isa: now.isa, precision: now.precision, ..old })
        }
        None => (None, now),
    };
    // All of a finished run is there but the mark that it is one.
    if let (Some(run), true) = (&begun.run, standing.done.len() as u64 >= fit.seeds) {
        run.finish()?;
        return Ok(report(run, &standing, standing.done.clone(), Ending::Finished));
    }
    let kept = match &state {
        Some(state) => standing.kept(state, start, runtime.isa)?,
        None => None,
    };
    let run = match begun.run {
        Some(run) => run,
        None => RunDir::create(request.out, NAME)?,
    };
    if state.is_none() {
        run.keep_recipe(&recipe)?;
        standing.write(&begun_with(run.path()))?;
    }
    let log = match run.step().filter(|_| state.is_some()) {
        Some(step) => Log::resume(&run.log(), step)?.0,
        None => Log::create(&run.log())?,
    };
    let adapter = (lora.save == LoraSave::Adapter).then_some(lora);
    let output = Output { request, data, recipe, adapter, save, saves_weights };
    let seed = fit.seed + standing.done.len() as u64;
    let last = fit.seed + fit.seeds - 1;
    let mut tuning = Tuning { seed, last, standing, kept, run, log, output, told: Vec::new() };
    // Of the first seed there is a model already.
    let mut first = Some(first).filter(|_| seed == fit.seed);
    for seed in seed..fit.seed + fit.seeds {
        tuning.seed = seed;
        if fit.seeds > 1 {
            progress.note(&format!("seed {seed}"));
        }
        let started = match first.take() {
            Some(first) => first,
            None => start(seed)?,
        };
        // Where it stopped is in the first seed that is not done.
        let mut learner = match state.take() {
            Some(state) => {
                let learner = tuning.standing.learner(&state, &fit, seed, started, runtime.isa)?;
                progress.note(&format!("resumed after step {}", learner.seat.step));
                learner
            }
            None => Learner::new(&fit, seed, started),
        };
        let learned = learner.learn(&fit, runtime, (train, eval), &mut tuning, progress, interrupt);
        let ended = learned.inspect_err(|e| {
            if e.refuses() {
                tuning.run.abandon();
            }
        })?;
        if ended == Ended::Interrupted {
            tuning.commit(&mut learner, true, progress)?;
            let so_far = learner.seat.best.map(|best| (seed, best));
            let scores = tuning.standing.done.iter().cloned().chain(so_far).collect();
            return Ok(report(&tuning.run, &tuning.standing, scores, Ending::Interrupted));
        }
        tuning.standing.done.push((seed, learner.seat.best.clone().unwrap_or_default()));
        tuning.standing.before += learner.seat.step;
        tuning.commit(&mut learner, false, progress)?;
    }
    tuning.run.finish()?;
    if let Some(best) = &tuning.standing.best {
        let of = if fit.seeds > 1 { format!(" of seed {}", best.seed) } else { String::new() };
        progress.note(&format!("kept: the weights after step {}{of}", units::count(best.step)));
    }
    let scores = tuning.standing.done.clone();
    Ok(report(&tuning.run, &tuning.standing, scores, Ending::Finished))
}

/// What is worth knowing before the first step.
fn tell(
    (model, report, low_rank): &Started,
    data: &str,
    train: &dyn Train,
    eval: &dyn Evaluate,
    progress: &mut dyn Progress,
) {
    progress.note(&format!("data: {data}: {} examples for training, {} for evaluation", train.len(), eval.len()));
    for (what, notes) in [("training", train.notes()), ("evaluation", eval.notes())] {
        notes.iter().for_each(|note| progress.note(&format!("{what}: {note}")));
    }
    if !report.fresh.is_empty() {
        progress.note(&format!("new: {}", report.fresh.join(", ")));
    }
    let (learned, of) = (learned(model, low_rank), model.params().numel());
    if learned < of {
        let (learned, of) = (units::count(learned as u64), units::count(of as u64));
        progress.note(&format!("trained: {learned} numbers, beside {of} of the model"));
    }
}

/// How many numbers learn.
fn learned(model: &Model, low_rank: &BTreeMap<ParamId, LowRank>) -> usize {
    let of = |(id, p): (ParamId, &Param)| match low_rank.get(&id) {
        Some(factors) => factors.len(),
        None if p.trainable => p.value.shape().numel(),
        None => 0,
    };
    model.params().iter().map(of).sum()
}

/// What is written of a model, and how.
struct Output<'a> {
    request: &'a FinetuneRequest<'a>,
    data: String,
    recipe: String,
    /// Factors and head are saved instead of the whole model.
    adapter: Option<&'a LoraConfig>,
    save: &'a dyn Fn(&Model, &Path) -> Result<()>,
    saves_weights: bool,
}

impl Output<'_> {
    /// Writes a model and what belongs to it; `best` is where it was found, if it has been evaluated.
    fn write(
        &self,
        model: &Model,
        low_rank: &BTreeMap<ParamId, LowRank>,
        best: Option<&Best>,
        dir: &Path,
    ) -> Result<()> {
        match self.adapter {
            Some(lora) => adapter::save(model, low_rank, lora, self.request.name, dir)?,
            None if self.saves_weights => {}
            None => {
                save(model, dir)?;
            }
        }
        (self.save)(model, dir)?;
        let card = card(model, self.adapter.is_some(), self.request, &self.data, best);
        for (name, text) in [("README.md", &card), (RECIPE, &self.recipe)] {
            let path = dir.join(name);
            fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
        }
        Ok(())
    }
}

/// A run while it goes on.
struct Tuning<'a> {
    seed: u64,
    /// The last seed.
    last: u64,
    standing: Standing,
    /// The weights of `standing.best`.
    kept: Option<Kept>,
    run: RunDir,
    log: Log,
    output: Output<'a>,
    /// What commits had to say.
    told: Vec<String>,
}

impl Keep for Tuning<'_> {
    fn stepped(&mut self, step: u64, done: &Done, lr: f64) -> Result<()> {
        let mut line = Map::new();
        line.insert("seed".into(), self.seed.into());
        line.insert(field::LOSS.into(), json!(done.loss));
        line.extend(done.parts.iter().map(|(name, part)| ((*name).to_owned(), json!(part))));
        line.insert("lr".into(), json!(lr));
        Ok(self.log.append(self.standing.before + step, &line)?)
    }

    fn evaluated(&mut self, Evaluated { step, loss, scores, model, optimizer }: Evaluated<'_>) -> Result<()> {
        let (seed, scores) = (self.seed, scores.clone());
        if self.standing.best.as_ref().is_none_or(|best| scores.judge() > best.scores.judge()) {
            self.standing.best = Some(Best { seed, step, scores: scores.clone() });
            self.kept = Some(Kept { params: model.params().clone(), low_rank: optimizer.low_rank().clone() });
        }
        let mut line = Map::new();
        line.insert("seed".into(), seed.into());
        line.insert("mean_loss".into(), loss.into());
        line.extend(scores.0.iter().map(|(name, value)| (name.clone().into_owned(), json!(value))));
        Ok(self.log.append(self.standing.before + step, &line)?)
    }

    fn checkpoint(&mut self, learner: &mut Learner, progress: &mut dyn Progress) -> Result<()> {
        self.commit(learner, true, progress)
    }

    fn checkpointed(&self) -> Option<u64> {
        self.run.step()
    }
}

impl Tuning<'_> {
    /// Commits the best model so far, with what is needed to go on with `learner`, or behind it with the next seed.
    fn commit(&mut self, learner: &mut Learner, inside: bool, progress: &mut dyn Progress) -> Result<()> {
        self.standing.seat = inside.then(|| learner.seat.clone());
        let step = self.standing.before + if inside { learner.seat.step } else { 0 };
        if self.run.step() == Some(step) {
            return Ok(());
        }
        self.run.draw_curve("training loss")?;
        // The last one needs nothing any more.
        let more = inside || self.seed < self.last;
        let Tuning { standing, kept, run, output, .. } = self;
        let committed = run.commit(step, |staging| {
            standing.save(&staging.join("state"), inside.then_some(&*learner), kept.as_ref().filter(|_| more))?;
            exchange(learner, kept);
            let low_rank = kept.as_ref().map_or(learner.optimizer.low_rank(), |kept| &kept.low_rank);
            let written = output.write(&learner.model, low_rank, standing.best.as_ref(), staging);
            exchange(learner, kept);
            written
        })?;
        for note in committed.notes {
            // Every commit says the same.
            if !self.told.contains(&note) {
                progress.note(&note);
                self.told.push(note);
            }
        }
        Ok(())
    }
}

/// Exchanges the weights that learn and the best ones; before the first evaluation the model is what it has become.
fn exchange(learner: &mut Learner, kept: &mut Option<Kept>) {
    match kept {
        Some(kept) => std::mem::swap(learner.model.params_mut(), &mut kept.params),
        None => learner.swap(),
    }
}

pub(super) fn report(run: &RunDir, standing: &Standing, scores: Vec<(u64, Scores)>, outcome: Ending) -> FinetuneReport {
    let first = scores.first().map_or(0, |(seed, _)| *seed);
    let kept = standing.best.as_ref().map_or(first, |best| best.seed);
    FinetuneReport { dir: run.path().to_owned(), step: run.step().unwrap_or(0), scores, kept, outcome }
}
