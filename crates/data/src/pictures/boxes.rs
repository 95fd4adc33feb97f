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
    pub fn clip(self, width: usize, height: usize) -> Option<Self> {
        self.clip_to([0.0, 0.0, width as f32, height as f32])
    }

    /// Cut off at left, top, right, bottom; its area shrinks as its box does.
    fn clip_to(mut self, [left, top, right, bottom]: [f32; 4]) -> Option<Self> {
        let before = self.size();
        let [x0, y0, x1, y1] = self.bounds;
        self.bounds = [x0.max(left), y0.max(top), x1.min(right), y1.min(bottom)];
        let [columns, rows] = self.size();
        if !(columns > 0.0 && rows > 0.0) {
            return None;
        }
        if self.size() != before {
            self.area *= columns * rows / (before[0] * before[1]);
        }
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
    /// What can be seen of the picture: left, top, right, bottom in the other one. Around it is filling.
    pub window: [f64; 4],
}

impl Placement {
    /// A picture of `width` by `height` pixels that stays.
    pub fn of(width: usize, height: usize) -> Self {
        Self { window: [0.0, 0.0, width as f64, height as f64], ..Self::ANY }
    }

    /// Everything stays, and nothing is known of the picture.
    const ANY: Self = Self {
        scale: [1.0; 2],
        shift: [0.0; 2],
        window: [-f64::INFINITY, -f64::INFINITY, f64::INFINITY, f64::INFINITY],
    };

    /// `self`, then `next`.
    pub fn then(self, next: Self) -> Self {
        let axis = |n: usize| (self.scale[n] * next.scale[n], self.shift[n] * next.scale[n] + next.shift[n]);
        let ((sx, tx), (sy, ty)) = (axis(0), axis(1));
        let ([a, b, c, d], limit) = (next.place(self.window), next.window);
        let window = [a.max(limit[0]), b.max(limit[1]), c.min(limit[2]), d.min(limit[3])];
        Self { scale: [sx, sy], shift: [tx, ty], window }
    }

    /// A resize from one size to another, each as width and height.
    pub fn resize(from: [usize; 2], to: [usize; 2]) -> Self {
        Self { scale: [to[0] as f64 / from[0] as f64, to[1] as f64 / from[1] as f64], ..Self::ANY }
    }

    /// A crop of `width` by `height` whose corner lies at column `x` of row `y`.
    pub fn crop(x: isize, y: isize, width: usize, height: usize) -> Self {
        Self { shift: [-x as f64, -y as f64], ..Self::of(width, height) }
    }

    /// Left and right exchanged in a picture of `width` columns.
    pub fn flip_horizontal(width: usize) -> Self {
        Self { scale: [-1.0, 1.0], shift: [width as f64, 0.0], ..Self::ANY }
    }

    /// Top and bottom exchanged in a picture of `height` rows.
    pub fn flip_vertical(height: usize) -> Self {
        Self { scale: [1.0, -1.0], shift: [0.0, height as f64], ..Self::ANY }
    }

    /// Where bounds come to lie.
    pub fn bounds(self, bounds: [f32; 4]) -> [f32; 4] {
        self.place(bounds.map(f64::from)).map(|edge| edge as f32)
    }

    /// Where bounds came from: for what a model found in the placed picture.
    pub fn undo(self, bounds: [f32; 4]) -> [f32; 4] {
        let back = [0, 1].map(|n| 1.0 / self.scale[n]);
        let shift = [0, 1].map(|n| -self.shift[n] / self.scale[n]);
        Self { scale: back, shift, ..Self::ANY }.bounds(bounds)
    }

    fn place(self, bounds: [f64; 4]) -> [f64; 4] {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| bounds[n] * self.scale[n % 2] + self.shift[n % 2]);
        [a.min(c), b.min(d), a.max(c), b.max(d)]
    }

    /// The objects in the placed picture, cut off where it ends; those of which nothing can be seen are dropped.
    pub fn objects(self, objects: &[Object]) -> Vec<Object> {
        let grown = (self.scale[0] * self.scale[1]).abs() as f32;
        let window = self.window.map(|edge| edge as f32);
        let place = |object: &Object| {
            let bounds = self.bounds(object.bounds);
            Object { bounds, area: object.area * grown, ..*object }.clip_to(window)
        };
        objects.iter().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_one_after_the_other() {
        let placement =
            Placement::of(10, 20).then(Placement::resize([10, 20], [20, 20])).then(Placement::crop(4, -1, 12, 20));
        let placement = placement.then(Placement::flip_horizontal(12));
        let bounds = [3.0, 2.0, 5.0, 8.0];
        assert_eq!(placement.bounds(bounds), [6.0, 3.0, 10.0, 9.0]);
        assert_eq!(placement.undo(placement.bounds(bounds)), bounds);
        let upside_down = placement.then(Placement::flip_vertical(20));
        assert_eq!(upside_down.bounds(bounds), [6.0, 11.0, 10.0, 17.0]);
    }

    /// What was cut off does not come back when the picture moves into a larger one.
    #[test]
    fn filling_shows_nothing() {
        let placement = Placement::of(9, 9).then(Placement::crop(4, 0, 5, 9)).then(Placement::crop(-2, -2, 9, 13));
        assert_eq!(placement.objects(&[Object::new(0, [0.0, 0.0, 9.0, 20.0])])[0].bounds, [2.0, 2.0, 7.0, 11.0]);
    }

    #[test]
    fn boxes_are_cut_and_dropped() {
        let objects = [[0.0, 0.0, 4.0, 4.0], [2.0, 1.0, 9.0, 3.0], [6.0, 6.0, 9.0, 9.0], [4.0, 0.0, 6.0, 2.0]];
        let objects: Vec<Object> = objects.iter().enumerate().map(|(n, &b)| Object::new(n, b)).collect();
        let got = Placement::crop(2, 0, 2, 5).objects(&objects);
        let want = [Object::new(0, [0.0, 0.0, 2.0, 4.0]), Object::new(1, [0.0, 1.0, 2.0, 3.0])];
        assert_eq!(got, want);
        assert_eq!(got[0].relative(2, 5), [0.5, 0.4, 1.0, 0.8]);
    }
}
