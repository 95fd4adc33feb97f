//! Losses, times and events in plain words.

use std::time::Duration;

use serde::Serialize;

use super::{Evaluated, Event, Finished, Saved, Started, Step};
use crate::units;

/// What the loss of a run measures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossMeaning {
    /// The mean cross-entropy of tokens in nats: `exp(loss)` is between how many tokens the model wavers.
    Tokens {
        /// Number of tokens.
        vocab_size: u64,
    },
    /// The same of tokens that are masked, and how surprised the model is by whether one text follows another.
    Masked {
        /// Number of tokens.
        vocab_size: u64,
        /// Whether it says of texts that one follows the other.
        next_sentence: bool,
    },
    /// Anything else, explained by one sentence.
    Other(String),
}

impl LossMeaning {
    /// The loss of blind guessing.
    fn blind(&self) -> Option<f64> {
        match *self {
            Self::Tokens { vocab_size } | Self::Masked { vocab_size, next_sentence: false } => {
                Some((vocab_size as f64).ln())
            }
            Self::Masked { vocab_size, next_sentence: true } => Some((2.0 * vocab_size as f64).ln()),
            Self::Other(_) => None,
        }
    }

    /// One sentence for the start of a run.
    pub fn explained(&self) -> String {
        match self {
            Self::Tokens { vocab_size } => format!(
                "loss: how surprised the model is by each next token; {:.2} is blind guessing among {} tokens, 0 is certainty",
                (*vocab_size as f64).ln(),
                units::count(*vocab_size)
            ),
            Self::Masked { next_sentence, .. } => {
                let texts = if *next_sentence { ", plus by whether one text follows the other" } else { "" };
                let blind = self.blind().unwrap_or_default();
                format!(
                    "loss: how surprised the model is by each masked token{texts}; {blind:.2} is blind guessing, 0 is certainty"
                )
            }
            Self::Other(text) => format!("loss: {text}"),
        }
    }

    /// What this loss means; empty where there is nothing simple to say.
    pub fn of(&self, loss: f64) -> String {
        if !loss.is_finite() {
            return "not a number: training has failed".to_owned();
        }
        let blind = self.blind().unwrap_or(f64::INFINITY);
        if loss >= blind + 0.98f64.ln() {
            return "no better than blind guessing".to_owned();
        }
        let Self::Tokens { .. } = self else { return String::new() };
        let choices = loss.exp();
        match choices {
            _ if choices < 1.05 => "nearly certain of each token".to_owned(),
            _ if choices < 9.95 => format!("as unsure as between {choices:.1} tokens"),
            _ => format!("as unsure as among {} tokens", units::count(choices.round() as u64)),
        }
    }
}

/// How long the rest will take, from the steps that were timed.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeLeft {
    /// The steps that were done at a time on the clock.
    since: Option<(u64, Duration)>,
    /// The step that was told last.
    last: u64,
}

impl TimeLeft {
    /// For a run of which `done_before` steps were done when the clock started.
    ///
    /// By default it is not known when steps began, and the first one says it; so does one that does not come after the one
    /// before, as where another seed begins.
    pub fn new(done_before: u64) -> Self {
        Self { since: Some((done_before, Duration::ZERO)), last: done_before }
    }

    /// After `step` of `of` steps at `elapsed` on the clock; `None` before a step was timed.
    pub fn at(&mut self, step: u64, of: u64, elapsed: Duration) -> Option<f64> {
        let since = self.since.filter(|_| step > self.last);
        self.last = step;
        let Some((first, began)) = since else {
            self.since = Some((step, elapsed));
            return None;
        };
        let each = elapsed.saturating_sub(began).as_secs_f64() / (step - first) as f64;
        Some(each * of.saturating_sub(step) as f64)
    }
}

/// The text of an event that is shown whenever it happens; steps are for the sinks.
pub(super) fn text(event: &Event, loss: &LossMeaning) -> Option<String> {
    match event {
        Event::Started(started) => Some(started_text(started)),
        Event::Step(_) => None,
        Event::Evaluated(evaluated) => Some(evaluated_text(evaluated, loss)),
        Event::Checkpoint(Saved { step, path, bytes }) => {
            Some(format!("step {}  checkpoint {} ({})", units::count(*step), path.display(), units::bytes(*bytes)))
        }
        Event::Note(text) => Some(text.clone()),
        Event::Finished(finished) => Some(finished_text(finished)),
    }
}

