//! The index of shards, `….index.json`: `{"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{Error, Result};

#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(default, skip_deserializing)]
    metadata: Metadata,
    weight_map: BTreeMap<String, String>,
}

#[derive(Default, Serialize)]
struct Metadata {
    /// The bytes of all tensors, headers not counted.
    total_size: u64,
}

/// Which file holds which tensor.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read(path).map_err(|e| Error::read(path, e))?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|e| Error::Index { path: path.into(), reason: e.to_string() })?;
    Ok(index.weight_map)
}

/// The text of an index; the same for the same tensors.
pub(super) fn to_json(total_size: u64, weight_map: BTreeMap<String, String>) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&Index { metadata: Metadata { total_size }, weight_map })?;
    text.push(b'\n');
    Ok(text)
}
