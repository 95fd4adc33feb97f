//! The objects that patches are at.

use bedstone_tensor::ops::boxes::Box4;

/// Pairs `(patch, object)` in the order of patches, for `grid` patches down and across a picture: the smallest of the objects that have the
/// patch's centre in their box, as the points of FCOS ([Tian et al. 2019](https://arxiv.org/abs/1904.01355)). An object that has no centre of a
/// patch is given to the patch that its own centre is in, if no other object is. Of equal boxes the first one counts.
pub(super) fn covered(boxes: &[Box4], grid: [usize; 2]) -> Vec<(usize, usize)> {
    let [down, across] = grid;
    let mut object_of: Vec<Option<usize>> = vec![None; down * across];
    for (patch, object) in object_of.iter_mut().enumerate() {
        let centre = |place: usize, of: usize| (place as f64 + 0.5) / of as f64;
        let (x, y) = (centre(patch % across, across), centre(patch / across, down));
        let holds = |&i: &usize| {
            let [cx, cy, w, h] = boxes[i];
            (x - cx).abs() <= w / 2.0 && (y - cy).abs() <= h / 2.0
        };
        let area = |i: &usize| boxes[*i][2] * boxes[*i][3];
        *object = (0..boxes.len()).filter(holds).min_by(|a, b| area(a).total_cmp(&area(b)));
    }
    for (i, own) in boxes.iter().enumerate() {
        let known = |j: usize| object_of.contains(&Some(j)) || boxes[..j].contains(own);
        if known(i) {
            continue;
        }
        let place = |x: f64, of: usize| ((x * of as f64).max(0.0) as usize).min(of.saturating_sub(1));
        let patch = place(own[1], down) * across + place(own[0], across);
        if let Some(free) = object_of.get_mut(patch).filter(|object| object.is_none()) {
            *free = Some(i);
        }
    }
    object_of.into_iter().enumerate().filter_map(|(patch, object)| Some((patch, object?))).collect()
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
        assert_eq!(covered(&[], [3, 3]), []);
        assert_eq!(covered(&boxes, [0, 0]), []);
    }
}
