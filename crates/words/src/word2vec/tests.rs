use std::path::Path;

use bedstone_kernels::{Isa, pool};

use bedstone_run::{Ending, Start};

use super::*;
use crate::{
    Vectors,
    testing::{check_company, run},
    vectors::WEIGHTS,
};

const SMALL: &str = "data.stories=1500 vocabulary.min_count=1 model.vector_size=20 train.alpha=0.05 train.sample=0 \
                     train.epochs=6 train.step_words=8192";

fn train(out: &Path, more: &str) -> Result<crate::Report> {
    run(pretrain, out, &format!("{SMALL} {more}"), Start::New, Isa::detect())
}

/// Every kind of training finds which words keep company.
#[test]
fn company_of_words() {
    let dir = tempfile::tempdir().unwrap();
    for (i, more) in [
        "",
        "train.deterministic=true",
        "model.shared_negatives=false",
        "model.hs=true model.negative=0",
        "model.hs=true",
        "model.sg=false train.epochs=20",
        "model.sg=false model.cbow_mean=false train.epochs=20 train.alpha=0.025",
        "model.sg=false model.hs=true model.negative=0 train.epochs=20",
        "subwords.minn=2 subwords.maxn=4 subwords.bucket=500",
        "subwords.minn=3 subwords.maxn=3 subwords.bucket=500 model.hs=true model.negative=0",
        "subwords.minn=3 subwords.maxn=4 subwords.bucket=500 model.sg=false train.epochs=20",
        "model.shrink_windows=false model.window=2",
    ]
    .iter()
    .enumerate()
    {
        let out = dir.path().join(i.to_string());
        let report = train(&out, more).unwrap();
        assert_eq!(report.outcome, Ending::Finished);
        check_company(&out, more, 0.15);
    }
}

#[test]
fn unknown_words_have_vectors_by_their_n_grams() {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path().join("a").as_path(), "subwords.minn=2 subwords.maxn=4 subwords.bucket=500").unwrap();
    let v = Vectors::open(&dir.path().join("a")).unwrap();
    assert!(v.vocab.id("drills").is_none());
    let near = crate::vectors::near::Index::new(&v).similar("drills", 1).unwrap();
    assert_eq!(near[0].word, "drill");
    train(dir.path().join("b").as_path(), "").unwrap();
    let v = Vectors::open(&dir.path().join("b")).unwrap();
    let e = v.vector("drills").unwrap_err().to_string();
    assert_eq!(e, "`drills` is not in the vocabulary of 20 words\nhint: did you mean `drill`?");
}

/// The same bits for any number of threads, and other ones for another seed.
#[test]
fn deterministic() {
    let dir = tempfile::tempdir().unwrap();
    let weights = |name: &str, threads: usize, more: &str| {
        let out = dir.path().join(name);
        pool::with_threads(threads, || train(&out, &format!("train.deterministic=true {more}")).unwrap()).unwrap();
        std::fs::read(out.join(WEIGHTS)).unwrap()
    };
    for more in ["", "model.sg=false", "model.hs=true model.negative=0"] {
        let name = more.len();
        let one = weights(&format!("{name}-1"), 1, more);
        assert!(one == weights(&format!("{name}-3"), 3, more), "{more}");
        assert!(one != weights(&format!("{name}-s"), 1, &format!("{more} train.seed=1")), "{more}");
    }
}

/// One instruction set rounds like another, up to the last bits.
#[test]
fn instruction_sets_agree() {
    let dir = tempfile::tempdir().unwrap();
    let mut first: Option<Vec<f32>> = None;
    for isa in Isa::available().into_iter().take(3) {
        let out = dir.path().join(isa.to_string());
        let settings = format!("{SMALL} train.deterministic=true train.epochs=1 data.stories=300");
        run(pretrain, &out, &settings, Start::New, isa).unwrap();
        let rows = Vectors::open(&out).unwrap().rows().to_vec();
        match &first {
            None => first = Some(rows),
            Some(want) => rows.iter().zip(want).for_each(|(a, b)| assert!((a - b).abs() < 1e-3, "{isa}: {a} {b}")),
        }
    }
}

