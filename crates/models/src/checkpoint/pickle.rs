//! Reads pickles of tensors without executing anything.
//!
//! A pickle is a program for a stack machine. The opcodes here build plain values; the only "calls" are the closed
//! list of [`Global`]s, each of which has a fixed meaning in this file. Values live in one arena ([`Heap`]) and refer
//! to each other by index, so that nesting costs no recursion, and no opcode adds more than one value (what copies is
//! counted), so that memory is bounded by the length of the pickle and by [`machine::MAX_OPS`].

use std::ops::Range;

use super::{Dtype, machine};

/// What a pickle may refer to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    /// The whole list; anything else is [`PickleError::Forbidden`].
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Self::Storage(Dtype::I64),
            ("torch", "IntStorage") => Self::Storage(Dtype::I32),
            ("torch", "ShortStorage") => Self::Storage(Dtype::I16),
            ("torch", "CharStorage") => Self::Storage(Dtype::I8),
            ("torch", "ByteStorage") => Self::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Self::Storage(Dtype::BOOL),
            _ => return None,
        })
    }
}

/// A value; containers are indices into the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian two's complement.
    BigInt(&'a [u8]),
    Float,
    Str(&'a str),
    Bytes(&'a [u8]),
    Global(Global),
    Tuple {
        start: usize,
        len: usize,
    },
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// A storage as the pickle names it; where its bytes are, the container knows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    /// The length of the whole storage in elements.
    pub(super) numel: usize,
    /// The part of it that is meant, in elements.
    pub(super) part: Range<usize>,
}

/// A tensor as the pickle rebuilds it; shape and strides have the same length.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) storage: usize,
    /// In elements of the storage.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Everything that pickles of one file have built.
#[derive(Default)]
pub(super) struct Heap<'a> {
    pub(super) tuples: Vec<Value<'a>>,
    pub(super) lists: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor>,
}

/// Why a pickle is refused.
#[derive(Debug, PartialEq)]
pub(super) enum PickleError {
    /// Module and name of what it wants to refer to.
    Forbidden(String),
    Invalid {
        offset: usize,
        reason: String,
    },
}

pub(super) type Result<T> = std::result::Result<T, PickleError>;

impl<'a> Heap<'a> {
    /// Runs the pickle at the beginning of `bytes`; gives its value and its length.
    pub(super) fn load(&mut self, bytes: &'a [u8]) -> Result<(Value<'a>, usize)> {
        machine::run(self, bytes)
    }

    pub(super) fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple { start, len } => Some(&self.tuples[start..start + len]),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::List(i) => Some(&self.lists[i]),
            _ => None,
        }
    }

    /// Keys and values in the order they were set; of equal keys the last counts.
    pub(super) fn dict(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(i) => Some(&self.dicts[i]),
            _ => None,
        }
    }

    /// The value of a string key.
    pub(super) fn get(&self, dict: Value<'a>, key: &str) -> Option<Value<'a>> {
        self.dict(dict)?.iter().rev().find(|(k, _)| *k == Value::Str(key)).map(|&(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::{machine::MAX_OPS, *};

    #[track_caller]
    fn check(pickle: &[u8], want: Value<'_>) {
        assert_eq!(Heap::default().load(pickle), Ok((want, pickle.len())));
    }

    #[test]
    fn scalars() {
        check(b"\x80\x02N.", Value::None);
        check(b"\x80\x05\x95\0\0\0\0\0\0\0\0\x88.", Value::Bool(true));
        check(b"K\xff.", Value::Int(255));
        check(b"M\xff\xff.", Value::Int(65535));
        check(b"J\xff\xff\xff\xff.", Value::Int(-1));
        check(b"\x8a\x00.", Value::Int(0));
        check(b"\x8a\x01\xfe.", Value::Int(-2));
        check(b"\x8a\x05\0\0\0\0\x01.", Value::Int(1 << 32));
        check(b"\x8b\x09\0\0\0\0\0\0\0\0\0\0\0\x01.", Value::BigInt(&[0, 0, 0, 0, 0, 0, 0, 0, 1]));
        check(b"G\0\0\0\0\0\0\0\0.", Value::Float);
        check(b"\x8c\x02\xc3\xa9.", Value::Str("é"));
        check(b"U\x01\xff.", Value::Bytes(&[255]));
        check(b"ccollections\nOrderedDict\n.", Value::Global(Global::OrderedDict));
        check(b"\x8c\x05torch\x94\x8c\x0bHalfStorage\x94\x93.", Value::Global(Global::Storage(Dtype::F16)));
        check(b"(K\x01K\x021N2\x30.", Value::None);
    }

    #[test]
    fn containers() {
        // {"a": [(1, 2), "b"]}, the key recalled from the memo as the second item.
        let pickle = b"}X\x01\0\0\0aq\x00](K\x01K\x02\x86h\x00es.";
        let mut heap = Heap::default();
        let (dict, _) = heap.load(pickle).unwrap();
        let list = heap.list(heap.get(dict, "a").unwrap()).unwrap();
        assert_eq!(heap.tuple(list[0]), Some(&[Value::Int(1), Value::Int(2)][..]));
        assert_eq!(list[1], Value::Str("a"));
    }

    #[track_caller]
    fn check_refused(pickle: &[u8], want: &str) {
        match Heap::default().load(pickle) {
            Err(PickleError::Invalid { reason, .. }) => assert!(reason.contains(want), "{reason}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn damage_is_named() {
        check_refused(b"", "wanted 1 more bytes, got 0");
        check_refused(b"X\xff\xff\xff\xffab", "wanted 4294967295 more bytes, got 2");
        check_refused(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends early");
        check_refused(b"\x8c\x01\xff.", "not UTF-8");
        check_refused(b".", "an empty stack");
        check_refused(b"K\x01(\x30.", "an empty stack");
        check_refused(b"t", "no mark");
        check_refused(b"h\x07", "memo 7");
        check_refused(b"Na.", "an empty stack");
        check_refused(b"NNa.", "not a list");
        check_refused(b"}(Nu.", "a key without a value");
        check_refused(b"N(Q.", "an empty stack");
        check_refused(b"NQ.", "not of a storage");
        check_refused(b"NNb.", "not a dict");
        check_refused(b"\x80\x06N.", "protocol 6, wanted 2 to 5");
        check_refused(b"I1\n.", "opcode 0x49");
        check_refused(b"ccollections\nOrderedDict\nK\x01\x85R.", "OrderedDict with other arguments");
        check_refused(b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "a call with other arguments");
    }

    #[track_caller]
    fn check_forbidden(pickle: &[u8], want: &str) {
        assert_eq!(Heap::default().load(pickle), Err(PickleError::Forbidden(want.into())));
    }

    #[test]
    fn globals_are_a_closed_list() {
        check_forbidden(b"cos\nsystem\nX\x02\0\0\0ls\x85R.", "os.system");
        check_forbidden(b"\x8c\x02os\x8c\x06system\x93.", "os.system");
        check_forbidden(b"ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes");
        check_forbidden(b"cbuiltins\neval\n.", "builtins.eval");
        check_forbidden(b"ctorch\nQInt8Storage\n.", "torch.QInt8Storage");
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let mut pickle = vec![b')'];
        pickle.extend([0x85; 1_000_000]);
        pickle.push(b'.');
        assert!(Heap::default().load(&pickle).is_ok());
        check_refused(&vec![b'N'; MAX_OPS + 1], "more than 8388608 opcodes");
        // One list of pairs, copied again and again.
        let mut pickle = b"ccollections\nOrderedDict\nq\x00](".to_vec();
        pickle.extend(b"NN\x86".repeat(100_000));
        pickle.extend(b"eq\x01");
        pickle.extend(b"h\x00h\x01\x85R0".repeat(100));
        check_refused(&pickle, "items of OrderedDicts");
    }
}
