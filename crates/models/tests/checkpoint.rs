//! Weight files of others, of our own, and damaged ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bedstone_models::checkpoint::{
    DEFAULT_SHARD_LIMIT, Dtype, Error, Format, NamedTensor, TensorData, Weight, WeightFiles, write_safetensors,
};
use proptest::prelude::*;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

fn message(result: Result<WeightFiles, Error>) -> String {
    result.unwrap_err().to_string()
}

/// The elements as f64, in which all but large i64 are exact.
fn elements(weight: &Weight<'_>) -> Vec<f64> {
    match weight.dtype.is_float() {
        true => weight.to_f32().unwrap().into_iter().map(f64::from).collect(),
        false => weight.to_i64().unwrap().into_iter().map(|i| i as f64).collect(),
    }
}

#[track_caller]
fn check_same(path: &Path, want: &str, format: Format, skipped: &[&str]) {
    let (got, want) = (WeightFiles::open(path).unwrap(), WeightFiles::open(file(want)).unwrap());
    assert_eq!(got.format(), format);
    assert_eq!(got.skipped(), skipped);
    assert_eq!(got.names().collect::<Vec<_>>(), want.names().collect::<Vec<_>>());
    for name in want.names() {
        let (got, want) = (got.get(name).unwrap(), want.get(name).unwrap());
        assert_eq!((got.name, got.dtype, &got.shape), (name, want.dtype, &want.shape));
        assert_eq!(elements(&got), elements(&want), "{name}");
    }
}

#[test]
fn torch_save_and_safetensors_hold_the_same() {
    let dtypes = "dtypes.safetensors";
    check_same(&file("dtypes.bin"), dtypes, Format::TorchZip, &[]);
    check_same(&file("dtypes-legacy.bin"), dtypes, Format::TorchLegacy, &[]);
    check_same(&file("dtypes-protocol3.bin"), dtypes, Format::TorchZip, &[]);
    check_same(&file("dtypes-protocol4.bin"), dtypes, Format::TorchZip, &[]);
    check_same(&file("dtypes-protocol5.bin"), dtypes, Format::TorchZip, &[]);
    let module = "module.safetensors";
    check_same(&file("module.bin"), module, Format::TorchZip, &[]);
    check_same(&file("module-legacy.bin"), module, Format::TorchLegacy, &[]);
    check_same(&file("parameters.bin"), module, Format::TorchZip, &[]);
    check_same(&file("no-checksums.bin"), module, Format::TorchZip, &[]);
    check_same(&file("nested.bin"), module, Format::TorchZip, &["epoch", "optimizer", "name"]);
    check_same(&file("nested-state-dict.bin"), module, Format::TorchZip, &["loss"]);
    check_same(&file("mixed.bin"), module, Format::TorchZip, &["steps"]);
}

#[test]
fn views_keep_their_strides() {
    let files = WeightFiles::open(file("dtypes.bin")).unwrap();
    let strides = |name| files.get(name).unwrap().strides;
    assert_eq!(strides("view.transposed"), Some(vec![1, 6]));
    assert_eq!(strides("view.columns"), Some(vec![6, 2]));
    assert_eq!(strides("view.expanded"), Some(vec![0, 1]));
    assert_eq!(strides("view.rows"), None);
    let rows = files.get("view.rows").unwrap();
    assert_eq!(rows.as_f32_slice().unwrap(), rows.to_f32().unwrap());
}

#[test]
fn summary_counts_shared_weights_once() {
    let summary = WeightFiles::open(file("module.bin")).unwrap().summary();
    assert_eq!((summary.files, summary.tensors, summary.shared), (1, 4, 1));
    assert_eq!((summary.parameters, summary.bytes), (21, 84));
    assert_eq!(summary.dtypes.len(), 1);
    assert_eq!(summary.dtypes[0].dtype, Dtype::F32);
}

#[track_caller]
fn check_refused(name: &str, want: &str) {
    let got = message(WeightFiles::open(file(name)));
    assert!(got.starts_with(&format!("{}: {want}", file(name).display())), "{got}");
    assert!(got.contains("\nhint: "), "{got}");
}

