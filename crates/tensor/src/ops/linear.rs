//! Linear maps with what surrounds them: bias, activation, residual.

use bedstone_kernels::{
    elementwise::sum_rows,
    gemm::{Activation, Epilogue, Gemm, Mat, activate_backward, gemm},
    mem::Buf,
};

use crate::{Backward, Ctx, Env, Grads, ParamId, Result, Tensor, TensorError, Var};

/// How a weight lies in its checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as PyTorch's `Linear`.
    #[default]
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D`.
    InOut,
}

/// A weight, and a bias `[out]` if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Two axes, in the order of `layout`.
    pub weight: ParamId,
    /// Added to each row.
    pub bias: Option<ParamId>,
    /// The order of the weight's axes.
    pub layout: Layout,
}

impl Linear {
    /// Sizes of input and output.
    fn sizes(&self, env: &Env<'_>) -> Result<(usize, usize)> {
        let [a, b] = env.params.get(self.weight).value.dims("linear")?;
        Ok(match self.layout {
            Layout::OutIn => (b, a),
            Layout::InOut => (a, b),
        })
    }

    /// The weight as an operand, `[in, out]` or its transpose.
    fn operand<'a>(&self, env: &Env<'a>, transposed: bool) -> Mat<'a> {
        let value = &env.params.get(self.weight).value;
        let (w, ld) = (value.f32s(), value.shape().width());
        if (self.layout == Layout::OutIn) ^ transposed { Mat::t(w, ld) } else { Mat::new(w, ld) }
    }
}

/// What follows the product.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearArgs<'a> {
    /// Applied after the bias.
    pub activation: Activation,
    /// Added last, of the output's shape.
    pub residual: Option<&'a Tensor>,
}

/// `y = activation(x W + b) + residual`: `x: [.., in]` to `[.., out]`.
///
/// Several weights are applied to the same input side by side: their outputs follow one another in each row.
pub fn linear(x: &Tensor, weights: &[Linear], args: LinearArgs<'_>, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let LinearArgs { activation, residual } = args;
    let (m, k) = (x.shape().rows(), x.shape().width());
    let mut columns = Vec::with_capacity(weights.len() + 1);
    columns.push(0);
    for w in weights {
        let (n_in, n_out) = w.sizes(ctx)?;
        if n_in != k {
            let wanted = format!("rows of {n_in} for `{}`", ctx.params.get(w.weight).name);
            return Err(TensorError::Shape { op: "linear", got: x.shape(), wanted });
        }
        columns.push(columns[columns.len() - 1] + n_out);
    }
    let width = columns[weights.len()];
    let shape = x.shape().with_width(width);
    if let Some(r) = residual.filter(|r| r.shape() != shape) {
        return Err(TensorError::Shape { op: "linear: residual", got: r.shape(), wanted: shape.to_string() });
    }
    let input = x.data::<f32>("linear")?;
    let keeps = activation != Activation::None && ctx.records();
    let mut out = Buf::for_overwrite(shape.numel());
    let mut kept = Buf::for_overwrite(if keeps { shape.numel() } else { 0 });
    for (w, range) in weights.iter().zip(columns.windows(2)) {
        let (from, n) = (range[0], range[1] - range[0]);
        if m == 0 {
            continue;
        }
        let bias = w.bias.map(|id| ctx.param(id).f32s());
        let mut epilogue = Epilogue::default().bias(bias).activation(activation);
        if keeps {
            epilogue = epilogue.keep(&mut kept[from..], width);
        }
        if let Some(r) = residual {
            epilogue = epilogue.residual(&r.f32s()[from..], width);
        }
        let a = Mat::new(input, k);
        gemm(ctx.isa, Gemm { m, n, k }, a, w.operand(ctx, false), &mut out[from..], width, epilogue);
    }
    let out = Tensor::from_buf(out, shape);
    let inputs = [x, residual.unwrap_or(x)];
    let params: Vec<ParamId> = weights.iter().flat_map(|w| [Some(w.weight), w.bias]).flatten().collect();
    Ok(ctx.record(out, &inputs, &params, || LinearBackward {
        x: x.clone(),
        weights: weights.to_vec(),
        columns,
        activation,
        kept: keeps.then(|| Tensor::from_buf(kept, shape)),
        residual: residual.and_then(Tensor::var),
    }))
}

struct LinearBackward {
    x: Tensor,
    weights: Vec<Linear>,
    /// Where each weight's outputs start in a row, and the row's width.
    columns: Vec<usize>,
    activation: Activation,
    /// What the activation was applied to.
    kept: Option<Tensor>,
    residual: Option<Var>,
}

impl Backward for LinearBackward {
    fn backward(self: Box<Self>, mut grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        grads.add(self.residual, grad.clone(), env);
        if let Some(kept) = &self.kept {
            activate_backward(env.isa, self.activation, grad.f32s_mut(), kept.f32s());
        }
        let (m, k, width) = (self.x.shape().rows(), self.x.shape().width(), grad.shape().width());
        let (x, dy) = (self.x.f32s(), grad.f32s());
        for (w, range) in self.weights.iter().zip(self.columns.windows(2)) {
            let (from, n) = (range[0], range[1] - range[0]);
            let dy = dy.get(from..).unwrap_or(&[]);
            grads.write_param(w.weight, env, |dw, accumulate| {
                let epilogue = Epilogue::default().accumulate(accumulate);
                match w.layout {
                    Layout::OutIn => {
                        gemm(env.isa, Gemm { m: n, n: k, k: m }, Mat::t(dy, width), Mat::new(x, k), dw, k, epilogue);
                    }
                    Layout::InOut => {
                        gemm(env.isa, Gemm { m: k, n, k: m }, Mat::t(x, k), Mat::new(dy, width), dw, n, epilogue);
                    }
                }
            });
            if let Some(bias) = w.bias {
                grads.add_param(bias, env, |db| {
                    sum_rows(env.isa, db, &dy[..dy.len().min(rows_end(m, width, n))], width)
                });
            }
            grads.write(self.x.var(), self.x.shape(), |dx, accumulate| {
                let epilogue = Epilogue::default().accumulate(accumulate);
                gemm(env.isa, Gemm { m, n: k, k: n }, Mat::new(dy, width), w.operand(env, true), dx, k, epilogue);
            });
        }
        Ok(())
    }
}

/// Where the last of `m` rows of `n` numbers ends, `ld` apart.
fn rows_end(m: usize, ld: usize, n: usize) -> usize {
    if m == 0 { 0 } else { (m - 1) * ld + n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shape, gradcheck::check};

    const ACTIVATIONS: [Activation; 7] = [
        Activation::None,
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Tanh,
    ];

    #[test]
    fn gradients() {
        for (rows, k, n, n2) in [(1, 1, 1, 1), (5, 3, 4, 2), (33, 17, 20, 5)] {
            for layout in [Layout::OutIn, Layout::InOut] {
                for activation in ACTIVATIONS {
                    let w = |n| match layout {
                        Layout::OutIn => Shape::from([n, k]),
                        Layout::InOut => Shape::from([k, n]),
                    };
                    let shapes = [[rows, k].into(), w(n), [n].into(), w(n2), [rows, n + n2].into()];
                    check(&format!("linear {rows} {k} {n} {layout:?} {activation:?}"), &shapes, |p, ctx| {
                        let (x, r) = (ctx.leaf(p[0]), ctx.leaf(p[4]));
                        let weights = [
                            Linear { weight: p[1], bias: Some(p[2]), layout },
                            Linear { weight: p[3], bias: None, layout },
                        ];
                        linear(&x, &weights, LinearArgs { activation, residual: Some(&r) }, ctx)
                    });
                }
            }
        }
    }

    #[test]
    fn a_wrong_width_is_named() {
        let mut params = crate::Params::default();
        let weight = params.add("w".into(), Tensor::zeros::<f32>([2, 3])).unwrap();
        let env = Env { isa: crate::Isa::PORTABLE, precision: Default::default(), params: &params };
        let linear = |width| {
            let w = Linear { weight, bias: None, layout: Layout::OutIn };
            super::linear(&Tensor::zeros::<f32>([5, width]), &[w], LinearArgs::default(), &mut Ctx::inference(env))
        };
        assert_eq!(linear(3).unwrap().shape(), Shape::from([5, 2]));
        assert_eq!(linear(4).unwrap_err().to_string(), "linear: got shape [5, 4], wanted rows of 3 for `w`");
    }
}
