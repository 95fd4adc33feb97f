//! Numbers as people read them.

use serde::{Deserialize, Serialize};

/// `12345` as `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `124439808` as `124 M`: three digits of a number whose size matters more than its digits.
pub fn short_count(n: u64) -> String {
    scaled(n, 1000, &["", " k", " M", " G", " T", " P", " E"])
}

/// `1536` as `1.50 KiB`.
pub fn bytes(n: u64) -> String {
    scaled(n, 1024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// `80.2` as `1 min 20 s`: the two largest units; below a minute seconds only.
///
/// What is no time (NaN, infinite or negative) is `unknown`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let s = seconds.round() as u64;
    let (minute, hour, day) = (60, 3600, 86400);
    match s {
        _ if s < minute => format!("{s} s"),
        _ if s < hour => two(s / minute, "min", s % minute, "s"),
        _ if s < day => two(s / hour, "h", s % hour / minute, "min"),
        _ => two(s / day, "d", s % day / hour, "h"),
    }
}

/// A rate such as tokens per second: `12,345`, below ten with one decimal.
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        "unknown".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        count(per_second.round() as u64)
    }
}

/// What the speed of a run counts. Everywhere but for people it is tokens: places that go through the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Tokens of texts.
    #[default]
    Tokens,
    /// Words of a text that is gone through.
    Words,
    /// Pictures of so many tokens each.
    Pictures(u64),
}

impl Unit {
    /// A speed: `12,345 tok/s`, `4.7 pictures/s`.
    pub fn speed(self, tokens_per_s: f64) -> String {
        let (name, each) = self.counted();
        let name = if self == Unit::Tokens { "tok" } else { name };
        format!("{} {name}/s", rate(tokens_per_s / each as f64))
    }

    /// What so many tokens are, and how many of it.
    pub fn amount(self, tokens: u64) -> (&'static str, u64) {
        let (name, each) = self.counted();
        (name, tokens / each)
    }

    /// What is counted, and how many tokens one of it is.
    pub fn counted(self) -> (&'static str, u64) {
        match self {
            Unit::Tokens => ("tokens", 1),
            Unit::Words => ("words", 1),
            Unit::Pictures(tokens) => ("pictures", tokens.max(1)),
        }
    }
}

fn two(a: u64, a_unit: &str, b: u64, b_unit: &str) -> String {
    if b == 0 { format!("{a} {a_unit}") } else { format!("{a} {a_unit} {b} {b_unit}") }
}

/// `n` with three significant digits and the unit that fits.
fn scaled(n: u64, base: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    // 999.5 would be rounded to four digits.
    while value >= (base as f64).min(999.5) && unit + 1 < units.len() {
        value /= base as f64;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: String, want: &str) {
        assert_eq!(got, want);
    }

    #[test]
    fn counts() {
        check(count(0), "0");
        check(count(999), "999");
        check(count(1000), "1,000");
        check(count(1234567), "1,234,567");
        check(short_count(999), "999");
        check(short_count(1500), "1.50 k");
        check(short_count(124_439_808), "124 M");
        check(short_count(999_999), "1.00 M");
        check(short_count(u64::MAX), "18.4 E");
    }

    #[test]
    fn sizes() {
        check(bytes(0), "0 B");
        check(bytes(1023), "1.00 KiB");
        check(bytes(1536), "1.50 KiB");
        check(bytes(500 << 20), "500 MiB");
        check(bytes(3 << 30), "3.00 GiB");
        check(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn times() {
        check(duration(0.0), "0.0 s");
        check(duration(9.96), "10 s");
        check(duration(59.4), "59 s");
        check(duration(59.6), "1 min");
        check(duration(80.2), "1 min 20 s");
        check(duration(7500.0), "2 h 5 min");
        check(duration(90_000.0), "1 d 1 h");
        check(duration(f64::NAN), "unknown");
        check(duration(-1.0), "unknown");
        check(rate(12345.4), "12,345");
        check(rate(0.25), "0.2");
        check(rate(f64::INFINITY), "unknown");
    }

    #[test]
    fn speeds_and_amounts() {
        for (unit, speed, amount) in [
            (Unit::Tokens, "12,800 tok/s", ("tokens", 640)),
            (Unit::Words, "12,800 words/s", ("words", 640)),
            (Unit::Pictures(64), "200 pictures/s", ("pictures", 10)),
        ] {
            assert_eq!((&unit.speed(12_800.0)[..], unit.amount(640)), (speed, amount));
        }
        assert_eq!(Unit::Pictures(197).speed(650.0), "3.3 pictures/s");
        assert_eq!(Unit::Pictures(0).speed(f64::NAN), "unknown pictures/s");
    }
}
