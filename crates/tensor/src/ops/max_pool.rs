//! The largest numbers under windows.

use bedstone_kernels::{
    image::{self, Order, Pixels, Window},
    mem::Buf,
};

use super::conv2d::places;
use crate::{Backward, Ctx, Env, Grads, Result, Tensor, TensorError};

/// `y[b, p, q, c]` is the largest number of channel `c` under window `(p, q)`: `x: [B, H, W, C]` to `[B, down, across, C]`, in the
/// type of `x`. Padding takes no part.
pub fn max_pool(x: &Tensor, window: Window, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct MaxPoolBackward {
        x: Tensor,
        places: Tensor,
        pixels: Pixels,
        window: Window,
    }
    impl Backward for MaxPoolBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let mut dx = Buf::for_overwrite(self.x.shape().numel());
            let places = self.places.data("max_pool")?;
            with_number!(grad.dtype(), T => {
                image::max_pool_backward::<T>(&mut dx, grad.data("max_pool")?, places, self.pixels, self.window)
            });
            grads.add(self.x.var(), Tensor::from_buf(dx, self.x.shape()), env);
            Ok(())
        }
    }
    let op = "max_pool";
    let (pixels, [down, across]) = places(op, x, Order::ChannelsLast, window)?;
    let one_inside = (0..2).all(|axis| 2 * window.padding[axis] <= window.kernel[axis]);
    if !one_inside || window.dilation != [1; 2] {
        let what = format!("a window {window:?}, wanted padding of at most half of it and no dilation");
        return Err(TensorError::Unsupported { op, what });
    }
    let shape = [pixels.batch, down, across, pixels.channels];
    let mut places = Buf::<i32>::for_overwrite(shape.iter().product());
    let out = with_number!(x.dtype(), T => {
        let mut out = Buf::<T>::for_overwrite(places.len());
        image::max_pool(&mut out, &mut places, x.data(op)?, pixels, window);
        Tensor::from_buf(out, shape)
    });
    Ok(ctx.record(out, &[x], &[], || MaxPoolBackward {
        x: x.clone(),
        places: Tensor::from_buf(places, shape),
        pixels,
        window,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for window in [Window::square(3, 2, 1), Window::square(2, 2, 0), Window::square(3, 1, 1)] {
            check(&format!("max_pool {window:?}"), &[[2, 5, 6, 3].into()], |p, ctx| {
                max_pool(&ctx.leaf(p[0]), window, ctx)
            });
        }
    }
}
