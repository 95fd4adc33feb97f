//! Which files of a repository are wanted.

/// What the files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All of a model: configuration, tokenizer, weights.
    Model,
    /// What encoding text needs.
    Tokenizer,
    /// A model with recorded results of a reference; either may be missing.
    Fixture,
}

const TOKENIZER: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
];
/// SentencePiece models, whose names differ.
const SENTENCEPIECE: [&str; 2] = [".model", ".spm"];
const MODEL: [&str; 8] = [
    "config.json",
    ADAPTER,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];
/// Where it is, the weights are those of a low-rank adapter (`peft`), over another model's.
pub(crate) const ADAPTER: &str = "adapter_config.json";
const FIXTURE: [&str; 5] = ["parity.json", "parity.safetensors", "trace.json", "trace.safetensors", "config.v5.json"];
/// The first that is there is taken, and no other.
const WEIGHTS: [&str; 5] = [
    "adapter_model.safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

impl Want {
    /// The wanted of the files with these names, except weights, in the given order.
    pub fn small<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        let tokenizer = |file: &str| TOKENIZER.contains(&file) || SENTENCEPIECE.iter().any(|end| file.ends_with(end));
        let model = |file: &str| MODEL.contains(&file);
        let wanted = |name: &&&str| {
            let Some((folder, file)) = placed(name) else { return false };
            match self {
                Want::Tokenizer => folder.is_empty() && (tokenizer(file) || ["config.json", ADAPTER].contains(&file)),
                Want::Model => tokenizer(file) || model(file),
                Want::Fixture => tokenizer(file) || model(file) || FIXTURE.contains(&file),
            }
        };
        names.iter().filter(wanted).copied().collect()
    }
}

/// The files of weights: one, or the index of its shards, for the repository and for each of its modules.
pub(crate) fn weights<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut folders: Vec<&str> = names.iter().filter_map(|name| Some(placed(name)?.0)).collect();
    folders.sort_unstable();
    folders.dedup();
    let first = |folder: &str| {
        WEIGHTS.iter().find_map(|file| names.iter().copied().find(|name| placed(name) == Some((folder, file))))
    };
    folders.into_iter().filter_map(first).collect()
}

/// Whether the name is that of an index of shards.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// The shards that an index names, in order and once each, beside it.
pub(crate) fn shards(index: &str, text: &[u8]) -> Result<Vec<String>, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let map = value.get("weight_map").and_then(|map| map.as_object()).ok_or("no `weight_map` of names to files")?;
    let mut files = Vec::new();
    for file in map.values() {
        let file = file.as_str().ok_or_else(|| format!("got {file}, wanted the name of a file"))?;
        if !crate::id::is_component(file) {
            return Err(format!("`{file}` is not a file name"));
        }
        let folder = index.rfind('/').map_or("", |at| &index[..=at]);
        files.push(format!("{folder}{file}"));
    }
    files.sort_unstable();
    files.dedup();
    if files.is_empty() { Err("names no shard".into()) } else { Ok(files) }
}

/// Folder and file of a name that this program may look at: at the top, or in a numbered module such as `1_Pooling`.
fn placed(name: &str) -> Option<(&str, &str)> {
    let (folder, file) = match name.split_once('/') {
        Some(("", _)) => return None,
        Some(parts) => parts,
        None => ("", name),
    };
    let number = folder.split_once('_').map(|(number, _)| number);
    let module = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let safe = crate::id::is_component;
    (safe(file) && (folder.is_empty() || (module && safe(folder)))).then_some((folder, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], want: Want, small_ones: &[&str], weight_files: &[&str]) {
        assert_eq!((want.small(names), weights(names)), (small_ones.to_vec(), weight_files.to_vec()), "{names:?}");
    }

    #[test]
    fn a_repository_of_many_frameworks() {
        let names = [
            ".gitattributes",
            "README.md",
            "config.json",
            "coreml/config.json",
            "flax_model.msgpack",
            "merges.txt",
            "model.safetensors",
            "onnx/model.onnx",
            "parity.json",
            "pytorch_model.bin",
            "tokenizer.json",
        ];
        let model = ["config.json", "merges.txt", "tokenizer.json"];
        check(&names, Want::Model, &model, &["model.safetensors"]);
        check(&names, Want::Tokenizer, &model, &["model.safetensors"]);
        let fixture = ["config.json", "merges.txt", "parity.json", "tokenizer.json"];
        check(&names, Want::Fixture, &fixture, &["model.safetensors"]);
    }

    #[test]
    fn never_both_kinds_of_weights() {
        let check = |names: &[&str], want: &[&str]| check(names, Want::Model, &[], want);
        check(&["pytorch_model.bin", "model.safetensors.index.json"], &["model.safetensors.index.json"]);
        check(&["pytorch_model.bin.index.json", "pytorch_model.bin"], &["pytorch_model.bin"]);
        check(&["pytorch_model.bin.index.json", "x.gguf"], &["pytorch_model.bin.index.json"]);
        check(&["model.fp16.safetensors", "onnx/model.safetensors"], &[]);
    }

    #[test]
    fn adapters() {
        let names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "training_args.bin"];
        check(&names, Want::Model, &["adapter_config.json"], &["adapter_model.safetensors"]);
        // Its base may have one.
        check(&names, Want::Tokenizer, &["adapter_config.json"], &["adapter_model.safetensors"]);
    }

    #[test]
    fn modules() {
        let names = [
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "model.safetensors",
            "modules.json",
            "spiece.model",
        ];
        let small = ["1_Pooling/config.json", "2_Dense/config.json", "modules.json", "spiece.model"];
        check(&names, Want::Model, &small, &["model.safetensors", "2_Dense/model.safetensors"]);
        check(&names[..4], Want::Tokenizer, &[], &["2_Dense/model.safetensors"]);
    }

    #[test]
    fn names_that_leave_the_folder() {
        check(
            &["../config.json", "1_a/../config.json", "/config.json", "1_../config.json/x", "..\\x.model"],
            Want::Model,
            &[],
            &[],
        );
    }

    #[track_caller]
    fn check_shards(index: &str, text: &str, want: Result<&[&str], &str>) {
        let got = shards(index, text.as_bytes());
        let got: Result<Vec<&str>, &str> = match &got {
            Ok(names) => Ok(names.iter().map(String::as_str).collect()),
            Err(e) => Err(e),
        };
        assert_eq!(got, want.map(<[_]>::to_vec), "{text}");
    }

    #[test]
    fn shards_of_an_index() {
        let map = r#"{"weight_map": {"a": "m-2.bin", "b": "m-1.bin", "c": "m-2.bin"}}"#;
        check_shards("pytorch_model.bin.index.json", map, Ok(&["m-1.bin", "m-2.bin"]));
        check_shards("2_Dense/x.index.json", map, Ok(&["2_Dense/m-1.bin", "2_Dense/m-2.bin"]));
        check_shards("x", r#"{"weight_map": {"a": "../m.bin"}}"#, Err("`../m.bin` is not a file name"));
        check_shards("x", r#"{"weight_map": {"a": 1}}"#, Err("got 1, wanted the name of a file"));
        check_shards("x", r#"{"weight_map": {}}"#, Err("names no shard"));
        check_shards("x", "[]", Err("no `weight_map` of names to files"));
        check_shards("x", "{\"weight_map\"", Err("EOF while parsing an object at line 1 column 13"));
    }
}
