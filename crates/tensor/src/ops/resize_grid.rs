//! Resizing of position embeddings.

use bedstone_kernels::{
    image::{self, Taps},
    mem::Buf,
};

use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// A grid of rows, and the rows around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Rows before the grid.
    pub before: usize,
    /// Rows and columns of the grid, which lies row by row.
    pub size: [usize; 2],
    /// Rows after it.
    pub after: usize,
}

impl Grid {
    /// All rows.
    pub fn len(&self) -> usize {
        self.before + self.size[0] * self.size[1] + self.after
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The vectors of a grid, resized to `to` by cubic convolution; rows before and after it stay as they are:
/// `x: [.., grid.len(), C]` of f32 to `[.., new rows, C]`.
///
/// `align_corners` is false and there is no smoothing, as where `transformers` resizes position embeddings.
pub fn resize_grid(x: &Tensor, grid: Grid, to: [usize; 2], ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ResizeBackward {
        x: Tensor,
        grid: Grid,
        taps: [Taps; 2],
    }
    impl Backward for ResizeBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let ResizeBackward { x, grid, taps } = *self;
            let [h, w] = grid.size;
            let back = [taps[0].transposed(h), taps[1].transposed(w)];
            let [rows, columns] = &back;
            let (down, across) = (taps[0].len(), taps[1].len());
            let grid = image::Grid { before: grid.before, after: grid.after, down, across, rows, columns };
            let mut dx = Buf::for_overwrite(x.shape().numel());
            image::resize(env.isa, &mut dx, grad.f32s(), grid, x.shape().width());
            grads.add(x.var(), Tensor::from_buf(dx, x.shape()), env);
            Ok(())
        }
    }
    let op = "resize_grid";
    let (mut shape, [h, w]) = (x.shape(), grid.size);
    let rows = shape.len().checked_sub(2).map(|axis| shape[axis]);
    if rows != Some(grid.len()) || to.contains(&0) || grid.size.contains(&0) {
        let wanted = format!("[.., {}, C], to be resized to {} by {}", grid.len(), to[0], to[1]);
        return Err(TensorError::Shape { op, got: shape, wanted });
    }
    let taps = [Taps::bicubic(h, to[0]), Taps::bicubic(w, to[1])];
    let [rows, columns] = &taps;
    let axis = shape.len() - 2;
    let mut sizes = shape.to_vec();
    sizes[axis] = Grid { size: to, ..grid }.len();
    shape = (&sizes[..]).into();
    let mut out = Buf::for_overwrite(shape.numel());
    let old = image::Grid { before: grid.before, after: grid.after, down: h, across: w, rows, columns };
    image::resize(ctx.isa, &mut out, x.data(op)?, old, shape.width());
    Ok(ctx.record(Tensor::from_buf(out, shape), &[x], &[], || ResizeBackward { x: x.clone(), grid, taps }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for (before, size, after, to) in [(1, [2, 3], 0, [4, 2]), (2, [3, 3], 2, [5, 7]), (0, [1, 4], 1, [1, 6])] {
            let grid = Grid { before, size, after };
            check(&format!("resize_grid {grid:?} {to:?}"), &[[2, grid.len(), 5].into()], |p, ctx| {
                resize_grid(&ctx.leaf(p[0]), grid, to, ctx)
            });
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::detect(),
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x: Vec<f32> = (0..7 * 4).map(|i| (i as f32).sin()).collect();
        let x = Tensor::from_slice(&x, [1, 7, 4]);
        let grid = Grid { before: 1, size: [2, 3], after: 0 };
        let mut ctx = Ctx::inference(env);
        assert_eq!(resize_grid(&x, grid, [2, 3], &mut ctx).unwrap().f32s(), x.f32s());
        let error = resize_grid(&x, Grid { after: 1, ..grid }, [2, 3], &mut ctx).unwrap_err().to_string();
        assert_eq!(error, "resize_grid: got shape [1, 7, 4], wanted [.., 8, C], to be resized to 2 by 3");
    }
}
