//! What happens. A plot is a function that tells one story with any cast.

mod giving;
mod numbers;
mod seeking;
mod travel;

use super::{
    beats::{closing, meeting, opening, when},
    cast::{Cast, Words},
    teller::{Teller, tell},
};
use crate::{
    grammar::{a, number},
    lexicon::{ACTIONS, COLOURS, FOODS, PLANTS, TOOLS, VEHICLES, painted_things},
    scene::Object,
};

/// Tells a story.
pub(super) type Plot = fn(&mut Teller, &Cast, &Words);

/// All plots, each with equal chance.
pub(super) const PLOTS: &[Plot] = &[
    seeking::lost,
    seeking::hide,
    seeking::crumbs,
    seeking::treasure,
    seeking::noise,
    numbers::gather,
    numbers::share,
    numbers::garden,
    giving::deliver,
    giving::swap,
    giving::show,
    giving::choice,
    travel::trip,
    travel::repair,
    travel::rescue,
];
