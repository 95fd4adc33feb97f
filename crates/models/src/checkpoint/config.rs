//! `config.json`: what kind of model a checkpoint holds and how large it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The result of reading `config.json`.
pub type Result<T, E = ConfigError> = std::result::Result<T, E>;

/// What can be wrong with `config.json`; fields of objects within are named with dots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The system refused to read the file.
    #[error("{}: cannot be read: {source}\nhint: name a checkpoint directory, one that holds `config.json`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The file is not JSON, or not an object.
    #[error("{}: not a JSON object: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The reason, with line and column.
        reason: String,
    },

    /// A field that is needed is not there, or is null.
    #[error("{}: field `{field}` is missing, wanted {wanted}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it should be.
        wanted: String,
    },

    /// A field of the wrong type or beyond its bounds.
    #[error("{}: field `{field}` is {got}, wanted {wanted}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value, shortened.
        got: String,
        /// What it should be.
        wanted: String,
    },

    /// The fields do not make the configuration of an architecture.
    #[error("{}: {}{reason}", path.display(), if field.is_empty() { String::new() } else { format!("field `{field}`: ") })]
    Parse {
        /// The file.
        path: PathBuf,
        /// The field, or the object that lacks one; empty for the whole file.
        field: String,
        /// The reason.
        reason: String,
    },

    /// Rotary defaults were asked for an architecture that has none here.
    #[error("{}: no rotary defaults are known for model_type `{model_type}`", path.display())]
    NoRope {
        /// The file.
        path: PathBuf,
        /// The model type.
        model_type: String,
    },
}

/// The fields of `config.json`, or of one object in it, in any released spelling.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// The field in the file that this is, with a dot behind; empty for the whole file.
    prefix: String,
    fields: Map<String, Value>,
}

impl ConfigFile {
    /// Reads `config.json` of a checkpoint directory, or the JSON file of any name at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = path.as_ref().to_owned();
        if path.is_dir() {
            path.push("config.json");
        }
        let text = fs::read(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let fields = serde_json::from_slice(&text)
            .map_err(|e| ConfigError::Json { path: path.clone(), reason: e.to_string() })?;
        Ok(Self::new(path, fields))
    }

