//! Products in f32.

use bedstone_kernels::{
    gemm::{Activation, Epilogue, Gemm, Mat, gemm},
    mem::Buf,
};

use super::{Forward, Layout, Linear, LinearArgs, LinearBackward, Parts};
use crate::{Ctx, Env, Grads, Result, Tensor};

/// A weight as an operand, `[in, out]` or its transpose.
fn operand<'a>(w: Linear, env: &Env<'a>, transposed: bool) -> Result<Mat<'a>> {
    let param = env.params.get(w.weight);
    let (data, [_, ld]) = (param.value.f32s(), param.matrix("linear")?);
    Ok(if (w.layout == Layout::OutIn) ^ transposed { Mat::t(data, ld) } else { Mat::new(data, ld) })
}

pub(super) fn forward(x: &Tensor, parts: &Parts, args: LinearArgs<'_>, ctx: &Ctx<'_>) -> Result<Forward> {
    let (m, k, width) = (x.shape().rows(), x.shape().width(), parts.columns[parts.weights.len()]);
    let shape = x.shape().with_width(width);
    let input = x.data::<f32>("linear")?;
    let keeps = args.activation != Activation::None && ctx.records();
    let mut out = Buf::for_overwrite(shape.numel());
    let mut kept = Buf::for_overwrite(if keeps { shape.numel() } else { 0 });
    if m > 0 {
        for (w, from, n) in parts.iter() {
            let bias = w.bias.map(|id| ctx.param(id).f32s());
            let mut epilogue = Epilogue::default().bias(bias).activation(args.activation);
            if keeps {
                epilogue = epilogue.keep(&mut kept[from..], width);
            }
            if let Some(r) = args.residual {
                epilogue = epilogue.residual(&r.data("linear: residual")?[from..], width);
            }
            let a = Mat::new(input, k);
            gemm(ctx.isa, Gemm { m, n, k }, a, operand(w, ctx, false)?, &mut out[from..], width, epilogue);
        }
    }
    let kept = keeps.then(|| Tensor::from_buf(kept, shape));
    Ok(Forward { out: Tensor::from_buf(out, shape), kept })
}

pub(super) fn backward(node: &LinearBackward, dy: &Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
    let (x, m, k, width) = (&node.x, node.x.shape().rows(), node.x.shape().width(), dy.shape().width());
    let (input, dy) = (x.f32s(), dy.f32s());
    for (w, from, n) in node.parts.iter() {
        let dy = dy.get(from..).unwrap_or(&[]);
        grads.write_param(w.weight, env, |dw, accumulate| {
            let epilogue = Epilogue::default().accumulate(accumulate);
            match w.layout {
                Layout::OutIn => {
                    gemm(env.isa, Gemm { m: n, n: k, k: m }, Mat::t(dy, width), Mat::new(input, k), dw, k, epilogue);
                }
                Layout::InOut => {
                    gemm(env.isa, Gemm { m: k, n, k: m }, Mat::t(input, k), Mat::new(dy, width), dw, n, epilogue);
                }
            }
        });
        if x.var().is_some() {
            let mut dx = grads.begin::<f32>(x.var(), x.shape(), env.isa)?;
            let epilogue = Epilogue::default().accumulate(dx.accumulate);
            let shape = Gemm { m, n: k, k: n };
            gemm(env.isa, shape, Mat::new(dy, width), operand(w, env, true)?, dx.tensor.f32s_mut(), k, epilogue);
            grads.finish(x.var(), dx);
        }
    }
    Ok(())
}
