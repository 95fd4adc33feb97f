//! Linear maps with what surrounds them: bias, activation, residual.

mod full;
mod half;
mod int8;

use bedstone_kernels::{
    bf16,
    elementwise::{multiply, round_and_sum, sum_rows},
    gemm::{Activation, activate_backward},
    mem::Buf,
};

use crate::{Backward, Ctx, Dtype, Env, Grads, Orientation, ParamId, Result, Tensor, TensorError, Var};

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
    /// Two axes, in the order of `layout`; of a convolution's weight `[out, in, ..]` all but the first count as one.
    pub weight: ParamId,
    /// Added to each row.
    pub bias: Option<ParamId>,
    /// The order of the weight's axes.
    pub layout: Layout,
}

impl Linear {
    /// Sizes of input and output.
    fn sizes(&self, env: &Env<'_>) -> Result<(usize, usize)> {
        let [a, b] = env.params.get(self.weight).matrix("linear")?;
        Ok(match self.layout {
            Layout::OutIn => (b, a),
            Layout::InOut => (a, b),
        })
    }

    /// The weight as a right operand `[in, out]`.
    fn orientation(&self) -> Orientation {
        match self.layout {
            Layout::OutIn => Orientation::Transposed,
            Layout::InOut => Orientation::Stored,
        }
    }
}

/// What follows the product.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinearArgs<'a> {
    /// Applied after the bias.
    pub activation: Activation,
    /// Added last, f32 of the output's shape.
    pub residual: Option<&'a Tensor>,
    /// The result is f32 whatever the precision: for logits and other last results.
    pub full: bool,
}

/// `y = activation(x W + b) + residual`: `x: [.., in]` to `[.., out]`.
///
/// The result is f32 with a residual, else in the type of what only products read. Several weights are applied to the same input side by side: their outputs follow one another in each row.
pub fn linear(x: &Tensor, weights: &[Linear], args: LinearArgs<'_>, ctx: &mut Ctx<'_>) -> Result<Tensor> {
    let (out, backward) = compute(x, weights, args, ctx)?;
    let Some(mut backward) = backward else { return Ok(out) };
    let inputs = [x, args.residual.unwrap_or(x)];
    // An activation that comes last, among products: the next product multiplies by its slopes.
    let last = out.dtype() == Dtype::Bf16 && args.residual.is_none();
    match backward.kept.take_if(|_| last) {
        Some(slopes) => Ok(ctx.record_activated(out, &inputs, &params(weights), slopes, || backward)),
        None => Ok(ctx.record(out, &inputs, &params(weights), || backward)),
    }
}

/// The parameters of maps.
pub(super) fn params(weights: &[Linear]) -> Vec<ParamId> {
    weights.iter().flat_map(|w| [Some(w.weight), w.bias]).flatten().collect()
}

/// The result without a place on the tape, and its gradient; products of int8 have none.
pub(super) fn compute(
    x: &Tensor,
    weights: &[Linear],
    args: LinearArgs<'_>,
    ctx: &Ctx<'_>,
) -> Result<(Tensor, Option<LinearBackward>)> {
    let k = x.shape().width();
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
    let shape = x.shape().with_width(columns[weights.len()]);
    if let Some(r) = args.residual.filter(|r| r.shape() != shape) {
        return Err(TensorError::Shape { op: "linear: residual", got: r.shape(), wanted: shape.to_string() });
    }
    let parts = Parts { weights: weights.to_vec(), columns };
    if int8::serves(k, args, ctx)? {
        let out = match ctx.precision.operand(ctx.isa) {
            Dtype::Bf16 if args.residual.is_none() => int8::forward::<bf16>(x, &parts, args, ctx)?,
            _ => int8::forward::<f32>(x, &parts, args, ctx)?,
        };
        return Ok((out, None));
    }
    // The input as the products take it; its place on the tape is that of `x`.
    let input = x.to_dtype(ctx.precision.operand(ctx.isa), ctx.isa)?;
    let Forward { out, kept } = match input.dtype() {
        Dtype::Bf16 if args.full || args.residual.is_some() => half::forward::<f32>(&input, &parts, args, ctx)?,
        Dtype::Bf16 => half::forward::<bf16>(&input, &parts, args, ctx)?,
        _ => full::forward(&input, &parts, args, ctx)?,
    };
    let residual = args.residual.and_then(Tensor::var);
    let backward = LinearBackward { x: input, dtype: x.dtype(), parts, activation: args.activation, kept, residual };
    Ok((out, Some(backward)))
}

