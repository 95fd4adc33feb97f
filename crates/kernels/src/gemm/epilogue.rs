//! What happens to a block of a product before it is written.

mod gelu;
mod wide;

pub(super) use wide::Memory;

use crate::{
    isa::Isa,
    number::{Lanes, Number},
    optim::{AdamW, Scalars},
    out::Out,
    pool, profile,
    simd::{Simd, math, simd_fn},
};

/// `C = activation(P + bias) · factors + residual`, or `C += P`, for a product `P`; by default `C = P`.
pub struct Epilogue<'a, C: Number = f32> {
    pub(super) accumulate: bool,
    /// Whether values come from [`Activation::both`], slopes kept or not: what is computed again has the same bits.
    pub(super) paired: bool,
    bias: Option<&'a [f32]>,
    activation: Activation,
    factors: Option<(&'a [C], usize)>,
    residual: Option<(&'a [f32], usize)>,
    keep: Option<(Kept, Out<'a, C>)>,
    step: Option<Step<'a>>,
}

impl<C: Number> Default for Epilogue<'_, C> {
    fn default() -> Self {
        Epilogue {
            accumulate: false,
            paired: false,
            bias: None,
            activation: Activation::None,
            factors: None,
            residual: None,
            keep: None,
            step: None,
        }
    }
}

/// A step of AdamW.
#[derive(Clone, Copy)]
struct Step<'a> {
    scalars: Scalars,
    m: Out<'a>,
    v: Out<'a>,
}

/// What of an activation is kept for its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// What it was applied to.
    Input,
    /// Its derivative there.
    Slope,
}

/// A function of one number, cheap enough to apply while a product is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)` with the error function, [Hendrycks & Gimpel 2016](https://arxiv.org/abs/1606.08415).
    Gelu,
    /// The same by its tanh approximation, as GPT-2 has it.
    GeluTanh,
    /// `x / (1 + e^(-1.702 x))`.
    QuickGelu,
    /// `x / (1 + e^-x)`, also known as swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
}

impl<'a, C: Number> Epilogue<'a, C> {
    /// Adds to what `C` holds instead of overwriting it. Goes with nothing else.
    pub fn accumulate(mut self, accumulate: bool) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// One number a column, added first.
    pub fn bias(mut self, bias: Option<&'a [f32]>) -> Self {
        self.bias = bias;
        self
    }

    /// Applied after the bias.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Multiplies by `factors`, rows `ld` apart: the gradient through an activation, where they are its slopes.
    pub fn times(mut self, factors: &'a [C], ld: usize) -> Self {
        self.factors = Some((factors, ld));
        self
    }

    /// Added last: a matrix stored by rows, `ld` apart.
    pub fn residual(mut self, residual: &'a [f32], ld: usize) -> Self {
        self.residual = Some((residual, ld));
        self
    }

    /// Keeps what the activation is applied to, which its gradient needs, in `kept`, rows `ld` apart.
    pub fn keep(mut self, kept: &'a mut [C], ld: usize) -> Self {
        self.keep = Some((Kept::Input, Out::new(kept, ld)));
        self
    }

    /// Keeps the derivative of the activation where it is applied, in `slopes`, rows `ld` apart: half the work of keeping what it
    /// is applied to and taking the derivative later.
    pub fn keep_slope(mut self, slopes: &'a mut [C], ld: usize) -> Self {
        self.keep = Some((Kept::Slope, Out::new(slopes, ld)));
        self
    }

    /// Whether the result takes a step instead of becoming the product.
    pub(super) fn is_step(&self) -> bool {
        self.step.is_some()
    }

    /// Whether the product itself (added or not) is all.
    pub(super) fn is_plain(&self) -> bool {
        self.bias.is_none()
            && self.activation == Activation::None
            && self.factors.is_none()
            && self.residual.is_none()
            && self.keep.is_none()
    }

    /// Panics unless every part fits a result of `m × n`.
    pub(super) fn check(&self, m: usize, n: usize) {
        assert!(!self.accumulate || self.is_plain() && !self.is_step(), "an accumulating product takes no epilogue");
        if let Some(bias) = self.bias {
            assert!(bias.len() >= n, "bias: got {} numbers, wanted {n}", bias.len());
        }
        let fits = |what: &str, len: usize, ld: usize| {
            let wanted = if m == 0 { 0 } else { (m - 1) * ld + n };
            assert!(ld >= n && len >= wanted, "{what}: got {len} numbers, wanted {wanted}");
        };
        if let Some((factors, ld)) = self.factors {
            fits("factors", factors.len(), ld);
        }
        if let Some((r, ld)) = self.residual {
            fits("residual", r.len(), ld);
        }
        if let Some((_, k)) = &self.keep {
            fits("keep", k.len(), k.ld());
        }
        if let Some(step) = &self.step {
            fits("first moments", step.m.len(), step.m.ld());
            fits("second moments", step.v.len(), step.v.ld());
            assert!(self.is_plain(), "a step takes no epilogue");
        }
    }

