//! What tests of both models share.

use std::path::Path;

use bedstone_kernels::Isa;
use bedstone_run::{Interrupt, Progress, Setting, progress::Recorder};

use bedstone_run::Start;

use crate::{Report, Request, Result};

const ANIMALS: [&str; 4] = ["cat", "dog", "cow", "hen"];
const TOOLS: [&str; 4] = ["saw", "axe", "drill", "file"];

/// Sentences in which animals and tools stand in different company.
pub(crate) fn sentences(n: u64) -> Box<dyn Iterator<Item = String> + Send> {
    Box::new((0..n).map(|i| {
        let (a, b) = ((i * 7 / 3) as usize % 4, (i * 5 / 2) as usize % 4);
        match i % 2 {
            0 => format!("the {} eats grass near the {} and sleeps", ANIMALS[a], ANIMALS[b]),
            _ => format!("use the {} or the {} to cut hard wood", TOOLS[a], TOOLS[b]),
        }
    }))
}

/// Runs `pretrain` in `out` under these settings.
pub(crate) fn run(
    pretrain: fn(&Request<'_>, &mut dyn Progress, &Interrupt) -> Result<Report>,
    out: &Path,
    settings: &str,
    start: Start,
    isa: Isa,
) -> Result<Report> {
    let settings: Vec<Setting> = settings.split_whitespace().map(|s| Setting::parse(s).unwrap()).collect();
    let request = Request { config: None, settings: &settings, out: Some(out), start, isa, stories: &sentences };
    pretrain(&request, &mut Recorder::default(), &Interrupt::new())
}

/// Whether words that keep the same company are more alike, by `margin`, than those that do not.
#[track_caller]
pub(crate) fn check_company(dir: &Path, what: &str, margin: f32) {
    let vectors = crate::Vectors::open(dir).unwrap();
    let index = crate::vectors::near::Index::new(&vectors);
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for a in ANIMALS.iter().chain(&TOOLS) {
        for b in ANIMALS.iter().chain(&TOOLS).filter(|b| *b != a) {
            let [x, y] = [a, b].map(|w| vectors.vocab.id(w).unwrap());
            let of = if ANIMALS.contains(a) == ANIMALS.contains(b) { &mut same } else { &mut other };
            of.push(index.cosine(x, y));
        }
    }
    let mean = |x: &[f32]| x.iter().sum::<f32>() / x.len() as f32;
    assert!(mean(&same) > mean(&other) + margin, "{what}: {} within, {} across", mean(&same), mean(&other));
}
