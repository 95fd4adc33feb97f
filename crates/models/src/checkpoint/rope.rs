//! Rotary position embeddings in `config.json`, in every released spelling.
//!
//! Until transformers 5 the base was `rope_theta` beside an optional object `rope_scaling`; Gemma 3 added
//! `rope_local_base_freq` for its layers with a sliding window. Since then there is one object `rope_parameters`,
//! either flat or with one entry a layer type. Where a file has both, `rope_scaling` counts, as it does there.

use std::collections::BTreeMap;

pub use bedstone_nn::{RopeKind, RopeParameters};
use serde_json::Value;

use super::config::{ConfigError, ConfigFile, Result};

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// The rotary parameters of every layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RopeSpec {
    /// For all layers whose type is not in `by_layer_type`.
    pub default: Option<RopeParameters>,
    /// By the names that `layer_types` uses, such as `full_attention` and `sliding_attention`.
    pub by_layer_type: BTreeMap<String, RopeParameters>,
    /// Fields of the rotary objects that mean nothing for their kind, as in the file; to be reported, not obeyed.
    pub unused: Vec<String>,
}

/// What an architecture assumes where `config.json` says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeDefaults {
    /// The base of the frequencies.
    pub theta: f64,
    /// The base in layers with a sliding window, if these have their own (as in Gemma 3, whose `rope_scaling` then
    /// means the other layers only).
    pub local_theta: Option<f64>,
    /// The part of each head that is rotated.
    pub partial_rotary_factor: f64,
}

impl RopeDefaults {
    /// The defaults of `model_type`, for the architectures that are known here.
    pub fn of(model_type: &str) -> Option<Self> {
        let (theta, local_theta) = match model_type {
            "llama" | "mistral" | "qwen2" | "qwen3" | "gemma" | "gemma2" => (10_000.0, None),
            "mixtral" => (1_000_000.0, None),
            "gemma3_text" => (1_000_000.0, Some(10_000.0)),
            _ => return None,
        };
        Some(Self { theta, local_theta, partial_rotary_factor: 1.0 })
    }
}

impl RopeSpec {
    /// The parameters of layers of that type.
    pub fn get(&self, layer_type: &str) -> Option<&RopeParameters> {
        self.by_layer_type.get(layer_type).or(self.default.as_ref())
    }
}

impl ConfigFile {
    /// The rotary parameters, with the defaults of this file's `model_type`; an error if none are known for it.
    pub fn rope(&self) -> Result<RopeSpec> {
        let model_type = self.model_type()?;
        let no_rope = || ConfigError::NoRope { path: self.path().into(), model_type: model_type.into() };
        self.rope_with(&RopeDefaults::of(model_type).ok_or_else(no_rope)?)
    }

    /// The rotary parameters, with the given defaults.
    pub fn rope_with(&self, defaults: &RopeDefaults) -> Result<RopeSpec> {
        let mut spec = RopeSpec::default();
        let outside = Outside { config: self, theta_field: "rope_theta", defaults, nested: true };
        let Some(local_theta) = defaults.local_theta else {
            outside.plain(&mut spec)?;
            return Ok(spec);
        };
        let local = RopeDefaults { theta: local_theta, ..*defaults };
        let local = Outside { theta_field: "rope_local_base_freq", defaults: &local, ..outside };
        for (layer_type, section) in outside.full_and_sliding(&mut spec)? {
            let outside = if layer_type == SLIDING { local } else { outside };
            let parameters = outside.parameters(&section, &mut spec)?;
            spec.by_layer_type.insert(layer_type, parameters);
        }
        Ok(spec)
    }
}

/// What lies outside of a rotary object: fields beside it and defaults.
#[derive(Clone, Copy)]
struct Outside<'a> {
    config: &'a ConfigFile,
    /// The field that holds the base if the object does not.
    theta_field: &'static str,
    defaults: &'a RopeDefaults,
    /// Whether the object is one of several.
    nested: bool,
}