/// Weights that are applied side by side.
struct Parts {
    weights: Vec<Linear>,
    /// Where each weight's outputs start in a row, and the row's width.
    columns: Vec<usize>,
}

impl Parts {
    /// Each weight with its first column and its count of columns.
    fn iter(&self) -> impl Iterator<Item = (Linear, usize, usize)> {
        self.weights.iter().zip(self.columns.windows(2)).map(|(w, c)| (*w, c[0], c[1] - c[0]))
    }
}

/// A result, and what the gradient needs of the activation: what that was applied to, or its slopes in bf16.
struct Forward {
    out: Tensor,
    kept: Option<Tensor>,
}

pub(super) struct LinearBackward {
    /// The input as the products took it.
    pub(super) x: Tensor,
    /// The type of the input's gradient.
    dtype: Dtype,
    parts: Parts,
    activation: Activation,
    /// See [`Forward`].
    kept: Option<Tensor>,
    residual: Option<Var>,
}

impl Backward for LinearBackward {
    fn backward(self: Box<Self>, grad: Tensor, grads: &mut Grads, env: &Env<'_>) -> Result<()> {
        grads.add(self.residual, grad.clone(), env);
        if self.x.dtype() == Dtype::Bf16 {
            // A gradient that is rounded for the products gives those of biases before.
            let exact = grad.dtype() == Dtype::F32 && self.kept.is_none();
            let mut dy = if exact { self.rounded(&grad, grads, env) } else { grad.to_dtype(Dtype::Bf16, env.isa)? };
            if let Some(slopes) = &self.kept {
                multiply(env.isa, dy.data_mut::<bf16>(), slopes.data("linear")?);
            }
            return match self.dtype {
                Dtype::Bf16 => half::backward::<bf16>(&self, &dy, !exact, grads, env),
                _ => half::backward::<f32>(&self, &dy, !exact, grads, env),
            };
        }
        let mut dy = grad.to_dtype(Dtype::F32, env.isa)?;
        if let Some(kept) = &self.kept {
            activate_backward(env.isa, self.activation, dy.f32s_mut(), kept.data("linear")?);
        }
        let (m, width) = (self.x.shape().rows(), dy.shape().width());
        for (w, from, n) in self.parts.iter() {
            if let Some(bias) = w.bias {
                let dy = dy.f32s().get(from..).unwrap_or(&[]);
                let dy = &dy[..dy.len().min(rows_end(m, width, n))];
                grads.add_param(bias, env, |db| sum_rows(env.isa, db, dy, width));
            }
        }
        full::backward(&self, &dy, grads, env)
    }
}

impl LinearBackward {
    /// `grad` as the products take it; adds the gradients of all biases.
    fn rounded(&self, grad: &Tensor, grads: &mut Grads, env: &Env<'_>) -> Tensor {
        let mut sums = Buf::<f32>::zeroed(grad.shape().width());
        let mut dy = Buf::<bf16>::for_overwrite(grad.shape().numel());
        round_and_sum(env.isa, &mut dy, &mut sums, grad.f32s());
        for (w, from, n) in self.parts.iter() {
            if let Some(bias) = w.bias {
                grads.add_param(bias, env, |db| db.iter_mut().zip(&sums[from..from + n]).for_each(|(d, s)| *d += s));
            }
        }
        Tensor::from_buf(dy, grad.shape())
    }
}

