//! Products of numbers rounded to eight bits, for inference.

use bedstone_kernels::{
    gemm::{Epilogue, Int8Panels, Int8Rows, gemm_int8},
    mem::Buf,
    number::Number,
};

use super::{LinearArgs, Parts};
use crate::{Ctx, Element, Precision, Result, Tensor, TensorError};

/// Narrower inputs are multiplied in the precision of the rest: little is won, and few errors cancel.
const NARROWEST: usize = 64;

/// Whether a product is one of int8. Last results (`full`) are not: what is compared should not be rounded last, and an
/// encoder's are a row a text.
pub(super) fn serves(k: usize, args: LinearArgs<'_>, ctx: &Ctx<'_>) -> Result<bool> {
    if ctx.precision != Precision::Int8 {
        return Ok(false);
    }
    if ctx.records() {
        let what = "int8 is for inference only: gradients need f32 or bf16".to_owned();
        return Err(TensorError::Unsupported { op: "linear", what });
    }
    Ok(!args.full && (NARROWEST..=Int8Panels::MAX_DEPTH).contains(&k))
}

/// The map of `x`, of either kind of numbers.
pub(super) fn forward<C: Element + Number>(
    x: &Tensor,
    parts: &Parts,
    args: LinearArgs<'_>,
    ctx: &Ctx<'_>,
) -> Result<Tensor> {
    let (m, k, width) = (x.shape().rows(), x.shape().width(), parts.columns[parts.weights.len()]);
    let shape = x.shape().with_width(width);
    let mut out = Buf::<C>::for_overwrite(shape.numel());
    if m > 0 {
        // Rounded once for all weights.
        let a = with_number!(x.dtype(), T => Int8Rows::quantise(ctx.isa, x.data::<T>("linear")?, m, k));
        for (w, from, _) in parts.iter() {
            let bias = w.bias.map(|id| ctx.param(id).f32s());
            let mut epilogue = Epilogue::default().bias(bias).activation(args.activation);
            if let Some(r) = args.residual {
                epilogue = epilogue.residual(&r.data("linear: residual")?[from..], width);
            }
            let b = ctx.params.int8_panels(w.weight, w.orientation(), ctx.packing)?;
            gemm_int8(ctx.isa, &a, &b, &mut out[from..], width, epilogue);
        }
    }
    Ok(Tensor::from_buf(out, shape))
}
