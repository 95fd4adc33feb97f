//! Whether a checkpoint gives the numbers that a reference gave: outputs, losses, caches, ids, tokenizers, and whole
//! training traces, recorded in fixture directories.

mod fixture;
mod generation;
mod names;
mod outputs;
mod sentences;
mod tolerance;
mod trace;

use std::{fmt, path::Path};

use bedstone_infer::Runtime;
use bedstone_models::{LoadReport, Model, checkpoint::ConfigFile, load_with};

use tolerance::Tolerance;

use fixture::Fixture;
pub use fixture::ParityError;

/// How one case went.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What was compared.
    pub name: String,
    /// The largest error found and what is allowed; `None` where things are equal or not.
    pub error: Option<Error>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// The largest error, as a share of what is allowed at its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Error {
    /// The difference.
    pub got: f64,
    /// The difference allowed.
    pub allowed: f64,
}

impl Error {
    /// The one that is larger beside what is allowed; one that is not a number stays.
    fn or(self, other: Error) -> Error {
        if self.got.is_nan() || other.got / other.allowed <= self.got / self.allowed { self } else { other }
    }
}

impl Case {
    /// The one that went worse of two comparisons of the same.
    fn worse(self, other: Case) -> Case {
        match (self.error, other.error) {
            (Some(a), Some(b)) if self.passed() && other.passed() => Case { error: Some(a.or(b)), ..self },
            _ if self.passed() => other,
            _ => self,
        }
    }

    /// Whether nothing was wrong.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    fn equal(name: impl Into<String>, difference: Option<String>) -> Self {
        Case { name: name.into(), error: None, failure: difference }
    }

    /// Near ties fall either way: that it ran is all there is to say.
    fn passed_over(name: impl fmt::Display) -> Self {
        Case::equal(format!("{name} (compared in f32 only)"), None)
    }

    fn failed(name: impl Into<String>, why: impl fmt::Display) -> Self {
        Case { name: name.into(), error: None, failure: Some(why.to_string()) }
    }

    fn measured(name: impl Into<String>, error: Error) -> Self {
        let failure = (error.got > error.allowed || error.got.is_nan()).then(|| "beyond the tolerance".to_owned());
        Case { name: name.into(), error: Some(error), failure }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.passed() { "ok  " } else { "FAIL" }, self.name)?;
        if let Some(Error { got, allowed }) = self.error {
            write!(f, ": error {got:.1e}, allowed {allowed:.1e}")?;
        } else if self.passed() {
            write!(f, ": equal")?;
        }
        match &self.failure {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

/// The larger of two errors; one that is not a number stays.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}

/// Checks every case that the fixture directory records. What cannot be run at all is a failed case too.
pub fn check(dir: &Path, runtime: Runtime) -> Vec<Case> {
    match check_fixture(dir, runtime) {
        Ok(cases) => cases,
        Err(e) => vec![Case::failed("fixture", e)],
    }
}

fn check_fixture(dir: &Path, runtime: Runtime) -> Result<Vec<Case>, ParityError> {
    let mut cases = Vec::new();
    if dir.join("trace.json").exists() {
        cases.extend(trace::check(dir, runtime).unwrap_or_else(|e| vec![Case::failed("training trace", e)]));
    }
    if !dir.join("parity.json").exists() {
        return match cases.is_empty() {
            true => Err(ParityError::NoFixture { path: dir.to_owned() }),
            false => Ok(cases),
        };
    }
    let fixture = Fixture::open(dir)?;
    if fixture.has_model() {
        // Both spellings of the configuration have to mean the same.
        for config in ["config.json", "config.v5.json"] {
            let path = dir.join(config);
            if config == "config.json" || path.exists() {
                let prefix = if config == "config.json" { String::new() } else { format!("{config} ") };
                match load(dir, &path) {
                    Ok((model, report)) => {
                        let left = report.unused.join(", ");
                        let failure = (!left.is_empty()).then(|| format!("left aside: {left}"));
                        cases.push(Case::equal(format!("{prefix}every tensor is used or a copy"), failure));
                        cases.extend(check_model(&fixture, &model, runtime, &prefix));
                    }
                    Err(e) => cases.push(Case::failed(format!("{prefix}model"), e)),
                }
            }
        }
    }
    match bedstone_data::tokenizer::parity::check_cases(dir) {
        Ok(results) => cases.extend(results.into_iter().map(|r| Case::equal(r.name, r.failure))),
        Err(e) => cases.push(Case::failed("tokenizer", e)),
    }
    if cases.is_empty() {
        cases.push(Case::failed("fixture", "records no case"));
    }
    Ok(cases)
}

fn load(dir: &Path, config: &Path) -> Result<(Model, LoadReport), ParityError> {
    Ok(load_with(dir, ConfigFile::open(config)?)?)
}

fn check_model(fixture: &Fixture, model: &Model, runtime: Runtime, prefix: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in fixture.case_names() {
        let result = match fixture.prefix_length(&name) {
            Some(prefix) => outputs::check_cache(fixture, model, runtime, &name, prefix),
            None => outputs::check(fixture, model, runtime, &name),
        };
        cases.extend(result.unwrap_or_else(|e| vec![Case::failed(name, e)]));
    }
    let sentences = sentences::check(fixture, model, runtime);
    cases.extend(sentences.unwrap_or_else(|e| vec![Case::failed("sentences", e)]));
    for item in &fixture.json.generation {
        let result = generation::check(fixture, model, runtime, item);
        cases.extend(result.unwrap_or_else(|e| vec![Case::failed(format!("generate {}", item.name), e)]));
    }
    cases.iter_mut().for_each(|case| case.name.insert_str(0, prefix));
    cases
}

#[cfg(test)]
mod tests;
