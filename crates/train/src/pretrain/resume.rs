//! Where a run begins, and whether going on gives the bits of an undisturbed run.

use bedstone_run::{Checkpoint, Layers, Progress, Recipe, Resume, RunDir, Verify, dir::last_run};

use super::{RECIPE, Request, Start};
use crate::{
    Result, TrainError,
    recipe::{FREE_KEYS, PretrainRecipe},
    state::State,
};

pub(super) fn open_dir(request: &Request<'_>, progress: &mut dyn Progress) -> Result<(RunDir, Resume)> {
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
pub(super) fn resolve(request: &Request<'_>, saved: Option<&Checkpoint>) -> Result<Recipe<PretrainRecipe>> {
    let own = saved.map(|s| s.path.join(RECIPE));
    let config = request.config.or(own.as_deref());
    let layers = Layers { built_in: request.family.recipe(), config, settings: request.settings };
    let recipe: Recipe<PretrainRecipe> = Recipe::resolve(layers)?;
    if let Some((key, wanted)) = recipe.values.wrong() {
        return Err(recipe.invalid(key, wanted).into());
    }
    Ok(recipe)
}

/// An error unless the recipe decides the same bits as that of the checkpoint.
pub(super) fn check_same(request: &Request<'_>, recipe: &Recipe<PretrainRecipe>, saved: &Checkpoint) -> Result<()> {
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
