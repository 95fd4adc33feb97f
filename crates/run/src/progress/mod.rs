//! What a run tells while it goes on, and who shows it.
//!
//! The trainer sends [`Event`]s; a sink shows them: [`Bar`] on a terminal, [`Lines`] in a log, [`Silent`] nowhere.
//! The trainer sends an event for every step and does not think about how often one is shown.

mod bar;
mod lines;
mod transfer;
mod words;

use std::path::PathBuf;

use serde::Serialize;

pub use self::{
    bar::Bar,
    lines::Lines,
    transfer::Transfer,
    words::{LossMeaning, TimeLeft},
};
use crate::{
    plan::{Comparison, Plan},
    units::Unit,
};

/// Takes what happens in a run.
pub trait Progress: Send {
    /// Called in the order in which things happen.
    fn event(&mut self, event: &Event);

    /// Shows a sentence.
    fn note(&mut self, text: &str) {
        self.event(&Event::Note(text.to_owned()));
    }
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins, or goes on.
    Started(Started),
    /// An optimizer step is done.
    Step(Step),
    /// The model was evaluated on the validation split.
    Evaluated(Evaluated),
    /// A checkpoint is committed.
    Checkpoint(Saved),
    /// Anything the user should know.
    #[serde(serialize_with = "note_as_object")]
    Note(String),
    /// The run is over.
    Finished(Finished),
}

/// See [`Event::Started`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Started {
    /// The run directory.
    pub run: PathBuf,
    /// Steps done by earlier processes.
    pub done: u64,
    /// Steps in all.
    pub of: u64,
    /// What is expected.
    pub plan: Plan,
    /// What the loss of this run measures.
    pub loss: LossMeaning,
}

/// See [`Event::Step`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Steps done, this one included.
    pub step: u64,
    /// Steps in all.
    pub of: u64,
    /// Training loss of this step.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Global norm of the gradients before clipping; NaN where there is none.
    pub grad_norm: f64,
    /// Speed.
    pub tokens_per_s: f64,
    /// What it is told in.
    #[serde(skip)]
    pub unit: Unit,
    /// Share of the time (0 to 1) spent waiting for data.
    pub waiting_fraction: f64,
}

/// See [`Event::Evaluated`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// After this step.
    pub step: u64,
    /// Loss on the validation split.
    pub loss: f64,
    /// Whether it is the lowest so far.
    pub best: bool,
    /// What else was measured, for people; empty where nothing was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub more: String,
}

/// See [`Event::Checkpoint`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Saved {
    /// After this step.
    pub step: u64,
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// See [`Event::Finished`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finished {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub of: u64,
    /// Plan against outcome, where there is a plan.
    pub comparison: Option<Comparison>,
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&mut self, _: &Event) {}
}

/// Keeps everything, for tests.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    /// What happened so far.
    pub events: Vec<Event>,
}

impl Progress for Recorder {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// The sink for people: a bar on stderr when that is a terminal, else plain lines on it.
pub fn on_stderr() -> Box<dyn Progress> {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() { Box::new(Bar::on_stderr()) } else { Box::new(Lines::new(std::io::stderr())) }
}

fn note_as_object<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("text", text)?;
    map.end()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn started(done: u64, of: u64) -> Event {
        let loss = LossMeaning::Tokens { vocab_size: 50_257 };
        Event::Started(Started { run: "runs/gpt".into(), done, of, plan: Plan::default(), loss })
    }

    pub(crate) fn step(step: u64, of: u64) -> Event {
        let (loss, lr, grad_norm) = (3.21, 3e-4, 0.8);
        Event::Step(Step {
            step,
            of,
            loss,
            lr,
            grad_norm,
            tokens_per_s: 12_345.0,
            unit: Unit::Tokens,
            waiting_fraction: 0.0,
        })
    }

    #[track_caller]
    fn check(event: &Event, want: &str) {
        assert_eq!(serde_json::to_string(event).unwrap(), want);
    }

    #[test]
    fn events_as_json() {
        check(&Event::Note("hello".into()), r#"{"event":"note","text":"hello"}"#);
        check(&step(1, 2), {
            r#"{"event":"step","step":1,"of":2,"loss":3.21,"lr":0.0003,"grad_norm":0.8,"tokens_per_s":12345.0,"waiting_fraction":0.0}"#
        });
        check(&Event::Evaluated(Evaluated { step: 1, loss: f64::NAN, best: false, more: String::new() }), {
            r#"{"event":"evaluated","step":1,"loss":null,"best":false}"#
        });
    }

    #[test]
    fn recorder_keeps_order() {
        let mut recorder = Recorder::default();
        recorder.event(&step(1, 2));
        recorder.note("x");
        assert_eq!(recorder.events, [step(1, 2), Event::Note("x".into())]);
        Silent.note("nothing");
    }
}
