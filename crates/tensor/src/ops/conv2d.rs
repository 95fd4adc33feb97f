//! Convolution over pictures.

use bedstone_kernels::{
    image::{self, Order, Pixels, Window},
    mem::Buf,
};

use super::{
    Linear, LinearArgs,
    linear::{LinearBackward, compute, params},
};
use crate::{Backward, Ctx, Dtype, Env, Grads, Result, Shape, Tensor, TensorError, Var};

/// `y[b, p, q] = activation(W · window(b, p, q) + bias)`: `x` in `order`, weight `[out, C, kh, kw]`, to `[B, down, across, out]`.
///
/// Windows become rows that [`super::linear`] multiplies, so precisions and results are those of linear maps. Windows that overlap
/// are made again for the gradient: `x` is all that is kept.
pub fn conv2d(
    x: &Tensor,
    order: Order,
    map: Linear,
    window: Window,
    args: LinearArgs<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<Tensor> {
    let op = "conv2d";
    let (pixels, [down, across]) = places(op, x, order, window)?;
    let weight = ctx.param(map.weight).shape();
    if weight[1..] != [pixels.channels, window.kernel[0], window.kernel[1]] {
        let [kh, kw] = window.kernel;
        let wanted = format!("[.., {}, {kh}, {kw}]", pixels.channels);
        return Err(TensorError::Shape { op, got: weight, wanted });
    }
    if args.residual.is_some() {
        return Err(TensorError::Unsupported { op, what: "a residual beside windows".into() });
    }
    let shape = Shape::from([pixels.batch, down, across, weight[0]]);
    if window.is_one_tap() && order == Order::ChannelsLast {
        return super::linear(x, &[map], args, ctx)?.reshape(shape);
    }
    let rows = windows(x, pixels, window, ctx)?;
    let (out, linear) = compute(&rows, &[map], args, ctx)?;
    let out = out.reshape(shape)?;
    let Some(mut linear) = linear.filter(|_| ctx.records()) else { return Ok(out) };
    linear.x = Tensor::zeros::<f32>([0]);
    Ok(ctx.record(out, &[x], &params(&[map]), || Conv2dBackward { x: x.clone(), pixels, window, linear }))
}

/// The pictures that a tensor holds, and where the window stands on them.
pub(super) fn places(op: &'static str, x: &Tensor, order: Order, window: Window) -> Result<(Pixels, [usize; 2])> {
    let dims: [usize; 4] = x.dims(op)?;
    let pixels = match (order, dims) {
        (Order::ChannelsFirst, [batch, channels, h, w]) => Pixels { batch, channels, size: [h, w], order },
        (Order::ChannelsLast, [batch, h, w, channels]) => Pixels { batch, channels, size: [h, w], order },
    };
    let [kh, kw] = window.kernel;
    match window.places(pixels.size).filter(|_| !dims[1..].contains(&0)) {
        Some(places) => Ok((pixels, places)),
        None => Err(TensorError::Shape { op, got: x.shape(), wanted: format!("pictures of {kh} by {kw} or more") }),
    }
}

/// A row a window, in the type that products take.
fn windows(x: &Tensor, pixels: Pixels, window: Window, env: &Env<'_>) -> Result<Tensor> {
    let x = x.to_dtype(env.precision.operand(env.isa), env.isa)?;
    let [down, across] = window.places(pixels.size).unwrap_or([0; 2]);
    let shape = [pixels.batch * down * across, pixels.channels * window.kernel[0] * window.kernel[1]];
    Ok(with_number!(x.dtype(), T => {
        let mut rows = Buf::<T>::for_overwrite(shape[0] * shape[1]);
        image::unfold(&mut rows, x.data("conv2d")?, pixels, window);
        Tensor::from_buf(rows, shape)
    }))
}

struct Conv2dBackward {
    x: Tensor,
    pixels: Pixels,
    window: Window,
    /// Without its input.
    linear: LinearBackward,
}

impl Backward for Conv2dBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let Conv2dBackward { x, pixels, window, mut linear } = *self;
        let rows = windows(&x, pixels, window, env)?;
        // A tape of its own, on which the rows stand alone.
        linear.x = rows.with_var(x.var().map(|_| Var(0)));
        let outer = grads.set_aside();
        grads.start([None].into_iter());
        let done = Box::new(linear).backward(grad, grads, env);
        let rows = grads.take(Var(0));
        grads.restore(outer);
        done?;
        if let Some(rows) = rows {
            let mut dx = Buf::<f32>::for_overwrite(x.shape().numel());
            match rows.dtype() {
                Dtype::Bf16 => image::fold::<bedstone_kernels::bf16>(&mut dx, rows.data("conv2d")?, pixels, window),
                _ => image::fold::<f32>(&mut dx, rows.data("conv2d")?, pixels, window),
            }
            grads.add(x.var(), Tensor::from_buf(dx, x.shape()), env);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Activation, Isa, Params, Precision,
        gradcheck::check,
        ops::{Layout, add},
    };

    const WINDOWS: [Window; 5] = [
        Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [1, 1], stride: [2, 2], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [2, 3], stride: [2, 3], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [3, 3], stride: [2, 1], padding: [1, 1], dilation: [1, 1] },
        Window { kernel: [3, 3], stride: [1, 1], padding: [2, 2], dilation: [2, 2] },
    ];

    fn map(p: &[crate::ParamId]) -> Linear {
        Linear { weight: p[1], bias: Some(p[2]), layout: Layout::OutIn }
    }

    #[test]
    fn gradients() {
        for window in WINDOWS {
            for (order, shape) in [(Order::ChannelsFirst, [2, 3, 5, 7]), (Order::ChannelsLast, [2, 5, 7, 3])] {
                for activation in [Activation::None, Activation::Silu] {
                    let shapes = [shape.into(), [4, 3, window.kernel[0], window.kernel[1]].into(), [4].into()];
                    check(&format!("conv2d {window:?} {order:?} {activation:?}"), &shapes, |p, ctx| {
                        let x = ctx.leaf(p[0]);
                        let args = LinearArgs { activation, ..Default::default() };
                        conv2d(&x, order, map(p), window, args, ctx)
                    });
                }
            }
        }
    }

    #[test]
    fn a_picture_used_twice() {
        let shapes = [[1, 4, 5, 2].into(), [2, 2, 3, 3].into(), [2].into()];
        check("conv2d beside the picture itself", &shapes, |p, ctx| {
            let x = ctx.leaf(p[0]);
            let args = LinearArgs { full: true, ..Default::default() };
            let y = conv2d(&x, Order::ChannelsLast, map(p), Window::square(3, 1, 1), args, ctx)?;
            add(&x, &y, ctx)
        });
    }

    fn params(shapes: [&[usize]; 3]) -> (Params, Vec<crate::ParamId>) {
        let mut params = Params::default();
        let ids = shapes.iter().enumerate().map(|(i, shape)| {
            let n: usize = shape.iter().product();
            let x: Vec<f32> = (0..n).map(|k| ((k * 7 + i) % 13) as f32 / 4.0 - 1.5).collect();
            params.add(format!("p{i}"), Tensor::from_slice(&x, *shape)).unwrap()
        });
        let ids = ids.collect();
        (params, ids)
    }

    /// Against the definition, in both orders.
    #[test]
    fn matches_the_definition() {
        let (b, c, h, w, out) = (2, 3, 6, 7, 4);
        for window in WINDOWS {
            let [kh, kw] = window.kernel;
            let (params, p) = params([&[b, c, h, w], &[out, c, kh, kw], &[out]]);
            let x = params.get(p[0]).value.clone();
            let mut last = Tensor::zeros::<f32>([b, h, w, c]);
            for (i, to) in last.f32s_mut().iter_mut().enumerate() {
                let (ch, ix, iy, image) = (i % c, i / c % w, i / c / w % h, i / c / w / h);
                *to = x.f32s()[((image * c + ch) * h + iy) * w + ix];
            }
            let [down, across] = window.places([h, w]).unwrap();
            for isa in Isa::available() {
                let env = Env { isa, precision: Precision::F32, packing: Default::default(), params: &params };
                for (order, x) in [(Order::ChannelsFirst, &x), (Order::ChannelsLast, &last)] {
                    let mut ctx = Ctx::inference(env);
                    let y = conv2d(x, order, map(&p), window, LinearArgs::default(), &mut ctx).unwrap();
                    assert_eq!(y.shape(), Shape::from([b, down, across, out]));
                    for (i, got) in y.f32s().iter().enumerate() {
                        let (o, q, place, image) =
                            (i % out, i / out % across, i / out / across % down, i / out / across / down);
                        let mut want = params.get(p[2]).value.f32s()[o];
                        for tap in 0..c * kh * kw {
                            let (kx, ky, ch) = (tap % kw, tap / kw % kh, tap / kw / kh);
                            let iy =
                                (place * window.stride[0] + ky * window.dilation[0]).wrapping_sub(window.padding[0]);
                            let ix = (q * window.stride[1] + kx * window.dilation[1]).wrapping_sub(window.padding[1]);
                            if iy < h && ix < w {
                                let x = params.get(p[0]).value.f32s()[((image * c + ch) * h + iy) * w + ix];
                                want += x * params.get(p[1]).value.f32s()[o * c * kh * kw + tap];
                            }
                        }
                        assert!((got - want).abs() < 1e-4, "{isa} {window:?} {order:?} {i}: {got} {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn other_precisions_are_near() {
        let window = Window::patches([5, 5]);
        let (params, p) = params([&[2, 3, 10, 15], &[6, 3, 5, 5], &[6]]);
        let x = params.get(p[0]).value.clone();
        for isa in Isa::available() {
            let run = |precision| {
                let env = Env { isa, precision, packing: Default::default(), params: &params };
                let mut ctx = Ctx::inference(env);
                let y = conv2d(&x, Order::ChannelsFirst, map(&p), window, LinearArgs::default(), &mut ctx).unwrap();
                y.to_f32(isa).unwrap()
            };
            let want = run(Precision::F32);
            let size = (want.f32s().iter().map(|y| y * y).sum::<f32>() / want.f32s().len() as f32).sqrt();
            for precision in [Precision::Bf16, Precision::Int8] {
                if precision == Precision::Bf16 && !isa.has_bf16() {
                    continue;
                }
                let got = run(precision);
                let far = got.f32s().iter().zip(want.f32s()).position(|(a, b)| (a - b).abs() > 5e-2 * size);
                assert_eq!(far, None, "{isa} {precision:?}");
                // Quarters are exact in bf16, and their sums in f32.
                assert_eq!(got.f32s() == want.f32s(), precision == Precision::Bf16, "{isa} {precision:?}");
            }
        }
    }

    #[test]
    fn wrong_shapes_are_named() {
        let (params, p) = params([&[1], &[2, 3, 4, 4], &[2]]);
        let env = Env { isa: Isa::PORTABLE, precision: Precision::F32, packing: Default::default(), params: &params };
        let run = |shape: [usize; 4], window| {
            let x = Tensor::zeros::<f32>(shape);
            let mut ctx = Ctx::inference(env);
            conv2d(&x, Order::ChannelsFirst, map(&p), window, LinearArgs::default(), &mut ctx).map(|y| y.shape())
        };
        let window = Window::patches([4, 4]);
        assert_eq!(run([1, 3, 8, 9], window), Ok([1, 2, 2, 2].into()));
        let error = run([1, 3, 3, 9], window).unwrap_err().to_string();
        assert_eq!(error, "conv2d: got shape [1, 3, 3, 9], wanted pictures of 4 by 4 or more");
        let error = run([1, 1, 8, 8], window).unwrap_err().to_string();
        assert_eq!(error, "conv2d: got shape [2, 3, 4, 4], wanted [.., 1, 4, 4]");
    }
}