#[test]
fn nothing_is_executed() {
    let refers =
        |global| format!("refers to the Python object `{global}`, which weights do not need; nothing was executed");
    check_refused("evil.bin", &refers("__builtin__.print"));
    check_refused("evil-legacy.bin", &refers("__builtin__.print"));
    check_refused("whole-module.bin", &refers("__main__.Net"));
    check_refused("list.bin", "holds no state dict");
}

#[test]
fn fixtures_read_as_the_safetensors_crate_reads_them() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let mut seen = 0;
    for dir in fs::read_dir(fixtures).unwrap() {
        let dir = dir.unwrap().path();
        if !dir.join("model.safetensors").exists() {
            continue;
        }
        let files = WeightFiles::open(&dir).unwrap();
        let bytes = fs::read(dir.join("model.safetensors")).unwrap();
        let want = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(files.names().len(), want.len());
        for (name, want) in want.iter() {
            let got = files.get(name).unwrap();
            assert_eq!((got.dtype.name(), &got.shape[..]), (want.dtype().to_string().as_str(), want.shape()));
            assert_eq!((got.bytes, got.strides), (want.data(), None), "{}: {name}", dir.display());
        }
        seen += 1;
    }
    assert!(seen > 30, "{seen} fixtures");
}

/// A directory with the named files; the content is a test file's or the given text.
fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        if file(content).is_file() {
            fs::copy(file(content), dir.path().join(name)).unwrap();
        } else {
            fs::write(dir.path().join(name), content).unwrap();
        }
    }
    dir
}

#[track_caller]
fn check_found(files: &[(&str, &str)], want: &str) {
    let dir = dir(files);
    assert_eq!(WeightFiles::open(dir.path()).unwrap().path(), dir.path().join(want));
}

const ST: (&str, &str) = ("model.safetensors", "module.safetensors");
const BIN: (&str, &str) = ("pytorch_model.bin", "module.bin");
const SHARD: (&str, &str) = ("s1", "module.safetensors");
const INDEX: &str = r#"{"weight_map": {"norm.bias": "s1"}}"#;

#[test]
fn safetensors_first_and_whole_files_first() {
    check_found(&[ST, BIN], "model.safetensors");
    check_found(&[ST, ("model.safetensors.index.json", INDEX)], "model.safetensors");
    check_found(&[BIN, SHARD, ("model.safetensors.index.json", INDEX)], "model.safetensors.index.json");
    check_found(&[BIN, ("pytorch_model.bin.index.json", INDEX)], "pytorch_model.bin");
    check_found(&[SHARD, ("pytorch_model.bin.index.json", INDEX)], "pytorch_model.bin.index.json");
}

#[track_caller]
fn check_dir(files: &[(&str, &str)], wants: &[&str]) {
    let got = message(WeightFiles::open(dir(files).path()));
    for want in wants {
        assert!(got.contains(want), "{got}");
    }
}

