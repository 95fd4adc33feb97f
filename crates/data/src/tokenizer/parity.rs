//! Recorded cases of the reference: the same ids, tokens, offsets and texts.
//!
//! `parity.json` beside a `tokenizer.json` holds `tokenizer_cases` and `tokenizer_pairs`, made by `transformers`.

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
    if cases.is_empty() && pairs.is_empty() && recorded.spm_cases.is_none() {
        return Ok(Vec::new());
    }
    let tokenizer = Tokenizer::load(dir)?;
    let singles = cases.iter().enumerate().map(|(i, case)| CaseResult {
        name: format!("tokenizer {i} {:?}", start(&case.text)),
        failure: case.check(&tokenizer).err(),
    });
    let doubles = pairs.iter().enumerate().map(|(i, pair)| CaseResult {
        name: format!("tokenizer pair {i} {:?}", start(&pair.text)),
        failure: pair.check(&tokenizer).err(),
    });
    Ok(singles.chain(doubles).collect())
}

#[derive(Deserialize)]
struct Recorded {
    tokenizer_cases: Option<Vec<Case>>,
    tokenizer_pairs: Option<Vec<Pair>>,
    spm_cases: Option<serde::de::IgnoredAny>,
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
            let mut stream = tokenizer.stream(special);
            let mut text = String::new();
            for &id in &self.ids {
                text += &stream.push(id).map_err(|e| e.to_string())?;
            }
            text += &stream.finish().map_err(|e| e.to_string())?;
            same(&format!("{name}, streamed"), &text, want)?;
        }
        Ok(())
    }
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

    #[test]
    fn every_fixture_with_a_tokenizer() {
        let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures"));
        let mut dirs: Vec<_> = fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        let mut checked = 0;
        for dir in dirs.iter().filter(|dir| dir.join("tokenizer.json").exists()) {
            let results = check_cases(dir).unwrap();
            assert!(!results.is_empty(), "{}", dir.display());
            for result in &results {
                assert_eq!(result.failure, None, "{} {}", dir.display(), result.name);
            }
            checked += results.len();
        }
        assert!(checked > 0, "no fixtures in {}", fixtures.display());
    }

    #[test]
    fn sentencepiece_alone_is_named() {
        let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tokenizer-spm-unigram"));
        let error = check_cases(dir).unwrap_err();
        assert!(error.hint().unwrap().contains("SentencePiece"), "{error}");
    }
}
