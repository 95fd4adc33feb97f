//! Settings of generation, under their names in `generation_config.json`.

use std::{fs, io, path::Path};

use serde::{Deserialize, Deserializer};

use crate::{InferError, Result};

/// How text is generated; the names and meanings are those of `transformers`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct GenerationConfig {
    /// The most tokens to add.
    #[serde(deserialize_with = "or_default")]
    pub max_new_tokens: Option<usize>,
    /// The longest result, prompt included, where `max_new_tokens` is not given.
    #[serde(deserialize_with = "or_default")]
    pub max_length: Option<usize>,
    /// No end before the result, prompt included, has this length.
    #[serde(deserialize_with = "or_default")]
    pub min_length: usize,
    /// No end before this many tokens were added.
    #[serde(deserialize_with = "or_default")]
    pub min_new_tokens: Option<usize>,
    /// Whether tokens are drawn; otherwise the likeliest is taken.
    #[serde(deserialize_with = "or_default")]
    pub do_sample: bool,
    /// Logits are divided by this before drawing.
    #[serde(deserialize_with = "or_one")]
    pub temperature: f32,
    /// Draw from this many likeliest tokens only; 0 for all.
    #[serde(deserialize_with = "or_default")]
    pub top_k: usize,
    /// Draw from the likeliest tokens that have this probability together,
    /// [Holtzman et al. 2019](https://arxiv.org/abs/1904.09751).
    #[serde(deserialize_with = "or_one")]
    pub top_p: f32,
    /// Draw from tokens with at least this share of the likeliest token's probability.
    #[serde(deserialize_with = "or_default")]
    pub min_p: f32,
    /// Logits of tokens seen are divided by this if positive, else multiplied,
    /// [Keskar et al. 2019](https://arxiv.org/abs/1909.05858).
    #[serde(deserialize_with = "or_one")]
    pub repetition_penalty: f32,
    /// No run of this many tokens comes twice; 0 for no such rule.
    #[serde(deserialize_with = "or_default")]
    pub no_repeat_ngram_size: usize,
    /// Continuations kept in parallel; 1 for none.
    #[serde(deserialize_with = "or_one_beam")]
    pub num_beams: usize,
    /// Best beams returned.
    #[serde(deserialize_with = "or_one_beam")]
    pub num_return_sequences: usize,
    /// A beam's score is its log-probability divided by its length to this power.
    #[serde(deserialize_with = "or_one")]
    pub length_penalty: f32,
    /// When beam search ends.
    #[serde(deserialize_with = "or_default")]
    pub early_stopping: EarlyStopping,
    /// Ids that end a sequence.
    #[serde(deserialize_with = "one_or_more")]
    pub eos_token_id: Vec<i32>,
    /// The id that fills up shorter sequences.
    pub pad_token_id: Option<i32>,
    /// The id that starts a sequence.
    pub bos_token_id: Option<i32>,
    /// Draws are repeated exactly with the same seed.
    #[serde(skip)]
    pub seed: u64,
}

/// When beam search ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When no running beam looks better than the worst finished one.
    #[default]
    Heuristic,
    /// As soon as there are as many finished beams as were asked for.
    Full,
    /// When no running beam can get better than the worst finished one, however long it grows.
    Never,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        GenerationConfig {
            max_new_tokens: None,
            max_length: None,
            min_length: 0,
            min_new_tokens: None,
            do_sample: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            num_beams: 1,
            num_return_sequences: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Heuristic,
            eos_token_id: Vec::new(),
            pad_token_id: None,
            bos_token_id: None,
            seed: 0,
        }
    }
}

/// More beams than anyone has use for: their scores would take all memory.
const MOST_BEAMS: usize = 1024;

impl GenerationConfig {
    /// Of a checkpoint directory: `generation_config.json`, and ids that only `config.json` has.
    pub fn of_checkpoint(dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            match fs::read(&path) {
                Ok(text) => serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&text)
                    .map_err(|e| InferError::Config { path, reason: e.to_string() }),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
                Err(e) => Err(InferError::Config { path, reason: e.to_string() }),
            }
        };
        let (mut fields, config) = (read("generation_config.json")?, read("config.json")?);
        for id in ["eos_token_id", "pad_token_id", "bos_token_id"] {
            if let (None, Some(value)) = (fields.get(id).filter(|v| !v.is_null()), config.get(id)) {
                fields.insert(id.to_owned(), value.clone());
            }
        }
        if let Some((name, value)) = fields.iter().find(|(name, value)| is_unknown_setting(name, value)) {
            let reason =
                format!("`{name}`: {value} changes what is generated and is not known here, wanted it left out");
            return Err(InferError::Config { path: dir.join("generation_config.json"), reason });
        }
        Self::from_fields(fields)
            .map_err(|reason| InferError::Config { path: dir.join("generation_config.json"), reason })
    }

    /// From fields as `generation_config.json` has them.
    pub fn from_fields(fields: serde_json::Map<String, serde_json::Value>) -> Result<Self, String> {
        serde_json::from_value(serde_json::Value::Object(fields)).map_err(|e| e.to_string())
    }

    /// An error that names the first setting out of its bounds.
    pub fn check(&self) -> Result<()> {
        let rules = [
            (
                "temperature",
                self.temperature > 0.0 && self.temperature.is_finite(),
                self.temperature.to_string(),
                "above 0 (greedy is a choice of its own)",
            ),
            ("top_p", self.top_p > 0.0 && self.top_p <= 1.0, self.top_p.to_string(), "above 0 and at most 1"),
            ("min_p", (0.0..=1.0).contains(&self.min_p), self.min_p.to_string(), "0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
                self.repetition_penalty.to_string(),
                "above 0",
            ),
            ("num_beams", (1..=MOST_BEAMS).contains(&self.num_beams), self.num_beams.to_string(), "1 to 1024"),
            ("length_penalty", self.length_penalty.is_finite(), self.length_penalty.to_string(), "a finite number"),
            (
                "min_new_tokens",
                self.max_new_tokens.is_none_or(|most| self.min_new_tokens.is_none_or(|least| least <= most)),
                self.min_new_tokens.unwrap_or(0).to_string(),
                "at most max_new_tokens",
            ),
            (
                "num_return_sequences",
                (1..=self.num_beams).contains(&self.num_return_sequences),
                self.num_return_sequences.to_string(),
                "1 to num_beams",
            ),
            ("do_sample", !(self.do_sample && self.num_beams > 1), "true with beams".into(), "false with beams"),
        ];
        match rules.into_iter().find(|(_, holds, ..)| !holds) {
            Some((name, _, got, wanted)) => Err(InferError::Setting { name, got, wanted: wanted.into() }),
            None => Ok(()),
        }
    }

    /// How long a result gets, from the length of its prompt.
    pub fn length(&self, prompt: usize) -> usize {
        match (self.max_new_tokens, self.max_length) {
            (Some(new), _) => prompt.saturating_add(new),
            (None, Some(length)) => length.max(prompt),
            // As `transformers`: 20 tokens more.
            (None, None) => prompt + 20,
        }
    }
}

