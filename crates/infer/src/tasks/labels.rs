//! Names of classes.

use bedstone_models::checkpoint::ConfigFile;

use crate::Result;

/// The names of a model's classes: `id2label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    /// Whether the configuration has names; otherwise they are `LABEL_0`, `LABEL_1`, ….
    pub given: bool,
}

impl Labels {
    /// Of a configuration; the classes are as many as a model of it has.
    pub fn of(config: &ConfigFile) -> Result<Self> {
        let Some(map) = config.get("id2label") else {
            let count = config.usize("num_labels")?.unwrap_or(2);
            return Ok(Labels { names: (0..count).map(|i| format!("LABEL_{i}")).collect(), given: false });
        };
        let wrong = || config.wrong("id2label", "an object from \"0\", \"1\", … to names");
        let map = map.as_object().ok_or_else(wrong)?;
        let name = |i: usize| map.get(&i.to_string()).and_then(|name| name.as_str()).ok_or_else(wrong);
        let names: Vec<String> = (0..map.len()).map(|i| Ok(name(i)?.to_owned())).collect::<Result<_>>()?;
        let given = names.iter().enumerate().any(|(i, name)| *name != format!("LABEL_{i}"));
        Ok(Labels { names, given })
    }

    /// The name of a class.
    pub fn name(&self, class: usize) -> &str {
        self.names.get(class).map_or("", String::as_str)
    }

    /// All names in the order of classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, want: Result<(&[&str], bool), &str>) {
        let config = ConfigFile::new("config.json", serde_json::from_str(json).unwrap());
        match (Labels::of(&config), want) {
            (Ok(labels), Ok((names, given))) => {
                assert_eq!((labels.names, labels.given), (names.iter().map(|s| s.to_string()).collect(), given))
            }
            (Err(e), Err(want)) => assert!(e.to_string().contains(want), "{e}"),
            (got, want) => panic!("{got:?}, {want:?}"),
        }
    }

    #[test]
    fn names() {
        check("{}", Ok((&["LABEL_0", "LABEL_1"], false)));
        check(r#"{"num_labels": 1}"#, Ok((&["LABEL_0"], false)));
        check(r#"{"id2label": {"1": "b", "0": "a"}}"#, Ok((&["a", "b"], true)));
        check(r#"{"id2label": {"0": "LABEL_0"}}"#, Ok((&["LABEL_0"], false)));
        check(r#"{"id2label": {"1": "a"}}"#, Err("id2label"));
        check(r#"{"id2label": ["a"]}"#, Err("id2label"));
        check(r#"{"id2label": {"0": 3}}"#, Err("id2label"));
    }
}
