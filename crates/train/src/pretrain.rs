//! A pretraining run, from recipe to checkpoint.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use bedstone_data::{
    sampler::{Batch, Cursor, Loader, Options, Windows},
    shards::{Shards, TokenSet},
    tokenizer::Tokenizer,
};
use bedstone_infer::Runtime;
use bedstone_models::{Model, load, save};
use bedstone_run::{
    Checkpoint, Comparison, Curve, Event, Interrupt, Keep, Layers, Log, Outcome as Measured, Plan, Progress, Recipe,
    Resume, RunDir, Setting, Verify,
    dir::{last_run, model_folder},
    files::FileError,
    log, plan as run_plan, progress, space,
};
use bedstone_tensor::{Isa, Precision};
use serde::Serialize;

use crate::{
    Result, TrainError,
    card::{Facts, card},
    data::Text,
    evaluate::{Evaluation, evaluate},
    objective::{CausalLm, Objective},
    optimizer::{AdamW, AdamWConfig, clip_factor, global_norm},
    plan::plan,
    recipe::{FREE_KEYS, Family, PrecisionChoice, PretrainRecipe},
    schedule::Schedule,
    state::State,
    step::gradient,
};

/// What to run.
pub struct Request<'a> {
    /// What to pretrain.
    pub family: Family,
    /// A recipe file over the built-in one.
    pub config: Option<&'a Path>,
    /// Single values over both.
    pub settings: &'a [Setting],
    /// The run directory; `None` for the next free one.
    pub out: Option<&'a Path>,
    /// Where to begin.
    pub start: Start,
    /// The instructions to use.
    pub isa: Isa,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning.
    New,
    /// Where an earlier process stopped.
    Resume {
        /// Accept other instructions or precision than before, and so other bits.
        allow_different_bits: bool,
    },
}

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// The checkpoint directory.
    pub dir: PathBuf,
    /// Steps done.
    pub step: u64,
    /// Whether it ran to its end.
    pub outcome: Outcome,
    /// On all of the validation split, if there is one and the run came to its end.
    pub evaluation: Option<Evaluation>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// They had been done before.
    AlreadyFinished,
    /// By the user, after a checkpoint.
    Interrupted,
}

/// Pretrains a language model.
pub fn pretrain(request: &Request<'_>, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
    let (mut dir, resume) = open_dir(request, progress)?;
    for note in dir.notes() {
        progress.note(note);
    }
    let saved = match resume {
        Resume::Fresh => None,
        Resume::At(_) | Resume::Finished(_) => dir.open_latest(Verify::Checksums)?,
    };
    let recipe = resolve(request, saved.as_ref())?;
    dir.set_keep(Keep { last: recipe.values.train.keep, every: None });
    if let (Resume::Finished(step), Some(checkpoint)) = (resume, &saved) {
        check_same(request, &recipe, checkpoint)?;
        progress.note(&format!("{}: all {step} steps are done", dir.path().display()));
        let dir = dir.path().to_owned();
        return Ok(Report { dir, step, outcome: Outcome::AlreadyFinished, evaluation: None });
    }
    if let Some(checkpoint) = &saved {
        check_same(request, &recipe, checkpoint)?;
    }
    let run = Run::prepare(request, recipe, dir, saved, progress)?;
    run.train(progress, interrupt)
}

fn open_dir(request: &Request<'_>, progress: &mut dyn Progress) -> Result<(RunDir, Resume)> {
    let name = request.family.name();
    if request.start == Start::New {
        return Ok((RunDir::create(request.out, name)?, Resume::Fresh));
    }
    let out = match request.out {
        Some(out) => Some(out.to_owned()),
        None => last_run(name)?,
    };
    let Some(out) = out else {
        progress.note("there is no run to resume: starting a new one");
        return Ok((RunDir::create(None, name)?, Resume::Fresh));
    };
    let (dir, resume) = RunDir::resume(&out, Verify::Checksums)?;
    if resume == Resume::Fresh {
        progress.note(&format!("{}: there is no checkpoint to resume: starting afresh", out.display()));
    }
    Ok((dir, resume))
}