    /// Writes a block of the product (`rows × cols`, rows `ld` apart in `acc`) to its place at `(row, col)` of `out`.
    ///
    /// # Safety
    /// The block lies within `out` and the shape that [`Self::check`] passed, and nobody else writes it.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, s: S, acc: &[f32], ld: usize, block: Block, out: &Out<'_, C>) {
        let Block { row, col, rows, cols } = block;
        for r in 0..rows {
            // SAFETY: the caller proves it.
            let y = unsafe { out.row(row + r, col, cols) };
            self.finish(s, y, &acc[r * ld..r * ld + cols], row + r, col);
        }
    }

    /// The activation at `x`, and its derivative if that is kept.
    #[inline(always)]
    fn activate<S: Simd>(&self, s: S, x: S::V) -> (S::V, S::V) {
        match (self.paired, &self.keep) {
            (true, keep) if C::IS_BF16 => {
                let (v, slope) = match self.activation {
                    Activation::Gelu => gelu::PHI.both(s, x),
                    Activation::GeluTanh => gelu::TANH.both(s, x),
                    other => other.both(s, x),
                };
                (v, if let Some((Kept::Slope, _)) = keep { slope } else { x })
            }
            (_, Some((Kept::Slope, _))) => self.activation.both(s, x),
            (true, _) => (self.activation.both(s, x).0, x),
            (false, _) => (self.activation.apply(s, x), x),
        }
    }

    /// From the product `p` to the part of row `row` that starts at `col`.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, y: &mut [C], p: &[f32], row: usize, col: usize) {
        let n = y.len();
        if let Some(step) = &self.step {
            // SAFETY: `check` proved that the rows are there; they belong to the same block as `y`.
            let (m, v) = unsafe { (step.m.row(row, col, n), step.v.row(row, col, n)) };
            let (c, mut i) = (step.scalars.vectors(s), 0);
            while i < n {
                let new = c.step(s, [C::at(s, y, i), f32::at(s, p, i), f32::at(s, m, i), f32::at(s, v, i)]);
                C::put(s, y, i, new[0]);
                f32::put(s, m, i, new[1]);
                f32::put(s, v, i, new[2]);
                i += S::LANES;
            }
            return;
        }
        let bias = self.bias.map(|b| &b[col..col + n]);
        let factors = self.factors.map(|(f, ld)| &f[row * ld + col..row * ld + col + n]);
        let residual = self.residual.map(|(r, ld)| &r[row * ld + col..row * ld + col + n]);
        // SAFETY: `check` proved that the row is there; it belongs to the same block as `y`.
        let mut keep = self.keep.as_ref().map(|(kept, k)| (*kept, unsafe { k.row(row, col, n) }));
        let mut i = 0;
        while i < n {
            let mut v = f32::at(s, p, i);
            if let Some(bias) = bias {
                v = s.add(v, f32::at(s, bias, i));
            }
            let (x, slope);
            (x, (v, slope)) = (v, self.activate(s, v));
            match &mut keep {
                Some((Kept::Input, keep)) => C::put(s, keep, i, x),
                Some((Kept::Slope, keep)) => C::put(s, keep, i, slope),
                None => {}
            }
            if let Some(factors) = factors {
                v = s.mul(v, C::at(s, factors, i));
            }
            if let Some(residual) = residual {
                v = s.add(v, f32::at(s, residual, i));
            }
            if self.accumulate {
                v = s.add(v, C::at(s, y, i));
            }
            C::put(s, y, i, v);
            i += S::LANES;
        }
    }
}

impl<'a> Epilogue<'a> {
    /// `C` holds weights and the product is their gradient: they take a step of AdamW, with moments stored as they are, `ld` apart.
    /// Goes with nothing else, and with products of bf16 only.
    pub(super) fn adamw(mut self, options: AdamW, m: &'a mut [f32], v: &'a mut [f32], ld: usize) -> Self {
        self.step = Some(Step { scalars: options.scalars(), m: Out::new(m, ld), v: Out::new(v, ld) });
        self
    }
}

impl Epilogue<'_> {
    /// Applies the epilogue to a product that already stands in `out`.
    pub(super) fn apply_in_place(&self, isa: Isa, m: usize, n: usize, out: Out<'_>) {
        let rows = (pool::SMALL / n.max(1)).clamp(1, m);
        pool::for_each(m.div_ceil(rows), |task| {
            for row in task * rows..((task + 1) * rows).min(m) {
                // SAFETY: each row is one task's; the caller checked `out` and the epilogue against `m × n`.
                let y = unsafe { out.row(row, 0, n) };
                finish_row(isa, self, y, row);
            }
        });
    }
}

