//! The tensor: contiguous numbers with a shape.

use std::{fmt, ops::Range, sync::Arc};

use bedstone_kernels::{
    Isa, bf16,
    mem::{Buf, MappedFile},
    number::{Number, convert},
};

use crate::{
    Result, Shape, TensorError, Var,
    storage::{Data, Dtype, Element, Sealed, Storage},
};

/// Contiguous numbers in a shared buffer. Cloning shares; writing to what is shared copies it first.
#[derive(Clone)]
pub struct Tensor {
    data: Data,
    shape: Shape,
    var: Option<Var>,
}

impl Tensor {
    /// A tensor of `buf`'s numbers.
    ///
    /// # Panics
    /// If their count is not the shape's.
    #[track_caller]
    pub fn from_buf<T: Element>(buf: Buf<T>, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert_eq!(buf.len(), shape.numel(), "numbers for a tensor of shape {shape}");
        Tensor { data: T::wrap(Storage::Owned(buf)), shape, var: None }
    }

    /// A copy of `x` as a tensor.
    ///
    /// # Panics
    /// If the count of numbers is not the shape's.
    #[track_caller]
    pub fn from_slice<T: Element>(x: &[T], shape: impl Into<Shape>) -> Self {
        Self::from_buf(Buf::copy_of(x), shape)
    }

    /// Zeros.
    pub fn zeros<T: Element>(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        Self::from_buf(Buf::<T>::zeroed(shape.numel()), shape)
    }