#[test]
fn directories_that_lack_something() {
    check_dir(&[], &["no weights: found nothing, wanted `model.safetensors`, `model.safetensors.index.json`"]);
    check_dir(&[("config.json", "{}"), ("b.gguf", "")], &["found `b.gguf`, `config.json`, wanted", "\nhint: "]);
    let index = "model.safetensors.index.json";
    check_dir(&[(index, INDEX)], &[index, "names the shard `s1`, which is not beside it", "\nhint: "]);
    check_dir(&[(index, "{")], &[index, "corrupt shard index: EOF"]);
    check_dir(&[(index, r#"{"weight_map": {}}"#)], &["corrupt shard index: names no shard"]);
    check_dir(&[(index, r#"{"weight_map": {"a": "../s1"}}"#)], &["corrupt shard index: `../s1` is not a file name"]);
    let absent = r#"{"weight_map": {"x": "s1"}}"#;
    check_dir(&[(index, absent), SHARD], &["tensor `x` should be in `s1`, which does not hold it"]);
    let two = r#"{"weight_map": {"norm.bias": "s1", "norm.weight": "s2"}}"#;
    check_dir(
        &[(index, two), SHARD, ("s2", "module.bin")],
        &["tensor `embed.weight` is in both ", "/s1 and ", "/s2\nhint"],
    );
    assert!(message(WeightFiles::open("/no/such/place")).starts_with("/no/such/place: cannot be read: "));
}

#[test]
fn files_of_other_kinds() {
    let open = |content: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pytorch_model.bin"), content).unwrap();
        message(WeightFiles::open(dir.path()))
    };
    assert!(open(b"version https://git-lfs.github.com/spec/v1\noid").contains("run `git lfs pull`"));
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(open(&tar).contains("this is a tar archive"));
    assert!(open(b"\x89HDF\r\n\x1a\n").contains("Keras or TensorFlow"));
    assert!(open(b"").contains("begins with nothing"));
    assert!(open(b"hello").contains("begins with \"hello\", wanted safetensors or a file of `torch.save`"));
    assert!(open(b"PK\x03\x04").contains("archive"));
    assert!(open(b"\x80\x02N.").contains("a pickle, but not of `torch.save`"));
}

/// The same archive, written anew with 64-bit sizes, or with one entry changed.
fn rezip(
    name: &str,
    options: zip::write::SimpleFileOptions,
    change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
) -> tempfile::TempDir {
    use std::io::{Cursor, Read, Write};
    let mut old = zip::ZipArchive::new(Cursor::new(fs::read(file(name)).unwrap())).unwrap();
    let mut new = zip::ZipWriter::new(Cursor::new(vec![]));
    for i in 0..old.len() {
        let mut entry = old.by_index(i).unwrap();
        let (name, mut content) = (entry.name().unwrap().into_owned(), vec![]);
        entry.read_to_end(&mut content).unwrap();
        new.start_file(name.as_str(), options).unwrap();
        new.write_all(&change(&name, content)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("pytorch_model.bin"), new.finish().unwrap().into_inner()).unwrap();
    dir
}

#[test]
fn zip_archives_of_other_writers() {
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let big = rezip("module.bin", stored.large_file(true), |_, content| content);
    check_same(&big.path().join("pytorch_model.bin"), "module.safetensors", Format::TorchZip, &[]);

    let refused = |options, end: &str, with: &[u8]| {
        let change = |name: &str, old: Vec<u8>| if name.ends_with(end) { with.to_vec() } else { old };
        message(WeightFiles::open(rezip("module.bin", options, change).path()))
    };
    let deflated = stored.compression_method(zip::CompressionMethod::Deflated);
    assert!(refused(deflated, "none", b"").contains("is compressed or encrypted"));
    assert!(refused(stored, "byteorder", b"big").contains("byte order is \"big\", wanted \"little\""));
    assert!(refused(stored, "data/0", b"123").contains("storage `0` has 3 bytes, wanted 60"));
    assert!(refused(stored, "data.pkl", b"N.").contains("holds no state dict"));
    assert!(refused(stored, "data.pkl", b"}.N").contains("the pickle has 3 bytes, 2 of them used"));
}

#[track_caller]
fn check_resolved(files: &WeightFiles, name: &str, prefix: &str, want: Option<&str>) {
    assert_eq!(files.resolve(name, prefix).map(|w| w.name), want, "{name} with {prefix:?}");
}

#[test]
fn other_spellings_of_names() {
    let names = ["wte.weight", "h.0.ln.weight", "bert.enc.LayerNorm.gamma", "bert.enc.LayerNorm.beta", "scale.gamma"];
    let tensor = |name| NamedTensor { name, dtype: Dtype::I8, shape: &[1], data: TensorData::Bytes(&[1]) };
    let dir = tempfile::tempdir().unwrap();
    write_safetensors(dir.path(), &names.map(tensor), DEFAULT_SHARD_LIMIT).unwrap();
    let files = WeightFiles::open(dir.path()).unwrap();
    check_resolved(&files, "wte.weight", "transformer", Some("wte.weight"));
    check_resolved(&files, "transformer.wte.weight", "transformer.", Some("wte.weight"));
    check_resolved(&files, "transformer.wte.weight", "", None);
    check_resolved(&files, "transformers.wte.weight", "transformer", None);
    check_resolved(&files, "bert.enc.LayerNorm.weight", "bert", Some("bert.enc.LayerNorm.gamma"));
    check_resolved(&files, "enc.LayerNorm.bias", "bert", Some("bert.enc.LayerNorm.beta"));
    check_resolved(&files, "scale.weight", "", None);
    assert_eq!(files.tensor_hint("h.0.ln.weights"), ["h.0.ln.weight"]);
    assert_eq!(files.tensor_hint("wte.weigth"), ["wte.weight"]);
    assert!(files.tensor_hint("completely different").is_empty());
}

/// Three tensors of 12, 8 and 2 bytes.
fn write_three(dir: &Path, limit: u64, reversed: bool) -> Vec<PathBuf> {
    let floats: Vec<u8> = [1.0f32, -2.0, 0.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut tensors = vec![
        NamedTensor { name: "b.float", dtype: Dtype::F32, shape: &[3, 1], data: TensorData::Bytes(&floats) },
        NamedTensor { name: "a.bytes", dtype: Dtype::U8, shape: &[2], data: TensorData::Bytes(&[1, 2]) },
        NamedTensor {
            name: "c.long",
            dtype: Dtype::I64,
            shape: &[],
            data: TensorData::Writer(&|to| to.write_all(&[7]).and_then(|()| to.write_all(&[0; 7]))),
        },
    ];
    if reversed {
        tensors.reverse();
    }
    write_safetensors(dir, &tensors, limit).unwrap()
}

#[track_caller]
fn check_written(limit: u64, want: &[&str]) {
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write_three(dir.path(), limit, false);
    assert_eq!(written, want.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>());
    let others = write_three(again.path(), limit, true);
    for (one, other) in written.iter().zip(others) {
        assert_eq!(fs::read(one).unwrap(), fs::read(other).unwrap(), "{}", one.display());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), want.len(), "nothing else is left behind");

    let files = WeightFiles::open(dir.path()).unwrap();
    assert_eq!(files.names().collect::<Vec<_>>(), ["a.bytes", "b.float", "c.long"]);
    assert_eq!(files.get("b.float").unwrap().as_f32_slice(), Some(&[1.0, -2.0, 0.5][..]));
    assert_eq!(files.get("a.bytes").unwrap().to_i64().unwrap(), [1, 2]);
    assert_eq!(files.get("c.long").unwrap().to_i64().unwrap(), [7]);
    for path in files.files() {
        safetensors::SafeTensors::deserialize(&fs::read(path).unwrap()).unwrap();
    }
}

#[test]
fn written_whole_and_in_shards() {
    check_written(DEFAULT_SHARD_LIMIT, &["model.safetensors"]);
    check_written(22, &["model.safetensors"]);
    let two = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"];
    check_written(21, &two);
    check_written(14, &two);
    let three = [
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ];
    check_written(0, &three);
}

#[test]
fn index_says_what_is_where() {
    let dir = tempfile::tempdir().unwrap();
    write_three(dir.path(), 14, false);
    let index = fs::read_to_string(dir.path().join("model.safetensors.index.json")).unwrap();
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let want = format!(
        "{{\n  \"metadata\": {{\n    \"total_size\": 22\n  }},\n  \"weight_map\": {{\n    \"a.bytes\": \"{0}\",\n    \
         \"b.float\": \"{0}\",\n    \"c.long\": \"{1}\"\n  }}\n}}\n",
        shards[0], shards[1]
    );
    assert_eq!(index, want);
}

#[track_caller]
fn check_unwritable(tensors: &[NamedTensor<'_>], want: &str) {
    let dir = tempfile::tempdir().unwrap();
    let got = write_safetensors(dir.path(), tensors, DEFAULT_SHARD_LIMIT).unwrap_err().to_string();
    assert!(got.contains(want), "{got}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn tensors_that_cannot_be_written() {
    let bytes = |name, shape, bytes| NamedTensor { name, dtype: Dtype::F16, shape, data: TensorData::Bytes(bytes) };
    check_unwritable(&[bytes("a", &[3], &[0; 4])], "tensor `a` cannot be written: got 4 bytes, F16 of [3] wants 6");
    check_unwritable(&[bytes("a", &[1], &[0; 2]), bytes("a", &[1], &[0; 2])], "its name is there twice");
    check_unwritable(&[bytes("__metadata__", &[1], &[0; 2])], "its name is reserved");
    check_unwritable(&[bytes("a", &[usize::MAX, 4], &[])], "overflows");
    let writer = |data| NamedTensor { name: "a", dtype: Dtype::F16, shape: &[2], data: TensorData::Writer(data) };
    check_unwritable(&[writer(&|to| to.write_all(&[0; 3]))], "tensor `a` was written with 1 bytes too few");
    check_unwritable(&[writer(&|to| to.write_all(&[0; 7]))], "written with 3 bytes too many");
    check_unwritable(&[writer(&|_| Err(std::io::Error::other("no more")))], "cannot be written: no more\nhint: ");
    let missing = write_safetensors(Path::new("/no/such/place"), &[], 0).unwrap_err().to_string();
    assert!(missing.starts_with("/no/such/place/model.safetensors: cannot be written"), "{missing}");

    let dir = tempfile::tempdir().unwrap();
    write_three(dir.path(), DEFAULT_SHARD_LIMIT, false);
    let tensors = [bytes("a", &[1], &[0; 2]), bytes("b", &[1], &[0; 2])];
    let got = write_safetensors(dir.path(), &tensors, 2).unwrap_err().to_string();
    assert!(got.contains("model.safetensors: is in the way"), "{got}");
}

/// Opens `content` and reads every element of whatever it is taken for.
fn open_all(path: &Path, content: &[u8]) -> Result<(), Error> {
    fs::write(path, content).unwrap();
    let files = WeightFiles::open(path)?;
    for name in files.names() {
        let weight = files.get(name).unwrap();
        let count = elements(&weight).len();
        assert_eq!(count, weight.numel());
        assert!(count <= 1 << 24, "{name}: {count} elements from {} bytes", content.len());
    }
    files.summary();
    Ok(())
}

#[test]
fn truncated_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["module.bin", "module-legacy.bin", "module.safetensors"] {
        let content = fs::read(file(name)).unwrap();
        let path = dir.path().join(name);
        open_all(&path, &content).unwrap();
        for len in 0..content.len() {
            assert!(open_all(&path, &content[..len]).is_err(), "{name} cut at {len} of {}", content.len());
        }
    }
}

#[test]
fn every_byte_changed_once() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["module.bin", "module-legacy.bin", "module.safetensors"] {
        let mut content = fs::read(file(name)).unwrap();
        for at in 0..content.len() {
            let was = content[at];
            content[at] = was ^ (1 << (at % 8));
            // Whether it is noticed or not: no panic, and not more memory than the file warrants.
            let _ = open_all(&dir.path().join(name), &content);
            content[at] = was;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_bytes_changed(
        which in 0usize..6,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        moved in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let names = ["dtypes.bin", "dtypes-legacy.bin", "dtypes.safetensors", "nested.bin", "no-checksums.bin", "evil.bin"];
        let mut content = fs::read(file(names[which])).unwrap();
        for (at, value) in flips {
            let at = at.index(content.len());
            content[at] = value;
        }
        if let Some((from, to)) = moved {
            let (from, to) = (from.index(content.len()), to.index(content.len()));
            content.drain(from.min(to)..from.max(to));
        }
        let dir = tempfile::tempdir().unwrap();
        let _ = open_all(&dir.path().join(names[which]), &content);
    }
}
