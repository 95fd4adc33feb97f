//! Running the program in a folder of its own, and looking at what it said.

// Each test file uses its own part of this one, which is a module of each.
#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// A GPT that trains hundreds of steps a second. `train.steps` and everything else can be set over it.
const TINY: &str = "\
[data]
stories = 200
[tokenizer]
vocab_size = 400
[model]
n_embd = 48
n_layer = 2
n_head = 4
[train]
context = 32
batch = 4
steps = 6
warmup = 2
";

/// The same as a Llama.
const TINY_LLAMA: &str = "\
[data]
stories = 200
[tokenizer]
vocab_size = 400
[model]
hidden_size = 48
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
intermediate_size = 96
[train]
context = 32
batch = 4
steps = 6
warmup = 2
";

/// An empty folder with a cache of its own, in which the program runs; `tiny.toml` and `tiny-llama.toml` lie there.
pub struct Place {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// How a process ended and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
        place.write("tiny.toml", TINY);
        place.write("tiny-llama.toml", TINY_LLAMA);
        place
    }

    /// Sets an environment variable for all that run here from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The names in a folder, sorted; none if it is not there.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A copy of the checkpoint (not the run) in `from`.
    pub fn copy_checkpoint(&self, from: &str, to: &str) {
        let _ = fs::remove_dir_all(self.path(to));
        for name in self.names(from).into_iter().filter(|name| name != "training") {
            self.write(&format!("{to}/{name}"), self.read(&format!("{from}/{name}")));
        }
    }

    /// Puts text in the place of other text that is there once.
    #[track_caller]
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.text(name);
        assert_eq!(text.matches(old).count(), 1, "{name}: {old}");
        self.write(name, text.replace(old, new));
    }

    /// `bedstone LINE`, not started; words with spaces stand in single quotes.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bedstone"));
        command.args(words(line));
        self.prepare(&mut command);
        command
    }

    /// `SCRIPT` by the system's shell, where `"$@"` is `bedstone LINE`.
    pub fn shell(&self, script: &str, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(assert_cmd::cargo::cargo_bin!("bedstone")).args(words(line));
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("BEDSTONE_CACHE", "cache").env("TMPDIR", self.dir.path()).env("COLUMNS", "100");
        // No test asks a hub but one of its own.
        command.env("HF_HOME", "hf").env("HF_HUB_OFFLINE", "1");
        let hub = ["HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "SSL_CERT_FILE"];
        let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        for name in
            ["BEDSTONE_ISA", "NO_COLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE"].into_iter().chain(hub).chain(proxies)
        {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    /// Runs `bedstone LINE` to its end.
    pub fn run(&self, line: &str) -> Ended {
        ended(self.command(line).output().unwrap())
    }

    /// Runs it with this on the standard input.
    pub fn run_with(&self, line: &str, stdin: impl AsRef<[u8]>) -> Ended {
        let mut child = self.spawn(self.command(line).stdin(Stdio::piped()));
        // A program that refuses its arguments reads nothing.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
        ended(child.wait_with_output().unwrap())
    }

    /// Starts it with both outputs kept.
    pub fn spawn(&self, command: &mut Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs it and wants success.
    #[track_caller]
    pub fn done(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.code, Some(0), "bedstone {line}\n{}", ended.stderr);
        ended
    }

    /// Runs it and wants this failure: the last lines of stderr, word by word, and nothing on stdout.
    #[track_caller]
    pub fn fails(&self, line: &str, code: i32, want: &str) {
        self.run(line).failed(line, code, want);
    }

    /// Runs it, wants success, and gives the only JSON object on stdout.
    #[track_caller]
    pub fn json_of(&self, line: &str) -> Value {
        self.done(line).json().pop().unwrap()
    }

    /// A fresh tiny GPT in `out`.
    #[track_caller]
    pub fn train(&self, out: &str, more: &str) -> Ended {
        self.done(&format!("pretrain gpt --config tiny.toml --out {out} {more}"))
    }

    /// The log's lines.
    #[track_caller]
    pub fn log(&self, run: &str) -> Vec<Value> {
        let text = self.text(&format!("{run}/training/log.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The training losses.
    #[track_caller]
    pub fn losses(&self, run: &str) -> Vec<f64> {
        self.log(run).iter().filter_map(|line| line.get("loss")?.as_f64()).collect()
    }

    /// The name of the committed checkpoint.
    pub fn latest(&self, run: &str) -> Option<String> {
        fs::read_to_string(self.path(&format!("{run}/training/latest"))).ok().map(|name| name.trim_end().to_owned())
    }
}

impl Ended {
    #[track_caller]
    pub fn failed(&self, line: &str, code: i32, want: &str) {
        assert_eq!(self.error(), want, "bedstone {line}\n{}", self.stderr);
        assert_eq!((self.code, &self.stdout[..]), (Some(code), ""), "bedstone {line}");
        assert_eq!(self.stderr.matches("error:").count(), 1, "one error: bedstone {line}\n{}", self.stderr);
    }

    /// From `error: ` on, without that.
    pub fn error(&self) -> &str {
        self.stderr.split_once("error: ").map_or("", |(_, text)| text.trim_end())
    }

    /// The JSON objects on stdout.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }
}

pub fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The keys of an object, in its order.
#[track_caller]
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Waits until something holds.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What a machine, a moment or an instruction set decides becomes `#`: measured numbers, hashes, the sample's text.
pub fn redact(text: &str) -> String {
    const UNITS: [&str; 11] = ["tok/s", "s", "min", "h", "B", "KiB", "MiB", "GiB", "TiB", "k", "tokens"];
    let text = text.split_once("sample:\n").map_or(text, |(before, _)| before);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        // How long a step waits for data and how much time is left is said only where there is something to say.
        let line = match line.split_once("tok/s  ").filter(|_| line.starts_with("step ")) {
            Some((figures, _)) => format!("{figures}tok/s"),
            None => line.to_owned(),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let shown = (0..words.len()).map(|at| {
            let number = words[at].trim_matches(['(', ')', ',']);
            let numeric = number.starts_with(|c: char| c.is_ascii_digit())
                && number.chars().all(|c| c.is_ascii_digit() || ".,e-".contains(c));
            let unit = words.get(at + 1).is_some_and(|next| UNITS.contains(&next.trim_matches([')', ','])));
            if numeric && (unit || number.contains('.')) { words[at].replace(number, "#") } else { hashes(words[at]) }
        });
        lines.push(shown.collect::<Vec<_>>().join(" "));
    }
    // A slow machine shows more steps than the first and the last one.
    lines.retain(|line| match line.strip_prefix("step ").and_then(|rest| rest.split_once(" loss")) {
        Some((at, _)) => at.split_once('/').is_none_or(|(step, of)| step == "1" || step == of),
        None => true,
    });
    lines.join("\n")
}

/// The word with the name of a token cache in it as `#`.
fn hashes(word: &str) -> String {
    let parts = word.split('/').map(|part| {
        let hash = part.len() == 32 && part.chars().all(|c| c.is_ascii_hexdigit());
        if hash { "#" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        // Every second part was in quotes.
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
