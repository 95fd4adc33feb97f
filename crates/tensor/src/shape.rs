//! Sizes of axes.

use std::{fmt, ops::Deref};

/// The most axes a tensor has.
const MAX_RANK: usize = 6;

/// Sizes of a tensor's axes, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The product of the sizes; 1 for a scalar. Sizes beyond all bounds stay beyond them.
    pub fn numel(&self) -> usize {
        self.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// The last size; 1 for a scalar.
    pub fn width(&self) -> usize {
        self.last().copied().unwrap_or(1)
    }

    /// The product of all sizes but the last.
    pub fn rows(&self) -> usize {
        self.numel().checked_div(self.width()).unwrap_or_else(|| self[..self.rank - 1].iter().product())
    }

    /// The same shape with another last size.
    pub fn with_width(mut self, width: usize) -> Shape {
        if self.rank == 0 {
            self.rank = 1;
        }
        self.dims[self.rank - 1] = width;
        self
    }
}

impl From<&[usize]> for Shape {
    /// # Panics
    /// With more than six axes; files are checked before.
    fn from(sizes: &[usize]) -> Self {
        assert!(sizes.len() <= MAX_RANK, "{} axes, at most {MAX_RANK} are served", sizes.len());
        let mut dims = [0; MAX_RANK];
        dims[..sizes.len()].copy_from_slice(sizes);
        Shape { dims, rank: sizes.len() }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape::from(&sizes[..])
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
