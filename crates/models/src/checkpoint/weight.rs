use std::path::Path;

use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{Dtype, Error, Result};

/// One tensor of a weight file, borrowed from the map.
#[derive(Clone, Debug)]
pub struct Weight<'a> {
    /// The name in the file.
    pub name: &'a str,
    /// The file that holds it.
    pub path: &'a Path,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements from one index of an axis to the next, where they do not simply follow each other row by row.
    pub strides: Option<Vec<usize>>,
    /// The little-endian elements, aligned to nothing: all of them in order, or with strides all from the first
    /// to the last that the tensor refers to.
    pub bytes: &'a [u8],
}

impl<'a> Weight<'a> {
    /// The number of elements.
    pub fn numel(&self) -> usize {
        // Cannot overflow: checked when the file was opened.
        self.shape.iter().product()
    }

    /// The elements as they lie in the file, if these are f32, row by row, aligned and of this machine's byte order.
    pub fn as_f32_slice(&self) -> Option<&'a [f32]> {
        if self.dtype != Dtype::F32 || self.strides.is_some() || cfg!(target_endian = "big") {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes).ok()
    }

    /// All elements row by row, from any floating-point type; f64 is rounded to nearest.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.numel()];
        self.copy_f32(&mut out)?;
        Ok(out)
    }

    /// Like [`to_f32`](Self::to_f32), into `out` of exactly [`numel`](Self::numel) elements.
    pub fn copy_f32(&self, out: &mut [f32]) -> Result<()> {
        if out.len() != self.numel() {
            let (got, wanted) = (out.len(), self.numel());
            return Err(Error::WrongLength { path: self.path.into(), name: self.name.into(), got, wanted });
        }
        match self.dtype {
            Dtype::F32 => self.decode(out, f32::from_le_bytes),
            Dtype::F64 => self.decode(out, |b| f64::from_le_bytes(b) as f32),
            Dtype::BF16 => self.decode(out, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F16 if self.strides.is_none() => copy_f16(out, self.bytes),
            Dtype::F16 => self.decode(out, |b| f16::from_le_bytes(b).to_f32()),
            _ => return Err(self.wrong_dtype("a floating-point type (F64, F32, F16, BF16)")),
        }
        Ok(())
    }

    /// All elements row by row, from any integer type; booleans are 0 and 1.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        let mut out = vec![0; self.numel()];
        match self.dtype {
            Dtype::I64 => self.decode(&mut out, i64::from_le_bytes),
            Dtype::I32 => self.decode(&mut out, |b| i32::from_le_bytes(b).into()),
            Dtype::I16 => self.decode(&mut out, |b| i16::from_le_bytes(b).into()),
            Dtype::I8 => self.decode(&mut out, |b| i8::from_le_bytes(b).into()),
            Dtype::U8 => self.decode(&mut out, |[b]: [u8; 1]| b.into()),
            Dtype::BOOL => self.decode(&mut out, |[b]: [u8; 1]| (b != 0).into()),
            _ => return Err(self.wrong_dtype("an integer type (I64, I32, I16, I8, U8, BOOL)")),
        }
        Ok(out)
    }

    fn wrong_dtype(&self, wanted: &'static str) -> Error {
        Error::WrongDtype { path: self.path.into(), name: self.name.into(), got: self.dtype, wanted }
    }

    /// Decodes elements of `N` bytes; `out` has `numel` elements.
    fn decode<T, const N: usize>(&self, out: &mut [T], convert: impl Fn([u8; N]) -> T) {
        let (elements, _) = self.bytes.as_chunks::<N>();
        let Some(strides) = &self.strides else {
            for (to, from) in out.iter_mut().zip(elements) {
                *to = convert(*from);
            }
            return;
        };
        let mut index = vec![0; self.shape.len()];
        let mut at = 0;
        for to in out {
            *to = convert(elements[at]);
            // The next index counts like an odometer, the last axis fastest.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
    }
}