impl Outside<'_> {
    /// One base for all layers, or entries that need not be alike.
    fn plain(&self, spec: &mut RopeSpec) -> Result<()> {
        let config = self.config;
        if config.get("rope_local_base_freq").is_some() {
            return Err(config.wrong("rope_local_base_freq", "none: this architecture has one base for all layers"));
        }
        let scaling = object(config, "rope_scaling")?.filter(|s| !s.fields().is_empty());
        let section = match scaling {
            Some(scaling) => scaling,
            None => object(config, "rope_parameters")?.unwrap_or_else(|| config.without_fields()),
        };
        if is_nested(&section) {
            for (layer_type, entry) in entries(&section, spec)? {
                let parameters = self.parameters(&entry, spec)?;
                spec.by_layer_type.insert(layer_type, parameters);
            }
        } else {
            spec.default = Some(Outside { nested: false, ..*self }.parameters(&section, spec)?);
        }
        Ok(())
    }

    /// Gemma 3: `rope_scaling` is of the layers with full attention only, and each of the two types has its entry.
    fn full_and_sliding(&self, spec: &mut RopeSpec) -> Result<BTreeMap<String, ConfigFile>> {
        let config = self.config;
        let section = object(config, "rope_parameters")?.unwrap_or_else(|| config.without_fields());
        if !section.fields().is_empty() && !is_nested(&section) {
            let wanted = format!("an object with the entries `{FULL}` and `{SLIDING}`");
            return Err(config.wrong("rope_parameters", wanted));
        }
        let mut entries = entries(&section, spec)?;
        entries.entry(SLIDING.into()).or_insert_with(|| config.without_fields());
        let full = entries.entry(FULL.into()).or_insert_with(|| config.without_fields());
        if let Some(scaling) = object(config, "rope_scaling")? {
            *full = full.overlaid(scaling);
        }
        Ok(entries)
    }

    fn parameters(&self, section: &ConfigFile, spec: &mut RopeSpec) -> Result<RopeParameters> {
        let theta = match positive(section, "rope_theta")? {
            Some(theta) => theta,
            None => positive(self.config, self.theta_field)?.unwrap_or(self.defaults.theta),
        };
        let (holder, factor) = match positive(section, PARTIAL)? {
            Some(factor) => (section, factor),
            None => (self.config, positive(self.config, PARTIAL)?.unwrap_or(self.defaults.partial_rotary_factor)),
        };
        if factor > 1.0 {
            return Err(holder.wrong(PARTIAL, "a number in (0, 1]"));
        }
        let (kind, used) = self.kind(section)?;
        let always = ["rope_type", "type", "rope_theta", PARTIAL];
        let unused = section.fields().keys().filter(|f| !always.contains(&f.as_str()) && !used.contains(&f.as_str()));
        spec.unused.extend(unused.map(|field| section.name(field)));
        Ok(RopeParameters { theta, kind, partial_rotary_factor: factor })
    }

    /// The kind of scaling and the fields that mean something for it.
    fn kind(&self, section: &ConfigFile) -> Result<(RopeKind, &'static [&'static str])> {
        // `type` is what it was called before there was `rope_type`.
        let field = if section.get("rope_type").is_some() { "rope_type" } else { "type" };
        let needed = |field| positive(section, field)?.ok_or_else(|| section.missing(field, "a number above 0"));
        Ok(match section.str(field)?.unwrap_or("default") {
            "default" => (RopeKind::Default, &[]),
            "linear" => (RopeKind::Linear { factor: needed("factor")? }, &["factor"]),
            // The original length that some files name is not used: the configuration's own is.
            "dynamic" => (RopeKind::Dynamic { factor: needed("factor")? }, &["factor"]),
            "llama3" => {
                let kind = RopeKind::Llama3 {
                    factor: needed("factor")?,
                    low_freq_factor: needed("low_freq_factor")?,
                    high_freq_factor: needed("high_freq_factor")?,
                    original_max_position_embeddings: self.original_length(section)?,
                };
                (kind, &["factor", "low_freq_factor", "high_freq_factor", ORIGINAL_LENGTH])
            }
            "yarn" => (self.yarn(section)?, YARN_FIELDS),
            _ => return Err(section.wrong(field, "one of default, linear, dynamic, llama3, yarn")),
        })
    }

    fn yarn(&self, section: &ConfigFile) -> Result<RopeKind> {
        let original = self.original_length(section)?;
        let factor = match positive(section, "factor")? {
            Some(factor) => factor,
            // DeepSeek leaves the factor to the two lengths.
            None => max_length(self.config)? as f64 / original as f64,
        };
        // Zero, too, stands for the default there.
        let or = |field, default| section.f64(field).map(|x| x.filter(|&x| x != 0.0).unwrap_or(default));
        Ok(RopeKind::Yarn {
            factor,
            attention_factor: section.f64("attention_factor")?,
            beta_fast: or("beta_fast", 32.0)?,
            beta_slow: or("beta_slow", 1.0)?,
            mscale: section.f64("mscale")?,
            mscale_all_dim: section.f64("mscale_all_dim")?,
            truncate: section.bool("truncate")?.unwrap_or(true),
            original_max_position_embeddings: original,
        })
    }

    /// The context trained on: beside a single rotary object (Phi 3), in the object, or else the configuration's own.
    fn original_length(&self, section: &ConfigFile) -> Result<usize> {
        let beside = if self.nested { None } else { length(self.config, ORIGINAL_LENGTH)? };
        match beside.or(length(section, ORIGINAL_LENGTH)?) {
            Some(length) => Ok(length),
            None => max_length(self.config),
        }
    }
}

