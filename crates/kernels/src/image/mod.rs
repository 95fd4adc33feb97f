//! Pictures: windows that go over them, as rows for products, maxima and resizing.

mod max_pool;
mod resize;
mod unfold;

pub use max_pool::{max_pool, max_pool_backward};
pub use resize::{Grid, Taps, resize};
pub use unfold::{fold, unfold};

/// A window that goes over a picture; pairs are of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: [usize; 2],
    /// From one place to the next.
    pub stride: [usize; 2],
    /// Rows and columns that are added on each side.
    pub padding: [usize; 2],
    /// From one tap to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// Windows of `kernel` side by side, that do not overlap.
    pub fn patches(kernel: [usize; 2]) -> Self {
        Window { kernel, stride: kernel, padding: [0; 2], dilation: [1; 2] }
    }

    /// A square window.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [1; 2] }
    }

    /// Whether it is one tap everywhere.
    pub fn is_one_tap(&self) -> bool {
        self.kernel == [1; 2] && self.stride == [1; 2] && self.padding == [0; 2]
    }

    /// Places of the window, down and across; `None` where it does not fit once.
    pub fn places(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let along = |i: usize| {
            let span = (self.kernel[i].checked_sub(1)?) * self.dilation[i] + 1;
            let room = (size[i] + 2 * self.padding[i]).checked_sub(span)?;
            Some(room.checked_div(self.stride[i])? + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// The row or column under tap `tap` of window `place` along `axis`, if it is in the picture.
    #[inline(always)]
    fn under(&self, axis: usize, place: usize, tap: usize, size: usize) -> Option<usize> {
        let at = place * self.stride[axis] + tap * self.dilation[axis];
        at.checked_sub(self.padding[axis]).filter(|&at| at < size)
    }

    /// The window whose tap `tap` lies on row or column `at` along `axis`, of `places`.
    #[inline(always)]
    fn over(&self, axis: usize, at: usize, tap: usize, places: usize) -> Option<usize> {
        let from = (at + self.padding[axis]).checked_sub(tap * self.dilation[axis])?;
        let place = from / self.stride[axis];
        (place * self.stride[axis] == from && place < places).then_some(place)
    }
}

/// How pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[B, C, H, W]`, as pictures come.
    ChannelsFirst,
    /// `[B, H, W, C]`, as products take and give them.
    ChannelsLast,
}

/// A batch of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Pictures.
    pub batch: usize,
    /// Numbers a pixel.
    pub channels: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// How they lie.
    pub order: Order,
}

impl Pixels {
    /// Numbers of all pictures.
    pub fn numel(&self) -> usize {
        self.batch * self.channels * self.size[0] * self.size[1]
    }

    /// From channel to channel, row to row, column to column.
    fn strides(&self) -> [usize; 3] {
        let [h, w] = self.size;
        match self.order {
            Order::ChannelsFirst => [h * w, w, 1],
            Order::ChannelsLast => [1, w * self.channels, self.channels],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_windows() {
        assert_eq!(Window::patches([4, 3]).places([9, 9]), Some([2, 3]));
        assert_eq!(Window::square(3, 2, 1).places([7, 8]), Some([4, 4]));
        assert_eq!(Window::square(7, 2, 3).places([1, 1]), Some([1, 1]));
        assert_eq!(Window { dilation: [2; 2], ..Window::square(3, 1, 2) }.places([5, 6]), Some([5, 6]));
        assert_eq!(Window::patches([4, 4]).places([3, 9]), None);
        assert_eq!(Window::square(0, 1, 0).places([3, 9]), None);
    }
}
