//! Convolution over the tokens of a text.

use bedstone_kernels::{
    elementwise::sum_rows,
    gemm::{Epilogue, Gemm, Mat, gemm},
    mem::Buf,
};

use crate::{Backward, Ctx, Env, Grads, ParamId, Result, Shape, Tensor, TensorError};

/// `y[t] = bias + Σⱼ W[:, :, j] x[t + j - (k - 1) / 2]` for `x: [B, T, C]`, `weight: [out, C, k]` with odd `k` and
/// `bias: [out]`: `[B, T, out]` of f32, computed in f32 whatever the precision.
///
/// Beyond a text `x` counts as zeros.
pub fn conv1d(x: &Tensor, weight: ParamId, bias: ParamId, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let op = "conv1d";
    let ([b, t, c], [n_out, n_in, k]) = (x.dims(op)?, ctx.param(weight).dims(op)?);
    if n_in != c || k % 2 == 0 {
        return Err(TensorError::Shape {
            op,
            got: ctx.param(weight).shape(),
            wanted: format!("[.., {c}, an odd number]"),
        });
    }
    if ctx.param(bias).shape() != Shape::from([n_out]) {
        return Err(TensorError::Shape { op, got: ctx.param(bias).shape(), wanted: format!("[{n_out}]") });
    }
    let saved = Conv1dBackward { x: x.clone(), weight, bias, k };
    let full = x.to_f32(ctx.isa)?;
    let mut out = Buf::for_overwrite(b * t * n_out);
    let mut taps = Buf::for_overwrite(t * c * k);
    let weights = Mat::t(ctx.param(weight).f32s(), c * k);
    for text in 0..b {
        saved.gather(&mut taps, full.f32s(), text, [t, c]);
        let to = &mut out[text * t * n_out..(text + 1) * t * n_out];
        let epilogue = Epilogue::default().bias(Some(ctx.param(bias).f32s()));
        gemm(ctx.isa, Gemm { m: t, n: n_out, k: c * k }, Mat::new(&taps, c * k), weights, to, n_out, epilogue);
    }
    let out = Tensor::from_buf(out, [b, t, n_out]);
    Ok(ctx.record(out, &[x], &[weight, bias], || saved))
}

struct Conv1dBackward {
    x: Tensor,
    weight: ParamId,
    bias: ParamId,
    k: usize,
}

impl Conv1dBackward {
    /// For each token of a text the `k` numbers around it of every channel, `[T, C · k]`: rows that meet the weights as
    /// these lie.
    fn gather(&self, taps: &mut [f32], x: &[f32], text: usize, [t, c]: [usize; 2]) {
        taps.fill(0.0);
        self.each_tap(t, |token, j, from| {
            let from = &x[(text * t + from) * c..][..c];
            let to = &mut taps[token * c * self.k..(token + 1) * c * self.k];
            to[j..].iter_mut().step_by(self.k).zip(from).for_each(|(to, x)| *to = *x);
        });
    }

    /// The way back: adds each number to where it came from.
    fn scatter(&self, taps: &[f32], x: &mut [f32], text: usize, [t, c]: [usize; 2]) {
        self.each_tap(t, |token, j, from| {
            let to = &mut x[(text * t + from) * c..][..c];
            let taps = &taps[token * c * self.k..(token + 1) * c * self.k];
            to.iter_mut().zip(taps[j..].iter().step_by(self.k)).for_each(|(to, x)| *to += *x);
        });
    }

    /// Calls `f(token, j, the token under tap j)` for those within the text.
    fn each_tap(&self, t: usize, mut f: impl FnMut(usize, usize, usize)) {
        for token in 0..t {
            for j in 0..self.k {
                if let Some(from) = (token + j).checked_sub(self.k / 2).filter(|&from| from < t) {
                    f(token, j, from);
                }
            }
        }
    }
}

impl Backward for Conv1dBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        let ([b, t, c], [_, _, n_out]) = (self.x.dims("conv1d")?, grad.dims("conv1d")?);
        let (dy, k) = (grad.f32s(), c * self.k);
        let full = self.x.to_f32(env.isa)?;
        grads.add_param(self.bias, env, |db| sum_rows(env.isa, db, dy, n_out));
        let mut taps = Buf::for_overwrite(t * k);
        let mut dx = Buf::zeroed(self.x.shape().numel());
        let weights = Mat::new(env.params.get(self.weight).value.f32s(), k);
        let texts = |text: usize| &dy[text * t * n_out..(text + 1) * t * n_out];
        grads.write_param(self.weight, env, |dw, accumulate| {
            for text in 0..b {
                self.gather(&mut taps, full.f32s(), text, [t, c]);
                let epilogue = Epilogue::default().accumulate(accumulate || text > 0);
                let shape = Gemm { m: n_out, n: k, k: t };
                gemm(env.isa, shape, Mat::t(texts(text), n_out), Mat::new(&taps, k), dw, k, epilogue);
            }
        });
        for text in 0..b {
            let shape = Gemm { m: t, n: k, k: n_out };
            gemm(env.isa, shape, Mat::new(texts(text), n_out), weights, &mut taps, k, Epilogue::default());
            self.scatter(&taps, &mut dx, text, [t, c]);
        }
        grads.add(self.x.var(), Tensor::from_buf(dx, self.x.shape()), env);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check;

    #[test]
    fn gradients() {
        for k in [1, 3, 5] {
            check(&format!("conv1d {k}"), &[[2, 5, 4].into(), [3, 4, k].into(), [3].into()], |p, ctx| {
                let x = ctx.leaf(p[0]);
                conv1d(&x, p[1], p[2], ctx)
            });
        }
    }

    #[test]
    fn taps_lie_around_the_token() {
        let mut params = crate::Params::default();
        let weight = params.add("w".into(), Tensor::from_slice(&[1.0f32, 10.0, 100.0], [1, 1, 3])).unwrap();
        let bias = params.add("b".into(), Tensor::from_slice(&[0.5f32], [1])).unwrap();
        let even = params.add("e".into(), Tensor::from_slice(&[1.0f32, 10.0], [1, 1, 2])).unwrap();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [1, 3, 1]);
        let mut ctx = Ctx::inference(env);
        assert_eq!(conv1d(&x, weight, bias, &mut ctx).unwrap().f32s(), [210.5, 321.5, 32.5]);
        let error = conv1d(&x, even, bias, &mut ctx).unwrap_err();
        assert_eq!(error.to_string(), "conv1d: got shape [1, 1, 2], wanted [.., 1, an odd number]");
    }
}
