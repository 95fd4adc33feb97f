//! Objects in a picture and what geometry does to them.

/// An object: its class and the box around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Number of its class.
    pub class: usize,
    /// Left, top, right, bottom in pixels; `0` is the left edge of the first pixel, the width the right edge of the last.
    pub bounds: [f32; 4],
    /// A crowd: many objects in one box. Nothing is to be learned from it, and finding one in it is no mistake.
    pub crowd: bool,
    /// The area in pixels by which it counts as small, medium or large: that of its outline, where known, else of its
    /// box.
    pub area: f32,
}

impl Object {
    /// An object that is as large as its box.
    pub fn new(class: usize, bounds: [f32; 4]) -> Self {
        let [left, top, right, bottom] = bounds;
        Self { class, bounds, crowd: false, area: (right - left) * (bottom - top) }
    }

    /// Columns and rows of its box.
    pub fn size(&self) -> [f32; 2] {
        let [left, top, right, bottom] = self.bounds;
        [right - left, bottom - top]
    }

    /// Centre, width and height as shares of a picture of `width` by `height` pixels: what DETR and YOLOS learn.
    pub fn relative(&self, width: usize, height: usize) -> [f32; 4] {
        let [left, top, right, bottom] = self.bounds;
        let (width, height) = (width as f32, height as f32);
        let center = [(left + right) / 2.0 / width, (top + bottom) / 2.0 / height];
        [center[0], center[1], (right - left) / width, (bottom - top) / height]
    }

    /// Cut off at the edges of a picture; `None` if nothing of it is left.
    pub fn clip(mut self, width: usize, height: usize) -> Option<Self> {
        let before = self.size();
        let limits = [width, height, width, height].map(|side| side as f32);
        self.bounds.iter_mut().zip(limits).for_each(|(edge, limit)| *edge = edge.clamp(0.0, limit));
        let [columns, rows] = self.size();
        if !(columns > 0.0 && rows > 0.0) {
            return None;
        }
        self.area *= columns * rows / (before[0] * before[1]);
        Some(self)
    }
}

/// Where the pixels of a picture come to lie in another one: `x' = scale_x x + shift_x`, and the same for `y`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// What columns and rows are multiplied by; negative where left and right, or top and bottom, are exchanged.
    pub scale: [f64; 2],
    /// Where the origin comes to lie.
    pub shift: [f64; 2],
}

impl Placement {
    /// Everything stays.
    pub const IDENTITY: Self = Self { scale: [1.0, 1.0], shift: [0.0, 0.0] };

    /// `self`, then `next`.
    pub fn then(self, next: Self) -> Self {
        let axis = |n: usize| (self.scale[n] * next.scale[n], self.shift[n] * next.scale[n] + next.shift[n]);
        let ((sx, tx), (sy, ty)) = (axis(0), axis(1));
        Self { scale: [sx, sy], shift: [tx, ty] }
    }

    /// A resize from one size to another, each as width and height.
    pub fn resize(from: [usize; 2], to: [usize; 2]) -> Self {
        Self { scale: [to[0] as f64 / from[0] as f64, to[1] as f64 / from[1] as f64], ..Self::IDENTITY }
    }

    /// A crop whose corner lies at column `x` of row `y`.
    pub fn crop(x: isize, y: isize) -> Self {
        Self { shift: [-x as f64, -y as f64], ..Self::IDENTITY }
    }

    /// Left and right exchanged in a picture of `width` columns.
    pub fn flip_horizontal(width: usize) -> Self {
        Self { scale: [-1.0, 1.0], shift: [width as f64, 0.0] }
    }

    /// Top and bottom exchanged in a picture of `height` rows.
    pub fn flip_vertical(height: usize) -> Self {
        Self { scale: [1.0, -1.0], shift: [0.0, height as f64] }
    }

    /// Where bounds come to lie.
    pub fn bounds(self, bounds: [f32; 4]) -> [f32; 4] {
        self.map(bounds, |n, x| x * self.scale[n] + self.shift[n])
    }

    /// Where bounds came from: for what a model found in the placed picture.
    pub fn undo(self, bounds: [f32; 4]) -> [f32; 4] {
        self.map(bounds, |n, x| (x - self.shift[n]) / self.scale[n])
    }

    fn map(self, bounds: [f32; 4], axis: impl Fn(usize, f64) -> f64) -> [f32; 4] {
        let at = |n: usize| axis(n % 2, f64::from(bounds[n])) as f32;
        let [a, b, c, d] = [0, 1, 2, 3].map(at);
        [a.min(c), b.min(d), a.max(c), b.max(d)]
    }

    /// The objects in the placed picture of `width` by `height` pixels; those of which nothing is left are dropped.
    pub fn objects(self, objects: &[Object], width: usize, height: usize) -> Vec<Object> {
        let grown = (self.scale[0] * self.scale[1]).abs() as f32;
        let place = |object: &Object| {
            let bounds = self.bounds(object.bounds);
            Object { bounds, area: object.area * grown, ..*object }.clip(width, height)
        };
        objects.iter().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_one_after_the_other() {
        let placement = Placement::resize([10, 20], [20, 20]).then(Placement::crop(4, -1));
        let placement = placement.then(Placement::flip_horizontal(12));
        let bounds = [3.0, 2.0, 5.0, 8.0];
        assert_eq!(placement.bounds(bounds), [6.0, 3.0, 10.0, 9.0]);
        assert_eq!(placement.undo(placement.bounds(bounds)), bounds);
        let upside_down = placement.then(Placement::flip_vertical(20));
        assert_eq!(upside_down.bounds(bounds), [6.0, 11.0, 10.0, 17.0]);
    }

    #[test]
    fn boxes_are_cut_and_dropped() {
        let objects = [[0.0, 0.0, 4.0, 4.0], [2.0, 1.0, 9.0, 3.0], [6.0, 6.0, 9.0, 9.0], [4.0, 0.0, 6.0, 2.0]];
        let objects: Vec<Object> = objects.iter().enumerate().map(|(n, &b)| Object::new(n, b)).collect();
        let got = Placement::crop(2, 0).objects(&objects, 2, 5);
        let want = [Object::new(0, [0.0, 0.0, 2.0, 4.0]), Object::new(1, [0.0, 1.0, 2.0, 3.0])];
        assert_eq!(got, want);
        assert_eq!(got[0].relative(2, 5), [0.5, 0.4, 1.0, 0.8]);
    }
}
