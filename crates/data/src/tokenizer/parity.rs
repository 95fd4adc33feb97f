//! Recorded cases of the reference: the same ids, tokens, offsets and texts.
//!
//! `parity.json` beside a tokenizer's files holds `tokenizer_cases` and `tokenizer_pairs`, made by `transformers`, and
//! `spm_cases`, made by the SentencePiece library from the raw model.

use super::{Error, Special, Tokenizer};
use serde::Deserialize;
use std::{fmt::Debug, fs, path::Path};

/// How one recorded case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// `tokenizer 3` or `tokenizer pair 0`, with the beginning of the text.
    pub name: String,
    /// What differs, `None` if nothing does.
    pub failure: Option<String>,
}

/// Runs every recorded case of the fixture directory `dir`; empty if `parity.json` records none.
pub fn check_cases(dir: &Path) -> Result<Vec<CaseResult>, Error> {
    let path = dir.join("parity.json");
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let recorded: Recorded = serde_json::from_str(&text)
        .map_err(|e| Error::Parity { path: path.clone(), reason: format!("unexpected content: {e}") })?;
    let (cases, pairs) = (recorded.tokenizer_cases.unwrap_or_default(), recorded.tokenizer_pairs.unwrap_or_default());
    let library = recorded.spm_cases.unwrap_or_default();
    let mut results = Vec::new();
    if !cases.is_empty() || !pairs.is_empty() {
        let tokenizer = Tokenizer::load(dir)?;
        results.extend(cases.iter().enumerate().map(|(i, case)| CaseResult {
            name: format!("tokenizer {i} {:?}", start(&case.text)),
            failure: case.check(&tokenizer).err(),
        }));
        results.extend(pairs.iter().enumerate().map(|(i, pair)| CaseResult {
            name: format!("tokenizer pair {i} {:?}", start(&pair.text)),
            failure: pair.check(&tokenizer).err(),
        }));
    }
    if !library.is_empty() {
        let model = Tokenizer::by_library(dir)?;
        results.extend(library.iter().enumerate().map(|(i, case)| CaseResult {
            name: format!("sentencepiece {i} {:?}", start(&case.text)),
            failure: case.check(&model).err(),
        }));
    }
    Ok(results)
}

#[derive(Deserialize)]
struct Recorded {
    tokenizer_cases: Option<Vec<Case>>,
    tokenizer_pairs: Option<Vec<Pair>>,
    spm_cases: Option<Vec<LibraryCase>>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    ids_no_special: Vec<u32>,
    tokens: Vec<String>,
    offsets: Vec<(usize, usize)>,
    type_ids: Vec<u32>,
    decoded: String,
    decoded_with_special: String,
}

impl Case {
    fn check(&self, tokenizer: &Tokenizer) -> Result<(), String> {
        let got = tokenizer.encode(&self.text, Special::With).map_err(|e| e.to_string())?;
        same("ids", &got.ids, &self.ids)?;
        same("tokens", &got.tokens, &self.tokens)?;
        same("offsets", &got.offsets, &self.offsets)?;
        same("type_ids", &got.type_ids, &self.type_ids)?;
        let plain = tokenizer.encode_ids(&self.text, Special::Without).map_err(|e| e.to_string())?;
        same("ids_no_special", &plain, &self.ids_no_special)?;
        for (name, special, want) in [
            ("decoded", Special::Without, &self.decoded),
            ("decoded_with_special", Special::With, &self.decoded_with_special),
        ] {
            same(name, &tokenizer.decode(&self.ids, special).map_err(|e| e.to_string())?, want)?;
            same(&format!("{name}, streamed"), &streamed(tokenizer, &self.ids, special)?, want)?;
        }
        Ok(())
    }
}

/// What the SentencePiece library gives for a text.
#[derive(Deserialize)]
struct LibraryCase {
    text: String,
    ids: Vec<u32>,
    pieces: Vec<String>,
    /// Bytes; older fixtures do not have them.
    offsets: Option<Vec<(usize, usize)>>,
    decoded: String,
}

