//! Single values over a recipe: `--set a.b=c`, and flags that stand for a key.

use toml_edit::Key;
pub use toml_edit::Value;

use super::error::RecipeError;

/// One value for one key.
#[derive(Debug, Clone)]
pub struct Setting {
    // As the user wrote it, for errors.
    pub(super) shown: String,
    pub(super) keys: Vec<String>,
    pub(super) value: Value,
}

impl Setting {
    /// The key that is set, such as `train.lr`.
    pub fn key(&self) -> String {
        self.keys.join(".")
    }

    /// Reads `a.b=c`, the argument of `--set`: `c` is a TOML value, and what is none is text.
    ///
    /// `train.lr=3e-4`, `train.decay=false`, `data.files=["a", "b"]`, `optimizer={lr=0.1}`, `train.schedule=cosine`,
    /// `data.file=a b.txt` and `name="3"` all work. Dates are text, too, since no recipe has use for dates.
    ///
    /// # Errors
    /// There is no `=`, the key is no TOML key, or a value that opens with a quote or bracket is broken.
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        let wrong = |problem: String| RecipeError::Setting { text: text.to_owned(), problem };
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("wanted `key=value`".to_owned()))?;
        let keys = Key::parse(key.trim()).map_err(|e| wrong(format!("`{key}` is not a key: {}", e.message())))?;
        let value = match value.trim().parse::<Value>() {
            Ok(Value::Datetime(_)) => Value::from(value.trim()),
            Ok(value) => value,
            Err(e) if value.trim_start().starts_with(['[', '{', '"', '\'']) => {
                return Err(wrong(format!("`{value}` is not a TOML value: {}", e.message())));
            }
            Err(_) => Value::from(value.trim()),
        };
        let keys = keys.iter().map(|key| key.get().to_owned()).collect();
        Ok(Self { shown: format!("--set {text}"), keys, value })
    }

    /// The value of a flag that stands for a key: `flag("--steps 10", "train.steps", 10)`; errors name the flag.
    pub fn flag(shown: impl Into<String>, key: &str, value: impl Into<Value>) -> Self {
        let keys = key.split('.').map(str::to_owned).collect();
        Self { shown: shown.into(), keys, value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, keys: &[&str], value: &str) {
        let setting = Setting::parse(text).unwrap();
        assert_eq!(setting.keys, keys);
        assert_eq!(setting.value.to_string().trim(), value, "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, want: &str) {
        let got = Setting::parse(text).unwrap_err().to_string();
        assert!(got.starts_with(want), "{got}");
    }

    #[test]
    fn toml_values() {
        check("a.b=1", &["a", "b"], "1");
        check("a = 3e-4 ", &["a"], "3e-4");
        check("a=true", &["a"], "true");
        check("a=\"3\"", &["a"], "\"3\"");
        check("a=['x', 2]", &["a"], "['x', 2]");
        check("a={b=1}", &["a"], "{b=1}");
        check("\"a.b\".c=1", &["a.b", "c"], "1");
    }

    #[test]
    fn bare_words_are_text() {
        check("a=cosine", &["a"], "\"cosine\"");
        check("a=b=c", &["a"], "\"b=c\"");
        check("a=some dir/file.txt", &["a"], "\"some dir/file.txt\"");
        check("a=", &["a"], "\"\"");
        check("a=True", &["a"], "\"True\"");
        check("a=2026-01-01", &["a"], "\"2026-01-01\"");
        check("a=1.2.3", &["a"], "\"1.2.3\"");
        check("a=数", &["a"], "\"数\"");
    }

    #[test]
    fn broken_settings() {
        check_error("steps", "--set steps: wanted `key=value`");
        check_error("=1", "--set =1: `` is not a key");
        check_error("a b=1", "--set a b=1: `a b` is not a key");
        check_error("a..b=1", "--set a..b=1: `a..b` is not a key");
        check_error("a=[1, 2", "--set a=[1, 2: `[1, 2` is not a TOML value");
        check_error("a=\"x", "--set a=\"x: `\"x` is not a TOML value");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC*") {
            let _ = Setting::parse(&text);
        }
    }
}