simd_fn! {
    /// The epilogue on one row that holds its product.
    fn finish_row(s, epilogue: &Epilogue<'_>, y: &mut [f32], row: usize) {
        // In pieces that stay in the first cache between the product's copy and its use.
        let mut piece = [0.0; 256];
        let mut col = 0;
        for part in y.chunks_mut(256) {
            let p = &mut piece[..part.len()];
            p.copy_from_slice(part);
            epilogue.finish(s, part, p, row, col);
            col += part.len();
        }
    }
}

impl Activation {
    #[inline(always)]
    pub(crate) fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        match self {
            Activation::None => x,
            // In this order, what is not a number stays none.
            Activation::Relu => s.max(s.zero(), x),
            Activation::Gelu => gelu(s, x),
            Activation::GeluTanh => gelu_tanh(s, x),
            Activation::QuickGelu => s.mul(x, math::sigmoid(s, s.mul(x, s.splat(1.702)))),
            Activation::Silu => s.mul(x, math::sigmoid(s, x)),
            Activation::Tanh => math::tanh(s, x),
        }
    }

    /// The function and its derivative at `x`.
    #[inline(always)]
    pub(crate) fn both<S: Simd>(self, s: S, x: S::V) -> (S::V, S::V) {
        let one = s.splat(1.0);
        match self {
            Activation::Gelu => {
                // Φ by formula 7.1.26 of Abramowitz & Stegun, to 1e-7, which needs the power that the density is made of.
                const P: [f32; 5] = [0.127_414_8, -0.142_248_37, 0.710_706_9, -0.726_576_03, 0.530_702_7];
                let power = math::exp2(s, s.mul(s.mul(x, x), s.splat(-0.5 * std::f32::consts::LOG2_E)));
                let t = s.div(one, s.fma(s.abs(x), s.splat(0.327_591_1 * INV_SQRT_2), one));
                let tail = s.mul(s.mul(math::polynomial(s, t, P), t), power);
                let cdf = s.select_lt(x, s.zero(), tail, s.sub(one, tail));
                (s.mul(x, cdf), s.fma(x, s.mul(power, s.splat(INV_SQRT_2PI)), cdf))
            }
            Activation::GeluTanh => {
                // With u what the tangent is of: h = (1 + tanh u)/2 = 1 / (1 + e^-2u), and h' = 2 u' h (1 - h). Where the power is
                // cut off, h is below 1e-37.
                const MINUS_2_LOG2_E: f32 = -2.0 * SQRT_2_PI * std::f32::consts::LOG2_E;
                let x2 = s.mul(x, x);
                let u = s.mul(x, s.fma(s.splat(0.044_715), x2, one));
                let power = math::exp2(s, s.min(s.splat(126.0), s.mul(u, s.splat(MINUS_2_LOG2_E))));
                let half = s.div(one, s.add(one, power));
                let inner = s.fma(s.splat(3.0 * 0.044_715 * 2.0 * SQRT_2_PI), x2, s.splat(2.0 * SQRT_2_PI));
                let rest = s.mul(s.mul(half, s.sub(one, half)), inner);
                (s.mul(x, half), s.fma(x, rest, half))
            }
            _ => (self.apply(s, x), self.backward(s, one, x)),
        }
    }

    /// The derivative at `x` times `d`.
    #[inline(always)]
    pub(crate) fn backward<S: Simd>(self, s: S, d: S::V, x: S::V) -> S::V {
        let one = s.splat(1.0);
        match self {
            Activation::None => d,
            Activation::Relu => s.select_lt(s.zero(), x, d, s.zero()),
            Activation::Gelu => {
                // Φ(x) + x φ(x)
                let cdf = s.mul(s.splat(0.5), s.add(one, math::erf(s, s.mul(x, s.splat(INV_SQRT_2)))));
                let pdf = s.mul(math::exp(s, s.mul(s.mul(x, x), s.splat(-0.5))), s.splat(INV_SQRT_2PI));
                s.mul(d, s.fma(x, pdf, cdf))
            }
            Activation::GeluTanh => {
                let x2 = s.mul(x, x);
                let t = math::tanh(s, gelu_inner(s, x));
                // (1 + t)/2 + x (1 - t²)/2 · √(2/π) (1 + 3·0.044715 x²)
                let inner = s.mul(s.splat(SQRT_2_PI), s.fma(s.splat(3.0 * 0.044_715), x2, one));
                let sech2 = s.sub(one, s.mul(t, t));
                let slope = s.fma(s.mul(x, sech2), inner, s.add(one, t));
                s.mul(d, s.mul(s.splat(0.5), slope))
            }
            Activation::QuickGelu => {
                let z = s.mul(x, s.splat(1.702));
                let g = math::sigmoid(s, z);
                s.mul(d, s.mul(g, s.fma(z, s.sub(one, g), one)))
            }
            Activation::Silu => {
                let g = math::sigmoid(s, x);
                s.mul(d, s.mul(g, s.fma(x, s.sub(one, g), one)))
            }
            Activation::Tanh => {
                let t = math::tanh(s, x);
                s.mul(d, s.sub(one, s.mul(t, t)))
            }
        }
    }
}

