//! Progress as plain lines, for logs and pipes.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{Event, LossMeaning, Progress, Step, TimeLeft, words};
use crate::units;

/// A line every few seconds, and one for everything that is not a step.
pub struct Lines<W> {
    out: W,
    every: Duration,
    start: Instant,
    shown: Option<Instant>,
    left: TimeLeft,
    loss: LossMeaning,
}

impl<W: Write + Send> Lines<W> {
    /// Shows the first and the last step and else one every ten seconds.
    pub fn new(out: W) -> Self {
        Self::every(out, Duration::from_secs(10))
    }

    /// Shows a step when this much time passed since the last one shown; with zero, each.
    pub fn every(out: W, every: Duration) -> Self {
        let loss = LossMeaning::Other(String::new());
        Self { out, every, start: Instant::now(), shown: None, left: TimeLeft::default(), loss }
    }

    fn line(&mut self, text: &str) {
        // Nobody reads what is written to a closed pipe, and that is no reason to end the training.
        let _ = writeln!(self.out, "{text}");
    }

    fn step(&mut self, step: &Step) {
        let now = Instant::now();
        let left = self.left.at(step.step, step.of, now.duration_since(self.start));
        let due = self.shown.is_none_or(|shown| now.duration_since(shown) >= self.every);
        if due || step.step >= step.of {
            self.shown = Some(now);
            self.line(&step_line(step, left));
        }
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn event(&mut self, event: &Event) {
        if let Event::Started(started) = event {
            self.start = Instant::now();
            self.shown = None;
            self.left = TimeLeft::new(started.done);
            self.loss = started.loss.clone();
        }
        match event {
            Event::Step(step) => self.step(step),
            other => {
                if let Some(text) = words::text(other, &self.loss) {
                    self.line(&text);
                }
            }
        }
    }
}

fn step_line(step: &Step, left: Option<f64>) -> String {
    let count = units::count;
    format!("step {}/{}  {}{}", count(step.step), count(step.of), words::figures(step), words::left_text(left))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Evaluated, Finished, Saved, tests},
        *,
    };

    #[track_caller]
    fn check(step: Step, left: Option<f64>, want: &str) {
        assert_eq!(step_line(&step, left), want);
    }

    #[test]
    fn step_lines() {
        let Event::Step(step) = tests::step(100, 1000) else { unreachable!() };
        check(step, Some(80.2), "step 100/1,000  loss 3.21  lr 3.0e-4  12,345 tok/s  time left 1 min 20 s");
        check(Step { waiting_fraction: 0.25, ..step }, None, {
            "step 100/1,000  loss 3.21  lr 3.0e-4  12,345 tok/s  25 % waiting for data"
        });
        check(Step { loss: 0.0123, lr: 0.0, tokens_per_s: f64::NAN, ..step }, None, {
            "step 100/1,000  loss 0.0123  lr 0.0e0  unknown tok/s"
        });
    }

    #[test]
    fn a_whole_run() {
        let mut out = Vec::new();
        let mut lines = Lines::every(&mut out, Duration::from_secs(3600));
        lines.event(&tests::started(0, 3));
        for i in 1..=3 {
            lines.event(&tests::step(i, 3));
        }
        lines.event(&Event::Evaluated(Evaluated { step: 3, loss: 3.0, best: true, more: String::new() }));
        lines.event(&Event::Checkpoint(Saved { step: 3, path: "runs/gpt/training/step-3".into(), bytes: 1536 }));
        lines.note("the file system knows no locks");
        lines.event(&Event::Finished(Finished { step: 3, of: 3, comparison: None }));
        let text = String::from_utf8(out).unwrap();
        let tail: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("step")).collect();
        assert!(text.starts_with("runs/gpt: 3 steps\nplan\n"), "{text}");
        assert!(tail[0].starts_with("step 1/3  loss 3.21"), "{text}");
        assert!(tail[1].starts_with("step 3/3  loss 3.21"), "{text}");
        assert_eq!(
            tail[2..],
            [
                "step 3  validation loss 3.00 (as unsure as among 20 tokens, best so far)",
                "step 3  checkpoint runs/gpt/training/step-3 (1.50 KiB)",
                "the file system knows no locks",
                "done: 3 steps",
            ]
        );
    }

    #[test]
    fn resumed_and_stopped() {
        let mut out = Vec::new();
        let mut lines = Lines::every(&mut out, Duration::ZERO);
        lines.event(&tests::started(1000, 3000));
        lines.event(&tests::step(1001, 3000));
        lines.event(&tests::step(1002, 3000));
        lines.event(&Event::Finished(Finished { step: 1002, of: 3000, comparison: None }));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("runs/gpt: going on after step 1,000 of 3,000\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("/3,000")).count(), 2);
        assert!(text.ends_with("stopped after step 1,002 of 3,000\n"), "{text}");
    }
}
