use std::fmt;

/// The type of a tensor's elements, stored little-endian; ordered from wide to narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Dtype {
    F64,
    I64,
    F32,
    I32,
    F16,
    BF16,
    I16,
    I8,
    U8,
    BOOL,
}

impl Dtype {
    const ALL: [Self; 10] =
        [Self::F64, Self::I64, Self::F32, Self::I32, Self::F16, Self::BF16, Self::I16, Self::I8, Self::U8, Self::BOOL];

    /// Bytes an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::BOOL => 1,
        }
    }

    /// Whether elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The name in safetensors headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::F32 => "F32",
            Self::I32 => "I32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::BOOL => "BOOL",
        }
    }

    /// The type of that name in safetensors headers.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for dtype in Dtype::ALL {
            assert_eq!(Dtype::from_name(dtype.name()), Some(dtype));
        }
        assert_eq!(Dtype::from_name("F8_E4M3"), None);
        assert!(Dtype::ALL.is_sorted_by_key(|d| std::cmp::Reverse(d.size())), "ordered from wide to narrow");
    }
}