    /// The given fields, as if they had been read from `path`.
    pub fn new(path: impl Into<PathBuf>, fields: Map<String, Value>) -> Self {
        Self { path: path.into(), prefix: String::new(), fields }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All fields in the order of the file.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// `model_type`, by which architectures are registered.
    pub fn model_type(&self) -> Result<&str> {
        self.str("model_type")?.ok_or_else(|| self.missing("model_type", "a name such as `llama`"))
    }

    /// `architectures`, the classes that saved the weights; empty if the file does not say.
    pub fn architectures(&self) -> Result<Vec<&str>> {
        let Some(value) = self.get("architectures") else { return Ok(vec![]) };
        let names = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
        names.ok_or_else(|| self.wrong("architectures", "a list of names"))
    }

    /// The element type of the weights, such as `float32`: `dtype`, formerly `torch_dtype`.
    pub fn dtype(&self) -> Result<Option<&str>> {
        Ok(self.str("dtype")?.or(self.str("torch_dtype")?))
    }

    /// The object in `field`, such as `text_config`.
    pub fn section(&self, field: &str) -> Result<Self> {
        let value = self.get(field).ok_or_else(|| self.missing(field, "an object"))?;
        let fields = value.as_object().ok_or_else(|| self.wrong(field, "an object"))?.clone();
        Ok(Self { path: self.path.clone(), prefix: format!("{}{field}.", self.prefix), fields })
    }

    /// All fields as the configuration of an architecture; fields that `T` does not have are ignored.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_path_to_error::deserialize(Value::Object(self.fields.clone())).map_err(|e| {
            let field = match e.path().to_string().as_str() {
                "." => self.prefix.trim_end_matches('.').to_owned(),
                field => self.name(field),
            };
            ConfigError::Parse { path: self.path.clone(), field, reason: e.inner().to_string() }
        })
    }

    /// A field that is not null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A string, if there is one.
    pub fn str(&self, field: &str) -> Result<Option<&str>> {
        let value = self.get(field).map(|v| v.as_str().ok_or_else(|| self.wrong(field, "a string")));
        value.transpose()
    }

    /// A whole number that is not negative, if there is one.
    pub fn usize(&self, field: &str) -> Result<Option<usize>> {
        let number = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        let value = self.get(field).map(|v| number(v).ok_or_else(|| self.wrong(field, "a whole number")));
        value.transpose()
    }

    /// A number, if there is one.
    pub fn f64(&self, field: &str) -> Result<Option<f64>> {
        let value = self.get(field).map(|v| v.as_f64().ok_or_else(|| self.wrong(field, "a number")));
        value.transpose()
    }

    /// A truth value, if there is one.
    pub fn bool(&self, field: &str) -> Result<Option<bool>> {
        let value = self.get(field).map(|v| v.as_bool().ok_or_else(|| self.wrong(field, "true or false")));
        value.transpose()
    }

    /// The field's name as errors show it: with the objects that it is in.
    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }

    /// The same place without fields, for an object that may be left out.
    pub(super) fn without_fields(&self) -> Self {
        Self { path: self.path.clone(), prefix: self.prefix.clone(), fields: Map::new() }
    }

    /// With the fields of `other`, and under its name.
    pub(super) fn overlaid(&self, other: Self) -> Self {
        let mut fields = self.fields.clone();
        fields.extend(other.fields);
        Self { fields, ..other }
    }

    /// The error that `field` is not there.
    pub fn missing(&self, field: &str, wanted: impl Into<String>) -> ConfigError {
        let field = self.name(field);
        ConfigError::Missing { path: self.path.clone(), field, wanted: wanted.into() }
    }

    /// The error that `field` has a value which will not do.
    pub fn wrong(&self, field: &str, wanted: impl Into<String>) -> ConfigError {
        const SHOWN: usize = 80;
        let mut got = self.fields.get(field).map_or("missing".into(), Value::to_string);
        if got.len() > SHOWN {
            got = got.chars().take(SHOWN).chain(['…']).collect();
        }
        let field = self.name(field);
        ConfigError::Field { path: self.path.clone(), field, got, wanted: wanted.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> ConfigFile {
        ConfigFile::new("config.json", value.as_object().unwrap().clone())
    }

    #[test]
    fn every_fixture_names_its_model() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let mut seen = 0;
        for dir in fs::read_dir(fixtures).unwrap() {
            for name in ["config.json", "config.v5.json"] {
                let path = dir.as_ref().unwrap().path().join(name);
                if path.exists() {
                    let config = ConfigFile::open(&path).unwrap();
                    assert!(!config.model_type().unwrap().is_empty(), "{}", path.display());
                    assert!(config.architectures().unwrap().len() <= 1, "{}", path.display());
                    assert!([None, Some("float32")].contains(&config.dtype().unwrap()), "{}", path.display());
                    seen += 1;
                }
            }
        }
        assert!(seen > 30, "{seen} fixtures");
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Tiny {
        hidden_size: usize,
        #[serde(default)]
        bias: bool,
    }

    #[test]
    fn fields_become_a_configuration() {
        let tiny: Tiny = config(json!({"hidden_size": 8, "other": 1})).parse().unwrap();
        assert_eq!(tiny, Tiny { hidden_size: 8, bias: false });
        let both = config(json!({"text_config": {"hidden_size": 4, "bias": true}}));
        assert_eq!(both.section("text_config").unwrap().parse::<Tiny>().unwrap(), Tiny { hidden_size: 4, bias: true });
    }

    #[track_caller]
    fn check<T: std::fmt::Debug>(result: Result<T>, want: &str) {
        assert_eq!(result.unwrap_err().to_string(), format!("config.json: {want}"));
    }

    #[test]
    fn errors_name_file_and_field() {
        let c = config(
            json!({"model_type": 3, "architectures": "A", "torch_dtype": [], "text_config": {"n": -1}, "h": null,
            "hidden_size": "8"}),
        );
        check(c.model_type().map(str::to_owned), "field `model_type` is 3, wanted a string");
        check(c.architectures().map(|a| a.len()), "field `architectures` is \"A\", wanted a list of names");
        check(c.dtype().map(|d| d.is_some()), "field `torch_dtype` is [], wanted a string");
        check(c.section("h"), "field `h` is missing, wanted an object");
        check(c.section("text_config").unwrap().usize("n"), "field `text_config.n` is -1, wanted a whole number");
        check(c.parse::<Tiny>(), "field `hidden_size`: invalid type: string \"8\", expected usize");
        check(config(json!({})).parse::<Tiny>(), "missing field `hidden_size`");
        check(c.section("text_config").unwrap().parse::<Tiny>(), "field `text_config`: missing field `hidden_size`");
        check(
            config(json!({})).model_type().map(str::to_owned),
            "field `model_type` is missing, wanted a name such as `llama`",
        );
    }

    #[test]
    fn files_that_are_no_config() {
        let dir = tempfile::tempdir().unwrap();
        let message = || ConfigFile::open(dir.path()).unwrap_err().to_string();
        assert!(message().contains("config.json: cannot be read") && message().contains("\nhint: "));
        fs::write(dir.path().join("config.json"), "{\"a\": \n").unwrap();
        assert!(message().contains("EOF while parsing a value at line 2 column 0"));
        fs::write(dir.path().join("config.json"), "[1]").unwrap();
        assert!(message().contains("not a JSON object: invalid type: sequence, expected a map"));
    }
}
