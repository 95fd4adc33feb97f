//! The safetensors format: eight bytes of header length, a JSON header, the bytes of all tensors without a hole.

use std::{collections::HashSet, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::{Dtype, Error, Result, files::Entry, weight};

/// Longer headers are refused by every reader.
pub(super) const MAX_HEADER: usize = 100_000_000;

/// The key of the header that is not a tensor.
pub(super) const METADATA: &str = "__metadata__";

const PREFIX: usize = 8;

/// Reads the header in `file`, the content of `path`, and checks that it describes every byte exactly once.
pub(super) fn read(path: &Path, file: &[u8]) -> Result<Vec<(String, Entry)>> {
    let (start, header) = header(path, file)?;
    let mut entries = Vec::with_capacity(header.0.len());
    for (name, info) in header.0 {
        let dtype = Dtype::from_name(&info.dtype).ok_or_else(|| Error::UnknownDtype {
            path: path.into(),
            name: name.clone(),
            got: info.dtype,
        })?;
        let (begin, end) = info.data_offsets;
        let Some(got) = end.checked_sub(begin) else {
            return Err(Error::tensor(path, &name, format!("ends at byte {end}, before it begins at {begin}")));
        };
        let wanted = weight::numel(&info.shape).map(|n| n * dtype.size());
        if wanted != Some(got) {
            let wanted = wanted.map_or("more than fit in memory".into(), |n| n.to_string());
            let shape = info.shape;
            return Err(Error::tensor(path, &name, format!("got {got} bytes, {dtype} of {shape:?} wants {wanted}")));
        }
        entries.push((name, dtype, info.shape, begin, end));
    }
    entries.sort_by(|a, b| (a.3, a.4, &a.0).cmp(&(b.3, b.4, &b.0)));
    let mut last = ("the header", 0);
    for (name, _, _, begin, end) in &entries {
        if *begin != last.1 {
            let what = if *begin < last.1 { "overlaps" } else { "leaves a hole behind" };
            let reason = format!("begins at byte {begin} and {what} {}, which ends at {}", last.0, last.1);
            return Err(Error::tensor(path, name, reason));
        }
        last = (name, *end);
    }
    let wanted = (start as u64).saturating_add(last.1 as u64);
    if wanted != file.len() as u64 {
        return Err(Error::Length { path: path.into(), got: file.len() as u64, wanted });
    }
    // The sum is within the file, as was just checked.
    let entry = |(name, dtype, shape, begin, end)| {
        (name, Entry { dtype, shape, strides: None, range: start + begin..start + end })
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// The parsed header and where it ends.
fn header(path: &Path, file: &[u8]) -> Result<(usize, Header)> {
    let too_short = |wanted| Error::Length { path: path.into(), got: file.len() as u64, wanted };
    let Some((prefix, rest)) = file.split_first_chunk::<PREFIX>() else { return Err(too_short(PREFIX as u64)) };
    let length = u64::from_le_bytes(*prefix);
    if length > MAX_HEADER as u64 {
        return Err(Error::header(path, format!("is said to have {length} bytes, at most {MAX_HEADER} are allowed")));
    }
    let length = length as usize;
    if rest.first().is_some_and(|&b| b != b'{') {
        return Err(Error::header(path, "does not begin with `{`"));
    }
    let Some(text) = rest.get(..length) else { return Err(too_short((PREFIX + length) as u64)) };
    let header = serde_json::from_slice(text).map_err(|e| Error::header(path, e.to_string()))?;
    Ok((PREFIX + length, header))
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The tensors of a header in its order, each name once.
struct Header(Vec<(String, Info)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a tensor a key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let (mut tensors, mut seen) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                    if name == METADATA {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        tensors.push((name, map.next_value()?));
                    }
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        file.resize(file.len() + data, 0);
        file
    }

    fn read_bytes(file: &[u8]) -> Result<Vec<(String, Entry)>> {
        read(Path::new("m.safetensors"), file)
    }

    #[track_caller]
    fn check_refused(header: &str, data: usize, reason: &str) {
        let got = read_bytes(&file(header, data)).err().unwrap().to_string();
        assert!(got.starts_with("m.safetensors: ") && got.contains(reason), "{got}");
    }

    #[test]
    fn tensors_in_order_of_their_bytes() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F32","shape":[1,2],"data_offsets":[2,10]},
            "a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},
            "none":{"dtype":"I64","shape":[0,3],"data_offsets":[10,10]}}  "#;
        let start = 8 + header.len();
        let got = read_bytes(&file(header, 10)).unwrap();
        let names: Vec<_> = got.iter().map(|(n, e)| (n.as_str(), e.dtype, e.shape.clone(), e.range.clone())).collect();
        assert_eq!(
            names,
            [
                ("a", Dtype::BF16, vec![], start..start + 2),
                ("b", Dtype::F32, vec![1, 2], start + 2..start + 10),
                ("none", Dtype::I64, vec![0, 3], start + 10..start + 10),
            ]
        );
    }

    #[test]
    fn damaged_files() {
        let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        check_refused(
            one,
            5,
            &format!("got {} bytes, wanted {}\nhint: the file is truncated", 13 + one.len(), 16 + one.len()),
        );
        check_refused(one, 9, "the file is damaged");
        check_refused(
            r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
            8,
            "tensor `a`: got 8 bytes, F32 of [3] wants 12",
        );
        check_refused(
            r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[8,0]}}"#,
            8,
            "ends at byte 0, before it begins at 8",
        );
        check_refused(
            r#"{"a":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}}"#,
            1,
            "has dtype F8_E5M2, wanted one of F64, I64",
        );
        check_refused(
            r#"{"a":{"dtype":"I8","shape":[9999999999,9999999999],"data_offsets":[0,1]}}"#,
            1,
            "more than fit",
        );
        check_refused(r#"{"a":{"dtype":"I8","shape":[-1],"data_offsets":[0,1]}}"#, 1, "invalid value: integer `-1`");
        check_refused(r#"{"a":{"dtype":"I8","shape":[1]}}"#, 1, "missing field `data_offsets`");
        check_refused(r#"{"a":1}"#, 0, "invalid type: integer `1`");
        check_refused("[]", 0, "does not begin with `{`");
        check_refused(r#"{"a":"#, 0, "EOF while parsing");
        let i8 = |name: &str, begin: usize, end: usize| {
            format!(r#""{name}":{{"dtype":"I8","shape":[{}],"data_offsets":[{begin},{end}]}}"#, end - begin)
        };
        let two = |a: String, b: String| format!("{{{a},{b}}}");
        check_refused(
            &two(i8("a", 0, 2), i8("b", 1, 3)),
            3,
            "tensor `b`: begins at byte 1 and overlaps a, which ends at 2",
        );
        check_refused(&two(i8("a", 0, 2), i8("b", 3, 4)), 4, "tensor `b`: begins at byte 3 and leaves a hole behind a");
        check_refused(&two(i8("a", 0, 2), i8("a", 2, 4)), 4, "`a` is there twice");
    }

    #[test]
    fn lengths_that_lie() {
        let message = |file: &[u8]| read_bytes(file).err().unwrap().to_string();
        assert!(message(b"").contains("got 0 bytes, wanted 8"));
        assert!(message(&[0xff; 20]).contains("18446744073709551615 bytes, at most"));
        assert!(message(b"\x20\0\0\0\0\0\0\0{}").contains("got 10 bytes, wanted 40"));
        assert!(message(b"\x00\0\0\0\0\0\0\0").contains("EOF while parsing"));
    }
}