/// The built-in recipe with the file and settings over it; a resumed run's own recipe takes the file's place.
fn resolve(request: &Request<'_>, saved: Option<&Checkpoint>) -> Result<Recipe<PretrainRecipe>> {
    let own = saved.map(|s| s.path.join(RECIPE));
    let config = request.config.or(own.as_deref());
    let layers = Layers { built_in: request.family.recipe(), config, settings: request.settings };
    let recipe: Recipe<PretrainRecipe> = Recipe::resolve(layers)?;
    if let Some((key, wanted)) = recipe.values.wrong() {
        return Err(recipe.invalid(key, wanted).into());
    }
    Ok(recipe)
}

const RECIPE: &str = "recipe.toml";

/// An error unless the recipe decides the same bits as that of the checkpoint.
fn check_same(request: &Request<'_>, recipe: &Recipe<PretrainRecipe>, saved: &Checkpoint) -> Result<()> {
    let path = saved.path.join(RECIPE);
    let layers = Layers { built_in: request.family.recipe(), config: Some(&path), settings: &[] };
    let old: Recipe<PretrainRecipe> = Recipe::resolve(layers)?;
    let changes = bedstone_run::recipe::diff(&old, recipe);
    match changes.iter().find(|c| !FREE_KEYS.contains(&&c.key[..])) {
        None => Ok(()),
        Some(change) => Err(TrainError::OtherBits {
            path: saved.path.clone(),
            what: format!("{change}"),
            hint: "resume with the recipe of the run, or start another run from its weights with --init",
        }),
    }
}

/// Everything a run needs.
struct Run {
    recipe: Recipe<PretrainRecipe>,
    runtime: Runtime,
    dir: RunDir,
    text: Text,
    tokenizer: Tokenizer,
    shards: Shards,
    model: Model,
    optimizer: AdamW,
    loader: Loader,
    log: Log,
    plan: Plan,
    state: State,
    /// Tokens a second are those of this process.
    started: Instant,
    /// The most bytes that the run directory had.
    disk: u64,
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
struct EvaluationLine {
    val_loss: f64,
    perplexity: f64,
    bits_per_byte: f64,
}

impl Run {
    fn prepare(
        request: &Request<'_>,
        recipe: Recipe<PretrainRecipe>,
        dir: RunDir,
        saved: Option<Checkpoint>,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let r = &recipe.values;
        let runtime = runtime(request.isa, r.train.precision)?;
        progress.note(&format!("run: {}", dir.path().display()));
        let text = Text::open(&r.data)?;
        let tokenizer = match (&saved, &r.train.init, &r.tokenizer.file) {
            (Some(saved), ..) => Tokenizer::load(&saved.path)?,
            (None, Some(init), None) => Tokenizer::load(&model_folder(init)?)?,
            _ => text.tokenizer(&r.tokenizer, &mut |note| progress.note(&note))?,
        };
        let mut tokenizer = tokenizer;
        let shards = text.shards(&tokenizer, &r.data, progress)?;
        let model = match (&saved, &r.train.init) {
            (Some(saved), _) => load(&saved.path)?.0,
            (None, Some(init)) => start_from(request, &recipe, init, progress)?,
            (None, None) => {
                let fields = r.model_fields(request.family, tokenizer.vocab_size());
                let fields = with_special_ids(fields, &tokenizer);
                let architecture = request.family.architecture().ok_or_else(|| TrainError::State {
                    path: dir.path().to_owned(),
                    reason: format!("no architecture `{}`", request.family.model_type()),
                })?;
                Model::from_fields(architecture, &fields, r.train.seed)?
            }
        };
        let info = model.info();
        if tokenizer.vocab_size() > info.vocab_size {
            return Err(TrainError::Vocabulary { tokens: tokenizer.vocab_size(), vocab: info.vocab_size });
        }
        if let Some(limit) = info.max_length.filter(|&limit| r.train.context > limit) {
            return Err(TrainError::Context { context: r.train.context, limit });
        }
        tokenizer.set_model_max_length(info.max_length.unwrap_or(r.train.context));
        let t = &r.train;
        let config = AdamWConfig { beta1: t.beta1, beta2: t.beta2, eps: t.eps, weight_decay: t.weight_decay };
        let mut optimizer = AdamW::new(config, model.params());
        let options = Options { length: t.context, seed: t.seed, shift: false };
        let mut windows = Windows::new(shards.train.clone(), options)?;
        let mut state = State {
            step: 0,
            cursor: Cursor::default(),
            data: shards.manifest.key.clone(),
            isa: runtime.isa.to_string(),
            precision: precision_name(runtime.precision).to_owned(),
            tokens: 0,
            best: None,
        };
        let log = match &saved {
            None => Log::create(&dir.log())?,
            Some(saved) => {
                let old = State::load(&saved.state())?;
                check_bits(request, saved, &old, &state)?;
                State::load_moments(&saved.state(), model.params(), &mut optimizer)?;
                optimizer.set_step(old.step);
                windows.seek(old.cursor)?;
                progress.note(&format!("resumed after step {}", old.step));
                state = old;
                Log::resume(&dir.log(), state.step)?.0
            }
        };
        let tokenizer_bytes = 100 * tokenizer.vocab_size() as u64;
        let plan = plan(&model, r, runtime, state.step, tokenizer_bytes);
        space::check(dir.path(), plan.disk_bytes)?;
        let loader = Loader::spawn(windows, t.batch, 2)?;
        Ok(Run {
            recipe,
            runtime,
            dir,
            text,
            tokenizer,
            shards,
            model,
            optimizer,
            loader,
            log,
            plan,
            state,
            started: Instant::now(),
            disk: 0,
        })
    }

