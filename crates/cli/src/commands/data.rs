//! `bedstone data`.

use std::{path::PathBuf, process::ExitCode};

use bedstone_run::units;
use bedstone_world::{Classes, Counts, Export, Kind, export};
use clap::{Args, Subcommand};

use crate::output;

/// Write the embedded data set in standard formats
#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The World: a small invented world of scenes and stories
    World(WorldArgs),
}

#[derive(Debug, Args)]
struct WorldArgs {
    /// What to write: stories (JSONL with a field `text`), captions (TSV), sentences (TSV with `text` and `label`), tags
    /// (CoNLL), questions (SQuAD JSON), pairs (TSV with `anchor`, `positive`, `negative`), pictures (PNG, a folder a class) or boxes (PNG and COCO
    /// JSON)
    #[arg(long, value_name = "KIND", value_parser = parse_kind, default_value = "stories")]
    kind: Kind,
    /// What pictures and boxes tell apart: categories (10) or nouns (over 300)
    #[arg(long, value_name = "WHICH", value_parser = parse_classes)]
    classes: Option<Classes>,
    /// The directory to write into; missing or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rows for training
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    count: u64,
    /// Rows for validation, half of them with combinations that training never shows
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    validation: u64,
    /// Another seed, another world
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

fn parse_kind(name: &str) -> Result<Kind, String> {
    name.parse().map_err(|e: bedstone_world::UnknownKind| e.to_string())
}

fn parse_classes(name: &str) -> Result<Classes, String> {
    name.parse().map_err(|e: bedstone_world::UnknownClasses| e.to_string())
}

pub(crate) fn run(args: &DataArgs) -> anyhow::Result<ExitCode> {
    let Action::World(args) = &args.action;
    let counts = Counts { train: args.count, validation: args.validation };
    if args.classes.is_some() && !matches!(args.kind, Kind::Pictures | Kind::Boxes) {
        let text = format!("--classes: has no use with --kind {}, but with pictures and boxes", args.kind.name());
        return Err(output::Usage(text).into());
    }
    let what = Export { kind: args.kind, classes: args.classes.unwrap_or_default(), seed: args.seed, counts };
    let report = export(&what, &args.out)?;
    for file in &report.files {
        output::note(format!(
            "{} rows, {}: {}",
            units::count(file.rows),
            units::bytes(file.bytes),
            file.path.display()
        ));
    }
    output::line(args.out.display())?;
    Ok(ExitCode::SUCCESS)
}
