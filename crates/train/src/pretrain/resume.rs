//! Where a run begins, and whether going on gives the bits of an undisturbed run.

use std::path::Path;

use bedstone_models::checkpoint::ConfigFile;
use bedstone_run::{
    Checkpoint, Layers, Progress, Recipe, RunDir, Start,
    begin::{RECIPE, changed},
};

use super::Request;
use crate::{
    Result, TrainError,
    recipe::{FREE_KEYS, RunRecipe},
    state::{FILE, State},
};

/// The recipe of the run in `dir`: that of its checkpoint, or what it was begun with, under the request's settings.
pub(super) fn of_run<R: RunRecipe>(
    request: &Request<'_>,
    dir: &RunDir,
    saved: Option<&Checkpoint>,
    progress: &mut dyn Progress,
) -> Result<Recipe<R>> {
    if let Some(saved) = saved {
        if State::is_of_pretraining(&saved.state().join(FILE)) == Some(false) {
            return Err(TrainError::OtherBits {
                path: dir.path().to_owned(),
                what: "it holds a fine-tuning".into(),
                hint: "go on with it by `bedstone finetune --resume`, or choose another --out",
            });
        }
        let config = ConfigFile::open(&saved.path).map_err(bedstone_models::ModelError::from)?;
        let got = config.model_type().map_err(bedstone_models::ModelError::from)?;
        let wanted = request.family.model_type();
        if got != wanted {
            return Err(TrainError::OtherBits {
                path: dir.path().to_owned(),
                what: format!("it holds a run of a {got}, not of a {wanted}"),
                hint: "name the model of that run after `pretrain`, or choose another --out",
            });
        }
        return resolve(request, Some(&saved.path.join(RECIPE)));
    }
    let begun = dir.begun_with();
    if request.start == Start::New || !begun.exists() {
        return resolve(request, None);
    }
    progress.note("with the recipe that the run was begun with");
    resolve(request, Some(&begun))
}

/// The built-in recipe with a file and the settings over it; the run's own recipe takes the place of a file.
pub(super) fn resolve<R: RunRecipe>(request: &Request<'_>, own: Option<&Path>) -> Result<Recipe<R>> {
    let config = request.config.or(own);
    let layers = Layers { built_in: request.family.recipe(), config, settings: request.settings };
    let recipe: Recipe<R> = Recipe::resolve(layers)?;
    if let Some((key, wanted)) = recipe.values.wrong() {
        return Err(recipe.invalid(key, wanted).into());
    }
    recipe.refuse(recipe.values.without_use())?;
    Ok(recipe)
}

/// An error unless the recipe decides the same bits as that of the checkpoint.
pub(super) fn check_same<R: RunRecipe>(request: &Request<'_>, recipe: &Recipe<R>, saved: &Checkpoint) -> Result<()> {
    match changed(request.family.recipe(), &saved.path, recipe, FREE_KEYS)? {
        None => Ok(()),
        Some(change) => Err(TrainError::OtherBits {
            path: saved.path.clone(),
            what: format!("{change}"),
            hint: "resume with the recipe of the run, or start another run from its weights with --init",
        }),
    }
}

/// An error if this process would give other bits than the one before.
pub(super) fn check_bits(request: &Request<'_>, saved: &Checkpoint, old: &State, new: &State) -> Result<()> {
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
