//! Pictures in the order that others take them.

use bedstone_kernels::mem::Buf;

use crate::{Backward, Ctx, Env, Grads, Result, Tensor};

/// `[B, H, W, C]` to `[B, C, H, W]`, as f32.
pub fn channels_first(x: &Tensor, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    struct ChannelsFirstBackward(Tensor);
    impl Backward for ChannelsFirstBackward {
        fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
            let [b, h, w, c] = self.0.dims("channels_first")?;
            let mut dx = Buf::for_overwrite(grad.shape().numel());
            turn(&mut dx, grad.f32s(), [b, c, h * w]);
            grads.add(self.0.var(), Tensor::from_buf(dx, self.0.shape()), env);
            Ok(())
        }
    }
    let [b, h, w, c] = x.dims("channels_first")?;
    let full = x.to_f32(ctx.isa)?;
    let mut out = Buf::for_overwrite(b * c * h * w);
    turn(&mut out, full.f32s(), [b, h * w, c]);
    Ok(ctx.record(Tensor::from_buf(out, [b, c, h, w]), &[x], &[], || ChannelsFirstBackward(x.clone())))
}

/// Each of `b` matrices `[rows, columns]` turned.
fn turn(y: &mut [f32], x: &[f32], [b, rows, columns]: [usize; 3]) {
    let n = rows * columns;
    for i in 0..b {
        let (from, to) = (&x[i * n..(i + 1) * n], &mut y[i * n..(i + 1) * n]);
        for (column, to) in to.chunks_exact_mut(rows.max(1)).enumerate() {
            to.iter_mut().zip(from[column..].iter().step_by(columns)).for_each(|(to, x)| *to = *x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        check("channels_first", &[[2, 3, 4, 5].into()], |p, ctx| channels_first(&ctx.leaf(p[0]), ctx));
    }

    #[test]
    fn pixels_keep_their_places() {
        let params = crate::Params::default();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x = Tensor::from_slice(&[1.0f32, 10.0, 2.0, 20.0, 3.0, 30.0], [1, 1, 3, 2]);
        let y = channels_first(&x, &mut Ctx::inference(env)).unwrap();
        assert_eq!((y.shape(), y.f32s()), ([1, 2, 1, 3].into(), &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0][..]));
    }
}