/// Loss, learning rate and speed of a step; waiting only where it matters.
pub(super) fn figures(step: &Step) -> String {
    let mut text = format!("loss {}", loss_text(step.loss));
    text.push_str(&format!("  lr {:.1e}  {}", step.lr, step.unit.speed(step.tokens_per_s)));
    if step.waiting_fraction >= 0.05 {
        text.push_str(&format!("  {:.0} % waiting for data", 100.0 * step.waiting_fraction));
    }
    text
}

pub(super) fn left_text(seconds: Option<f64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!("  time left {}", units::duration(seconds.round())))
}

fn started_text(started: &Started) -> String {
    let of = units::count(started.of);
    let head = match started.done {
        0 => format!("{}: {of} steps", started.run.display()),
        done => format!("{}: going on after step {} of {of}", started.run.display(), units::count(done)),
    };
    format!("{head}\n{}{}", started.plan, started.loss.explained())
}

fn evaluated_text(evaluated: &Evaluated, loss: &LossMeaning) -> String {
    let meaning = loss.of(evaluated.loss);
    let best = if evaluated.best { "best so far" } else { "" };
    let remarks: Vec<&str> = [meaning.as_str(), best].into_iter().filter(|text| !text.is_empty()).collect();
    let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
    let more = if evaluated.more.is_empty() { String::new() } else { format!(", {}", evaluated.more) };
    format!("step {}  validation loss {}{more}{remarks}", units::count(evaluated.step), loss_text(evaluated.loss))
}

fn finished_text(finished: &Finished) -> String {
    let Finished { step, of, comparison } = finished;
    let head = if step < of {
        format!("stopped after step {} of {}", units::count(*step), units::count(*of))
    } else {
        format!("done: {} steps", units::count(*step))
    };
    match comparison {
        Some(comparison) => format!("{head}\n{}", comparison.table().trim_end()),
        None => head,
    }
}

/// Three digits are read at a glance.
fn loss_text(loss: f64) -> String {
    if loss.is_finite() && loss.abs() < 0.1 { format!("{loss:.4}") } else { format!("{loss:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(loss: f64, want: &str) {
        assert_eq!(LossMeaning::Tokens { vocab_size: 50_257 }.of(loss), want, "loss {loss}");
    }

    #[test]
    fn losses_in_words() {
        check(10.82, "no better than blind guessing");
        check(3.21, "as unsure as among 25 tokens");
        check(8.0, "as unsure as among 2,981 tokens");
        check(0.7, "as unsure as between 2.0 tokens");
        check(0.01, "nearly certain of each token");
        check(f64::NAN, "not a number: training has failed");
        check(f64::INFINITY, "not a number: training has failed");
        check(1e9, "no better than blind guessing");
        assert_eq!(LossMeaning::Other("squared error".into()).of(1.0), "");
        let masked = LossMeaning::Masked { vocab_size: 1000, next_sentence: true };
        assert_eq!([masked.of(7.59), masked.of(7.5)], ["no better than blind guessing", ""]);
    }

    #[test]
    fn meaning_at_the_start() {
        let tokens = LossMeaning::Tokens { vocab_size: 50_257 }.explained();
        assert!(tokens.ends_with("10.82 is blind guessing among 50,257 tokens, 0 is certainty"), "{tokens}");
        let masked = LossMeaning::Masked { vocab_size: 1000, next_sentence: true }.explained();
        assert!(
            masked.contains("each masked token, plus by whether") && masked.contains("; 7.60 is blind"),
            "{masked}"
        );
        assert_eq!(LossMeaning::Other("squared error of counts".into()).explained(), "loss: squared error of counts");
    }

    #[track_caller]
    fn check_left(mut left: TimeLeft, steps: &[(u64, u64)], want: Option<f64>) {
        let mut last = None;
        for &(step, elapsed) in steps {
            last = left.at(step, 100, Duration::from_secs(elapsed));
        }
        assert_eq!(last, want);
    }

    #[test]
    fn time_left() {
        check_left(TimeLeft::new(0), &[(10, 5)], Some(45.0));
        check_left(TimeLeft::new(50), &[(60, 5)], Some(20.0));
        check_left(TimeLeft::new(50), &[(50, 5)], None);
        check_left(TimeLeft::new(0), &[(100, 5)], Some(0.0));
        check_left(TimeLeft::new(0), &[(110, 5)], Some(0.0));
        // What happened before the first step does not count, nor do the steps of a process before.
        check_left(TimeLeft::default(), &[(60, 100)], None);
        check_left(TimeLeft::default(), &[(60, 100), (61, 101), (70, 105)], Some(15.0));
        // Another seed.
        check_left(TimeLeft::default(), &[(1, 10), (100, 109), (1, 119)], None);
        check_left(TimeLeft::default(), &[(1, 10), (100, 109), (1, 119), (51, 169)], Some(49.0));
    }
}
