//! How large a picture becomes.

/// The size to which pictures are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// This size, whatever becomes of the shape.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// The shorter side becomes this long, and the shape stays.
    Shortest(usize),
    /// The shorter side becomes `shortest` long, less where the longer one would be longer than `longest`.
    Between {
        /// For the shorter side.
        shortest: usize,
        /// For the longer side.
        longest: usize,
        /// Both sides are rounded down to a multiple of this.
        multiple: usize,
    },
}

impl Size {
    /// Height and width of a picture of that height and width; 1 at least.
    pub fn of(self, height: usize, width: usize) -> [usize; 2] {
        let [h, w] = match self {
            Self::Exact { height, width } => [height, width],
            Self::Shortest(shortest) => {
                let longer = |long: usize, short: usize| (shortest * long) / short.max(1);
                if width <= height { [longer(height, width), shortest] } else { [shortest, longer(width, height)] }
            }
            Self::Between { shortest, longest, multiple } => {
                let sides = between(height, width, shortest, longest, multiple > 1);
                sides.map(|side| (side - side % multiple.max(1)).max(multiple.max(1)))
            }
        };
        [h.max(1), w.max(1)]
    }
}

/// The steps of DETR's original transform; YOLOS asks for the narrow picture first, and rounds differently then.
fn between(height: usize, width: usize, shortest: usize, longest: usize, narrow_first: bool) -> [usize; 2] {
    let (h, w) = (height as f64, width as f64);
    let (mut size, mut exact) = (shortest, shortest as f64);
    if h.max(w) / h.min(w) * exact > longest as f64 {
        exact = longest as f64 * h.min(w) / h.max(w);
        size = exact.round_ties_even() as usize;
    }
    let stays = (height <= width && height == size) || (width <= height && width == size);
    let narrow = width < height;
    match (stays, narrow) {
        (true, narrow) if !(narrow && narrow_first) => [height, width],
        (_, true) => [(exact * h / w) as usize, size],
        (_, false) => [size, (exact * w / h) as usize],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let check = |size: Size, got: [usize; 2], want| assert_eq!(size.of(got[0], got[1]), want, "{size:?} {got:?}");
        check(Size::Exact { height: 3, width: 4 }, [7, 9], [3, 4]);
        check(Size::Shortest(224), [500, 375], [298, 224]);
        check(Size::Shortest(224), [375, 500], [224, 298]);
        let detr = |shortest, longest| Size::Between { shortest, longest, multiple: 1 };
        check(detr(800, 1333), [480, 640], [800, 1066]);
        check(detr(800, 1333), [640, 480], [1066, 800]);
        check(detr(800, 1333), [200, 1000], [267, 1333]);
        check(detr(480, 1333), [480, 640], [480, 640]);
        let yolos = Size::Between { shortest: 512, longest: 864, multiple: 16 };
        check(yolos, [480, 640], [512, 672]);
        check(yolos, [1, 1000], [16, 992]);
    }
}
