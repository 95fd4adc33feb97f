//! Boxes of detectors: centre, width and height as shares of the picture.

use bedstone_kernels::pool;

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// A box `[centre x, centre y, width, height]`.
pub type Box4 = [f64; 4];

/// The generalised intersection over union of two boxes, in `-1..=1`.
///
/// `|A ∩ B| / |A ∪ B| - (|hull| - |A ∪ B|) / |hull|`, [Rezatofighi et al. 2019](https://arxiv.org/abs/1902.09630).
pub fn generalized_iou(a: Box4, b: Box4) -> f64 {
    giou(a, b).0
}

/// The same with its gradient for `a`.
fn giou(a: Box4, b: Box4) -> (f64, Box4) {
    // Along an axis: the sizes of both, of what they share and of what spans both, and how the last two change with
    // centre and size of `a`.
    let axis = |i: usize| {
        let (low, high) = (a[i] - a[i + 2] / 2.0, a[i] + a[i + 2] / 2.0);
        let (b_low, b_high) = (b[i] - b[i + 2] / 2.0, b[i] + b[i + 2] / 2.0);
        let shared = high.min(b_high) - low.max(b_low);
        // Does an end of `a` bound what they share, does it bound the hull; at equal ends half of it does.
        let bounds = |x: f64, y: f64| {
            if x < y {
                1.0
            } else if x == y {
                0.5
            } else {
                0.0
            }
        };
        let (shared_high, shared_low) = (bounds(high, b_high), bounds(b_low, low));
        let slope = if shared > 0.0 { 1.0 } else { 0.0 };
        let (hull_high, hull_low) = (1.0 - shared_high, 1.0 - shared_low);
        // d high = d centre + d size / 2, d low = d centre - d size / 2.
        let d_shared = [slope * (shared_high - shared_low), slope * (shared_high + shared_low) / 2.0];
        let d_hull = [hull_high - hull_low, (hull_high + hull_low) / 2.0];
        (shared.max(0.0), high.max(b_high) - low.min(b_low), d_shared, d_hull)
    };
    let (x, y) = (axis(0), axis(1));
    let inter = x.0 * y.0;
    let union = a[2] * a[3] + b[2] * b[3] - inter;
    let hull = x.1 * y.1;
    let value = inter / union - (hull - union) / hull;
    let mut gradient = [0.0; 4];
    for (i, (this, other, size)) in [(x, y, a[3]), (y, x, a[2])].into_iter().enumerate() {
        for (k, area) in [(0, 0.0), (1, size)] {
            let d_inter = this.2[k] * other.0;
            let d_union = area - d_inter;
            let d_hull = this.3[k] * other.1;
            let d_iou = d_inter / union - inter * d_union / (union * union);
            gradient[i + 2 * k] = d_iou + d_union / hull - union * d_hull / (hull * hull);
        }
    }
    (value, gradient)
}

/// `Σ (1 - giou(x, target)) / divisor` over pairs of boxes `[n, 4]` of f32, in double precision; 0 if there are none.
pub fn giou_loss(x: &Tensor, targets: &Tensor, divisor: f64, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct GiouBackward {
        x: Tensor,
        targets: Tensor,
        divisor: f64,
    }
    impl Backward for GiouBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let factor = -grad.item()? as f64 / self.divisor;
            let gradients = pairs(&self.x, &self.targets)?.flat_map(|(a, b)| giou(a, b).1);
            let dx: Vec<f32> = gradients.map(|d| (factor * d) as f32).collect();
            grads.add(self.x.var(), Tensor::from_slice(&dx, self.x.shape()), env);
            Ok(())
        }
    }
    if x.shape() != targets.shape() || x.shape().width() != 4 {
        let wanted = format!("[n, 4] beside {}", x.shape());
        return Err(TensorError::Shape { op: "giou_loss", got: targets.shape(), wanted });
    }
    let losses: Vec<f64> = pairs(x, targets)?.map(|(a, b)| 1.0 - giou(a, b).0).collect();
    let out = Tensor::from_slice(&[(pool::tree_sum(&losses) / divisor) as f32], []);
    Ok(ctx.record(out, &[x], &[], || GiouBackward { x: x.clone(), targets: targets.clone(), divisor }))
}

fn pairs<'a>(x: &'a Tensor, targets: &'a Tensor) -> Result<impl Iterator<Item = (Box4, Box4)> + 'a> {
    let boxes = |t: &'a Tensor| Ok(t.data::<f32>("giou_loss")?.chunks_exact(4).map(of_slice));
    Ok(boxes(x)?.zip(boxes(targets)?))
}

/// Four numbers as a box.
///
/// # Panics
/// With fewer.
pub fn of_slice(x: &[f32]) -> Box4 {
    [x[0] as f64, x[1] as f64, x[2] as f64, x[3] as f64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn known_overlaps() {
        let unit = [0.5, 0.5, 1.0, 1.0];
        assert_eq!(generalized_iou(unit, unit), 1.0);
        // Half of each is shared: 0.5 / 1.5, and the hull is the union.
        assert!((generalized_iou(unit, [1.0, 0.5, 1.0, 1.0]) - 1.0 / 3.0).abs() < 1e-12);
        // Apart: nothing shared, the hull is 3 by 1.
        assert!((generalized_iou(unit, [2.5, 0.5, 1.0, 1.0]) + 1.0 / 3.0).abs() < 1e-12);
        // One within the other.
        assert!((generalized_iou([0.5, 0.5, 0.5, 0.5], unit) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn slopes_by_differences() {
        let boxes = [
            [0.4, 0.5, 0.3, 0.2],
            [0.45, 0.55, 0.5, 0.3],
            [0.2, 0.8, 0.1, 0.15],
            [0.5, 0.5, 0.9, 0.8],
            [0.42, 0.1, 0.31, 0.05],
        ];
        for (i, a) in boxes.into_iter().enumerate() {
            for b in boxes.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, b)| *b) {
                let got = giou(a, b).1;
                for k in 0..4 {
                    let at = |h: f64| {
                        let mut a = a;
                        a[k] += h;
                        generalized_iou(a, b)
                    };
                    let want = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!((got[k] - want).abs() < 1e-5, "{a:?} {b:?} {k}: {} {want}", got[k]);
                }
            }
        }
    }

    #[test]
    fn gradients() {
        let targets = Tensor::from_slice(&[0.3f32, 0.4, 0.2, 0.3, 0.6, 0.5, 0.4, 0.3], [2, 4]);
        check("giou_loss", &[[2, 4].into()], |p, ctx| {
            // Boxes with a size, whatever the numbers.
            let x = crate::ops::sigmoid(&ctx.leaf(p[0]), ctx)?;
            giou_loss(&x, &targets, 2.0, ctx)
        });
    }
}
