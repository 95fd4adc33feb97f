//! The objects that patches are at.

use bedstone_tensor::ops::boxes::Box4;

/// Pairs `(patch, object)` in the order of patches, for `grid` patches down and across a picture: the smallest of the objects that have the
/// patch's centre in their box, as the points of FCOS ([Tian et al. 2019](https://arxiv.org/abs/1904.01355)). An object that has no centre of a
/// patch is given the patch that its own centre is in, unless that is all that a smaller one has. Of equal boxes the first one counts.
pub(crate) fn covered(boxes: &[Box4], grid: [usize; 2]) -> Vec<(usize, usize)> {
    let [down, across] = grid;
    let area = |i: usize| boxes[i][2] * boxes[i][3];
    let mut object_of: Vec<Option<usize>> = vec![None; down * across];
    for (patch, object) in object_of.iter_mut().enumerate() {
        let centre = |place: usize, of: usize| (place as f64 + 0.5) / of as f64;
        let (x, y) = (centre(patch % across, across), centre(patch / across, down));
        let holds = |&i: &usize| {
            let [cx, cy, w, h] = boxes[i];
            (x - cx).abs() <= w / 2.0 && (y - cy).abs() <= h / 2.0
        };
        *object = (0..boxes.len()).filter(holds).min_by(|&a, &b| area(a).total_cmp(&area(b)));
    }
    for (i, own) in boxes.iter().enumerate() {
        if object_of.contains(&Some(i)) || boxes[..i].contains(own) {
            continue;
        }
        let place = |x: f64, of: usize| ((x * of as f64).max(0.0) as usize).min(of.saturating_sub(1));
        let patch = place(own[1], down) * across + place(own[0], across);
        let free = match object_of.get(patch) {
            None => false,
            Some(None) => true,
            Some(&Some(holder)) => {
                let alone = object_of.iter().filter(|object| **object == Some(holder)).count() < 2;
                area(i) < area(holder) && !alone
            }
        };
        if free {
            object_of[patch] = Some(i);
        }
    }
    object_of.into_iter().enumerate().filter_map(|(patch, object)| Some((patch, object?))).collect()
}

/// How many patches have an object, of boxes as centre, width and height, shares of the picture.
pub fn covered_patches(boxes: &[[f32; 4]], grid: [usize; 2]) -> usize {
    let boxes: Vec<Box4> = boxes.iter().map(|b| b.map(f64::from)).collect();
    covered(&boxes, grid).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_patch_has_the_smallest_object_over_its_centre() {
        // A large one over all but the right column, a small one in its middle, the same again, and two without a centre.
        let boxes = [
            [0.35, 0.5, 0.7, 1.0],
            [0.5, 0.5, 0.2, 0.2],
            [0.5, 0.5, 0.2, 0.2],
            [0.99, 0.01, 0.02, 0.02],
            [1.0, 0.0, 0.01, 0.01],
        ];
        let pairs = covered(&boxes, [3, 3]);
        assert_eq!(pairs, [(0, 0), (1, 0), (2, 3), (3, 0), (4, 1), (6, 0), (7, 0)]);
        // A small one before a large one takes its patch of it, but not its only one.
        let before = [[0.5, 0.5, 1.0, 1.0], [0.6, 0.55, 0.05, 0.05], [0.6, 0.55, 0.04, 0.04]];
        assert_eq!(covered(&before, [3, 3])[4], (4, 1));
        assert_eq!(covered(&before[1..], [3, 3]), [(4, 0)]);
        // Labels that are given several times change nothing.
        assert_eq!(covered(&boxes.repeat(3), [3, 3]), pairs);
        assert_eq!(covered_patches(&boxes.map(|b| b.map(|x| x as f32)), [3, 3]), 7);
        assert_eq!(covered(&[], [3, 3]), []);
        assert_eq!(covered(&boxes, [0, 0]), []);
    }
}
