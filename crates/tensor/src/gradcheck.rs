//! Finite-difference checks of gradients, for the tests of every operation and of whole models.

use bedstone_kernels::random::{Draw, key};

use crate::{Ctx, Env, Isa, Packing, ParamId, Params, Precision, Result, Shape, Tensor};

/// Checks the gradients of `f` at random parameters of the given shapes, on every instruction set available; and that
/// with products of bf16, where there are such, results and gradients are the same but for rounding.
///
/// `f` builds a result from the parameters; its sum with random weights is differentiated by central differences in
/// double precision, at every place of small parameters and at some places of large ones.
///
/// # Panics
/// Where a gradient differs: this is a test's last word.
#[track_caller]
pub fn check(what: &str, shapes: &[Shape], f: impl Fn(&[ParamId], &mut Ctx<'_>) -> Result<Tensor>) {
    let mut params = Params::default();
    for (i, shape) in shapes.iter().enumerate() {
        let id = params.add(format!("p{i}"), Tensor::zeros::<f32>(*shape));
        let id = id.unwrap_or_else(|e| panic!("{what}: {e}"));
        normal(params.get_mut(id).value.f32s_mut(), i as u64);
    }
    let ids: Vec<ParamId> = params.iter().map(|(id, _)| id).collect();
    for isa in Isa::available() {
        check_params(&format!("{what} on {isa}"), isa, &mut params, 3e-2, |ctx| f(&ids, ctx));
        if isa.has_bf16() {
            check_half(&format!("{what} on {isa} in bf16"), isa, &params, |ctx| f(&ids, ctx));
        }
    }
}

/// The share of the root mean square that a result of bf16 products may be off; kinks, as ReLU has, flip a few numbers.
const HALF_ERROR: f64 = 2e-1;

/// Compares result and gradients with products of bf16 to those of f32.
#[track_caller]
fn check_half(what: &str, isa: Isa, params: &Params, f: impl Fn(&mut Ctx<'_>) -> Result<Tensor>) {
    let run = |precision| -> Result<Vec<(String, Tensor)>> {
        let mut ctx = Ctx::gradients(Env { isa, precision, packing: Packing::Passing, params });
        let y = f(&mut ctx)?;
        let mut weights = Tensor::zeros::<f32>(y.shape());
        normal(weights.f32s_mut(), 99);
        let mut all = vec![("the result".to_owned(), y.to_f32(isa)?)];
        let grads = ctx.backward_from(&y, weights)?;
        for (id, p) in params.iter() {
            let grad = grads.param(id).unwrap_or_else(|| panic!("{what}: `{}` got no gradient", p.name));
            all.push((format!("the gradient of `{}`", p.name), grad.clone()));
        }
        Ok(all)
    };
    let both = run(Precision::Bf16).and_then(|half| Ok((half, run(Precision::F32)?)));
    let (half, full) = both.unwrap_or_else(|e| panic!("{what}: {e}"));
    for ((name, got), (_, want)) in half.iter().zip(&full) {
        let square = |x: f32| x as f64 * x as f64;
        let error: f64 = got.f32s().iter().zip(want.f32s()).map(|(a, b)| square(a - b)).sum();
        let size: f64 = want.f32s().iter().map(|&b| square(b)).sum();
        let n = want.f32s().len().max(1) as f64;
        let (error, size) = ((error / n).sqrt(), (size / n).sqrt());
        assert!(error <= HALF_ERROR * (size + 0.1), "{what}: {name} is {error} off, of {size}");
    }
}

/// The same for the parameters of a model; `tolerance` is relative to the gradient's largest value in a parameter.
///
/// # Panics
/// Where a gradient differs or is missing.
#[track_caller]
pub fn check_params(
    what: &str,
    isa: Isa,
    params: &mut Params,
    tolerance: f64,
    f: impl Fn(&mut Ctx<'_>) -> Result<Tensor>,
) {
    let fail = |e: crate::TensorError| -> ! { panic!("{what}: {e}") };
    fn env(isa: Isa, params: &Params) -> Env<'_> {
        Env { isa, precision: Precision::F32, packing: Packing::Kept, params }
    }
    let mut ctx = Ctx::gradients(env(isa, params));
    let y = f(&mut ctx).unwrap_or_else(|e| fail(e));
    let mut weights = Tensor::zeros::<f32>(y.shape());
    normal(weights.f32s_mut(), 99);
    let grads = ctx.backward_from(&y, weights.clone()).unwrap_or_else(|e| fail(e));
    params.check_gradients(|id| grads.param(id).is_some(), |_| false).unwrap_or_else(|e| fail(e));
    let value = |params: &Params| {
        let y = f(&mut Ctx::gradients(env(isa, params))).unwrap_or_else(|e| fail(e));
        y.f32s().iter().zip(weights.f32s()).map(|(&y, &w)| y as f64 * w as f64).sum::<f64>()
    };
    let ids: Vec<ParamId> = params.iter().map(|(id, _)| id).collect();
    for id in ids {
        let got = grads.param(id).map(|g| g.f32s().to_vec()).unwrap_or_default();
        let largest = got.iter().fold(0.0f64, |m, &g| m.max(g.abs() as f64));
        let n = got.len();
        for i in (0..n).step_by((n / 7).max(1)) {
            let at = |params: &mut Params, x: f32| {
                params.get_mut(id).value.f32s_mut()[i] = x;
                value(params)
            };
            let x = params.get(id).value.f32s()[i];
            // The step is a power of two, so that it is exact in most places.
            let h = 1.0 / 128.0;
            let (above, below) = (at(params, x + h), at(params, x - h));
            let here = at(params, x);
            // At a kink, as ReLU has, the gradient is that of either side or between them.
            let sides = [(above - here) / h as f64, (here - below) / h as f64];
            let got = got[i] as f64;
            let error = (sides[0].min(sides[1]) - got).max(got - sides[0].max(sides[1]));
            assert!(
                error <= tolerance * (0.1 + largest),
                "{what}: gradient of `{}`[{i}] is {got}, by differences {sides:?}",
                params.get(id).name,
            );
        }
    }
}

fn normal(x: &mut [f32], stream: u64) {
    Draw { key: key(17, stream), sample: 0, place: 0 }.normal(x);
}