/// Settings of the reference that change what is generated and that are not served: each with the value that means
/// "off" beside null, false and empty lists.
const UNKNOWN_SETTINGS: &[(&str, f64)] = &[
    ("typical_p", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("penalty_alpha", 0.0),
    ("diversity_penalty", 0.0),
    ("num_beam_groups", 1.0),
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("guidance_scale", 1.0),
    ("exponential_decay_length_penalty", f64::NAN),
    ("bad_words_ids", f64::NAN),
    ("force_words_ids", f64::NAN),
    ("constraints", f64::NAN),
    ("sequence_bias", f64::NAN),
    ("suppress_tokens", f64::NAN),
    ("begin_suppress_tokens", f64::NAN),
    ("forced_bos_token_id", f64::NAN),
    ("forced_eos_token_id", f64::NAN),
    ("forced_decoder_ids", f64::NAN),
    ("stop_strings", f64::NAN),
    ("renormalize_logits", f64::NAN),
    ("token_healing", f64::NAN),
];

/// Whether a field asks for something that would be left undone.
fn is_unknown_setting(name: &str, value: &serde_json::Value) -> bool {
    let Some((_, off)) = UNKNOWN_SETTINGS.iter().find(|(n, _)| *n == name) else { return false };
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => false,
        serde_json::Value::Array(list) => !list.is_empty(),
        serde_json::Value::Object(map) => !map.is_empty(),
        number => number.as_f64().is_none_or(|x| x != *off),
    }
}

/// A field that is null counts as not given.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

fn or_one<'de, D: Deserializer<'de>>(d: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(1.0))
}

fn or_one_beam<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or(1))
}

/// One id, a list of ids, or null.
fn one_or_more<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Ids {
        One(i32),
        Many(Vec<i32>),
    }
    Ok(match Option::deserialize(d)? {
        None => Vec::new(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Bool(bool),
            Name(String),
        }
        match Spelling::deserialize(d)? {
            Spelling::Bool(true) => Ok(EarlyStopping::Full),
            Spelling::Bool(false) => Ok(EarlyStopping::Heuristic),
            Spelling::Name(n) if n == "never" => Ok(EarlyStopping::Never),
            Spelling::Name(n) => {
                Err(serde::de::Error::custom(format!("early_stopping: got \"{n}\", wanted true, false or \"never\"")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parse(json: &str) -> Result<GenerationConfig, String> {
        GenerationConfig::from_fields(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn spellings() {
        assert_eq!(parse(r#"{"eos_token_id": 3}"#).unwrap().eos_token_id, [3]);
        assert_eq!(parse(r#"{"eos_token_id": [3, 5]}"#).unwrap().eos_token_id, [3, 5]);
        assert_eq!(parse(r#"{"eos_token_id": null, "top_k": null}"#).unwrap(), GenerationConfig::default());
        assert_eq!(parse(r#"{"early_stopping": "never"}"#).unwrap().early_stopping, EarlyStopping::Never);
        assert_eq!(parse(r#"{"early_stopping": true, "unknown": 1}"#).unwrap().early_stopping, EarlyStopping::Full);
        assert!(parse(r#"{"early_stopping": "soon"}"#).unwrap_err().contains("wanted true, false or \"never\""));
    }

    #[test]
    fn settings_that_would_be_left_undone_are_errors() {
        let load = |json: &str| {
            let dir = std::env::temp_dir().join(format!("bedstone-generation-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("generation_config.json"), json).unwrap();
            let config = GenerationConfig::of_checkpoint(&dir);
            std::fs::remove_dir_all(&dir).unwrap();
            config
        };
        assert_eq!(load(r#"{"typical_p": 1.0, "bad_words_ids": null, "top_k": 5}"#).unwrap().top_k, 5);
        let error = load(r#"{"typical_p": 0.5}"#).unwrap_err().to_string();
        assert!(error.contains("`typical_p`: 0.5 changes what is generated"), "{error}");
    }

    #[test]
    fn bounds() {
        let check = |change: fn(&mut GenerationConfig)| {
            let mut config = GenerationConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert_eq!(check(|c| c.top_p = 1.5), "top_p: got 1.5, wanted above 0 and at most 1");
        assert_eq!(check(|c| c.num_return_sequences = 2), "num_return_sequences: got 2, wanted 1 to num_beams");
        assert!(check(|c| c.temperature = 0.0).starts_with("temperature: got 0"));
    }
}
