//! Word vectors in a test.

use std::{path::Path, process::ExitCode};

use bedstone_words::vectors::judge;
use serde_json::json;

use super::EvalArgs;
use crate::{model::word_vectors, output};

/// What word vectors are asked.
#[derive(Clone, Copy)]
pub(super) enum Test {
    Analogy,
    Similarity,
}

/// Words among which answers are looked for, as in word2vec's own test.
const RESTRICT: usize = 30_000;

/// A test of word vectors.
pub(super) fn run(args: &EvalArgs, data: &Path, test: Test) -> anyhow::Result<ExitCode> {
    args.runtime.exact()?;
    let vectors = word_vectors(&args.model)?;
    match test {
        Test::Analogy => {
            let found = judge::analogies(&vectors, data, args.restrict.unwrap_or(RESTRICT))?;
            let row = |s: &judge::Section| json!({"section": s.name, "accuracy": s.accuracy(), "correct": s.correct, "asked": s.asked, "total": s.total});
            if args.json {
                let sections: Vec<_> = found.sections.iter().map(row).collect();
                let (semantic, syntactic) = (row(&found.semantic), row(&found.syntactic));
                let object = json!({
                    "accuracy": found.all.accuracy(), "correct": found.all.correct, "asked": found.all.asked,
                    "total": found.all.total, "semantic": semantic, "syntactic": syntactic, "sections": sections,
                });
                output::line(object)?;
                return Ok(ExitCode::SUCCESS);
            }
            for s in found.sections.iter().chain([&found.semantic, &found.syntactic, &found.all]) {
                let share = 100.0 * s.accuracy();
                output::line(format!(
                    "{:<28} {share:>6.2} %  {:>5} of {:>5} asked, {} in the file",
                    s.name, s.correct, s.asked, s.total
                ))?;
            }
        }
        Test::Similarity => {
            let s = judge::similarities(&vectors, data)?;
            if args.json {
                output::line(serde_json::to_string(&s)?)?;
                return Ok(ExitCode::SUCCESS);
            }
            output::line(format!("spearman        {:.4}", s.spearman))?;
            output::line(format!("pearson         {:.4}", s.pearson))?;
            output::line(format!("pairs           {} of {} have both words", s.pairs, s.total))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
