//! What becomes of a detector's boxes: those that are likely enough, each object once.

use bedstone_models::checkpoint::ConfigFile;

use crate::Result;

/// An object in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detected {
    /// The number of its class.
    pub class: usize,
    /// How likely it is.
    pub score: f32,
    /// Left, top, right and bottom in pixels of the picture.
    pub bounds: [f32; 4],
}

/// Which of a model's boxes are objects.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PostProcess {
    /// How likely an object must be.
    pub threshold: f32,
    /// Of boxes of one class that overlap by more than this IoU the likeliest alone counts: non-maximum suppression. `None`: all count, as a
    /// model that learned to say each object once has it.
    pub nms: Option<f32>,
}

/// The key of `config.json` under which a detector that says objects several times keeps the IoU for its boxes.
pub const NMS_KEY: &str = "nms_threshold";

impl PostProcess {
    /// With `nms` as people give it: 0 for none.
    pub fn new(threshold: f32, nms: f32) -> Self {
        PostProcess { threshold, nms: (nms > 0.0).then_some(nms) }
    }

    /// With what the model's `config.json` says of overlaps.
    ///
    /// # Errors
    ///
    /// What it says is not between 0 and 1.
    pub fn of(config: &ConfigFile, threshold: f32) -> Result<Self> {
        let Some(value) = config.get(NMS_KEY) else { return Ok(PostProcess { threshold, nms: None }) };
        let iou = value.as_f64().filter(|iou| (0.0..=1.0).contains(iou));
        let iou = iou.ok_or_else(|| config.wrong(NMS_KEY, "a number from 0 to 1"))?;
        Ok(PostProcess::new(threshold, iou as f32))
    }

    /// Sorts objects, the likeliest first, and leaves out what is not to count.
    pub fn apply(&self, mut found: Vec<Detected>) -> Vec<Detected> {
        found.retain(|d| d.score > self.threshold);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        let Some(most) = self.nms else { return found };
        let mut kept: Vec<Detected> = Vec::with_capacity(found.len());
        for d in found {
            if kept.iter().all(|k| k.class != d.class || iou(k.bounds, d.bounds) <= most) {
                kept.push(d);
            }
        }
        kept
    }
}

/// The area that two boxes share over the area that either covers; 0 where neither has any.
fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |[l, t, r, b]: [f32; 4]| (r - l).max(0.0) * (b - t).max(0.0);
    let shared = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let all = area(a) + area(b) - shared;
    if all > 0.0 { shared / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Vec<Detected> {
        let d = |class, score, bounds| Detected { class, score, bounds };
        vec![
            d(0, 0.5, [0.0, 0.0, 10.0, 10.0]),
            d(0, 0.9, [1.0, 0.0, 11.0, 10.0]),
            // The same place, another class.
            d(1, 0.6, [1.0, 0.0, 11.0, 10.0]),
            d(0, 0.4, [30.0, 0.0, 40.0, 10.0]),
            d(0, 0.1, [60.0, 0.0, 70.0, 10.0]),
            // Without area, twice.
            d(2, 0.3, [5.0, 5.0, 5.0, 5.0]),
            d(2, 0.3, [5.0, 5.0, 5.0, 5.0]),
        ]
    }

    fn scores(post: PostProcess) -> Vec<f32> {
        post.apply(found()).iter().map(|d| d.score).collect()
    }

    #[test]
    fn the_likelier_of_two_that_overlap_stays() {
        assert_eq!(scores(PostProcess { threshold: 0.2, nms: None }), [0.9, 0.6, 0.5, 0.4, 0.3, 0.3]);
        // 9 of 11 columns are shared: 0.818.
        assert_eq!(scores(PostProcess { threshold: 0.2, nms: Some(0.8) }), [0.9, 0.6, 0.4, 0.3, 0.3]);
        assert_eq!(scores(PostProcess { threshold: 0.2, nms: Some(0.82) }), [0.9, 0.6, 0.5, 0.4, 0.3, 0.3]);
        assert_eq!(scores(PostProcess { threshold: 0.2, nms: Some(1.0) }).len(), 6);
        assert_eq!(scores(PostProcess { threshold: 0.0, nms: Some(0.0) }), [0.9, 0.6, 0.4, 0.3, 0.3, 0.1]);
    }

    #[test]
    fn a_box_inside_another_counts_by_area() {
        assert_eq!(iou([0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 10.0]), 0.5);
        assert_eq!(iou([0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]), 0.0);
    }
}