/// f16 in blocks, so that the processor's own conversion is looked up once a block, not once a number.
fn copy_f16(out: &mut [f32], bytes: &[u8]) {
    const BLOCK: usize = 512;
    let (elements, _) = bytes.as_chunks::<2>();
    let mut halves = [f16::ZERO; BLOCK];
    for (to, from) in out.chunks_mut(BLOCK).zip(elements.chunks(BLOCK)) {
        let halves = &mut halves[..from.len()];
        for (half, bytes) in halves.iter_mut().zip(from) {
            *half = f16::from_le_bytes(*bytes);
        }
        halves.convert_to_f32_slice(to);
    }
}

/// Where the elements of a strided tensor lie in its storage, in elements.
pub(super) struct Layout {
    /// `None` if the elements follow each other row by row.
    pub(super) strides: Option<Vec<usize>>,
    /// One behind the last element, counted from the first.
    pub(super) span: usize,
}

/// More elements than the storage has come from repeating some; up to this many are honoured.
const MAX_REPEATED: usize = 1 << 24;

impl Layout {
    /// Checks `shape` and `strides` (of equal length) for overflow; the reason is for an error message.
    pub(super) fn new(shape: &[usize], strides: &[usize]) -> std::result::Result<Self, String> {
        let numel = numel(shape).ok_or_else(|| format!("shape {shape:?} overflows"))?;
        if numel == 0 {
            return Ok(Self { strides: None, span: 0 });
        }
        let overflow = || format!("shape {shape:?} with strides {strides:?} overflows");
        let mut last = 0usize;
        for (&len, &stride) in shape.iter().zip(strides) {
            last = (len - 1).checked_mul(stride).and_then(|s| last.checked_add(s)).ok_or_else(overflow)?;
        }
        let span = last.checked_add(1).ok_or_else(overflow)?;
        // Walking over the end of an axis adds its whole length before it is taken off again.
        for (&len, &stride) in shape.iter().zip(strides) {
            len.checked_mul(stride).and_then(|s| s.checked_add(span)).ok_or_else(overflow)?;
        }
        if numel > span && numel > MAX_REPEATED {
            return Err(format!("shape {shape:?} repeats {span} elements over {numel}"));
        }
        let mut row_by_row = 1;
        let mut contiguous = true;
        for (&len, &stride) in shape.iter().zip(strides).rev() {
            contiguous &= len == 1 || stride == row_by_row;
            row_by_row *= len;
        }
        Ok(Self { strides: (!contiguous).then(|| strides.to_vec()), span })
    }
}

