//! What a run will need, before it starts, and what it needed, after it ended.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::units::{self, Unit};

/// A prediction. Speeds and times are `None` where nothing is known of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Numbers that are trained.
    pub parameters: u64,
    /// Tokens (or words, pictures, …) that go through the model in all steps.
    pub tokens: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// What takes how much memory; need not add up to the peak, since not everything is there at the same time.
    pub memory: Vec<Memory>,
    /// Memory of the process at its highest, in bytes.
    pub peak_bytes: u64,
    /// Time of the whole run.
    pub seconds: Option<f64>,
    /// Speed, evaluation included.
    pub tokens_per_s: Option<f64>,
    /// What it is told in.
    #[serde(default)]
    pub unit: Unit,
    /// The run directory at its largest, in bytes.
    pub disk_bytes: u64,
}

/// One line of the memory plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Such as "weights" or "optimizer state".
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

/// What was measured; `None` where the system does not tell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Tokens that went through the model.
    pub tokens: u64,
    /// Steps done by this process.
    pub steps: u64,
    /// Highest memory of the process, see [`peak_memory`].
    pub peak_bytes: Option<u64>,
    /// Time of this process.
    pub seconds: f64,
    /// The run directory's size in bytes, see [`space::used`](crate::space::used).
    pub disk_bytes: Option<u64>,
    /// Seconds that did not go to steps, where they were counted.
    pub aside: Option<Aside>,
}

/// Seconds in which a run did something else than steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Aside {
    /// Waiting for data.
    pub waiting: f64,
    /// Evaluating.
    pub evaluating: f64,
    /// Writing checkpoints.
    pub saving: f64,
}

/// Plan and outcome side by side. The plan should be that of the steps that this process did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The prediction.
    pub plan: Plan,
    /// What happened.
    pub outcome: Outcome,
}

impl Plan {
    /// One line a fact, memory split below its sum.
    pub fn table(&self) -> String {
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown before the first steps".to_owned());
        let (amount, count) = self.unit.amount(self.tokens);
        let mut rows = vec![
            ("parameters".to_owned(), units::short_count(self.parameters)),
            ("steps".to_owned(), units::count(self.steps)),
            (amount.to_owned(), units::short_count(count)),
            ("memory".to_owned(), format!("{} at most", units::bytes(self.peak_bytes))),
        ];
        rows.extend(self.memory.iter().map(|part| (format!("  {}", part.what), units::bytes(part.bytes))));
        rows.push(("disk".to_owned(), units::bytes(self.disk_bytes)));
        rows.push(("speed".to_owned(), or_unknown(self.tokens_per_s.map(|speed| self.unit.speed(speed)))));
        rows.push(("time".to_owned(), or_unknown(self.seconds.map(units::duration))));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text = String::from("plan\n");
        for (name, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:width$}  {value}");
        }
        text
    }
}

impl Outcome {
    /// Tokens per second; `None` when no time passed.
    pub fn tokens_per_s(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }
}

