//! Reading a field of JSON rows.

use super::{Error, lines::Lines, source::Source};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::{fmt, path::Path};

/// A reader of one `.jsonl`: a string field of each row, exactly as JSON spells it. Blank lines are passed over.
pub(super) struct Rows(Lines);

impl Rows {
    pub(super) fn open(source: &Source) -> Result<Self, Error> {
        Ok(Self(Lines::new(source.open()?)))
    }

    /// The next document, or `None` at the end.
    pub(super) fn next(&mut self, path: &Path, field: &str) -> Result<Option<String>, Error> {
        while let Some((number, line)) = self.0.next(path)? {
            if !line.trim().is_empty() {
                return parse(line, field).map(Some).map_err(|wrong| wrong.at(path, number, field));
            }
        }
        Ok(None)
    }
}

enum Wrong {
    Json(String),
    NoField(Vec<String>),
    Type(String),
}

impl Wrong {
    fn at(self, path: &Path, line: u64, field: &str) -> Error {
        let (path, field) = (path.to_path_buf(), field.to_string());
        match self {
            Self::Json(reason) => Error::Json { path, line, reason },
            Self::NoField(has) => Error::NoField { path, line, field, has },
            Self::Type(got) => Error::FieldType { path, line, field, got },
        }
    }
}

fn parse(row: &str, field: &str) -> Result<String, Wrong> {
    // The parser counts lines within the row, which the message has already.
    let json = |e: serde_json::Error| Wrong::Json(e.to_string().replace(" at line 1 column", " at column"));
    let mut parser = serde_json::Deserializer::from_str(row);
    let found = Field(field).deserialize(&mut parser).map_err(json)?;
    parser.end().map_err(json)?;
    found
}

/// Picks one field out of an object without keeping the others.
struct Field<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Result<String, Wrong>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Result<String, Wrong>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a string {:?}", self.0)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut found, mut has) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 && found.is_none() {
                found = Some(map.next_value::<serde_json::Value>()?);
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            if has.len() < 8 {
                has.push(key);
            }
        }
        Ok(match found {
            None => Err(Wrong::NoField(has)),
            Some(serde_json::Value::String(text)) => Ok(text),
            Some(other) => Err(Wrong::Type(kind(&other).to_string())),
        })
    }
}

/// What a JSON value is, in words.
pub(crate) fn kind(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
