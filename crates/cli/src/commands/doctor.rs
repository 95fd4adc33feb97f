//! `bedstone doctor`.

use std::{fs, path::Path, process::ExitCode, thread};

use bedstone_data::shards::default_cache_dir;
use bedstone_kernels::gemm::int8_instruction;
use bedstone_run::{space, units};
use bedstone_tensor::{Isa, Level, Precision};
use clap::Args;
use serde_json::{Value, json};

use crate::output;

/// Say what this machine has and what would run on it
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let chosen = Isa::from_env();
    let mut rows: Vec<(String, Value, String)> = Vec::new();
    let mut row = |name: &str, value: Value, text: String| rows.push((name.to_owned(), value, text));
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    row("cpu", cpu().into(), cpu());
    row("cores", cores.into(), cores.to_string());
    for level in Level::ALL {
        let missing = bedstone_kernels::isa::missing(level);
        let text = missing.clone().map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
        row(level.name(), missing.is_none().into(), text);
    }
    match &chosen {
        Ok(isa) => {
            let from = if std::env::var_os("BEDSTONE_ISA").is_some() { "BEDSTONE_ISA" } else { "detected" };
            row(
                "would_run",
                isa.to_string().into(),
                format!("{isa} ({from}), products in {}", Precision::best(*isa).name()),
            );
            let (instruction, rest) = (int8_instruction(*isa), Precision::Int8.rest(*isa).name());
            row("int8", instruction.into(), format!("by {instruction} with --precision int8, the rest in {rest}"));
        }
        Err(e) => {
            row("would_run", Value::Null, e.to_string());
            row("int8", Value::Null, "unknown".to_owned());
        }
    }
    let (total, available) = memory();
    let size = |n: Option<u64>| n.map_or_else(|| "unknown".to_owned(), units::bytes);
    row("memory_bytes", json!(total), format!("{}, {} available", size(total), size(available)));
    let huge = huge_pages();
    row("huge_pages", huge.clone().into(), huge.unwrap_or_else(|| "unknown".into()));
    let here = space::available(Path::new(".")).ok();
    row("disk_bytes", json!(here), format!("{} free in the current directory", size(here)));
    match default_cache_dir() {
        Ok(dir) => row("cache", dir.display().to_string().into(), dir.display().to_string()),
        Err(e) => row("cache", Value::Null, e.to_string()),
    }
    if args.json {
        output::line(Value::Object(rows.into_iter().map(|(name, value, _)| (name, value)).collect()))?;
    } else {
        for (name, _, text) in rows {
            output::line(format!("{:<12} {text}", name.trim_end_matches("_bytes").replace('_', " ")))?;
        }
    }
    // A forced instruction set that is missing is what this command is asked to find.
    Ok(if chosen.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    line.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned())
}

/// Memory in all and what is available, in bytes, where the system tells.
fn memory() -> (Option<u64>, Option<u64>) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    (field("MemTotal"), field("MemAvailable"))
}

fn huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}