impl LibraryCase {
    fn check(&self, tokenizer: &Tokenizer) -> Result<(), String> {
        let got = tokenizer.encode(&self.text, Special::Without).map_err(|e| e.to_string())?;
        same("ids", &got.ids, &self.ids)?;
        same("pieces", &got.tokens, &self.pieces)?;
        if let Some(offsets) = &self.offsets {
            same("offsets", &got.byte_offsets, offsets)?;
        }
        let decoded = tokenizer.decode(&self.ids, Special::Without).map_err(|e| e.to_string())?;
        same("decoded", &decoded, &self.decoded)?;
        same("decoded, streamed", &streamed(tokenizer, &self.ids, Special::Without)?, &self.decoded)
    }
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32], special: Special) -> Result<String, String> {
    let mut stream = tokenizer.stream(special);
    let mut text = String::new();
    for &id in ids {
        text += &stream.push(id).map_err(|e| e.to_string())?;
    }
    Ok(text + &stream.finish().map_err(|e| e.to_string())?)
}

#[derive(Deserialize)]
struct Pair {
    text: String,
    pair: String,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    tokens: Vec<String>,
}

impl Pair {
    fn check(&self, tokenizer: &Tokenizer) -> Result<(), String> {
        let got = tokenizer.encode_pair(&self.text, &self.pair, Special::With).map_err(|e| e.to_string())?;
        same("ids", &got.ids, &self.ids)?;
        same("type_ids", &got.type_ids, &self.type_ids)?;
        same("tokens", &got.tokens, &self.tokens)
    }
}

fn same<T: PartialEq + Debug + ?Sized>(what: &str, got: &T, want: &T) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

fn start(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn directories() -> Vec<PathBuf> {
        let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests"));
        let folders = ["fixtures", "fixtures-extra"].map(|name| fs::read_dir(tests.join(name)).unwrap());
        let mut dirs: Vec<_> = folders.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        dirs.retain(|dir| dir.join("parity.json").exists());
        dirs.sort();
        dirs
    }

    #[track_caller]
    fn check(dir: &Path) -> usize {
        let results = check_cases(dir).unwrap();
        let failures: Vec<_> = results.iter().filter_map(|r| Some((&r.name, r.failure.as_ref()?))).collect();
        assert!(failures.is_empty(), "{}: {} failures, {:#?}", dir.display(), failures.len(), failures);
        results.len()
    }

    #[test]
    fn every_fixture_with_a_tokenizer() {
        let (mut checked, mut alone) = (0, 0);
        for dir in directories() {
            let name = dir.file_name().unwrap().to_string_lossy().into_owned();
            let cases = check(&dir);
            assert!(cases > 0 || !name.starts_with("tokenizer-") && !dir.join("tokenizer.json").exists(), "{name}");
            checked += usize::from(cases > 0);
            alone += usize::from(name.starts_with("tokenizer-"));
        }
        assert!(checked >= 30 && alone >= 20, "{checked} directories, {alone} of them tokenizers alone");
    }

    #[test]
    fn a_wrong_record_is_a_failure() {
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tokenizer-spm-unigram"));
        let dir = tempfile::tempdir().unwrap();
        fs::copy(from.join("spiece.model"), dir.path().join("spiece.model")).unwrap();
        let cases = r#"{"spm_cases": [{"text": "a", "ids": [70], "pieces": ["\u2581a"], "decoded": "a"},
                                      {"text": "a", "ids": [71], "pieces": ["\u2581a"], "decoded": "a"}]}"#;
        fs::write(dir.path().join("parity.json"), cases).unwrap();
        let results = check_cases(dir.path()).unwrap();
        assert_eq!(results[0].failure, None);
        assert_eq!(results[1].failure.as_deref(), Some("ids: got [70], want [71]"));
    }
}
