use std::path::Path;

use bedstone_kernels::pool;
use bedstone_run::Start;

use super::*;
use crate::{
    Vectors,
    testing::{check_company, run},
    vectors::WEIGHTS,
};

const SMALL: &str =
    "data.stories=600 vocabulary.min_count=1 model.vector_size=12 counts.window=5 train.epochs=25 train.x_max=50";

fn train(out: &Path, more: &str) -> Result<crate::Report> {
    run(pretrain, out, &format!("{SMALL} {more}"), Start::New, Isa::detect())
}

#[test]
fn company_of_words() {
    let dir = tempfile::tempdir().unwrap();
    for (i, more) in ["", "counts.symmetric=false", "counts.distance_weighting=false"].iter().enumerate() {
        let out = dir.path().join(i.to_string());
        assert_eq!(train(&out, more).unwrap().outcome, bedstone_run::Ending::Finished);
        if more.is_empty() {
            // Pairs that never meet are no part of the loss, so in a text of two subjects nothing pushes them apart.
            check_company(&out, more, 0.0);
        }
        assert!(!out.join("training/corpus").exists());
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let weights = |name: &str, threads: usize, more: &str| {
        let out = dir.path().join(name);
        pool::with_threads(threads, || train(&out, more).unwrap()).unwrap();
        std::fs::read(out.join(WEIGHTS)).unwrap()
    };
    let one = weights("1", 1, "");
    assert!(one == weights("4", 4, ""));
    assert!(one != weights("seed", 2, "train.seed=3"));
}

#[test]
fn the_sum_of_both_sets_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let report = train(&out, "train.epochs=2").unwrap();
    let v = Vectors::open(&out).unwrap();
    let state = out.join(format!("training/step-{}", report.step));
    let tensors = Tensors::open(&state.join(PARAMETERS)).unwrap();
    let cols = 2 * SharedRows::padded(12);
    let mut sums = vec![vec![0.0; 12]; v.len()];
    for name in ["word.vectors", "context.vectors"] {
        let matrix = tensors.get(name, [v.len(), cols]).unwrap();
        matrix.each_row(|r, x| sums[r].iter_mut().zip(x).for_each(|(s, x)| *s += x));
    }
    for (r, sum) in sums.iter().enumerate() {
        assert_eq!(v.row(r as u32), sum);
    }
}

#[test]
fn losses_fall() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), "").unwrap();
    let lines = bedstone_run::log::read(&dir.path().join("training/log.jsonl")).unwrap();
    let loss = bedstone_run::log::series(&lines, "loss");
    assert_eq!(loss.len(), 25 * ROUNDS);
    let mean = |part: &[(u64, f64)]| part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64;
    assert!(
        mean(&loss[24 * ROUNDS..]) < 0.2 * mean(&loss[..ROUNDS]),
        "{} {}",
        mean(&loss[..ROUNDS]),
        mean(&loss[24 * ROUNDS..])
    );
}

#[test]
fn text_without_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("t.txt");
    std::fs::write(&text, "one\ntwo\none\ntwo\n").unwrap();
    let settings = format!("vocabulary.min_count=1 data.paths=[\"{}\"]", text.display());
    let e = run(pretrain, &dir.path().join("x"), &settings, Start::New, Isa::detect()).unwrap_err().to_string();
    assert!(e.contains("t.txt: no two words of the vocabulary stand in one sentence"), "{e}");
    assert!(!dir.path().join("x").exists());
}