simd_fn! {
    pub(crate) fn activate_part<[T: Number]>(s, activation: Activation, y: &mut [T], x: &[T]) {
        let mut i = 0;
        while i < y.len() {
            T::put(s, y, i, activation.apply(s, T::at(s, x, i)));
            i += S::LANES;
        }
    }
}

simd_fn! {
    pub(crate) fn activate_backward_part<[T: Number]>(s, activation: Activation, dy: &mut [T], x: &[T]) {
        let mut i = 0;
        while i < dy.len() {
            T::put(s, dy, i, activation.backward(s, T::at(s, dy, i), T::at(s, x, i)));
            i += S::LANES;
        }
    }
}

/// `y = activation(x)`, element by element.
pub fn activate<T: Number>(isa: Isa, activation: Activation, y: &mut [T], x: &[T]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(y.len(), x.len());
    pool::for_chunks(y, pool::SMALL, |i, part| {
        let start = i * pool::SMALL;
        activate_part(isa, activation, part, &x[start..start + part.len()]);
    });
}

/// `dy *= activation'(x)`, element by element, where `x` is what the activation was applied to.
pub fn activate_backward<T: Number>(isa: Isa, activation: Activation, dy: &mut [T], x: &[T]) {
    let _time = profile::scope(profile::Kind::Elementwise);
    assert_eq!(dy.len(), x.len());
    pool::for_chunks(dy, pool::SMALL, |i, part| {
        let start = i * pool::SMALL;
        activate_backward_part(isa, activation, part, &x[start..start + part.len()]);
    });
}

const SQRT_2_PI: f32 = 0.797_884_6;
const INV_SQRT_2: f32 = std::f32::consts::FRAC_1_SQRT_2;
const INV_SQRT_2PI: f32 = 0.398_942_3;

#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, math::erf(s, s.mul(x, s.splat(INV_SQRT_2))), half)
}

/// `√(2/π) (x + 0.044715 x³)`.
#[inline(always)]
fn gelu_inner<S: Simd>(s: S, x: S::V) -> S::V {
    let x2 = s.mul(x, x);
    s.mul(s.mul(x, s.splat(SQRT_2_PI)), s.fma(s.splat(0.044_715), x2, s.splat(1.0)))
}

#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, math::tanh(s, gelu_inner(s, x)), half)
}

/// Where a block stands in the result.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    simd_fn! {
        fn both_of(s, activation: Activation, y: &mut [f32], slopes: &mut [f32], x: &[f32]) {
            let mut i = 0;
            while i < x.len() {
                let (v, slope) = activation.both(s, f32::at(s, x, i));
                f32::put(s, y, i, v);
                f32::put(s, slopes, i, slope);
                i += S::LANES;
            }
        }
    }

    #[test]
    fn both_at_once_are_what_each_alone_is() {
        use Activation::*;
        let x: Vec<f32> = (-3000..=3000).map(|i| i as f32 / 200.0).collect();
        for isa in Isa::available() {
            for activation in [None, Relu, Gelu, GeluTanh, QuickGelu, Silu, Tanh] {
                let (mut y, mut slopes) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                both_of(isa, activation, &mut y, &mut slopes, &x);
                let (mut want, mut want_slopes) = (vec![0.0; x.len()], vec![1.0; x.len()]);
                activate(isa, activation, &mut want, &x);
                activate_backward(isa, activation, &mut want_slopes, &x);
                for i in 0..x.len() {
                    let near = |a: f32, b: f32| (a - b).abs() <= 2e-6 * (1.0 + x[i].abs());
                    assert!(near(y[i], want[i]), "{isa} {activation:?}({}) = {}, want {}", x[i], y[i], want[i]);
                    let (a, b) = (slopes[i], want_slopes[i]);
                    assert!(near(a, b), "{isa} {activation:?}'({}) = {a}, want {b}", x[i]);
                }
            }
        }
    }
}