/// The number of elements, if it fits in this machine's words with room for eight bytes each.
pub(super) fn numel(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes it zero, but only if the rest does not overflow: what others do with it is then safe.
    let n = shape.iter().filter(|&&len| len != 0).try_fold(1usize, |n, &len| n.checked_mul(len))?;
    n.checked_mul(8)?;
    Some(if shape.contains(&0) { 0 } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight<'a>(dtype: Dtype, shape: &[usize], strides: Option<&[usize]>, bytes: &'a [u8]) -> Weight<'a> {
        let (shape, strides) = (shape.to_vec(), strides.map(<[usize]>::to_vec));
        Weight { name: "w", path: Path::new("file"), dtype, shape, strides, bytes }
    }

    #[track_caller]
    fn check_f32<const N: usize>(dtype: Dtype, elements: &[[u8; N]], want: &[f32]) {
        // One byte too far, so that at least one of the two is not aligned.
        for shift in [0, 1] {
            let mut bytes = vec![0xaa; shift];
            bytes.extend(elements.as_flattened());
            assert_eq!(weight(dtype, &[want.len()], None, &bytes[shift..]).to_f32().unwrap(), want);
        }
    }

    #[test]
    fn floats_of_every_width() {
        let numbers = [0.0, -1.5, 0.333_251_95, 65504.0];
        check_f32(Dtype::F64, &numbers.map(|x| f64::from(x).to_le_bytes()), &numbers);
        check_f32(Dtype::F32, &numbers.map(f32::to_le_bytes), &numbers);
        check_f32(Dtype::F16, &numbers.map(|x| f16::from_f32(x).to_le_bytes()), &numbers);
        check_f32(Dtype::BF16, &numbers.map(|x| bf16::from_f32(x).to_le_bytes()), &[0.0, -1.5, 0.333_984_38, 65536.0]);
    }

    #[test]
    fn many_f16() {
        let numbers: Vec<f32> = (0..1300).map(|i| i as f32 - 600.0).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        assert_eq!(weight(Dtype::F16, &[1300], None, &bytes).to_f32().unwrap(), numbers);
    }

    #[track_caller]
    fn check_i64(dtype: Dtype, bytes: &[u8], want: &[i64]) {
        assert_eq!(weight(dtype, &[want.len()], None, bytes).to_i64().unwrap(), want);
    }

    #[test]
    fn integers_of_every_width() {
        check_i64(Dtype::I64, &(-5i64).to_le_bytes(), &[-5]);
        check_i64(Dtype::I32, &(-5i32).to_le_bytes(), &[-5]);
        check_i64(Dtype::I16, &[0xfb, 0xff, 1, 0], &[-5, 1]);
        check_i64(Dtype::I8, &[0xfb, 1], &[-5, 1]);
        check_i64(Dtype::U8, &[0xfb, 1], &[251, 1]);
        check_i64(Dtype::BOOL, &[0, 1, 7], &[0, 1, 1]);
    }

    #[track_caller]
    fn check_strides(shape: &[usize], strides: &[usize], want: &[i64]) {
        let layout = Layout::new(shape, strides).unwrap();
        let bytes: Vec<u8> = (0..layout.span as u8).collect();
        assert_eq!(weight(Dtype::U8, shape, layout.strides.as_deref(), &bytes).to_i64().unwrap(), want);
    }

    #[test]
    fn strides_are_honoured() {
        check_strides(&[2, 3], &[3, 1], &[0, 1, 2, 3, 4, 5]);
        check_strides(&[2, 3], &[1, 2], &[0, 2, 4, 1, 3, 5]);
        check_strides(&[2, 2], &[4, 2], &[0, 2, 4, 6]);
        check_strides(&[2, 2], &[0, 1], &[0, 1, 0, 1]);
        check_strides(&[1, 2], &[77, 1], &[0, 1]);
        check_strides(&[2, 0], &[5, 9], &[]);
        check_strides(&[], &[], &[0]);
    }

    #[track_caller]
    fn check_refused(shape: &[usize], strides: &[usize], reason: &str) {
        let got = Layout::new(shape, strides).err().unwrap();
        assert!(got.contains(reason), "{got}");
    }

    #[test]
    fn layouts_beyond_all_bounds() {
        check_refused(&[usize::MAX, 2], &[1, 1], "overflows");
        check_refused(&[usize::MAX, 0, 2], &[1, 1, 1], "overflows");
        check_refused(&[2], &[usize::MAX], "overflows");
        check_refused(&[3, 3], &[usize::MAX / 2, usize::MAX / 4], "overflows");
        check_refused(&[1 << 30], &[0], "repeats 1 elements over 1073741824");
    }

    #[test]
    fn slice_only_where_it_is_one() {
        let floats = [1.0f32, 2.0, 3.0];
        let bytes: &[u8] = bytemuck::cast_slice(&floats);
        assert_eq!(weight(Dtype::F32, &[3], None, bytes).as_f32_slice(), Some(&floats[..]));
        assert_eq!(weight(Dtype::F32, &[2], None, &bytes[1..9]).as_f32_slice(), None);
        assert_eq!(weight(Dtype::F32, &[3], Some(&[0]), bytes).as_f32_slice(), None);
        assert_eq!(weight(Dtype::I32, &[3], None, bytes).as_f32_slice(), None);
    }

    #[test]
    fn wrong_conversions_name_the_tensor() {
        let message = |e: Error| e.to_string();
        let ints = weight(Dtype::I8, &[2], None, &[1, 2]);
        assert!(message(ints.to_f32().unwrap_err()).contains("tensor `w` has dtype I8, wanted a floating-point type"));
        let floats = weight(Dtype::F32, &[1], None, &[0; 4]);
        assert!(message(floats.to_i64().unwrap_err()).contains("has dtype F32"));
        assert_eq!(
            message(floats.copy_f32(&mut [0.0; 2]).unwrap_err()),
            "file: tensor `w` has 1 elements, the destination 2"
        );
    }
}
