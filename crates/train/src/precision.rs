//! From the precision that a recipe names to one that the processor has.

use bedstone_run::Recipe;
use bedstone_tensor::{Isa, Precision};

use crate::{Result, recipe::PrecisionChoice};

/// Products of another kind are refused, never replaced in silence.
pub(crate) fn resolve<T>(choice: PrecisionChoice, isa: Isa, recipe: &Recipe<T>) -> Result<Precision> {
    match choice {
        PrecisionChoice::Auto => Ok(Precision::best(isa)),
        PrecisionChoice::F32 => Ok(Precision::F32),
        PrecisionChoice::Bf16 if isa.has_bf16() => Ok(Precision::Bf16),
        PrecisionChoice::Int8 => {
            let wanted = "auto, f32 or bf16: int8 is for inference only".to_owned();
            Err(recipe.invalid("train.precision", wanted).into())
        }
        PrecisionChoice::Bf16 => {
            let wanted = format!("auto or f32: {isa} has no products of bf16");
            Err(recipe.invalid("train.precision", wanted).into())
        }
    }
}