    fn train(mut self, progress: &mut dyn Progress, interrupt: &Interrupt) -> Result<Report> {
        let t = self.recipe.values.train.clone();
        let schedule =
            Schedule { kind: t.schedule, lr: t.lr, min_lr: t.min_lr, warmup: t.warmup, steps: t.steps, decay: t.decay };
        let first = self.state.step;
        progress.event(&Event::Started(progress::Started {
            run: self.dir.path().to_owned(),
            done: first,
            of: t.steps,
            plan: self.plan.clone(),
            loss: progress::LossMeaning::Tokens { vocab_size: self.model.info().vocab_size as u64 },
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
                let limit = if last { 0 } else { self.recipe.values.evaluate.tokens };
                if let Some(e) = self.evaluate(limit)? {
                    let best = self.state.best.is_none_or(|b| e.loss < b);
                    if best {
                        self.state.best = Some(e.loss);
                    }
                    progress.event(&Event::Evaluated(progress::Evaluated { step: step.step, loss: e.loss, best }));
                    final_evaluation = Some(e);
                }
            }
            if last || (t.checkpoint_every > 0 && step.step.is_multiple_of(t.checkpoint_every)) {
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
            outcome: Outcome::Finished,
            evaluation: final_evaluation,
        })
    }

    /// One optimizer step.
    fn step(&mut self, schedule: &Schedule, first: u64) -> Result<progress::Step> {
        let r = &self.recipe.values;
        let objective = CausalLm { context: r.train.context };
        let batch = self.loader.next_batch()?;
        let step = self.state.step;
        let g = gradient(&self.model, self.runtime, &objective, &batch, r.micro_batch(), r.train.seed, step)?;
        let norm = global_norm(&g.grads, &self.model.env(self.runtime.isa, self.runtime.precision));
        for (what, value) in [("loss", g.loss), ("norm of the gradient", norm)] {
            if !value.is_finite() {
                return Err(self.not_finite(what, value, &batch));
            }
        }
        let lr = schedule.at(step);
        let factor = clip_factor(norm, r.train.clip);
        self.optimizer.update(self.model.params_mut(), &g.grads, lr as f32, factor, self.runtime.isa);
        let of = r.train.steps;
        self.state.step += 1;
        self.state.cursor = self.loader.cursor();
        self.state.tokens += objective.weight(&batch);
        let seconds = self.started.elapsed().as_secs_f64();
        let done = (self.state.step - first) as f64 * batch.labels.len() as f64;
        let step = progress::Step {
            step: self.state.step,
            of,
            loss: g.loss,
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

    fn not_finite(&self, what: &'static str, value: f64, batch: &Batch) -> TrainError {
        let data = describe(&self.shards.train, batch, self.recipe.values.train.context);
        let step = self.state.step + 1;
        match self.dir.step() {
            Some(checkpoint) => TrainError::NotFinite { step, what, value, data, checkpoint },
            None => TrainError::NotFiniteFresh { step, what, value, data },
        }
    }

    fn evaluate(&mut self, limit: u64) -> Result<Option<Evaluation>> {
        let Some(set) = self.shards.validation.as_ref().filter(|s| s.len() > 1) else { return Ok(None) };
        let r = &self.recipe.values;
        let e = evaluate(&self.model, self.runtime, set, r.train.context, r.micro_batch(), limit)?;
        let line = EvaluationLine { val_loss: e.loss, perplexity: e.perplexity, bits_per_byte: e.bits_per_byte };
        self.log.append(self.state.step, &line)?;
        Ok(Some(e))
    }

    /// Writes everything of this step and commits it.
    fn checkpoint(&mut self, evaluation: Option<Evaluation>, progress: &mut dyn Progress) -> Result<()> {
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
        let generation = generation_config(tokenizer);
        let committed = self.dir.commit(state.step, |staging| {
            save(model, staging)?;
            tokenizer.save(staging)?;
            state.save(&staging.join("state"), model.params(), optimizer)?;
            for (name, text) in [("README.md", &card), (RECIPE, &recipe), ("generation_config.json", &generation)] {
                let path = staging.join(name);
                fs::write(&path, text).map_err(FileError::at(&path, "write"))?;
            }
            Ok::<_, TrainError>(())
        })?;
        self.disk = self.disk.max(before + committed.bytes);
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
            self.checkpoint(None, progress)?;
        }
        let dir = self.dir.path().to_owned();
        Ok(Report { dir, step: self.state.step, outcome: Outcome::Interrupted, evaluation: None })
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
        };
        Comparison { plan: self.plan.clone(), outcome }
    }
}

/// The weights of another checkpoint under this run's settings.
fn start_from(
    request: &Request<'_>,
    recipe: &Recipe<PretrainRecipe>,
    init: &Path,
    progress: &mut dyn Progress,
) -> Result<Model> {
    let (model, report) = load(&model_folder(init)?)?;
    let wanted = request.family.model_type();
    if model.architecture().model_type != wanted {
        return Err(recipe.invalid("train.init", format!("a checkpoint of model_type `{wanted}`")).into());
    }
    let changed = recipe.values.model.keys().map(|k| format!("model.{k}"));
    if let Some(key) = changed.into_iter().find(|k| recipe.origin(k) != bedstone_run::recipe::Origin::BuiltIn) {
        return Err(recipe.invalid(&key, "nothing: the checkpoint of train.init decides the model").into());
    }
    if !report.unused.is_empty() {
        progress.note(&format!("{}: not used: {}", init.display(), report.unused.join(", ")));
    }
    progress.note(&format!("weights: from {}", init.display()));
    Ok(model)
}

/// Ids of special tokens, for `config.json`.
fn with_special_ids(
    mut fields: serde_json::Map<String, serde_json::Value>,
    tokenizer: &Tokenizer,
) -> serde_json::Map<String, serde_json::Value> {
    let special = tokenizer.special();
    let end = tokenizer.document_end();
    for (name, token) in
        [("bos_token_id", special.bos.as_ref()), ("eos_token_id", end), ("pad_token_id", special.pad.as_ref())]
    {
        fields.insert(name.into(), token.map(|t| t.id).into());
    }
    fields
}

fn generation_config(tokenizer: &Tokenizer) -> String {
    let fields = with_special_ids(Default::default(), tokenizer);
    serde_json::to_string_pretty(&fields).unwrap_or_default() + "\n"
}

/// Products of another kind are refused, never replaced in silence.
fn runtime(isa: Isa, precision: PrecisionChoice) -> Result<Runtime> {
    match precision {
        PrecisionChoice::Auto | PrecisionChoice::F32 => Ok(Runtime { isa, precision: Precision::F32 }),
        PrecisionChoice::Bf16 => Err(TrainError::Tensor(bedstone_tensor::TensorError::Unsupported {
            op: "train.precision",
            what: "products in bf16 are not there yet; wanted auto or f32".into(),
        })),
    }
}

fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "f32",
    }
}

/// An error if this process would give other bits than the one before.
fn check_bits(request: &Request<'_>, saved: &Checkpoint, old: &State, new: &State) -> Result<()> {
    let differs = [
        ("data", &old.data, &new.data),
        ("instruction set", &old.isa, &new.isa),
        ("precision", &old.precision, &new.precision),
    ];
    let allowed = matches!(request.start, Start::Resume { allow_different_bits: true });
    for (what, old, new) in differs {
        // Other data is another run, whatever is allowed.
        if old != new && (what == "data" || !allowed) {
            return Err(TrainError::OtherBits {
                path: saved.path.clone(),
                what: format!("{what} was {old}, now {new}"),
                hint: match what {
                    "data" => "give the same data as before",
                    _ => "set BEDSTONE_ISA or train.precision as before, or accept with --allow-different-bits",
                },
            });
        }
    }
    Ok(())
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