const PARTIAL: &str = "partial_rotary_factor";
const ORIGINAL_LENGTH: &str = "original_max_position_embeddings";

const YARN_FIELDS: &[&str] =
    &["factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", ORIGINAL_LENGTH];

/// Whether a rotary object has an entry a layer type.
fn is_nested(section: &ConfigFile) -> bool {
    section.fields().values().any(Value::is_object)
}

/// The entries of a nested rotary object. What lies beside them means nothing, as in transformers.
fn entries(section: &ConfigFile, spec: &mut RopeSpec) -> Result<BTreeMap<String, ConfigFile>> {
    let mut entries = BTreeMap::new();
    for (field, value) in section.fields() {
        if value.is_object() {
            entries.insert(field.clone(), section.section(field)?);
        } else {
            spec.unused.push(section.name(field));
        }
    }
    Ok(entries)
}

fn object(config: &ConfigFile, field: &str) -> Result<Option<ConfigFile>> {
    config.get(field).is_some().then(|| config.section(field)).transpose()
}

fn positive(config: &ConfigFile, field: &str) -> Result<Option<f64>> {
    match config.f64(field)? {
        Some(x) if !(x > 0.0 && x.is_finite()) => Err(config.wrong(field, "a number above 0")),
        number => Ok(number),
    }
}

fn length(config: &ConfigFile, field: &str) -> Result<Option<usize>> {
    match config.usize(field)? {
        Some(0) => Err(config.wrong(field, "a whole number above 0")),
        length => Ok(length),
    }
}