impl Comparison {
    /// Predicted, measured and their ratio for memory, disk, speed and time.
    pub fn table(&self) -> String {
        let Self { plan, outcome } = self;
        let bytes = |n: f64| units::bytes(n as u64);
        let speed = |n: f64| plan.unit.speed(n);
        let rows = [
            row("memory", Some(plan.peak_bytes as f64), outcome.peak_bytes.map(|n| n as f64), &bytes),
            row("disk", Some(plan.disk_bytes as f64), outcome.disk_bytes.map(|n| n as f64), &bytes),
            row("speed", plan.tokens_per_s, outcome.tokens_per_s(), &speed),
            row("time", plan.seconds, Some(outcome.seconds), &units::duration),
        ];
        let mut text = format!("{:8}{:>18}{:>18}{:>8}\n", "", "predicted", "measured", "ratio");
        for [name, predicted, measured, ratio] in rows {
            let _ = writeln!(text, "{name:8}{predicted:>18}{measured:>18}{ratio:>8}");
        }
        if let Some(Aside { waiting, evaluating, saving }) = outcome.aside.filter(|_| outcome.seconds > 0.0) {
            let share = |seconds: f64| 100.0 * seconds / outcome.seconds;
            let _ = writeln!(
                text,
                "of the time {:.1} % waiting for data, {:.1} % evaluating, {:.1} % writing checkpoints",
                share(waiting),
                share(evaluating),
                share(saving),
            );
        }
        text
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}

/// The highest memory in use by this process so far, in bytes; on Linux only.
pub fn peak_memory() -> Option<u64> {
    from_status("VmHWM:")
}

/// The memory in use by this process now, in bytes; on Linux only.
pub fn resident_memory() -> Option<u64> {
    from_status("VmRSS:")
}

/// The memory that the machine has left, in bytes; on Linux only.
pub fn available_memory() -> Option<u64> {
    if cfg!(target_os = "linux") {
        kib_of("MemAvailable:", &std::fs::read_to_string("/proc/meminfo").ok()?)
    } else {
        None
    }
}

fn from_status(name: &str) -> Option<u64> {
    if cfg!(target_os = "linux") { kib_of(name, &std::fs::read_to_string("/proc/self/status").ok()?) } else { None }
}

/// The line `VmHWM:    1234 kB` of such a file, in bytes.
fn kib_of(name: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn row(name: &str, predicted: Option<f64>, measured: Option<f64>, show: &dyn Fn(f64) -> String) -> [String; 4] {
    let text = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), show);
    let ratio = match (predicted, measured) {
        (Some(predicted), Some(measured)) if predicted > 0.0 => format!("{:.2}", measured / predicted),
        _ => "–".to_owned(),
    };
    [name.to_owned(), text(predicted), text(measured), ratio]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            parameters: 10_700_000,
            tokens: 4_096_000,
            steps: 1000,
            memory: vec![
                Memory { what: "weights".into(), bytes: 42_800_000 },
                Memory { what: "optimizer state".into(), bytes: 85_600_000 },
            ],
            peak_bytes: 300 << 20,
            seconds: Some(102.4),
            tokens_per_s: Some(40_000.0),
            unit: Unit::Tokens,
            disk_bytes: 250 << 20,
        }
    }

    #[test]
    fn plan_table() {
        let want = "\
plan
  parameters         10.7 M
  steps              1,000
  tokens             4.10 M
  memory             300 MiB at most
    weights          40.8 MiB
    optimizer state  81.6 MiB
  disk               250 MiB
  speed              40,000 tok/s
  time               1 min 42 s
";
        assert_eq!(plan().to_string(), want);
        assert!(Plan::default().table().contains("speed       unknown before the first steps"));
    }

    #[test]
    fn comparison_table() {
        let aside = Aside { waiting: 0.128, evaluating: 2.56, saving: 1.0 };
        let outcome = Outcome {
            tokens: 4_096_000,
            steps: 1000,
            peak_bytes: None,
            seconds: 128.0,
            disk_bytes: Some(260 << 20),
            aside: Some(aside),
        };
        let want = "                 predicted          measured   ratio
memory             300 MiB           unknown       –
disk               250 MiB           260 MiB    1.04
speed         40,000 tok/s      32,000 tok/s    0.80
time            1 min 42 s         2 min 8 s    1.25
of the time 0.1 % waiting for data, 2.0 % evaluating, 0.8 % writing checkpoints
";
        assert_eq!(Comparison { plan: plan(), outcome }.to_string(), want);
        let empty = Comparison { plan: Plan::default(), outcome: Outcome::default() }.to_string();
        assert!(empty.contains("speed              unknown           unknown       –"), "{empty}");
    }

    #[test]
    fn json_round_trip() {
        let text = serde_json::to_string(&plan()).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan());
    }

    #[track_caller]
    fn check(status: &str, want: Option<u64>) {
        assert_eq!(kib_of("VmHWM:", status), want, "{status:?}");
    }

    #[test]
    fn high_water_marks() {
        check("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", Some(2 << 20));
        check("VmHWM: many kB", None);
        check("VmHWM: 99999999999999999999 kB", None);
        check("VmHWM: 18446744073709551615 kB", None);
        check("", None);
        assert_eq!(peak_memory().is_some(), cfg!(target_os = "linux"));
        assert_eq!(resident_memory().is_some(), cfg!(target_os = "linux"));
    }
}
