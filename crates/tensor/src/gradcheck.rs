//! Finite-difference checks of gradients, for the tests of every operation and of whole models.

use bedstone_kernels::random::{Draw, key};

use crate::{Ctx, Env, Isa, ParamId, Params, Precision, Result, Shape, Tensor};

/// Checks the gradients of `f` at random parameters of the given shapes, on every instruction set available.
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
        Env { isa, precision: Precision::F32, params }
    }
    let mut ctx = Ctx::gradients(env(isa, params));
    let y = f(&mut ctx).unwrap_or_else(|e| fail(e));
    let mut weights = Tensor::zeros::<f32>(y.shape());
    normal(weights.f32s_mut(), 99);
    let grads = ctx.backward_from(&y, weights.clone()).unwrap_or_else(|e| fail(e));
    grads.check_complete(params, |_| false).unwrap_or_else(|e| fail(e));
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