#[test]
fn going_on_with_new_words() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    train(&first, "").unwrap();
    let old = Vectors::open(&first).unwrap();
    let text = dir.path().join("more.txt");
    std::fs::write(&text, "the goat eats grass near the cat and sleeps\n".repeat(300)).unwrap();
    let (next, settings) =
        (dir.path().join("next"), format!("train.init={} data.paths=[\"{}\"]", first.display(), text.display()));
    let base = "vocabulary.min_count=2 model.vector_size=20 train.sample=0 train.epochs=20 train.alpha=0.025";
    run(pretrain, &next, &format!("{base} {settings}"), Start::New, Isa::detect()).unwrap();
    let new = Vectors::open(&next).unwrap();
    assert_eq!(new.len(), old.len() + 1);
    // What the new text does not speak of stays as it was; output weights of it do, too.
    let row = |v: &Vectors, w: &str| v.row(v.vocab.id(w).unwrap()).to_vec();
    assert_eq!(row(&new, "axe"), row(&old, "axe"));
    assert_ne!(row(&new, "cat"), row(&old, "cat"));
    let near = crate::vectors::near::Index::new(&new);
    let found: Vec<&str> = near.similar("goat", 5).unwrap().iter().map(|n| n.word).collect();
    assert!(found.iter().any(|w| ["cat", "dog", "cow", "hen", "eats", "grass", "sleeps"].contains(w)), "{found:?}");
    // A file of vectors will do as well.
    let file = dir.path().join("v.bin");
    crate::vectors::write::write(&old, crate::vectors::write::Target::Word2VecBinary, &file).unwrap();
    let settings = settings.replace(&first.display().to_string(), &file.display().to_string());
    run(pretrain, &dir.path().join("third"), &format!("{base} {settings}"), Start::New, Isa::detect()).unwrap();
    let wrong = format!("{base} {settings} model.vector_size=30");
    let e = run(pretrain, &dir.path().join("x"), &wrong, Start::New, Isa::detect()).unwrap_err().to_string();
    let want = "v.bin: vectors have 20 dimensions, wanted 30\nhint: go on with --set model.vector_size=20";
    assert!(e.ends_with(want), "{e}");
}

#[test]
fn settings_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    for (more, want) in [
        ("model.negative=0", "`model.negative` is 0, wanted 1 or more, or model.hs = true"),
        ("train.min_alpha=1", "`train.min_alpha` is 1, wanted 0 to train.alpha"),
        ("model.sg=false model.shared_negatives=true", "but has no use here: CBOW has one input a window"),
        ("subwords.minn=4 subwords.maxn=3", "wanted at least subwords.minn"),
        ("model.vectorsize=3", "model.vector_size"),
        ("data.stories=0", "`data.stories` is 0, wanted 1 or more"),
    ] {
        let out = dir.path().join("x");
        let e = train(&out, more).unwrap_err().to_string();
        assert!(e.contains(want), "{more}: {e}");
        assert!(!out.exists());
    }
}

#[test]
fn going_on_with_words_cut_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    let cut = "subwords.minn=3 subwords.maxn=4 subwords.bucket=500";
    train(&first, cut).unwrap();
    let base = format!("vocabulary.min_count=2 model.vector_size=20 train.epochs=1 train.init={}", first.display());
    for other in ["", "subwords.minn=3 subwords.maxn=4 subwords.bucket=400"] {
        let e = run(pretrain, &dir.path().join("x"), &format!("{base} {other}"), Start::New, Isa::detect());
        let e = e.unwrap_err().to_string();
        assert!(e.contains("cut with minn 3, maxn 4, bucket 500\nhint: set subwords.minn=3"), "{other}: {e}");
    }
}