fn max_length(config: &ConfigFile) -> Result<usize> {
    let field = "max_position_embeddings";
    length(config, field)?.ok_or_else(|| config.missing(field, "a whole number above 0"))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;

    const LLAMA3: RopeKind = RopeKind::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };

    fn yarn(factor: f64, original_max_position_embeddings: usize) -> RopeKind {
        RopeKind::Yarn {
            factor,
            attention_factor: None,
            beta_fast: 32.0,
            beta_slow: 1.0,
            mscale: None,
            mscale_all_dim: None,
            truncate: true,
            original_max_position_embeddings,
        }
    }

    fn rope(fields: Value) -> Result<RopeSpec> {
        ConfigFile::new("config.json", fields.as_object().unwrap().clone()).rope()
    }

    fn parameters(theta: f64, kind: RopeKind) -> RopeParameters {
        RopeParameters { theta, kind, partial_rotary_factor: 1.0 }
    }

    /// Every expected value is what transformers 5.23 makes of the same fields.
    #[track_caller]
    fn check(fields: Value, theta: f64, kind: RopeKind) {
        let got = rope(fields).unwrap();
        assert_eq!(got, RopeSpec { default: Some(parameters(theta, kind)), ..RopeSpec::default() });
    }

    #[test]
    fn one_for_all_layers() {
        let linear = RopeKind::Linear { factor: 4.0 };
        check(json!({"model_type": "llama"}), 10_000.0, RopeKind::Default);
        check(json!({"model_type": "mixtral"}), 1_000_000.0, RopeKind::Default);
        check(json!({"model_type": "llama", "rope_theta": 500.0, "rope_scaling": null}), 500.0, RopeKind::Default);
        check(
            json!({"model_type": "llama", "rope_theta": 500, "rope_scaling": {"type": "linear", "factor": 4}}),
            500.0,
            linear,
        );
        check(
            json!({"model_type": "llama", "rope_scaling": {"type": "linear", "rope_type": "dynamic", "factor": 2.0}}),
            10_000.0,
            RopeKind::Dynamic { factor: 2.0 },
        );
        check(
            json!({"model_type": "llama", "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}),
            5.0,
            RopeKind::Default,
        );
        let both = |scaling: Value| {
            let new = json!({"rope_type": "default", "rope_theta": 5.0});
            json!({"model_type": "llama", "rope_theta": 77.0, "rope_scaling": scaling, "rope_parameters": new})
        };
        check(both(json!({"type": "linear", "factor": 4.0})), 77.0, linear);
        check(both(json!({})), 5.0, RopeKind::Default);
    }

    #[test]
    fn scaling_with_an_original_length() {
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        check(
            json!({"model_type": "llama", "rope_theta": 500000.0, "max_position_embeddings": 131072, "rope_scaling": llama3}),
            500_000.0,
            LLAMA3,
        );
        let mut short = llama3.clone();
        short.as_object_mut().unwrap().remove("original_max_position_embeddings");
        check(json!({"model_type": "llama", "max_position_embeddings": 8192, "rope_scaling": short}), 10_000.0, LLAMA3);
        let scaling = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024});
        let config = |outer: Value| {
            json!({"model_type": "qwen2", "max_position_embeddings": 8192, "rope_scaling": scaling,
                "original_max_position_embeddings": outer})
        };
        check(config(Value::Null), 10_000.0, yarn(4.0, 1024));
        check(config(json!(2048)), 10_000.0, yarn(4.0, 2048));
        check(
            json!({"model_type": "qwen2", "max_position_embeddings": 8192,
                "rope_scaling": {"type": "yarn", "factor": null, "original_max_position_embeddings": 1024}}),
            10_000.0,
            yarn(8.0, 1024),
        );
        check(
            json!({"model_type": "qwen2", "max_position_embeddings": 8192, "rope_parameters": {"rope_type": "yarn",
                "rope_theta": 3.0, "factor": 2.0, "attention_factor": 0.5, "beta_fast": 16, "beta_slow": 0, "mscale": 0.7,
                "mscale_all_dim": 0.8, "truncate": false}}),
            3.0,
            RopeKind::Yarn {
                factor: 2.0,
                attention_factor: Some(0.5),
                beta_fast: 16.0,
                beta_slow: 1.0,
                mscale: Some(0.7),
                mscale_all_dim: Some(0.8),
                truncate: false,
                original_max_position_embeddings: 8192,
            },
        );
    }

    #[test]
    fn partial_rotation() {
        let factor = |fields| rope(fields).unwrap().default.unwrap().partial_rotary_factor;
        assert_eq!(factor(json!({"model_type": "llama", "partial_rotary_factor": 0.25})), 0.25);
        let inner = json!({"partial_rotary_factor": 0.5});
        assert_eq!(
            factor(json!({"model_type": "llama", "rope_parameters": inner, "partial_rotary_factor": 0.25})),
            0.5
        );
    }

    #[track_caller]
    fn check_two(fields: Value, full: (f64, RopeKind), sliding: f64) {
        let got = rope(fields).unwrap();
        assert_eq!(got.get("full_attention"), Some(&parameters(full.0, full.1)));
        assert_eq!(got.get("sliding_attention"), Some(&parameters(sliding, RopeKind::Default)));
        assert_eq!((got.default, got.by_layer_type.len()), (None, 2));
    }

    #[test]
    fn one_for_each_type_of_layer() {
        let linear = |factor| RopeKind::Linear { factor };
        check_two(json!({"model_type": "gemma3_text"}), (1_000_000.0, RopeKind::Default), 10_000.0);
        check_two(
            json!({"model_type": "gemma3_text", "rope_theta": 2.0e6, "rope_local_base_freq": 12345.0,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}),
            (2_000_000.0, linear(8.0)),
            12345.0,
        );
        check_two(
            json!({"model_type": "gemma3_text", "rope_theta": 5.0, "rope_parameters":
                {"full_attention": {"rope_type": "linear", "factor": 2.0}, "sliding_attention": null}}),
            (5.0, linear(2.0)),
            10_000.0,
        );
        check_two(
            json!({"model_type": "qwen3", "rope_theta": 9.0, "rope_parameters": {"rope_theta": 2.0,
                "full_attention": {"rope_type": "linear", "factor": 3.0}, "sliding_attention": {"rope_theta": 4.0}}}),
            (9.0, linear(3.0)),
            4.0,
        );
    }

    #[track_caller]
    fn check_refused(fields: Value, want: &str) {
        assert_eq!(rope(fields).unwrap_err().to_string(), format!("config.json: {want}"));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let kind = |kind: &str| json!({"model_type": "llama", "rope_scaling": {"type": kind}});
        let kinds = "wanted one of default, linear, dynamic, llama3, yarn";
        check_refused(kind("longrope"), &format!("field `rope_scaling.type` is \"longrope\", {kinds}"));
        check_refused(kind("linear"), "field `rope_scaling.factor` is missing, wanted a number above 0");
        check_refused(
            json!({"model_type": "llama", "rope_parameters": {"full_attention": {"rope_type": "su"}}}),
            &format!("field `rope_parameters.full_attention.rope_type` is \"su\", {kinds}"),
        );
        check_refused(json!({"model_type": "gpt2"}), "no rotary defaults are known for model_type `gpt2`");
        check_refused(
            json!({"model_type": "llama", "rope_theta": "x"}),
            "field `rope_theta` is \"x\", wanted a number",
        );
        check_refused(
            json!({"model_type": "llama", "rope_theta": 0}),
            "field `rope_theta` is 0, wanted a number above 0",
        );
        check_refused(json!({"model_type": "llama", "rope_scaling": 2}), "field `rope_scaling` is 2, wanted an object");
        check_refused(
            json!({"model_type": "llama", "partial_rotary_factor": 1.5}),
            "field `partial_rotary_factor` is 1.5, wanted a number in (0, 1]",
        );
        check_refused(
            json!({"model_type": "llama", "rope_local_base_freq": 1.0}),
            "field `rope_local_base_freq` is 1.0, wanted none: this architecture has one base for all layers",
        );
        check_refused(
            json!({"model_type": "gemma3_text", "rope_parameters": {"rope_theta": 1.0}}),
            "field `rope_parameters` is {\"rope_theta\":1.0}, wanted an object with the entries `full_attention` and \
             `sliding_attention`",
        );
        check_refused(
            json!({"model_type": "llama", "rope_scaling": {"type": "yarn", "factor": 2.0}}),
            "field `max_position_embeddings` is missing, wanted a whole number above 0",
        );
    }

    #[test]
    fn what_means_nothing_is_listed() {
        let unused = |fields| rope(fields).unwrap().unused;
        let scaling = json!({"type": "linear", "factor": 2.0, "finetuned": true});
        assert_eq!(unused(json!({"model_type": "llama", "rope_scaling": scaling})), ["rope_scaling.finetuned"]);
        let nested = json!({"full_attention": {"factor": 2.0}, "rope_theta": 1.0});
        assert_eq!(
            unused(json!({"model_type": "llama", "rope_parameters": nested})),
            ["rope_parameters.rope_theta", "rope_parameters.full_attention.factor"]
        );
    }

    #[test]
    fn every_fixture_and_both_its_spellings() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let mut with_rope = 0;
        for dir in fs::read_dir(fixtures).unwrap() {
            let dir = dir.unwrap().path();
            let read = |name: &str| dir.join(name).exists().then(|| ConfigFile::open(dir.join(name)).unwrap());
            let Some(old) = read("config.json") else { continue };
            let model_type = old.model_type().unwrap();
            let Some(_) = RopeDefaults::of(model_type) else {
                assert!(matches!(old.rope(), Err(ConfigError::NoRope { .. })), "{model_type}");
                assert!(!old.fields().keys().any(|k| k.contains("rope")), "{model_type}");
                continue;
            };
            let spec = old.rope().unwrap();
            assert!(spec.unused.is_empty() && spec.get("full_attention").is_some(), "{model_type}: {spec:?}");
            if let Some(new) = read("config.v5.json") {
                assert_eq!(new.rope().unwrap(), spec);
            }
            with_rope += 1;
        }
        assert!(with_rope >= 7, "{with_rope} fixtures");
    }
}
