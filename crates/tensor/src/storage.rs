//! What a tensor's numbers lie in.

use std::{fmt, ops::Range, sync::Arc};

use bedstone_kernels::{
    bf16,
    mem::{Buf, MappedFile},
};
use bytemuck::Pod;

/// The type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// The upper half of it: activations where products take bf16.
    Bf16,
    /// 32-bit integers: ids, labels, positions.
    I32,
    /// Bytes: masks.
    U8,
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::I32 => "i32",
            Dtype::U8 => "u8",
        })
    }
}

/// Numbers of one of the types.
#[derive(Clone)]
pub enum Data {
    F32(Arc<Storage<f32>>),
    Bf16(Arc<Storage<bf16>>),
    I32(Arc<Storage<i32>>),
    U8(Arc<Storage<u8>>),
}

/// A buffer of our own, or a part of a file.
pub enum Storage<T: Pod> {
    Owned(Buf<T>),
    /// Bytes of a file, aligned for `T`.
    Mapped(Arc<MappedFile>, Range<usize>),
}

impl<T: Pod> Storage<T> {
    pub fn slice(&self) -> &[T] {
        match self {
            Storage::Owned(buf) => buf,
            // Alignment was checked when the tensor was made.
            Storage::Mapped(file, range) => bytemuck::cast_slice(&file[range.clone()]),
        }
    }
}

/// A type that tensors hold.
pub trait Element: Pod + Sealed {
    /// Its name.
    const DTYPE: Dtype;
}

/// Keeps the types of numbers to those of [`Data`].
pub trait Sealed: Pod {
    fn wrap(storage: Storage<Self>) -> Data;
    fn of(data: &Data) -> Option<&Arc<Storage<Self>>>;
    fn of_mut(data: &mut Data) -> Option<&mut Arc<Storage<Self>>>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Sealed for $type {
            fn wrap(storage: Storage<Self>) -> Data {
                Data::$variant(Arc::new(storage))
            }
            fn of(data: &Data) -> Option<&Arc<Storage<Self>>> {
                if let Data::$variant(x) = data { Some(x) } else { None }
            }
            fn of_mut(data: &mut Data) -> Option<&mut Arc<Storage<Self>>> {
                if let Data::$variant(x) = data { Some(x) } else { None }
            }
        }
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$variant;
        }
    };
}
element!(f32, F32);
element!(bf16, Bf16);
element!(i32, I32);
element!(u8, U8);
