//! The fixtures of the project.

use std::path::{Path, PathBuf};

use bedstone_infer::Runtime;
use bedstone_models::Architecture;
use bedstone_tensor::{Isa, Precision};

use super::*;

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(folder);
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    dirs
}

/// Those of architectures that are registered; the others wait for theirs.
fn registered(dirs: Vec<PathBuf>) -> Vec<PathBuf> {
    let known = |dir: &PathBuf| {
        let config = ConfigFile::open(dir).ok()?;
        Architecture::by_model_type(config.model_type().ok()?).map(|_| ())
    };
    dirs.into_iter().filter(|d| known(d).is_some()).collect()
}

#[track_caller]
fn check_all(dirs: &[PathBuf], isa: Isa) {
    let mut failures = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        if precision == Precision::Bf16 && !isa.has_bf16() {
            continue;
        }
        let at = format!("{isa} {}", precision.name());
        for dir in dirs {
            let name = dir.file_name().unwrap().to_string_lossy().into_owned();
            let cases = check(dir, Runtime { isa, precision });
            failures.extend(cases.iter().filter(|c| !c.passed()).map(|c| format!("{at} {name}: {c}")));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn fixtures_pass() {
    let dirs = registered(fixtures("fixtures"));
    assert!(dirs.len() >= 9, "{dirs:?}");
    for isa in Isa::available() {
        check_all(&dirs, isa);
    }
}

#[test]
fn fixtures_of_other_configurations_pass() {
    let dirs = registered(fixtures("fixtures-extra"));
    assert!(dirs.len() >= 40, "{dirs:?}");
    for isa in Isa::available() {
        check_all(&dirs, isa);
    }
}

#[test]
fn tokenizers_alone_pass() {
    let alone = |dir: &PathBuf| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tokenizer-"));
    let dirs: Vec<_> = ["fixtures", "fixtures-extra"].into_iter().flat_map(fixtures).filter(alone).collect();
    assert!(dirs.len() >= 20, "{dirs:?}");
    check_all(&dirs, Isa::PORTABLE);
}

#[test]
fn an_unknown_architecture_is_a_failure_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"model_type": "hal9000"}"#).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    std::fs::write(dir.path().join("trace.json"), "{").unwrap();
    let cases = check(dir.path(), Runtime { isa: Isa::PORTABLE, precision: Precision::F32 });
    assert!(cases.iter().all(|c| !c.passed()), "{cases:?}");
    std::fs::remove_file(dir.path().join("trace.json")).unwrap();
    std::fs::write(dir.path().join("parity.json"), "{}").unwrap();
    std::fs::write(dir.path().join("parity.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    let cases = check(dir.path(), Runtime { isa: Isa::PORTABLE, precision: Precision::F32 });
    assert!(cases[0].to_string().contains("model_type `hal9000` is not known here"), "{}", cases[0]);
}