    /// Numbers in a file, without copying them; `None` where the bytes are not aligned for `T` or do not fit the shape.
    pub fn mapped<T: Element>(file: &Arc<MappedFile>, bytes: Range<usize>, shape: impl Into<Shape>) -> Option<Self> {
        let shape = shape.into();
        let slice = bytemuck::try_cast_slice::<u8, T>(file.get(bytes.clone())?).ok()?;
        (slice.len() == shape.numel()).then(|| Tensor {
            data: T::wrap(Storage::Mapped(file.clone(), bytes)),
            shape,
            var: None,
        })
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The sizes of exactly `N` axes.
    pub fn dims<const N: usize>(&self, op: &'static str) -> Result<[usize; N]> {
        self.shape[..].try_into().map_err(|_| TensorError::Shape { op, got: self.shape, wanted: format!("{N} axes") })
    }

    /// The type of the numbers.
    pub fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::Bf16(_) => Dtype::Bf16,
            Data::I32(_) => Dtype::I32,
            Data::U8(_) => Dtype::U8,
        }
    }

    /// The numbers.
    pub fn data<T: Element>(&self, op: &'static str) -> Result<&[T]> {
        let wrong = TensorError::Dtype { op, got: self.dtype(), wanted: T::DTYPE };
        T::of(&self.data).map(|s| s.slice()).ok_or(wrong)
    }

    /// The f32 numbers.
    ///
    /// # Panics
    /// On a tensor of integers: for the results of operations, which are f32.
    #[track_caller]
    pub fn f32s(&self) -> &[f32] {
        self.data("f32s").expect("a tensor of f32")
    }

    /// The f32 numbers, for writing; copies them first if they are shared or in a file.
    ///
    /// # Panics
    /// On a tensor of other numbers.
    #[track_caller]
    pub fn f32s_mut(&mut self) -> &mut [f32] {
        self.data_mut()
    }

    /// The numbers, for writing; copies them first if they are shared or in a file.
    ///
    /// # Panics
    /// On a tensor of other numbers: for those who have looked at the type.
    #[track_caller]
    pub fn data_mut<T: Element>(&mut self) -> &mut [T] {
        let got = self.dtype();
        let arc =
            <T as Sealed>::of_mut(&mut self.data).unwrap_or_else(|| panic!("got {got} numbers, wanted {}", T::DTYPE));
        if !matches!(Arc::get_mut(arc), Some(Storage::Owned(_))) {
            *arc = Arc::new(Storage::Owned(Buf::copy_of(arc.slice())));
        }
        match Arc::get_mut(arc) {
            Some(Storage::Owned(buf)) => buf,
            _ => unreachable!("made unique above"),
        }
    }

    /// The same numbers as f32 or bf16: itself, or a rounded copy. Its place on the tape stays.
    pub fn to_dtype(&self, dtype: Dtype, isa: Isa) -> Result<Tensor> {
        fn copy<T: Number + Element, U: Number + Element>(x: &Tensor, isa: Isa) -> Result<Tensor> {
            let mut out = Buf::<U>::for_overwrite(x.shape.numel());
            convert(isa, &mut out, x.data::<T>("to_dtype")?);
            Ok(Tensor::from_buf(out, x.shape).with_var(x.var))
        }
        match (self.dtype(), dtype) {
            (from, to) if from == to => Ok(self.clone()),
            (Dtype::F32, Dtype::Bf16) => copy::<f32, bf16>(self, isa),
            (Dtype::Bf16, Dtype::F32) => copy::<bf16, f32>(self, isa),
            (got, wanted) => Err(TensorError::Dtype { op: "to_dtype", got, wanted }),
        }
    }

    /// As f32; see [`Self::to_dtype`].
    pub fn to_f32(&self, isa: Isa) -> Result<Tensor> {
        self.to_dtype(Dtype::F32, isa)
    }

    /// Whether both are the same numbers in memory.
    pub fn is_same(&self, other: &Tensor) -> bool {
        match (&self.data, &other.data) {
            (Data::F32(a), Data::F32(b)) => Arc::ptr_eq(a, b),
            (Data::Bf16(a), Data::Bf16(b)) => Arc::ptr_eq(a, b),
            (Data::I32(a), Data::I32(b)) => Arc::ptr_eq(a, b),
            (Data::U8(a), Data::U8(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether writing would copy.
    pub fn is_shared(&self) -> bool {
        match &self.data {
            Data::F32(x) => Arc::strong_count(x) > 1 || matches!(**x, Storage::Mapped(..)),
            Data::Bf16(x) => Arc::strong_count(x) > 1 || matches!(**x, Storage::Mapped(..)),
            Data::I32(x) => Arc::strong_count(x) > 1 || matches!(**x, Storage::Mapped(..)),
            Data::U8(x) => Arc::strong_count(x) > 1 || matches!(**x, Storage::Mapped(..)),
        }
    }

    /// The same numbers in another shape.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.numel() != self.shape.numel() {
            let wanted = format!("as many numbers as {shape}");
            return Err(TensorError::Shape { op: "reshape", got: self.shape, wanted });
        }
        Ok(Tensor { shape, ..self.clone() })
    }

    /// The one number of a scalar.
    pub fn item(&self) -> Result<f32> {
        match self.data::<f32>("item")? {
            [x] => Ok(*x),
            _ => Err(TensorError::Shape { op: "item", got: self.shape, wanted: "one number".into() }),
        }
    }

    /// Its place on the tape, if its gradient is wanted.
    pub fn var(&self) -> Option<Var> {
        self.var
    }

    pub(crate) fn with_var(mut self, var: Option<Var>) -> Self {
        self.var = var;
        self
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {})", self.dtype(), self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_copies_what_is_shared() {
        let a = Tensor::from_slice(&[1.0f32, 2.0], [2]);
        let mut b = a.clone();
        b.f32s_mut()[0] = 9.0;
        assert_eq!((a.f32s(), b.f32s()), (&[1.0, 2.0][..], &[9.0, 2.0][..]));
        assert!(!b.is_shared());
    }

    #[test]
    fn shapes_are_checked() {
        let a = Tensor::zeros::<f32>([2, 3]);
        assert_eq!(a.dims::<2>("test"), Ok([2, 3]));
        assert_eq!(a.dims::<3>("test").unwrap_err().to_string(), "test: got shape [2, 3], wanted 3 axes");
        assert!(a.reshape([3, 3]).is_err());
        assert_eq!(a.data::<i32>("test").unwrap_err().to_string(), "test: got f32 numbers, wanted i32");
    }

    #[test]
    fn mapped_numbers_are_read_in_place_and_copied_on_write() {
        let path = std::env::temp_dir().join(format!("bedstone-tensor-{}", std::process::id()));
        std::fs::write(&path, bytemuck::cast_slice::<f32, u8>(&[1.0, 2.0, 3.0])).unwrap();
        let file = Arc::new(MappedFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let mut t = Tensor::mapped::<f32>(&file, 4..12, [2]).unwrap();
        assert_eq!(t.f32s(), [2.0, 3.0]);
        t.f32s_mut()[0] = 5.0;
        assert_eq!(t.f32s(), [5.0, 3.0]);
        assert!(Tensor::mapped::<f32>(&file, 1..9, [2]).is_none(), "not aligned");
        assert!(Tensor::mapped::<f32>(&file, 4..20, [4]).is_none(), "beyond the file");
        assert!(Tensor::mapped::<f32>(&file, 4..12, [3]).is_none(), "other shape");
    }
}