/// Where the last of `m` rows of `n` numbers ends, `ld` apart.
fn rows_end(m: usize, ld: usize, n: usize) -> usize {
    if m == 0 { 0 } else { (m - 1) * ld + n }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Precision, Shape, gradcheck::check};

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
                        linear(&x, &weights, LinearArgs { activation, residual: Some(&r), full: false }, ctx)
                    });
                }
            }
        }
    }

    /// In bf16 slopes of an activation meet the gradient in the product that used its result, or on the tape.
    #[test]
    fn activations_between_products_have_their_gradients() {
        let numbers =
            |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| (i * step % 97) as f32 / 48.0 - 1.0).collect() };
        for isa in crate::Isa::available().into_iter().filter(|isa| isa.has_bf16()) {
            for activation in ACTIVATIONS {
                // Who uses the activated result: one product, two, one as its residual too, and one beside another operation.
                for users in 0..4 {
                    let mut params = crate::Params::default();
                    let (rows, k, n) = (40, 64, 96);
                    let mut add = |name: &str, shape: [usize; 2], step| {
                        let scale = 1.0 / (shape[1] as f32).sqrt();
                        let x: Vec<f32> = numbers(shape[0] * shape[1], step).iter().map(|x| x * scale).collect();
                        params.add(name.into(), Tensor::from_slice(&x, shape)).unwrap()
                    };
                    let ids = [add("up", [n, k], 37), add("down", [n, n], 31), add("other", [n, n], 29)];
                    let x = Tensor::from_slice(&numbers(rows * k, 41), [rows, k]);
                    let run = |precision| {
                        let env = Env { isa, precision, packing: Default::default(), params: &params };
                        let mut ctx = Ctx::gradients(env);
                        let map = |id| [Linear { weight: id, bias: None, layout: Layout::OutIn }];
                        let args = LinearArgs { activation, ..Default::default() };
                        let h = linear(&x, &map(ids[0]), args, &mut ctx).unwrap();
                        let whole = h.to_f32(isa).unwrap();
                        let residual = (users == 2).then_some(&whole);
                        let args = LinearArgs { residual, full: true, ..Default::default() };
                        let mut y = linear(&h, &map(ids[1]), args, &mut ctx).unwrap();
                        if users == 1 {
                            let args = LinearArgs { residual: Some(&y), ..Default::default() };
                            y = linear(&h, &map(ids[2]), args, &mut ctx).unwrap();
                        }
                        if users == 3 {
                            y = crate::ops::add(&y, &whole, &mut ctx).unwrap();
                        }
                        let dy = Tensor::from_slice(&numbers(rows * n, 43), [rows, n]);
                        let grads = ctx.backward_from(&y, dy).unwrap();
                        grads.param(ids[0]).unwrap().f32s().to_vec()
                    };
                    let (got, want) = (run(Precision::Bf16), run(Precision::F32));
                    let square = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
                    let error = square(&mut got.iter().zip(&want).map(|(a, b)| a - b));
                    let size = square(&mut want.iter().copied());
                    // Numbers near a kink go either way. Slopes that are left out or come in twice are another matter.
                    assert!(error < 0.06 * size, "{isa} {activation:?} {users}: {error} off, of {size}");
                }
            }
        }
    }

    #[test]
    fn gradients_of_biases_come_with_those_of_weights() {
        use crate::{ParamGradient, Params};
        let numbers =
            |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| (i * step % 97) as f32 / 48.0 - 1.0).collect() };
        let (rows, k, n) = (50, 40, 33);
        for isa in crate::Isa::available().into_iter().filter(|isa| isa.has_bf16()) {
            for layout in [Layout::OutIn, Layout::InOut] {
                // Which of `a`'s weight and bias are frozen, and whether `b` is used twice.
                for (weight, bias, twice) in
                    [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
                {
                    let mut params = Params::default();
                    let mut map = |name: &str, k: usize, step| {
                        let shape = if layout == Layout::OutIn { [n, k] } else { [k, n] };
                        let x = Tensor::from_slice(&numbers(n * k, step), shape);
                        let weight = params.add(format!("{name}.weight"), x).unwrap();
                        let x = Tensor::from_slice(&numbers(n, step), [n]);
                        Linear { weight, bias: Some(params.add(format!("{name}.bias"), x).unwrap()), layout }
                    };
                    let (a, b, last) = (map("a", k, 37), map("b", k, 31), map("last", 2 * n, 29));
                    params.get_mut(a.weight).trainable = !weight;
                    params.get_mut(a.bias.unwrap()).trainable = !bias;
                    let x = Tensor::from_slice(&numbers(rows * k, 41), [rows, k]);
                    let mut run = |precision, may_wait| {
                        let mut ctx =
                            Ctx::gradients(Env { isa, precision, packing: Default::default(), params: &params });
                        let first = if twice { [b, b] } else { [a, b] };
                        let y = linear(&x, &first, LinearArgs::default(), &mut ctx).unwrap();
                        let args = LinearArgs { full: true, ..Default::default() };
                        let y = linear(&y, &[last], args, &mut ctx).unwrap();
                        let labels: Vec<i32> = (0..rows as i32).map(|i| i * 7 % n as i32).collect();
                        let labels = Tensor::from_slice(&labels, [rows]);
                        let loss = crate::ops::cross_entropy(&y, &labels, Default::default(), &mut ctx).unwrap();
                        let mut grads = vec![None; params.len()];
                        let recording = ctx.into_recording().unwrap();
                        let take = |id: ParamId, _: &mut Params, grad: ParamGradient| {
                            grads[id.index()] = Some(grad.tensor(isa).f32s().to_vec());
                            Ok(())
                        };
                        recording.backward_each(&loss, &mut params, may_wait, take).unwrap();
                        grads
                    };
                    let what = format!("{isa} {layout:?} {weight} {bias} {twice}");
                    let (whole, by_products) = (run(Precision::Bf16, false), run(Precision::Bf16, true));
                    assert!(whole == by_products, "{what}");
                    for (got, want) in whole.iter().zip(run(Precision::F32, false)) {
                        assert_eq!(got.is_some(), want.is_some(), "{what}");
                        let (got, want) = (got.iter().flatten(), want.iter().flatten());
                        let (mut error, mut size) = (0.0, 0.0);
                        got.zip(want).for_each(|(a, b)| (error, size) = (error + (a - b).powi(2), size + b * b));
                        // Rounding gives 2 to 4 %, a lost contribution far more.
                        assert!(error <= 1e-2 * size, "{what}: {error} of {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn int8_is_near_f32_and_for_inference_only() {
        let numbers =
            |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| (i * step % 97) as f32 / 48.0 - 1.0).collect() };
        for (k, layout) in [(64, Layout::OutIn), (200, Layout::InOut), (16, Layout::OutIn)] {
            let (rows, n, n2) = (9, 40, 3);
            let (mut params, shape) = (crate::Params::default(), |n| match layout {
                Layout::OutIn => [n, k],
                Layout::InOut => [k, n],
            });
            let weight = params.add("w".into(), Tensor::from_slice(&numbers(n * k, 37), shape(n))).unwrap();
            let other = params.add("v".into(), Tensor::from_slice(&numbers(n2 * k, 31), shape(n2))).unwrap();
            let bias = params.add("b".into(), Tensor::from_slice(&numbers(n, 5), [n])).unwrap();
            let maps = [Linear { weight, bias: Some(bias), layout }, Linear { weight: other, bias: None, layout }];
            let x = Tensor::from_slice(&numbers(rows * k, 41), [rows, k]);
            let r = Tensor::from_slice(&numbers(rows * (n + n2), 43), [rows, n + n2]);
            for isa in crate::Isa::available() {
                let env = |precision| Env { isa, precision, packing: Default::default(), params: &params };
                for residual in [None, Some(&r)] {
                    for full in [false, true] {
                        let args = LinearArgs { residual, full, activation: Activation::Silu };
                        let run = |p| linear(&x, &maps, args, &mut Ctx::inference(env(p))).unwrap();
                        let (got, want) = (run(Precision::Int8), run(Precision::F32));
                        let wanted = if full || residual.is_some() { Dtype::F32 } else { Precision::Int8.operand(isa) };
                        assert_eq!(got.dtype(), wanted, "{isa} {k} {full}");
                        let got = got.to_f32(isa).unwrap();
                        let size = (k as f32).sqrt();
                        for (i, (a, b)) in got.f32s().iter().zip(want.f32s()).enumerate() {
                            assert!((a - b).abs() < 2e-2 * size, "{isa} {k} {full} {i}: {a}, in f32 {b}");
                        }
                        // Rounded where it is said to be, and only there.
                        let exact = Precision::Int8.rest(isa) == Precision::F32 && (full || k < 64);
                        assert_eq!(got.f32s() == want.f32s(), exact, "{isa} {k} {full}");
                    }
                }
                let mut recording = Ctx::gradients(env(Precision::Int8));
                let error = linear(&x, &maps, LinearArgs::default(), &mut recording).unwrap_err();
                let wanted = "linear: int8 is for inference only: gradients need f32 or bf16";
                assert_eq!(error.to_string(), wanted);
            }
        }
    }

    #[test]
    fn a_wrong_width_is_named() {
        let mut params = crate::Params::default();
        let weight = params.add("w".into(), Tensor::zeros::<f32>([2, 3])).unwrap();
        let env = Env {
            isa: crate::Isa::PORTABLE,
            precision: Default::default(),
            packing: Default::default(),
            params: &params,
        };
        let linear = |width| {
            let w = Linear { weight, bias: None, layout: Layout::OutIn };
            super::linear(&Tensor::zeros::<f32>([5, width]), &[w], LinearArgs::default(), &mut Ctx::inference(env))
        };
        assert_eq!(linear(3).unwrap().shape(), Shape::from([5, 2]));
        assert_eq!(linear(4).unwrap_err().to_string(), "linear: got shape [5, 4], wanted rows of 3 for `w`");
    }
}
