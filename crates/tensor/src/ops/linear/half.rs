//! Products of bf16.

use std::sync::Arc;

use bedstone_kernels::{
    bf16,
    elementwise::sum_rows,
    gemm::{Activation, Epilogue, HalfLeft, Panels, Rows, Term, gemm_half},
    mem::Buf,
    number::Number,
};

use super::{Forward, Layout, Linear, LinearArgs, LinearBackward, Parts};
use crate::{
    Ctx, Element, Env, Grads, Orientation, Result, Tensor,
    grads::{Columns, Side, WeightProduct},
};

/// A weight as a right operand, `[in, out]` or its transpose.
fn operand(w: Linear, env: &Env<'_>, transposed: bool) -> Result<Arc<Panels>> {
    let orientation = match (w.orientation(), transposed) {
        (Orientation::Transposed, false) | (Orientation::Stored, true) => Orientation::Transposed,
        _ => Orientation::Stored,
    };
    env.params.panels(w.weight, orientation, env.isa, env.packing)
}

pub(super) fn forward<C: Element + Number>(
    x: &Tensor,
    parts: &Parts,
    args: LinearArgs<'_>,
    ctx: &Ctx<'_>,
) -> Result<Forward> {
    let (m, k, width) = (x.shape().rows(), x.shape().width(), parts.columns[parts.weights.len()]);
    let shape = x.shape().with_width(width);
    let a = HalfLeft::Rows(Rows { data: x.data("linear")?, ld: k });
    let keeps = args.activation != Activation::None && ctx.records();
    let mut out = Buf::<C>::for_overwrite(shape.numel());
    let mut kept = Buf::<C>::for_overwrite(if keeps { shape.numel() } else { 0 });
    if m > 0 {
        for (w, from, _) in parts.iter() {
            let bias = w.bias.map(|id| ctx.param(id).f32s());
            let mut epilogue = Epilogue::default().bias(bias).activation(args.activation);
            if keeps {
                epilogue = epilogue.keep_slope(&mut kept[from..], width);
            }
            if let Some(r) = args.residual {
                epilogue = epilogue.residual(&r.data("linear: residual")?[from..], width);
            }
            let b = operand(w, ctx, false)?;
            gemm_half(ctx.isa, m, &[Term { a, b: &b }], &mut out[from..], width, epilogue);
        }
    }
    let kept = match keeps {
        // Slopes, for a gradient that arrives as bf16.
        true => Some(Tensor::from_buf(kept, shape).to_dtype(bf16::DTYPE, ctx.isa)?),
        false => None,
    };
    Ok(Forward { out: Tensor::from_buf(out, shape), kept })
}

/// `X` is the type of the input's gradient. Biases get theirs here if they are `wanted`.
pub(super) fn backward<X: Element + Number>(
    node: &LinearBackward,
    dy: &Tensor,
    wanted: bool,
    grads: &mut Grads,
    env: &Env<'_>,
) -> Result<()> {
    let (x, m, k, width) = (&node.x, node.x.shape().rows(), node.x.shape().width(), dy.shape().width());
    let (isa, gradient) = (env.isa, dy.data::<bf16>("linear")?);
    if m == 0 {
        // Sums of nothing.
        node.parts.iter().filter_map(|(w, ..)| w.bias).for_each(|bias| grads.add_param(bias, env, |_| {}));
        return Ok(());
    }
    for (w, from, n) in node.parts.iter() {
        let param = env.params.get(w.weight);
        let bias = w.bias.filter(|&bias| wanted && env.params.get(bias).trainable);
        if !param.trainable {
            if let Some(bias) = bias {
                let dy = &gradient[from..(m - 1) * width + from + n];
                grads.add_param(bias, env, |db| sum_rows(isa, db, dy, width));
            }
            continue;
        }
        let input = Columns { rows: x.clone(), from: 0, n: k };
        let output = Columns { rows: dy.clone(), from, n };
        let (left, right, output) = match w.layout {
            Layout::OutIn => (output, input, Side::Left),
            Layout::InOut => (input, output, Side::Right),
        };
        let product = WeightProduct { left, right, output, shape: param.value.shape(), bias: None };
        grads.add_product(w.weight, bias, env, product);
    }
    if x.var().is_none() {
        return Ok(());
    }
    let weights: Vec<Arc<Panels>> = node.parts.iter().map(|(w, ..)| operand(w, env, true)).collect::<Result<_>>()?;
    let terms: Vec<Term<'_>> = node
        .parts
        .iter()
        .zip(&weights)
        .map(|((_, from, _), b)| Term { a: HalfLeft::Rows(Rows { data: &gradient[from..], ld: width }), b })
        .collect();
    let slopes = if X::IS_BF16 { grads.take_slopes(x.var()) } else { None };
    let mut dx = grads.begin::<X>(x.var(), x.shape(), isa)?;
    let mut epilogue = Epilogue::default().accumulate(dx.accumulate);
    if let Some(slopes) = &slopes {
        epilogue = epilogue.times(slopes.data("linear")?, k);
    }
    gemm_half(isa, m, &terms, dx.tensor.data_mut::<X>(), k, epilogue);
    grads.finish(x.var(), dx);
    Ok(())
}
