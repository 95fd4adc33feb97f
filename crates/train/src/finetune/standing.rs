//! How far a fine-tuning has come, and what it needs to go on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use bedstone_models::{Model, checkpoint::WeightFiles};
use bedstone_run::files::FileError;
use bedstone_tensor::{Isa, Param, ParamId, Params};
use serde::{Deserialize, Serialize};

use super::{
    Started,
    examples::Scores,
    fit::{Learner, Seat},
    recipe::FitConfig,
};
use crate::{
    Result, TrainError,
    ema::Ema,
    lora::LowRank,
    state::{FILE, Named, State, copy, moments, write_tensors},
};

/// How far a run has come; with every checkpoint as JSON, the numbers beside it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Standing {
    /// What the user called the model that the run began with.
    pub(super) model: String,
    /// The name of the task.
    pub(super) task: String,
    /// The hash of data and model.
    pub(super) material: String,
    /// The instruction set that computed so far.
    pub(super) isa: String,
    /// The precision of products.
    pub(super) precision: String,
    /// Seeds that are done, with their best scores.
    pub(super) done: Vec<(u64, Scores)>,
    /// Steps of these.
    pub(super) before: u64,
    /// The best evaluation.
    pub(super) best: Option<Best>,
    /// That of the seed that is learned, unless it is about to begin.
    pub(super) seat: Option<Seat>,
}

/// Where the best model was found.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Best {
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) scores: Scores,
}

/// The weights of the best model, and the factors of those that learned by them.
pub(super) struct Kept {
    pub(super) params: Params,
    pub(super) low_rank: BTreeMap<ParamId, LowRank>,
}

/// Ends of tensors' names: the weights that learn, those of the best model, averages.
const LEARNING: &str = "w";
const BEST: &str = "best";
const AVERAGE: &str = "average";

impl Standing {
    /// Writes it into `dir`, which is made: with what `learner` learns with, and the best weights, if the run is to go on.
    pub(super) fn save(&self, dir: &Path, learner: Option<&Learner>, kept: Option<&Kept>) -> Result<()> {
        fs::create_dir_all(dir).map_err(FileError::at(dir, "make the folder"))?;
        let mut tensors = Vec::new();
        if let Some(learner) = learner {
            let (params, optimizer) = (learner.model.params(), &learner.optimizer);
            tensors.extend(moments(params, optimizer));
            tensors.extend(learned(LEARNING, params, optimizer.low_rank()));
            if let Some(average) = &learner.average {
                tensors.extend(learned(AVERAGE, average.params(), optimizer.low_rank()));
            }
        }
        if let Some(kept) = kept {
            tensors.extend(learned(BEST, &kept.params, &kept.low_rank));
        }
        if !tensors.is_empty() {
            write_tensors(dir, &tensors)?;
        }
        self.write(&dir.join(FILE))
    }

    /// Writes it without numbers.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let wrong = |e: serde_json::Error| TrainError::State { path: path.to_owned(), reason: e.to_string() };
        let text = serde_json::to_string_pretty(self).map_err(wrong)?;
        Ok(fs::write(path, text + "\n").map_err(FileError::at(path, "write"))?)
    }

    /// Reads it from `dir`.
    pub(super) fn load(dir: &Path) -> Result<Self> {
        Self::read(&dir.join(FILE))
    }

    /// Reads what `write` has written.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| TrainError::State { path: path.to_owned(), reason };
        let text = fs::read(path).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| match State::is_of_pretraining(path) {
            Some(true) => wrong("the state of a pretraining, which goes on by `pretrain MODEL --resume`".into()),
            _ => wrong(format!("not the state of a fine-tuning: {e}")),
        })
    }

    /// The best model's weights, whose seed began as `start` says.
    pub(super) fn kept(&self, dir: &Path, start: &dyn Fn(u64) -> Result<Started>, isa: Isa) -> Result<Option<Kept>> {
        let Some(best) = &self.best else { return Ok(None) };
        let (mut model, _, mut low_rank) = start(best.seed)?;
        read(&WeightFiles::open(dir)?, dir, BEST, &mut model, &mut low_rank, isa)?;
        Ok(Some(Kept { params: std::mem::take(model.params_mut()), low_rank }))
    }

    /// The learner of `seed`, which began as `started`, where it stopped.
    pub(super) fn learner(
        &self,
        dir: &Path,
        config: &FitConfig,
        seed: u64,
        (mut model, report, mut low_rank): Started,
        isa: Isa,
    ) -> Result<Learner> {
        let Some(seat) = &self.seat else { return Ok(Learner::new(config, seed, (model, report, low_rank))) };
        let files = WeightFiles::open(dir)?;
        read(&files, dir, LEARNING, &mut model, &mut low_rank, isa)?;
        let mut learner = Learner::new(config, seed, (model, report, low_rank));
        State::load_moments(dir, learner.model.params(), &mut learner.optimizer)?;
        learner.optimizer.set_step(seat.step);
        if config.ema > 0.0 {
            let mut average = Ema::resumed(config.ema, learner.model.params().clone(), seat.step);
            for (_, p) in average.params_mut().iter_mut().filter(|(_, p)| p.trainable) {
                copy(&files, dir, &format!("{}.{AVERAGE}", p.name), p.value.f32s_mut())?;
            }
            learner.average = Some(average);
        }
        learner.seat = seat.clone();
        Ok(learner)
    }
}

/// What learns of `params`: weights, or the factors in their place.
fn learned<'a>(end: &str, params: &'a Params, low_rank: &'a BTreeMap<ParamId, LowRank>) -> Vec<Named<'a>> {
    let trained = params.iter().filter(|(_, p)| p.trainable);
    let named = |(id, p): (ParamId, &'a Param)| {
        let name = format!("{}.{end}", p.name);
        match low_rank.get(&id) {
            Some(factors) => (name, vec![factors.len()], factors.factors()),
            None => (name, p.value.shape().to_vec(), p.value.f32s()),
        }
    };
    trained.map(named).collect()
}

/// Reads what `learned` has named into a model that began in the same way. What there is of others is an error: they learned before, and
/// would be left as they began.
fn read(
    files: &WeightFiles,
    dir: &Path,
    end: &str,
    model: &mut Model,
    low_rank: &mut BTreeMap<ParamId, LowRank>,
    isa: Isa,
) -> Result<()> {
    let learns: BTreeSet<String> =
        model.params().iter().filter(|(_, p)| p.trainable).map(|(_, p)| format!("{}.{end}", p.name)).collect();
    let dot_end = format!(".{end}");
    if let Some(other) = files.names().find(|name| name.ends_with(&dot_end) && !learns.contains(*name)) {
        let reason = format!("tensor `{other}` is of a parameter that does not learn in this build: fine-tune anew");
        return Err(TrainError::State { path: dir.to_owned(), reason });
    }
    for (id, p) in model.params_mut().iter_mut().filter(|(_, p)| p.trainable) {
        let name = format!("{}.{end}", p.name);
        match low_rank.get_mut(&id) {
            Some(factors) => {
                copy(files, dir, &name, factors.factors_mut())?;
                factors.write(p.value.f32s_mut(), isa);
            }
            None => copy(files, dir, &name, p.value.f32s_mut())?,
        }
    }
    Ok(())
}
