//! Names that differ from what an architecture asks for, and what to say about names that are not there.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{Dtype, Weight, WeightFiles};

/// Old and new names of the two parameters of a LayerNorm.
const NORM_SPELLINGS: [(&str, &str); 2] = [("weight", "gamma"), ("bias", "beta")];

impl WeightFiles {
    /// The tensor of that name, or of the first of these other spellings that is there.
    ///
    /// - Checkpoints of a base model lack the prefix that the same model has under a head, and the other way round:
    ///   with the base prefix `transformer`, `transformer.wte.weight` is also found as `wte.weight`, and `wte.weight`
    ///   as `transformer.wte.weight`. The prefix may end with a dot; an empty one changes nothing.
    /// - Checkpoints converted from TensorFlow call the `weight` and `bias` of a norm `gamma` and `beta`; that is tried
    ///   for modules with `norm` in their name, with all of the prefixes above.
    /// - `transformers` 5 saves the decoder of a masked autoencoder as `decoder.decoder_encoder.layer`, which released
    ///   checkpoints and all before have as `decoder.decoder_layers`.
    ///
    /// The [`name`](Weight::name) of the result is the name in the file.
    pub fn resolve(&self, name: &str, base_prefix: &str) -> Option<Weight<'_>> {
        let other = other_prefix(name, base_prefix);
        let names = [Some(name), other.as_deref()].into_iter().flatten();
        let mut spellings = names.clone().flat_map(|n| [old_norm_name(n), new_decoder_name(n)]).flatten();
        names.clone().find_map(|n| self.get(n)).or_else(|| spellings.find_map(|n| self.get(&n)))
    }

    /// The names in the files that are nearest to `name`, the nearest first, for error messages; at most three.
    pub fn tensor_hint(&self, name: &str) -> Vec<&str> {
        let mut scored: Vec<_> = self.names().map(|n| (strsim::normalized_levenshtein(name, n), n)).collect();
        // The order of names decides between equals; scores are never NaN.
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        scored.into_iter().take(3).filter(|(score, _)| *score > 0.5).map(|(_, n)| n).collect()
    }

    /// What the files hold.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { files: self.files().count(), ..Summary::default() };
        let mut dtypes = BTreeMap::<_, (usize, u64)>::new();
        let mut seen = BTreeSet::new();
        for (dtype, numel, file, range) in self.places() {
            summary.tensors += 1;
            let count = dtypes.entry(dtype).or_default();
            count.0 += 1;
            // Tied weights of `torch.save` files are two names for the same bytes.
            if range.is_empty() || seen.insert((file, range.start, range.end)) {
                count.1 += numel as u64;
                summary.bytes += range.len() as u64;
            } else {
                summary.shared += 1;
            }
        }
        summary.parameters = dtypes.values().map(|(_, parameters)| parameters).sum();
        summary.dtypes = dtypes
            .into_iter()
            .map(|(dtype, (tensors, parameters))| DtypeCount { dtype, tensors, parameters })
            .collect();
        summary.dtypes.sort_by_key(|d| Reverse(d.parameters));
        summary
    }
}

/// What weight files hold, see [`WeightFiles::summary`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files read: one, or the shards.
    pub files: usize,
    /// Names.
    pub tensors: usize,
    /// Names whose elements are those of another name (tied weights).
    pub shared: usize,
    /// Elements of all tensors, those of shared ones once.
    pub parameters: u64,
    /// Bytes of all tensors, those of shared ones once.
    pub bytes: u64,
    /// By element type, the one with most parameters first.
    pub dtypes: Vec<DtypeCount>,
}

/// How much of one element type there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtypeCount {
    /// The element type.
    pub dtype: Dtype,
    /// Names.
    pub tensors: usize,
    /// Elements, those of shared tensors once.
    pub parameters: u64,
}

/// With the prefix if `name` lacks it, without if it has it.
fn other_prefix(name: &str, base_prefix: &str) -> Option<String> {
    let base_prefix = base_prefix.trim_end_matches('.');
    if base_prefix.is_empty() {
        return None;
    }
    match name.strip_prefix(base_prefix).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) => Some(rest.to_owned()),
        None => Some(format!("{base_prefix}.{name}")),
    }
}

/// `decoder.decoder_encoder.layer.…` for `decoder.decoder_layers.…`.
fn new_decoder_name(name: &str) -> Option<String> {
    let rest = name.strip_prefix("decoder.decoder_layers.")?;
    Some(format!("decoder.decoder_encoder.layer.{rest}"))
}

/// `….LayerNorm.gamma` for `….LayerNorm.weight`.
fn old_norm_name(name: &str) -> Option<String> {
    let (module, parameter) = name.rsplit_once('.')?;
    let last = module.rsplit('.').next()?;
    if !last.to_ascii_lowercase().contains("norm") {
        return None;
    }
    let (_, old) = NORM_SPELLINGS.iter().find(|(new, _)| *new == parameter)?;
    Some(format!("{module}.{old}"))
}
