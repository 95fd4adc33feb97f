//! What a run needs before its first step.

use std::time::Instant;

use bedstone_data::sampler::Cursor;
use bedstone_infer::Runtime;
use bedstone_run::{Checkpoint, Interrupt, Log, Plan, Progress, Recipe, RunDir, space};

use super::{Request, material::Open, resume::check_bits, run::Run};
use crate::{
    Result,
    ema::Ema,
    optimizer::{AdamW, AdamWConfig},
    plan::{Work, check_memory, plan},
    precision::resolve,
    state::State,
};

impl Run {
    /// Opens or makes everything, and goes to where an earlier process stopped.
    pub(super) fn prepare<R: Open>(
        request: &Request<'_>,
        recipe: Recipe<R>,
        dir: RunDir,
        saved: Option<Checkpoint>,
        progress: &mut dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let train = recipe.values.train().clone();
        let precision = resolve(train.precision, request.isa, &recipe)?;
        let runtime = Runtime { isa: request.isa, precision };
        progress.note(&format!("run: {}", dir.path().display()));
        let from = saved.as_ref().map(|saved| &*saved.path);
        let (mut model, mut material) = R::open(request, &recipe, from, progress, interrupt)?;
        let limits = recipe.values.limits();
        let work = Work { train: &train, limits, context: recipe.values.context(&model), runtime };
        check_memory(&model, work.load())?;
        let t = &train;
        let config = AdamWConfig { beta1: t.beta1, beta2: t.beta2, eps: t.eps, weight_decay: t.weight_decay };
        let mut optimizer = AdamW::new(config, model.params());
        let mut state = State {
            step: 0,
            cursor: Cursor::default(),
            data: material.key().to_owned(),
            isa: runtime.isa.to_string(),
            precision: runtime.precision.name().to_owned(),
            tokens: 0,
            best: None,
        };
        let mut average = (t.ema > 0.0).then(|| Ema::new(t.ema, model.params()));
        if let Some(saved) = &saved {
            let old = State::load(&saved.state())?;
            check_bits(request, saved, &old, &state)?;
            State::load_moments(&saved.state(), model.params(), &mut optimizer)?;
            optimizer.set_step(old.step);
            if t.ema > 0.0 {
                average = Some(Ema::resumed(t.ema, model.params().clone(), old.step));
                State::load_learning(&saved.state(), model.params_mut())?;
            }
            progress.note(&format!("resumed after step {}", old.step));
            state = old;
        }
        if t.warmup >= t.steps && saved.is_none() {
            let (warmup, steps) = (t.warmup, t.steps);
            progress
                .note(&format!("train.warmup is {warmup} of {steps} steps: the learning rate never reaches train.lr"));
        }
        // Before there is a log: data that cannot be used leaves no run behind.
        material.start(state.cursor)?;
        let log = match &saved {
            None => Log::create(&dir.log())?,
            Some(_) => Log::resume(&dir.log(), state.step)?.0,
        };
        let plan = plan(&model, &work, state.step, material.bytes(), material.held_out());
        let plan = Plan { unit: material.unit(), ..plan };
        space::check(dir.path(), plan.disk_bytes)?;
        Ok(Run {
            recipe: recipe.to_toml(),
            train,
            limits,
            runtime,
            dir,
            material,
            model,
            optimizer,
            average,
            log,
            plan,
            state,
            done: 0,
            started: Instant::now(),
            disk: 0,
            aside: Default::default(),
        })
    }
}
