//! Bytes on their way, as a bar or as lines.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::{bar::style, words};
use crate::units;

/// Smaller files are there before anyone has read the line.
const SHOWN: u64 = 1 << 20;

/// Shows how files come: a bar on a terminal, else a line at the beginning of each and every ten seconds.
pub struct Transfer {
    bar: Option<ProgressBar>,
    out: Box<dyn Write + Send>,
    every: Duration,
    current: Option<Current>,
}

struct Current {
    file: String,
    start: Instant,
    /// Bytes of earlier tries.
    begun: u64,
    shown: Instant,
}

impl Transfer {
    /// On stderr.
    pub fn on_stderr() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = style("{bar:24.cyan/dim} {bytes}/{total_bytes}  {wide_msg}");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        });
        let mut transfer = Self::lines(std::io::stderr(), Duration::from_secs(10));
        transfer.bar = bar;
        transfer
    }

    fn lines(out: impl Write + Send + 'static, every: Duration) -> Self {
        Self { bar: None, out: Box::new(out), every, current: None }
    }

    /// So many bytes of a file are there.
    pub fn bytes(&mut self, file: &str, done: u64, of: Option<u64>) {
        if of.is_some_and(|of| of < SHOWN) {
            return;
        }
        let now = Instant::now();
        let new = self.current.as_ref().is_none_or(|current| current.file != file);
        if new {
            self.current = Some(Current { file: file.to_owned(), start: now, begun: done, shown: now });
        }
        let Some(current) = &mut self.current else { return };
        let seconds = now.duration_since(current.start).as_secs_f64();
        let speed = done.saturating_sub(current.begun) as f64 / seconds;
        let left = of.map(|of| of.saturating_sub(done) as f64 / speed).filter(|left| left.is_finite());
        if let Some(bar) = &self.bar {
            bar.set_length(of.unwrap_or(done));
            bar.set_position(done);
            bar.set_message(format!("{file}{}", words::left_text(left)));
        } else if new || now.duration_since(current.shown) >= self.every {
            current.shown = now;
            let of = of.map_or_else(|| "unknown size".to_owned(), units::bytes);
            let text = if new && done == 0 { of } else { format!("{} of {of}", units::bytes(done)) };
            // Nobody is left to tell if this fails.
            let _ = writeln!(self.out, "{file}  {text}{}", if new { String::new() } else { words::left_text(left) });
        }
    }

    /// Shows a sentence.
    pub fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                let _ = writeln!(self.out, "{text}");
            }
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(every: Duration, bytes: &[(&str, u64, Option<u64>)], want: &str) {
        let out = Shared::default();
        let mut transfer = Transfer::lines(out.clone(), every);
        bytes.iter().for_each(|&(file, done, of)| transfer.bytes(file, done, of));
        transfer.note("done");
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let cut = |line: &str| line.split("  time left").next().unwrap_or_default().to_owned();
        assert_eq!(text.lines().map(cut).collect::<Vec<_>>().join("\n"), want);
    }

    #[test]
    fn lines() {
        const M: u64 = 1 << 20;
        let rare = Duration::from_secs(3600);
        check(rare, &[("a", 0, Some(M - 1)), ("a", 9, Some(M - 1))], "done");
        check(rare, &[("a", 0, Some(2 * M)), ("a", M, Some(2 * M)), ("b", M, Some(4 * M))], {
            "a  2.00 MiB\nb  1.00 MiB of 4.00 MiB\ndone"
        });
        check(rare, &[("a", 0, None)], "a  unknown size\ndone");
        check(
            Duration::ZERO,
            &[("a", 0, Some(2 * M)), ("a", M, Some(2 * M))],
            "a  2.00 MiB\na  1.00 MiB of 2.00 MiB\ndone",
        );
    }
}
