//! Progress as a bar on a terminal.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Event, LossMeaning, Progress, Step, TimeLeft, words};

/// One line that changes in place; everything that is not a step stands above it.
pub struct Bar {
    bar: ProgressBar,
    start: Instant,
    left: TimeLeft,
    loss: LossMeaning,
}

impl Bar {
    /// A bar on stderr; shows nothing when that is no terminal.
    pub fn on_stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        // Nothing to see before the start, so that no empty bar stands under what is said there.
        let bar = ProgressBar::with_draw_target(None, target).with_style(style("{msg}"));
        let loss = LossMeaning::Other(String::new());
        Self { bar, start: Instant::now(), left: TimeLeft::default(), loss }
    }

    fn step(&mut self, step: &Step) {
        let left = self.left.at(step.step, step.of, self.start.elapsed());
        self.bar.set_length(step.of);
        self.bar.set_message(format!("{}{}", words::figures(step), words::left_text(left)));
        self.bar.set_position(step.step);
    }
}

impl Progress for Bar {
    fn event(&mut self, event: &Event) {
        if let Event::Started(started) = event {
            self.start = Instant::now();
            self.left = TimeLeft::new(started.done);
            self.loss = started.loss.clone();
        }
        if let Event::Step(step) = event {
            return self.step(step);
        }
        if let Some(text) = words::text(event, &self.loss) {
            self.bar.println(text);
        }
        match event {
            Event::Started(started) => {
                self.bar.set_style(style("{bar:24.cyan/dim} {human_pos}/{human_len}  {wide_msg}"));
                self.bar.set_length(started.of);
                self.bar.set_position(started.done);
            }
            Event::Finished(_) => self.bar.finish_and_clear(),
            _ => {}
        }
    }
}

pub(super) fn style(template: &str) -> ProgressStyle {
    // The templates are constants, which the tests below draw.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::{
        super::{Evaluated, Finished, tests},
        *,
    };

    #[test]
    fn a_run_on_a_terminal() {
        let terminal = InMemoryTerm::new(30, 120);
        let mut bar = Bar::on(ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255));
        bar.note("before the start");
        assert_eq!(terminal.contents(), "before the start");
        bar.event(&tests::started(0, 1000));
        bar.event(&tests::step(500, 1000));
        bar.bar.force_draw();
        let text = terminal.contents();
        let last = text.lines().last().unwrap();
        assert!(text.starts_with("before the start\nruns/gpt: 1,000 steps\nplan\n"), "{text}");
        assert!(
            last.starts_with("━━━━━━━━━━━━") && last.contains("─ 500/1,000  loss 3.21  lr 3.0e-4  12,345 tok/s"),
            "{last}"
        );

        bar.event(&Event::Evaluated(Evaluated { step: 500, loss: 3.0, best: false, more: String::new() }));
        let text = terminal.contents();
        let above = text.lines().rev().nth(1).unwrap();
        assert_eq!(above, "step 500  validation loss 3.00 (as unsure as among 20 tokens)");

        bar.event(&Event::Finished(Finished { step: 1000, of: 1000, comparison: None }));
        assert!(terminal.contents().ends_with("\ndone: 1,000 steps"), "{}", terminal.contents());
    }

    #[test]
    fn narrow_terminals_cut_the_line() {
        let terminal = InMemoryTerm::new(30, 50);
        let mut bar = Bar::on(ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255));
        bar.event(&tests::started(0, 1000));
        bar.event(&tests::step(500, 1000));
        bar.bar.force_draw();
        let text = terminal.contents();
        assert_eq!(text.lines().filter(|line| line.contains("500/1,000")).count(), 1, "{text}");
        assert!(text.lines().last().unwrap().contains("loss 3"), "{text}");
    }
}
