//! The name of a model on the hub.

use std::{fmt, str::FromStr};

/// `name`, `org/name`, or either with `@revision`: a branch, a tag, a commit, or `refs/pr/N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// `name` or `org/name`.
    pub repo: String,
    /// `main` unless given.
    pub revision: String,
}

/// The text is no name that the hub would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name of a model: wanted `org/name` or `org/name@revision`")]
pub struct NoId;

/// Endings that mean a file, where a name has no organisation.
const FILES: [&str; 7] = [".json", ".safetensors", ".bin", ".model", ".txt", ".toml", ".gguf"];

impl FromStr for ModelId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let parts: Vec<&str> = repo.split('/').collect();
        let named = match parts[..] {
            [name] => is_name(name) && !FILES.iter().any(|ending| name.ends_with(ending)),
            // Where runs go by themselves, names are those of runs.
            [org, name] => is_name(org) && is_name(name) && org != bedstone_run::dir::RUNS,
            _ => false,
        };
        let revised = revision.split('/').all(is_component);
        if named && revised && repo.len() <= 96 {
            Ok(Self { repo: repo.to_owned(), revision: revision.to_owned() })
        } else {
            Err(NoId)
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        if self.revision != "main" { write!(f, "@{}", self.revision) } else { Ok(()) }
    }
}

/// Letters, digits, `-`, `_` and `.`, by the hub's rules.
fn is_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-' && c != '.');
    is_component(name)
        && edge(name.chars().next())
        && edge(name.chars().last())
        && !name.contains("--")
        && !name.contains("..")
        && !name.ends_with(".git")
}

/// Whether the text is safe as a file's name and in an address: no way out of a folder, nothing to escape.
pub(crate) fn is_component(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, want: Option<(&str, &str)>) {
        let got = text.parse::<ModelId>().ok();
        assert_eq!(got.as_ref().map(|id| (&id.repo[..], &id.revision[..])), want, "{text:?}");
    }

    #[test]
    fn ids() {
        check("gpt2", Some(("gpt2", "main")));
        check("openai-community/gpt2", Some(("openai-community/gpt2", "main")));
        check("Qwen/Qwen2.5-0.5B_x@v1.0", Some(("Qwen/Qwen2.5-0.5B_x", "v1.0")));
        check("a/b@refs/pr/1", Some(("a/b", "refs/pr/1")));
    }

    #[test]
    fn paths_are_no_ids() {
        let paths = ["", ".", "..", "./a", "../a", "/a", "a/", "a//b", "a/b/c", "~/a", "a\\b", "runs/gpt", "a b", "-"];
        paths.into_iter().for_each(|text| check(text, None));
        let files = ["tokenizer.json", "model.safetensors", "a.bin", "spiece.model", "tiny.toml"];
        files.into_iter().for_each(|text| check(text, None));
        let refused = ["a--b", "a..b", "a.git", "-a", "a-", ".a", "a.", "é", "a@", "a@b/", "a@../b", "a@b@c", "a/b?c"];
        refused.into_iter().for_each(|text| check(text, None));
        check(&"a".repeat(97), None);
    }

    #[test]
    fn shown_as_written() {
        for text in ["gpt2", "a/b", "a/b@v2"] {
            assert_eq!(text.parse::<ModelId>().unwrap().to_string(), text);
        }
    }

    proptest! {
        /// Whatever is taken for an id leaves no folder of the cache and needs no escaping.
        #[test]
        fn ids_are_harmless(text in "[ab./@%\\-~ ]{0,12}") {
            if let Ok(id) = text.parse::<ModelId>() {
                for part in id.repo.split('/').chain(id.revision.split('/')) {
                    prop_assert!(!part.is_empty() && !part.starts_with('.') && !part.contains(['%', ' ', '~']));
                }
            }
        }
    }
}
