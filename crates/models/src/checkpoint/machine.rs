//! The stack machine that pickles are programs for, as far as weights need it.

use std::collections::HashMap;

use super::pickle::{Global, Heap, PickleError, Result, Storage, Tensor, Value};

/// A checkpoint needs some thirty opcodes a tensor.
pub(super) const MAX_OPS: usize = 1 << 23;
const MAX_TENSORS: usize = 1 << 18;
const MAX_AXES: usize = 64;
/// Keys are numbers.
const MAX_KEY: usize = 256;

/// Runs the pickle at the beginning of `bytes`; gives its value and its length.
pub(super) fn run<'a>(heap: &mut Heap<'a>, bytes: &'a [u8]) -> Result<(Value<'a>, usize)> {
    let mut machine =
        Machine { heap, bytes, at: 0, op: 0, stack: vec![], marks: vec![], memo: HashMap::new(), copied: 0 };
    let value = machine.run()?;
    Ok((value, machine.at))
}

struct Machine<'h, 'a> {
    heap: &'h mut Heap<'a>,
    bytes: &'a [u8],
    at: usize,
    /// Where the current opcode is.
    op: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    /// Pairs that were copied out of lists, the one thing that costs more than its opcode.
    copied: usize,
}

impl<'a> Machine<'_, 'a> {
    fn run(&mut self) -> Result<Value<'a>> {
        for _ in 0..MAX_OPS {
            self.op = self.at;
            let [op] = self.array()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
        Err(self.invalid(format!("more than {MAX_OPS} opcodes")))
    }

    fn step(&mut self, op: u8) -> Result<()> {
        let value = match op {
            // PROTO and FRAME say nothing that is needed.
            0x80 => return self.protocol(),
            0x95 => return self.take(8).map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(());
            }
            b'0' => return self.pop().map(drop),
            b'1' => return self.pop_mark().map(drop),
            b'2' => self.top()?,

            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let len = self.length::<1>()?;
                self.long(len)?
            }
            0x8b => {
                let len = self.length::<4>()?;
                self.long(len)?
            }
            b'G' => {
                self.take(8)?;
                Value::Float
            }

            0x8c => self.string::<1>()?,
            b'X' => self.string::<4>()?,
            0x8d => self.string::<8>()?,
            b'C' => self.bytes_value::<1>()?,
            b'B' => self.bytes_value::<4>()?,
            0x8e => self.bytes_value::<8>()?,
            // What Python 2 wrote for its `str`, in which names were kept.
            b'U' => self.old_string::<1>()?,
            b'T' => self.old_string::<4>()?,

            b')' => self.tuple(0)?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.pop_mark()?;
                self.new_tuple(items)
            }
            b']' => {
                self.heap.lists.push(vec![]);
                Value::List(self.heap.lists.len() - 1)
            }
            b'}' => self.new_dict(),
            b'a' => {
                let item = self.pop()?;
                return self.append(vec![item]);
            }
            b'e' => {
                let items = self.pop_mark()?;
                return self.append(items);
            }
            b's' => {
                let items = self.pop_n(2)?;
                return self.set_items(items);
            }
            b'u' => {
                let items = self.pop_mark()?;
                return self.set_items(items);
            }

            b'q' => {
                let key = self.array::<1>()?[0].into();
                return self.memoize(key);
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                return self.memoize(key);
            }
            // Cannot be as large as 2³²: every entry took an opcode.
            0x94 => return self.memoize(self.memo.len() as u32),
            b'h' => {
                let key = self.array::<1>()?[0].into();
                self.recall(key)?
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?
            }
            0x93 => match self.pop_n(2)?[..] {
                [Value::Str(module), Value::Str(name)] => self.global(module, name)?,
                _ => return Err(self.invalid("a global without a name")),
            },
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            b'b' => return self.build(),
            _ => return Err(self.invalid(format!("opcode {op:#04x}, which weights do not need"))),
        };
        self.stack.push(value);
        Ok(())
    }

    fn protocol(&mut self) -> Result<()> {
        match self.array()? {
            [2..=5] => Ok(()),
            [got] => Err(self.invalid(format!("pickle protocol {got}, wanted 2 to 5"))),
        }
    }

    fn long(&mut self, len: usize) -> Result<Value<'a>> {
        let bytes = self.take(len)?;
        if len > 8 {
            return Ok(Value::BigInt(bytes));
        }
        let negative = bytes.last().is_some_and(|&b| b >= 0x80);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..len].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(all)))
    }

    fn string<const N: usize>(&mut self) -> Result<Value<'a>> {
        let len = self.length::<N>()?;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(Value::Str(s)),
            Err(e) => Err(self.invalid(format!("a string that is not UTF-8 from its byte {}", e.valid_up_to()))),
        }
    }

    fn bytes_value<const N: usize>(&mut self) -> Result<Value<'a>> {
        let len = self.length::<N>()?;
        self.take(len).map(Value::Bytes)
    }

    fn old_string<const N: usize>(&mut self) -> Result<Value<'a>> {
        let len = self.length::<N>()?;
        let bytes = self.take(len)?;
        Ok(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Str))
    }

    fn tuple(&mut self, len: usize) -> Result<Value<'a>> {
        let items = self.pop_n(len)?;
        Ok(self.new_tuple(items))
    }

    fn new_tuple(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        let start = self.heap.tuples.len();
        self.heap.tuples.extend_from_slice(&items);
        Value::Tuple { start, len: items.len() }
    }

    fn new_dict(&mut self) -> Value<'a> {
        self.heap.dicts.push(vec![]);
        Value::Dict(self.heap.dicts.len() - 1)
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let Value::List(list) = self.top()? else { return Err(self.invalid("append to what is not a list")) };
        self.heap.lists[list].extend(items);
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let Value::Dict(dict) = self.top()? else { return Err(self.invalid("set an item of what is not a dict")) };
        let (pairs, []) = items.as_chunks() else { return Err(self.invalid("a key without a value")) };
        self.heap.dicts[dict].extend(pairs.iter().map(|&[k, v]| (k, v)));
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&self, key: u32) -> Result<Value<'a>> {
        self.memo.get(&key).copied().ok_or_else(|| self.invalid(format!("memo {key}, which was not set")))
    }

    fn global(&self, module: &str, name: &str) -> Result<Value<'a>> {
        match Global::find(module, name) {
            Some(global) => Ok(Value::Global(global)),
            None => Err(PickleError::Forbidden(format!("{module}.{name}"))),
        }
    }

    /// `("storage", type, key, device, numel)`, in the old form followed by `None` or `(key, offset, numel)` of a part.
    fn storage(&mut self) -> Result<Value<'a>> {
        let id = self.pop()?;
        let invalid = || self.invalid("a persistent id that is not of a storage");
        let (dtype, key, numel, view) = match *self.heap.tuple(id).ok_or_else(invalid)? {
            [Value::Str("storage"), Value::Global(Global::Storage(dtype)), Value::Str(key), _, Value::Int(numel)] => {
                (dtype, key, numel, Value::None)
            }
            [
                Value::Str("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                _,
                Value::Int(numel),
                v,
            ] => (dtype, key, numel, v),
            _ => return Err(invalid()),
        };
        let size = |n: i64| usize::try_from(n).ok().filter(|n| n.checked_mul(8).is_some());
        if key.len() > MAX_KEY {
            return Err(self.invalid(format!("a storage key of {} bytes", key.len())));
        }
        let numel = size(numel).ok_or_else(|| self.invalid(format!("a storage of {numel} elements")))?;
        let part = match view {
            Value::None => 0..numel,
            view => {
                let invalid = || self.invalid("a part that its storage does not contain");
                let [_, Value::Int(offset), Value::Int(len)] = *self.heap.tuple(view).ok_or_else(invalid)? else {
                    return Err(invalid());
                };
                let (offset, len) = size(offset).zip(size(len)).ok_or_else(invalid)?;
                let end = offset.checked_add(len).filter(|&end| end <= numel).ok_or_else(invalid)?;
                offset..end
            }
        };
        self.heap.storages.push(Storage { key, dtype, numel, part });
        Ok(Value::Storage(self.heap.storages.len() - 1))
    }

    fn reduce(&mut self) -> Result<Value<'a>> {
        let [callable, args] = self.pop_n(2)?[..] else { return Err(self.invalid("a call without arguments")) };
        let invalid = |what| self.invalid(format!("{what} with other arguments than known"));
        let args = self.heap.tuple(args).ok_or_else(|| invalid("a call"))?;
        match (callable, args) {
            (Value::Global(Global::OrderedDict), []) => Ok(self.new_dict()),
            (Value::Global(Global::OrderedDict), &[pairs]) => {
                let pair = |&pair| match self.heap.list(pair).or(self.heap.tuple(pair)) {
                    Some(&[key, value]) => Ok((key, value)),
                    _ => Err(invalid("OrderedDict")),
                };
                let pairs = self.heap.list(pairs).ok_or_else(|| invalid("OrderedDict"))?;
                let pairs = pairs.iter().map(pair).collect::<Result<Vec<_>>>()?;
                self.copied += pairs.len();
                if self.copied > MAX_OPS {
                    return Err(self.invalid(format!("more than {MAX_OPS} items of OrderedDicts")));
                }
                self.heap.dicts.push(pairs);
                Ok(Value::Dict(self.heap.dicts.len() - 1))
            }
            (
                Value::Global(Global::RebuildTensor),
                &[Value::Storage(storage), Value::Int(offset), size, stride, _requires_grad, _hooks, ref metadata @ ..],
            ) => {
                // Conjugated and negated views keep a flag there; weights are neither.
                let plain = match *metadata {
                    [] | [Value::None] => true,
                    [dict] => self.heap.dict(dict).is_some_and(<[_]>::is_empty),
                    _ => false,
                };
                let axes = |value| {
                    let axes = self.heap.tuple(value).filter(|axes| axes.len() <= MAX_AXES)?;
                    let axis = |v: &Value<'_>| if let Value::Int(n) = *v { usize::try_from(n).ok() } else { None };
                    axes.iter().map(axis).collect::<Option<Vec<_>>>()
                };
                let (Some(shape), Some(strides), Ok(offset), true) =
                    (axes(size), axes(stride), usize::try_from(offset), plain)
                else {
                    return Err(invalid("_rebuild_tensor_v2"));
                };
                if shape.len() != strides.len() {
                    return Err(invalid("_rebuild_tensor_v2"));
                }
                self.new_tensor(Tensor { storage, offset, shape, strides })
            }
            (Value::Global(Global::RebuildParameter), &[tensor @ Value::Tensor(_), _requires_grad, _hooks]) => {
                Ok(tensor)
            }
            _ => Err(invalid("a call")),
        }
    }

    fn new_tensor(&mut self, tensor: Tensor) -> Result<Value<'a>> {
        if self.heap.tensors.len() == MAX_TENSORS {
            return Err(self.invalid(format!("more than {MAX_TENSORS} tensors")));
        }
        self.heap.tensors.push(tensor);
        Ok(Value::Tensor(self.heap.tensors.len() - 1))
    }

    /// A state dict carries its modules' versions (`_metadata`) as an attribute; that is dropped.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err(self.invalid("attributes of what is not a dict")),
        }
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// The last value above the last mark.
    fn top(&self) -> Result<Value<'a>> {
        match self.stack[self.floor()..].last() {
            Some(&value) => Ok(value),
            None => Err(self.invalid("an empty stack")),
        }
    }

    fn pop_n(&mut self, n: usize) -> Result<Vec<Value<'a>>> {
        match self.stack.len().checked_sub(n).filter(|&start| start >= self.floor()) {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err(self.invalid("an empty stack")),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Value<'a>>> {
        match self.marks.pop() {
            Some(start) => Ok(self.stack.split_off(start)),
            None => Err(self.invalid("no mark")),
        }
    }

    /// The stack never shrinks below its last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..len) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => {
                Err(self.invalid(format!("ends early: wanted {len} more bytes, got {}", self.bytes.len() - self.at)))
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A little-endian length of `N` bytes; too large ones fail when they are taken.
    fn length<const N: usize>(&mut self) -> Result<usize> {
        let mut all = [0; 8];
        all[..N].copy_from_slice(self.take(N)?);
        Ok(usize::try_from(u64::from_le_bytes(all)).unwrap_or(usize::MAX))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let line = rest.iter().position(|&b| b == b'\n').and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let line = line.ok_or_else(|| self.invalid("a global without a name"))?;
        self.at += line.len() + 1;
        Ok(line)
    }

    fn invalid(&self, reason: impl Into<String>) -> PickleError {
        PickleError::Invalid { offset: self.op, reason: reason.into() }
    }
}
